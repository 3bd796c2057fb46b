"""A trial before its training: an allocation of a dense network is filled, pruned, repaired and evaluated.

Repaired means recalibrated, and compensated before that if the study compensates.

Every evaluation is written to a log at once and never repeated.
"""

import copy
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path

import torch
from torch import Tensor

from search.results.folder import StudyFolder
from search.study.cells import cell_key
from trainables.allocation.policies import POLICIES, allocate
from trainables.allocation.problem import Problem
from trainables.artifacts.dense import load_dense, saved_dense
from trainables.compensation.compensation import Targets, compensate
from trainables.data import sources
from trainables.data.batches import Resident, eval_batches
from trainables.data.splits import Split, Splits
from trainables.data_spec import DataSpec
from trainables.names import SEARCHES
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularities import view
from trainables.pruning.granularity import top_units
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.training.calibration import calibration_samples
from trainables.training.recalibration import recalibrate
from trainables.training.train import autocast

BATCH = 256  # images evaluated at once; the fastest batch on one core

Densities = Mapping[str, float]  # part name -> relative density


@cache
def load_images(data: DataSpec) -> Splits:
    """Read the images once for all networks."""
    return sources.load(data)


class Log:
    """A file of evaluations by key: a line of JSON for each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._known: dict[str, float] = {entry["key"]: entry["accuracy"] for entry in map(json.loads, lines)}

    def once(self, key: str, evaluate: Callable[[], float]) -> float:
        """Return the accuracy of this key. Evaluate it only if the file does not have it."""
        if key not in self._known:
            started, busy = time.perf_counter(), time.process_time()
            self._known[key] = evaluate()
            times = {"seconds": time.perf_counter() - started, "processor": time.process_time() - busy}
            with self._path.open("a") as file:
                file.write(json.dumps({"key": key, "accuracy": self._known[key], **times}) + "\n")
            print(f"    {100 * self._known[key]:.2f} %, {times['seconds']:.1f} s", flush=True)
        return self._known[key]


class Network:
    """A dense network in memory, and the accuracies of allocations of its budget before any fine-tuning."""

    def __init__(
        self, cell: TrialSpec, storage: Folder, policies: Mapping[str, Densities], images: int, log: Log
    ) -> None:
        """policies: name -> densities of the named policies. images: number of validation images that a search sees."""
        self.cell, self.policies, self.images, self._log = cell, policies, images, log
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dense = saved_dense(storage, cell.dense)
        self._example = dense.architecture.example(self._device)
        self._dense = load_dense(dense, self._device)
        context = PruningContext(view(self._dense, cell.granularity, self._example), cell.seed)
        self._problem = Problem(context, CRITERIA[cell.criterion](context), cell.sparsity, cell.budget)
        self.parts = [part.name for part in context.prunable.parts]

    def accuracy(self, densities: Densities, fresh: bool = False) -> float:
        """Evaluate relative densities, filled to the budget as by the policy "searched".

        fresh: use the validation images that a search does not see.
        """
        quota = allocate(POLICIES["searched"], replace(self._problem, densities=dict(densities)))
        images = f"{'from' if fresh else 'until'} {self.images}"
        key = " ".join((self.cell.key(), images, *map(str, quota.values())))
        return self._log.once(key, lambda: self._evaluate(quota, self._data[1 + fresh]))

    def _evaluate(self, quota: Mapping[str, int], val: Resident) -> float:
        model, cell = copy.deepcopy(self._dense), self.cell
        kept_units = {name: top_units(self._problem.scores[name], units) for name, units in quota.items()}
        cut = view(model, cell.granularity, self._example).remove(kept_units)
        if cell.compensate:
            targets, images = self._targets
            compensate(model.eval(), targets, cut, images, cell.recalibrate > 0)
        recalibrate(model, self._data[0], cell.recalibrate, cell.finetune.batch_size, cell.seed)
        model.eval()
        with torch.inference_mode(), autocast(self._device):
            hits = sum(int((model(b.images).argmax(1) == b.labels).sum()) for b in eval_batches(val, BATCH))
        return hits / len(val)

    @cached_property
    def _targets(self) -> tuple[Targets, Tensor]:
        """What compensation fits the layers to, and the calibration images."""
        calibration = calibration_samples(load_images(self.cell.dense.data), self.cell.calibration, self._device)
        images = calibration.images
        return Targets.read(self._dense.eval(), images, self.cell.seed), images

    @cached_property
    def _data(self) -> tuple[Resident, Resident, Resident]:
        """Training images, the validation images that a search sees, and the fresh ones. They are read at first use."""
        splits = load_images(self.cell.dense.data)
        val = splits.val
        seen, fresh = (
            Split(val.images[part], val.labels[part], val.ids[part])
            for part in (slice(self.images), slice(self.images, None))
        )
        residents = [Resident(split, splits, self._device) for split in (splits.train, seen, fresh)]
        return residents[0], residents[1], residents[2]


def networks(study_folder: str, sparsity: float, images: int, log: Log) -> list[Network]:
    """Load every dense network of a study, with the densities of its named policies at this sparsity."""
    folder = StudyFolder.open(study_folder)
    storage = Folder.at(str(Path(study_folder).parent))
    rows = [row for row in folder.rows() if row.status == "done" and row.policy not in SEARCHES]
    kept: dict[str, dict[str, Densities]] = defaultdict(dict)  # cell -> policy -> densities
    for row in rows:
        kept[row.cell][row.policy] = row.parts
    cells = [cell for cell in folder.study.cells() if cell.sparsity == sparsity]
    return [Network(cell, storage, kept[cell_key(cell)], images, log) for cell in cells]
