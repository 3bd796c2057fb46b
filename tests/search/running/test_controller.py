"""Tune's workers keep the trials that they start for."""

import os
import subprocess
import sys
from pathlib import Path

from search.running.ray_session import ENVIRONMENT
from tests.search.running import late_worker
from tests.search.waiting import LIMIT

SETTINGS = (
    *("policies=[uniform,erk]", f"sparsities={[each / 20 for each in range(5, 19)]}", "seeds=[0,1]"),
    *("dense.epochs=1", "finetune.epochs=1", "tracking=off"),
)


def test_a_worker_that_starts_late_keeps_its_trial(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    starts.mkdir()
    variable = "RAY_preload_python_modules"
    environment = {
        **os.environ,
        late_worker.STARTS: str(starts),
        variable: f"{ENVIRONMENT[variable]},{late_worker.__name__}",
    }
    command = [str(Path(sys.executable).with_name("howcompact")), "run", "digits", "--set", *SETTINGS]
    done = subprocess.run(
        [*command, f"resources.cpus={late_worker.CORES / 2:g}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(starts.iterdir())) <= late_worker.CORES + 2  # two for trials
