"""The test split, read once: only on finished trials that validation has chosen, and remembered for good."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import torch

from search.comparison import Comparison, ComparisonRow, Estimate
from search.results import StudyFolder
from trainables.data import sources
from trainables.data.splits import Split
from trainables.evaluate import accuracy_of, load_trial
from trainables.spec import from_json

READINGS = "test.json"  # trial -> its accuracy on the test split, and when that was read


def with_test(comparison: Comparison, folders: Sequence[StudyFolder]) -> Comparison:
    """Add the accuracy of each row's trials on the test split, reading it only for trials that were never read."""
    readings: dict[str, float] = {}
    for folder in folders:
        readings |= _read(folder, {key for row in comparison.rows for key in row.trial_keys} & set(folder.keys()))
    return comparison.model_copy(update={"rows": [_with(row, readings) for row in comparison.rows]})


def _with(row: ComparisonRow, readings: dict[str, float]) -> ComparisonRow:
    return row.model_copy(update={"test_accuracy": Estimate.of([readings[key] for key in row.trial_keys])})


def _read(folder: StudyFolder, keys: set[str]) -> dict[str, float]:
    known = from_json(folder.folder.read(READINGS).decode()) if folder.folder.has(READINGS) else {}
    if read_before := sorted(known[key]["read"] for key in keys & set(known)):
        print(f"the test split was read before for {len(read_before)} trials, on {read_before[0]}", file=sys.stderr)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tests: dict[str, Split] = {}
    for key in sorted(keys - set(known)):
        outcome = folder.outcome(key)
        assert outcome is not None
        data = outcome.spec.dense.data
        if data.key() not in tests:
            tests[data.key()] = sources.load_test(data)
        model = load_trial(folder.trial(key), outcome, device)
        accuracy = accuracy_of(model, tests[data.key()], sources.load(data), device)
        known[key] = {"accuracy": accuracy, "read": datetime.now(UTC).isoformat(timespec="seconds")}
        folder.folder.write(READINGS, json.dumps(known, indent=1).encode())
    return {key: known[key]["accuracy"] for key in keys}
