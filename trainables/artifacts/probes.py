"""Linear probes of a dense network: how well the classes can be told from what each of its blocks gives."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.artifacts.dense import load_dense, saved_dense
from trainables.artifacts.record import CostRecord, ProbeRecord
from trainables.checkpoints import manifest
from trainables.checkpoints.manifest import RECORD
from trainables.data.batches import Resident, eval_batches
from trainables.data.splits import Splits
from trainables.models.layers import eval_mode
from trainables.outcome import Cost
from trainables.pruning.block_chain import Block, find_chain
from trainables.pruning.probe_order import ProbeResult
from trainables.spec import ProbeSpec
from trainables.storage import columns
from trainables.storage.folder import Folder
from trainables.storage.strict_json import damage_as_error, from_json

BATCH = 256  # samples at a time
STEPS = 500  # of L-BFGS at most
GRADIENT = 1e-5  # of the mean loss, at which it ends
TINY = 1e-8  # deviation of a feature that tells nothing

Curve = tuple[ProbeResult, ...]  # a probe behind every block, in the order of the chain


def make_probes(spec: ProbeSpec, splits: Splits, storage: Folder, folder: Folder, device: torch.device) -> None:
    """Probe a dense network that `storage` has: fitted to training samples, judged on the validation samples."""
    saved = saved_dense(storage, spec.dense)
    example = saved.architecture.example().to(device)
    curve, cost = probe(load_dense(saved, device), example, splits, spec.samples)
    record = ProbeRecord(spec=spec, cost=cost)
    files = {"probes.parquet": to_parquet(curve), RECORD: record.model_dump_json().encode()}
    manifest.write_files(folder, files)


def load_probes(folder: Folder) -> tuple[Curve, Cost]:
    """Load probes and what it took to make them; ValueError where they are damaged."""
    files = manifest.read_files(folder)
    with damage_as_error(f"the probes in {folder.uri}"):
        cost = CostRecord.model_validate(from_json(files[RECORD].decode())).cost
        rows = columns.read_columns(files["probes.parquet"]).drop_columns(["depth"]).to_pylist()
        return tuple(ProbeResult(**row) for row in rows), cost


def to_parquet(curve: Curve) -> bytes:
    """Write a curve as Parquet: a row for each block, in the order of the chain."""
    return columns.to_parquet(pa.Table.from_pylist([{"depth": n} | asdict(row) for n, row in enumerate(curve)]))


def probe(model: nn.Module, example: Tensor, splits: Splits, samples: int) -> tuple[Curve, Cost]:
    """Fit a linear probe behind every block of a network, which stays as it is; example: (1, C, H, W) on its device.

    The network sees the first `samples` training samples, which are spread evenly over the classes, and all validation
    samples once, in eval mode; a probe learns from the former only. It reads what the block gives, averaged over
    positions and standardised by the training samples. All of this is our reading: the paper's probes are not in open
    text.
    """
    started = time.perf_counter()
    train = Resident(splits.train.first(samples), splits, example.device)
    val = Resident(splits.val, splits, example.device)
    chain = find_chain(model, example)
    with eval_mode(model):
        outputs = [pooled_outputs(model, chain, data) for data in (train, val)]
    curve = []
    for block, seen, unseen in zip(chain, *outputs, strict=True):
        mean, deviation = seen.mean(0), seen.std(0, correction=0).clamp_min(TINY)
        seen, unseen = (seen - mean) / deviation, (unseen - mean) / deviation
        weight, bias = logistic_regression(seen, train.labels, len(splits.classes))
        told = [
            (features @ weight + bias).argmax(1).eq(labels).double().mean().item()
            for features, labels in ((seen, train.labels), (unseen, val.labels))
        ]
        curve.append(ProbeResult(block.name, seen.shape[1], *told))
    seconds = time.perf_counter() - started
    return tuple(curve), Cost(seconds=seconds, evaluations=1, images=train.taken + val.taken)


@torch.no_grad()
def pooled_outputs(model: nn.Module, chain: Sequence[Block], data: Resident) -> list[Tensor]:
    """Run a network on a split and average over positions what each block gives: (N, features) in float64 for each."""
    pooled: list[list[Tensor]] = [[] for _ in chain]

    def pooling_into(taken: list[Tensor]) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _, __, output: taken.append(output.mean((2, 3)).double())

    last = [model.get_submodule(block.modules[-1]) for block in chain]
    handles = [module.register_forward_hook(pooling_into(p)) for module, p in zip(last, pooled, strict=True)]
    try:
        for batch in eval_batches(data, BATCH):
            model(batch.images)
    finally:
        for handle in handles:
            handle.remove()
    return [torch.cat(batches) for batches in pooled]


def logistic_regression(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Fit a multinomial logistic regression by L-BFGS: the least of sum cross-entropy + |W|^2 / 2, the bias left out.

    That is scikit-learn's with C = 1, which a test compares. scikit-learn takes half the time on a CPU, but cannot use
    the GPU of a trial, where the features lie.

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
