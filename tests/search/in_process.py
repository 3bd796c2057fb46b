"""A small study run in this process: what its trials share, then the trials, one after the other."""

from pathlib import Path

from search.results import StudyFolder
from search.study import StudySpec
from tests.trainables.trials import CPU
from trainables import artifacts
from trainables.data import sources
from trainables.learning.dense import make_dense
from trainables.learning.shared import SHARED, needed
from trainables.pruning.subject import Source
from trainables.spec import DenseSpec, Frozen
from trainables.storage import Folder
from trainables.trial import run_trial


def run_in_process(home: Path, study: StudySpec) -> StudyFolder:
    """Run all trials of a study's named policies."""
    storage, splits = Folder.at(str(home)), sources.load(study.data)
    folder = StudyFolder(storage / study.name)
    folder.write_study(study)

    def network(spec: DenseSpec) -> None:
        unfinished = storage / "unfinished"
        artifacts.find_or_make(storage, "dense", spec.key(), lambda f: make_dense(spec, splits, f, unfinished, CPU))

    def measured(kind: Source, spec: Frozen) -> None:
        make = SHARED[kind].make
        artifacts.find_or_make(storage, kind, spec.key(), lambda f: make(spec, splits, storage, f, CPU))

    for trial in study.trials():
        network(trial.dense)
        for kind, spec in needed(trial).items():
            measured(kind, spec)
        list(run_trial(trial, splits, storage, folder.trial(trial.key()), CPU))
    return folder
