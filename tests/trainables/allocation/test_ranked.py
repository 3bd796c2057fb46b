import itertools

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
    asked = problem(Weights(model, images[:1]), 1 - 20 / 39, calibration=Calibration(images, labels))
    assert quotas("snip", asked).tolist() == [best.count(0), best.count(1)]
