"""Sources of images by name. Each can check settings, peek at the shape, and load the splits; test is separate."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainables.data import arrays, content, folders, memory, parquet, tasks
from trainables.data.description import described
from trainables.data.noise import flips, noisy_labels
from trainables.data.samples import Samples
from trainables.data.splits import AnySplits, Listing, Split, Splits, divide, refuse_few_classes, spread
from trainables.data.statistics import IMAGENET, Statistics, statistics
from trainables.data.stream import Stream
from trainables.data.types import Integers, Pixels, Role, Shape
from trainables.data_spec import DataSpec
from trainables.lookup import pick
from trainables.models.inputs import Inputs
from trainables.names import CUTTING
from trainables.storage.folder import Folder
from trainables.task.classification import classification


@dataclass(frozen=True)
class Source:
    """A source of images. Each function raises ValueError for settings or files that break a rule."""

    about: str  # one line for the catalog
    peek: Callable[[DataSpec], Shape]  # quick: decodes one image at most, and reads some headers
    list_samples: Callable[[DataSpec], Listing]  # labels of all samples, and a function that decodes some
    check: Callable[[DataSpec], None]  # reads no image and downloads nothing
    stored: Callable[[DataSpec], content.Stored | None]  # files for its checksum; None where its library checks them


def check(data: DataSpec) -> None:
    """Raise ValueError for all errors that show without reading images, such as wrong labels."""
    tasks.check(data) if data.task.function else _source(data).check(data)


def identified(data: DataSpec, storage: Folder, say: Callable[[str], None]) -> DataSpec:
    """Set data.content to the checksum of the current files (see `content.checksum`).

    Of a task also the checksum of its code and its metric. Raises ValueError for a missing data set, and for a file or
    a sample that cannot be read.
    """
    if data.task.function:
        return tasks.identified(data)
    stored = _source(data).stored(data)
    checksum = content.checksum(stored, storage, say) if stored else ""
    return data.model_copy(update={"content": checksum})


def peek(data: DataSpec) -> Shape:
    """Return the shape of the images and the number of classes. It decodes one image and reads labels and headers."""
    shape = _source(data).peek(data)
    refuse_few_classes(data, shape.classes)
    _refuse_channels(data, shape.channels)
    return shape


def inputs(data: DataSpec) -> Inputs:
    """Return what a model of the data is built for. Raises ValueError as `check` and `peek` do."""
    return tasks.inputs(data) if data.task.function else peek(data).inputs


def load_any(data: DataSpec) -> AnySplits:
    """Load the splits that a search may read, of images or of a task. Raises ValueError as `load` and `check` do."""
    return tasks.load(data) if data.task.function else load(data)


def load(data: DataSpec) -> Splits:
    """Load the train split and the val split. Only samples in use are decoded, and none yet where they stream.

    They stream where `data` requires it, and where their pixels need more than `memory.of_machine()` bytes.
    With `label_noise` some labels of the train split are wrong. Its order follows the noisy labels, so that it does not
    reveal the true ones. The labels of the val split are true.
    Raises ValueError as `check` does, and for an image that breaks a rule; the message names its file or row.
    """
    listing, dealt = _dealt(data)
    noisy = noisy_labels(listing, dealt["train"], data)
    ids = np.concatenate([spread(dealt["train"], noisy), dealt["val"]])
    images, labels, size = _images(listing, ids, data), noisy[ids], len(dealt["train"])
    _refuse_channels(data, images.shape[1])
    train = Split(images[:size], labels[:size], ids[:size])
    val = Split(images[size:], labels[size:], ids[size:])
    about = tuple(described(listing, dealt, data, images.shape[1:]))
    objective = classification(np.bincount(train.labels, minlength=len(listing.classes)).tolist())
    return Splits(train, val, listing.classes, *_statistics(data, train.held), about, objective)


def load_any_test(data: DataSpec) -> Split | Samples:
    """Load the test split of images or of a task. Raises ValueError as `load_any`, and for a task that has none."""
    return tasks.load_test(data) if data.task.function else load_test(data)


def load_test(data: DataSpec) -> Split:
    """Load the test split, which only a final comparison may look at. Raises ValueError as `load` does."""
    listing, dealt = _dealt(data)
    ids = dealt["test"]
    return Split(_images(listing, ids, data), listing.labels[ids], ids)


def start_messages(data: DataSpec, splits: AnySplits) -> tuple[str, ...]:
    """Return lines that say what was read, and where the images are."""
    return (*splits.about, loading_message(data, splits)) if isinstance(splits, Splits) else splits.about


def loading_message(data: DataSpec, splits: Splits) -> str:
    """Return a message that says where the images are, and why."""
    held = splits.train.held, splits.val.held
    size, limit = (f"{count / 1e6:,.1f} MB" for count in (sum(part.nbytes for part in held), memory.of_machine()))
    where = "streamed" if isinstance(splits.train.held, Stream) else "in memory"
    if data.augment in CUTTING:
        why = f"data.augment {data.augment!r} cuts from whole images"
    elif data.loading != "auto":
        why = "data.loading says so"
    else:
        why = f"images may take {limit} of this machine's memory"
    return f"{sum(map(len, held)):,} images ({size} decoded) are {where}: {why}"


def listing(data: DataSpec) -> Listing:
    """Return labels and roles of all samples; it decodes no image. The id of a sample is its position there."""
    return _source(data).list_samples(data)


def flipped(data: DataSpec) -> Integers:
    """Return the ids of the training samples with labels that `label_noise` flips, ascending. It decodes no image.

    Load the same data with label_noise=0 to get their true labels. Raises ValueError as `check`.
    """
    _, dealt = _dealt(data)
    return np.sort(flips(dealt["train"], data))


def _dealt(data: DataSpec) -> tuple[Listing, dict[Role, Integers]]:
    listing = _source(data).list_samples(data)
    refuse_few_classes(data, len(listing.classes))
    return listing, divide(listing, data)


def _images(listing: Listing, ids: Integers, data: DataSpec) -> Pixels | Stream:
    if listing.stream is None or data.loading == "memory":
        return listing.decode(ids)
    stream = listing.stream(ids)
    if memory.must_stream(data) or stream.nbytes > memory.of_machine():
        stream.take(np.zeros(1, np.int64))  # raises now if images cannot stream here
        return stream
    return listing.decode(ids)


def _statistics(data: DataSpec, images: Pixels | Stream) -> Statistics:
    return IMAGENET if data.normalise == "imagenet" else statistics(images)


def _refuse_channels(data: DataSpec, channels: int) -> None:
    if data.normalise == "imagenet" and channels != 3:
        raise ValueError(
            f"data.normalise 'imagenet' must go with images in colour, but {data.name} has {channels} channel; "
            "leave data.normalise out, or set data.channels to colour"
        )


def _source(data: DataSpec) -> Source:
    if data.name != "parquet" and (data.image, data.label) != ("image", "label"):
        raise ValueError(
            "data.image and data.label must name columns of Parquet files, but data.name is "
            f"{data.name!r}; leave them out, or set data.name to 'parquet'"
        )
    return pick("data.name", data.name, SOURCES)


def _check_splits(data: DataSpec) -> None:
    _dealt(data)


def _torchvision(name: str, shape: Shape) -> Source:
    return Source(
        f"{arrays.ABOUT[name]}: {shape.classes} classes, {shape.height}x{shape.width}, "
        f"{'colour' if shape.channels == 3 else 'grey'}; torchvision downloads it",
        arrays.peek_torchvision,
        arrays.list_torchvision,
        arrays.check_torchvision,
        arrays.stored_torchvision,
    )


SOURCES: dict[str, Source] = {
    "digits": Source(
        "1,797 handwritten digits (UCI), which come with scikit-learn: 10 classes, 8x8, grey; nothing is downloaded",
        arrays.peek_digits,
        arrays.list_digits,
        arrays.check_digits,
        lambda _: None,
    ),
    "parquet": Source(
        "your Parquet files in data.path, such as train-0.parquet and test.parquet: columns image (encoded) and label",
        parquet.peek,
        parquet.list_samples,
        _check_splits,
        parquet.stored,
    ),
    "folder": Source(
        "your image files in data.path: <class>/*.png, or train/<class>/*.png with or without val/ and test/",
        folders.peek,
        folders.list_samples,
        _check_splits,
        folders.stored,
    ),
    **{key: _torchvision(name, shape) for key, (name, shape) in arrays.TORCHVISION.items()},
}
