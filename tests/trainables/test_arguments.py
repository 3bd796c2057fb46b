"""A network is called with one tensor, several in order, or several by name, and returns one tensor."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

from trainables.arguments import Arguments, blank, each, flat, one_tensor, outputs_of, samples_in, take

A, B = torch.arange(6.0).view(2, 3), torch.ones(2, 3)


class Difference(nn.Module):
    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        return first if second is None else first - second


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(A, A), ((A, B), A - B), ([A, B], A - B), ({"second": B, "first": A}, A - B), ((A,), A), ({"first": A}, A)],
)
def test_a_call_passes_each_tensor_to_its_argument(arguments: Arguments, expected: Tensor) -> None:
    network = Difference()
    assert torch.equal(outputs_of(network, arguments), expected)
    assert torch.equal(outputs_of(network, each(lambda tensor: 2 * tensor, arguments)), 2 * expected)
    assert torch.equal(outputs_of(network, take(arguments, slice(1, 2))), expected[1:2])
    assert torch.equal(outputs_of(network, take(arguments, torch.tensor([1, 0]))), expected[[1, 0]])
    assert samples_in(arguments) == len(flat(arguments)[0]) == 2


def test_a_batch_may_hold_tensors_at_any_depth() -> None:
    (image, (label,)) = take({"image": A, "rest": [B]}, slice(1)).values()
    assert torch.equal(image, A[:1])
    assert torch.equal(label, B[:1])


def test_an_output_object_counts_by_its_first_tensor() -> None:
    assert one_tensor(A) is A
    assert one_tensor(SequenceClassifierOutput(logits=A, hidden_states=(B,))) is A
    assert one_tensor(BaseModelOutput(last_hidden_state=A)) is A


@dataclass
class Pair:
    one: Tensor


@pytest.mark.parametrize("returned", [{"logits": A}, OrderedDict(out=A), (A, B), [A], None, Pair(A), BaseModelOutput()])
def test_anything_else_is_refused(returned: Any) -> None:
    with pytest.raises(TypeError, match="a network must return one tensor, but returned a "):
        one_tensor(returned)


def test_a_blank_input_is_a_valid_id_mask_and_length() -> None:
    assert blank((2, 2), torch.float32).tolist() == [[[0.0, 0.0], [0.0, 0.0]]]
    assert blank((3,), torch.int64).tolist() == [[1, 0, 1]]
    assert blank((2,), torch.bool).tolist() == [[True, False]]
    assert blank((), torch.int64).tolist() == [1]
