"""The order of a study's trials and the knowledge of a search, without Ray's event loop."""

from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search import Searcher

from search.results.folder import StudyFolder
from search.searching.journal import JOURNAL
from search.searching.searcher import StudySearcher
from search.study.cells import cell_key
from search.study.spec import StudySpec
from tests.search.comparison.test_compare import outcome
from tests.trainables.parts import part_names
from trainables.outcome import Outcome
from trainables.spec import EpochReport, TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.reports import to_tune
from trainables.trial.trainable import write_outcome

STUDY = StudySpec.model_validate(
    {
        "name": "s",
        "sparsities": [0.5, 0.8],
        "seeds": [0],
        "search": {"trials": 5, "warm_start": ["uniform", "capacity"]},
    }
)
PARTS = part_names(STUDY.cells()[0])


def folder_of(path: Path) -> StudyFolder:
    folder = StudyFolder(Folder.at(str(path)))
    folder.write_study(STUDY)
    return folder


def searcher_of(folder: StudyFolder) -> StudySearcher:
    return StudySearcher(STUDY, folder, configure=lambda spec: {"spec": spec})


def finished(spec: TrialSpec, accuracy: float) -> Outcome:
    """Make an outcome of this spec in which every part keeps the same fraction."""
    known = outcome(spec.policy, spec.sparsity, spec.seed, accuracy)
    assert known.facts is not None
    facts = known.facts.model_copy(update={"parts": dict.fromkeys(PARTS, 1 - spec.sparsity)})
    return known.model_copy(update={"spec": spec, "facts": facts})


def epoch_result(epoch: int, accuracy: float, final: bool = False) -> dict[str, Any]:
    """Make the result that Tune passes on for an epoch."""
    return to_tune(EpochReport(epoch=epoch, val_accuracy=accuracy, val_loss=1.0, seconds=1.0, final=final))


def end(searcher: StudySearcher, folder: StudyFolder, trial: str, spec: TrialSpec, accuracy: float) -> None:
    """Let a trial report once and end."""
    write_outcome(folder.trial(spec.key()), finished(spec, accuracy))
    result = epoch_result(3, accuracy, final=True)
    searcher.on_trial_result(trial, result)
    searcher.on_trial_complete(trial, result)


def studies_in(folder: StudyFolder) -> dict[str, optuna.Study]:
    """Open the journal with Optuna itself."""
    storage = JournalStorage(JournalFileBackend(f"{folder.folder.uri}/{JOURNAL}"))
    return {
        study: optuna.load_study(study_name=study, storage=storage) for study in optuna.get_all_study_names(storage)
    }


def run_out(searcher: StudySearcher, folder: StudyFolder, at_most: int = 100) -> list[TrialSpec]:
    """Run trials one by one until the searcher has no more."""
    ran: list[TrialSpec] = []
    for n in range(at_most):
        config: Any = searcher.suggest(str(n))
        if config == Searcher.FINISHED or config is None:
            return ran
        ran.append(config["spec"])
        end(searcher, folder, str(n), config["spec"], 0.5 + n / 1000)
    return ran


def test_named_trials_come_first_and_each_search_makes_what_its_starts_leave(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "s")
    searcher = searcher_of(folder)
    assert searcher.total == 2 * 2 + 2 * 3
    ran = run_out(searcher, folder)
    assert [spec.policy for spec in ran] == ["uniform"] * 2 + ["capacity"] * 2 + ["searched"] * 6
    assert len({spec.key() for spec in ran}) == 10
    for cell in STUDY.cells():
        assert sum(cell_key(spec) == cell_key(cell) and spec.policy == "searched" for spec in ran) == 3


def test_each_recovery_has_a_search_of_its_own(tmp_path: Path) -> None:
    folder, two = folder_of(tmp_path / "s"), STUDY.model_copy(update={"recoveries": ("finetune", "scratch")})
    searcher = StudySearcher(two, folder, configure=lambda spec: {"spec": spec})
    assert searcher.total == 2 * 10
    ran = run_out(searcher, folder)
    for cell in two.cells():
        assert sum(cell_key(spec) == cell_key(cell) and spec.policy == "searched" for spec in ran) == 3
    assert len({cell_key(cell) for cell in two.cells()}) == 2 * 2


