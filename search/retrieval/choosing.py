"""Which networks of a study are taken home: the best one, or all that nothing else beats in every respect."""

from collections.abc import Callable, Sequence

from search.results.constraints import Condition, conditions, penalty, refuse_unknown, value_of
from search.results.pareto import pareto
from search.results.rows import TrialRow
from search.study.search_spec import LATENCY

Milliseconds = Callable[[TrialRow], float]  # measures a network's latency
SIZES = ("params_kept", "macs_kept")


def choose(
    rows: Sequence[TrialRow], metric: str, where: Sequence[str], policy: str | None, latency: Milliseconds
) -> TrialRow:
    """Choose the finished trial that is best by `metric` among those that meet every constraint.

    Accuracies and sparsity are better high, every other number low; of equal trials that with fewest weights is taken.
    Latency is measured only where it is asked for, in the order of the metric until one network is fast enough. Raises
    ValueError where no trial is left, and for a name that results do not have.
    """
    fitting, bounds = _fitting(rows, metric, where, policy)
    if metric == LATENCY:
        fitting.sort(key=latency)
    measured = []
    for row in fitting:
        if not bounds:
            return row
        measured.append(latency(row))
        if all(bound.holds(measured[-1]) for bound in bounds):
            return row
    raise _too_slow(measured)


def choose_front(
    rows: Sequence[TrialRow], metric: str, where: Sequence[str], policy: str | None, latency: Milliseconds
) -> list[TrialRow]:
    """Choose, of the trials that meet every constraint, those that no other beats or equals in all of: the metric,
    weights and multiply-accumulates kept, and latency where that is asked for; the best by the metric first.

    Raises ValueError as `choose` does.
    """
    fitting, bounds = _fitting(rows, metric, where, policy)
    timed = metric == LATENCY or bool(bounds)
    if bounds:
        measured = [latency(row) for row in fitting]
        fitting = [r for r, ms in zip(fitting, measured, strict=True) if all(bound.holds(ms) for bound in bounds)]
        if not fitting:
            raise _too_slow(measured)
    names = [*dict.fromkeys((metric, *SIZES, *([LATENCY] if timed else [])))]
    penalties = [
        tuple(penalty(name, latency(row) if name == LATENCY else _number(row, name)) for name in names)
        for row in fitting
    ]
    return [fitting[index] for index in pareto(penalties)]


def _fitting(
    rows: Sequence[TrialRow], metric: str, where: Sequence[str], policy: str | None
) -> tuple[list[TrialRow], list[Condition]]:
    """Find the trials that meet all constraints but those on latency, best first, and return those on latency."""
    refuse_unknown(metric)
    finished = [row for row in rows if row.status == "done"]
    if not finished:
        raise ValueError(f"a finished trial must be there, but none of {len(rows)} is; run the study first")
    asked = [*where, *([f"policy=={policy}"] if policy is not None else [])]
    known = conditions(asked, finished)
    bounds = [condition for condition in known if condition.name == LATENCY]
    others = [condition for condition in known if condition.name != LATENCY]
    meeting = [
        [condition.holds(value_of(row, condition.name)) for condition in others]
        + [metric == LATENCY or value_of(row, metric) is not None]
        for row in finished
    ]
    fitting = [row for row, met in zip(finished, meeting, strict=True) if all(met)]
    if not fitting:
        each = ", ".join(
            f"{condition.name}{condition.sign}{condition.bound}: {sum(met[index] for met in meeting)}"
            for index, condition in enumerate(others)
        )
        raise ValueError(
            f"a finished trial must meet all constraints, but none of {len(finished)} does (each alone, {each}); "
            "loosen --where"
        )

    def rank(row: TrialRow) -> tuple[float, int, str]:
        judged = 0.0 if metric == LATENCY else penalty(metric, _number(row, metric))
        return judged, row.params_kept or 0, row.trial

    return sorted(fitting, key=rank), bounds


def _number(row: TrialRow, name: str) -> float:
    value = value_of(row, name)
    assert isinstance(value, int | float)
    return value


def _too_slow(measured: Sequence[float]) -> ValueError:
    return ValueError(
        f"a network must meet the bounds on {LATENCY}, but the medians of the {len(measured)} that meet all others are "
        f"{min(measured):.3g} to {max(measured):.3g} ms on this machine; loosen --where"
    )
