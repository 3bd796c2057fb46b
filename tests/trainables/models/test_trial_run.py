"""A user's network is built and run before any trial; each fault is one line with its cause and remedy."""

from pathlib import Path

import pytest
import torch

from search.networks.allocation import allocation
from search.networks.network import fresh
from trainables.catalog import feasibility
from trainables.catalog.remarks import remarks
from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import Architecture
from trainables.models import trial_run
from trainables.pruning.channels import Channels
from trainables.pruning.soundness import refuse_unsound_cuts
from trainables.spec import DenseSpec, TrialSpec
from trainables.training.train import to_device

CPU, EXAMPLE = torch.device("cpu"), torch.zeros(1, 1, 8, 8)
NETS = """
import torch
from torch import nn

def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())

def head(width, classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

class Net(nn.Module):
    def __init__(self, classes, channels, before=lambda x: x, after=lambda y: y):
        super().__init__()
        self.body, self.head = block(channels, 8), head(8, classes)
        self.before, self.after = before, after

    def forward(self, x):
        return self.after(self.head(self.body(self.before(x))))

class Volume(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.v, self.b, self.head = nn.Conv3d(1, 2, 3, padding=1), block(16, 16), head(16, classes)

    def forward(self, x):
        return self.head(self.b(self.v(self.body(x).unsqueeze(1)).flatten(1, 2)))

class Upwards(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.up, self.b, self.head = nn.ConvTranspose2d(8, 64, 4, 2, 1), block(64, 16), head(16, classes)

    def forward(self, x):
        return self.head(self.b(self.up(self.body(x)).relu()))

class Shuffled(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.b, self.head = block(8, 16), head(16, classes)

    def forward(self, x):
        return self.head(self.b(self.body(x).unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)))

class Gate(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, width), nn.Sigmoid())

    def forward(self, x):
        y = self.layers(x.mean((2, 3))).view(*x.shape[:2], 1, 1)
        return x * y.expand_as(x)

class Noted(Net):
    def get_extra_state(self):
        return {"epoch": 1}

    def set_extra_state(self, state):
        pass

def plain(num_classes, in_channels):
    return Net(num_classes, in_channels)

def reads_values(num_classes, in_channels):
    net = plain(num_classes, in_channels)
    net.rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]
    net.spread = net.body[0].weight.detach().numpy().std()
    return net

def numpy_parameter(num_classes, in_channels):
    net = plain(num_classes, in_channels)
    net.body[0].weight = nn.Parameter(torch.from_numpy(net.body[0].weight.detach().numpy().copy()))
    return net

def volume(num_classes, in_channels):
    return Volume(num_classes, in_channels)

def table(num_classes, in_channels):
    net = plain(num_classes, in_channels)
    net.register_buffer("table", torch.ones(1, 1, in_channels, 1, 1))
    return net

def upwards(num_classes, in_channels):
    return Upwards(num_classes, in_channels)

def shuffled(num_classes, in_channels):
    return Shuffled(num_classes, in_channels)

def gated(num_classes, in_channels):
    return nn.Sequential(block(in_channels, 16), Gate(16), block(16, 32), Gate(32), head(32, num_classes))

def frozen(num_classes, in_channels):
    net = plain(num_classes, in_channels)
    net.body.requires_grad_(False)
    return net

def half(num_classes, in_channels):
    return plain(num_classes, in_channels).half()

def double(num_classes, in_channels):
    return plain(num_classes, in_channels).double()

def scripted(num_classes, in_channels):
    return torch.jit.script(nn.Sequential(block(in_channels, 8), head(8, num_classes)))

def compiled(num_classes, in_channels):
    return torch.compile(plain(num_classes, in_channels))

def compiled_inside(num_classes, in_channels):
    net = plain(num_classes, in_channels)
    net.body.compile()
    return net

def wrapped(num_classes, in_channels):
    return nn.DataParallel(plain(num_classes, in_channels))

def noted(num_classes, in_channels):
    return Noted(num_classes, in_channels)

def lazy(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))

def noisy(num_classes, in_channels):
    return Net(num_classes, in_channels, before=lambda x: x + torch.randn_like(x))

def hidden(num_classes, in_channels):
    pattern = torch.randn(8, 8)
    return Net(num_classes, in_channels, before=lambda x: x * pattern)

def listed(num_classes, in_channels):
    return Net(num_classes, in_channels, after=lambda y: {"logits": y})

def probabilities(num_classes, in_channels):
    return Net(num_classes, in_channels, after=lambda y: y.softmax(1))

def infinite(num_classes, in_channels):
    return Net(num_classes, in_channels, after=lambda y: y / 0)

def detached(num_classes, in_channels):
    return Net(num_classes, in_channels, after=lambda y: y.detach())

def raising(num_classes, in_channels):
    raise KeyError("width")
"""


