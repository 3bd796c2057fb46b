"""How many trials share a GPU: the rule worked by hand, a measurement on a CPU, and placing on GPUs in name only."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from search.running.gpu_sharing import SPARE, largest, share_of_gpu, together
from search.running.messages import Messages
from search.running.ray_session import ENVIRONMENT
from search.running.shared_work import SharedWork
from search.running.tuner import may_share
from search.study.spec import StudySpec
from tests.trainables.trials import CHANNEL, CPU, DATA, DENSE, WEIGHT
from trainables.data import sources
from trainables.data.splits import Splits
from trainables.storage.folder import Folder
from trainables.training.gpu_load import Load, measure
from trainables.training.process import WorkerResources, memory_fraction

GIB = 1 << 30


@pytest.mark.parametrize(
    ("memory", "busy", "most", "many"),
    [
        (1, 0.1, 99, 8),  # eight take 12 of 80 GiB with a margin, and 80 % of the time
        (1, 0.2, 99, 4),  # eight would need 160 % of the time
        (1, 0.25, 99, 4),
        (1, 0.26, 99, 2),
        (1, 0.6, 99, 1),
        (10, 0.1, 99, 4),  # eight would take 120 GiB
        (20, 0.1, 99, 2),
        (30, 0.1, 99, 1),
        (1, 0.1, 7, 4),  # only seven trials are left, or have processors
        (1, 0.1, 1, 1),
    ],
)
def test_as_many_share_a_gpu_as_fit_into_its_memory_and_its_time(
    memory: int, busy: float, most: int, many: int
) -> None:
    assert together(Load(memory * GIB, busy, 80 * GIB), most) == many


@given(st.integers(1, 90 * GIB), st.floats(0.001, 1), st.integers(1, 100))
def test_trials_that_share_fit_and_no_more_share_than_exist(memory: int, busy: float, most: int) -> None:
    many = together(Load(memory, busy, 80 * GIB), most)
    assert many in (1, 2, 4, 8)
    assert many <= max(1, most)
    if many > 1:
        cap = memory_fraction(1 / many, 80 * GIB) * 80 * GIB  # memory of PyTorch without its CUDA context
        assert memory * SPARE <= cap + 600 * 2**20
        assert many * busy <= 1


def test_shares_of_memory_leave_room_for_what_every_process_takes_before_a_tensor() -> None:
    assert memory_fraction(0.25, 80 * GIB) == pytest.approx((20 * GIB - 600 * 2**20) / (80 * GIB))
    assert memory_fraction(0.125, 4 * GIB) == 0.125 / 2  # some memory must be left
    assert memory_fraction(1.0, 80 * GIB) == memory_fraction(0.0, 80 * GIB) == 1.0


def test_a_training_is_measured_by_its_own_loop(splits: Splits) -> None:
    load = measure(DENSE, splits, CPU)
    assert (load.memory, load.total, load.device) == (0, 0, "cpu")
    assert 0.2 < load.busy <= 1  # a CPU does not wait, but Python takes its share
    assert Load.greatest([Load(3, 0.1, 9, "x"), Load(2, 0.4, 9, "x")]) == Load(3, 0.4, 9, "x")


def test_the_largest_batch_of_each_network_is_probed() -> None:
    wide = WEIGHT.model_copy(update={"dense": DENSE.model_copy(update={"width": 2.0, "seed": 7})})
    longer = WEIGHT.model_copy(update={"finetune": WEIGHT.finetune.model_copy(update={"batch_size": 90})})
    probed = largest([CHANNEL, wide, longer, WEIGHT])
    assert [(dense.width, dense.recipe.batch_size) for dense in probed] == [(0.5, 90), (2.0, 64)]


def test_only_automatic_shares_of_what_is_not_timed_are_probed() -> None:
    study = StudySpec.model_validate({"name": "s"})
    asked = {"gpus": 0.5}
    assert may_share(study, WorkerResources(gpus=1.0))
    assert not may_share(study, WorkerResources(gpus=0.0))
    assert not may_share(study, WorkerResources(gpus=1.0, workers=2))
    assert not may_share(study.model_copy(update={"latency": True}), WorkerResources(gpus=1.0))
    assert not may_share(StudySpec.model_validate({"name": "s", "resources": asked}), WorkerResources(gpus=1.0))


@pytest.fixture(scope="module")
def splits() -> Splits:
    return sources.load(DATA)


@pytest.fixture(scope="module")
def two_gpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray on this machine, with two GPUs that exist only as numbers."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        ray.init("local", num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@ray.remote
def _where(name: str, storage: Folder, resources: WorkerResources) -> None:
    """Write down the GPU of this worker, and wait until all four workers have done so."""
    import os

    storage.write(name, os.environ["CUDA_VISIBLE_DEVICES"].encode())
    deadline = time.monotonic() + 60
    while not all(storage.has(str(n)) for n in range(4)) and time.monotonic() < deadline:
        time.sleep(0.05)


def test_halves_of_two_gpus_hold_four_at_once(two_gpus: None, tmp_path: Path) -> None:
    storage, messages = Folder.at(str(tmp_path)), list[str]()
    shared_work = SharedWork(
        storage, WorkerResources(cpus=1.0, gpus=0.5), Messages("normal", messages.append), local=True
    )
    shared_work.make(_where, [(str(n),) for n in range(4)], "placed")
    assert messages[-1].endswith("  placed: 4 of 4")
    assert Counter(storage.read(str(n)).decode() for n in range(4)) == {"0": 2, "1": 2}


def test_few_trials_have_a_gpu_each_and_a_probe_decides_for_many(two_gpus: None, splits: Splits) -> None:
    references: dict[str, Any] = {DATA.key(): ray.put(splits)}
    whole = WorkerResources(gpus=1.0)
    assert share_of_gpu(whole, [WEIGHT], references, trials=2) == (whole, "each trial has a GPU to itself")
    assert share_of_gpu(replace(whole, cpus=4.0), [WEIGHT], references, trials=9)[0].gpus == 1.0  # processors for one
    shared, message = share_of_gpu(whole, [WEIGHT], references, trials=9)
    assert shared.gpus in (0.5, 1.0)  # depends on how busy the CPU was; processors allow two on each GPU
    assert message.endswith("of its time (cpu)")
    failed, message = share_of_gpu(whole, [WEIGHT], {}, trials=9)
    assert failed == whole
    assert message.startswith("each trial has a GPU to itself, as a probe failed: KeyError")
