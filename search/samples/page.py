"""Writes the page of learnability, its figures and their numbers."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from search.comparison.estimates import Estimate
from search.figures.dots import dots
from search.figures.section import Section, figures
from search.report.page import Summary, document
from search.report.provenance import Provenance, run_command
from search.results.to_json import to_json
from search.samples.contact_sheet import ContactSheet
from search.samples.forgetting import Forgotten
from search.samples.runs import Run, by_network, mean_over_seeds, table
from search.samples.scatter import histogram, scatter
from search.samples.summary import Learnability
from search.samples.tables import (
    agreement_table,
    forgotten_table,
    found_again_table,
    left_out,
    measures_table,
    named,
    noise_table,
    scope,
)
from search.study.spec import StudySpec
from trainables.data import sources

NOISE, FORGOTTEN = "Finding flipped labels", "What pruning forgets"  # titles


def write_learnability(summary: Learnability, study: StudySpec, runs: Sequence[Run], out: Path) -> list[Path]:
    """Write index.html, learnability.json, samples.parquet and each figure as PNG and SVG; return their paths.

    runs: of the study's dense networks, from which `summary` was computed.
    """
    out.mkdir(parents=True, exist_ok=True)
    sections = _sections(summary, runs)
    provenance = Provenance(
        name=study.name,
        studies=[study],
        command=f"{run_command(study, 'learnability')} --out page",
        seeds=study.seeds,
        covered=["dense training"],
    )
    written = {
        "index.html": document(f"easy samples, {study.name}", _summary(summary), sections, provenance).encode(),
        "learnability.json": to_json(summary, indent=1).encode(),
        "samples.parquet": table(study.name, runs),
        **figures(sections, provenance.footer),
    }
    for name, content in written.items():
        (out / name).write_bytes(content)
    return [out / name for name in written]


def _summary(summary: Learnability) -> Summary:
    lines = [f"{scope(summary)}.", *filter(None, [left_out(summary)])]
    for each in summary.agreement["learnability"]:
        if each.coefficient == "pearson" and each.single:
            r, published = each.single, f" (published: {each.published})" if each.published else ""
            lines.append(f"{named(each.networks)}: r = {r.value:.3f}, {r.low:.3f} to {r.high:.3f}{published}.")
    return Summary([("", line) for line in lines])


def _sections(summary: Learnability, runs: Sequence[Run]) -> list[Section]:
    of_images = [] if summary.data.task.function else [_sheet(summary, runs), _noise(summary)]
    return [_agreement(summary, runs), _how_easy(summary, runs), *of_images, _forgotten(summary)]


def _agreement(summary: Learnability, runs: Sequence[Run]) -> Section:
    means = mean_over_seeds(runs, "learnability")
    coefficients = {each.networks: each for each in summary.agreement["learnability"] if each.coefficient == "pearson"}
    panels = []
    for pair in combinations(means, 2):
        r = coefficients[pair]
        title = (
            f"{named(pair)}: r {r.single.value:.3f}, of means {r.means.value:.3f}"
            if r.single and r.means
            else named(pair)
        )
        levels = summary.epochs * min(len(summary.networks[name]) for name in pair) + 1
        panels.append(scatter(means[pair[0]], means[pair[1]], pair, title, levels))
    text = (
        "Learnability is the share of epochs in which a network had a sample right. If a sample has several "
        "predictions, the share of these that were right counts. The axes are the learnability in two networks, as the "
        "mean over seeds. A darker cell holds more samples; the scale is logarithmic. The thick "
        "line is the least-squares line. On the dotted line, both networks agree. The ceiling in the table is a "
        "network and itself trained from another seed: two different networks can hardly agree better."
    )
    tables = [agreement_table(summary), measures_table(summary)]
    return Section("agreement", "Do networks agree on what is easy?", text, {"": panels} if panels else {}, tables)


def _how_easy(summary: Learnability, runs: Sequence[Run]) -> Section:
    values = {name: [run.measures["learnability"] for run in each] for name, each in by_network(runs).items()}
    means = ", ".join(f"{mean:.3f} in {name}" for name, mean in summary.learnability.items())
    text = f"The share of samples at each learnability, the mean over a network's runs. Mean learnability: {means}."
    return Section("learnability", "How easy are the samples?", text, {"": [histogram(values, summary.epochs + 1)]})


def _sheet(summary: Learnability, runs: Sequence[Run]) -> Section:
    values, margins = (np.mean([*mean_over_seeds(runs, name).values()], axis=0) for name in ("learnability", "aum"))
    wrong = np.isin(runs[0].ids, sources.flipped(summary.data))
    order = np.lexsort((margins, values))
    sheet = ContactSheet(runs[0].ids, runs[0].labels, values, order, wrong, sources.listing(summary.data))
    text = (
        "Below each image stand its id and its learnability, the mean over seeds and networks. The mean margin orders "
        "images of the same learnability. Each row is one label in training."
        f"{' A frame marks a flipped label.' if summary.noise else ''}"
    )
    return Section("sheet", "The easiest and the hardest images", text, {"": sheet.panels()}, columns=2)


def _noise(summary: Learnability) -> Section:
    if not summary.noise:
        none = "No label of this study's data was flipped; `data.label_noise` flips some."
        return Section("noise", NOISE, none)
    panels = []
    for name, label in (("auc", "area under the ROC curve"), ("precision", "precision at the true count")):
        series: dict[str, dict[str, Estimate]] = {}
        for network in summary.networks:
            detections = [d for d in summary.noise.detections if d.network == network and d.seed is not None]
            by_measure: dict[str, list[float]] = {}
            for each in detections:
                by_measure.setdefault(each.measure, []).append(getattr(each, name))
            series[network] = {measure: Estimate.of(values) for measure, values in by_measure.items()}
        share = summary.noise.flipped / summary.noise.samples
        panels.append(dots(label, label, series, 0.5 if name == "auc" else share))
    text = (
        f"{summary.noise.flipped:,} of {summary.noise.samples:,} training labels were flipped to another class before "
        "training. Does a measure rank these samples as the hardest? Points are means over seeds with their 95 % "
        "interval. The dotted line is chance. Precision at the true count is the share of flipped samples among the k "
        "hardest, where k samples are flipped."
    )
    tables = [each for each in (noise_table(summary), found_again_table(summary)) if each.rows]
    return Section("noise", NOISE, text, {"": panels}, tables, columns=2)


def _forgotten(summary: Learnability) -> Section:
    if not summary.forgotten:
        none = "No trial of this study recorded its samples; `records.finetune=during` records them."
        return Section("forgotten", FORGOTTEN, none)
    shares: dict[str, dict[str, Estimate]] = {}
    areas: dict[str, dict[str, Estimate]] = {}
    for each in summary.forgotten:
        shares.setdefault(each.stage, {})[_row(summary, each)] = each.share
        if each.auc:
            areas.setdefault(each.stage, {})[_row(summary, each)] = each.auc
    panels = [dots("share forgotten", "of what the dense network had right", shares)]
    if areas:
        panels.append(dots("are forgotten samples hard?", "AUC of low learnability for being forgotten", areas, 0.5))
    text = (
        "How many of the training samples that the dense network had right in its last epoch does the pruned network "
        "have wrong, before and after recovery? Do these samples have low learnability? Points are means over seeds "
        "with their 95 % interval. The dotted line is chance. A search counts with its best allocation for each seed."
    )
    return Section("forgotten", FORGOTTEN, text, {"": panels}, [forgotten_table(summary)], columns=2)


def _row(summary: Learnability, each: Forgotten) -> str:
    """Name a treatment by what differs from the other treatments."""
    parts = [each.network] if len(summary.networks) > 1 else []
    parts += [each.treatment] if len({other.treatment for other in summary.forgotten}) > 1 else []
    return ", ".join([*parts, f"{each.policy} {each.sparsity:g}"])
