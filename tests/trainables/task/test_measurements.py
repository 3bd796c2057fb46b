"""Linear probes, profiles and capacities read the labels or the hits of a task as they read those of images."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.trainables.image_task import PLAIN, as_task, right
from tests.trainables.trials import CPU, WEIGHT, facts_of, finished, make_shared
from trainables.artifacts.probes import probe
from trainables.artifacts.profile import measure_profile
from trainables.data.splits import Splits
from trainables.models import hub
from trainables.spec import ProfileSpec
from trainables.storage.folder import Folder
from trainables.task.metrics import second
from trainables.training.calibration import calibration_samples

TRIAL = WEIGHT.model_copy(update={"dense": WEIGHT.dense.model_copy(update={"data": PLAIN})})


def test_linear_probes_of_a_task_with_labels_are_those_of_the_images(images: Splits) -> None:
    torch.manual_seed(0)
    model, example = hub.build("resnet20", 10, 1, 0.25), torch.zeros(1, 1, 8, 8)
    of_images, _ = probe(model, example, images, 100)
    of_task, cost = probe(model, example, as_task(images, labels=second), 100)
    assert of_task == of_images
    assert len(of_task) == 10
    assert cost.images == 100 + 90
    with pytest.raises(ValueError, match="linear probes must read the label of each sample, but the Task gives none"):
        probe(model, example, as_task(images, hits=right), 100)


def answers(logits: Tensor, batch: Any) -> Tensor:
    return torch.stack([F.cross_entropy(logits, batch[1], reduction="sum"), torch.tensor(float(len(logits)))])


@pytest.mark.parametrize("says", [{"labels": second}, {"hits": right}], ids=["labels", "hits"])
def test_capacity_functional_reads_hits_whatever_the_metric(
    says: dict[str, Callable[..., Tensor]], images: Splits, tmp_path: Path
) -> None:
    spec = TRIAL.model_copy(update={"policy": "capacity-functional", "calibration": 60})
    splits = as_task(images, **says)
    metric = replace(splits.objective.metric, name="loss", sums=answers)
    other = replace(splits, objective=replace(splits.objective, metric=metric))
    kept = []
    for name, each in (("images", images), ("task", other)):
        storage = Folder.at(str(tmp_path / name))
        make_shared([spec], each, storage)
        kept.append(facts_of(finished(spec, each, storage, tmp_path / name / "trial")).layers)
    assert kept[0] == kept[1]


def test_a_profile_of_a_task_without_hits_has_no_shares(images: Splits) -> None:
    torch.manual_seed(0)
    splits = as_task(images)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    samples = calibration_samples(splits, 20, CPU)
    found = measure_profile(model, samples.images[:1], ProfileSpec(levels=3), samples)
    assert found.right == {}
    assert list(found.accuracy) == ["1"]
