from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from trainables.data import sources
from trainables.data.batches import Augment, Batch, Drawn, Resident, eval_batches, train_batches, vary
from trainables.data.splits import Split, Splits
from trainables.data_spec import DataSpec

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
AUGMENTS: tuple[Augment, ...] = get_args(Augment)


def resident(count: int, side: int = 8, device: str = "cpu") -> Resident:
    images = np.random.default_rng(0).integers(0, 256, (count, 3, side, side), np.uint8)
    split = Split(images, np.arange(count), np.arange(count))
    return Resident(split, Splits(split, split, (), MEAN, STD), device)


def together(batches: Any) -> tuple[Tensor, Tensor, Tensor]:
    images, labels, index = zip(*((part.inputs, part.content[1], part.index) for part in batches), strict=True)
    return torch.cat(images), torch.cat(labels), torch.cat(index)


def test_augmentations_are_those_of_the_settings() -> None:
    assert get_args(DataSpec.model_fields["augment"].annotation) == AUGMENTS


def test_resident_shares_the_memory_of_the_split() -> None:
    splits = sources.load(DataSpec())
    split, there = splits.val, Resident(splits.val, splits, "cpu")
    assert there.images.data_ptr() == split.images.ctypes.data
    assert there.labels.data_ptr() == split.labels.ctypes.data
    assert there.images.dtype == torch.uint8
    assert len(there) == len(split)


def test_resident_outlives_the_split() -> None:
    there = resident(1000)
    again = resident(1000)
    assert torch.equal(there.images, again.images)


def test_normalised_train_split_has_mean_zero_and_deviation_one() -> None:
    splits = sources.load(DataSpec())
    images, _, _ = together(eval_batches(Resident(splits.train, splits, "cpu"), 100))
    assert images.mean().item() == pytest.approx(0, abs=1e-5)
    assert images.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_eval_batches_are_in_order_and_normalised_as_torchvision_does() -> None:
    there = resident(23)
    batches = list(eval_batches(there, 11))
    assert [len(batch.labels) for batch in batches] == [11, 11, 1]
    images, labels, index = together(batches)
    expected = transforms.normalize(transforms.to_dtype(there.images, torch.float32, scale=True), list(MEAN), list(STD))
    torch.testing.assert_close(images, expected)
    assert labels.tolist() == index.tolist() == list(range(23))


@pytest.mark.parametrize("augment", AUGMENTS)
def test_a_pass_visits_every_sample_once_in_an_order_set_by_the_seed_alone(augment: Augment) -> None:
    there = resident(50)
    state = torch.get_rng_state()
    first = together(train_batches(there, 8, augment, 5))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    again = together(train_batches(there, 8, augment, 5))
    other = together(train_batches(there, 8, augment, 6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert sorted(first[2].tolist()) == list(range(50))
    assert not torch.equal(first[2], other[2])
    assert torch.equal(first[1], first[2])
    assert torch.equal(first[2], together(train_batches(there, 16, "none", 5))[2])


@pytest.mark.parametrize(("count", "sizes"), [(9, [4, 4]), (10, [4, 4, 2]), (1, [1]), (4, [4])])
def test_a_last_batch_of_one_is_dropped_unless_it_is_all_there_is(count: int, sizes: list[int]) -> None:
    assert [len(batch.labels) for batch in train_batches(resident(count), 4, "none", 0)] == sizes


@pytest.mark.parametrize("augment", AUGMENTS)
def test_drawn_samples_come_in_their_order_with_their_weights(augment: Augment) -> None:
    there, index = resident(7), torch.tensor([3, 3, 0, 6, 1, 1, 3, 2, 5])
    batches = list(train_batches(there, 4, augment, 0, Drawn(index, index / 2)))
    assert [len(batch.labels) for batch in batches] == [4, 4]
    for batch, expected in zip(batches, index.split(4), strict=False):
        assert batch.index.tolist() == batch.labels.tolist() == expected.tolist()
        assert batch.weights is not None
        assert batch.weights.tolist() == (expected / 2).tolist()
    if augment == "none":
        assert torch.equal(together(batches)[0], there.normalise(there.images[index[:8]]))


def test_the_mean_of_losses_goes_by_the_weights_of_the_samples() -> None:
    losses, labels = torch.tensor([1.0, 2.0, 6.0]), torch.arange(3)
    for weights, mean in ((None, 3.0), (torch.ones(3), 3.0), (torch.tensor([0.5, 2.0, 0.25]), 2.0)):
        assert float(Batch((losses, labels), losses, labels, weights).mean(losses)) == mean


@pytest.mark.parametrize(("side", "margin"), [(8, 1), (32, 4), (5, 1)])
def test_vary_agrees_with_one_image_at_a_time(side: int, margin: int) -> None:
    images = torch.randn(40, 3, side, side + 2)
    shifts = torch.randint(0, 2 * margin + 1, (2, 40))
    flips = torch.rand(40) < 0.5
    for image, top, left, flip, found in zip(images, *shifts, flips, vary(images, margin, shifts, flips), strict=True):
        crop = F.pad(image, (margin,) * 4)[:, top : top + side, left : left + side + 2]
        assert torch.equal(found, transforms.horizontal_flip(crop) if flip else crop)


@pytest.mark.parametrize(
    ("augment", "side", "margin", "mirrors"),
    [("none", 8, 0, 1), ("flip", 8, 0, 2), ("crop", 8, 1, 1), ("crop_flip", 8, 1, 2), ("crop", 32, 4, 1)],
)
def test_every_variant_occurs_equally_often_and_no_other(
    augment: Augment, side: int, margin: int, mirrors: int
) -> None:
    there = resident(2000, side)
    variants = mirrors * (2 * margin + 1) ** 2
    seen = np.zeros(variants, int)
    for batch in train_batches(there, 500, augment, 1):
        original = there.normalise(there.images[batch.index])
        padded = F.pad(original, (margin,) * 4)
        possible = [
            crop.flip(3) if mirror else crop
            for mirror in range(mirrors)
            for top in range(2 * margin + 1)
            for left in range(2 * margin + 1)
            for crop in [padded[:, :, top : top + side, left : left + side]]
        ]
        matches = torch.stack([(batch.images == variant).flatten(1).all(1) for variant in possible])
        assert (matches.sum(0) == 1).all()
        seen += matches.sum(1).numpy()
    expected = 2000 / variants
    assert ((seen - expected) ** 2 / expected).sum() < variants - 1 + 4 * np.sqrt(2 * variants)  # chi squared


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augment", AUGMENTS)
def test_a_gpu_sees_the_batches_that_a_cpu_sees(augment: Augment) -> None:
    here = together(train_batches(resident(50), 8, augment, 5))
    there = together(train_batches(resident(50, device="cuda"), 8, augment, 5))
    assert there[0].is_cuda
    torch.testing.assert_close(there[0].cpu(), here[0])
    assert torch.equal(there[2].cpu(), here[2])
