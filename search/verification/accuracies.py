"""Verifies the accuracy, or another metric, of some networks of a study: they are rebuilt and measured again."""

import random
from collections.abc import Callable, Iterator, Mapping

from search.results.folder import StudyFolder
from search.results.measured_again import Measured, measured_again
from search.results.rows import TrialRow
from search.retrieval.copying import allowed_difference
from trainables.training.process import hardware, own_device
from trainables.trial.quantisation import quantised

SAME_SIZE = 0.01  # largest difference of two files, as a share: each holds the versions of its libraries


def disagreeing(
    folder: StudyFolder, rows: Mapping[str, TrialRow], sample: int, say: Callable[[str], None]
) -> tuple[int, list[str]]:
    """Measure the validation accuracy of some finished trials again, the same ones in each call.

    A network that its trial has quantised is quantised again. Returns the number of trials, and a problem for each
    accuracy that differs by more than hardware explains, and for each file of another size. Raises ValueError if no
    data set of these trials is at hand, and if the packages that quantise are missing.
    """
    finished = sorted(key for key, row in rows.items() if row.status == "done")
    chosen = random.Random(0).sample(finished, min(sample, len(finished)))
    problems, number = list[str](), 0
    for measured in measured_again(folder, {key: rows[key] for key in chosen}, "val"):
        number += 1
        key = measured.outcome.spec.key()
        for complaints in (_of_metrics, _of_int8_file):
            problems += [f"trial {key} {problem}" for problem in complaints(measured, rows[key].metric)]
        say(f"networks measured again: {number} of {len(chosen)}")
    return number, problems


def _of_metrics(measured: Measured, metric: str) -> Iterator[str]:
    best = measured.outcome.best
    assert best is not None
    found = {metric: measured.evaluation.metric} | measured.evaluation.other_metrics
    for name, reported in ({metric: best.val_accuracy} | best.other_metrics).items():
        if _differ(measured, found[name], reported):
            yield f"reports {name} {reported:.4f}, but its network has {found[name]:.4f}"


def _of_int8_file(measured: Measured, metric: str) -> Iterator[str]:
    if (reported := measured.outcome.quantised) is None:
        return
    found = quantised(measured.network, measured.splits, measured.outcome.spec.calibration)
    told, value = reported.quantised_accuracy, found.quantised_accuracy
    if _differ(measured, value, told):
        yield f"reports {metric} {told:.4f} of its int8 file, but the file has {value:.4f}"
    for name in ("quantised_bytes", "exported_bytes"):
        told, value = getattr(reported, name), getattr(found, name)
        if abs(told - value) > SAME_SIZE * value:
            yield f"reports {name} {told:,}, but the file has {value:,}"


def _differ(measured: Measured, found: float, reported: float) -> bool:
    assert measured.outcome.facts is not None
    here = hardware(own_device())
    return abs(found - reported) > allowed_difference(measured.outcome.facts.hardware, here, reported)
