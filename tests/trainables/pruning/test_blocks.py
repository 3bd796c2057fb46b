"""Blocks: the chain, their removal and cost. Without some of them, a network computes what a shallower one does."""

import copy
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tests.trainables.conftest import as_if_trained, assert_same
from trainables.checkpoints.checkpoint import Architecture, load, rebuild, save
from trainables.models.layers import count
from trainables.models.removed_blocks import Projection
from trainables.names import BLOCKS, GranularityName
from trainables.pruning.block_chain import find_chain
from trainables.pruning.blocks import Blocks, ProjectedBlocks
from trainables.pruning.channels import Channels
from trainables.pruning.granularities import view
from trainables.storage.folder import Folder

VGG16_BN = "tests.trainables.test_architectures:vgg16_bn"  # torchvision's, with a smaller head
WIDTHS = {"vgg16": 0.125, "resnet20": 0.25, "resnet56": 0.25, "mobilenet": 0.125, "small_cnn": 0.5}


def numbered(prefix: str, *numbers: int) -> list[str]:
    return [f"{prefix}{n}" for n in numbers]


STAGES = {  # number of blocks in the chain, and the removable ones by part
    "small_cnn": (4, [["block4"]]),
    "resnet20": (10, [numbered("block1_", 1, 2, 3), numbered("block2_", 2, 3), numbered("block3_", 2, 3)]),
    "vgg16": (
        13,
        [
            ["block1_2"],
            ["block2_2"],
            numbered("block3_", 2, 3),
            numbered("block4_", 2, 3),
            numbered("block5_", 1, 2, 3),
        ],
    ),
    "mobilenet": (14, [["depthwise3"], ["depthwise5"], numbered("depthwise", 7, 8, 9, 10, 11), ["depthwise13"]]),
    "resnet18": (9, [["layer1.0", "layer1.1"], ["layer2.1"], ["layer3.1"], ["layer4.1"]]),
    "resnet50": (17, [[f"layer{n}.{m}" for m in range(1, blocks)] for n, blocks in enumerate((3, 4, 6, 3), start=1)]),
    VGG16_BN: (13, [numbered("0.", *at) for at in ((3,), (10,), (17, 20), (27, 30), (34, 37, 40))]),
    "mobilenet_v2": (19, [numbered("features.", *at) for at in ((3,), (5, 6), (8, 9, 10), (12, 13), (15, 16))]),
    "regnet_y_400mf": (
        17,
        [[f"trunk_output.block{n}.block{n}-{m}" for m in range(1, d)] for n, d in ((2, 3), (3, 6), (4, 6))],
    ),
    "convnext_tiny": (22, [[f"features.{n}.{m}" for m in range(d)] for n, d in ((1, 3), (3, 3), (5, 9), (7, 3))]),
}
CHANGING = {"resnet20": ["block2_1", "block3_1"], "mobilenet_v2": numbered("features.", 1, 2, 4, 7, 11, 14, 17)}


def architecture(name: str) -> Architecture:
    return Architecture(model=name, width=WIDTHS.get(name, 1.0), classes=10, image=(3, 32, 32))


@lru_cache(maxsize=4)
def dense(name: str) -> nn.Module:
    torch.manual_seed(0)
    return as_if_trained(architecture(name).build())


def blocks_of(name: str, granularity: GranularityName = "block", model: nn.Module | None = None) -> Blocks:
    built = architecture(name)
    blocks = view(copy.deepcopy(dense(name)) if model is None else model, granularity, built.example())
    assert isinstance(blocks, Blocks)
    return blocks


def names(blocks: Blocks) -> list[list[str]]:
    return [[unit.block.name for unit in units] for units in blocks.stages.values()]


def random_units(blocks: Blocks, seed: int) -> dict[str, Tensor]:
    """Draw the kept blocks of each part at random, from none to all."""
    draw = np.random.default_rng(seed)
    kept = {part.name: draw.permutation(part.units)[: draw.integers(part.units + 1)] for part in blocks.parts}
    return {name: torch.from_numpy(np.sort(units)) for name, units in kept.items()}


