"""How well each measure finds labels that were flipped on purpose."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search.learnability.runs import Run, by_network
from trainables.frozen import Frozen
from trainables.learnability.detection import precision_at_count, roc_auc
from trainables.learnability.measures import MEASURES


class Detection(Frozen):
    """How well the hardest samples of a network, by a measure, are those whose labels were flipped."""

    network: str
    seed: int | None  # None: by the mean over seeds
    measure: str
    auc: float  # area under the ROC curve: the chance that a flipped label looks harder than another
    precision: float  # flipped ones among as many of the hardest as were flipped


class LabelNoise(Frozen):
    """What was flipped, and how well each measure finds it."""

    flipped: int
    samples: int
    detections: tuple[Detection, ...]


def label_noise(runs: Sequence[Run], wrong: NDArray[np.bool_]) -> LabelNoise:
    """Look for flipped labels by every measure of every run, and by its mean over a network's seeds; wrong: (N,)."""
    found = []
    for network, own in by_network(runs).items():
        for measure in MEASURES:
            easy: dict[int | None, NDArray[np.float64]] = {run.spec.seed: run.ease(measure) for run in own}
            if len(own) > 1:
                easy[None] = np.mean([*easy.values()], axis=0)
            for seed, scores in easy.items():
                auc, precision = roc_auc(-scores, wrong), precision_at_count(-scores, wrong)
                found.append(Detection(network=network, seed=seed, measure=measure, auc=auc, precision=precision))
    return LabelNoise(flipped=int(wrong.sum()), samples=len(wrong), detections=tuple(found))
