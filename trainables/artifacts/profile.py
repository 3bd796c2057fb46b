"""Measure and store the profile of a dense network: what is lost when one part is pruned."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from trainables.allocation import profiles
from trainables.allocation.profiles import Profile, levels_of, units_at
from trainables.arguments import Arguments, device_of, outputs_of, samples_in, take
from trainables.artifacts.dense import load_dense, saved_dense
from trainables.artifacts.harm import Harm
from trainables.artifacts.probes import load_probes
from trainables.artifacts.record import CostRecord, ProfileRecord
from trainables.artifacts.repair import Fits, Repair
from trainables.artifacts.replay import Replay, Values
from trainables.checkpoints import artifact_store, manifest
from trainables.checkpoints.manifest import RECORD
from trainables.compensation.compensation import put
from trainables.data.splits import AnySplits
from trainables.models.layers import weight_name
from trainables.models.modes import eval_mode
from trainables.names import Source
from trainables.outcome import Cost
from trainables.plugins import needs_of
from trainables.pruning.context import Calibration, Meter, PruningContext
from trainables.pruning.criteria import Scores, criterion
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Prunable, top_units
from trainables.pruning.masked_norms import has_masked_norms
from trainables.spec import ProbeSpec, ProfileSpec
from trainables.storage.folder import Folder
from trainables.storage.strict_json import damage_as_error, from_json
from trainables.task.objective import Objective
from trainables.training.calibration import calibration_samples

MEMORY = 2**30  # bytes of the dense network's results that one turn of samples keeps for reruns
BATCH = 128  # samples that a CPU computes at once, as its caches are small; a GPU computes a whole turn at once


def make_profile(spec: ProfileSpec, splits: AnySplits, storage: Folder, folder: Folder, device: torch.device) -> None:
    """Measure the profile of a dense network that `storage` has, on calibration samples, into `folder`."""
    calibration = calibration_samples(splits, spec.calibration, device)
    spent = Meter(calibration)
    saved = saved_dense(storage, spec.dense)
    example = saved.architecture.example(device)
    shared: dict[Source, Any] = {}
    if "probe" in needs_of("criterion", spec.criterion).inputs:
        probes = artifact_store.find(storage, "probe", ProbeSpec(dense=spec.dense, samples=spec.probe).key())
        assert probes is not None, "probes must be made before the profiles that read them"
        shared["probe"], _ = load_probes(probes)
    profile = measure_profile(load_dense(saved, device), example, spec, calibration, shared)
    record = ProfileRecord(spec=spec, cost=spent.read())
    files = {"profile.parquet": profiles.to_parquet(profile), RECORD: record.model_dump_json().encode()}
    manifest.write_files(folder, files)


def load_profile(folder: Folder) -> tuple[Profile, Cost]:
    """Load a profile and the cost of making it. Raises ValueError where it is damaged."""
    files = manifest.read_files(folder)
    with damage_as_error(f"the profile in {folder.uri}"):
        cost = CostRecord.model_validate(from_json(files[RECORD].decode())).cost
        return profiles.from_parquet(files["profile.parquet"]), cost


def measure_profile(
    dense: nn.Module,
    example: Arguments,
    spec: ProfileSpec,
    calibration: Calibration,
    shared: Mapping[Source, Any] = MappingProxyType({}),
) -> Profile:
    """Measure the profile of a dense network; the network stays as it is.

    example: (1, ...) on the network's device. shared: what the criterion reads beside samples. Levels that keep the
    same number of units are measured once. GPUs also compute in float32: the rounding errors of bfloat16 are larger
    than the loss from the first units of a part.
    """
    levels = levels_of(spec.levels)
    prunable = view(dense, spec.granularity, example)
    scores = criterion(spec.criterion)(PruningContext(prunable, spec.dense.seed, calibration, shared))
    counts = {part.name: [units_at(part, level) for level in levels] for part in prunable.parts}
    unharmed: list[Harm] = []
    harm: dict[tuple[str, int], list[Harm]] = defaultdict(list)
    repair = Repair(dense, calibration, spec.dense.seed) if spec.compensate else None  # it leaves frozen layers alone
    with eval_mode(dense):
        pruning = _Pruning(prunable, scores, repair)
        samples = _Samples(dense, example, calibration)
        for part in prunable.parts:
            fewer = sorted(set(counts[part.name]) - {part.units})
            fits = pruning.fits(part.name, fewer)
            unharmed = []
            for batches in samples.turns(pruning.changed[part.name]):
                unharmed += [batch.harm(batch.outputs) for batch in batches]
                for units in fewer:
                    with pruning.to(part.name, units, fits[units]) as changed:
                        outputs = [batch.outputs_after(changed, part.name in pruning.traced) for batch in batches]
                    harm[part.name, units] += map(_Batch.harm, batches, outputs)
    calibration.evaluations += len(harm)  # one for each pruned network
    harm |= {(part.name, part.units): unharmed for part in prunable.parts}
    whole = {key: Harm.of_all(batches) for key, batches in harm.items()}
    metric = calibration.objective.metric

    def curves(statistic: Callable[[Harm], float]) -> dict[str, tuple[float, ...]]:
        return {name: tuple(statistic(whole[name, units]) for units in kept) for name, kept in counts.items()}

    return Profile(
        levels=levels,
        dense_accuracy=metric.spec.sign * metric.value(Harm.of_all(unharmed).sums),
        accuracy=curves(lambda harm: metric.spec.sign * metric.value(harm.sums)),
        divergence=curves(lambda harm: harm.distance.mean().item()),
        distortion=curves(lambda harm: harm.distortion.mean().item()),
        worst_distortion=curves(lambda harm: harm.distortion.max().item()),
        right=curves(lambda harm: harm.hits.mean().item()) if calibration.objective.hits else {},
    )


class _Pruning:
    """Prunes one part of a network at a time, in place, and restores it."""

    def __init__(self, prunable: Prunable, scores: Scores, repair: Repair | None) -> None:
        self._prunable, self._scores, self._repair = prunable, scores, repair
        self._state = dict(prunable.model.named_parameters()) | dict(prunable.model.named_buffers())
        self._whole = {name: tensor.detach().clone() for name, tensor in self._state.items()}
        self.changed: dict[str, set[str]] = {}  # part name -> names of the weights and buffers that pruning it changes
        self.traced: set[str] = set()  # parts whose pruning changes only these: modules compute the same with them
        for part in prunable.parts:
            with self.to(part.name, part.floor):
                changed = {name for name, dense in self._whole.items() if not torch.equal(self._state[name], dense)}
                if changed and not has_masked_norms(prunable.model):
                    self.traced.add(part.name)
            fitted = {f"{layer}.bias" for layer in self._fitted(changed)}
            self.changed[part.name] = changed | (fitted & self._state.keys())

    @contextmanager
    def to(self, part: str, units: int, fits: Fits = MappingProxyType({})) -> Iterator[set[str]]:
        """Keep only the best `units` units of a part inside this context; yield the names of changed tensors.

        fits: parameters that layers get.
        """
        self._prunable.mask({part: top_units(self._scores[part], units)})
        for layer, parameters in fits.items():
            put(self._prunable.model.get_submodule(layer), parameters)
        try:
            yield self.changed.get(part, set())
        finally:
            self._prunable.unmask()
            with torch.no_grad():
                for name in self.changed.get(part) or self._state:
                    self._state[name].copy_(self._whole[name])

    def fits(self, part: str, counts: Sequence[int]) -> dict[int, Fits]:
        """Fit layers for each of these numbers of units of a part, if the network is repaired: units -> fits."""
        if self._repair is None:
            return {units: {} for units in counts}
        skips = dict[int, Fits]()
        masks = []
        for units in counts:
            with self.to(part, units) as changed:
                masks.append({weight_name(n): self._kept(weight_name(n)) for n in self._fitted(changed)})
                if not changed:  # pruning skips modules, so all layers behind them read something else
                    skips[units] = self._repair.after_skips()
        return skips or dict(zip(counts, self._repair.after_masks(masks), strict=True))

    def _fitted(self, changed: set[str]) -> list[str]:
        """Name the layers that lose weights and that can be fitted."""
        return [layer for layer in (self._repair.layers if self._repair else ()) if weight_name(layer) in changed]

    def _kept(self, name: str) -> Tensor:
        return (self._state[name] != 0) | (self._whole[name] == 0)


class _Samples:
    """Calibration samples in turns, with what the dense network computes from them."""

    def __init__(self, dense: nn.Module, example: Arguments, calibration: Calibration) -> None:
        self._dense, self._calibration, self._example = dense, calibration, example
        self._single = Replay(dense, example)
        self._traced = cache(lambda size: Replay(dense, take(calibration.inputs, slice(size))))

    def turns(self, changed: set[str]) -> Iterator[list["_Batch"]]:
        """Run the dense network on all samples, in turns. What reruns need from one turn fits in `MEMORY`.

        changed: names of the weights and buffers that may differ in a rerun. A turn has at least one sample, even where
        it takes more than `MEMORY`.
        """

        def run(replay: Replay, inputs: Arguments) -> tuple[Tensor, Values]:
            return replay.run(inputs, replay.read_by([replay.dependents(changed)]))

        objective = self._calibration.objective

        turn = max(1, MEMORY // max(1, self._single.size(run(self._single, self._example)[1])))
        at_once = min(turn, BATCH) if device_of(self._example).type == "cpu" else turn
        for of_turn in self._calibration.batches(turn - turn % at_once):
            batches = []
            for content in Calibration(of_turn, objective).batches(at_once):
                inputs = objective.inputs(content)
                replay = self._traced(samples_in(inputs))
                outputs, values = run(replay, inputs)
                batches.append(_Batch(self._dense, objective, content, replay, values, outputs))
            yield batches
            batches.clear()  # frees the memory before the next turn


@dataclass(frozen=True, eq=False)
class _Batch:
    """Calibration samples, and what the dense network computed from them."""

    model: nn.Module
    objective: Objective
    content: Any
    replay: Replay
    values: Values
    outputs: Tensor  # (B, ...)

    def outputs_after(self, changed: set[str], traced: bool) -> Tensor:
        """Compute the outputs (B, ...) of the network as it is now.

        changed: names of the weights and buffers that may differ. traced: whether nothing else differs. Otherwise
        pruning skips modules, or norms read fewer channels, which the replay cannot do, so the network itself runs.
        """
        if not traced:
            with torch.no_grad():
                return outputs_of(self.model, self.objective.inputs(self.content))
        return self.replay.rerun(self.replay.dependents(changed), self.values)

    def harm(self, outputs: Tensor) -> Harm:
        """Judge outputs (B, ...), and compare them with the dense network's."""
        return Harm.of(self.objective, self.content, self.outputs, outputs)
