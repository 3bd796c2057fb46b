"""What a comparison looks like: one page that needs no network, and its figures as PNG and SVG files."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from search.comparison import Comparison
from search.report import chart
from search.report.accuracy import macs_section, sparsity_section
from search.report.compact import compact_section
from search.report.curricula import curricula_section
from search.report.effort import cost_section
from search.report.evidence import Section, gather
from search.report.gap import gap_section
from search.report.gates import gates_section
from search.report.importance import importance_section
from search.report.layers import kept_section
from search.report.made import made
from search.report.page import page
from search.report.pareto import pareto_section
from search.report.probes import probes_section
from search.report.progress import progress_section
from search.report.ranking import ranking_section
from search.results import StudyFolder

SECTIONS = (  # in the order of the page
    gap_section,
    sparsity_section,
    macs_section,
    curricula_section,
    kept_section,
    compact_section,
    gates_section,
    probes_section,
    pareto_section,
    cost_section,
    progress_section,
    ranking_section,
    importance_section,
)


def write_report(comparison: Comparison, out: Path, folders: Sequence[StudyFolder]) -> list[Path]:
    """Write index.html, comparison.json and every section's figure as PNG and SVG into a folder; return their paths.

    folders: the studies that were compared, as their trials and profiles are shown, too.
    """
    out.mkdir(parents=True, exist_ok=True)
    evidence = gather(comparison, folders)
    sections = [section(evidence) for section in SECTIONS]
    how = made(evidence)
    written = {
        "index.html": page(evidence, sections, how).encode(),
        "comparison.json": comparison.model_dump_json(indent=1).encode(),
    }
    footer = f"howcompact: {comparison.study}; seeds {how['seeds'].partition(';')[0]}; {how['date']}"
    written |= figures(sections, footer)
    for name, content in written.items():
        (out / name).write_bytes(content)
    return [out / name for name in written]


def figures(sections: Sequence[Section], footer: str) -> dict[str, bytes]:
    """Draw each section that has charts as PNG and SVG: name of the file -> its content."""
    drawn = {section.name: sheet(section, footer) for section in sections if section.groups}
    return {f"{name}.{kind}": chart.to_file(figure, kind) for name, figure in drawn.items() for kind in ("png", "svg")}


def plot(comparison: Comparison) -> Figure:
    """Accuracy against sparsity as a figure."""
    return sheet(sparsity_section(gather(comparison, [])))


def sheet(section: Section, footer: str = "") -> Figure:
    """Draw all panels of a section into one figure."""
    return chart.compose(section.groups, section.columns, section.title, footer)