def test_a_proposal_was_stopped_where_epochs_were_still_to_come(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "s")
    searcher = searcher_of(folder)
    for n in range(4):
        config: Any = searcher.suggest(str(n))
        end(searcher, folder, str(n), config["spec"], 0.5)
    for final in (False, True):
        proposed: Any = searcher.suggest("last")
        if final:
            end(searcher, folder, "last", proposed["spec"], 0.4)
        else:
            for epoch in (0, 3):  # Tune passes the last result to on_trial_complete only
                result = epoch_result(epoch, epoch / 10)
                if epoch == 0:
                    searcher.on_trial_result("last", result)
            searcher.on_trial_complete("last", result)
    searcher.close()
    ended = {t.state: t for study in studies_in(folder).values() for t in study.trials if t.number >= 2}
    assert set(ended) == {TrialState.COMPLETE, TrialState.PRUNED}
    assert ended[TrialState.PRUNED].intermediate_values == {0: 0.0, 3: 0.3}


def test_a_search_waits_for_what_it_starts_from(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "s")
    searcher = searcher_of(folder)
    specs = [searcher.suggest(str(n))["spec"] for n in range(4)]  # type: ignore[index]
    assert searcher.suggest("4") is None
    for n, spec in enumerate(specs[:3]):
        end(searcher, folder, str(n), spec, 0.5)
    first: Any = searcher.suggest("4")
    assert cell_key(first["spec"]) == cell_key(specs[0])


def test_a_continued_study_repeats_nothing_and_goes_on_with_what_was_started(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "s")
    searcher = searcher_of(folder)
    before = [config["spec"] for n in range(4) if (config := searcher.suggest(str(n)))]
    for n, spec in enumerate(before):
        end(searcher, folder, str(n), spec, 0.5)
    started: Any = searcher.suggest("4")
    again = searcher_of(folder)
    assert again.total == 6
    ran = run_out(again, folder)
    assert ran[0] == started["spec"]
    assert len(ran) == 6
    assert not {spec.key() for spec in ran} & {spec.key() for spec in before}
    assert searcher_of(folder).total == 0


def test_a_study_that_grows_asks_for_more_proposals_only(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "s")
    run_out(searcher_of(folder), folder)
    more = STUDY.model_copy(update={"search": STUDY.search.model_copy(update={"trials": 7})})
    assert StudySearcher(more, folder, configure=lambda spec: {"spec": spec}).total == 4


def test_the_end_waits_for_what_still_runs(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "s")
    run_out(searcher_of(folder), folder)
    more = STUDY.model_copy(update={"policies": ("uniform", "random")})
    searcher = StudySearcher(more, folder, configure=lambda spec: {"spec": spec})
    two = [searcher.suggest(str(n))["spec"] for n in range(2)]  # type: ignore[index]
    assert searcher.suggest("2") is None
    end(searcher, folder, "0", two[0], 0.5)
    searcher.on_trial_complete("1", error=True)
    last: Any = searcher.suggest("2")
    assert last["spec"] == two[1]
    end(searcher, folder, "2", two[1], 0.5)
    after: Any = searcher.suggest("3")
    assert after == Searcher.FINISHED


def test_a_scheduler_of_several_goals_knows_all_trials_of_the_search_with_their_costs(tmp_path: Path) -> None:
    goals = STUDY.search.model_copy(update={"goals": ("best_val_accuracy", "macs"), "sampler": "random", "trials": 12})
    study, folder = STUDY.model_copy(update={"search": goals}), folder_of(tmp_path / "s")
    searcher = StudySearcher(study, folder, configure=lambda spec: {"spec": spec})
    ran = run_out(searcher, folder)
    (name,) = {searcher.search_of(spec) for spec in ran if spec.policy == "searched"}
    assert name is not None
    assert {searcher.search_of(spec) for spec in ran if spec.policy != "searched"} == {None}
    past = StudySearcher(study, folder, configure=lambda spec: {"spec": spec}).ended(name)
    assert past.keys() == {spec.key() for spec in ran}
    assert {spec.sparsity for spec in ran if spec.policy == "searched"} == {0.5, 0.8}
    for spec in ran:
        outcome = folder.outcome(spec.key())
        assert outcome is not None
        assert outcome.facts is not None
        macs = outcome.facts.macs_kept / outcome.facts.macs_total
        assert past[spec.key()].costs == {
            "params": outcome.facts.params_kept / outcome.facts.params_total,
            "macs": macs,
        }
        assert past[spec.key()].reports == outcome.history
