"""Residual branches of whole networks: which ones they have, and what they compute without them."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.trainables.conftest import as_if_trained
from tests.trainables.models.networks import NETWORKS
from tests.trainables.pruning.test_residual_branches import TOKENS, WIDTH
from trainables.checkpoints.checkpoint import Architecture, load, rebuild, save
from trainables.models.layers import count
from trainables.models.removed_blocks import remove_blocks, removed_branches
from trainables.models.usage import unfused
from trainables.pruning.additions import Additions
from trainables.pruning.block_chain import find_chain
from trainables.pruning.blocks import Blocks
from trainables.pruning.channels import Channels
from trainables.pruning.soundness import refuse_unsound_cuts
from trainables.storage.folder import Folder

ENCODER = "tests.trainables.pruning.test_removed_branches:encoder"


class Encoder(nn.Module):
    """Patches of an image, torch's encoder layers, the mean over patches, and a linear head."""

    def __init__(self, classes: int, channels: int, batch_first: bool = True, norm_first: bool = False) -> None:
        super().__init__()
        self.patches, self.place = nn.Conv2d(channels, 16, 4, 4), nn.Parameter(torch.randn(4, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first, norm_first=norm_first)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head, self.first = nn.Linear(16, classes), batch_first

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, channels, 8, 8) to logits."""
        x = self.patches(x).flatten(2).permute(2, 0, 1) + self.place
        x = self.layers(x.transpose(0, 1)).transpose(0, 1) if self.first else self.layers(x)
        logits: Tensor = self.head(x.mean(0))
        return logits


def encoder(num_classes: int, in_channels: int) -> nn.Module:
    return Encoder(num_classes, in_channels)


NETS = NETWORKS | {
    f"encoder, {'batch' if batch else 'tokens'} first, {'pre' if pre else 'post'}-norm": (
        lambda batch=batch, pre=pre: Encoder(5, 3, batch, pre),
        lambda: torch.randn(1, 3, 8, 8),
    )
    for batch, pre in ((True, False), (False, False), (True, True))
}
# network -> the attention and the MLP of each stage, and the number of layers in a stage
PARTS: dict[str, tuple[list[tuple[str, ...]], int]] = {
    "vit": ([("encoder.layers.encoder_layer_0.self_attention", "encoder.layers.encoder_layer_0.mlp")], 2),
    "swin": ([(f"features.{n}.0.attn", f"features.{n}.0.mlp") for n in (1, 3)], 2),
    "swin_v2": ([(f"features.{n}.0.attn", f"features.{n}.0.mlp") for n in (1, 3)], 2),
    "maxvit": (
        [
            tuple(f"blocks.{n}.layers.0.layers.window_attention.{kind}_layer" for kind in ("attn", "mlp"))
            for n in (0, 1)
        ],
        2,  # window and grid attention
    ),
    "language model": ([("layers.layers.0.self_attn", "layers.layers.0.linear1")], 2),
    **{name: ([("layers.layers.0.self_attn", "layers.layers.0.linear1")], 2) for name in [*NETS][len(NETWORKS) :]},
}
EVERY = pytest.mark.parametrize("name", PARTS)


def network(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    build, example_of = NETS[name]
    return as_if_trained(build()), example_of()


def some(blocks: Blocks, kept: int = 1) -> dict[str, Tensor]:
    return {part.name: torch.arange(min(kept, part.units)) for part in blocks.parts}


@EVERY
def test_attention_and_mlp_of_each_layer_are_blocks(name: str) -> None:
    blocks = Blocks(*network(name))
    found = {part.name: part.units for part in blocks.parts}
    stages, layers = PARTS[name]
    assert found == dict.fromkeys((each for pair in stages for each in pair), layers) | (
        {"stem.1": 1} if name == "maxvit" else {}
    )


@EVERY
@torch.no_grad()
def test_without_blocks_it_is_the_masked_network_costs_what_is_counted_and_is_built_again(name: str) -> None:
    model, example = network(name)
    blocks, smaller = Blocks(model, example), copy.deepcopy(model)
    before = model(example)
    for kept in (1, 0):
        units = some(blocks, kept)
        blocks.mask(units)
        expected = model(example)
        blocks.unmask()
        smaller = copy.deepcopy(model)
        Blocks(smaller, example).remove(units)
        assert torch.equal(smaller(example), expected)
        assert (before - expected).abs().max() > 1e-3 * before.abs().max()
        widths, counted = np.array([len(each) for each in units.values()]), count(smaller, {}, example)
        assert blocks.cost(widths, "params") == counted.params_kept
        assert blocks.cost(widths, "macs") == counted.macs_kept
        again = NETS[name][0]().eval()
        remove_blocks(again, (), {}, removed_branches(smaller))
        again.load_state_dict(smaller.state_dict(), strict=name != "maxvit")  # which has lost a block of another kind
        assert name == "maxvit" or torch.equal(again(example), expected)
    assert torch.equal(model(example), before)


@EVERY
def test_what_is_left_is_copied_trained_and_loses_channels_and_further_blocks(name: str) -> None:
    model, example = network(name)
    Blocks(model, example).remove(some(Blocks(model, example)))
    twin = copy.deepcopy(model)
    expected = model(example).detach()
    with torch.no_grad():
        torch.testing.assert_close(model(example), expected)  # torch's fast path, without gradients
    twin.train()(torch.cat([example, example])).square().mean().backward()
    torch.optim.SGD(twin.parameters(), 0.01).step()
    assert torch.equal(model(example), expected)
    assert any((one != other).any() for one, other in zip(twin.parameters(), model.parameters(), strict=True))
    refuse_unsound_cuts(model, example)
    channels = Channels(model, example)
    channels.remove({part.name: torch.arange(max(part.floor, part.units // 2)) for part in channels.parts})
    further = Blocks(model, example)
    assert {part.units for part in further.parts} == {1}
    further.remove(some(further, 0))
    assert count(model, {}, example).params_kept == further.cost(np.zeros(len(further.parts), np.int64), "params")


def test_a_checkpoint_keeps_which_branches_are_gone(tmp_path: pytest.TempPathFactory) -> None:
    built = Architecture(model=ENCODER, width=1.0, classes=5, image=(3, 8, 8))
    torch.manual_seed(0)
    model = built.build().eval()
    Blocks(model, built.example()).remove({"layers.layers.0.self_attn": torch.tensor([1])})
    record = built.cut_as(model)
    assert record.branches == {"layers.layers.0.self_attn": 2}
    assert record.whole == built
    save(Folder.at(str(tmp_path)), {"network": model.state_dict()}, {"architecture": record.model_dump(mode="json")})
    saved = load(Folder.at(str(tmp_path)))
    again = rebuild(record, saved.tensors["network"]).eval()
    images = torch.randn(3, 3, 8, 8)
    assert torch.equal(again(images), model(images))


@torch.no_grad()
@pytest.mark.parametrize("pre", [True, False])
def test_without_its_branches_the_stream_stays_and_the_norm_behind_a_sum_too(pre: bool) -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True, norm_first=pre).eval()
    model, whole = nn.Sequential(nn.Linear(WIDTH, WIDTH), layer), copy.deepcopy(layer)
    stream = model[0](TOKENS)
    Blocks(model, TOKENS).remove({"1.self_attn": torch.arange(0)})
    normed = whole.norm1(stream)
    mlp = stream + whole._ff_block(whole.norm2(stream)) if pre else whole.norm2(normed + whole._ff_block(normed))
    torch.testing.assert_close(model(TOKENS), mlp)
    Blocks(model, TOKENS).remove({"1.linear1": torch.arange(0)})
    torch.testing.assert_close(model(TOKENS), stream if pre else whole.norm2(normed))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "reader", "mean_of"),
    [
        ("encoder, batch first, pre-norm", "layers.layers.1", (1,)),
        ("encoder, batch first, post-norm", "layers.layers.0.norm2", (1,)),
        ("encoder, tokens first, post-norm", "layers.layers.0.norm2", (0,)),
        ("swin", "features.1.1", (1, 2)),
    ],
)
def test_a_probe_reads_the_sum_behind_a_branch_averaged_over_tokens(
    name: str, reader: str, mean_of: tuple[int, ...]
) -> None:
    model, example = network(name)
    images, read, pooled = torch.randn(3, *example.shape[1:]), list[Tensor](), list[Tensor]()
    stream = find_chain(model, example)[2].stream  # behind the MLP of the first layer
    assert stream

    def see(addition: int, operands: tuple[Tensor, Tensor], result: Tensor) -> None:
        if addition == stream.addition:
            pooled.append(stream.pooled(operands, result, 3))

    hook = model.get_submodule(reader).register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    with unfused(model), Additions(see):
        model(images)
    hook.remove()
    torch.testing.assert_close(pooled, [read[0].mean(mean_of)])


class Positions(nn.Module):
    """A convolution that keeps the shape, and is all of a residual branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.place, self.other, self.head = (nn.Conv2d(n, 4, 3, padding=1) for n in (3, 4, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to (B, 4, H, W)."""
        x = self.stem(x)
        out: Tensor = self.head(self.other(x + self.place(x)))
        return out


@torch.no_grad()
def test_a_convolution_that_is_a_branch_adds_nothing_and_another_one_passes_its_input_on() -> None:
    model, images = Positions(), torch.randn(1, 3, 6, 6)
    blocks = Blocks(model, images)
    assert [[unit.block.name for unit in units] for units in blocks.stages.values()] == [["place", "other", "head"]]
    blocks.remove({"place": torch.tensor([2])})
    torch.testing.assert_close(model(images), model.head(model.stem(images)))
