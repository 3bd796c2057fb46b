"""What tests of several rooms share."""

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all that may start Ray, one after the other, beside everything else: two processes share the tests."""
    for item in items:
        if "trainables" not in item.path.parts[-2:]:
            item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """Find the CIFAR-10 Parquet folder, or skip."""
    default = Path(__file__).parents[2] / "shared" / "data" / "cifar10"
    folder = Path(os.environ.get("HOWCOMPACT_CIFAR10", default))
    if not (folder / "train-0.parquet").exists():
        pytest.skip(f"no CIFAR-10 Parquet files in {folder}; set HOWCOMPACT_CIFAR10 to their folder")
    return folder
