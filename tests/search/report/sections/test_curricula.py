"""The curricula section of the page, against the comparison."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from search.comparison.compare import Comparison, compare
from search.figures.chart import inline, to_file
from search.figures.section import Section, figures, sheet
from search.report.page import page
from search.report.provenance import report_provenance
from search.report.sections.curricula import curricula_section
from search.report.sections.evidence import gather
from search.results.folder import StudyFolder
from tests.search.browser import Tab
from tests.search.comparison.test_compare import study_of
from tests.search.comparison.test_controls import DENSE, DENSE_RANDOM, EASY, NONE, RANDOM, followed
from tests.search.report.test_page import LAID_OUT, browsers, in_browser
from tests.search.reports import study_of as page_study
from tests.search.reports import trial_rows

AHEAD = {NONE: 0.0, EASY: 0.03, RANDOM: 0.01, DENSE: 0.02, DENSE_RANDOM: -0.02}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """Trials of two policies, two sparsities and three seeds, each curriculum ahead by what `AHEAD` says and noise."""
    rng = np.random.default_rng(0)
    outcomes = [
        followed(curriculum, seed, 0.7 - 0.2 * sparsity + ahead + rng.normal(0, 0.003), policy, sparsity=sparsity)
        for curriculum, ahead in AHEAD.items()
        for policy in ("uniform", "capacity")
        for sparsity in (0.5, 0.9)
        for seed in range(3)
    ]
    made = study_of(tmp_path_factory.mktemp("curricula") / "s", outcomes, curricula=["easy-first", DENSE])
    made.write_table()
    return made


@pytest.fixture(scope="module")
def comparison(folder: StudyFolder) -> Comparison:
    return compare([folder])


def section_of(comparison: Comparison, folder: StudyFolder) -> Section:
    return curricula_section(gather(comparison, [folder]))


def test_the_table_holds_each_gap_and_names_each_control(comparison: Comparison, folder: StudyFolder) -> None:
    (table,) = section_of(comparison, folder).tables
    shown_rows = {row[1:5:2] + row[2:3] + row[4:5]: dict(zip(table.head, row, strict=True)) for row in table.rows}
    rows = [row for row in comparison.rows if row.curriculum != "standard"]
    assert len(shown_rows) == len(table.rows) == len(rows) == 2 * 2 * 4
    for row in rows:
        (shown,) = (
            each
            for each in shown_rows.values()
            if (each["policy"], each["curriculum"], each["sparsity"])
            == (row.policy, row.curriculum, f"{row.sparsity:g}")
        )
        assert row.gap_to_standard is not None
        assert shown["ahead of none"].startswith(f"{100 * row.gap_to_standard.mean:+.1f} ±")
        if row.gap_to_control:
            half = 100 * ((row.gap_to_control.high or 0) - row.gap_to_control.mean)
            assert shown["ahead of control"] == f"{100 * row.gap_to_control.mean:+.1f} ±{half:.1f}"
            assert shown["control"] == row.curriculum.replace("easy-first", "random order")
        else:
            assert shown["ahead of control"] == shown["control"] == ""


def test_charts_draw_what_the_comparison_says(comparison: Comparison, folder: StudyFolder) -> None:
    section = section_of(comparison, folder)
    ((name, panels),) = section.groups.items()
    assert name == "digits: small_cnn, weights by magnitude, finetune"
    rivals = ("its control", "no curriculum")
    titles = [f"{policy}: ahead of {rival}" for policy in ("uniform", "capacity") for rival in rivals]
    assert [panel.title for panel in panels] == titles
    axes = Figure().subplots(1, 4)
    for panel, axis in zip(panels, axes, strict=True):
        panel.draw(axis)
        names = [label.get_text().removesuffix(" *") for label in axis.get_yticklabels()]
        policy, field = (
            panel.title.partition(":")[0],
            "gap_to_control" if "control" in panel.title else "gap_to_standard",
        )
        shown = [line for line in axis.lines if line.get_marker() not in ("None", "")]
        assert len(shown) == 2  # a line of markers for each sparsity
        assert len({line.get_marker() for line in shown}) == 2  # which are told apart without colour
        for line, sparsity in zip(shown, (0.5, 0.9), strict=True):
            gaps = {
                row.curriculum: getattr(row, field)
                for row in comparison.rows
                if (row.policy, row.sparsity) == (policy, sparsity) and getattr(row, field)
            }
            assert sorted(gaps) == sorted(names)
            assert np.allclose(line.get_xdata(), [100 * gaps[name].mean for name in names])
            low, high = axis.get_xlim()
            assert all(low < place < high for place in (0, *line.get_xdata()))
            ends = [sorted(bar.get_xdata()) for bar in axis.lines if len(bar.get_xdata()) == 2]
            for name in names:
                assert np.isclose(ends, [100 * gaps[name].low, 100 * gaps[name].high]).all(axis=1).any()
        ElementTree.fromstring(inline(panel, "panel", 1.0))
    assert to_file(sheet(section), "svg") == to_file(sheet(section), "svg")


def test_without_a_curriculum_it_says_so(tmp_path: Path) -> None:
    plain = page_study(tmp_path, trial_rows(searched=0, layers=2))
    section = curricula_section(gather(compare([plain]), [plain]))
    assert (section.groups, section.tables) == ({}, ())
    assert "No trial of these studies follows a curriculum" in section.text


@pytest.fixture(scope="module")
def written(comparison: Comparison, folder: StudyFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of these sections alone: none of the others has its charts here."""
    out = tmp_path_factory.mktemp("page")
    evidence = gather(comparison, [folder])
    section = curricula_section(evidence)
    (out / "index.html").write_text(page(evidence, [section], report_provenance(evidence)))
    for name, content in figures([section], "made up").items():
        (out / name).write_bytes(content)
    return out


@browsers
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_the_section_at_any_width(written: Path, width: int) -> None:
    with Image.open(written / "curricula.png") as picture:
        assert picture.width > 700
    ElementTree.parse(written / "curricula.svg")

    async def look(page: Tab) -> None:
        await page.show(written / "index.html", width, dark=False)
        await page.evaluate(LAID_OUT)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        charts = await page.evaluate(
            "[...document.querySelectorAll('#curricula svg')].map(svg => [svg.getBoundingClientRect().right, "
            "...[...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect()).flatMap("
            "box => [box.left, box.right])])"
        )
        assert len(charts) == 4
        for chart in charts:
            assert len(chart) > 20
            assert all(0 <= edge <= width for edge in chart)

    assert in_browser(look).complaints == []
