"""The real thing: CIFAR-10 as it is published."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.trainables.image_files import parquet_spec
from trainables.data import sources
from trainables.data.splits import Splits
from trainables.data.statistics import statistics
from trainables.data.types import Shape


@pytest.fixture(scope="module")
def whole(cifar10: Path) -> Splits:
    return sources.load(parquet_spec(cifar10))


def test_cifar10_has_its_published_statistics_and_class_counts(whole: Splits) -> None:
    mean, std = statistics(np.concatenate([whole.train.images, whole.val.images]))
    assert mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-4)
    assert std == pytest.approx((0.2470, 0.2435, 0.2616), abs=1e-4)
    assert np.bincount(whole.train.labels).tolist() == [4500] * 10
    assert np.bincount(whole.val.labels).tolist() == [500] * 10
    assert whole.classes[:2] == ("airplane", "automobile")
    assert np.array_equal(np.sort(np.concatenate([whole.train.ids, whole.val.ids])), np.arange(50_000))


def test_cifar10_ids_are_rows_of_the_files(whole: Splits, cifar10: Path) -> None:
    rows = pq.read_table(cifar10 / "train-1.parquet").slice(0, 50).to_pylist()
    found = 0
    for split in (whole.train, whole.val):
        for slot in np.flatnonzero((split.ids >= 25_000) & (split.ids < 25_050)):
            row = rows[split.ids[slot] - 25_000]
            pixels = np.asarray(Image.open(io.BytesIO(row["image"])))
            assert np.array_equal(split.images[slot].transpose(1, 2, 0), pixels)
            assert split.labels[slot] == row["label"]
            found += 1
    assert found == 50


def test_cifar10_subset_is_the_start_of_the_whole(whole: Splits, cifar10: Path) -> None:
    few = sources.load(parquet_spec(cifar10, max_train=105, max_val=20))
    assert np.array_equal(few.train.ids, whole.train.ids[:105])
    assert np.array_equal(few.train.images, whole.train.images[:105])
    assert sorted(np.bincount(few.train.labels).tolist()) == [10] * 5 + [11] * 5
    assert np.bincount(few.val.labels).tolist() == [2] * 10


def test_cifar10_test_split_is_its_test_file(cifar10: Path) -> None:
    test = sources.load_test(parquet_spec(cifar10, max_test=200))
    assert np.bincount(test.labels).tolist() == [20] * 10
    labels = pq.read_table(cifar10 / "test-0.parquet", columns=["label"])["label"].to_numpy()
    assert np.array_equal(labels[test.ids - 50_000], test.labels)
    assert sources.peek(parquet_spec(cifar10)) == Shape(3, 32, 32, 10)
