"""Networks of several tensors are counted, cut, replayed, exported and trained as those of one tensor are."""

import copy
from pathlib import Path

import onnxruntime
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.trainables.several_inputs import KINDS_OF_INPUTS, TASKS, architecture, batch_of, data_of, network
from tests.trainables.trials import CPU
from trainables.allocation.policies import POLICIES, allocate
from trainables.allocation.problem import Problem
from trainables.arguments import Arguments, flat, named_tensors, outputs_of, spread
from trainables.artifacts.replay import Replay
from trainables.checkpoints.checkpoint import Architecture
from trainables.data import sources
from trainables.exports.export import KINDS, TOLERANCE, export
from trainables.exports.latency import compare
from trainables.models.layers import count
from trainables.names import POLICY_NEEDS
from trainables.pruning.channels import Channels
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.masks import Weights
from trainables.pruning.soundness import refuse_unsound_cuts, refuse_unsound_gates
from trainables.training.calibration import calibration_samples
from trainables.training.team import Team

WITHOUT_ARTIFACTS = {
    name
    for name in POLICIES.keys() - {"given", "searched", "random-search"}  # densities from elsewhere
    if "weight" in POLICY_NEEDS[name].granularities and {*POLICY_NEEDS[name].inputs} <= {"samples"}
}


def torchs_count(model: nn.Module, example: Arguments) -> int:
    """Count without fused attention, which torch does not count on a CPU. Masks have no values on the meta device."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        outputs_of(model, example)
    return int(counter.get_total_flops()) // 2


def half(channels: Channels) -> dict[str, Tensor]:
    return {part.name: torch.arange(part.units)[: (part.units + 1) // 2] for part in channels.parts}


@KINDS_OF_INPUTS
def test_an_example_has_the_structure_of_the_task_and_a_record_keeps_it(name: str) -> None:
    built = architecture(name)
    built = Architecture.model_validate_json(built.model_dump_json())
    wanted, example = TASKS[name].example, built.example()
    assert [(n, t.shape, t.dtype) for n, t in named_tensors(example)] == [
        (n, t.shape, t.dtype) for n, t in named_tensors(wanted)
    ]
    assert outputs_of(built.build().eval(), example).shape == (1, TASKS[name].outputs)


@KINDS_OF_INPUTS
def test_multiply_accumulates_are_torchs(name: str) -> None:
    model, example = network(name)
    assert count(model, {}, example).macs_kept == torchs_count(model, example)
    channels = Channels(model, example)
    channels.remove(half(channels))
    assert count(model, {}, example).macs_kept == torchs_count(model, example)


@KINDS_OF_INPUTS
def test_a_masked_network_computes_what_the_cut_one_does(name: str) -> None:
    model, example = network(name)
    refuse_unsound_cuts(model, example)
    refuse_unsound_gates(model, example)
    cut, inputs = copy.deepcopy(model), batch_of(name)
    masked, removed = Channels(model, example), Channels(cut, example)
    masked.mask(half(masked))
    removed.remove(half(removed))
    assert count(cut, {}, example).params_kept < count(model, {}, example).params_kept
    torch.testing.assert_close(outputs_of(model, inputs), outputs_of(cut, inputs))


@KINDS_OF_INPUTS
@pytest.mark.parametrize("policy", sorted(WITHOUT_ARTIFACTS))
def test_policies_share_the_budget(name: str, policy: str) -> None:
    model, example = network(name)
    samples = calibration_samples(sources.load_any(data_of(name)), 32, CPU)
    context = PruningContext(Weights(model, example), calibration=samples)
    scores = CRITERIA["taylor"](context)
    problem = Problem(context, scores, 0.5, "params")
    keep = allocate(POLICIES[policy], problem)
    assert sum(keep.values()) == round(0.5 * sum(part.units for part in context.prunable.parts))


@KINDS_OF_INPUTS
def test_a_replay_computes_what_the_network_does(name: str) -> None:
    model, _ = network(name)
    inputs = batch_of(name)
    replay = Replay(model, inputs)
    changed, weight = next((n, p) for n, p in model.named_parameters() if p.dim() > 1 and "embedding" not in n)
    outputs, values = replay.run(inputs, replay.read_by([replay.dependents({changed})]))
    torch.testing.assert_close(outputs, outputs_of(model, inputs).detach())
    with torch.no_grad():
        weight.mul_(0.5)
    assert replay.size(values) > 0 or name == "pair"
    torch.testing.assert_close(replay.rerun(replay.dependents({changed}), values), outputs_of(model, inputs).detach())


@KINDS_OF_INPUTS
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_export_computes_what_the_network_does_for_any_batch(name: str, kind: str, tmp_path: Path) -> None:
    model, example = network(name)
    channels = Channels(model, example)
    channels.remove(half(channels))
    path = export(model, example, tmp_path / f"network{KINDS[kind].suffix}", kind).path
    for samples in (1, 7):
        inputs = batch_of(name, samples)
        with torch.no_grad():
            expected = outputs_of(model, inputs)
        if kind == "torch":
            positional, named = spread(inputs)
            actual = torch.export.load(path).module()(*positional, **named)
        else:
            session = onnxruntime.InferenceSession(path)
            names = [each.name for each in session.get_inputs()]
            assert names == (list(inputs) if isinstance(inputs, dict) else ["image", "table"])
            given = dict(zip(names, (tensor.numpy() for tensor in flat(inputs)), strict=True))
            actual = torch.from_numpy(session.run(["logits"], given)[0])
        assert (actual - expected).abs().max() <= TOLERANCE * expected.abs().max()


@KINDS_OF_INPUTS
def test_latency_is_measured_on_each_device(name: str) -> None:
    model, example = network(name)
    speeds = compare(model, model, example, ["torch-cpu", "onnxruntime-cpu"], runs=5)
    assert [(speed.device, speed.dense.batch, speed.macs) for speed in speeds] == [
        ("torch-cpu", 1, 1.0),
        ("onnxruntime-cpu", 1, 1.0),
    ]


@KINDS_OF_INPUTS
def test_workers_pass_all_tensors(name: str) -> None:
    model, _ = network(name)
    inputs, learning = batch_of(name), list[Tensor](model.parameters())
    expected = torch.autograd.grad(outputs_of(model, inputs).square().sum(), learning, materialize_grads=True)
    store = TCPStore("127.0.0.1", 0, 1, is_master=True, wait_for_workers=False)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        forward = Team(0, 2).forward(model, learning)
        forward(inputs).square().sum().backward()
    finally:
        dist.destroy_process_group()
    for parameter, gradient in zip(learning, expected, strict=True):
        torch.testing.assert_close(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad, gradient)
