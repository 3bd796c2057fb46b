"""Sizes of images: torchvision's own answers, and draws like its own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as transforms

from tests.trainables.image_files import RNG
from trainables.data.resizing import cut, fitted, part


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("shape", [(500, 375), (375, 501), (256, 256), (40, 90), (224, 300)])
def test_cropping_is_what_torchvision_does_to_evaluate_on_imagenet(shape: tuple[int, int]) -> None:
    image = picture(*shape)
    expected = transforms.center_crop(transforms.resize(image, [256]), [224])
    assert np.array_equal(np.asarray(fitted(image, 224, "crop")), np.asarray(expected))
    assert fitted(image, 33, "crop").size == (33, 33)


@pytest.mark.parametrize("seed", range(5))
def test_a_random_part_is_torchvisions_resized_crop(seed: int) -> None:
    image = picture(130, 97)
    left, top, width, height = part(130, 97, seed)
    expected = transforms.resized_crop(image, top, left, height, width, [32, 48])
    assert np.array_equal(np.asarray(cut(image, (48, 32), seed)), np.asarray(expected))


@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 2**63 - 2))
def test_a_random_part_lies_in_the_image_and_depends_on_the_seed_alone(width: int, height: int, seed: int) -> None:
    left, top, w, h = drawn = part(width, height, seed)
    assert 0 <= left < left + w <= width
    assert 0 <= top < top + h <= height
    assert part(width, height, seed) == drawn


@pytest.mark.parametrize("shape", [(500, 375), (200, 600)])
def test_random_parts_are_drawn_as_torchvision_draws_them(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    image, draws = picture(*shape), 2000
    theirs = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(draws)]
    ours = [part(*shape, seed) for seed in range(draws)]
    for mine, its in zip(zip(*ours, strict=True), (1, 0, 3, 2), strict=True):
        assert ks_2samp(mine, [drawn[its] for drawn in theirs]).pvalue > 0.001
