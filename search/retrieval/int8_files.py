"""The int8 files of copied networks: written by the calibration samples of their trials, timed beside float32."""

import shutil
import tempfile
from pathlib import Path

from trainables.checkpoints.checkpoint import CPU, Checkpoint
from trainables.data import sources
from trainables.data.splits import AnySplits
from trainables.evaluate import rebuild
from trainables.frozen import Frozen
from trainables.trial.quantisation import INT8_FILE, latencies, write_int8
from trainables.trial.record import TrialRecord


class Int8File(Frozen):
    """What is known of an int8 ONNX file, and of the float32 ONNX file that it was made from."""

    quantised_bytes: int
    exported_bytes: int  # of the float32 file
    quantised_latency_ms: float  # of one image on this machine, in onnxruntime on one CPU thread, median
    exported_latency_ms: float  # the same of the float32 file, measured in turns


class Int8Writer:
    """Writes int8 files. Each data set is loaded once."""

    def __init__(self) -> None:
        self._loaded: dict[str, AnySplits] = {}

    def write(self, copied: Checkpoint, folder: Path) -> Int8File:
        """Write the int8 file of a trial's network into a folder.

        Raises ValueError as `write_int8` does, and for a task that is not trusted.
        """
        record = copied.read(TrialRecord)
        copied.trust.check_task(record.data.task.function)
        if record.data.key() not in self._loaded:
            self._loaded[record.data.key()] = sources.load_any(record.data)
        splits, example = self._loaded[record.data.key()], copied.architecture.example()
        with tempfile.TemporaryDirectory() as scratch:
            files = write_int8(rebuild(copied, CPU), splits, record.spec.calibration, Path(scratch))
            found = Int8File(
                quantised_bytes=files.int8.stat().st_size,
                exported_bytes=files.exported.stat().st_size,
                **latencies(files, example, threads=1),
            )
            shutil.move(files.int8, folder / INT8_FILE)
        return found
