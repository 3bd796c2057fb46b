"""The page and its files: what they show, and how a real browser shows them."""

import asyncio
import itertools
import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from search.comparison import Comparison, compare
from search.report import SECTIONS, write_report
from search.report.chart import HUES, _apart, styles
from search.report.compact import compact_section
from search.report.effort import progress_section
from search.report.evidence import gather
from search.report.made import run_command
from search.report.pareto import front
from search.results import TABLE, StudyFolder, TrialRow, to_parquet, to_table
from search.study import StudySpec, parse_study, shipped
from tests.search.browser import CHROMIUM, Tab, tab
from trainables import artifacts, checkpoints
from trainables.allocation.profiles import Profile
from trainables.allocation.profiles import to_parquet as profile_to_parquet
from trainables.storage import Folder

POLICIES = ("uniform", "capacity", "erk", "lamp")
DENSE = 100_000


def trial_row(policy: str, sparsity: float, seed: int, accuracy: float, layers: int, **given: object) -> TrialRow:
    names = [f"block{i // 2 + 1}.conv{i % 2 + 1}" for i in range(layers)]
    rng = np.random.default_rng([seed, round(100 * sparsity), len(policy)])
    density = dict(zip(names, rng.uniform(0, 2 * (1 - sparsity), layers).tolist(), strict=True))
    known = {
        "trial": f"{policy}-{sparsity}-{seed}",
        "cell": f"cell-{sparsity}-{seed}",
        "setting": "setting",
        "policy": policy,
        "criterion": "magnitude",
        "granularity": "weight",
        "model": "resnet56",
        "width": 0.5,
        "dataset": "cifar10",
        "sparsity": sparsity,
        "budget": "params",
        "seed": seed,
        "status": "done",
        "dense_accuracy": 0.93,
        "one_shot_accuracy": accuracy / 3,
        "recalibrated_accuracy": accuracy / 2,
        "val_accuracy": accuracy,
        "best_epoch": 2,
        "epochs": 3,
        "params_kept": round(DENSE * (1 - sparsity)),
        "params_total": DENSE,
        "macs_kept": round(1e7 * (1 - sparsity) * rng.uniform(0.8, 1.5)),
        "macs_total": 10_000_000,
        "seconds": 60.0,
        "allocation_seconds": 0.02 + 20 * (policy == "capacity"),
        "hardware": "cpu",
        "ended": "2026-01-01T00:00:00.000+00:00",
        "layers": density,
        "parts": density,
    }
    return TrialRow.model_validate(known | given)


def trial_rows(
    searched: int, seeds: int = 3, sparsities: Sequence[float] = (0.5, 0.8, 0.95), layers: int = 10
) -> list[TrialRow]:
    """Policies that differ by a point or two, and searches that creep ahead of them."""
    rng = np.random.default_rng(0)
    rows = []
    for sparsity, seed in itertools.product(sparsities, range(seeds)):
        reached = 0.94 - 0.3 * sparsity**6
        for place, policy in enumerate(POLICIES):
            accuracy = reached + 0.01 * place + rng.normal(0, 0.004)
            rows.append(trial_row(policy, sparsity, seed, accuracy, layers))
        for number in range(searched):
            accuracy = reached + 0.03 - abs(rng.normal(0, 0.1))
            name, ended = f"searched-{sparsity}-{seed}-{number:05d}", f"2026-01-02T00:00:00.{number:05d}+00:00"
            rows.append(trial_row("searched", sparsity, seed, accuracy, layers, trial=name, ended=ended))
    return rows


def study_of(storage: Path, rows: Sequence[TrialRow], **settings: object) -> StudyFolder:
    folder = StudyFolder(Folder.at(str(storage)) / "made-up")
    told = {"name": "made-up", "models": ["resnet56"], "policies": [*POLICIES, "searched"], **settings}
    folder.write_study(StudySpec.model_validate(told))
    folder.folder.write(TABLE, to_parquet(to_table(rows)))
    return folder


