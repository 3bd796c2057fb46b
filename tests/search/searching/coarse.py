"""A study whose densities come to few networks: channels in steps of 8, tied by stages."""

import random
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.search import Searcher

from search.methods.spaces import SPACES
from search.results.folder import StudyFolder
from search.searching.searcher import StudySearcher
from search.study.spec import StudySpec
from tests.search.comparison.test_compare import outcome
from tests.search.searching.test_searcher import epoch_result
from trainables.catalog.planned_parts import planned_parts
from trainables.names import SEARCHED
from trainables.outcome import Outcome
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import write_outcome

COARSE = StudySpec.model_validate(
    {
        "name": "s",
        "width": 0.5,
        "granularity": "channel",
        "round_to": 8,
        "criteria": ["l1"],
        "budget": "macs",
        "policies": ["uniform", "searched"],
        "sparsities": [0.5],
        "seeds": [0],
        "search": {"trials": 24, "warm_start": ["uniform"], "space": "stages"},
    }
)
(CELL,) = COARSE.cells()
Parts = frozenset[tuple[str, float]]


def parts_of(spec: TrialSpec) -> Parts:
    """What each part keeps at the end; policies that read shapes only, too."""
    planned = planned_parts(spec)
    assert planned is not None
    return frozenset(planned[-1].items())


def networks_of_the_space() -> set[Parts]:
    """Find the networks of the space on a grid; only the ratios of densities matter."""
    space = SPACES["stages"](CELL, None)
    axes = [np.geomspace(0.02, 1.0, 5)] * len(space.distributions)
    found = set()
    for values in product(*axes):
        densities = space.densities(dict(zip(space.distributions, map(float, values), strict=True)))
        if max(values) == 1.0:
            found.add(parts_of(CELL.model_copy(update={"policy": SEARCHED, "densities": densities})))
    return found


def accuracy_of(spec: TrialSpec) -> float:
    """Judge a network by what it keeps: the same network has the same accuracy."""
    return 0.5 + 0.4 * random.Random(repr(sorted(parts_of(spec)))).random()


def finished(spec: TrialSpec) -> Outcome:
    """Make the outcome of a trial as it would run."""
    known = outcome(spec.policy, spec.sparsity, spec.seed, accuracy_of(spec))
    assert known.facts is not None
    return known.model_copy(
        update={"spec": spec, "facts": known.facts.model_copy(update={"parts": dict(parts_of(spec))})}
    )


def folder_of(path: Path, study: StudySpec = COARSE) -> StudyFolder:
    folder = StudyFolder(Folder.at(str(path)))
    folder.write_study(study)
    return folder


class Watched:
    """A searcher, and what it says when a search ends early."""

    def __init__(self, folder: StudyFolder, study: StudySpec = COARSE) -> None:
        self.folder = folder
        self.dropped: list[tuple[int, str]] = []
        self.searcher = StudySearcher(
            study, folder, lambda spec: {"spec": spec}, lambda trials, reason: self.dropped.append((trials, reason))
        )

    def run_out(self, at_once: int = 1) -> list[TrialSpec]:
        """Run trials until there are no more; as many at once as there may be."""
        ran: list[TrialSpec] = []
        running: dict[str, TrialSpec] = {}
        while True:
            config: Any = self.searcher.suggest(str(len(ran))) if len(running) < at_once else None
            if config == Searcher.FINISHED:
                assert not running
                return ran
            if config is not None:
                running[str(len(ran))] = config["spec"]
                ran.append(config["spec"])
            else:
                trial = next(iter(running))
                self.end(trial, running.pop(trial))

    def end(self, trial: str, spec: TrialSpec) -> None:
        write_outcome(self.folder.trial(spec.key()), finished(spec))
        result = epoch_result(3, accuracy_of(spec), final=True)
        self.searcher.on_trial_result(trial, result)
        self.searcher.on_trial_complete(trial, result)
