"""Where the dense network is most compact: how much of each part can be removed alone, by the profiles of a study."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.axes import Axes

from search.comparison.wording import of_dense
from search.figures.chart import INK, SMALL, Panel
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence
from search.results.folder import StudyFolder
from search.results.names import curriculum_name, data_name, model_name
from search.results.scale import Scale, scale_of
from trainables.allocation.profiles import FALLS, Profile, tolerated
from trainables.artifacts.profile import load_profile
from trainables.checkpoints import artifact_store
from trainables.counts import quantity
from trainables.spec import ProfileSpec

FALL_HUES = ("#0072b2", "#b07c00", "#d55e00")  # one for each of FALLS
FALL_MARKERS = ("o", "s", "^")


def compact_section(evidence: Evidence) -> Section:
    """How much of each part of the dense network can be removed alone."""
    title = "Where the representation is most compact"
    profiles, scales = dict[str, list[Profile]](), dict[str, Scale]()
    for folder in evidence.folders:
        found_here = _profiles(folder)
        profiles |= found_here
        scales |= dict.fromkeys(found_here, scale_of(folder.study.data.task.metric.name))
    if not profiles:
        return Section(
            "compact",
            title,
            "No policy of these studies uses a profile, so none was measured. "
            "`howcompact profile CHECKPOINT` measures one.",
        )
    groups, tables = {}, []
    for name, found in profiles.items():
        order = next((list(t.parts) for t in evidence.trials if set(t.parts) == set(found[0].accuracy)), None)
        limits = _limits(found, order or list(found[0].accuracy), scales[name])
        groups[name] = [_limits_panel(limits, len(found), scales[name])]
        tables.append(_limits_table(name, limits, scales[name]))
    steps = f"{', '.join(map(str, FALLS[:-1]))} and {FALLS[-1]}"
    fallen = " or ".join(sorted({scale.fallen(steps) for scale in scales.values()}))
    text = (
        f"How much of one part can be removed before {fallen}, on calibration samples. All other parts stay whole, and "
        "nothing is retrained. Markers are means over dense networks, bars are their ranges. Further to the right "
        "means more compact."
    )
    return Section("compact", title, text, groups, tables, columns=2)


def _profiles(folder: StudyFolder) -> dict[str, list[Profile]]:
    """Load the profiles that the storage of a study has: name of a network -> one profile for each seed."""
    specs: dict[str, ProfileSpec] = {cell.profile.key(): cell.profile for cell in folder.study.cells()}
    profiles: dict[str, list[Profile]] = defaultdict(list)
    for key, spec in specs.items():
        stored = artifact_store.find(folder.folder.parent, "profile", key)
        if stored is not None:
            network = model_name(spec.dense.model, spec.dense.width)
            name = f"{data_name(spec.dense.data)}: {network}, {spec.granularity}s by {spec.criterion}"
            name = ", ".join(filter(None, (name, of_dense(curriculum_name(spec.dense.curriculum)))))
            profiles[name].append(load_profile(stored)[0])
    return profiles


def _limits(profiles: Sequence[Profile], parts: Sequence[str], scale: Scale) -> dict[str, dict[int, list[float]]]:
    """Give the share of each part in % that can be removed: part -> one of FALLS -> profiles."""

    def most(profile: Profile, part: str, points: int) -> float:
        return 100 * tolerated(profile.levels, profile.accuracy[part], scale.fall(points, profile.dense_accuracy))

    return {part: {points: [most(each, part, points) for each in profiles] for points in FALLS} for part in parts}


def _limits_panel(limits: Mapping[str, Mapping[int, Sequence[float]]], networks: int, scale: Scale) -> Panel:
    def draw(axis: Axes) -> None:
        shift = dict(zip(FALLS, (-0.22, 0.0, 0.22), strict=True))
        for fall, hue, marker in zip(FALLS, FALL_HUES, FALL_MARKERS, strict=True):
            means = [fmean(limits[part][fall]) for part in limits]
            heights = [row + shift[fall] for row in range(len(limits))]
            spans = [(min(limits[part][fall]), max(limits[part][fall])) for part in limits]
            axis.hlines(heights, *zip(*spans, strict=True), color=hue, lw=1.2, alpha=0.5)
            axis.plot(means, heights, marker, color=hue, markersize=3.8, markeredgewidth=0, label=scale.step(fall))
        axis.set_yticks(range(len(limits)), list(limits), fontsize=6.5)
        axis.set_ylim(len(limits) - 0.4, -0.6)
        axis.set_xlim(0, 102)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel("removed from this part alone (% of its units)")
        legend = axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=SMALL, frameon=False,
                             handletextpad=0.1, columnspacing=0.8, borderaxespad=0.1)  # fmt: skip
        for text in legend.get_texts():
            text.set_color(INK)

    most = {fall: max(limits, key=lambda part: fmean(limits[part][fall])) for fall in FALLS}
    description = "; ".join(f"most compact at {scale.step(fall)}: {part}" for fall, part in most.items())
    left = 8 + 3.9 * max(map(len, limits))
    height = 66 + 13.0 * len(limits)
    title = f"before {scale.falls} ({quantity(networks, 'network')})"
    return Panel(title, description, draw, height=height, left=left, top=30)


def _limits_table(name: str, limits: Mapping[str, Mapping[int, Sequence[float]]], scale: Scale) -> Table:
    most = {fall: max(limits, key=lambda part: fmean(limits[part][fall])) for fall in FALLS}
    rows = [
        (part, *(f"{fmean(shares[fall]):.1f}{' *' if most[fall] == part else ''}" for fall in FALLS))
        for part, shares in limits.items()
    ]
    head = ("part", *map(scale.step, FALLS))
    return Table(
        f"% of a part that can be removed before {scale.metric} gets that much worse; * the most compact part; {name}",
        head,
        rows,
    )
