"""Tune's workers keep the trials that they start for."""

from pathlib import Path

from search.running.ray_session import ENVIRONMENT
from tests.search.conftest import installed
from tests.search.running import late_worker

SETTINGS = (
    *("policies=[uniform,erk]", f"sparsities={[each / 20 for each in range(5, 19)]}", "seeds=[0,1]"),
    *("dense.epochs=1", "finetune.epochs=1", "tracking=off"),
)


def test_a_worker_that_starts_late_keeps_its_trial(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    starts.mkdir()
    variable = "RAY_preload_python_modules"
    more = {variable: f"{ENVIRONMENT[variable]},{late_worker.__name__}", late_worker.STARTS: str(starts)}
    cpus = f"resources.cpus={late_worker.CORES / 2:g}"
    done = installed("run", "digits", "--set", *SETTINGS, cpus, cwd=tmp_path, more=more)
    assert done.returncode == 0, done.stderr
    assert len(list(starts.iterdir())) <= late_worker.CORES + 2  # two for trials
