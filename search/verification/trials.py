"""Verifies one trial: its files, and the counts on its rebuilt network."""

from dataclasses import dataclass, replace

from search.results.folder import SPEC, StudyFolder
from search.verification.latency import beyond_time
from search.verification.rules import beyond_rules
from trainables.checkpoints import checkpoint, manifest
from trainables.checkpoints.checkpoint import Checkpoint
from trainables.checkpoints.epochs import epoch_name
from trainables.models.layers import count, prunable_layers
from trainables.models.trust import Trust
from trainables.outcome import Facts, Outcome
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.record import TrialRecord
from trainables.trial.trainable import OUTCOME


@dataclass
class Checked:
    """The number of files that were compared with their checksums, and of networks that were rebuilt."""

    files: int = 0
    networks: int = 0

    def load(self, folder: Folder, trust: Trust) -> Checkpoint:
        """Load a checkpoint, which checks all its files. Raises ValueError for a file that was changed."""
        saved = checkpoint.load(folder, trust)
        self.files += len(manifest.listed(folder)) + 1  # the manifest has a checksum of its own
        return saved


def check_trial(folder: StudyFolder, key: str, checked: Checked) -> tuple[Outcome | None, list[str]]:
    """Check a trial. Returns its outcome, None if it has not ended, and a text for each problem of its network.

    Raises ValueError for a damaged file.
    """
    trial, spec = folder.trial(key), folder.spec(key)
    checked.files += 1
    if not trial.has(OUTCOME):
        return None, []
    outcome = Outcome.from_file(trial.read(OUTCOME))
    checked.files += 1
    if outcome.spec.key() != key:
        raise ValueError(f"{OUTCOME} is that of trial {outcome.spec.key()}")
    moved = {name: getattr(outcome.spec, name) for name in ("dense", "curriculum", "device")}  # data, weights, tables
    if spec.model_copy(update=moved) != outcome.spec:
        raise ValueError(f"{SPEC} and {OUTCOME} differ in their settings")
    return outcome, _of_network(folder, outcome, checked) if outcome.status == "done" else []


def _of_network(folder: StudyFolder, outcome: Outcome, checked: Checked) -> list[str]:
    """Compare a finished trial with the network of its best epoch."""
    assert outcome.best is not None
    saved = checked.load(folder.trial(outcome.spec.key()) / epoch_name(outcome.best.epoch), folder.trust)
    record, facts = saved.read(TrialRecord), outcome.facts
    if record.spec.key() != outcome.spec.key():
        return [f"its network is that of trial {record.spec.key()}"]
    if facts is None or record.facts != facts:
        return ["its outcome and its network differ in what was measured after pruning"]
    checked.networks += 1
    problems = [*_of_counts(saved, outcome.spec, facts), *_of_budget(outcome.spec, facts)]
    if (outcome.quantised is not None) != (outcome.spec.quantise != "off"):
        problems.append("its outcome must have an int8 file's numbers exactly if its settings say quantise")
    problems += beyond_time(saved, outcome.spec, facts, folder.folder.parent)
    if record.history != outcome.history[: len(record.history)]:
        problems.insert(0, "its outcome and its network differ in the reports of epochs")
    return problems


def _of_counts(saved: Checkpoint, spec: TrialSpec, facts: Facts) -> list[str]:
    """Rebuild a network, count its weights and multiply-accumulates, and compare them with reports and rules."""
    network, example = saved.network(), saved.architecture.example()
    masks = {}
    if any(pruning.granularity == "weight" for pruning in spec.prunings):
        names = {layer.parameter for layer in prunable_layers(network, example)}
        masks = {name: network.get_parameter(name) != 0 for name in names}
    whole = counted = count(network, masks, example)
    if facts.params_fixed is None:  # an older version, which knew fewer kinds of layers
        known = (*facts.layers, *(f"{block}.conv" for block in saved.architecture.projections))
        weights, macs = ({n: kept[n] for n in known if n in kept} for kept in (counted.weights, counted.macs))
        counted = replace(counted, weights=weights, macs=macs, macs_fixed=0)
    problems = []
    for name, found, reported in (
        ("weights", counted.params_kept, facts.params_kept),
        ("multiply-accumulates", counted.macs_kept, facts.macs_kept),
        ("fixed parameters", counted.params_fixed, facts.params_fixed),
    ):
        if reported is not None and found != reported:
            problems.append(f"its network has {found:,} {name}, but {reported:,} were reported")
    return [*problems, *beyond_rules(saved, spec, facts, whole)]


def _of_budget(spec: TrialSpec, facts: Facts) -> list[str]:
    """Check that what was kept is within the budget of the sparsity; `beyond_time` checks one of latency."""
    if spec.budget == "latency":
        return []
    kept, whole = (
        (facts.params_kept, facts.params_total) if spec.budget == "params" else (facts.macs_kept, facts.macs_total)
    )
    budget = round((1.0 - spec.sparsity) * whole)
    return [f"it keeps {kept:,} {spec.budget}, more than its budget of {budget:,}"] if kept > budget else []
