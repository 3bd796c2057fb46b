"""Which networks of a study are retrieved: the best one, or the Pareto front."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from search.results.constraints import Condition, conditions, penalty, ranking_field, value_of
from search.results.pareto import pareto
from search.results.rows import TrialRow
from search.study.search_spec import LATENCY

Milliseconds = Callable[[TrialRow], float]  # measures a network's latency
SIZES = ("params_kept", "macs_kept")


@dataclass(frozen=True)
class BestRequest:
    """Which networks to retrieve, and where to."""

    metric: str = "best_val_accuracy"  # a number of the results, or latency_ms
    where: Sequence[str] = ()  # constraints, such as "sparsity>=0.9"
    policy: str | None = None  # None: any
    out: str = "best"  # the folder to fill
    export: Sequence[str] = ()  # kinds of files to write beside each network
    register: str | None = None  # name of a model in MLflow's registry
    device: str | None = None  # where latency is measured; None: PyTorch, on the GPU where there is one


def choose(rows: Sequence[TrialRow], request: BestRequest, latency: Milliseconds) -> TrialRow:
    """Choose the finished trial that is best by the metric among those that meet every constraint.

    A high accuracy is better, or whatever the task's metric prefers, a high sparsity, and a low value of every other
    number. Of equal trials, the one with fewest weights is chosen. Latency is measured only where the request names it:
    in the order of the metric, until a network is fast enough. Raises ValueError where no trial is left, and for a name
    that results do not have.
    """
    fitting, bounds = _fitting(rows, request)
    if request.metric == LATENCY:
        fitting.sort(key=latency)
    measured = []
    for row in fitting:
        if not bounds:
            return row
        measured.append(latency(row))
        if all(bound.holds(measured[-1]) for bound in bounds):
            return row
    raise _too_slow(measured, request.device)


def choose_front(rows: Sequence[TrialRow], request: BestRequest, latency: Milliseconds) -> list[TrialRow]:
    """Choose the Pareto front of the finished trials that meet every constraint, the best by the metric first.

    What counts is the metric, the weights and multiply-accumulates kept, and latency where the request names it. Raises
    ValueError as `choose` does.
    """
    fitting, bounds = _fitting(rows, request)
    timed = request.metric == LATENCY or bool(bounds)
    if bounds:
        measured = [latency(row) for row in fitting]
        fitting = [r for r, ms in zip(fitting, measured, strict=True) if all(bound.holds(ms) for bound in bounds)]
        if not fitting:
            raise _too_slow(measured, request.device)
    metric = ranking_field(request.metric, rows)
    names = [*dict.fromkeys((metric, *SIZES, *([LATENCY] if timed else [])))]
    penalties = [
        tuple(penalty(row, name, latency(row) if name == LATENCY else _number(row, name)) for name in names)
        for row in fitting
    ]
    return [fitting[index] for index in pareto(penalties)]


def _fitting(rows: Sequence[TrialRow], request: BestRequest) -> tuple[list[TrialRow], list[Condition]]:
    """Find the trials that meet all constraints but those on latency, best first; return them and those on latency."""
    metric = ranking_field(request.metric, rows)
    finished = [row for row in rows if row.status == "done"]
    if not finished:
        raise ValueError(f"a trial must be finished, but none of {len(rows)} is; run the study first")
    of_policy = [f"policy=={request.policy}"] if request.policy is not None else []
    constraints = conditions([*request.where, *of_policy], finished)
    bounds = [condition for condition in constraints if condition.name == LATENCY]
    others = [condition for condition in constraints if condition.name != LATENCY]
    meeting = [
        [condition.holds(value_of(row, condition.name)) for condition in others]
        + [metric == LATENCY or value_of(row, metric) is not None]
        for row in finished
    ]
    fitting = [row for row, met in zip(finished, meeting, strict=True) if all(met)]
    if not fitting:
        each = ", ".join(
            f"{condition.public}{condition.operator}{condition.bound}: {sum(met[index] for met in meeting)}"
            for index, condition in enumerate(others)
        )
        raise ValueError(
            f"a finished trial must meet all constraints, but none of {len(finished)} does (each alone, {each}); "
            "loosen --where"
        )

    def rank(row: TrialRow) -> tuple[float, int, str]:
        by_metric = 0.0 if metric == LATENCY else penalty(row, metric, _number(row, metric))
        return by_metric, row.params_kept or 0, row.trial

    return sorted(fitting, key=rank), bounds


def _number(row: TrialRow, name: str) -> float:
    value = value_of(row, name)
    assert isinstance(value, int | float)
    return value


def _too_slow(measured: Sequence[float], device: str | None) -> ValueError:
    where = f"on {device} of this machine" if device else "on this machine"
    return ValueError(
        f"a network must meet the bounds on {LATENCY}, but the medians of the {len(measured)} that meet all others are "
        f"{min(measured):.3g} to {max(measured):.3g} ms {where}; loosen --where"
    )
