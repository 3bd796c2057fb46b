"""Verifies one trial: its files, and the counts on its rebuilt network."""

from dataclasses import dataclass
from typing import Any

import torch

from search.results.folder import SPEC, StudyFolder
from trainables.checkpoints import checkpoint, manifest
from trainables.checkpoints.checkpoint import Checkpoint
from trainables.checkpoints.epochs import epoch_name
from trainables.models.layers import count, weight_of
from trainables.outcome import Facts, Outcome
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.storage.strict_json import from_json
from trainables.trial.record import TrialRecord
from trainables.trial.trainable import OUTCOME

CPU = torch.device("cpu")


@dataclass
class Files:
    """The number of files that were compared with their checksums, and of networks that were rebuilt."""

    checked: int = 0
    rebuilt: int = 0

    def read_record(self, folder: Folder) -> dict[str, Any]:
        """Check all files of a checkpoint and return its record. Raises ValueError for a file that was changed."""
        files = manifest.read_files(folder)
        self.checked += len(files) + 1  # the manifest has a checksum of its own
        record: dict[str, Any] = from_json(files[manifest.RECORD].decode())
        return record


def check_trial(folder: StudyFolder, key: str, files: Files, problems: list[str]) -> Outcome | None:
    """Check a trial. Returns its outcome, or None if it has not ended. Raises ValueError for a damaged file."""
    trial = folder.trial(key)
    spec = folder.spec(key)
    files.checked += 1
    if not trial.has(OUTCOME):
        return None
    outcome = Outcome.from_file(trial.read(OUTCOME))
    files.checked += 1
    if outcome.spec.key() != key:
        raise ValueError(f"{OUTCOME} is that of trial {outcome.spec.key()}")
    if spec.model_copy(update={"dense": outcome.spec.dense}) != outcome.spec:
        raise ValueError(f"{SPEC} and {OUTCOME} differ in their settings")
    if outcome.status == "done":
        problems += [f"trial {key}: {problem}" for problem in _of_network(folder, outcome, files)]
    return outcome


def _of_network(folder: StudyFolder, outcome: Outcome, files: Files) -> list[str]:
    """Compare an ended trial with the network of its best epoch."""
    assert outcome.best is not None
    saved_in = folder.trial(outcome.spec.key()) / epoch_name(outcome.best.epoch)
    files.read_record(saved_in)
    saved = checkpoint.load(saved_in, folder.trust)
    record, facts = saved.read(TrialRecord), outcome.facts
    problems = []
    if record.spec.key() != outcome.spec.key():
        problems.append(f"its network is that of trial {record.spec.key()}")
    if facts is None or record.facts != facts:
        problems.append("its outcome and its network differ in what was measured after pruning")
        return problems
    if record.history != outcome.history[: len(record.history)]:
        problems.append("its outcome and its network differ in the reports of epochs")
    files.rebuilt += 1
    return problems + _of_counts(saved, outcome.spec, facts) + _of_budget(outcome.spec, facts)


def _of_counts(saved: Checkpoint, spec: TrialSpec, facts: Facts) -> list[str]:
    """Rebuild a network, count its weights and multiply-accumulates, and compare them with what was reported."""
    network = saved.network()
    masks = {}
    if any(pruning.granularity == "weight" for pruning in spec.prunings):
        layers = count(network, {}, saved.architecture.example()).weights
        masks = {name: weight_of(network.get_submodule(name)) != 0 for name in layers}
    counted = count(network, masks, saved.architecture.example())
    problems = []
    for name, found, reported in (
        ("weights", counted.params_kept, facts.params_kept),
        ("multiply-accumulates", counted.macs_kept, facts.macs_kept),
    ):
        if found != reported:
            problems.append(f"its network has {found:,} {name}, but {reported:,} were reported")
    return problems


def _of_budget(spec: TrialSpec, facts: Facts) -> list[str]:
    """Check that what was kept is within the budget of the sparsity."""
    kept, whole = (
        (facts.params_kept, facts.params_total) if spec.budget == "params" else (facts.macs_kept, facts.macs_total)
    )
    budget = round((1.0 - spec.sparsity) * whole)
    return [f"it keeps {kept:,} {spec.budget}, more than its budget of {budget:,}"] if kept > budget else []
