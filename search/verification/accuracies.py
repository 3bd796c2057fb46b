"""Verifies the accuracy, or another metric, of some networks of a study: they are rebuilt and measured again."""

import random
from collections.abc import Callable, Mapping

from search.results.folder import StudyFolder
from search.results.measured_again import measured_again
from search.results.rows import TrialRow
from search.retrieval.copying import allowed_difference
from trainables.training.process import hardware, own_device


def disagreeing(
    folder: StudyFolder, rows: Mapping[str, TrialRow], sample: int, say: Callable[[str], None]
) -> tuple[int, list[str]]:
    """Measure the validation accuracy of some finished trials again, the same ones in each call.

    Returns their number, and a problem for each accuracy that differs by more than hardware explains. Raises ValueError
    where no data set of theirs is at hand.
    """
    finished = sorted(key for key, row in rows.items() if row.status == "done")
    chosen = random.Random(0).sample(finished, min(sample, len(finished)))
    problems, number = [], 0
    for outcome, found in measured_again(folder, {key: rows[key] for key in chosen}, "val"):
        assert outcome.best is not None
        assert outcome.facts is not None
        number += 1
        key, here = outcome.spec.key(), hardware(own_device())
        measured = {rows[key].metric: found.metric} | found.other_metrics
        reported = {rows[key].metric: outcome.best.val_accuracy} | outcome.best.other_metrics
        problems += [
            f"trial {key} reports {name} {value:.4f}, but its network has {measured[name]:.4f}"
            for name, value in reported.items()
            if abs(measured[name] - value) > allowed_difference(outcome.facts.hardware, here, value)
        ]
        say(f"networks measured again: {number} of {len(chosen)}")
    return number, problems
