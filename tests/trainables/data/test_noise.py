"""Label noise: how many labels are flipped, which, to what, and what stays true."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from tests.trainables.data.test_arrays import write_idx
from tests.trainables.data.test_splits import listing, listings
from tests.trainables.image_files import grey, parquet_spec, png, save_folder, write_parquet
from tests.trainables.trials import CPU
from trainables.data import sources
from trainables.data.noise import flips, noisy_labels
from trainables.data.splits import Listing, divide
from trainables.data.types import Integers
from trainables.data_spec import DataSpec
from trainables.training.calibration import calibration_samples

FRACTIONS = st.floats(0.0, 0.99)


def digits(folder: Path) -> DataSpec:
    return DataSpec(max_train=500)


def parquet(folder: Path) -> DataSpec:
    write_parquet(folder / "a.parquet", [png(pixels) for pixels in grey(60)], [i % 3 for i in range(60)])
    return parquet_spec(folder)


def images(folder: Path) -> DataSpec:
    save_folder(folder, {"train/cat": 12, "train/dog": 9, "val/dog": 2, "test/cat": 2})
    return DataSpec(name="folder", path=str(folder))


def torchvision(folder: Path) -> DataSpec:
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count in (("train", 60), ("t10k", 20)):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", grey(count, 28))
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10)
    return DataSpec(name="fashion_mnist", path=str(folder))


@pytest.mark.parametrize("source", [digits, parquet, images, torchvision])
def test_training_labels_of_every_source_are_flipped(tmp_path: Path, source: Callable[[Path], DataSpec]) -> None:
    clean = source(tmp_path)
    noisy = clean.model_copy(update={"label_noise": 0.3})
    sources.check(noisy)
    true, found, wrong = sources.load(clean), sources.load(noisy), sources.flipped(noisy)
    assert len(wrong) == round(0.3 * len(true.train))
    assert not len(sources.flipped(clean))
    order, same = np.argsort(true.train.ids), np.argsort(found.train.ids)
    assert np.array_equal(true.train.ids[order], found.train.ids[same])
    assert np.array_equal(true.train.images[order], found.train.images[same])
    differ = true.train.labels[order] != found.train.labels[same]
    assert np.array_equal(true.train.ids[order][differ], wrong)
    assert (true.mean, true.std) == (found.mean, found.std)
    for split, other in ((true.val, found.val), (sources.load_test(clean), sources.load_test(noisy))):
        assert np.array_equal(split.ids, other.ids)
        assert np.array_equal(split.labels, other.labels)


def test_what_looks_at_training_samples_first_is_spread_over_the_noisy_classes() -> None:
    splits = sources.load(DataSpec(label_noise=0.4))
    labels = calibration_samples(splits, 500, CPU).content[1].numpy()
    assert np.bincount(labels).tolist() == [50] * 10
    wrong = np.isin(splits.train.ids[:500], sources.flipped(DataSpec(label_noise=0.4)))
    assert wrong.mean() == pytest.approx(0.4, abs=4 * np.sqrt(0.4 * 0.6 / 500))


@settings(deadline=None)  # a shared machine may stall any example
@given(listings().filter(lambda samples: len(samples.classes) > 1), FRACTIONS, FRACTIONS, st.integers(0, 9))
def test_flips_nest_and_are_exact(samples: Listing, one: float, other: float, seed: int) -> None:
    less, more = (DataSpec(label_noise=noise, split_seed=seed) for noise in sorted((one, other)))
    train = divide(samples, less)["train"]
    few, many = flips(train, less), flips(train, more)
    assert len(few) == round(less.label_noise * len(train))
    assert set(few) <= set(many) <= set(train)
    some, all_of_them = noisy_labels(samples, train, less), noisy_labels(samples, train, more)
    assert np.array_equal(some[few], all_of_them[few])
    assert np.array_equal(np.flatnonzero(all_of_them != samples.labels), np.sort(many))
    assert set(all_of_them) <= set(range(len(samples.classes)))


@settings(deadline=None)
@given(listings().filter(lambda samples: len(samples.classes) > 1), st.integers(5, 60), FRACTIONS)
def test_the_fraction_is_of_what_is_used_and_a_sample_is_flipped_to_one_class(
    samples: Listing, limit: int, noise: float
) -> None:
    few, all_of_them = (DataSpec(max_train=most, label_noise=noise) for most in (limit, None))
    train, whole = (divide(samples, data)["train"] for data in (few, all_of_them))
    assert len(flips(train, few)) == round(noise * len(train))
    here, there = noisy_labels(samples, train, few), noisy_labels(samples, whole, all_of_them)
    both = np.intersect1d(flips(train, few), flips(whole, all_of_them))
    assert np.array_equal(here[both], there[both])


def many(data: DataSpec) -> tuple[Listing, Integers]:
    samples = listing([i % 5 for i in range(20_000)], [0] * 20_000, 5)
    return samples, divide(samples, data)["train"]


def test_every_sample_is_as_likely_to_be_flipped_and_every_other_class_to_be_its_label() -> None:
    data = DataSpec(label_noise=0.4)
    samples, train = many(data)
    wrong = flips(train, data)
    assert chisquare(np.bincount(samples.labels[wrong])).pvalue > 0.01
    pairs = 5 * samples.labels[wrong] + noisy_labels(samples, train, data)[wrong]
    counts = np.bincount(pairs, minlength=25).reshape(5, 5)
    assert not counts.diagonal().any()
    assert chisquare(counts[~np.eye(5, dtype=bool)]).pvalue > 0.01
    places = np.flatnonzero(np.isin(train, wrong)) // (len(train) // 10)  # by tenths of the order of the split
    assert chisquare(np.bincount(places)[:10]).pvalue > 0.01


def test_flips_of_a_seed_never_change() -> None:
    samples = listing([0, 1, 2] * 7, [0] * 21, 3)
    data = DataSpec(split_seed=3, label_noise=0.5)
    train = divide(samples, data)["train"]
    wrong = np.sort(flips(train, data))
    labels = noisy_labels(samples, train, data)
    assert {int(sample): int(labels[sample]) for sample in wrong} == PINNED


PINNED = {3: 2, 6: 2, 11: 0, 14: 0, 16: 0, 17: 1, 18: 1, 19: 0}  # sample -> the label that it is flipped to


def test_one_class_is_refused(tmp_path: Path) -> None:
    save_folder(tmp_path, {"only": 9})
    data = DataSpec(name="folder", path=str(tmp_path), label_noise=0.2)
    for ask in (sources.check, sources.peek, sources.load, sources.load_test, sources.flipped):
        with pytest.raises(ValueError, match=r"must have two classes or more, but .* has 1; add another class, or set"):
            ask(data)
