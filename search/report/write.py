"""The report of a comparison: one page that needs no network, and its figures as PNG and SVG files."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from search.comparison.compare import Comparison
from search.figures.section import figures, sheet
from search.report.columns import pairs_to_columns, to_columns, to_csv
from search.report.out_files import CSV, FILES, JSON, PAGE, PAIRS_CSV, PAIRS_PARQUET, PARQUET, refuse_others_files
from search.report.page import page
from search.report.provenance import report_provenance
from search.report.sections.accuracy import latency_section, macs_section, sparsity_section
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
from search.results.to_json import to_json
from trainables.storage.columns import to_parquet

SECTIONS = (  # in the order of the page
    gap_section,
    sparsity_section,
    macs_section,
    latency_section,
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
    """Write index.html, comparison.json, .csv and .parquet, and each section's figure as PNG and SVG into a folder.

    With a margin also pairs.csv and pairs.parquet. Files of an earlier report are replaced or deleted. folders: the
    compared studies, whose trials and profiles the page shows. Returns the paths. Raises ValueError where the folder
    holds other files.
    """
    refuse_others_files(out)
    out.mkdir(parents=True, exist_ok=True)
    evidence = gather(comparison, folders)
    sections = [section(evidence) for section in SECTIONS]
    provenance = report_provenance(evidence)
    columns = to_columns(comparison)
    written = {
        PAGE: page(evidence, sections, provenance).encode(),
        JSON: to_json(comparison, indent=1).encode(),
        CSV: to_csv(columns),
        PARQUET: to_parquet(columns),
        **figures(sections, provenance.footer),
    }
    if comparison.pairs:
        pairs = pairs_to_columns(comparison)
        written |= {PAIRS_CSV: to_csv(pairs), PAIRS_PARQUET: to_parquet(pairs)}
    for name in FILES - written.keys():
        (out / name).unlink(missing_ok=True)
    for name, content in written.items():
        (out / name).write_bytes(content)
    return [out / name for name in written]


def plot(comparison: Comparison) -> Figure:
    """Draw accuracy against sparsity."""
    return sheet(sparsity_section(gather(comparison, [])))
