"""The latency of a trial's network on this machine, on one device, beside the dense network's."""

import torch

from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import CPU, Checkpoint
from trainables.checkpoints.epochs import epoch_name
from trainables.evaluate import rebuild
from trainables.exports.latency import Speed, check_device, compare
from trainables.training.train import to_device


class LatencyMeter:
    """Measures networks when asked: one image at a time, on one CPU thread or on the GPU.

    Networks of the same shape are measured once: zeros in a weight do not change the time.
    """

    def __init__(self, folder: StudyFolder, device: str | None = None) -> None:
        """Measure networks of a study. device: one of `DEVICES`; None is PyTorch, on the GPU where there is one.

        Raises ValueError for an unknown device and for one that this machine does not have.
        """
        self._folder = folder
        self.device = device or ("torch-cuda" if torch.cuda.is_available() else "torch-cpu")
        check_device(self.device)
        self._speeds: dict[str, Speed] = {}

    def speed(self, row: TrialRow) -> Speed:
        """Measure a trial's network and the dense one by turns."""
        cut = [] if row.granularity == "weight" else sorted(row.parts.items())
        shape = row.trial if row.before else repr((row.setting, cut))
        if shape not in self._speeds:
            self._speeds[shape] = measure(best_checkpoint(self._folder, row), self.device)
        return self._speeds[shape]

    def milliseconds(self, row: TrialRow) -> float:
        """Median latency of the trial's network."""
        return self.speed(row).pruned.median_ms


def measure(saved: Checkpoint, device: str) -> Speed:
    """Measure the network of a checkpoint beside a dense one of its architecture."""
    dense = to_device(saved.architecture.whole.build(), CPU)  # in the same memory layout
    (speed,) = compare(dense, rebuild(saved, CPU), saved.architecture.example(), [device])
    return speed


def best_checkpoint(folder: StudyFolder, row: TrialRow) -> Checkpoint:
    """Load the best epoch of a trial that has one."""
    assert row.best_epoch is not None, "only trials that have an epoch are retrieved"
    return checkpoint.load(folder.trial(row.trial) / epoch_name(row.best_epoch), folder.trust)
