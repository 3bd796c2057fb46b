"""How much faster a pruned network is: `python -m tests.benchmarks.latency [MODEL...]`.

Networks have full width and fresh weights, and see one 32 x 32 image in float32 on one thread. First it removes blocks
uniformly. Then it cuts channels uniformly to the same multiply-accumulates, so that both can be compared, and once more
to multiples of eight within the budget. It also masks 90 % of the weights. It measures each network by turns with its
dense network, on every device of this machine.
"""

import copy
import sys

import torch
from torch import nn

from trainables.allocation.plan import plan
from trainables.checkpoints.checkpoint import Architecture
from trainables.exports.latency import compare
from trainables.models.layers import count
from trainables.spec import TrialSpec
from trainables.training.train import to_device

MODELS = ("vgg16", "resnet20", "resnet56", "mobilenet")
EVEN = 8  # widths are multiples of this in the third kind of networks
LEFT = (0.7, 0.5)  # largest fractions of the multiply-accumulates that are left
RUNS = 50


def pruned(dense: nn.Module, built: Architecture, **settings: object) -> tuple[nn.Module, int]:
    """Prune a copy of the network uniformly; return the copy and its multiply-accumulates."""
    model, example = copy.deepcopy(dense), built.example()
    criterion = {"weight": "magnitude", "channel": "l1"}.get(str(settings["granularity"]), "random")
    masks = plan(model, example, TrialSpec.model_validate({"criterion": criterion, **settings})).carry_out().masks
    return to_device(model, torch.device("cpu")), count(model, masks, example).macs_kept


def main(models: tuple[str, ...]) -> None:
    """Print a line of Markdown for each network and device."""
    print("| network | pruned | device | dense ms | pruned ms | multiply-accumulates left | speed-up |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in models:
        torch.manual_seed(0)
        built = Architecture(model=name, width=1.0, classes=10, image=(3, 32, 32))
        dense = to_device(built.build(), torch.device("cpu")).eval()
        total = count(dense, {}, built.example()).macs_kept
        networks = {"90 % of weights": pruned(dense, built, granularity="weight", sparsity=0.9)[0]}
        for left in LEFT:
            shallow, macs = pruned(dense, built, granularity="block", sparsity=1 - left, budget="macs")
            thin, cut = pruned(dense, built, granularity="channel", sparsity=1 - macs / total, budget="macs")
            even, whole = pruned(dense, built, granularity="channel", sparsity=1 - left, budget="macs", round_to=EVEN)
            networks |= {f"blocks ({macs / total:.2f})": shallow, f"channels ({cut / total:.2f})": thin}
            networks |= {f"channels by {EVEN} ({whole / total:.2f})": even}
        for what, network in networks.items():
            for speed in compare(dense, network, built.example(), runs=RUNS):
                dense_ms, ms = speed.dense.median_ms, speed.pruned.median_ms
                cells = f"{dense_ms:.2f} | {ms:.2f} | {speed.macs:.2f} | {speed.speed_up:.2f}"
                print(f"| {name} | {what} | {speed.device} | {cells} |", flush=True)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or MODELS)
