"""Linear probes of a dense network: how well a linear classifier reads the classes from the output of each block."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict

import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.dlpack import from_dlpack

from trainables.arguments import Arguments, call, device_of, samples_in
from trainables.artifacts.dense import load_dense, saved_dense
from trainables.artifacts.record import CostRecord, ProbeRecord
from trainables.checkpoints import manifest
from trainables.checkpoints.manifest import RECORD
from trainables.data.batches import Resident, eval_batches
from trainables.data.collated import labels_of, on_device
from trainables.data.samples import Samples
from trainables.data.splits import AnySplits, Split
from trainables.models.modes import eval_mode
from trainables.models.usage import unfused
from trainables.outcome import Cost
from trainables.pruning.additions import Additions, Stream
from trainables.pruning.block_chain import Block, find_chain
from trainables.pruning.probe_order import ProbeResult
from trainables.spec import ProbeSpec
from trainables.storage import columns
from trainables.storage.folder import Folder
from trainables.storage.strict_json import damage_as_error, from_json
from trainables.task.objective import Objective

BATCH = 256  # samples at a time
STEPS = 500  # maximum number of L-BFGS steps
GRADIENT = 1e-5  # L-BFGS stops where no entry of the mean loss's gradient is larger
TINY = 1e-8  # least standard deviation of a feature; avoids division by 0

Curve = tuple[ProbeResult, ...]  # one probe for each block, in the order of the chain


def make_probes(spec: ProbeSpec, splits: AnySplits, storage: Folder, folder: Folder, device: torch.device) -> None:
    """Probe a dense network that `storage` has, and write the probes to `folder`."""
    saved = saved_dense(storage, spec.dense)
    example = saved.architecture.example(device)
    curve, cost = probe(load_dense(saved, device), example, splits, spec.samples)
    record = ProbeRecord(spec=spec, cost=cost)
    files = {"probes.parquet": to_parquet(curve), RECORD: record.model_dump_json().encode()}
    manifest.write_files(folder, files)


def load_probes(folder: Folder) -> tuple[Curve, Cost]:
    """Load probes and the cost of making them. Raises ValueError where they are damaged."""
    files = manifest.read_files(folder)
    with damage_as_error(f"the probes in {folder.uri}"):
        cost = CostRecord.model_validate(from_json(files[RECORD].decode())).cost
        rows = columns.read_columns(files["probes.parquet"]).drop_columns(["depth"]).to_pylist()
        return tuple(ProbeResult(**row) for row in rows), cost


def to_parquet(curve: Curve) -> bytes:
    """Write a curve as Parquet: a row for each block, in the order of the chain; "depth" counts from 0."""
    return columns.to_parquet(pa.Table.from_pylist([{"depth": n} | asdict(row) for n, row in enumerate(curve)]))


def probe(model: nn.Module, example: Arguments, splits: AnySplits, samples: int) -> tuple[Curve, Cost]:
    """Fit a linear probe to the output of every block of a network; the network stays as it is.

    example: (1, ...) on the network's device. The network runs once, in eval mode, on the first `samples` training
    samples (of images, spread evenly over the classes) and on all validation samples. A probe learns from the training
    samples only. Its features are the block's output channels, averaged over positions or over all tokens, with mean 0
    and standard deviation 1 on the training samples. All of this is our reading: the paper's probes are not in open
    text. Raises ValueError where samples have no labels.
    """
    started = time.perf_counter()
    parts, device = (splits.train.first(samples), splits.val), device_of(example)
    train, val = (on_device(part, splits, device) for part in parts)
    labels = [_labels(part, splits.objective).to(device) for part in parts]
    chain = find_chain(model, example)
    with eval_mode(model):
        outputs = [pooled_outputs(model, chain, data) for data in (train, val)]
    curve = []
    for block, fit_on, held_out in zip(chain, *outputs, strict=True):
        mean, deviation = fit_on.mean(0), fit_on.std(0, correction=0).clamp_min(TINY)
        fit_on, held_out = (fit_on - mean) / deviation, (held_out - mean) / deviation
        weight, bias = logistic_regression(fit_on, labels[0], splits.inputs.classes)
        accuracies = [
            (features @ weight + bias).argmax(1).eq(wanted).double().mean().item()
            for features, wanted in zip((fit_on, held_out), labels, strict=True)
        ]
        curve.append(ProbeResult(block.name, fit_on.shape[1], *accuracies))
    seconds = time.perf_counter() - started
    return tuple(curve), Cost(seconds=seconds, evaluations=1, images=train.taken + val.taken)


def _labels(part: Split | Samples, objective: Objective) -> Tensor:
    labels = labels_of(part, objective)
    if labels is None:
        raise ValueError("linear probes must read the label of each sample, but the Task gives none; give it labels")
    return from_dlpack(labels)


@torch.no_grad()
def pooled_outputs(model: nn.Module, chain: Sequence[Block], data: Resident) -> list[Tensor]:
    """Run a network on a split; return each block's output, averaged over positions: (N, features) in float64."""
    pooled: list[list[Tensor]] = [[] for _ in chain]
    samples = 0  # in the batch that runs

    def pooling_into(outputs: list[Tensor], channels: int) -> Callable[[nn.Module, object, Tensor], None]:
        others = [dim for dim in (1, 2, 3) if dim != channels]
        return lambda _, __, output: outputs.append(output.mean(others).double())

    def see(addition: int, operands: tuple[Tensor, Tensor], result: Tensor) -> None:
        for outputs, stream in streams.get(addition, ()):
            outputs.append(stream.pooled(operands, result, samples).double())

    streams = defaultdict[int, list[tuple[list[Tensor], Stream]]](list)
    with ExitStack() as stack:
        for outputs, block in zip(pooled, chain, strict=True):
            if block.stream:
                streams[block.stream.addition].append((outputs, block.stream))
            else:
                pool = pooling_into(outputs, block.channels)
                hook = model.get_submodule(block.modules[-1]).register_forward_hook(pool)
                stack.callback(hook.remove)
        if streams:
            stack.enter_context(unfused(model))
        for batch in eval_batches(data, BATCH):
            samples = samples_in(batch.inputs)
            with Additions(see) if streams else nullcontext():  # it counts the additions of one forward pass
                call(model, batch.inputs)
    return [torch.cat(batches) for batches in pooled]


def logistic_regression(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Fit a multinomial logistic regression by L-BFGS: minimise sum cross-entropy + |W|^2 / 2, without the bias in |W|.

    This is the objective of scikit-learn with C = 1; a test compares both. scikit-learn takes half the time on a CPU,
    but cannot use a GPU, where the features are.

    features: (N, F) in float64; labels: (N,). Returns W (F, classes) and the bias (classes,).
    """
    parameters = torch.zeros(features.shape[1] + 1, classes, dtype=features.dtype, device=features.device)
    optimizer = torch.optim.LBFGS(
        [parameters.requires_grad_()],
        max_iter=STEPS,
        history_size=20,
        tolerance_grad=GRADIENT,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        weight, bias = parameters[:-1], parameters[-1]
        loss = F.cross_entropy(features @ weight + bias, labels) + weight.square().sum() / (2 * len(labels))
        loss.backward()
        return loss.detach()

    with torch.enable_grad():
        optimizer.step(closure)
    fitted = parameters.detach()
    return fitted[:-1], fitted[-1]
