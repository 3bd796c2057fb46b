"""What tests of several rooms share."""

import os
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class OneRay(LoadScopeScheduling):  # type: ignore[misc]
    """Two processes share the tests: all that may start Ray run one after the other in one of them."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return str(file) if "/trainables/" in file else "ray"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneRay:
    """Tell xdist how to share the tests."""
    return OneRay(config, log)


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """Find the CIFAR-10 Parquet folder, or skip."""
    default = Path(__file__).parents[2] / "shared" / "data" / "cifar10"
    folder = Path(os.environ.get("HOWCOMPACT_CIFAR10", default))
    if not (folder / "train-0.parquet").exists():
        pytest.skip(f"no CIFAR-10 Parquet files in {folder}; set HOWCOMPACT_CIFAR10 to their folder")
    return folder
