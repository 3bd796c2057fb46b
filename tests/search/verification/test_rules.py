"""What a trial keeps is checked against its rules for layers."""

import json
import shutil
from pathlib import Path

import pytest

import search
from search.results.folder import StudyFolder
from search.results.rows import TABLE
from tests.search.conftest import howcompact
from trainables import load_pruned
from trainables.checkpoints import manifest
from trainables.outcome import Facts, Outcome
from trainables.pruning_spec import LayerRule
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder


@pytest.fixture
def copy(ruled: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy of the study of ruled trials, with its table."""
    shutil.copytree(ruled.folder.parent.uri, tmp_path / "storage")
    study = StudyFolder.open(str(tmp_path / "storage" / ruled.folder.name))
    study.write_table()
    return study


def trial_of(study: StudyFolder, granularity: str, before: bool = False) -> TrialSpec:
    specs = map(study.spec, study.keys())
    return next(spec for spec in specs if (spec.granularity, bool(spec.before)) == (granularity, before))


def epoch_of(study: StudyFolder, spec: TrialSpec) -> Folder:
    (epoch,) = Path(study.trial(spec.key()).uri).glob("epoch-*")
    return Folder.at(str(epoch))


def damage(study: StudyFolder, spec: TrialSpec, parts: dict[str, float] | None = None, **settings: object) -> list[str]:
    """Change a trial's shares or settings everywhere, with fitting checksums; return what disagrees."""
    trial, epoch = study.trial(spec.key()), epoch_of(study, spec)
    outcome = Outcome.from_file(trial.read("outcome.json"))
    assert outcome.facts
    changed = spec.model_copy(update=settings)
    facts: Facts = outcome.facts.model_copy(update={"parts": outcome.facts.parts | (parts or {})})
    files = manifest.read_files(epoch)
    record = json.loads(files[manifest.RECORD]) | {"facts": facts.model_dump(), "spec": changed.model_dump()}
    manifest.write_files(epoch, {**files, manifest.RECORD: json.dumps(record).encode()})
    trial.write("outcome.json", outcome.model_copy(update={"facts": facts, "spec": changed}).to_file())
    if changed.key() != spec.key():
        Path(trial.uri).rename(Path(study.trial(changed.key()).uri))
        study.start_trial(changed)
    study.folder.remove(TABLE)
    study.write_table()
    return search.verify(study.folder.uri, sample=0).problems


def test_trials_that_follow_their_rules_agree(copy: StudyFolder) -> None:
    assert search.verify(copy.folder.uri, sample=0).problems == []


def test_an_inspection_shows_the_rules_of_the_trial(ruled: StudyFolder, tmp_path: Path) -> None:
    spec = trial_of(ruled, "channel")
    done = howcompact("inspect", epoch_of(ruled, spec).uri, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["trial_rules"] == "head keep 1; block* 0.3 to 0.8"
    assert (
        "rules of its trial: head keep 1; block* 0.3 to 0.8\n"
        in howcompact("inspect", epoch_of(ruled, spec).uri, cwd=tmp_path).stdout
    )
    (dense,) = Path(ruled.folder.parent.uri).glob("artifacts/dense/*/record.json")
    assert json.loads(howcompact("inspect", str(dense.parent), "--json", cwd=tmp_path).stdout)["trial_rules"] == ""


def test_channels_beyond_a_rule_are_named(copy: StudyFolder) -> None:
    spec = trial_of(copy, "channel")
    problems = damage(copy, spec, {"block2.conv": 1 / 16, "hidden": 0.5})
    assert (
        f"trial {spec.key()}: block2.conv keeps 1 of 16 units, but rule 'block* 0.3 to 0.8' allows 5 to 12" in problems
    )
    assert f"trial {spec.key()}: hidden keeps 32 of 64 units, but rule 'head keep 1' allows 64" in problems
    assert any("the units that its parts keep have" in problem for problem in problems)


def test_a_share_within_a_rule_that_is_not_that_of_the_network_is_named(copy: StudyFolder) -> None:
    spec = trial_of(copy, "channel")
    facts = Outcome.from_file(copy.trial(spec.key()).read("outcome.json")).facts
    assert facts
    kept = facts.parts["block2.conv"]
    (problem,) = damage(copy, spec, {"block2.conv": 5 / 16 if kept > 0.5 else 12 / 16})
    assert problem.startswith(f"trial {spec.key()}: the units that its parts keep have ")


@pytest.mark.parametrize("before", [False, True])
def test_weights_beyond_a_rule_are_named_whatever_was_reported(copy: StudyFolder, before: bool) -> None:
    """The network stays as it is, and the rule of its trial asks for more than it has."""
    spec = trial_of(copy, "weight", before)
    rule = LayerRule(match="hidden", keep=1.0)
    (problem,) = damage(copy, spec, layers=(rule,))
    changed = spec.model_copy(update={"layers": (rule,)})
    network = load_pruned(epoch_of(copy, changed).uri)
    weights = network.get_submodule("hidden").get_parameter("weight")
    kept, units = int(weights.count_nonzero()), weights.numel()
    assert (
        problem
        == f"trial {changed.key()}: hidden keeps {kept:,} of {units:,} units, but rule 'hidden keep 1' allows {units:,}"
    )
