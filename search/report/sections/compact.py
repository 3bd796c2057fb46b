"""Where the dense network is most compact: how much of each part can go alone, from the profiles of a study."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.axes import Axes

from search.comparison.wording import of_dense
from search.figures.chart import INK, SMALL, Panel
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence
from search.results.folder import StudyFolder
from search.results.names import curriculum_name, model_name
from trainables.allocation.profiles import FALLS, Profile, tolerated
from trainables.artifacts.profile import load_profile
from trainables.checkpoints import artifact_store
from trainables.spec import ProfileSpec

FALL_HUES = ("#0072b2", "#b07c00", "#d55e00")  # of FALLS
FALL_MARKERS = ("o", "s", "^")


def compact_section(evidence: Evidence) -> Section:
    """What each part of the dense network can lose alone: where its representation is most compact."""
    title = "Where the representation is most compact"
    profiles = {name: found for folder in evidence.folders for name, found in _profiles(folder).items()}
    if not profiles:
        return Section(
            "compact",
            title,
            "No policy of these studies looks at a profile, so none was measured here; `howcompact profile CHECKPOINT` "
            "measures one. What each policy made of the layers is shown above.",
        )
    groups, tables = {}, []
    for name, found in profiles.items():
        order = next((list(t.parts) for t in evidence.trials if set(t.parts) == set(found[0].accuracy)), None)
        limits = _limits(found, order or list(found[0].accuracy))
        groups[name] = [_limits_panel(limits, len(found))]
        tables.append(_limits_table(name, limits))
    text = (
        "How much of one part can go, the others whole and nothing retrained, before accuracy on calibration samples "
        f"falls by {', '.join(map(str, FALLS[:-1]))} and {FALLS[-1]} points: mean over dense networks (marker) and "
        "their range (bar). The further to the right, the more compact is what the part has learnt."
    )
    return Section("compact", title, text, groups, tables, columns=2)


def _profiles(folder: StudyFolder) -> dict[str, list[Profile]]:
    """Profiles of a study's dense networks that its storage has, by what they are of; one for each seed."""
    specs: dict[str, ProfileSpec] = {cell.profile.key(): cell.profile for cell in folder.study.cells()}
    found: dict[str, list[Profile]] = defaultdict(list)
    for key, spec in specs.items():
        place = artifact_store.find(folder.folder.parent, "profile", key)
        if place is not None:
            network = model_name(spec.dense.model, spec.dense.width)
            name = f"{spec.dense.data.name}: {network}, {spec.granularity}s by {spec.criterion}"
            name = ", ".join(filter(None, (name, of_dense(curriculum_name(spec.dense.curriculum)))))
            found[name].append(load_profile(place)[0])
    return found


def _limits(profiles: Sequence[Profile], parts: Sequence[str]) -> dict[str, dict[int, list[float]]]:
    """Share in % of each part that can go before accuracy falls by so many points, for each profile."""
    return {
        part: {
            fall: [100 * tolerated(profile.levels, profile.accuracy[part], fall / 100) for profile in profiles]
            for fall in FALLS
        }
        for part in parts
    }


def _limits_panel(limits: Mapping[str, Mapping[int, Sequence[float]]], networks: int) -> Panel:
    def draw(axis: Axes) -> None:
        shift = dict(zip(FALLS, (-0.22, 0.0, 0.22), strict=True))
        for fall, hue, marker in zip(FALLS, FALL_HUES, FALL_MARKERS, strict=True):
            means = [fmean(limits[part][fall]) for part in limits]
            places = [place + shift[fall] for place in range(len(limits))]
            spans = [(min(limits[part][fall]), max(limits[part][fall])) for part in limits]
            axis.hlines(places, *zip(*spans, strict=True), color=hue, lw=1.2, alpha=0.5)
            label = f"{fall} point{'s' if fall > 1 else ''}"
            axis.plot(means, places, marker, color=hue, markersize=3.8, markeredgewidth=0, label=label)
        axis.set_yticks(range(len(limits)), list(limits), fontsize=6.5)
        axis.set_ylim(len(limits) - 0.4, -0.6)
        axis.set_xlim(0, 102)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel("can go alone (% of the part's units)")
        legend = axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=SMALL, frameon=False,
                             handletextpad=0.1, columnspacing=0.8, borderaxespad=0.1)  # fmt: skip
        for text in legend.get_texts():
            text.set_color(INK)

    most = {fall: max(limits, key=lambda part: fmean(limits[part][fall])) for fall in FALLS}
    told = "; ".join(f"most compact at {fall} points: {part}" for fall, part in most.items())
    room = 8 + 3.9 * max(map(len, limits))
    height = 66 + 13.0 * len(limits)
    return Panel(f"before accuracy falls by ({networks} networks)", told, draw, height=height, left=room, top=30)


def _limits_table(name: str, limits: Mapping[str, Mapping[int, Sequence[float]]]) -> Table:
    most = {fall: max(limits, key=lambda part: fmean(limits[part][fall])) for fall in FALLS}
    rows = [
        (part, *(f"{fmean(found[fall]):.1f}{' *' if most[fall] == part else ''}" for fall in FALLS))
        for part, found in limits.items()
    ]
    head = ("part", *(f"{fall} point{'s' if fall > 1 else ''}" for fall in FALLS))
    return Table(f"% of a part that can go before accuracy falls by so much; * the most compact, {name}", head, rows)
