"""Mixed batches: their images, their losses and their draws, against what the papers define."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor
from torch.nn import functional as F

from trainables.data.batches import Batch
from trainables.recipe import Recipe
from trainables.task.classification import CLASSIFICATION
from trainables.training.mixing import mixed
from trainables.training.train import task_loss

IMAGES, LABELS = torch.rand(12, 3, 10, 14), torch.arange(12) % 5
LOGITS = torch.randn(12, 5)


def batches(count: int = 1, weights: Tensor | None = None) -> list[Batch]:
    return [Batch((IMAGES, LABELS), IMAGES, torch.arange(12), weights)] * count


def of(recipe: Recipe, count: int, seed: tuple[int, int] = (3, 0)) -> list[tuple[Batch, Batch]]:
    """Mix the same batch several times: the mixed batches and their partners."""
    found = list(mixed(batches(count), recipe, seed))
    return [(batch, batch.partner) for batch in found if batch.partner]


def test_mixup_adds_each_image_to_that_of_its_partner() -> None:
    for batch, partner in of(Recipe(mixup=0.4), 20):
        expected = batch.own * IMAGES + (1 - batch.own) * IMAGES[partner.index]
        torch.testing.assert_close(batch.images, expected)
        assert torch.equal(batch.index.sort().values, torch.arange(12))
        assert torch.equal(partner.index.sort().values, torch.arange(12))
        assert torch.equal(partner.content[1], LABELS[partner.index])


def test_cutmix_pastes_one_box_whose_area_is_the_partner_s_share() -> None:
    boxes = set()
    for batch, partner in of(Recipe(cutmix=1.0), 60):
        others = IMAGES[partner.index]
        moved = partner.index != torch.arange(12)
        pasted = (batch.images == others).all(1) & moved[:, None, None]
        assert torch.equal(batch.images, torch.where(pasted[:, None], others, IMAGES))
        box = pasted[moved][0]
        assert (pasted[moved] == box).all()
        assert torch.equal(box, box.any(1)[:, None] & box.any(0)[None])  # a rectangle
        assert batch.own == pytest.approx(1 - box.float().mean().item())
        boxes.add(round(batch.own, 6))
    assert len(boxes) > 20


@pytest.mark.parametrize("recipe", [Recipe(mixup=0.3), Recipe(cutmix=1.0), Recipe(mixup=0.2, cutmix=1.0)])
def test_the_loss_is_the_cross_entropy_of_the_mixed_labels(recipe: Recipe) -> None:
    one_hot = F.one_hot(LABELS, 5).float()
    for batch, partner in of(recipe, 10):
        target = batch.own * one_hot + (1 - batch.own) * one_hot[partner.index]
        torch.testing.assert_close(task_loss(CLASSIFICATION, recipe)(batch, LOGITS), F.cross_entropy(LOGITS, target))


def test_weights_of_samples_stay_with_their_samples() -> None:
    weights = torch.rand(12)
    (batch,) = mixed(batches(weights=weights), Recipe(mixup=1.0), (0, 0))
    assert batch.partner is not None
    order, losses = batch.partner.index, F.cross_entropy(LOGITS, LABELS, reduction="none")
    other = F.cross_entropy(LOGITS, LABELS[order], reduction="none")
    expected = (batch.own * weights * losses + (1 - batch.own) * weights[order] * other).mean()
    torch.testing.assert_close(task_loss(CLASSIFICATION, Recipe())(batch, LOGITS), expected)


def test_shares_are_drawn_from_beta() -> None:
    own = [batch.own for batch, _ in of(Recipe(mixup=0.4), 2000)]
    assert kstest(own, "beta", args=(0.4, 0.4)).pvalue > 0.01


def test_each_is_drawn_half_of_the_time_where_a_recipe_has_both() -> None:
    pasted = [
        bool(((batch.images == IMAGES) | (batch.images == IMAGES[partner.index])).all())
        for batch, partner in of(Recipe(mixup=1.0, cutmix=1.0), 600)
    ]
    assert 0.42 < np.mean(pasted) < 0.58  # 3.9 standard deviations


def test_draws_depend_on_the_epoch_and_on_the_worker_alone() -> None:
    recipe = Recipe(mixup=0.4)
    (one,), (again,), (epoch,), (worker,) = (of(recipe, 1, seed) for seed in ((3, 0), (3, 0), (4, 0), (3, 1)))
    assert torch.equal(one[0].images, again[0].images)
    assert len({one[0].own, epoch[0].own, worker[0].own}) == 3