@dataclass(frozen=True)
class Report:
    """A written report and what it is of."""

    out: Path
    comparison: Comparison
    folder: StudyFolder

    @property
    def page(self) -> Path:
        return self.out / "index.html"


def report_of(home: Path, rows: Sequence[TrialRow]) -> Report:
    folder = study_of(home, rows)
    comparison = compare([folder])
    write_report(comparison, home / "report", [folder])
    return Report(home / "report", comparison, folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return report_of(tmp_path_factory.mktemp("small"), trial_rows(searched=6))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """10,000 trials of a network of 55 layers."""
    rows = trial_rows(searched=496, seeds=5, sparsities=(0.5, 0.8, 0.9, 0.95), layers=55)
    assert len(rows) == 10_000
    return report_of(tmp_path_factory.mktemp("large"), rows)


def test_the_page_shows_every_row_of_the_comparison(small: Report) -> None:
    text = small.page.read_text()
    for row in small.comparison.rows:
        half = 100 * ((row.val_accuracy.high or 0) - row.val_accuracy.mean)
        assert f"{100 * row.val_accuracy.mean:.1f} ±{half:.1f}" in text
        assert f"{row.macs_kept:,}" in text
    for name, told in small.comparison.headline.items():
        assert name in text
        assert f"{100 * told.mean_gap:+.2f}" in text
    assert "howcompact run " in text
    assert str(small.folder.folder.uri) in text


def test_the_page_is_one_file_that_fetches_nothing(small: Report) -> None:
    text = small.page.read_text()
    assert "<script" not in text
    addresses = set(re.findall(r"https?://[^\s\"']+", text))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.findall(r"@import|url\((?!#)", text)


def test_every_chart_is_sound_svg_and_says_what_it_shows(small: Report) -> None:
    charts = re.findall(r"<svg .*?</svg>", small.page.read_text(), flags=re.DOTALL)
    assert len(charts) >= 15
    ids: list[str] = []
    for chart in charts:
        root = ET.fromstring(chart)
        ids += [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        title, description = (root.find(f"{{http://www.w3.org/2000/svg}}{name}") for name in ("title", "desc"))
        assert title is not None
        assert title.text
        assert description is not None
        assert len(description.text or "") > 20
        used = {v[1:] for e in root.iter() for k, v in e.attrib.items() if k.endswith("href") and v.startswith("#")}
        used |= set(re.findall(r"url\(#([^)]+)\)", chart))
        assert used <= set(ids)
    assert len(set(ids)) == len(ids)


def test_figures_come_as_files_for_print(small: Report) -> None:
    for name in ("gap", "accuracy", "macs", "layers", "pareto", "cost", "progress"):
        ET.parse(small.out / f"{name}.svg")
        with Image.open(small.out / f"{name}.png") as picture:
            assert picture.width > 700
            corner = picture.convert("RGB").getpixel((1, picture.height - 1))
            assert corner == (255, 255, 255)


def test_a_search_is_followed_in_the_order_in_which_it_ended(tmp_path: Path) -> None:
    starts = [trial_row(policy, 0.5, 0, accuracy, 2) for policy, accuracy in (("uniform", 0.6), ("erk", 0.7))]
    ended = {"2026-01-02T00:00:03": 0.8, "2026-01-02T00:00:01": 0.65, "2026-01-02T00:00:02": 0.75}
    found = [trial_row("searched", 0.5, 0, a, 2, trial=when, ended=when) for when, a in ended.items()]
    stopped = trial_row("searched", 0.5, 0, 0.9, 2, trial="x", ended="2026-01-02T00:00:04", status="stopped")
    folder = study_of(tmp_path, [*starts, *found, stopped])
    section = progress_section(gather(compare([folder]), [folder]))
    (table,) = section.tables
    assert [row[-2:] for row in table.rows] == [("1", "60.00"), ("2", "70.00"), ("4", "75.00"), ("5", "80.00")]


def test_sections_without_evidence_say_why(tmp_path: Path) -> None:
    rows = [trial_row("erk", 0.5, seed, 0.8, 2, ended="") for seed in range(2)]
    folder = study_of(tmp_path, rows, policies=["erk"])
    evidence = gather(compare([folder]), [folder])
    sections = {section.name: section for section in (make(evidence) for make in SECTIONS)}
    for name in ("gap", "compact", "progress"):
        assert not sections[name].groups
        assert len(sections[name].text) > 40
    assert sections["accuracy"].groups


def test_the_most_compact_part_is_that_which_can_lose_most(tmp_path: Path) -> None:
    folder = study_of(tmp_path, trial_rows(searched=0, layers=2), seeds=[0, 1])
    falls = {"block1.conv1": (0.9, 0.88, 0.8), "block1.conv2": (0.9, 0.9, 0.89)}
    flat = dict.fromkeys(falls, (0.0, 0.0, 0.0))
    for key in {cell.profile.key() for cell in folder.study.cells()}:
        profile = profile_to_parquet(Profile((0.0, 0.5, 1.0), 0.9, falls, flat, flat, flat))
        files = {"profile.parquet": profile, "record.json": b'{"seconds": 1.0}'}
        make = partial(checkpoints.write_files, files=files)
        artifacts.find_or_make(folder.folder.parent, "profile", key, make)
    (table,) = compact_section(gather(compare([folder]), [folder])).tables
    assert table.rows == [
        ("block1.conv1", "25.0", "50.0", "68.8"),  # 2 points at half, 8 more at the end: 5 are 3/8 of the way
        ("block1.conv2", "100.0 *", "100.0 *", "100.0 *"),
    ]


@pytest.mark.parametrize("source", sorted(shipped()))
@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["finetune.lr=0.00003", "width=0.25", "models=[vgg16]", "recoveries=[finetune, scratch]"],
        ["data.name=parquet", "data.path=/some where/it's", "data.size=32", "tracking=off", "search.scheduler=asha"],
    ],
)
def test_the_command_of_a_study_gives_the_study(source: str, changes: list[str]) -> None:
    study = parse_study(source, changes, "renamed")
    program, verb, base, *rest = shlex.split(run_command(study))
    assert (program, verb) == ("howcompact", "run")
    assert rest[:2] == ["--name", "renamed"]
    assert rest[2:3] == ["--set"] or not rest[2:]
    assert parse_study(base, rest[3:], "renamed") == study


