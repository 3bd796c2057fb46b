"""The best trial's network: chosen by validation, copied whole or not at all, verified in a clean process."""

import json
import operator
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from search.results import StudyFolder, TrialRow
from trainables import checkpoints
from trainables.learning.fit import epoch_name
from trainables.spec import Frozen
from trainables.storage import Folder
from trainables.tables import did_you_mean

COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
FRACTIONS = {"params": ("params_kept", "params_total"), "macs": ("macs_kept", "macs_total")}
SAME_HARDWARE, OTHER_HARDWARE = 0.001, 0.005  # how far a re-evaluated accuracy may be from the reported one


class Retrieved(Frozen):
    """A network that was copied and verified."""

    trial: str
    checkpoint: str  # the folder that it was copied to
    policy: str
    sparsity: float
    seed: int
    params_kept: int
    macs_kept: int
    reported_accuracy: float
    verified_accuracy: float
    layers: dict[str, float]


def best(folder: StudyFolder, where: Sequence[str], policy: str | None, out: str) -> Retrieved:
    """Copy the network of the best epoch of the best trial to `out` and evaluate it again.

    where: constraints as "sparsity>=0.9"; "params" and "macs" are fractions of the dense network's. Raises ValueError
    where no trial meets them, where `out` holds something else, or where the accuracies do not agree.
    """
    row = choose(folder.rows(), where, policy)
    _check_free(out)
    assert row.best_epoch is not None
    assert row.val_accuracy is not None
    saved = checkpoints.load(folder.trial(row.trial) / epoch_name(row.best_epoch))
    record = {
        **saved.record,
        "trial": row.trial,
        "epoch": row.best_epoch,
        "reported_accuracy": row.val_accuracy,
    }
    fresh = f"{out.rstrip('/')}.{uuid.uuid4().hex[:8]}"
    try:
        checkpoints.save(Folder.at(fresh), {"network": saved.tensors["network"]}, record)
        verified = _verify(fresh)
        allowed = SAME_HARDWARE if row.hardware == "cpu" else OTHER_HARDWARE
        if abs(verified - row.val_accuracy) > allowed:
            raise ValueError(
                f"the copied network must reach its reported accuracy {row.val_accuracy:.4f} within {allowed}, but "
                f"reached {verified:.4f}; its data or its checkpoint has changed since"
            )
        if os.path.isdir(out):
            shutil.rmtree(out)
        os.replace(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Retrieved(
        trial=row.trial,
        checkpoint=out,
        policy=row.policy,
        sparsity=row.sparsity,
        seed=row.seed,
        params_kept=row.params_kept or 0,
        macs_kept=row.macs_kept or 0,
        reported_accuracy=row.val_accuracy,
        verified_accuracy=verified,
        layers=row.layers,
    )


def choose(rows: Sequence[TrialRow], where: Sequence[str], policy: str | None) -> TrialRow:
    """Choose the finished trial of highest validation accuracy; of equal ones that with fewest weights."""
    conditions = [_condition(text) for text in where]
    finished = [row for row in rows if row.status == "done" and row.val_accuracy is not None]
    if policy is not None and policy not in {row.policy for row in finished}:
        raise did_you_mean("policy", policy, {row.policy for row in finished})
    fitting = [
        row for row in finished if policy in (None, row.policy) and all(condition(row) for condition in conditions)
    ]
    if not fitting:
        asked = ", ".join(where) or "no constraint"
        raise ValueError(f"a finished trial must meet {asked}, but none of {len(finished)} does; loosen --where")
    return min(fitting, key=lambda row: (-(row.val_accuracy or 0.0), row.params_kept or 0, row.trial))


def _condition(text: str) -> Callable[[TrialRow], bool]:
    match = re.fullmatch(r"\s*(\w+)\s*(>=|<=|==|>|<)\s*([-+.\deE]+)\s*", text)
    if not match:
        raise ValueError(f"--where must be like 'sparsity>=0.9', but got {text!r}")
    name, sign, number = match.groups()
    numeric = [
        n for n, field in TrialRow.model_fields.items() if field.annotation in (int, float, int | None, float | None)
    ]
    if name not in (*FRACTIONS, *numeric):
        raise did_you_mean("--where", name, (*FRACTIONS, *numeric))
    try:
        bound = float(number)
    except ValueError:
        raise ValueError(f"--where must compare with a number, but got {text!r}") from None

    def holds(row: TrialRow) -> bool:
        value = _value(row, name)
        return value is not None and COMPARE[sign](value, bound)

    return holds


def _value(row: TrialRow, name: str) -> float | None:
    if name not in FRACTIONS:
        value: float | None = getattr(row, name)
        return value
    kept, total = (getattr(row, field) for field in FRACTIONS[name])
    return None if kept is None else kept / total


def _check_free(out: str) -> None:
    if os.path.exists(out) and not (os.path.isdir(out) and (not os.listdir(out) or "manifest.json" in os.listdir(out))):
        raise ValueError(f"--out must be a new folder or one that best has filled before, but {out} is neither")


def _verify(path: str) -> float:
    done = subprocess.run([sys.executable, "-m", "trainables.evaluate", path], capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(
            f"the copied network must rebuild in a clean process, but failed: {done.stderr.strip()[-500:]}"
        )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return float(told["val_accuracy"])
