"""How fast a trial's network is on this machine, beside its dense one."""

from collections.abc import Collection

import torch

from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from trainables.checkpoints import checkpoint
from trainables.checkpoints.epochs import epoch_name
from trainables.evaluate import load_pruned
from trainables.exports.latency import Speed, compare
from trainables.storage.folder import Folder
from trainables.training.train import to_device


class LatencyMeter:
    """Measures networks when asked: one image at a time on one thread, or on the GPU where there is one.

    Networks of the same shape are measured once: zeros in a weight change nothing.
    """

    def __init__(self, folder: StudyFolder, trust: Collection[str] = ()) -> None:
        """Measure networks of a study; trust: as for `checkpoints.load`."""
        self._folder, self._trust = folder, trust
        self._engine = "torch-cuda" if torch.cuda.is_available() else "torch"
        self._known: dict[str, Speed] = {}

    def speed(self, row: TrialRow) -> Speed:
        """Measure a trial's network and the dense one by turns."""
        cut = [] if row.granularity == "weight" else sorted(row.parts.items())
        shape = row.trial if row.before else repr((row.setting, cut))
        if shape not in self._known:
            self._known[shape] = measure(checkpoint_of(self._folder, row), self._engine, self._trust)
        return self._known[shape]

    def milliseconds(self, row: TrialRow) -> float:
        """Median of the trial's network."""
        return self.speed(row).pruned.median_ms


def measure(saved: Folder, engine: str, trust: Collection[str] = ()) -> Speed:
    """Measure the network of a checkpoint beside a dense one of its architecture; trust: as for `checkpoints.load`."""
    built = checkpoint.load(saved, trust).architecture
    dense = to_device(built.whole.build(), torch.device("cpu"))  # in the same memory layout
    (speed,) = compare(dense, load_pruned(saved.uri, trust), built.example(), [engine])
    return speed


def checkpoint_of(folder: StudyFolder, row: TrialRow) -> Folder:
    """Folder of the best epoch of a trial that has one."""
    assert row.best_epoch is not None, "only trials that have an epoch are taken"
    return folder.trial(row.trial) / epoch_name(row.best_epoch)
