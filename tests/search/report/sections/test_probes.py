"""The probes section of the page, against the stored probes and the networks of the trials."""

from pathlib import Path
from statistics import fmean
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from search.comparison.compare import compare
from search.figures.chart import inline, to_file
from search.figures.section import Section, sheet
from search.report.sections.evidence import gather
from search.report.sections.probes import probes_section
from search.results.folder import StudyFolder
from search.study.spec import StudySpec
from tests.search.in_process import run_in_process
from tests.trainables.trials import DATA, newest
from trainables.artifacts.probes import Curve, load_probes
from trainables.checkpoints import artifact_store

STUDY = StudySpec.model_validate(
    {
        "name": "probed",
        "models": ["resnet20"],
        "width": 0.25,
        "data": DATA,
        "dense": {"epochs": 2},
        "granularity": "block",
        "criteria": ["probe", "random"],
        "policies": ["uniform", "by-score"],
        "sparsities": [0.3, 0.5],
        "seeds": [0, 1],
        "recalibrate": 0,
        "finetune": {"epochs": 0},
        "probe": 150,
    }
)


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    return run_in_process(tmp_path_factory.mktemp("probed"), STUDY)


def section_of(*folders: StudyFolder) -> Section:
    return probes_section(gather(compare(folders), folders))


def curves(folder: StudyFolder) -> list[Curve]:
    """Probes as they were stored, one curve for each seed."""
    keys = dict.fromkeys(trial.probing.key() for trial in STUDY.trials())
    places = [artifact_store.find(folder.folder.parent, "probe", key) for key in keys]
    return [load_probes(place)[0] for place in places if place is not None]


def removed(folder: StudyFolder, policy: str, sparsity: str) -> list[set[str]]:
    """Blocks that the network of each seed's trial is without, as its checkpoint says."""
    asked = ("probe", policy, sparsity)
    trials = [t for t in folder.study.trials() if (t.criterion, t.policy, f"{t.sparsity:g}") == asked]
    built = [newest(folder.trial(trial.key())).record["architecture"] for trial in trials]
    return [{*architecture["removed"], *architecture["projections"]} for architecture in built]


def test_the_table_holds_what_the_probes_read_and_what_is_kept(probed: StudyFolder) -> None:
    section, (one, other) = section_of(probed), curves(probed)
    assert [*section.groups] == ["digits: resnet20 x 0.25, blocks by probe"]  # and none of the blocks kept by chance
    (table,) = section.tables
    assert [row[0] for row in table.rows] == [read.name for read in one]
    gone = {
        f"{policy} {sparsity}": removed(probed, policy, sparsity)
        for sparsity in ("0.3", "0.5")
        for policy in ("uniform", "by-score")
    }
    assert table.head[5:] == tuple(gone)
    for row, *read in zip(table.rows, one, other, strict=True):
        block, features, train, val, spread, *kept = row
        accuracies = [100 * each.val_accuracy for each in read]
        assert float(train) == pytest.approx(100 * fmean(each.train_accuracy for each in read), abs=0.006)
        assert float(val) == pytest.approx(fmean(accuracies), abs=0.006)
        assert spread == f"{min(accuracies):.2f} to {max(accuracies):.2f}"
        assert int(features) == read[0].features
        assert kept == [f"{sum(block not in names for names in seeds)} of 2" for seeds in gone.values()]
    assert {cell for row in table.rows for cell in row[5:]} > {"0 of 2", "2 of 2"}


def test_the_chart_draws_the_curve_and_marks_what_is_kept(probed: StudyFolder) -> None:
    section = section_of(probed)
    (table,), ((panel,),) = section.tables, section.groups.values()
    axis = Figure().subplots()
    panel.draw(axis)
    assert np.allclose(axis.lines[0].get_ydata(), [float(row[3]) for row in table.rows], atol=0.006)
    assert [label.get_text() for label in axis.get_xticklabels()] == [row[0] for row in table.rows]
    assert [text.get_text() for text in axis.texts] == [*table.head[5:]]
    marks = [squares for squares in axis.collections if isinstance(squares, PathCollection)]
    for squares, column in zip(marks, zip(*(row[5:] for row in table.rows), strict=True), strict=True):
        assert np.allclose(squares.get_sizes() / 20, [int(cell[0]) / 2 for cell in column])
    heights = [np.asarray(squares.get_offsets())[0, 1] for squares in marks]
    assert heights == sorted(heights, reverse=True)
    assert max(heights) < 0  # below the curve
    ElementTree.fromstring(inline(panel, "panel", 1.0))
    assert to_file(sheet(section), "svg") == to_file(sheet(section), "svg")


def test_one_chart_stands_for_all_recoveries(probed: StudyFolder) -> None:
    settings = {"name": "both", "criteria": ["probe"], "recoveries": ["finetune", "distill"], "policies": ["uniform"]}
    folder = run_in_process(Path(probed.folder.parent.uri), StudySpec.model_validate(STUDY.model_dump() | settings))
    assert len({row.setting for row in folder.rows()}) == 2
    section = section_of(folder)
    assert len(section.groups) == len(section.tables) == 1
    whole = section_of(probed).tables[0].rows
    assert [row[5] for row in section.tables[0].rows] == [row[5] for row in whole]


def test_a_projection_is_not_the_block_that_it_stands_for(probed: StudyFolder) -> None:
    settings = {"name": "projected", "models": ["small_cnn"], "granularity": "projected-block", "criteria": ["probe"]}
    few = {"policies": ["by-score"], "sparsities": [0.75], "seeds": [0]}
    study = StudySpec.model_validate(STUDY.model_dump() | settings | few)
    folder = run_in_process(Path(probed.folder.parent.uri), study)
    (gone,) = removed(folder, "by-score", "0.75")
    assert "block3" in gone  # whose convolution is called as the projection's
    assert folder.rows()[0].layers["block3.conv"] > 0
    (table,) = section_of(folder).tables
    assert {row[0] for row in table.rows if row[-1] == "0 of 1"} == gone