ACCURACIES = st.integers(0, 5).map(lambda tenths: tenths / 10)


@given(st.lists(st.tuples(st.integers(1, 5), ACCURACIES), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, float]]) -> None:
    rows = [trial_row("erk", 0.5, 0, accuracy, 1, params_kept=kept) for kept, accuracy in points]
    found = {(row.params_kept, row.val_accuracy) for row in front(rows, "params")}
    beaten = {a for a, b in itertools.permutations(points, 2) if b[0] <= a[0] and b[1] >= a[1] and b != a}
    assert found == set(points) - beaten


@given(st.dictionaries(st.integers().map(str), st.floats(0, 1), min_size=1, max_size=20), st.floats(0.01, 0.05))
def test_names_beside_lines_keep_their_order_and_do_not_touch(wanted: dict[str, float], gap: float) -> None:
    places = _apart(wanted, gap)
    order = sorted(wanted, key=lambda name: wanted[name])
    for lower, upper in itertools.pairwise(order):
        assert places[upper] - places[lower] >= gap - 1e-9
    assert max(places.values()) <= 1 + 1e-9
    if all(wanted[b] - wanted[a] >= gap for a, b in itertools.pairwise(order)):
        assert places == pytest.approx(wanted)


def test_no_two_policies_look_alike_without_colour() -> None:
    looks = styles([f"policy {i}" for i in range(20)]).values()
    assert len({(look.marker, look.dashes) for look in looks}) == 20
    assert len({look.hue for look in list(looks)[: len(HUES)]}) == len(HUES)


