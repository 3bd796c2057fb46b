"""Judges how well each measure finds labels that were flipped on purpose."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search.samples.runs import Run, by_network
from trainables.frozen import Frozen
from trainables.learnability.detection import precision_at_count, roc_auc
from trainables.learnability.measures import MEASURES


class Detection(Frozen):
    """How well the hardest samples of a network, by one measure, match the samples with flipped labels."""

    network: str
    seed: int | None  # None: of the mean over seeds
    measure: str
    auc: float  # area under the ROC curve: the chance that a flipped sample looks harder than another
    precision: float  # share of flipped samples among the k hardest, where k samples are flipped


class LabelNoise(Frozen):
    """The number of flipped labels, and how well each measure finds them."""

    flipped: int
    samples: int
    detections: tuple[Detection, ...]


def label_noise(runs: Sequence[Run], wrong: NDArray[np.bool_]) -> LabelNoise:
    """Detect flipped labels by each measure of each run, and by its mean over a network's seeds.

    wrong: (N,), whether a sample's label was flipped.
    """
    detections = []
    for network, of_network in by_network(runs).items():
        for measure in MEASURES:
            easy: dict[int | None, NDArray[np.float64]] = {run.spec.seed: run.ease(measure) for run in of_network}
            if len(of_network) > 1:
                easy[None] = np.mean([*easy.values()], axis=0)
            for seed, scores in easy.items():
                auc, precision = roc_auc(-scores, wrong), precision_at_count(-scores, wrong)
                detections.append(Detection(network=network, seed=seed, measure=measure, auc=auc, precision=precision))
    return LabelNoise(flipped=int(wrong.sum()), samples=len(wrong), detections=tuple(detections))
