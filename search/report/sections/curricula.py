"""The gain of each curriculum over its control and over training without a curriculum."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from search.comparison.compare import BASELINE, ComparisonRow, Estimate
from search.comparison.wording import network_of, recovery_of, written
from search.figures.chart import Panel
from search.figures.dots import dots
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence
from search.results.scale import scale_of

RIVALS = {"gap_to_control": "its control", "gap_to_standard": "no curriculum"}
TITLE, LABEL = "Curricula against their controls", "points; a marker for each sparsity"


def curricula_section(evidence: Evidence) -> Section:
    """Points ahead of the control and of no curriculum, by policy, curriculum and sparsity."""
    found = _followed(evidence)
    if not found:
        none = "No trial of these studies follows a curriculum: every training uses each sample once an epoch."
        return Section("curricula", TITLE, none)
    groups = {name: _panels(evidence, rows) for name, rows in found.items()}
    text = (
        f"Gain in validation {evidence.metrics} over the control and over training without a curriculum. Markers, one "
        "for each sparsity, are means over the same seeds; bars are their 95 % intervals. Policy, epochs and number of "
        "images are the same. A control (*) draws samples as its curriculum does, but by random scores, so that its "
        "gain does not come from the order of the samples. A curriculum helps where its bars are to the right of the "
        "dotted line in both charts. Among many bars, a few may be there by chance."
    )
    return Section(
        "curricula", TITLE, text, {name: own for name, own in groups.items() if own}, [_table(found)], columns=2
    )


def _followed(evidence: Evidence) -> dict[str, list[ComparisonRow]]:
    """Collect the rows that follow a curriculum: name of a network and its training -> rows."""
    alike: dict[tuple[str, str, str], list[ComparisonRow]] = defaultdict(list)
    for rows in evidence.settings.values():
        if rows[0].standard_setting:
            alike[rows[0].family, rows[0].compensation, rows[0].recovery] += rows
    found: dict[str, list[ComparisonRow]] = {}
    for (family, *_), rows in alike.items():
        name = f"{rows[0].dataset}: {network_of(rows[0], trained=False)}, {recovery_of(rows[0])}"
        found[f"{name} ({family[:6]})" if name in found else name] = rows
    return found


def _panels(evidence: Evidence, rows: Sequence[ComparisonRow]) -> list[Panel]:
    panels = []
    for policy in evidence.policies(rows):
        for field, rival in RIVALS.items():
            own = [row for row in rows if row.policy == policy and getattr(row, field)]
            if own:
                panels.append(dots(f"{policy}: ahead of {rival}", LABEL, _series(own, field), 0.0, (-100.0, 100.0)))
    return panels


def _series(rows: Sequence[ComparisonRow], field: str) -> Mapping[str, Mapping[str, Estimate]]:
    """Give the estimates in points: sparsity -> curriculum -> estimate."""
    series: dict[str, dict[str, Estimate]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: (row.sparsity, row.control, row.curriculum)):
        gap: Estimate = getattr(row, field)
        factor = scale_of(row.metric).factor
        ends = {end: None if value is None else factor * value for end, value in (("low", gap.low), ("high", gap.high))}
        points = gap.model_copy(update={"mean": factor * gap.mean, **ends})
        series[f"{row.sparsity:g}"][row.curriculum + (" *" if row.control else "")] = points
    return series


def _table(found: Mapping[str, Sequence[ComparisonRow]]) -> Table:
    names = {(row.setting, row.sparsity, row.policy): row.curriculum for rows in found.values() for row in rows}
    rows = [
        (
            name,
            row.policy,
            row.curriculum,
            names.get((row.control_setting, row.sparsity, row.policy), ""),
            f"{row.sparsity:g}",
            written(row.best_val_accuracy, scale=scale_of(row.metric)),
            *(written(getattr(row, field), signed=True, scale=scale_of(row.metric)) for field in RIVALS),
            ", ".join(map(str, row.seeds)),
        )
        for name, own in found.items()
        for row in sorted(own, key=lambda row: (row.policy != BASELINE, row.policy, row.sparsity, row.control))
    ]
    head = (
        "network",
        "policy",
        "curriculum",
        "control",
        "sparsity",
        "reached",
        "ahead of control",
        "ahead of none",
    )
    caption = "Curricula, in points ahead: mean ± half of the 95 % interval over seeds"
    return Table(caption, (*head, "seeds"), rows, words=4)
