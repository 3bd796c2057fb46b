"""What tests of several rooms share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """Find the CIFAR-10 Parquet folder, or skip."""
    default = Path(__file__).parents[2] / "shared" / "data" / "cifar10"
    folder = Path(os.environ.get("HOWCOMPACT_CIFAR10", default))
    if not (folder / "train-0.parquet").exists():
        pytest.skip(f"no CIFAR-10 Parquet files in {folder}; set HOWCOMPACT_CIFAR10 to their folder")
    return folder
