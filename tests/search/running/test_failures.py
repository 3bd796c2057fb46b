"""A dense network or a profile that fails ends the trials that start from it; all others run."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from ray.exceptions import RayTaskError

from search.results.folder import StudyFolder
from search.running.failures import SharedFailures, message_of, raised, scores_of
from search.searching.searcher import StudySearcher
from search.study.spec import StudySpec
from tests.search.conftest import FEW, howcompact, installed
from trainables.learnability.curriculum_kinds import is_scored
from trainables.storage.folder import Folder, StorageError
from trainables.training.train import DivergedError

MOODY = """
from torch import nn

class Moody(nn.Sequential):
    def forward(self, images):
        if len(images) == 61 and not self.training:
            raise RuntimeError("sixty-one images are too many")
        return super().forward(images)

def build(num_classes, in_channels):
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)
    return Moody(nn.Conv2d(in_channels, 8, 3), nn.ReLU(), *head)
"""
HOT = """
from torch import nn

class Hot(nn.Sequential):
    def forward(self, images):
        return super().forward(1e6 * images) * 1e6

def build(num_classes, in_channels):
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)
    return Hot(nn.Conv2d(in_channels, 8, 3), nn.ReLU(), *head)
"""
STUDY = StudySpec.model_validate(
    {
        "name": "s",
        "policies": ["uniform", "capacity-functional", "searched"],
        "sparsities": [0.5, 0.8],
        "seeds": [0, 1],
        "search": {"trials": 5, "warm_start": ["uniform"]},
    }
)


def diverged(text: str = "loss must stay finite, but became nan in epoch 1; lower lr 0.1") -> RayTaskError:
    return RayTaskError("make", "a traceback", DivergedError(text))


def searcher_of(path: Path) -> StudySearcher:
    folder = StudyFolder(Folder.at(str(path)))
    folder.write_study(STUDY)
    return StudySearcher(STUDY, folder, configure=lambda spec: {"spec": spec})


def test_a_failure_names_the_network_the_seed_the_error_and_the_remedy() -> None:
    dense = STUDY.trials()[0].dense.model_copy(update={"seed": 3})
    assert message_of("dense", dense, diverged()) == (
        "the dense network small_cnn with seed 3 must train before its trials run, but fails with DivergedError: loss "
        "must stay finite, but became nan in epoch 1; lower lr 0.1 (dense.lr), or take small_cnn out of models; the "
        "same command tries again"
    )
    assert "the profile of small_cnn with seed 3 must work" in message_of("profile", dense, KeyError("x"))
    assert "\n" not in message_of("dense", dense, RuntimeError("one line\nand another"))


def test_only_the_storage_and_mistakes_keep_their_own_error() -> None:
    for cause in (StorageError("storage must work"), ValueError("policy must be")):
        found = raised(RayTaskError("make", "a traceback", cause))
        assert (type(found), str(found)) == (type(cause), str(cause))
    assert isinstance(raised(diverged()), RayTaskError)


def test_trials_of_a_dense_network_that_fails_fail_and_its_searches_propose_nothing(tmp_path: Path) -> None:
    searcher, said = searcher_of(tmp_path / "s"), list[str]()
    assert searcher.total == 2 * 2 * (2 + 4)
    failures = SharedFailures(said.append)
    assert searcher.leave_out(failures.reason) == []
    broken = next(spec.dense for spec in STUDY.trials() if spec.seed == 1)
    failures.add("dense", broken.key(), broken, diverged())
    assert said == failures.messages
    assert {spec.seed for spec in failures.without(searcher.specs)} == {0}
    failed = searcher.leave_out(failures.reason)
    assert {(outcome.spec.seed, outcome.spec.policy) for outcome in failed} == {
        (1, "uniform"),
        (1, "capacity-functional"),
    }
    assert {(outcome.status, outcome.error) for outcome in failed} == {("failed", said[0])}
    assert len(failed) == 2 * 2
    assert searcher.left_out == {said[0]: 2 * 4}
    assert searcher.total == 2 * (2 + 4)
    assert {spec.seed for spec in searcher.specs} == {0}
    assert searcher_of(tmp_path / "s").total == 2 * 2 * (2 + 4)  # the next run tries all of them again


def test_a_profile_that_fails_ends_only_the_trials_that_read_it(tmp_path: Path) -> None:
    searcher, failures = searcher_of(tmp_path / "s"), SharedFailures(lambda text: None)
    reader = next(spec for spec in STUDY.trials() if spec.policy == "capacity-functional")
    failures.add("profile", reader.profile.key(), reader.dense, diverged())
    failed = searcher.leave_out(failures.reason)
    assert {(outcome.spec.seed, outcome.spec.policy) for outcome in failed} == {(0, "capacity-functional")}
    assert not searcher.left_out


def test_scores_that_fail_end_only_the_trials_that_draw_by_them(tmp_path: Path) -> None:
    curricula = [{"name": "easy-first"}, {"name": "easy-first", "measure": "aum"}]
    study = StudySpec.model_validate(
        {"name": "s", "seeds": [0, 1], "policies": ["uniform"], "curricula": curricula, "records": {"dense": "during"}}
    )
    failures = SharedFailures(lambda text: None)
    drawing = next(spec for spec in study.trials() if spec.curriculum.measure == "aum" and spec.dense.seed == 1)
    (key,) = scores_of(drawing)
    failures.add(
        "scores", key, drawing.dense, RayTaskError("score", "a traceback", ValueError("scores must be finite"))
    )
    assert failures.reason(drawing) == (
        "the sample scores of small_cnn with seed 1 must work before its trials run, but fails with ValueError: scores "
        "must be finite; correct it, or take small_cnn out of models; the same command tries again"
    )
    failed = [spec for spec in study.trials() if failures.reason(spec)]
    assert failed == [
        s for s in study.trials() if s.curriculum.measure == "aum" and s.seed == 1 and is_scored(s.curriculum)
    ]


@pytest.fixture(scope="module")
def half_failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A study of three networks in a folder whose name a shell would split: one diverges, of one a profile fails."""
    home = tmp_path_factory.mktemp("two words")
    (home / "hc_hot.py").write_text(HOT)
    (home / "hc_moody.py").write_text(MOODY)
    settings = [*FEW, "models=[small_cnn,hc_hot:build,hc_moody:build]", "width=1.0", "policies=[uniform,sensitivity]"]
    settings += ["calibration=61", "recalibrate=0", "data.max_train=300"]
    path = {"PYTHONPATH": f"{home}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return home, installed("run", "digits", "--set", *settings, cwd=home, more=path)


def test_what_fails_before_the_trials_ends_only_those_that_start_from_it(
    half_failed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    home, done = half_failed
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "trials: 6 total, 6 new, 3 done, 3 failed, 0 stopped" in done.stdout
    assert "2 failed: the dense network hc_hot:build with seed 0 must train before its trials run" in done.stdout
    assert "DivergedError: loss must stay finite" in done.stdout
    profile = (
        "the profile of hc_moody:build with seed 0 must work before its trials run, but fails with RuntimeError: "
        "sixty-one images are too many; correct it, or take hc_moody:build out of models; the same command tries again"
    )
    assert f"1 failed: {profile}" in done.stdout
    rows = {(row.model, row.policy): row for row in StudyFolder.open(str(home / "howcompact-runs" / "digits")).rows()}
    assert {trial for trial, row in rows.items() if row.status == "done"} == {
        *(("small_cnn", "uniform"), ("small_cnn", "sensitivity"), ("hc_moody:build", "uniform"))
    }
    diverged = rows["hc_hot:build", "uniform"].error
    assert diverged is not None
    assert "hc_hot:build" in diverged
    failed = {trial: row.error for trial, row in rows.items() if row.status == "failed"}
    assert failed == {
        ("hc_hot:build", "uniform"): diverged,
        ("hc_hot:build", "sensitivity"): diverged,
        ("hc_moody:build", "sensitivity"): profile,
    }
    progress = howcompact("status", "howcompact-runs/digits", "--json", cwd=home)
    assert json.loads(progress.stdout)["failures"] == {diverged: 2, profile: 1}
    assert diverged in done.stdout


def test_the_proposed_command_works_as_it_is_printed(
    half_failed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    home, done = half_failed
    command = done.stdout.partition("best checkpoint: ")[2].splitlines()[0]
    program, *arguments = shlex.split(command)
    assert (program, arguments[0]) == ("howcompact", "best")
    assert "sparsity>=0.5" in arguments
    taken = howcompact(*arguments, cwd=home)
    assert taken.returncode == 0, taken.stderr
    assert (home / "best" / "network.safetensors").exists()