@pytest.fixture(autouse=True)
def _nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tried_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("name", ["plain", "reads_values", "numpy_parameter", "volume", "table", "gated", "frozen"])
def test_networks_that_train_pass_the_trial_and_move_to_a_device(name: str) -> None:
    before = torch.get_rng_state()
    trial_run.check_images(f"tried_nets:{name}", 10, (1, 8, 8))
    assert torch.equal(torch.get_rng_state(), before)
    model = Architecture(model=f"tried_nets:{name}", width=1.0, classes=10, image=(1, 8, 8)).build().eval()
    expected = model(EXAMPLE)
    assert torch.allclose(to_device(model, CPU)(EXAMPLE), expected, atol=1e-6)
    maps = [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.dim() == 4]
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in maps)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("half", r"in float32, but body\.0\.weight is torch\.float16.*before \.half\(\)"),
        ("double", r"in float32, but body\.0\.weight is torch\.float64"),
        ("scripted", r"plain nn\.Module in float32, but is scripted; return the module before torch\.jit"),
        ("compiled", r"plain nn\.Module in float32, but is compiled; return the module before torch\.compile"),
        ("compiled_inside", r"but body is compiled"),
        ("wrapped", "is wrapped in DataParallel; return the module inside"),
        ("noted", "but _extra_state of its state dict is a dict; keep it as a tensor by register_buffer"),
        ("lazy", r"but 1\.weight is lazy; give the layer its sizes"),
        ("noisy", r"in eval mode, but two passes differ; draw random numbers only where self\.training"),
        ("hidden", "but a network built anew with the same state dict has other logits"),
        ("listed", r"must map 2 images to logits \(2, 10\), but returned a dict"),
        ("probabilities", "must return logits, but returned probabilities .*leave out the softmax"),
        ("infinite", "must return finite logits"),
        ("detached", "must be trainable, but the backward pass failed with: RuntimeError"),
        ("raising", r"must build on a CPU, but failed with: KeyError: 'width' \(tried_nets\.py, line \d+\)"),
    ],
)
def test_a_network_that_no_trial_can_train_is_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^tried_nets:{name} .*{message}") as caught:  # and no warning
        trial_run.check_images(f"tried_nets:{name}", 10, (1, 8, 8))
    assert len(str(caught.value).splitlines()) == 1


def test_gates_by_expand_leave_channels_prunable() -> None:
    built = Architecture(model="tried_nets:gated", width=1.0, classes=10, image=(1, 8, 8))
    model = built.build()
    assert {"0.0", "2.0"} <= {layer.name for part in Channels(model, EXAMPLE).parts for layer in part.layers}
    refuse_unsound_cuts(model, EXAMPLE)


def test_frozen_layers_stay_frozen_when_they_are_cut_and_read_back() -> None:
    built = Architecture(model="tried_nets:frozen", width=1.0, classes=10, image=(1, 8, 8))
    model = built.build()
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert set(flags.values()) == {True, False}
    channels = Channels(model, EXAMPLE)
    channels.remove({part.name: torch.arange(part.units // 2) for part in channels.parts})
    again = checkpoint.rebuild(built, model.state_dict())
    for cut in (model, again):
        assert len(cut.get_parameter("body.0.weight")) == 4
        assert {name: parameter.requires_grad for name, parameter in cut.named_parameters()} == flags


@pytest.mark.parametrize(("name", "layer"), [("upwards", "up"), ("volume", "v")])
def test_transposed_convolutions_and_those_of_three_dimensions_are_cut(name: str, layer: str) -> None:
    network = fresh(f"tried_nets:{name}", "1x8x8", 10, 0)
    feasibility.prove_cuts(network.name, network.model, network.architecture.example())
    channels = Channels(network.model, network.architecture.example())
    assert layer not in channels.held
    assert "b.0" in [part.name for part in channels.parts]
    before = network.model.get_submodule(layer).get_parameter("weight").numel()
    channels.remove({part.name: torch.arange(part.units // 2) for part in channels.parts})
    assert network.model.get_submodule(layer).get_parameter("weight").numel() < before


@pytest.mark.parametrize("name", ["shuffled"])
def test_an_allocation_is_refused_as_a_run_is(name: str) -> None:
    settings = {"granularity": "channel", "criterion": "l1", "policy": "uniform", "sparsity": 0.5}
    spec = TrialSpec(dense=DenseSpec(model=f"tried_nets:{name}"), granularity="channel", criterion="l1")
    (of_run,) = feasibility.unreachable([spec])
    with pytest.raises(ValueError, match=f"^tried_nets:{name}: .*") as caught:
        allocation(fresh(f"tried_nets:{name}", "1x8x8", 10, 0), settings, 0)
    assert str(caught.value) == of_run
    assert len(of_run.splitlines()) == 1
    assert of_run.count(f"tried_nets:{name}") == 1


def test_a_run_says_which_layers_are_frozen_and_whether_much_is_fixed() -> None:
    networks = [DenseSpec(model=f"tried_nets:{name}") for name in ("plain", "upwards", "frozen")]
    fixed, frozen, _ = remarks([*networks, DenseSpec()])
    assert frozen == (
        "tried_nets:frozen: frozen, so never trained: body.0.weight, body.0.bias, body.1.weight and 1 more"
    )
    assert fixed == (  # of 8 * 9 + 10 * 8 weights, 8 + 10 biases, and 2 * 8 of the batch norm
        "tried_nets:plain: 34 of 186 parameters (18.3 %) are fixed: never pruned, and in no budget: "
        "head.2.bias (a bias), body.0.bias (a bias), body.1.weight (the scale of a norm) and 1 more"
    )
