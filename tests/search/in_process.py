"""A small study run in this process: what its trials share, then the trials, one after the other."""

from pathlib import Path

from search.results.folder import StudyFolder
from search.study.spec import StudySpec
from tests.trainables.trials import CPU, make_shared
from trainables.data import sources
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial


def run_in_process(home: Path, study: StudySpec) -> StudyFolder:
    """Run all trials of a study's named policies."""
    storage, splits = Folder.at(str(home)), sources.load(study.data)
    folder = StudyFolder(storage / study.name)
    folder.write_study(study)

    make_shared(study.trials(), splits, storage)
    for trial in study.trials():
        list(run_trial(trial, splits, storage, folder.trial(trial.key()), CPU))
    return folder
