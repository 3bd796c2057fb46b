"""Probes compared with scikit-learn's, and the blocks that they tell to keep."""

import copy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.trainables.trials import CPU, DENSE, dense_network
from trainables.allocation.budget import dense_counts
from trainables.allocation.policies import POLICIES, allocate
from trainables.allocation.problem import Problem
from trainables.artifacts.probes import (
    BATCH,
    load_probes,
    logistic_regression,
    make_probes,
    pooled_outputs,
    probe,
    to_parquet,
)
from trainables.checkpoints import artifact_store
from trainables.data.batches import Resident
from trainables.data.splits import Splits
from trainables.models import hub
from trainables.models.vit import SmallViT, TransformerLayer, vit
from trainables.pruning.block_chain import find_chain
from trainables.pruning.blocks import Blocks
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularities import view
from trainables.pruning.probe_order import ProbeResult, removals, scan, survivors
from trainables.spec import ProbeSpec
from trainables.storage.folder import Folder

EXAMPLE = torch.zeros(1, 1, 8, 8)
# ResNet-56 on CIFAR-10, stem and 27 blocks: numbers printed by a third party's public implementation of layer removal
# by feature probes (Chen and Zhao, TPAMI 41(12), 2019)
STEM = 33.73
STAGES = (
    [51.11, 52.67, 54.36, 58.55, 58.4, 58.98, 62.16, 63.2, 64.38],
    [70.5, 72.78, 73.91, 75.5, 76.75, 78.1, 79.2, 80.77, 82.02],
    [83.77, 85.88, 87.41, 89.09, 90.38, 91.84, 92.73, 93.06, 93.07],
)
PRINTED = [STEM, *(accuracy for stage in STAGES for accuracy in stage)]
KEPT = ([0, 1, 2, 3, 6, 8], [0, 1, 3, 5, 7], [0, 1, 2, 3, 5])  # of each stage
CHANGING_SHAPE = {10, 19}


