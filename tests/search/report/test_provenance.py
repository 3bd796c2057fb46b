"""How a page was made: the command gives the study."""

import shlex
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from search.report.provenance import run_command
from search.study.checks import complaints_of_settings
from search.study.reading import parse_study, shipped
from trainables.learnability.records import Records
from trainables.recipe import Recipe
from trainables.task_spec import MetricSpec, TaskSpec

ADAM, MEASURE = f"{__name__}:adam", f"{__name__}:mean_hits"


def adam(parameters: Sequence[tuple[str, torch.nn.Parameter]], recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=recipe.lr)


def mean_hits(records: Records) -> NDArray[np.float64]:
    means: NDArray[np.float64] = records.hits.mean(axis=0)
    return means


@pytest.mark.parametrize("source", sorted(shipped()))
@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["finetune.lr=0.00003", "width=0.25", "models=[vgg16]", "recoveries=[finetune, scratch]"],
        ["data.name=parquet", "data.path=/some where/it's", "data.size=32", "tracking=off", "search.scheduler=asha"],
    ],
)
def test_the_command_of_a_study_gives_the_study(source: str, changes: list[str]) -> None:
    study = parse_study(source, changes, "renamed")
    program, verb, base, *rest = shlex.split(run_command(study))
    assert (program, verb) == ("howcompact", "run")
    assert rest[:2] == ["--name", "renamed"]
    assert rest[2:3] == ["--set"] or not rest[2:]
    assert parse_study(base, rest[3:], "renamed") == study


def test_the_command_leaves_out_what_each_run_finds() -> None:
    given = parse_study(
        {
            "name": "mine",
            "task": "pkg:task",
            "models": ["pkg:model"],
            "curricula": [{"name": "easy-first", "measure": MEASURE}],
            "dense": {"optimizer": ADAM},
            "finetune": {"optimizer": ADAM},
        }
    )
    found = given.model_copy(
        update={
            "contents": {"pkg:model": "code 0123"},
            "data": given.data.model_copy(
                update={
                    "content": "0123",
                    "task": TaskSpec(function="pkg:task", code="4567", metric=MetricSpec(name="r2")),
                }
            ),
            "dense": given.dense.model_copy(update={"code": "code cdef"}),
            "finetune": given.finetune.model_copy(update={"code": "code cdef"}),
            "curricula": (given.curricula[0].model_copy(update={"content": "89ab", "code": f"{MEASURE} 0123"}),),
        }
    )
    _, _, base, *rest = shlex.split(run_command(found))
    assert complaints_of_settings(again := parse_study(base, rest[3:], "mine")) == []
    assert again == given
