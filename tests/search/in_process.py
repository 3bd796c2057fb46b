"""Runs a small study in this process: first what its trials share, then one trial after the other."""

from pathlib import Path

from search.results.folder import StudyFolder
from search.study.spec import StudySpec
from tests.trainables.trials import CPU, make_shared
from trainables.data import sources
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial


def run_in_process(home: Path, study: StudySpec) -> StudyFolder:
    """Run all trials of a study's named policies; return the study folder."""
    storage, splits = Folder.at(str(home)), sources.load(study.data)
    folder = StudyFolder(storage / study.name)
    folder.write_study(study)

    make_shared(study.trials(), splits, storage)
    for trial in study.trials():
        folder.start_trial(trial)
        list(run_trial(trial, splits, storage, folder.trial(trial.key()), CPU))
    return folder
