"""How well latency tables predict: `python -m tests.benchmarks.latency_tables --out FOLDER`.

Each network has full width and fresh weights, and takes 32 x 32 images on one thread. A table is measured on each
device at each batch size. The picture shows the networks that were held out: predicted against measured time. A
control predicts from the multiply-accumulates alone: a constant and one price, fitted to the same networks.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.optimize import nnls

from search.figures.chart import house_style
from trainables.checkpoints.checkpoint import Architecture
from trainables.device_spec import DeviceSpec
from trainables.latency.measuring import measure
from trainables.latency.table import LatencyTable
from trainables.pruning.channels import Channels
from trainables.pruning.latency_cost import PICOSECONDS


def by_macs(table: LatencyTable, channels: Channels) -> Any:
    """Predict the held-out networks from their multiply-accumulates alone: (held out,) ms."""
    macs = np.array([channels.cost(kept, "macs") for kept in table.kept]) / 1e6
    terms, fitted = np.stack([np.ones_like(macs), macs], 1), ~table.held_out
    prices, _ = nnls(terms[fitted] / table.ms[fitted, None], np.ones(fitted.sum()))
    return terms[table.held_out] @ prices


def main() -> None:
    """Measure, print a line of Markdown for each table, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet56", "vgg16", "mobilenet", "vit"])
    parser.add_argument("--devices", nargs="+", default=["torch-cpu", "onnxruntime-cpu"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--round-to", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, tuple[Any, Any]] = {}
    print(
        "| network | device | batch | dense ms | fastest ms | median error | largest | by MACs alone | spread | drift |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for model in asked.models:
        torch.manual_seed(0)
        built = Architecture(model=model, width=asked.width, classes=10, image=(3, 32, 32))
        network, example = built.build(), built.example()
        channels = Channels(network, example, asked.round_to)
        for device in asked.devices:
            for batch in asked.batches:
                spec = DeviceSpec(name=device, batch=batch)
                table = measure(network, example, model, "channel", asked.round_to, spec)
                (asked.out / f"{model}-{device}-{batch}.parquet").write_bytes(table.to_parquet())
                latency = table.priced(channels).latency
                assert latency is not None
                measured, errors = table.ms[table.held_out], table.errors(channels)
                plain = np.abs(by_macs(table, channels) / measured - 1.0)
                found[f"{model}, {device}, {batch}"] = measured, latency(table.kept[table.held_out]) / PICOSECONDS
                times = f"{table.dense_ms:.3g} | {table.ms.min():.3g} | {np.median(errors):.1%} | {errors.max():.1%}"
                noise = f"{table.header.spread:.0%} | {table.header.drift:.0%}"
                print(f"| {model} | {device} | {batch} | {times} | {np.median(plain):.1%} | {noise} |", flush=True)
    draw(found, asked.out / "latency.png")


def draw(found: dict[str, tuple[Any, Any]], path: Path) -> None:
    """Draw predicted against measured time of the held-out networks of each table."""
    with house_style():
        figure = Figure(figsize=(6, 6), layout="constrained")
        axis = figure.add_subplot()
        for name, (measured, predicted) in found.items():
            axis.plot(measured, predicted, ".", label=name)
        times = np.concatenate([np.concatenate(pair) for pair in found.values()])
        axis.axline((times.min(), times.min()), (times.max(), times.max()), color="grey", linewidth=0.8)
        axis.set(xscale="log", yscale="log", xlabel="measured (ms)", ylabel="predicted (ms)")
        axis.legend(fontsize=6)
        figure.savefig(path)


if __name__ == "__main__":
    main()
