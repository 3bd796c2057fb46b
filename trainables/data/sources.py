"""Sources of images by name, and what one can ask of them: check, peek, load, and the test split apart."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainables.data import arrays, content, folders, memory, parquet
from trainables.data.noise import flips, noisy_labels
from trainables.data.splits import Listing, Split, Splits, divide, spread
from trainables.data.statistics import IMAGENET, Statistics, statistics
from trainables.data.stream import Stream
from trainables.data.types import Integers, Pixels, Shape
from trainables.lookup import pick
from trainables.names import CUTTING
from trainables.spec import DataSpec
from trainables.storage.folder import Folder


@dataclass(frozen=True)
class Source:
    """Where images come from. Each function raises ValueError for settings or files that will not do."""

    peek: Callable[[DataSpec], Shape]  # quick: decodes one image at most
    list_samples: Callable[[DataSpec], Listing]  # labels of all samples, and how to decode the chosen ones
    check: Callable[[DataSpec], None]  # reads no image and downloads nothing
    stored: Callable[[DataSpec], content.Stored | None]  # files to know it by; None where its library checks them


def check(data: DataSpec) -> None:
    """Raise ValueError for all that can be refused without reading the images, labels included."""
    _source(data).check(data)


def identified(data: DataSpec, storage: Folder, say: Callable[[str], None]) -> DataSpec:
    """Fill in what the data set is known by, from its files as they are now; see `content.checksum`.

    Raises ValueError for a data set that is not there, and for a file that cannot be read.
    """
    stored = _source(data).stored(data)
    found = content.checksum(stored, storage, say) if stored else ""
    return data.model_copy(update={"content": found})


def peek(data: DataSpec) -> Shape:
    """Return the shape of the images and the number of classes, reading at most one image and the labels."""
    shape = _source(data).peek(data)
    _refuse_channels(data, shape.channels)
    return shape


def load(data: DataSpec) -> Splits:
    """Load the train and the val split, decoding only the samples that they use, or none yet where they stream.

    They stream where `data` says so, and where their pixels would take more than `room.of_machine()`.
    With `label_noise` some labels of the train split are wrong, and its order goes by the noisy ones, so that nothing
    in it tells the truth; the val split is true.
    Raises ValueError as `check` does, and for an image that will not do, naming its file and row.
    """
    listing = _source(data).list_samples(data)
    dealt = divide(listing, data)
    noisy = noisy_labels(listing, dealt["train"], data)
    ids = np.concatenate([spread(dealt["train"], noisy), dealt["val"]])
    images, labels, size = _images(listing, ids, data), noisy[ids], len(dealt["train"])
    _refuse_channels(data, images.shape[1])
    train = Split(images[:size], labels[:size], ids[:size])
    val = Split(images[size:], labels[size:], ids[size:])
    return Splits(train, val, listing.classes, *_statistics(data, train.held))


def load_test(data: DataSpec) -> Split:
    """Load the test split, which only a final comparison may look at. Raises ValueError as `load` does."""
    listing = _source(data).list_samples(data)
    ids = divide(listing, data)["test"]
    return Split(_images(listing, ids, data), listing.labels[ids], ids)


def told(data: DataSpec, splits: Splits) -> str:
    """Say where the images are, and why."""
    held = splits.train.held, splits.val.held
    size, room_for = (f"{count / 1e6:,.1f} MB" for count in (sum(part.nbytes for part in held), memory.of_machine()))
    where = "streamed" if isinstance(splits.train.held, Stream) else "in memory"
    if data.augment in CUTTING:
        why = f"as data.augment {data.augment!r} cuts from whole ones"
    elif data.loading != "auto":
        why = "as data.loading says"
    else:
        why = f"as {room_for} of this machine's memory are for them"
    return f"{sum(map(len, held)):,} images, decoded {size}, are {where}, {why}"


def listing(data: DataSpec) -> Listing:
    """Return what is known of all samples before images are decoded; ids are positions in it."""
    return _source(data).list_samples(data)


def flipped(data: DataSpec) -> Integers:
    """Ids of the training samples whose labels are wrong by `label_noise`, ascending; no image is decoded.

    Loading the same data with label_noise=0 tells their true labels. Raises ValueError as `check`.
    """
    listing = _source(data).list_samples(data)
    return np.sort(flips(listing, divide(listing, data)["train"], data))


def _images(listing: Listing, ids: Integers, data: DataSpec) -> Pixels | Stream:
    if listing.stream is None or data.loading == "memory":
        return listing.decode(ids)
    stream = listing.stream(ids)
    if memory.must_stream(data) or stream.nbytes > memory.of_machine():
        stream.take(np.zeros(1, np.int64))  # what cannot stream here is found now
        return stream
    return listing.decode(ids)


def _statistics(data: DataSpec, images: Pixels | Stream) -> Statistics:
    return IMAGENET if data.normalise == "imagenet" else statistics(images)


def _refuse_channels(data: DataSpec, channels: int) -> None:
    if data.normalise == "imagenet" and channels != 3:
        raise ValueError(
            f"data.normalise 'imagenet' must go with images in colour, but {data.name} has {channels} channel; "
            "leave it out"
        )


def _source(data: DataSpec) -> Source:
    return pick("data.name", data.name, SOURCES)


def _check_listing(list_samples: Callable[[DataSpec], Listing]) -> Callable[[DataSpec], None]:
    def check(data: DataSpec) -> None:
        listing = list_samples(data)
        flips(listing, divide(listing, data)["train"], data)

    return check


_TORCHVISION = Source(
    arrays.peek_torchvision, arrays.list_torchvision, arrays.check_torchvision, arrays.stored_torchvision
)

SOURCES: dict[str, Source] = {
    "digits": Source(arrays.peek_digits, arrays.list_digits, arrays.check_digits, lambda _: None),
    "parquet": Source(parquet.peek, parquet.list_samples, _check_listing(parquet.list_samples), parquet.stored),
    "folder": Source(folders.peek, folders.list_samples, _check_listing(folders.list_samples), folders.stored),
    **dict.fromkeys(arrays.TORCHVISION, _TORCHVISION),
}
