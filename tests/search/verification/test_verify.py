"""A study that is as it was written agrees with itself; whatever is damaged is named."""

import json
import random
import shutil
from pathlib import Path

import pytest

import search
from search.comparison.compare import compare
from search.comparison.estimates import Estimate
from search.comparison.held_out import READINGS
from search.results.folder import StudyFolder
from search.results.rows import TABLE, to_table
from search.verification.comparisons import problems_of
from tests.search.conftest import howcompact
from tests.search.reports import study_of, trial_rows
from tests.search.verification.damages import damage, rows_of
from tests.trainables.trials import WEIGHT
from trainables.checkpoints import manifest
from trainables.outcome import Outcome
from trainables.storage.columns import to_parquet
from trainables.storage.folder import Folder
from trainables.storage.sealed_json import sealed, unsealed

DAMAGED = 150  # studies; tests/benchmarks/verify_damages.py tries 10,000


@pytest.fixture
def copy(trained: StudyFolder, tmp_path: Path) -> Path:
    """A copy of a study of four trials, with its table, beside its dense network."""
    storage = tmp_path / "storage"
    shutil.copytree(trained.folder.parent.uri, storage)
    study = storage / trained.folder.name
    StudyFolder.open(str(study)).write_table()
    return study


def change_outcome(study: Path, **changes: object) -> str:
    """Change the outcome of the first trial and give it a fitting checksum; return the trial's key."""
    file = min(study.glob("trials/*/outcome.json"))
    outcome = Outcome.from_file(file.read_bytes())
    file.write_bytes(outcome.model_copy(update=changes).to_file())
    return file.parent.name


def test_an_untouched_study_agrees_with_itself(copy: Path) -> None:
    verified = search.verify(str(copy), sample=2)
    assert verified.problems == []
    assert (verified.trials, verified.unfinished, verified.networks, verified.measured) == (4, 0, 4, 2)
    files = [path for path in copy.rglob("*") if path.is_file()]
    dense = [path for path in (copy.parent / "artifacts" / "dense").glob("*/*") if path.is_file()]
    assert verified.files == len(files) + len(dense) - 1  # all but the records of the samples, which no table reads


def test_results_of_an_older_version_agree_though_it_counted_fewer_kinds_of_parameters(copy: Path) -> None:
    for file in (*copy.glob("trials/*/outcome.json"), *copy.glob("trials/*/epoch-*/record.json")):
        content = json.loads(unsealed(file.read_bytes()) if file.name == "outcome.json" else file.read_bytes())
        facts = {name: value for name, value in content["facts"].items() if name != "params_fixed"} | {"uncounted": 0}
        changed = json.dumps(content | {"facts": facts}).encode()
        if file.name == "outcome.json":
            file.write_bytes(sealed(changed))
        else:
            folder = Folder.at(str(file.parent))
            manifest.write_files(folder, manifest.read_files(folder) | {"record.json": changed})
    (copy / TABLE).unlink()
    StudyFolder.open(str(copy)).write_table()
    assert search.verify(str(copy), sample=0).problems == []
    assert {row.params_fixed for row in StudyFolder.open(str(copy)).rows()} == {None}


def test_the_command_tells_and_exits_by_what_it_finds(copy: Path) -> None:
    done = howcompact("verify", str(copy), "--sample", "1", cwd=copy.parent)
    assert done.returncode == 0
    assert "4 networks rebuilt and counted, 1 measured again" in done.stdout
    assert done.stdout.endswith("everything agrees\n")
    StudyFolder.open(str(copy)).start_trial(WEIGHT.model_copy(update={"sparsity": 0.6}))
    done = howcompact("verify", str(copy), "--sample", "0", cwd=copy.parent)
    assert "1 trial has not ended; no table shows it\n" in done.stdout
    assert done.returncode == 0
    (copy / TABLE).unlink()
    done = howcompact("verify", str(copy), "--sample", "0", cwd=copy.parent)
    assert done.returncode == 1
    assert TABLE in done.stdout
    assert done.stdout.endswith("1 problem\n")