def test_a_large_study_stays_a_small_page(large: Report) -> None:
    assert large.page.stat().st_size < 4_000_000
    text = large.page.read_text()
    rows = large.folder.rows()
    assert "10,000 trials" in text
    for kind in ("params", "macs"):
        for row in front(rows, kind):
            assert row.trial in text


# In a real browser

browsers = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
SCREENS = pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)], ids=str)
OPEN = "document.querySelectorAll('details').forEach(d => d.open = true)"
LAID_OUT = "document.querySelectorAll('section').forEach(s => s.style.contentVisibility = 'visible')"
TEXTS = """(() => {  // colour, background and size in pixels of every text; over a heat map the colour of its cell
  const shown = [];
  const canvas = new Map();
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!colour.startsWith('rgba(0, 0, 0, 0')) return colour;
    }
  };
  for (const element of document.querySelectorAll('h1,h2,h3,p,a,dt,dd,li,th,td,caption,summary,code,svg text')) {
    const box = element.getBoundingClientRect();
    if (!element.textContent.trim() || !box.height) continue;
    const style = getComputedStyle(element);
    const svg = element.closest('svg');
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    const colour = svg ? style.fill : style.color;
    const cell = svg && /^rgb\\((255, 255, 255|16, 36, 58)\\)$/.test(colour) && svg.querySelector('image');
    shown.push({text: element.textContent.trim().slice(0, 30), colour, size: parseFloat(style.fontSize) * scale,
                behind: cell ? null : behind(svg || element), opacity: parseFloat(style.opacity)});
  }
  return shown;
})()"""


def in_browser(look: Callable[[Tab], Awaitable[object]]) -> Tab:
    async def visit() -> Tab:
        async with tab() as opened:
            await look(opened)
            return opened

    return asyncio.run(visit())


def luminance(colour: str) -> float:
    """Relative luminance of "rgb(r, g, b)", after WCAG 2.2."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@browsers
@SCREENS
def test_a_browser_shows_all_of_it_at_any_width(small: Report, width: int, dark: bool) -> None:
    async def look(page: Tab) -> None:
        await page.show(small.page, width, dark)
        await page.evaluate(LAID_OUT)
        await page.evaluate(OPEN)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        wide = "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().right > innerWidth).length"
        assert await page.evaluate(wide) == 0
        texts = await page.evaluate(TEXTS)
        assert len(texts) > 500
        for text in texts:
            assert text["size"] >= 8.5, text
            if text["behind"] is not None:
                assert contrast(text["colour"], text["behind"]) >= 4.5, text
        background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (luminance(background) < 0.05) == dark
        for i in range(len(HUES)):
            hue = await page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--hue{i}').trim()")
            assert contrast(", ".join(str(int(hue[at : at + 2], 16)) for at in (1, 3, 5)), background) >= 3
        with Image.open(BytesIO(await page.picture())) as picture:
            assert np.unique(np.asarray(picture.convert("L").resize((64, 256)))).size > 20

    seen = in_browser(look)
    assert seen.complaints == []
    assert [address for address in seen.requests if not address.startswith("data:")] == [small.page.as_uri()]


@browsers
def test_ten_thousand_trials_open_in_two_seconds(large: Report) -> None:
    """Processor time of the page's own thread, which is the time it takes where no other program wants the core."""

    async def look(page: Tab) -> None:
        await page.call("Performance.enable", timeDomain="threadTicks")
        before = await page.busy_seconds()
        await page.show(large.page, 1280, dark=False)
        assert await page.evaluate("document.querySelectorAll('svg').length") > 15
        assert 0 < await page.busy_seconds() - before < 2

    in_browser(look)
