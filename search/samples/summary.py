"""Summarises how easy a study's training samples are to its networks."""

from collections.abc import Sequence

import numpy as np

from search.results.folder import StudyFolder
from search.samples.agreement import Agreement, agreements
from search.samples.forgetting import Forgotten, FoundAgain, forgotten
from search.samples.label_noise import LabelNoise, label_noise
from search.samples.runs import Run, by_network
from search.study.spec import StudySpec
from trainables.data import sources
from trainables.data_spec import DataSpec
from trainables.frozen import Frozen
from trainables.spec import Taken
from trainables.storage.folder import Folder


class Learnability(Frozen):
    """How easy the training samples are to learn, and whether networks agree on it."""

    study: str
    data: DataSpec
    samples: int
    epochs: int
    taken: Taken  # when samples are recorded: during an epoch with augmentation, or after it without
    networks: dict[str, tuple[int, ...]]  # model -> seeds
    learnability: dict[str, float]  # model -> mean over seeds and samples
    agreement: dict[str, tuple[Agreement, ...]]  # by measure; without labels, by those that read hits alone
    noise: LabelNoise | None  # None if no label was flipped
    forgotten: tuple[Forgotten, ...]  # by pruned networks; empty if no trial of the study recorded its samples
    found_again: tuple[FoundAgain, ...]  # flipped labels that the records of these trials find


def learnability(study: StudySpec, storage: Folder, runs: Sequence[Run]) -> Learnability:
    """Compare a study's dense networks, sample by sample, with each other and with the networks pruned from them."""
    groups = by_network(runs)
    wrong = np.isin(runs[0].ids, sources.flipped(study.data)) if study.data.label_noise else None
    forgotten_rows, found_again = forgotten(study, StudyFolder(storage / study.name), runs, wrong)
    agreement = {
        measure: tuple(agreements({name: [run.measures[measure] for run in each] for name, each in groups.items()}))
        for measure in runs[0].measures
    }
    return Learnability(
        study=study.name,
        data=study.data,
        samples=len(runs[0].ids),
        epochs=study.dense.epochs,
        taken=study.records.dense,
        networks={name: tuple(run.spec.seed for run in of_network) for name, of_network in groups.items()},
        learnability={name: _mean(of_network) for name, of_network in groups.items()},
        agreement=agreement,
        noise=label_noise(runs, wrong) if wrong is not None and wrong.any() else None,
        forgotten=tuple(forgotten_rows),
        found_again=tuple(found_again),
    )


def _mean(runs: Sequence[Run]) -> float:
    return float(np.mean([run.measures["learnability"] for run in runs]))