def test_random_damages_are_all_named(copy: Path, tmp_path: Path) -> None:
    for seed in range(DAMAGED):
        damaged = tmp_path / "damaged"
        shutil.copytree(copy.parent, damaged)
        what = damage(damaged / copy.name, random.Random(seed))
        if (damaged / copy.name / "study.json").exists():
            problems = search.verify(str(damaged / copy.name), sample=0).problems
            unread = what.endswith(TABLE) and rows_of(damaged / copy.name / TABLE) == rows_of(copy / TABLE)
            assert problems or unread, f"{seed}: {what}"  # unread: a byte that no value of the table depends on
        else:
            with pytest.raises(ValueError, match=r"a study folder must hold study\.json"):
                search.verify(str(damaged / copy.name), sample=0)
        shutil.rmtree(damaged)


def test_an_outcome_that_was_edited_with_care_disagrees_with_its_network(copy: Path) -> None:
    file = min(copy.glob("trials/*/outcome.json"))
    outcome = Outcome.from_file(file.read_bytes())
    assert outcome.facts
    key = change_outcome(copy, facts=outcome.facts.model_copy(update={"params_kept": outcome.facts.params_kept - 1}))
    problems = search.verify(str(copy), sample=0).problems
    assert f"trial {key}: its outcome and its network differ in what was measured after pruning" in problems
    assert f"{TABLE} differs from the outcome of trial {key} in params_kept" in problems

    better = [report.model_copy(update={"val_accuracy": report.val_accuracy + 0.01}) for report in outcome.history]
    change_outcome(copy, facts=outcome.facts, history=tuple(better))
    assert search.verify(str(copy), sample=0).problems[0].endswith("differ in the reports of epochs")


def test_a_network_with_other_counts_and_accuracy_than_reported_is_named(copy: Path) -> None:
    """Its checksums, its record and its outcome fit each other: only the network itself tells."""
    trial = min(copy.glob("trials/*"))
    (epoch,) = (Folder.at(str(path)) for path in trial.glob("epoch-*"))
    files = manifest.read_files(epoch)
    record = json.loads(files[manifest.RECORD])
    outcome = Outcome.from_file((trial / "outcome.json").read_bytes())
    assert outcome.facts
    facts = outcome.facts.model_copy(update={"params_kept": outcome.facts.params_total, "macs_kept": 1})
    history = [report.model_copy(update={"val_accuracy": 0.5}) for report in outcome.history]
    kept = len(record["history"])
    record |= {"facts": facts.model_dump(), "history": [report.model_dump() for report in history[:kept]]}
    manifest.write_files(epoch, {**files, manifest.RECORD: json.dumps(record).encode()})
    best = next(report for report in history if report.epoch == kept - 1)
    history = [report if report is best else report.model_copy(update={"val_accuracy": 0.4}) for report in history]
    change_outcome(copy, facts=facts, history=tuple(history))
    problems = "\n".join(search.verify(str(copy), sample=4).problems)
    assert f"weights, but {facts.params_total:,} were reported" in problems
    assert "multiply-accumulates, but 1 were reported" in problems
    assert "more than its budget" in problems
    assert f"trial {trial.name} reports accuracy 0.5000, but its network has" in problems


def test_a_model_of_the_users_own_must_be_trusted_once(copy: Path) -> None:
    folder = StudyFolder.open(str(copy))
    folder.write_study(folder.study.model_copy(update={"models": ("somewhere:build",)}))
    with pytest.raises(ValueError, match=r"^a checkpoint's own model must be trusted.*add --trust somewhere:build"):
        search.verify(str(copy), sample=0)


def test_the_table_may_not_lack_a_trial_or_have_another_one(copy: Path) -> None:
    folder = StudyFolder.open(str(copy))
    rows = folder.rows()
    (copy / TABLE).write_bytes(to_parquet(to_table(rows[1:])))
    problems = search.verify(str(copy), sample=0).problems
    assert problems == [f"{TABLE} lacks trial {rows[0].trial}, which has ended; the next run writes it"]
    (copy / TABLE).write_bytes(to_parquet(to_table([*rows, rows[0].model_copy(update={"trial": "0" * 16})])))
    problems = search.verify(str(copy), sample=0).problems
    assert problems == [f"{TABLE} has trial {'0' * 16}, which has no outcome"]


