"""A cut `PadShortcut` computes what the whole one computes with the same channels masked."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.models.cifar import PadShortcut


def test_pad_shortcut_copies_every_second_pixel_and_appends_zeros() -> None:
    x = torch.randn(2, 3, 5, 4)
    out = PadShortcut(3, 5, stride=2)(x)
    assert torch.equal(out[:, :3], x[:, :, ::2, ::2])
    assert torch.equal(out[:, 3:], torch.zeros(2, 2, 3, 2))


def test_pad_shortcut_hides_no_infinity_behind_its_zeros() -> None:
    shortcut = PadShortcut(1, 2, stride=1)
    shortcut.keep_outputs([1])
    assert torch.equal(shortcut(torch.full((1, 1, 1, 1), torch.inf)), torch.zeros(1, 1, 1, 1))


Cuts = tuple[int, int, list[tuple[bool, list[int]]]]  # inputs, outputs, (is the input side, kept) of each cut


@st.composite
def cuts(draw: st.DrawFn) -> Cuts:
    """Draw two widths, and cuts of either side as channels to keep (of those then present)."""
    inputs = draw(st.integers(1, 5))
    outputs = draw(st.integers(inputs, 8))
    steps = []
    present = {True: inputs, False: outputs}
    for _ in range(draw(st.integers(1, 4))):
        side = draw(st.booleans())
        kept = sorted(draw(st.sets(st.integers(0, present[side] - 1), min_size=1)))
        present[side] = len(kept)
        steps.append((side, kept))
    return inputs, outputs, steps


@settings(max_examples=60, deadline=None)
@given(cuts())
def test_a_cut_pad_shortcut_computes_what_the_masked_one_does(
    case: Cuts,
) -> None:
    inputs, outputs, steps = case
    whole, cut = PadShortcut(inputs, outputs, stride=2), PadShortcut(inputs, outputs, stride=2)
    present_channels = {True: list(range(inputs)), False: list(range(outputs))}
    for is_input, kept in steps:
        (cut.keep_inputs if is_input else cut.keep_outputs)(kept)
        present_channels[is_input] = [present_channels[is_input][i] for i in kept]
    x = torch.randn(2, inputs, 4, 4)
    masked = torch.zeros_like(x)
    masked[:, present_channels[True]] = x[:, present_channels[True]]
    assert torch.equal(cut(x[:, present_channels[True]]), whole(masked)[:, present_channels[False]])
    assert (cut.in_channels, cut.source.dtype) == (len(present_channels[True]), torch.int64)


def test_a_state_dict_brings_the_wiring_of_a_cut_pad_shortcut_back() -> None:
    cut, rebuilt = PadShortcut(4, 8, stride=2), PadShortcut(3, 4, stride=2)
    cut.keep_inputs([1, 2, 3])
    cut.keep_outputs([0, 2, 3, 7])
    rebuilt.load_state_dict(cut.state_dict())
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(rebuilt(x), cut(x))
