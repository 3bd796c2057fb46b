"""The gates section of the page, against the stored records of their training."""

from pathlib import Path
from statistics import fmean
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from search.comparison.compare import compare
from search.figures.chart import inline, to_file
from search.figures.section import Section, sheet
from search.report.sections.evidence import gather
from search.report.sections.gates import gates_section
from search.results.folder import StudyFolder
from search.study.spec import StudySpec
from tests.search.in_process import run_in_process
from tests.trainables.trials import DATA
from trainables.artifacts.record import GatingRecord
from trainables.checkpoints import artifact_store, checkpoint
from trainables.checkpoints.checkpoint import Checkpoint
from trainables.pruning.gates import GatesReport, is_open

STUDY = StudySpec.model_validate(
    {
        "name": "gated",
        "data": DATA,
        "width": 0.5,
        "dense": {"epochs": 2},
        "recalibrate": 2,
        "granularity": "channel",
        "criteria": ["l1"],
        "policies": ["uniform", "gates-joint"],
        "sparsities": [0.4, 0.7],
        "seeds": [0, 1],
        "finetune": {"epochs": 3, "batch_size": 32},
        "gates": {"epochs": 3, "lr": 0.02, "strength": 2.0},
    }
)
PARTS = ["block1.conv", "block2.conv", "block3.conv", "block4.conv", "hidden"]  # from input to output


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    return run_in_process(tmp_path_factory.mktemp("gated"), STUDY)


def section_of(*folders: StudyFolder) -> Section:
    return gates_section(gather(compare(folders), folders))


def stored(folder: StudyFolder, sparsity: str) -> list[Checkpoint]:
    """Gates as they were stored, one for each seed."""
    trials = [t for t in STUDY.trials() if t.policy == "gates-joint" and f"{t.sparsity:g}" == sparsity]
    places = [artifact_store.find(folder.folder.parent, "gates", trial.gating.key()) for trial in trials]
    return [checkpoint.load(place) for place in places if place is not None]


def reports(folder: StudyFolder, sparsity: str, epoch: int) -> list[GatesReport]:
    """The report of an epoch in the record of each seed."""
    return [saved.read(GatingRecord).gates[epoch - 1] for saved in stored(folder, sparsity)]


def test_tables_hold_means_of_what_was_stored(gated: StudyFolder) -> None:
    counts, plan = section_of(gated).tables
    assert [row[:2] for row in counts.rows] == [(part, sparsity) for sparsity in ("0.4", "0.7") for part in PARTS]
    for part, sparsity, gates, *shown in counts.rows:
        for place, value in enumerate(shown, 1):
            mean = fmean(each.open[part] for each in reports(gated, sparsity, place))
            assert float(value) == pytest.approx(mean, abs=0.06)
        values = [saved.tensors["gates"][part] for saved in stored(gated, sparsity)]
        assert len(values) == 2
        assert {len(mine) for mine in values} == {int(gates)}
        assert float(shown[-1]) == pytest.approx(fmean(int(is_open(mine).sum()) for mine in values), abs=0.06)
    assert [row[:2] for row in plan.rows] == [(sparsity, epoch) for sparsity in ("0.4", "0.7") for epoch in "123"]
    for sparsity, epoch, cost, target, flips, seeds in plan.rows:
        now = reports(gated, sparsity, int(epoch))
        assert float(cost) == pytest.approx(100 * fmean(each.ratio for each in now), abs=0.006)
        assert float(flips) == pytest.approx(fmean(each.flips for each in now), abs=0.06)
        assert (target, seeds) == ({"0.4": "60", "0.7": "30"}[sparsity], "0, 1")


def test_charts_draw_what_the_tables_say(gated: StudyFolder) -> None:
    section = section_of(gated)
    counts, plan = section.tables
    ((name, panels),) = section.groups.items()
    assert name == "digits: small_cnn x 0.5, gates for params"
    titles = ["sparsity 0.4: gates open (%)", "sparsity 0.7: gates open (%)", "cost left", "flips"]
    assert [panel.title for panel in panels] == titles
    axes = Figure().subplots(1, 4)
    for panel, axis in zip(panels, axes, strict=True):
        panel.draw(axis)
    for axis, sparsity in zip(axes, ("0.4", "0.7"), strict=False):
        rows = [row for row in counts.rows if row[1] == sparsity]
        shares = [[100 * float(value) / int(gates) for value in shown] for _, _, gates, *shown in rows]
        assert np.allclose(axis.images[0].get_array(), shares)
        assert [label.get_text() for label in axis.get_yticklabels()] == PARTS
        at_end = [text.get_text() for text in axis.texts if text.get_position()[0] > 1]
        assert at_end == ["at end", *(f"{share[-1]:.0f}" for share in shares)]
    for axis, column in ((axes[2], 2), (axes[3], 4)):
        lines = [line.get_ydata() for line in axis.lines if line.get_linewidth() > 1 and len(line.get_xdata()) == 3]
        shown = [[float(row[column]) for row in plan.rows if row[0] == sparsity] for sparsity in ("0.4", "0.7")]
        assert np.allclose(lines, shown, atol=0.006)
    for panel in panels:
        ElementTree.fromstring(inline(panel, "panel", 1.0))
    assert to_file(sheet(section), "svg") == to_file(sheet(section), "svg")


def test_gates_of_other_settings_are_not_averaged_with_them(gated: StudyFolder) -> None:
    settings = {"name": "other", "criteria": ["gates"], "policies": ["uniform"], "seeds": [0], "sparsities": [0.4]}
    slower = {"gates": STUDY.gates.model_copy(update={"lr": 0.01})}
    other = StudySpec.model_validate(STUDY.model_dump() | settings | slower)
    section = section_of(gated, run_in_process(Path(gated.folder.parent.uri), other))
    first, second = section.groups
    assert second.startswith(f"{first} (")
    assert [len(panels) for panels in section.groups.values()] == [4, 3]
    assert section.tables[:2] == section_of(gated).tables
    assert [row[-1] for row in section.tables[3].rows] == ["0", "0", "0"]
