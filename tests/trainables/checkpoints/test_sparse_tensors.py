"""Packed tensors come back bit by bit, and take the bytes that they should."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainables.checkpoints.sparse_tensors import METADATA, WORTH, pack, unpack

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e5m2, torch.complex64]
DTYPES += [torch.complex128, torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64]


def bits(tensor: Tensor) -> bytes:
    return tensor.flatten().view(torch.uint8).numpy().tobytes()


def size(tensors: dict[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


def assert_comes_back(tensors: dict[str, Tensor]) -> None:
    again = unpack(*pack(tensors))
    assert again.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (again[name].shape, again[name].dtype) == (tensor.shape, tensor.dtype)
        assert bits(again[name]) == bits(tensor)


@st.composite
def sparse_tensors(draw: st.DrawFn) -> Tensor:
    """Any bits at all in any share of the values, in runs of any length."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 40), max_size=3))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = random.integers(0, 256, (int(np.prod(shape)), dtype.itemsize), dtype=np.uint8)
    if dtype == torch.bool:
        values &= 1
    density = draw(st.sampled_from([0.0, 0.0005, 0.004, 0.02, 0.1, 0.13, 0.5, 0.9, 1.0]))
    values[random.random(len(values)) >= density] = 0
    return torch.from_numpy(values.reshape(-1)).view(dtype).reshape(shape)


@settings(max_examples=150, deadline=None)
@given(st.lists(sparse_tensors(), max_size=3))
def test_every_bit_comes_back(tensors: list[Tensor]) -> None:
    named = {f"layer{i}.weight": tensor for i, tensor in enumerate(tensors)}
    assert_comes_back(named)
    stored, metadata = pack(named)
    assert size(stored) + WORTH * bool(metadata) <= size(named)


@pytest.mark.parametrize("gap", [0, 1, 254, 255, 256, 509, 510, 511, 5_000])
def test_gaps_of_every_length(gap: int) -> None:
    tensor = torch.zeros(20_000)
    tensor[gap] = tensor[2 * gap + 1] = 1.5
    stored, metadata = pack({"w": tensor})
    assert '"gaps"' in metadata[METADATA]
    assert len(stored["w.positions"]) == 2 + 2 * (gap // 255)
    assert_comes_back({"w": tensor})


def test_zeros_with_a_sign_and_values_that_are_no_numbers_are_kept() -> None:
    tensor = torch.zeros(1000)
    tensor[:4] = torch.tensor([-0.0, torch.nan, torch.inf, 1e-45])
    tensor[4:5].view(torch.int32)[:] = 0x7F80_0001  # a NaN that says something
    assert len(pack({"w": tensor})[0]["w"]) == 5
    assert_comes_back({"w": tensor})


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(1000), torch.empty(0), torch.empty(0, 3), torch.tensor(0), torch.zeros(50), torch.rand(9, 9)],
    ids=["all kept", "empty", "empty matrix", "scalar", "too small", "small"],
)
def test_what_saves_nothing_stays_plain(tensor: Tensor) -> None:
    stored, metadata = pack({"w": tensor})
    assert stored["w"] is tensor
    assert not metadata


@pytest.mark.parametrize(
    ("kept", "coding", "bytes_each"),
    [(0.75, "mask", 3.125), (0.5, "mask", 2.125), (0.1, "gaps", 0.5), (0.02, "gaps", 0.1), (0.0, "gaps", 0.0)],
)
def test_bytes_follow_what_is_kept(kept: float, coding: str, bytes_each: float) -> None:
    random = np.random.default_rng(0)
    tensor = torch.from_numpy(random.permutation(np.arange(200_000) < kept * 200_000).astype(np.float32))
    tensor = tensor.view(200, 10, 10, 10)
    stored, metadata = pack({"w": tensor})
    assert f'"{coding}"' in metadata[METADATA]
    assert size(stored) / tensor.numel() == pytest.approx(bytes_each, rel=0.02)
    assert_comes_back({"w": tensor})


def test_what_is_packed_can_be_read_by_hand() -> None:
    tensor = torch.zeros(2, 500)
    tensor[0, 3], tensor[1, 0], tensor[1, 1] = 1.0, 2.0, -3.0
    stored, metadata = pack({"w": tensor, "b": torch.ones(2)})
    assert metadata == {"packed": '{"w": ["gaps", [2, 500]]}'}
    assert stored["w"].tolist() == [1.0, 2.0, -3.0]
    assert stored["w.positions"].tolist() == [3, 255, 241, 0]  # 496 zeros between the first two
    assert stored["b"].tolist() == [1.0, 1.0]
    half = torch.tensor([1, 0, 1, 1, 0, 0, 0, 0, 0, 1] * 100, dtype=torch.int64)
    stored, metadata = pack({"w": half})
    assert metadata == {"packed": '{"w": ["mask", [1000]]}'}
    assert stored["w.positions"][:2].tolist() == [0b10110000, 0b01101100]
