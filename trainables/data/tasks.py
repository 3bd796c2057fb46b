"""Data of a task of the user's own: what `sources` does for images."""

from trainables.data import samples
from trainables.data.samples import Samples
from trainables.data.splits import TaskSplits
from trainables.data_spec import DataSpec
from trainables.models import own_code
from trainables.models.inputs import Inputs
from trainables.task.check import refuse_wrong
from trainables.task.loading import load_task
from trainables.task.task import Task


def check(data: DataSpec) -> None:
    """Raise ValueError for a task that cannot be loaded, or that has a wrong field. It reads one sample of a split."""
    _task(data)


def identified(data: DataSpec) -> DataSpec:
    """Set the checksums of the task's code and of its samples, and look up its metric. It reads all samples.

    Raises ValueError as `check` does, and for a sample that cannot be read.
    """
    task = _task(data)
    code = own_code.checksum(data.task.function.partition(":")[0])
    known = data.task.model_copy(update={"code": code, "metric": task.metric.spec})
    return data.model_copy(update={"task": known, "content": samples.checksum(task)})


def inputs(data: DataSpec) -> Inputs:
    """Return what a model of the task is built for. Raises ValueError as `check` does."""
    return samples.inputs_of(_task(data))


def load(data: DataSpec) -> TaskSplits:
    """Load the splits that a search may read. Raises ValueError as `check` does."""
    task = _task(data)
    train, val = (
        samples.samples_of(task, role, data.split_seed, most)
        for role, most in (("train", data.max_train), ("val", data.max_val))
    )
    about = [f"{data.task.function}: {len(train):,} samples to train, {len(val):,} to validate"]
    if task.objective.hits is None:
        about.append("samples are not recorded, as the Task has neither labels nor hits to say what is right")
    return TaskSplits(train, val, samples.inputs_of(task), task.objective, tuple(about))


def load_test(data: DataSpec) -> Samples:
    """Load the test split. Raises ValueError for a task that has none, and as `check` does."""
    task = _task(data)
    if "test" not in task.splits:
        raise ValueError(
            f"splits of task {data.task.function!r} must have 'test', but have only {', '.join(task.splits)}; add it, "
            "or leave out --test"
        )
    return samples.samples_of(task, "test", data.split_seed, data.max_test)


def _task(data: DataSpec) -> Task:
    task = load_task(data.task.function)
    refuse_wrong(data.task.function, task)
    return task
