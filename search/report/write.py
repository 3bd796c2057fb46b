"""What a comparison looks like: one page that needs no network, and its figures as PNG and SVG files."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from search.comparison.compare import Comparison
from search.figures.section import figures, sheet
from search.report.page import page
from search.report.provenance import made
from search.report.sections.accuracy import macs_section, sparsity_section
from search.report.sections.compact import compact_section
from search.report.sections.cost import cost_section
from search.report.sections.curricula import curricula_section
from search.report.sections.evidence import gather
from search.report.sections.gap import gap_section
from search.report.sections.gates import gates_section
from search.report.sections.importance import importance_section
from search.report.sections.layers import kept_section
from search.report.sections.pareto import pareto_section
from search.report.sections.probes import probes_section
from search.report.sections.progress import progress_section
from search.report.sections.ranking import ranking_section
from search.results.folder import StudyFolder

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


def plot(comparison: Comparison) -> Figure:
    """Accuracy against sparsity as a figure."""
    return sheet(sparsity_section(gather(comparison, [])))
