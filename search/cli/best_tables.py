"""What `best` prints: the copied networks, their speed and how to use them."""

from search.cli.terminal import plain, terminal
from search.results.names import training_name
from search.retrieval.best import Front
from search.retrieval.copying import Retrieved
from trainables.counts import quantity
from trainables.exports.latency import table
from trainables.models.inputs import TensorSpec
from trainables.pruning.held import outside_budgets

USE = """\
import torch
from trainables import load_pruned
model = load_pruned({folder!r}{trust})  # a plain nn.Module with its pruned widths, in eval mode
images = torch.zeros(1, {image})  # normalised: (pixels / 255 - mean) / std; "input" in record.json gives mean and std
print(model(images).softmax(1))"""
OTHER_USE = """\
import torch
from trainables import load_pruned
model = load_pruned({folder!r}{trust})  # a plain nn.Module with its pruned widths, in eval mode
# inputs as the Task gives them
print(model({inputs}))"""


def print_network(network: Retrieved) -> None:
    """Print a network: its settings, reported and verified accuracy, its speed beside the dense network, its use."""
    pruned = f"{network.policy} by {network.criterion} at sparsity {network.sparsity:g}"
    print(f"trial {network.trial}: {network.model}, {pruned}, {training_name(network)}, seed {network.seed}")
    if network.rules:
        print(f"rules for layers: {network.rules}")
    weights, macs = network.params_kept / network.params_total, network.macs_kept / network.macs_total
    print(
        f"kept: {quantity(network.params_kept, 'weight')} ({100 * weights:.1f} %), "
        f"{network.macs_kept:,} multiply-accumulates ({100 * macs:.1f} %), {network.bytes:,} bytes on disk"
    )
    if fixed := outside_budgets([(network.params_fixed, network.params_kept)]):
        print(fixed)
    reported, verified = f"{network.reported_accuracy:.4f}", f"{network.verified_accuracy:.4f}"
    print(f"validation {network.metric}: reported {reported}, verified {verified}")
    for name, value in network.other_metrics.items():
        print(f"validation {name}: verified {value:.4f}")
    print(table(network.speeds))
    if network.verified_quantised_accuracy is not None:
        print(_of_int8(network))
    print(f"checkpoint: {network.checkpoint}")
    for path in network.exports:
        print(f"exported: {path}")
    if network.registered:
        version = network.registered
        print(f"registered: {version.uri}, version {version.version}, at {version.tracking}")
    print("use it:")
    trust = f", trust=[{network.model!r}]" if ":" in network.model else ""
    image = ", ".join(map(str, network.image))
    use = OTHER_USE if network.task else USE
    for line in use.format(folder=network.checkpoint, trust=trust, image=image, inputs=_inputs(network)).splitlines():
        print(f"  {line}")


def _of_int8(network: Retrieved) -> str:
    """Say what the int8 file reaches, its size, and its latency beside the float32 file."""
    told = network.reported_quantised_accuracy
    reported = "" if told is None else f"reported {told:.4f}, "
    return (
        f"int8 file: validation {network.metric} {reported}verified {network.verified_quantised_accuracy:.4f}, "
        f"{network.quantised_bytes:,} bytes (float32 {network.exported_bytes:,}), "
        f"{network.quantised_latency_ms:.2f} ms in onnxruntime (float32 {network.exported_latency_ms:.2f})"
    )


def _inputs(network: Retrieved) -> str:
    """Write the arguments of a call of the network."""
    first = TensorSpec(shape=network.image, dtype=network.dtype)
    return ", ".join(
        f"{f'{each.name}=' if each.name else ''}torch.zeros({(1, *each.shape)}, dtype=torch.{each.dtype})"
        for each in network.tensors or (first,)
    )


def print_front(front: Front) -> None:
    """Print each network of a Pareto set and its folder on one line."""
    rows = plain("")
    for name in ("folder", "reported", "verified", "weights", "MACs", "ms"):
        rows.add_column(name, justify="left" if name == "folder" else "right", no_wrap=True)
    for network in front.networks:
        rows.add_row(
            network.checkpoint,
            f"{network.reported_accuracy:.4f}",
            f"{network.verified_accuracy:.4f}",
            f"{network.params_kept:,}",
            f"{network.macs_kept:,}",
            f"{network.speeds[0].pruned.median_ms:.2f}",
        )
    terminal().print(rows)
    print(f"{quantity(len(front.networks), 'network')} that no other beats in {front.metric}, weights and MACs at once")
    print(table([front.networks[0].speeds[0]]).splitlines()[-1])
