"""Optuna's samplers by name, seeded."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def tpe(seed: int, trials: int) -> "BaseSampler":
    """Tree-structured Parzen estimator over all parts jointly; a pending trial counts as bad, to spread proposals."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            multivariate=True, constant_liar=True, n_startup_trials=max(2, trials // 4), seed=seed
        )


def random(seed: int, trials: int) -> "BaseSampler":
    """Independent draws: the control for any other sampler."""
    import optuna

    return optuna.samplers.RandomSampler(seed=seed)


SAMPLERS: dict[str, Callable[[int, int], "BaseSampler"]] = {"tpe": tpe, "random": random}
