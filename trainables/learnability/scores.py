"""How easy a curriculum finds each training sample, and which samples it draws."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from trainables.checkpoints import artifact_store
from trainables.curriculum_spec import Curriculum
from trainables.data.collated import labels_of
from trainables.data.samples import Samples
from trainables.data.splits import AnySplits, Split
from trainables.learnability.curricula import draws
from trainables.learnability.curriculum_kinds import PLAIN, is_scored, kind_of
from trainables.learnability.measures import MEASURES, aligned, ease
from trainables.learnability.records import read_records
from trainables.spec import DenseSpec
from trainables.storage.columns import read_columns
from trainables.storage.folder import Folder
from trainables.training.train import Draw

Scores = tuple[NDArray[np.int64], NDArray[np.float64]]  # ids (N,), and how easy each sample is (N,): higher is easier


def draw_by(
    curriculum: Curriculum, dense: DenseSpec, splits: AnySplits, storage: Folder, epochs: int, batch_size: int
) -> Draw:
    """Return what each epoch of a training draws from the training split. The seed is that of `dense`."""
    if kind_of(curriculum.name).method == PLAIN:
        return lambda _: None
    easy = scores(curriculum, dense, splits.train, storage) if is_scored(curriculum) else None
    labels = labels_of(splits.train, splits.objective) if curriculum.balanced else None
    groups = np.zeros(len(splits.train), np.int64) if labels is None else labels
    return draws(curriculum, easy, groups, epochs, batch_size, dense.seed)


def scores(curriculum: Curriculum, dense: DenseSpec, split: Split | Samples, storage: Folder) -> NDArray[np.float64]:
    """Score the samples of a training split: (N,), higher is easier.

    Raises ValueError where the scores belong to other samples, where there are none, or where some are not finite.
    """
    ids, easy = _of_table(curriculum) if curriculum.table else _of_training(curriculum, dense, storage)
    if unknown := int((~np.isfinite(easy)).sum()):
        raise ValueError(f"scores must be finite, but {curriculum.measure!r} is not finite for {unknown} samples")
    return aligned(easy, ids, split.ids)


def table_checksum(curriculum: Curriculum) -> str:
    """Return 16 hexadecimal digits of the bytes of a curriculum's table. Raises ValueError where it cannot be read."""
    file = Folder.at(curriculum.table)
    try:
        return hashlib.sha256(file.parent.read(file.name)).hexdigest()[:16]
    except FileNotFoundError:
        raise ValueError(f"curriculum.table must be a file, but {curriculum.table} is not there; correct it") from None


def _of_training(curriculum: Curriculum, dense: DenseSpec, storage: Folder) -> Scores:
    scorer = artifact_store.find(storage, "dense", dense.scored_by(curriculum).key())
    assert scorer is not None, "networks that score samples are trained before the trainings that use their scores"
    records = read_records(scorer)
    return records.ids, ease(curriculum.measure, records)


def _of_table(curriculum: Curriculum) -> Scores:
    """Average over the networks and seeds of a table."""
    file = Folder.at(curriculum.table)
    try:
        table = read_columns(file.parent.read(file.name), ["id", curriculum.measure])
        ids, index = np.unique(table["id"].to_numpy(), return_inverse=True)
        means = np.bincount(index, table[curriculum.measure].to_numpy()) / np.bincount(index)
    except (FileNotFoundError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"curriculum.table must be samples.parquet of howcompact learnability, with a column "
            f"{curriculum.measure!r}, but {curriculum.table} is not: {error}"
        ) from None
    return ids, means if MEASURES[curriculum.measure].easy == "high" else -means
