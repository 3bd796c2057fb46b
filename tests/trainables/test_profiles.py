import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.allocation.profiles import LEVELS, Profile, from_parquet, measure, to_parquet
from trainables.data import sources
from trainables.learning.profile import calibration_samples
from trainables.models import hub
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularity import Prunable
from trainables.pruning.layers import count, weight_of
from trainables.pruning.views import view
from trainables.spec import DataSpec, GranularityName

torch.set_num_threads(1)
EXAMPLE = torch.zeros(1, 1, 8, 8)
CRITERION: dict[GranularityName, str] = {"weight": "magnitude", "channel": "l1"}


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {n: weight_of(m).detach() for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def test_each_level_prunes_one_part_and_nothing_else() -> None:
    torch.manual_seed(0)
    dense = hub.build("small_cnn", 10, 1, width=0.5)
    whole = weights(dense)

    def fresh() -> tuple[nn.Module, Prunable]:
        model = copy.deepcopy(dense)
        return model, view(model, "weight", EXAMPLE)

    seen: list[dict[str, Tensor]] = []

    def evaluate(model: nn.Module) -> float:
        seen.append(weights(model))
        return len(seen) / 1000

    profile = measure(fresh, CRITERIA["magnitude"], 0, evaluate)
    asked = iter(seen)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in next(asked).items())
    assert profile.dense_accuracy == 0.001
    assert profile.levels == LEVELS
    assert list(profile.accuracy) == list(whole)
    expected = iter(range(2, 1 + len(seen)))
    for name, dense_weight in whole.items():
        for level, accuracy in zip(LEVELS[1:], profile.accuracy[name][1:], strict=True):
            assert accuracy == next(expected) / 1000
            pruned = next(asked)
            assert all(torch.equal(pruned[other], whole[other]) for other in whole if other != name)
            keep = max(len(dense_weight), round((1 - level) * dense_weight.numel()))
            assert int(pruned[name].count_nonzero()) == keep
            kept = np.sort(pruned[name].abs().flatten().numpy())[-keep:]
            np.testing.assert_array_equal(kept, np.sort(dense_weight.abs().flatten().numpy())[-keep:])
        assert profile.accuracy[name][0] == 0.001
    assert next(asked, None) is None


@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_deepest_level_leaves_the_floor_of_one_part(granularity: GranularityName) -> None:
    torch.manual_seed(0)
    dense = hub.build("resnet20", 10, 1, width=0.25)

    def fresh() -> tuple[nn.Module, Prunable]:
        model = copy.deepcopy(dense)
        return model, view(model, granularity, EXAMPLE)

    def size(model: nn.Module) -> float:
        if granularity == "weight":
            return float(sum(int(w.count_nonzero()) for w in weights(model).values()))
        return float(count(model, {}, EXAMPLE).params_kept)

    profile = measure(fresh, CRITERIA[CRITERION[granularity]], 0, size)
    _, prunable = fresh()
    for p, part in enumerate(prunable.parts):
        keep = np.array([other.units for other in prunable.parts])
        keep[p] = part.floor
        assert profile.accuracy[part.name][-1] == prunable.cost(keep, "params")
        assert (np.diff(profile.accuracy[part.name]) <= 0).all()


def test_parquet_brings_a_profile_back() -> None:
    curves = {"block.conv": (0.1 + 0.2, 0.5, 0.0), "head": (1 / 3, 0.25, 1.0)}
    profile = Profile((0.0, 0.1, 1.0), curves, dense_accuracy=0.987654321)
    assert from_parquet(to_parquet(profile)) == profile


def test_calibration_takes_the_first_training_samples_at_most() -> None:
    train = sources.load(DataSpec(max_train=100)).train
    for size, taken in ((30, 30), (1000, 100)):
        samples = calibration_samples(train, size)
        np.testing.assert_array_equal(samples.ids, train.ids[:taken])
        np.testing.assert_array_equal(samples.images, train.images[:taken])
    assert np.bincount(calibration_samples(train, 30).labels, minlength=10).tolist() == [3] * 10


def test_written_profile_is_plain_parquet(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    (tmp_path / "p.parquet").write_bytes(to_parquet(Profile((0.0, 1.0), {"a": (0.9, 0.1)}, 0.9)))
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert rows == [
        {"part": "a", "sparsity": 0.0, "accuracy": 0.9},
        {"part": "a", "sparsity": 1.0, "accuracy": 0.1},
    ]
