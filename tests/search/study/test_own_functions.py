"""Functions of the user's own in a study: refused before any trial, known by their code, sent to the cluster."""

import sys
from pathlib import Path

import pytest

from search.cluster.packing import pack
from search.running.identity import identified
from search.study.reading import read_study
from trainables.storage.folder import Folder

CODE = """
import optuna
import torch
from ray.tune.schedulers import FIFOScheduler


def adam(parameters, recipe):
    return torch.optim.Adam(parameters, lr=recipe.lr)


def none(parameters, recipe):
    return None


def hits(records):
    return records.hits.mean(axis=0)


def unseen(records):
    return records.margins.mean(axis=0)


def draws(seed, trials):
    return optuna.samplers.RandomSampler(seed)


def waits(epochs, metric, mode):
    return FIFOScheduler()


def everything(context):
    return lambda epoch: None
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delitem(sys.modules, "tried_optimizer", raising=False)  # of another test's folder
    file = tmp_path / "code" / "tried_optimizer.py"
    file.parent.mkdir()
    file.write_text(CODE)
    monkeypatch.syspath_prepend(file.parent)
    return file


def test_an_unsound_optimizer_is_refused_in_one_sentence() -> None:
    for phase in ("dense", "finetune"):
        with pytest.raises(ValueError, match=r":none' must return an optimizer of torch") as told:
            read_study("digits", [f"{phase}.optimizer=tried_optimizer:none"])
        assert len(str(told.value).splitlines()) == 1
    with pytest.raises(ValueError, match="optimizer must be a known name, but got 'adam'; did you mean 'adamw'"):
        read_study("digits", ["dense.optimizer=adam"])
    with pytest.raises(ValueError, match=r"finetune\.code must be left out, as each run finds it"):
        read_study("digits", ["finetune.code=abcd"])


def test_the_code_of_an_optimizer_counts_in_the_keys_of_what_it_trains(module: Path, tmp_path: Path) -> None:
    def keys(*settings: str) -> tuple[str, str]:
        study = identified(read_study("digits", settings), Folder.at(str(tmp_path)), lambda text: None)
        trial = study.trials()[0]
        return trial.dense.key(), trial.key()

    before, fixed = keys("finetune.optimizer=tried_optimizer:adam"), keys()
    dense = keys("dense.optimizer=tried_optimizer:adam")
    assert before[0] == fixed[0]
    assert len({before[1], fixed[1], dense[1]}) == 3
    module.write_text(CODE.replace("lr=recipe.lr", "lr=2 * recipe.lr"))
    after = keys("finetune.optimizer=tried_optimizer:adam")
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert keys("dense.optimizer=tried_optimizer:adam")[0] != dense[0]
    assert keys() == fixed


def test_the_code_of_a_curriculum_and_a_measure_counts_where_they_are_followed(module: Path, tmp_path: Path) -> None:
    def keys(curriculum: str) -> list[str]:
        study = read_study("digits", [f"curricula=[{curriculum}]"])
        study = identified(study, Folder.at(str(tmp_path)), lambda text: None)
        return [trial.key() for trial in study.trials()]

    own, measured = "'tried_optimizer:everything'", "{name: easy-first, measure: 'tried_optimizer:hits'}"
    before, scored, plain = keys(own), keys(measured), keys("easy-first")
    assert len(before) == len(scored) == len(plain)  # standard training, the curriculum and its control
    module.write_text(CODE.replace("lr=recipe.lr", "lr=2 * recipe.lr"))
    third = len(plain) // 3
    assert len({*before} - {*keys(own)}) == 2 * third
    assert len({*scored} - {*keys(measured)}) == third  # the control of easy-first needs no scores
    assert plain == keys("easy-first")
    with pytest.raises(ValueError, match=r"the scores of measure 'tried_optimizer:unseen' must be finite"):
        read_study("digits", ["curricula=[{name: easy-first, measure: 'tried_optimizer:unseen'}]"])


@pytest.mark.parametrize(
    "setting",
    [
        "dense.optimizer=tried_optimizer:adam",
        "curricula=[{name: easy-first, measure: 'tried_optimizer:hits'}]",
        "curricula=['tried_optimizer:everything']",
        "search.sampler=tried_optimizer:draws",
        "search.scheduler=tried_optimizer:waits",
    ],
)
def test_the_code_of_each_function_is_sent_to_the_cluster(setting: str, tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    folder.mkdir()
    pack(read_study("digits", [setting]), folder)
    assert (folder / "tried_optimizer.py").read_text() == CODE
