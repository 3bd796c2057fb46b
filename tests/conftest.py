"""Fixtures and settings that all tests share."""

import os
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

os.environ["OMP_NUM_THREADS"] = "1"  # torch's threads wait busily for each other where another process has the core
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 lets tests of the other process starve the workers
STUDIES = ("search/test_end_to_end", "search/test_faults", "search/cli/test_app")


class Halves(LoadScopeScheduling):  # type: ignore[misc]
    """Gives tests to processes: most tests that run studies go to one process, all others go file by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "studies" if file.endswith(tuple(f"{name}.py" for name in STUDIES)) else str(file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Halves:
    """Tell xdist how to distribute the tests."""
    return Halves(config, log)


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """Return the folder of CIFAR-10's Parquet files; skip the test if there is none."""
    default = Path(__file__).parents[2] / "shared" / "data" / "cifar10"
    folder = Path(os.environ.get("HOWCOMPACT_CIFAR10", default))
    if not (folder / "train-0.parquet").exists():
        pytest.skip(f"no CIFAR-10 Parquet files in {folder}; set HOWCOMPACT_CIFAR10 to their folder")
    return folder
