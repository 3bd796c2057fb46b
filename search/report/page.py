"""The page: sections of charts and tables in one HTML file, which loads nothing and runs no script."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from search.comparison.best_rivals import best_of
from search.comparison.compare import BASELINE, ComparisonRow, Estimate
from search.comparison.wording import warnings_of, written
from search.figures.chart import inline
from search.figures.section import Section
from search.report.html import render
from search.report.provenance import Provenance
from search.report.sections.evidence import Evidence
from search.results.rows import TABLE
from search.results.scale import scale_of
from trainables.counts import quantity

MOST_ROWS, MOST_WARNINGS = 400, 8  # of a table; at the top


@dataclass(frozen=True)
class Summary:
    """What stands at the top of a page."""

    lines: Sequence[tuple[str, str]]  # a name, or "", and what is true of it
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """The charts of a section, as the page arranges them."""

    groups: Sequence[tuple[str, Sequence[Markup]]]  # heading, charts
    width: int  # of the widest chart, in CSS pixels

    @property
    def one_each(self) -> bool:
        """Whether each group has one chart. Then the groups stand side by side, otherwise the charts of a group."""
        return all(len(charts) == 1 for _, charts in self.groups)


def page(evidence: Evidence, sections: Sequence[Section], provenance: Provenance) -> str:
    """Write the page of a comparison."""
    return document(evidence.comparison.study, _summary(evidence), sections, provenance)


def document(name: str, summary: Summary, sections: Sequence[Section], provenance: Provenance) -> str:
    """Write a page. Sections without charts and rows are left out; the contents name them."""
    return render(
        "page.html",
        title=f"howcompact: {name}",
        summary=summary,
        sections=[(section, _figure(section)) for section in sections if not section.is_empty],
        absent=[section for section in sections if section.is_empty],
        provenance=provenance,
        most_rows=MOST_ROWS,
        all_rows=TABLE,
    )


def _summary(evidence: Evidence) -> Summary:
    """Say which policy is ahead, and what a reader needs to know."""
    lines = []
    for name, rows in evidence.settings.items():
        sparsities = dict.fromkeys(row.sparsity for row in rows)
        best = {sparsity: best_of(row for row in rows if row.sparsity == sparsity) for sparsity in sparsities}
        (policy, wins), highest = Counter(row.policy for row in best.values()).most_common(1)[0], max(best)
        uneven = any(len(row.seeds) < len(best[row.sparsity].seeds) for row in rows)
        among = " of those with the most seeds" if uneven else ""
        text = (
            f"the dense network has {_shown(rows[0], rows[0].dense_accuracy)}. {policy} has the "
            f"{'highest' if rows[0].higher_is_better else 'lowest'} mean {rows[0].metric}{among} at "
            f"{wins} of {quantity(len(best), 'sparsity', 'sparsities')}. At sparsity {highest:g}, the highest, "
            f"the best policy is {best[highest].policy} with {_shown(rows[0], best[highest].best_val_accuracy)}."
        )
        lines.append((name, text))
    text = (
        f"{quantity(len(evidence.trials), 'trial')} of "
        f"{quantity(len(evidence.style_of), 'policy', 'policies')}. {evidence.metrics.capitalize()} is measured on "
        "validation samples: mean ± half of the 95 % interval over seeds. A gap is the difference to "
        f"{BASELINE} at the same budget and seed."
    )
    lines.append(("", text))
    if held_out := evidence.comparison.held_out:
        lines.append(
            ("", f"The test split was read for {quantity(held_out.trials, 'trial')}, from {held_out.first} on.")
        )
    warnings = [*evidence.comparison.warnings, *warnings_of(evidence.comparison.rows)]
    if len(warnings) > MOST_WARNINGS:
        more = quantity(len(warnings) - MOST_WARNINGS, "more warning is", "more warnings are") + " in comparison.json."
        warnings = [*warnings[:MOST_WARNINGS], more]
    return Summary(lines, warnings)


def _shown(row: ComparisonRow, estimate: Estimate) -> str:
    scale = scale_of(row.metric)
    return f"{written(estimate, scale=scale)}{scale.unit}"


def _figure(section: Section) -> Figure | None:
    widest = max((panel.width for panels in section.groups.values() for panel in panels), default=0.0)
    groups = [
        (
            heading,
            [
                Markup(inline(panel, f"{section.name}{number}-{i}", panel.width / widest))
                for i, panel in enumerate(panels)
            ],
        )
        for number, (heading, panels) in enumerate(section.groups.items())
    ]
    return Figure(groups, round(widest * 4 / 3)) if groups else None
