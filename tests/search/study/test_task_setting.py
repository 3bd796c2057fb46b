"""The setting `task` of a study: what is refused before the first trial, counts in keys, is trusted, goes to a job."""

import sys
from pathlib import Path

import pytest
import yaml

from search.cluster.packing import pack
from search.results.proposal import best_command
from search.results.rows import row_of
from search.running.identity import identified
from search.study.checks import complaints_of_settings
from search.study.reading import parse_study, read_study
from search.study.spec import StudySpec
from tests.search.comparison.test_metrics import of_text
from tests.search.conftest import EXAMPLES
from trainables.data import sources
from trainables.data_spec import DataSpec
from trainables.models.trust import NO_TRUST, Trust
from trainables.storage.folder import Folder


def study(*settings: str, name: str = "table") -> StudySpec:
    return parse_study(str(EXAMPLES / f"{name}.yaml"), settings)


def test_a_study_without_a_task_has_the_keys_that_it_had() -> None:
    assert DataSpec().key() == DataSpec.model_validate({"task": {}}).key()
    assert "task" not in DataSpec().model_dump(exclude_defaults=True)


def test_code_and_samples_count_in_keys(tasks: Path, tmp_path: Path) -> None:
    storage = Folder.at(str(tmp_path))
    found = identified(read_study(str(EXAMPLES / "table.yaml")), storage, lambda _: None)
    task = found.data.task
    assert (task.function, task.metric.name, len(task.code), len(found.data.content)) == (
        "table:diabetes",
        "r2",
        16,
        32,
    )
    again = identified(read_study(str(EXAMPLES / "table.yaml")), storage, lambda _: None)
    keys = {cell.key() for cell in found.cells()}
    assert keys == {cell.key() for cell in again.cells()}
    for changed in ({"task": task.model_copy(update={"code": "0" * 16})}, {"content": "0" * 32}):
        other = found.model_copy(update={"data": found.data.model_copy(update=changed)})
        assert keys.isdisjoint(cell.key() for cell in other.cells())
    assert StudySpec.model_validate_json(found.model_dump_json()) == found


def test_the_order_of_samples_is_drawn_and_limits_hold(tasks: Path) -> None:
    data = study("data.max_train=50").data
    splits, other = sources.load_any(data), sources.load_any(data.model_copy(update={"split_seed": 1}))
    assert (len(splits.train), len(splits.val)) == (50, 88)
    assert splits.train.ids.tolist() != sorted(splits.train.ids.tolist())
    assert splits.train.ids.tolist() != other.train.ids.tolist()
    assert len(sources.load_any_test(data)) == 88
    with pytest.raises(ValueError, match="splits of task 'text:docstrings' must have 'test', but have only train, val"):
        sources.load_any_test(study(name="text").data)


def test_it_is_said_where_samples_are_not_recorded(tasks: Path) -> None:
    """The table has no right answers; the series has labels."""
    said = [sources.load_any(study(name=name).data).about for name in ("table", "series")]
    assert said[0][1:] == ("samples are not recorded, as the Task has neither labels nor hits to say what is right",)
    assert said[1][1:] == ()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["task=table"], "task must be package.module:function, but got 'table'"),
        (["data.augment=flip"], "data.augment must be left out with a task"),
        (["data.name=cifar10"], "data.name must be left out with a task"),
        (["data.label_noise=0.2"], "data.label_noise must be left out with a task"),
        (["finetune.label_smoothing=0.1"], "finetune.label_smoothing must be left out with a task"),
        (["finetune.loss_weights=balanced"], "finetune.loss_weights must be left out with a task"),
        (["dense.mixup=0.2"], "dense.mixup must be left out with a task"),
        (["finetune.cutmix=1"], "finetune.cutmix must be left out with a task"),
    ],
)
def test_what_a_task_cannot_do_is_refused_without_importing_it(settings: list[str], complaint: str) -> None:
    assert "table" not in sys.modules
    found = complaints_of_settings(study(*settings))
    assert [line for line in found if line.startswith(complaint)], found
    assert "table" not in sys.modules


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["task='table:diabets'"], "did you mean 'diabetes'"),
        (["task='no_such_module:task'"], "task 'no_such_module:task' must name a module that can be imported"),
        (["task='table:r2'"], "task 'table:r2' must return a Task, but returned a Metric; return Task"),
        (["models=['scenes:unet']"], "scenes:unet must run on the inputs of the task"),
        (
            ["recoveries=[distill]"],
            "distillation.temperature must be 1 for a task whose outputs are no logits, but got 4",
        ),
        (["curricula=[easy-first]"], "curriculum 'easy-first' must know which outputs are right, but task"),
        (["records.finetune=during"], "records.finetune must know which outputs are right, but task"),
        (["records.dense=after"], "records.dense must know which outputs are right, but task"),
        (["policies=[capacity-functional]"], "policy 'capacity-functional' must know which outputs are right"),
        (
            ["task='text:docstrings'", "models=['text:gpt']", "curricula=[{name: easy-first, measure: aum}]"],
            "measure 'aum' of a curriculum must read labels, but task 'text:docstrings' has none; give its Task "
            "labels, or use learnability, forgetting, first-learned, correctness",
        ),
    ],
)
def test_a_task_that_does_not_fit_is_refused_before_the_first_trial(
    settings: list[str], complaint: str, tasks: Path
) -> None:
    with pytest.raises(ValueError, match=r"must|did you mean") as raised:
        read_study(str(EXAMPLES / "table.yaml"), settings)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_only_a_trusted_task_is_imported() -> None:
    Trust(["table:diabetes"]).check_task("table:diabetes")
    NO_TRUST.check_task("")
    with pytest.raises(ValueError, match=r"a checkpoint's task must be trusted, .* add --trust table:diabetes"):
        NO_TRUST.check_task("table:diabetes")


def test_a_job_gets_the_code_of_the_task(tasks: Path, tmp_path: Path) -> None:
    pack(study(), tmp_path)
    assert (tmp_path / "table.py").read_text() == (EXAMPLES / "table.py").read_text()
    sent = yaml.safe_load((tmp_path / "study.yaml").read_text())
    assert sent["task"] == "table:diabetes"
    assert StudySpec.model_validate(sent) == study()


def test_the_command_for_the_best_network_trusts_the_task(tmp_path: Path) -> None:
    row = row_of(of_text("uniform", 0, 8.0)).model_copy(update={"model": "text:gpt"})
    assert best_command("f", [row]) == (
        "howcompact best f --where 'sparsity>=0.5' --out best/ --trust text:docs --trust text:gpt"
    )
