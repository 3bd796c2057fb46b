"""Workers import no compiler: torch._dynamo takes each of them more than a second."""

import subprocess
import sys
import tempfile

import pytest

from tests.trainables.trials import CHANNEL, CPU, WEIGHT, storage_with_dense
from trainables.data import sources
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial

SPECS = {
    "weight": WEIGHT.model_copy(update={"policy": "capacity", "calibration": 64, "compensate": True}),
    "channel": CHANNEL,
}


def run(name: str) -> None:
    """Train a dense network and run a trial, as workers do."""
    spec = SPECS[name]
    splits = sources.load(spec.dense.data)
    with tempfile.TemporaryDirectory() as scratch:
        storage = storage_with_dense(scratch, splits)
        assert list(run_trial(spec, splits, storage, Folder.at(f"{scratch}/trial"), CPU))


@pytest.mark.parametrize("name", SPECS)
def test_a_trial_does_not_import_the_compiler(name: str) -> None:
    script = (
        f"import sys; from {__name__} import run; assert 'torch._dynamo' not in sys.modules\n"
        f"run({name!r}); assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