def test_a_comparison_that_does_not_follow_from_its_trials_is_named(tmp_path: Path) -> None:
    rows = trial_rows(searched=2, seeds=3)
    comparison = compare([study_of(tmp_path, rows)])
    by_key = {row.trial: row for row in rows}
    assert problems_of(comparison, by_key) == []
    first = comparison.rows[0]
    wide = first.best_val_accuracy.model_copy(update={"low": (first.best_val_accuracy.low or 0) - 0.01})
    for changed, message in (
        ({"best_val_accuracy": Estimate(mean=0.5, n=3)}, "best_val_accuracy is 0.5 over 3 seeds, but"),
        ({"best_val_accuracy": wide}, "best_val_accuracy has the interval"),
        ({"params_kept": first.params_kept + 2}, f"params_kept is {first.params_kept + 2:,}, but"),
        ({"seeds": [0, 1, 3]}, "its seeds [0, 1, 3] are not those of its trials"),
        ({"trial_keys": ["x"]}, "it names trials that are not there"),
    ):
        wrong = comparison.model_copy(update={"rows": [first.model_copy(update=changed)]})
        (problem,) = problems_of(wrong, by_key)
        assert message in problem


def test_pairs_that_do_not_follow_from_their_trials_are_named(tmp_path: Path) -> None:
    rows = trial_rows(searched=0, seeds=4)
    folder, by_key = study_of(tmp_path, rows), {row.trial: row for row in rows}
    comparison, wider = compare([folder], margin=1.0), compare([folder], margin=2.0)
    verdicts = {pair.verdict for pair in [*comparison.pairs, *wider.pairs]}
    assert verdicts == {"better", "worse", "equivalent", "undecided"}
    assert problems_of(comparison, by_key) == problems_of(wider, by_key) == []
    first = next(pair for pair in comparison.pairs if pair.verdict == "undecided")
    others = [pair for pair in comparison.pairs if pair != first]
    for changed, message in (
        ({"gap": first.gap.model_copy(update={"mean": 0.5})}, "gap is 0.5, but its trials give"),
        ({"gap": first.gap.model_copy(update={"low": -0.5})}, "low is -0.5, but its trials give"),
        ({"verdict": "equivalent"}, "its verdict is equivalent, but its trials give undecided"),
        ({"within_margin": True}, "its verdict is undecided, but its trials give undecided"),
        ({"seeds_more": 0}, "its seeds_more, 0, does not follow from its trials"),
        ({"seeds_more": (first.seeds_more or 0) + 1}, "does not follow from its trials"),
        ({"seeds": [0, 1]}, "its seeds are [0, 1], but [0, 1, 2, 3] have matching budgets"),
        ({"holm_p": 0.001}, "holm_p of"),
        ({"equivalence_p": None}, "equivalence_p is None, but its trials give"),
        ({"policy": "x"}, "it is missing"),
    ):
        wrong = comparison.model_copy(update={"pairs": [first.model_copy(update=changed), *others]})
        assert any(message in problem for problem in problems_of(wrong, by_key)), message
    problem = f"comparison of {first.policy} against {first.rival} at sparsity {first.sparsity:g}: it is missing"
    assert problem in problems_of(comparison.model_copy(update={"pairs": others}), by_key)


def test_a_lost_reading_of_the_test_split_is_named_and_comes_back(copy: Path) -> None:
    """Without its list of readings, a study would look as if nobody had read the split."""
    search.compare([str(copy)], test=True)
    read = (copy / READINGS).read_bytes()
    assert search.verify(str(copy), sample=0).problems == []
    (copy / READINGS).unlink()
    problems = search.verify(str(copy), sample=0).problems
    assert len(problems) == 4
    assert all(f"{READINGS} must have the reading of trial" in problem for problem in problems)
    search.compare([str(copy)], test=True)
    assert json.loads(unsealed((copy / READINGS).read_bytes())) == json.loads(unsealed(read))  # nothing is read again
    copied = min(copy.glob(f"trials/*/{READINGS}"))
    copied.unlink()
    (problem,) = search.verify(str(copy), sample=0).problems
    assert problem == f"trial {copied.parent.name} lacks its copy of {READINGS}; the next compare --test writes it"
    search.compare([str(copy)], test=True)
    assert search.verify(str(copy), sample=0).problems == []
