"""How a page was made: the command gives the study."""

import shlex

import pytest

from search.report.provenance import run_command
from search.study.checks import complaints_of_settings
from search.study.reading import parse_study, shipped
from trainables.task_spec import MetricSpec, TaskSpec


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
        {"name": "mine", "task": "pkg:task", "models": ["pkg:model"], "curricula": [{"name": "easy-first"}]}
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
            "curricula": (given.curricula[0].model_copy(update={"content": "89ab"}),),
        }
    )
    _, _, base, *rest = shlex.split(run_command(found))
    assert complaints_of_settings(again := parse_study(base, rest[3:], "mine")) == []
    assert again == given
