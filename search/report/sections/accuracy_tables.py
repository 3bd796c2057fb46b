"""The tables beside the charts of accuracy: what was reached, by which files, and what was kept."""

from collections.abc import Sequence

from search.comparison.compare import BASELINE, ComparisonRow
from search.comparison.int8_cells import int8_cells
from search.comparison.wording import written
from search.figures.section import Table
from search.report.sections.evidence import Evidence
from search.results.scale import scale_of

STAGES = {
    "one_shot_accuracy": "one-shot",
    "recalibrated_accuracy": "recalibrated",
    "compensated_accuracy": "compensated",
    "best_val_accuracy": "recovered",
    "quantised_accuracy": "int8",
}


def measured(rows: Sequence[ComparisonRow]) -> dict[str, str]:
    """Give the stages that some of these rows have: field -> title."""
    return {stage: title for stage, title in STAGES.items() if any(getattr(row, stage) is not None for row in rows)}


def reached(evidence: Evidence) -> Table:
    """Give the accuracy of each stage."""
    tested = any(row.test_accuracy for row in evidence.comparison.rows)
    stages = measured(evidence.comparison.rows)
    head = ("network", "policy", "sparsity", *stages.values(), *(["test"] if tested else []))
    rows = [
        (
            name,
            row.policy + (" (control)" if row.control else ""),
            f"{row.sparsity:g}",
            *(written(getattr(row, stage), scale=scale_of(row.metric)) for stage in stages),
            *([written(row.test_accuracy, scale=scale_of(row.metric))] if tested else []),
            "" if row.policy == BASELINE else written(row.gap_to_uniform, signed=True, scale=scale_of(row.metric)),
            ", ".join(map(str, row.seeds)),
        )
        for name, own in evidence.settings.items()
        for row in own
    ]
    caption = f"{evidence.title_of_metrics}, mean ± half of the 95 % interval over seeds"
    return Table(caption, (*head, "gap to uniform", "seeds"), rows, words=2)


def other_metrics(evidence: Evidence) -> list[Table]:
    """Give the other metrics of the user's task in the epoch that the metric prefers, if it has any."""
    names = dict.fromkeys(name for row in evidence.comparison.rows for name in row.other_metrics)
    rows = [
        (
            name,
            row.policy,
            f"{row.sparsity:g}",
            *(written(row.other_metrics.get(metric), scale=scale_of(metric)) for metric in names),
        )
        for name, own in evidence.settings.items()
        for row in own
    ]
    caption = (
        f"Other metrics of the epoch with the best {evidence.metrics}, mean ± half of the 95 % interval over seeds"
    )
    return [Table(caption, ("network", "policy", "sparsity", *names), rows, words=2)] if names else []


def int8_files(evidence: Evidence) -> list[Table]:
    """Give accuracy, size and latency of the int8 files beside those of float32, if there are any."""
    named = [(name, row) for name, own in evidence.settings.items() for row in own if row.quantised_accuracy]
    title, head, found = int8_cells([row for _, row in named], written)
    rows = [(name, row.policy, f"{row.sparsity:g}", *cells) for (name, row), cells in zip(named, found, strict=True)]
    return [Table(title, ("network", "policy", "sparsity", *head), rows, words=2)] if rows else []


def kept(evidence: Evidence) -> Table:
    """Give the weights and multiply-accumulates that each network keeps."""
    more = ["fixed parameters"] if any(row.params_fixed for row in evidence.comparison.rows) else []
    head = (
        "network",
        "policy",
        "sparsity",
        "weights kept",
        *more,
        "MACs kept",
        "MACs kept (%)",
        evidence.head_of_metrics,
    )
    rows = [
        (
            name,
            row.policy,
            f"{row.sparsity:g}",
            f"{row.params_kept:,}",
            *(["" if row.params_fixed is None else f"{row.params_fixed:,.0f}"] if more else []),
            f"{row.macs_kept:,}",
            f"{100 * row.macs_density:.1f}",
            written(row.best_val_accuracy, scale=scale_of(row.metric)),
        )
        for name, own in evidence.settings.items()
        for row in own
    ]
    return Table(
        f"Weights and multiply-accumulates kept, and {evidence.metrics} of the recovered network", head, rows, words=2
    )


def timed(evidence: Evidence) -> list[Table]:
    """Give the latency of each network that was timed or has a prediction, if there are any."""
    rows = [
        (
            name,
            row.policy,
            f"{row.sparsity:g}",
            row.device,
            "" if row.latency_ms is None else f"{row.latency_ms:.3g}",
            "" if row.latency_density is None else f"{100 * row.latency_density:.1f}",
            "" if row.predicted_latency_ms is None else f"{row.predicted_latency_ms:.3g}",
            written(row.best_val_accuracy, scale=scale_of(row.metric)),
        )
        for name, own in evidence.settings.items()
        for row in own
        if row.latency_ms is not None or row.predicted_latency_ms is not None
    ]
    head = ("network", "policy", "sparsity", "device", "ms", "of dense (%)", "predicted ms", evidence.head_of_metrics)
    title = f"Milliseconds of one batch, mean over seeds, and {evidence.metrics} of the recovered network"
    return [Table(title, head, rows, words=2)] if rows else []
