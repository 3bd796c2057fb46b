import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.trainables.problems import Abreast, linears, problem, quotas
from trainables.allocation.policies import POLICIES
from trainables.allocation.ranked import lamp_scores
from trainables.models import hub
from trainables.pruning.context import Calibration
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Counts
from trainables.pruning.masks import Weights


def test_lamp_scores_of_1_2_3() -> None:
    np.testing.assert_allclose(lamp_scores(np.array([9.0, 1.0, 4.0])), [1 / 14, 4 / 13, 1.0])


def test_equal_weights_share_a_lamp_score() -> None:
    np.testing.assert_allclose(lamp_scores(np.array([1.0, 2.0, 1.0])), [1 / 4, 1 / 4, 1.0])
    assert lamp_scores(np.zeros(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_lamp_keeps_the_best_scores_of_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    matrices = [random.normal(0, scale, (1, n)) for scale, n in ((1.0, 20), (10.0, 40), (0.1, 30))]
    squares = [m.astype(np.float32).ravel().astype(float) ** 2 for m in matrices]
    every = sorted(((q[u] / q[q >= q[u]].sum(), p) for p, q in enumerate(squares) for u in range(len(q))), reverse=True)
    for sparsity in (0.2, 0.5, 0.9):
        best = [p for _, p in every[: round((1 - sparsity) * 90)]]
        assert quotas("lamp", problem(linears(*matrices), sparsity)).tolist() == [best.count(p) for p in range(3)]


def test_global_magnitude_is_one_threshold_above_the_floors() -> None:
    prunable = linears([[5.0, -4.0, 0.5, 3.0]], [[-1.0, 2.0, 6.0, -0.1]], [[0.01, 0.02], [0.03, 0.04]])
    assert quotas("global", problem(prunable, 0.5)).tolist() == [3, 1, 2]  # 6, 5, 4, 3 and the third layer's floor


def test_global_magnitude_of_channels_is_their_root_mean_square() -> None:
    torch.manual_seed(0)
    prunable = view(hub.build("small_cnn", 10, 1), "channel", torch.zeros(1, 1, 8, 8))
    for part, scale in zip(prunable.parts, (1.0, 5.0, 0.2, 3.0, 1.0), strict=True):
        prunable.model.get_parameter(f"{part.name}.weight").data *= scale
    rms = [
        np.sqrt(np.mean(prunable.model.get_parameter(f"{part.name}.weight").detach().flatten(1).numpy() ** 2, axis=1))
        for part in prunable.parts
    ]
    every = np.sort(np.concatenate(rms))
    path = POLICIES["global"].path(problem(prunable))
    for threshold in (every[len(every) // 4 : len(every) // 4 + 2].mean(), every[-20:-18].mean()):
        assert path(every[-1] / threshold).tolist() == [(part >= threshold).sum() for part in rms]


def test_snip_ranks_by_finite_differences_of_gates() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 4, bias=False), nn.Linear(3, 5, bias=False)]
    layers[1].weight.data *= 3
    model = Abreast(layers)
    images, labels = torch.randn(12, 1), torch.randint(9, (12,))

    def loss(weights: list[Tensor]) -> Tensor:
        columns = [images.double().expand(12, w.shape[1]) @ w.T for w in weights]
        return F.cross_entropy(torch.cat(columns, 1), labels)

    weights = [layer.weight.detach().double() for layer in layers]
    effects = []
    for p, u in itertools.chain(((0, u) for u in range(24)), ((1, u) for u in range(15))):
        sides = []
        for gate in (1 + 1e-4, 1 - 1e-4):
            gated = [w.clone() for w in weights]
            gated[p].view(-1)[u] *= gate
            sides.append(loss(gated))
        effects.append((abs(float(sides[0] - sides[1])), p))
    best = [p for _, p in sorted(effects, reverse=True)[:20]]
    asked = problem(Weights(model, images[:1]), 1 - 20 / 39, calibration=Calibration((images, labels)))
    assert quotas("snip", asked).tolist() == [best.count(0), best.count(1)]


def of_kinds(kinds: str, scores: list[list[float]], sparsity: float) -> Counts:
    """Share a budget by `isomorphic` among layers of these kinds, one letter each, and scores of their weights."""
    prunable = linears(*([of_part] for of_part in scores))
    prunable.parts = tuple(replace(part, kind=kind) for part, kind in zip(prunable.parts, kinds, strict=True))
    by_part = {part.name: torch.tensor(of_part) for part, of_part in zip(prunable.parts, scores, strict=True)}
    return quotas("isomorphic", replace(problem(prunable, sparsity), scores=by_part))


def test_isomorphic_ranks_within_a_kind_and_gives_all_kinds_the_same_share() -> None:
    scores = [[5.0, 7.0, 6.0, 2.0], [1.0, 3.0, 4.0, 0.5], [900.0, 800.0, 100.0, 200.0]]
    assert of_kinds("aab", scores, 0.5).tolist() == [3, 1, 2]  # 7, 6, 5 and 4 of the first kind
    assert of_kinds("abb", scores, 0.5).tolist() == [2, 1, 3]  # the floor, where all large scores are in one layer
    assert of_kinds("abc", scores, 0.5).tolist() == [2, 2, 2]
    assert of_kinds("aaa", scores, 0.5).tolist() == [1, 1, 4]


def test_isomorphic_does_not_read_the_scale_of_a_kind() -> None:
    random = np.random.default_rng(0)
    scores = [random.exponential(1.0, n) for n in (30, 50, 40)]
    plain = of_kinds("aab", [each.tolist() for each in scores], 0.6).tolist()
    assert of_kinds("aab", [each.tolist() for each in (scores[0], scores[1], 1000 * scores[2])], 0.6).tolist() == plain
    assert of_kinds("aab", [each.tolist() for each in (100 * scores[0], scores[1], scores[2])], 0.6).tolist() != plain


def test_heads_and_hidden_units_of_a_transformer_are_kinds_of_their_own() -> None:
    torch.manual_seed(0)
    prunable = view(hub.build("vit", 10, 1), "channel", torch.zeros(1, 1, 16, 16))
    by_kind: dict[str, set[str]] = {}
    for part in prunable.parts:
        by_kind.setdefault(part.kind, set()).add(part.name.rpartition(".layers.")[2].partition(".")[2] or part.name)
    assert len(by_kind) == 3, by_kind  # heads, hidden units, the width of the residual stream
