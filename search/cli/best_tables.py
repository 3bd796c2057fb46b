"""What `best` prints: the copied networks, their speed and how to use them."""

from search.cli.terminal import plain, terminal
from search.comparison.wording import STANDARD
from search.retrieval.best import Front
from search.retrieval.copying import Retrieved
from trainables.exports.latency import table

USE = """\
import torch
from trainables import load_pruned
model = load_pruned({folder!r}{trust})  # a plain nn.Module of its cut widths, in eval mode
images = torch.zeros(1, {image})  # normalised: (pixels / 255 - mean) / std, as "input" in record.json says
print(model(images).softmax(1))"""


def print_network(taken: Retrieved) -> None:
    """Print one network: what it is, reported beside verified accuracy, speed beside the dense network, its use."""
    curriculum = "" if taken.curriculum == STANDARD else f", {taken.curriculum}"
    how = f"{taken.policy} by {taken.criterion} at sparsity {taken.sparsity:g}, {taken.recovery}{curriculum}"
    print(f"trial {taken.trial}: {taken.model}, {how}, seed {taken.seed}")
    weights, macs = taken.params_kept / taken.params_total, taken.macs_kept / taken.macs_total
    print(
        f"kept: {taken.params_kept:,} weights ({100 * weights:.1f} %), "
        f"{taken.macs_kept:,} multiply-accumulates ({100 * macs:.1f} %), {taken.bytes:,} bytes on disk"
    )
    print(f"validation accuracy: reported {taken.reported_accuracy:.4f}, verified {taken.verified_accuracy:.4f}")
    print(table(taken.speeds))
    print(f"checkpoint: {taken.checkpoint}")
    for path in taken.exports:
        print(f"exported: {path}")
    if taken.registered:
        made = taken.registered
        print(f"registered: {made.uri}, version {made.version}, at {made.tracking}")
    print("use it:")
    trust = f", trust=[{taken.model!r}]" if ":" in taken.model else ""
    for line in USE.format(folder=taken.checkpoint, trust=trust, image=", ".join(map(str, taken.image))).splitlines():
        print(f"  {line}")


def print_front(front: Front) -> None:
    """Print each network of a Pareto set and its folder on one line."""
    shown = plain("")
    for name in ("folder", "reported", "verified", "weights", "MACs", "ms"):
        shown.add_column(name, justify="left" if name == "folder" else "right", no_wrap=True)
    for taken in front.networks:
        shown.add_row(
            taken.checkpoint,
            f"{taken.reported_accuracy:.4f}",
            f"{taken.verified_accuracy:.4f}",
            f"{taken.params_kept:,}",
            f"{taken.macs_kept:,}",
            f"{taken.speeds[0].pruned.median_ms:.2f}",
        )
    terminal().print(shown)
    print(f"{len(front.networks)} networks that no other beats in {front.metric}, weights and MACs at once")
    print(table([front.networks[0].speeds[0]]).splitlines()[-1])
