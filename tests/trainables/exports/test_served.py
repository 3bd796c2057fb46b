"""What MLflow serves computes what the network does, from arrays as a registered network's signature names them."""

import numpy as np
import torch
from torch import Tensor, nn

from trainables.exports.served import Served

CPU = torch.device("cpu")


class Difference(nn.Module):
    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return first - second


class Last(nn.Module):
    def forward(self, *tensors: Tensor) -> Tensor:
        return tensors[-1]


def test_arrays_go_by_name_by_position_or_alone() -> None:
    one, other = np.ones((2, 3), np.float32), np.full((2, 3), 5, np.float32)
    served = Served(Difference(), CPU)
    assert served.predict({"second": other, "first": one}).tolist() == [[-4.0] * 3] * 2
    assert served.predict({"1": other, "0": one}).tolist() == [[-4.0] * 3] * 2
    assert Served(nn.Identity(), CPU).predict(other).tolist() == other.tolist()
    eleven = {str(position): np.full((1, 1), position, np.float32) for position in reversed(range(11))}
    assert Served(Last(), CPU).predict(eleven).tolist() == [[10.0]]
