"""Files from an attacker, and the bounds on time and memory that reading them must keep."""

import hashlib
import json
import resource
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from hypothesis import strategies as st

from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import Architecture
from trainables.checkpoints.manifest import manifest_of
from trainables.storage.folder import Folder

BUILT = Architecture(model="small_cnn", width=0.25, classes=3, image=(1, 8, 8))
RECORD = {"architecture": BUILT.model_dump(mode="json"), "epoch": 1}
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in a unit of ru_maxrss


@contextmanager
def bounded(megabytes: int = 300, seconds: float = 20.0) -> Iterator[None]:
    """Check that this context takes little more memory than the process had at its peak, and little time."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * UNIT < megabytes << 20
    assert time.monotonic() - started < seconds


def sparse_network() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = BUILT.build().state_dict()
    for tensor in state.values():
        if tensor.dim() > 1:
            tensor[torch.rand_like(tensor) < 0.9] = 0
    return state


STATE = sparse_network()


@cache
def good_checkpoint() -> dict[str, bytes]:
    """The files of a good checkpoint."""
    with TemporaryDirectory() as place:
        checkpoint.save(Folder.at(place), {"network": STATE}, RECORD)
        return {path.name: path.read_bytes() for path in Path(place).iterdir()}


def put(place: Path, files: dict[str, bytes]) -> Folder:
    """Write files and, unless there is one, a manifest with right checksums: a forger can compute them, too."""
    place.mkdir(exist_ok=True)
    entries = {name: {"sha256": hashlib.sha256(b).hexdigest(), "bytes": len(b)} for name, b in files.items()}
    files = {"manifest.json": manifest_of(entries)} | files
    for name, content in files.items():
        (place / name).write_bytes(content)
    return Folder.at(str(place))


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Flip a bit, cut out, repeat, insert or cut off bytes; mostly near the beginning, where headers are."""
    spoiled = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        near = draw(st.sampled_from([min(64, len(spoiled)), min(1500, len(spoiled)), len(spoiled)]))
        at, length = draw(st.integers(0, max(0, near - 1))), draw(st.integers(1, 40))
        match draw(st.sampled_from(["flip", "cut", "repeat", "insert", "end"])):
            case "flip" if spoiled:
                spoiled[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del spoiled[at : at + length]
            case "repeat":
                spoiled[at:at] = spoiled[at : at + length]
            case "insert":
                spoiled[at:at] = draw(st.sampled_from([b"null", b"-1", b"99999999999", b"1e999", b"[[[[", b'"../x"']))
            case "end":
                del spoiled[at:]
    return bytes(spoiled)


@st.composite
def with_flipped_bit_in_a_page(draw: st.DrawFn, parquet: bytes) -> bytes:
    """Flip a bit of a Parquet file between its magic number and its footer, where each page has a checksum."""
    footer = int.from_bytes(parquet[-8:-4], "little")
    damaged = bytearray(parquet)
    damaged[draw(st.integers(4, len(parquet) - footer - 9))] ^= 1 << draw(st.integers(0, 7))
    return bytes(damaged)
