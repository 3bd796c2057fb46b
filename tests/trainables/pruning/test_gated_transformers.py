"""Closed gates make transformers compute as without these heads, hidden units and channels."""

import pytest
import torch

from tests.trainables.models.networks import NETWORKS
from tests.trainables.pruning.test_library_blocks import CASES, TOKENS
from trainables.pruning.soundness import refuse_unsound_gates


@pytest.mark.parametrize("name", ["vit", "swin", "swin_v2", "convnext", "signal", "unet"])
def test_closed_gates_silence_heads_units_and_channels(name: str) -> None:
    build, example_of = NETWORKS[name]
    torch.manual_seed(0)
    refuse_unsound_gates(build().eval(), example_of())


@pytest.mark.parametrize("name", ["bert", "distilbert", "llama", "vit of transformers", "deit", "layer scale"])
def test_so_they_do_in_networks_of_libraries(name: str) -> None:
    torch.manual_seed(0)
    example = torch.randint(1, 90, (1, 12)) if name in TOKENS else torch.randn(1, 3, 32, 32)
    refuse_unsound_gates(CASES[name][0]().eval(), example)


@pytest.mark.parametrize("name", ["maxvit", "language model"])
def test_gates_that_a_sigmoid_or_a_shared_embedding_lets_through_are_refused(name: str) -> None:
    build, example_of = NETWORKS[name]
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="closed gates must silence their channels, but later layers of a "):
        refuse_unsound_gates(build().eval(), example_of())
