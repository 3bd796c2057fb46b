"""What 10,000 trials cost the driver of a study: `python -m tests.benchmarks.search_scale [TRIALS]`.

Trials take no time, and their accuracy is simulated. It prints the processor milliseconds that `StudySearcher` takes
for a trial, in the mean over the second half of the first 100, 1,000 and 10,000 trials, and the peak memory. Then it
prints the seconds of `howcompact compare` on the folder. Ray's own share is left out, and so is the work of workers,
which write outcomes. Some trials always run, as on a cluster.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from collections import deque
from statistics import fmean
from typing import Any

import numpy as np

from search.results.folder import StudyFolder
from search.searching.searcher import StudySearcher
from search.study.spec import StudySpec
from tests.benchmarks.comparison import timed
from tests.search.comparison.test_compare import outcome
from tests.trainables.parts import part_names
from trainables.outcome import Outcome
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.reports import to_tune
from trainables.trial.trainable import write_outcome

PARALLEL = 8  # running trials
SHOWN = (100, 1_000, 10_000)
OF_A_CELL = 100  # trials of each search in "many searches"
CASES = {"many searches, tpe": "tpe", "one search, random": "random", "one search, tpe": "tpe"}


def study_of(case: str, trials: int) -> StudySpec:
    """Make a study of this many trials, with one search or with one search for each of many cells."""
    cells = max(1, trials // OF_A_CELL) if case.startswith("many") else 1
    seeds = -(-cells // 10)
    search = {"trials": trials // cells, "sampler": CASES[case], "warm_start": ["uniform"]}
    settings = {"policies": ["uniform", "searched"], "seeds": list(range(seeds)), "search": search}
    sparsities = [(s + 1) / 12 for s in range(min(cells, 10))]
    return StudySpec.model_validate({"name": "scale", "sparsities": sparsities, "tracking": "off", **settings})


def finished(spec: TrialSpec, parts: list[str], noise: float) -> Outcome:
    """Simulate a trial. It is best where its densities fall geometrically from part to part."""
    densities = spec.densities or dict.fromkeys(parts, 1.0)
    off = np.log([densities[part] for part in parts]) - np.linspace(0.0, -3.0, len(parts))
    accuracy = 0.9 * np.exp(-np.abs(off - off.mean()).mean()) + 0.01 * noise
    known = outcome(spec.policy, spec.sparsity, spec.seed, float(accuracy))
    assert known.facts is not None
    kept = {part: density * (1 - spec.sparsity) for part, density in densities.items()}
    facts = known.facts.model_copy(update={"parts": kept, "layers": kept})
    return known.model_copy(update={"spec": spec, "facts": facts})


def drive(case: str, trials: int, path: str) -> None:
    """Run a study without Ray: call the searcher for each trial as Ray does."""
    study, folder = study_of(case, trials), StudyFolder(Folder.at(path))
    folder.write_study(study)
    parts, random = part_names(study.cells()[0]), np.random.default_rng(0)
    clock = Clock()
    searcher = StudySearcher(study, folder, configure=lambda spec: {"spec": spec})
    total, running, taken = searcher.total, deque[tuple[str, TrialSpec, float]](), list[float]()
    print(f"\n{case}: {total:,} trials, {PARALLEL} at once, begun in {clock.lap():.1f} s", flush=True)
    while len(taken) < total:
        while len(running) < PARALLEL:
            trial = str(len(taken) + len(running))
            clock.lap()
            proposal: Any = searcher.suggest(trial)
            if not isinstance(proposal, dict):  # a search waits for its starts, or no trials are left
                break
            running.append((trial, proposal["spec"], clock.lap()))
        trial, spec, proposing = running.popleft()
        ended = finished(spec, parts, random.standard_normal())
        write_outcome(folder.trial(spec.key()), ended)
        clock.lap()
        for report in ended.history:
            result = to_tune(report.model_copy(update={"final": report == ended.history[-1]}))
            searcher.on_trial_result(trial, result)
        searcher.on_trial_complete(trial, result)
        taken.append(proposing + clock.lap())
        if len(taken) in (*SHOWN, total):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            half = taken[len(taken) // 2 :]
            print(f"  {len(taken):>6,} trials: {1000 * fmean(half):6.1f} ms per trial, {peak:.0f} MiB", flush=True)
    searcher.close()
    print(f"  all: {sum(taken):.0f} s, closed in {clock.lap():.1f} s", flush=True)


class Clock:
    """Counts the processor seconds of this process since the last lap."""

    def __init__(self) -> None:
        self._since = time.process_time()

    def lap(self) -> float:
        """Return the seconds of this lap, and begin the next one."""
        before, self._since = self._since, time.process_time()
        return self._since - before


def main(trials: int) -> None:
    """Drive every kind of study in a process of its own, then compare."""
    for case in CASES:
        with tempfile.TemporaryDirectory() as scratch:
            process = multiprocessing.get_context("spawn").Process(target=drive, args=(case, trials, scratch))
            process.start()
            process.join()
            print(f"  compare, before the table is written: {timed('compare', scratch)}", flush=True)
            clock = Clock()
            StudyFolder.open(scratch).write_table()
            print(f"  table written in {clock.lap():.1f} s", flush=True)
            print(f"  compare: {timed('compare', scratch)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
