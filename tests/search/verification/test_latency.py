"""Times that trials keep are priced again by their latency table."""

import re
from pathlib import Path

from search.verification.latency import beyond_time
from tests.search.in_process import run_in_process
from tests.search.latency_budgets import of_device
from trainables.checkpoints import checkpoint
from trainables.checkpoints.epochs import epoch_name


def test_verify_names_a_time_that_the_table_does_not_give(latency_table: Path, tmp_path: Path) -> None:
    study = of_device(latency_table, policies=["uniform"])
    folder, (spec,) = run_in_process(tmp_path, study), study.trials()
    (outcome,) = folder.read_outcomes([spec.key()])
    assert outcome.facts is not None
    assert outcome.best is not None
    saved = checkpoint.load(folder.trial(spec.key()) / epoch_name(outcome.best.epoch))

    def problems(**changes: object) -> list[str]:
        assert outcome.facts is not None
        return beyond_time(saved, spec, outcome.facts.model_copy(update=changes), folder.folder.parent)

    assert problems() == []
    assert re.search(r"take 0\.\d+ ms by its table, but it reports 0\.001", problems(predicted_latency_ms=1e-3)[0])
    greedy = problems(parts=dict.fromkeys(outcome.facts.parts, 1.0))
    assert re.search(r"its parts take [\d.]+ ms, more than its budget of 0\.\d+ ms", greedy[1])
    assert problems(parts={}) == ["it does not say what each part keeps, which its budget of latency needs"]
