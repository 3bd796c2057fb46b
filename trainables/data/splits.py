"""Splits of a data set, and the seeded rule that assigns every sample to one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainables.data.samples import Samples
from trainables.data.types import ROLES, Integers, Pixels, Role
from trainables.data_spec import DataSpec
from trainables.models.inputs import Inputs
from trainables.task.classification import CLASSIFICATION
from trainables.task.objective import Objective

if TYPE_CHECKING:
    from trainables.data.stream import Stream


@dataclass(frozen=True, eq=False)
class Split:
    """Samples of one role. Every prefix of them is spread evenly over the classes. The arrays are read-only."""

    held: "Pixels | Stream"  # images (N, C, H, W), contiguous, or a stream of them
    labels: Integers  # (N,), in 0..classes-1; in the train split with label noise, if any
    ids: Integers  # (N,), positions in the source's natural order: a sample has the same id under every spec

    def __post_init__(self) -> None:
        assert len(self.held) == len(self.labels) == len(self.ids)
        for array in (self.held, self.labels, self.ids):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> Pixels:
        """The pixels (N, C, H, W). They must be in memory."""
        assert isinstance(self.held, np.ndarray), "images that stream are never in memory all at once"
        return self.held

    def first(self, count: int) -> "Split":
        """Return the first samples, at most `count`."""
        return Split(self.held[:count], self.labels[:count], self.ids[:count])


@dataclass(frozen=True, eq=False)
class Splits:
    """The splits that a search may read. The test split is loaded separately."""

    train: Split
    val: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]  # (C,), of the train split's pixels scaled to [0, 1], unless the settings give other values
    std: tuple[float, ...]  # (C,)
    about: tuple[str, ...] = ()  # lines that say what was read: classes, splits, what is left out, colour
    objective: Objective = CLASSIFICATION

    @property
    def inputs(self) -> Inputs:
        """What a model of these images is built for."""
        return Inputs(tuple(self.train.held.shape[1:]), len(self.classes))


@dataclass(frozen=True, eq=False)
class TaskSplits:
    """The same of a task of the user's own."""

    train: Samples
    val: Samples
    inputs: Inputs
    objective: Objective
    about: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()  # none that a name is known of
    mean: tuple[float, ...] = ()  # inputs are as the task gives them
    std: tuple[float, ...] = ()


AnySplits = Splits | TaskSplits


@dataclass(frozen=True, eq=False)
class Listing:
    """The samples of a source before it decodes them, in natural order: train, then val, then test."""

    labels: Integers  # (N,)
    roles: NDArray[np.int8]  # (N,), indices into ROLES: the split of each sample in the source
    classes: tuple[str, ...]
    decode: Callable[[Integers], Pixels]  # positions (n,) in any order -> images (n, C, H, W) in that order
    stream: "Callable[[Integers], Stream] | None" = (
        None  # the same, not decoded yet; None: the source gives them decoded
    )
    left_out: str = ""  # the kinds of files that are left out, with their numbers
    colour: Callable[[], str] = str  # says whether images are read in colour or in grey, and why


def refuse_few_classes(data: DataSpec, classes: int) -> None:
    """Raise ValueError for fewer than two classes."""
    if classes < 2:
        raise ValueError(
            f"a data set must have two classes or more, but {data.path!r} has {classes}; add another class, or set "
            "data.path to the folder that holds the classes or their splits"
        )


def refuse_small_limits(data: DataSpec, classes: int) -> None:
    """Raise ValueError where a split is limited to fewer samples than there are classes."""
    for role, limit in zip(ROLES, (data.max_train, data.max_val, data.max_test), strict=True):
        if limit is not None and limit < classes:
            raise ValueError(
                f"data.max_{role} must allow a sample of each of the {classes} classes, but got {limit}; "
                f"set it to {classes} or more, or leave it out"
            )


def divide(listing: Listing, data: DataSpec) -> dict[Role, Integers]:
    """Assign the positions of all samples to the three roles, by class and by `split_seed`.

    A role that the source fills keeps its samples. If the source has no test samples, `test_fraction` of its training
    samples become test samples. Then, if it has no validation samples, `val_fraction` of the rest become validation
    samples. These are fractions of each class, rounded to the nearest sample, but at least one sample. At least one
    sample stays for each role that is filled later. Where a class has too few, train comes first, then validation.
    Every prefix of a role is spread evenly over the classes: `max_train=k` gives the first k samples of any larger
    limit. A limit above the number of samples takes all.

    Raises ValueError for a class without training samples, a role without samples, and a limit below the class count.
    """
    refuse_small_limits(data, len(listing.classes))
    natural = {role: np.flatnonzero(listing.roles == index) for index, role in enumerate(ROLES)}
    dealt = {role: _shuffle(positions, data.split_seed) for role, positions in natural.items()}
    refuse_empty_classes(listing.labels[natural["train"]], listing.classes)
    if not len(natural["test"]):
        leave = 1 if len(natural["val"]) else 2
        dealt["test"], dealt["train"] = _hold_out(dealt["train"], listing.labels, data.test_fraction, leave)
    if not len(natural["val"]):
        dealt["val"], dealt["train"] = _hold_out(dealt["train"], listing.labels, data.val_fraction, leave=1)
    for role, limit in zip(ROLES, (data.max_train, data.max_val, data.max_test), strict=True):
        dealt[role] = spread(dealt[role], listing.labels)[:limit]
        if not len(dealt[role]):
            raise ValueError(
                f"the {role} split must hold a sample, but {len(listing.labels)} samples of {len(listing.classes)} "
                "classes are too few to fill it; give every class three samples or more"
            )
    return dealt


def refuse_empty_classes(train_labels: Integers, classes: tuple[str, ...]) -> None:
    """Raise ValueError for the first class without training samples."""
    counts = np.bincount(train_labels, minlength=len(classes))
    if not counts.all():
        number = int(np.argmin(counts))
        raise ValueError(
            f"every class must have training samples, but class {number} ({classes[number]!r}) has none; "
            "add some, or remove the class and renumber the labels"
        )


def spread(positions: Integers, labels: Integers) -> Integers:
    """Reorder `positions` (n,) into rounds of one sample per class of `labels` (N,). Each class keeps its order."""
    return positions[np.argsort(_ranks(labels[positions]), kind="stable")]


def _shuffle(positions: Integers, seed: int) -> Integers:
    """Shuffle by raw output of PCG64, which NumPy promises to keep (NEP 19). NumPy's shuffles may change."""
    keys = np.random.PCG64(seed).random_raw(len(positions))
    return positions[np.argsort(keys, kind="stable")]


def _ranks(labels: Integers) -> Integers:
    """Count for each label (n,) the equal labels before it."""
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    ranks = np.empty(len(labels), np.int64)
    ranks[by_class] = np.arange(len(labels)) - first
    return ranks


def _hold_out(positions: Integers, labels: Integers, fraction: float, leave: int) -> tuple[Integers, Integers]:
    """Separate a fraction of each class from the rest, which keeps at least `leave` samples: held out, rest."""
    counts = np.bincount(labels[positions])
    held = np.clip(np.floor(counts * fraction + 0.5).astype(np.int64), 1, np.maximum(counts - leave, 0))
    out = _ranks(labels[positions]) < held[labels[positions]]
    return positions[out], positions[~out]
