"""The pruning schedules by name: the sparsity after each step."""

from collections.abc import Callable, Mapping

from trainables.pruning_spec import Schedule

Curve = Callable[[float, float], float]  # target sparsity, fraction of the steps done -> sparsity


def one_shot(sparsity: float, done: float) -> float:
    """All at once."""
    return sparsity


def iterative(sparsity: float, done: float) -> float:
    """Each step keeps the same fraction of what remains (Han et al., arXiv 1506.02626)."""
    return 1.0 - float((1.0 - sparsity) ** done)


def gradual(sparsity: float, done: float) -> float:
    """Cubic: much goes early, little at the end (Zhu & Gupta, arXiv 1710.01878)."""
    return sparsity * (1.0 - (1.0 - done) ** 3)


SCHEDULES: Mapping[str, Curve] = {"one-shot": one_shot, "iterative": iterative, "gradual": gradual}


def sparsities(schedule: Schedule, target: float) -> tuple[float, ...]:
    """Return the sparsity after each step. It never falls; the last one is the target."""
    curve = SCHEDULES[schedule.name]
    return (*(curve(target, step / schedule.steps) for step in range(1, schedule.steps)), target)