def by_stage(kept: list[int]) -> tuple[list[int], ...]:
    assert kept[0] == 0
    return tuple([block - 1 - 9 * stage for block in kept[1:] if (block - 1) // 9 == stage] for stage in range(3))


@pytest.mark.parametrize("stays", [set(), CHANGING_SHAPE])
def test_the_printed_accuracies_give_the_published_blocks(stays: set[int]) -> None:
    for hundredths in range(300):
        answer = by_stage(scan(PRINTED, hundredths / 100, stays))
        assert (answer == KEPT) == (130 <= hundredths <= 153)  # 1.53 is the least gain of a kept block


@pytest.mark.parametrize("stays", [set(), CHANGING_SHAPE])
def test_so_do_budgets_and_they_follow_the_scan_for_some_more_and_fewer_blocks(stays: set[int]) -> None:
    order = [block for block, _ in removals(PRINTED, stays)]
    for hundredths in range(300):
        kept, threshold = survivors(PRINTED, hundredths / 100, stays), hundredths / 100
        assert (by_stage(kept) == KEPT) == (130 <= hundredths <= 153)
        assert kept == sorted({*range(28)} - {*order[: 28 - len(kept)]})
        if 124 <= hundredths <= 211:
            assert kept == scan(PRINTED, threshold, stays)


def test_gains_over_the_block_before_would_not_give_them() -> None:
    def naive(threshold: float) -> list[int]:
        return [0, *(b for b in range(1, 28) if PRINTED[b] - PRINTED[b - 1] >= threshold - 1e-9)]

    answers = [tuple(map(len, by_stage(naive(hundredths / 100)))) for hundredths in range(300)]
    assert (6, 5, 5) not in answers
    assert answers[130] == answers[134] == (5, 5, 5)


curves = st.lists(st.integers(0, 1000).map(lambda hits: hits / 1000), min_size=2, max_size=12)


@settings(deadline=None)
@given(curves, st.integers(0, 200), st.sets(st.integers(1, 11)))
def test_kept_blocks_gain_enough_and_dropped_ones_do_not(
    accuracies: list[float], thousandths: int, stays: set[int]
) -> None:
    kept = scan(accuracies, thousandths / 1000, stays)
    assert kept[0] == 0
    assert stays & {*range(len(accuracies))} <= {*kept}
    for block in range(1, len(accuracies)):
        before = max(k for k in kept if k < block)
        gains = round(1000 * accuracies[block]) - round(1000 * accuracies[before]) >= thousandths
        assert (block in kept) == (gains or block in stays)


@settings(deadline=None)
@given(curves, st.sets(st.integers(1, 11)))
def test_each_removal_is_of_the_least_gain_over_what_is_still_kept(accuracies: list[float], stays: set[int]) -> None:
    order = removals(accuracies, stays)
    assert sorted(block for block, _ in order) == [b for b in range(1, len(accuracies)) if b not in stays]
    left = list(range(len(accuracies)))
    for gone, gain in order:
        gains = {b: accuracies[b] - accuracies[left[left.index(b) - 1]] for b in left[1:] if b not in stays}
        assert gain == gains[gone] == min(gains.values())
        left.remove(gone)


@settings(deadline=None)
@given(curves, st.integers(0, 200), st.sets(st.integers(1, 11)))
def test_what_survives_gains_enough_and_both_rules_agree_where_nothing_or_everything_goes(
    accuracies: list[float], thousandths: int, stays: set[int]
) -> None:
    kept = survivors(accuracies, thousandths / 1000, stays)
    gains = [accuracies[b] - accuracies[a] for a, b in pairwise(kept) if b not in stays]
    assert all(gain >= thousandths / 1000 - 1e-9 for gain in gains)
    assert survivors(accuracies, -1.0, stays) == scan(accuracies, -1.0, stays) == list(range(len(accuracies)))
    assert (
        survivors(accuracies, 1.1, stays)
        == scan(accuracies, 1.1, stays)
        == sorted({0, *stays} & {*range(len(accuracies))})
    )


@pytest.fixture(scope="module")
def probed(splits: Splits, storage: Folder) -> Folder:
    """Make the probes of the dense network of `tests.trainables.trials`."""
    spec = ProbeSpec(dense=DENSE, samples=250)
    return artifact_store.find_or_make(
        storage, "probe", spec.key(), lambda folder: make_probes(spec, splits, storage, folder, CPU)
    )


def test_every_block_is_probed_as_scikit_learn_does(splits: Splits, storage: Folder, probed: Folder) -> None:
    model, (curve, cost) = dense_network(storage).eval(), load_probes(probed)
    chain = find_chain(model, EXAMPLE)
    assert [row.name for row in curve] == ["block1", "block2", "block3", "block4"]
    train, val = (Resident(split, splits, CPU) for split in (splits.train, splits.val))
    assert (cost.evaluations, cost.images) == (1, 250 + len(val))
    for row, seen, unseen in zip(
        curve, pooled_outputs(model, chain, train), pooled_outputs(model, chain, val), strict=True
    ):
        scaler = StandardScaler().fit(seen[:250])
        expected = LogisticRegression(tol=1e-8, max_iter=10_000).fit(scaler.transform(seen[:250]), train.labels[:250])
        assert row.features == seen.shape[1]
        assert row.train_accuracy == pytest.approx(
            expected.score(scaler.transform(seen[:250]), train.labels[:250]), abs=1e-3
        )
        assert row.val_accuracy == pytest.approx(expected.score(scaler.transform(unseen), val.labels), abs=1e-3)
        weight, bias = logistic_regression(torch.from_numpy(scaler.transform(seen[:250])), train.labels[:250], 10)
        probabilities = torch.softmax(torch.from_numpy(scaler.transform(unseen)) @ weight + bias, 1)
        np.testing.assert_allclose(probabilities, expected.predict_proba(scaler.transform(unseen)), atol=1e-3)
    assert curve[-1].val_accuracy > curve[0].val_accuracy + 0.1


def test_features_are_what_the_blocks_give(splits: Splits, storage: Folder) -> None:
    model, data = dense_network(storage).eval(), Resident(splits.val, splits, CPU)
    images = data.normalise(data.images)
    with torch.no_grad():
        after, given = images, {}
        for name, module in model.named_children():
            after = given[name] = module(after)
        for n, pooled in enumerate(pooled_outputs(model, find_chain(model, EXAMPLE), data), start=1):
            torch.testing.assert_close(pooled, given[f"block{n}"].mean((2, 3)).double())


def test_features_of_residual_streams_are_those_of_all_batches(splits: Splits) -> None:
    torch.manual_seed(0)
    model, data = vit(10, 1, 0.25).eval(), Resident(splits.train, splits, CPU)
    assert isinstance(model, SmallViT)
    images = data.normalise(data.images)
    assert len(images) > BATCH
    with torch.no_grad():
        grid = model.patches(images)
        expected = [grid.mean((2, 3))]
        grid = grid + model.positions(grid)
        expected.append(grid.mean((2, 3)))
        tokens = grid.flatten(2).transpose(1, 2)
        for layer in model.layers:
            assert isinstance(layer, TransformerLayer)
            between = tokens + layer.attention(layer.norm1(tokens))
            tokens = layer(tokens)
            expected += [between.mean(1), tokens.mean(1)]
    pooled = pooled_outputs(model, find_chain(model, EXAMPLE), data)
    assert [each.shape for each in pooled] == [(300, 16)] * 14
    for found, own in zip(pooled, expected, strict=True):
        torch.testing.assert_close(found, own.double(), rtol=1e-4, atol=1e-5)


def test_probing_leaves_the_network_as_it_was_and_gives_the_same_again(splits: Splits, storage: Folder) -> None:
    model = dense_network(storage).train()
    before = copy.deepcopy(model)
    one, again = (probe(model, EXAMPLE, splits, 100)[0] for _ in range(2))
    assert one == again
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(t, model.state_dict()[name]) for name, t in before.state_dict().items())


def test_parquet_has_a_row_for_each_block(probed: Folder, tmp_path: Path) -> None:
    curve, _ = load_probes(probed)
    (tmp_path / "probes.parquet").write_bytes(to_parquet(curve))
    rows = pq.read_table(tmp_path / "probes.parquet").to_pylist()
    assert [row["depth"] for row in rows] == [0, 1, 2, 3]
    assert (
        tuple(ProbeResult(row["name"], row["features"], row["train_accuracy"], row["val_accuracy"]) for row in rows)
        == curve
    )


def test_the_criterion_keeps_longest_what_is_removed_last() -> None:
    blocks = view(hub.build("resnet56", 10, 3, 0.25), "block", torch.zeros(1, 3, 8, 8))
    assert isinstance(blocks, Blocks)
    curve = [ProbeResult(block.name, 4, 0.5, accuracy) for block, accuracy in zip(blocks.chain, PRINTED, strict=True)]
    scores = CRITERIA["probe"](PruningContext(blocks, shared={"probe": curve}))
    assert sorted(torch.cat(list(scores.values())).tolist()) == list(range(25))
    problem = Problem(PruningContext(blocks), scores, 0.4, "params")
    lowest = {name: [i for i, score in enumerate(of_part.tolist()) if score >= 11] for name, of_part in scores.items()}
    assert lowest == {
        "block1_1": KEPT[0],
        "block2_2": [b - 1 for b in KEPT[1][1:]],
        "block3_2": [b - 1 for b in KEPT[2][1:]],
    }
    kept = np.array([len(units) for units in lowest.values()])
    sparsity = 1 - blocks.cost(kept, "params") / blocks.cost(dense_counts(blocks), "params")
    assert list(allocate(POLICIES["by-score"], replace(problem, sparsity=sparsity)).values()) == kept.tolist()
