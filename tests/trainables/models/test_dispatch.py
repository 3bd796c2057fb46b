from typing import Any

import torch
from torch import nn

from trainables.models.dispatch import OperationMode


class Names(OperationMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen = list[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **kwargs or {})


def test_a_mode_sees_each_operation() -> None:
    layers, inputs = nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.zeros(1, 2)
    with torch.no_grad(), Names() as names:
        layers(inputs)
    assert [name for name in names.seen if "detach" not in name] == [
        "aten.t.default",
        "aten.addmm.default",
        "aten.relu.default",
    ]