def outputs(model: nn.Module, images: int = 2) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(torch.randn(images, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    return logits


@pytest.mark.parametrize("name", STAGES)
def test_chain_and_removable_blocks_of_known_networks(name: str) -> None:
    blocks = blocks_of(name)
    assert (len(blocks.chain), names(blocks)) == STAGES[name]
    assert all(part.floor == 0 for part in blocks.parts)
    assert 0 in blocks.fixed


def test_a_block_joins_convolution_norm_and_activation_and_depthwise_with_pointwise() -> None:
    example = architecture(VGG16_BN).example()
    assert find_chain(dense(VGG16_BN), example)[1].modules == ("0.3", "0.4", "0.5")
    assert find_chain(dense("mobilenet"), example)[1].modules == ("depthwise1", "pointwise1")
    assert find_chain(dense("resnet18"), example)[0].modules == ("conv1", "bn1", "relu")


class Flat(nn.Module):
    """An activation that runs twice, a convolution that runs twice, and a norm behind no convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.twice = (nn.Conv2d(n, 4, 3, padding=1) for n in (3, 4, 4))
        self.relu, self.pool, self.norm, self.head = nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.one(self.relu(self.stem(x))))
        x = self.norm(self.pool(self.twice(self.twice(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def test_modules_that_run_twice_or_are_shared_belong_to_no_block() -> None:
    model, example = Flat().eval(), torch.zeros(1, 3, 32, 32)
    assert [block.modules for block in find_chain(model, example)] == [("stem",), ("one",)]
    expected = copy.deepcopy(model)
    expected.one = nn.Identity()  # type: ignore[assignment]
    Blocks(model, example).remove({"one": torch.arange(0)})
    assert torch.equal(outputs(model), outputs(expected))


def test_network_without_removable_blocks_is_refused() -> None:
    message = r"'block' must find removable blocks, but DenseNet has none; not pruned: \S+ \(changes the shape\).*; use"
    with pytest.raises(ValueError, match=message):
        blocks_of("densenet121")


def test_a_resnet_without_two_blocks_computes_what_the_others_compute_in_a_row() -> None:
    blocks = blocks_of("resnet20")
    blocks.remove({"block1_1": torch.tensor([0, 2]), "block3_2": torch.tensor([1])})
    whole = dict(dense("resnet20").named_children())

    def shallower(x: Tensor) -> Tensor:
        for name in ("stem", "block1_1", "block1_3", "block2_1", "block2_2", "block2_3", "block3_1", "block3_3"):
            x = whole[name](x)
        return torch.as_tensor(whole["head"](x.mean((2, 3))))

    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert_same(blocks.model(images), shallower(images))


def test_an_untrained_projection_copies_or_averages_channels() -> None:
    images = torch.randn(2, 4, 6, 6).abs()
    more, fewer = Projection((4, 6, 2)).eval(), Projection((4, 2, 1)).eval()
    with torch.no_grad():
        torch.testing.assert_close(more(images), images[:, [0, 1, 2, 3, 0, 1], ::2, ::2], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(fewer(images), (images[:, :2] + images[:, 2:]) / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CHANGING)
def test_projections_make_blocks_that_change_the_shape_removable(name: str) -> None:
    plain, projected = blocks_of(name), blocks_of(name, "projected-block")
    removable = {unit for stage in names(projected) for unit in stage}
    assert removable - {unit for stage in names(plain) for unit in stage} == {*CHANGING[name]}
    assert isinstance(projected, ProjectedBlocks)


@pytest.mark.parametrize("granularity", BLOCKS)
@pytest.mark.parametrize("name", ["small_cnn", "resnet20", "vgg16", "mobilenet", "resnet18", "mobilenet_v2"])
def test_cost_is_the_measured_one_and_a_mask_computes_what_removal_does(
    name: str, granularity: GranularityName
) -> None:
    image = F.relu(torch.randn(2, 3, 32, 32))
    for seed in range(3):
        masked, cut = blocks_of(name, granularity), blocks_of(name, granularity)
        kept_units = random_units(masked, seed)
        widths = np.array([len(units) for units in kept_units.values()])
        costs = [masked.cost(widths, kind) for kind in ("params", "macs")]
        before = masked.model(image)
        masked.mask(kept_units)
        after = count(cut.model, cut.remove(kept_units).masks, cut.example)
        assert costs == [after.params_kept, after.macs_kept]
        assert torch.equal(masked.model(image), cut.model(image))
        masked.unmask()
        assert torch.equal(masked.model(image), before)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from(BLOCKS))
def test_a_network_without_blocks_and_channels_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, seed: int, granularity: GranularityName
) -> None:
    built, blocks = architecture("resnet20"), blocks_of("resnet20", granularity)
    blocks.remove(random_units(blocks, seed))
    model = blocks.model
    if seed % 2:
        channels = Channels(model, built.example())
        channels.remove({part.name: torch.arange((part.units + 1) // 2) for part in channels.parts})
    folder = Folder.at(str(tmp_path_factory.mktemp("saved")))
    record = built.cut_as(model).model_dump(mode="json")
    save(folder, {"network": model.state_dict()}, {"architecture": record})
    saved = load(folder)
    again = rebuild(saved.architecture, saved.tensors["network"]).eval()
    assert torch.equal(outputs(again), outputs(model))
    assert count(again, {}, built.example()) == count(model, {}, built.example())


def test_architecture_records_removed_modules_and_projections() -> None:
    built, blocks = architecture(VGG16_BN), blocks_of(VGG16_BN, "projected-block")
    none = torch.arange(0)
    blocks.remove({"0.3": none, "0.7": none})
    shallower = built.cut_as(blocks.model)
    assert shallower.removed == ("0.3", "0.4", "0.5", "0.8", "0.9")
    assert shallower.projections == {"0.7": (64, 128, 1)}
    with pytest.raises(
        ValueError, match=r"removed blocks must be modules of the Sequential, but: .*no attribute.*; use the code"
    ):
        shallower.model_copy(update={"removed": ("0.99",)}).build()


def test_architecture_of_a_whole_network_is_unchanged() -> None:
    built = architecture("resnet20")
    assert built.cut_as(built.build()) == built


def test_a_network_without_blocks_is_exported() -> None:
    blocks = blocks_of("small_cnn", "projected-block")
    blocks.remove({"block2": torch.arange(0), "block4": torch.arange(0)})
    assert isinstance(blocks.example, Tensor)
    images = torch.randn(2, *blocks.example.shape[1:])
    exported = torch.export.export(blocks.model, (images,)).module()
    assert_same(exported(images), blocks.model(images))
