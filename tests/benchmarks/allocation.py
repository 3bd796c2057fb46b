"""Capacity against the published rules: `python -m tests.benchmarks.allocation PICTURE STUDY_FOLDER...`.

For each study folder it prints the accuracy of every policy at every sparsity, the gap of every policy to uniform, and
the gap of capacity to the published rules. Gaps are paired by dense network. It draws all studies side by side.
"""

import math
import sys
from collections.abc import Mapping

from matplotlib.figure import Figure

from search.comparison.compare import Estimate
from search.figures.chart import styles
from search.results.folder import StudyFolder

RIVALS = ("lamp", "erk", "igq", "rdp")
OURS = "capacity"
Accuracy = Mapping[tuple[str, float, int], float]  # policy, sparsity, seed -> accuracy in %


def read(folder: str) -> tuple[str, Accuracy]:
    """Return a title of the study and the best validation accuracies of its finished trials."""
    folder_of_study = StudyFolder.open(folder)
    study, order = folder_of_study.study, folder_of_study.study.policies.index
    rows = sorted((row for row in folder_of_study.rows() if row.status == "done"), key=lambda row: order(row.policy))
    epochs, recalibrated = study.finetune.epochs, "recalibrated" if study.recalibrate else "one-shot"
    title = f"{rows[0].model}, width {rows[0].width:g}, {recalibrated}"
    title += f", {epochs} epoch{'s' if epochs > 1 else ''} of fine-tuning" if epochs else ""
    title += ", channels at matched MACs" if study.budget == "macs" else ""
    return title, {(row.policy, row.sparsity, row.seed): 100 * (row.best_val_accuracy or 0.0) for row in rows}


def in_words(estimate: Estimate) -> str:
    """Write a mean and the half-width of its interval, both in percentage points."""
    half = f" ±{estimate.high - estimate.mean:.1f}" if estimate.high is not None else ""
    return f"{estimate.mean:.1f}{half}"


def report(title: str, accuracy: Accuracy) -> None:
    """Print one study as Markdown."""
    policies = list(dict.fromkeys(policy for policy, _, _ in accuracy))
    sparsities = sorted({sparsity for _, sparsity, _ in accuracy})
    seeds = sorted({seed for _, _, seed in accuracy})
    headline = [s for s in sparsities if 0.3 <= s <= 0.95]
    mean = {(p, s): sum(accuracy[p, s, k] for k in seeds) / len(seeds) for p in policies for s in sparsities}
    print(f"\n**{title}**, seeds {seeds}\n")
    print(
        "| policy |",
        " | ".join(f"{s:g}" for s in sparsities),
        f"| mean gap to uniform, {headline[0]:g} to {headline[-1]:g} | largest |",
    )
    print("|---" * (len(sparsities) + 3) + "|")
    for policy in policies:
        gaps = [
            sum(accuracy[policy, s, k] - accuracy["uniform", s, k] for s in headline) / len(headline) for k in seeds
        ]
        largest = max(mean[policy, s] - mean["uniform", s] for s in headline)
        cells = " | ".join(in_words(Estimate.of([accuracy[policy, s, k] for k in seeds])) for s in sparsities)
        print(f"| {policy} | {cells} | {in_words(Estimate.of(gaps))} | {largest:.1f} |")
    rivals = [policy for policy in RIVALS if policy in policies]
    print(f"\n{OURS} minus a rival, mean over all sparsities, paired by dense network:")
    for rival in rivals:
        ahead = [sum(accuracy[OURS, s, k] - accuracy[rival, s, k] for s in sparsities) / len(sparsities) for k in seeds]
        print(f"- {rival}: {in_words(Estimate.of(ahead))}")
    best = [
        sum(accuracy[OURS, s, k] - max(accuracy[r, s, k] for r in rivals) for s in sparsities) / len(sparsities)
        for k in seeds
    ]
    print(f"- the best rival of each network and sparsity: {in_words(Estimate.of(best))}")
    print(f"\n{OURS} minus the rival with the best mean at each sparsity:")
    for s in sparsities:
        rival = max(rivals, key=lambda r: mean[r, s])
        print(
            f"- {s:g}: {in_words(Estimate.of([accuracy[OURS, s, k] - accuracy[rival, s, k] for k in seeds]))} ({rival})"
        )


def draw(studies: Mapping[str, Accuracy]) -> Figure:
    """Draw accuracy against sparsity: one line for each policy, with the range over dense networks as a band."""
    lines = math.ceil(len(studies) / 2)
    figure = Figure(figsize=(11, 4 * lines), layout="constrained")
    axes = figure.subplots(lines, 2, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, (title, accuracy) in zip(axes, studies.items(), strict=False):
        sparsities = sorted({sparsity for _, sparsity, _ in accuracy})
        seeds = sorted({seed for _, _, seed in accuracy})
        for policy, style in styles(list(dict.fromkeys(policy for policy, _, _ in accuracy))).items():
            reached = [[accuracy[policy, s, k] for k in seeds] for s in sparsities]
            look = {**style.line, "linewidth": 2.5 if policy == OURS else 1.2}
            axis.plot(sparsities, [sum(v) / len(v) for v in reached], label=policy, **look)
            axis.fill_between(
                sparsities, [min(v) for v in reached], [max(v) for v in reached], color=style.hue, alpha=0.12, lw=0
            )
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("sparsity (fraction removed)")
        axis.label_outer()
        axis.set_ylim(0, 100)
        axis.grid(alpha=0.3)
    figure.supylabel("validation accuracy (%)")
    axes[0].legend(fontsize=9)
    return figure


def main(picture: str, folders: list[str]) -> None:
    """Print a report of each study, and draw all studies."""
    studies = dict(map(read, folders))
    for title, accuracy in studies.items():
        report(title, accuracy)
    draw(studies).savefig(picture, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
