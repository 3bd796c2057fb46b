from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from trainables.data import sources
from trainables.data_spec import DataSpec
from trainables.recipe import Recipe
from trainables.spec import Precision
from trainables.training.fit import residents
from trainables.training.process import WorkerResources, hardware, prepare_process
from trainables.training.recalibration import recalibrate
from trainables.training.train import TrainingPlan, evaluate, train

CPU = torch.device("cpu")


@pytest.fixture
def clean() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    prepare_process(WorkerResources(cpus=threads))


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(
    ("precision", "dtype", "described"),
    [("auto", torch.float32, "cpu"), ("float32", torch.float32, "cpu"), ("bfloat16", torch.bfloat16, "cpu, bfloat16")],
)
def test_a_process_trains_and_evaluates_in_the_precision_of_its_resources(
    precision: Precision, dtype: torch.dtype, described: str
) -> None:
    prepare_process(WorkerResources(cpus=1, precision=precision))
    assert hardware(CPU) == described
    splits = sources.load(DataSpec(max_train=64, max_val=32))
    data = residents(splits, CPU)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 10))
    seen = set[torch.dtype]()

    def look(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        seen.add(output.dtype)

    model[0].register_forward_hook(look)
    recipe = Recipe(epochs=1, batch_size=32)
    for work in (
        lambda: next(train(model, data[0], TrainingPlan(recipe))),
        lambda: evaluate(model, data[1]),
        lambda: recalibrate(model, data[0], 1, 32, 0),
    ):
        seen.clear()
        work()
        assert seen == {dtype}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.usefixtures("clean")
def test_the_next_training_of_a_process_has_its_own_precision() -> None:
    prepare_process(WorkerResources(precision="bfloat16"))
    prepare_process(WorkerResources())
    assert hardware(CPU) == "cpu"
