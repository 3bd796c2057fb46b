"""The page and its files: what they show, and how a real browser shows them."""

import asyncio
import re
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.figures.chart import HUES
from search.report.notebook import Compared
from search.report.sections.pareto import front
from tests.search.browser import CHROMIUM, Tab, tab
from tests.search.reports import Report, report_of, trial_row, trial_rows


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
        half = 100 * ((row.best_val_accuracy.high or 0) - row.best_val_accuracy.mean)
        assert f"{100 * row.best_val_accuracy.mean:.1f} ±{half:.1f}" in text
        assert f"{row.macs_kept:,}" in text
    for name, gap in small.comparison.headline.items():
        assert name in text
        assert f"{100 * gap.mean_gap:+.2f}" in text
    assert "howcompact run " in text
    assert str(small.folder.folder.uri) in text


def test_the_page_names_what_it_leaves_out_and_says_once_how_it_was_made(small: Report) -> None:
    text = small.page.read_text()
    contents, body = text[text.index("<nav") : text.index("</nav>")], text[text.index("</nav>") :]
    listed = re.findall(r'<a href="#(\w+)">', contents)
    assert listed == re.findall(r'<section id="(\w+)">', body)
    assert not {"gates", "probes", "curricula", "compact"} & {*listed}
    (absent,) = re.findall(r"<summary>Not shown, as there is nothing to show: (.*)</summary>", contents)
    assert absent.split("; ")[-2:] == ["Gates opening and closing", "Linear probes behind each block"]
    assert "uses trained gates" in contents
    for once in ("howcompact compare ", "howcompact run ", "optuna ", "<dt>seeds</dt>"):
        assert text.count(once) == 1


def test_hostile_names_are_text(tmp_path: Path) -> None:
    hostile = "<b onload='x'>\"&amp;"
    escaped = "&lt;b onload=&#39;x&#39;&gt;&#34;&amp;amp;"
    rows = [trial_row(policy, 0.5, seed, 0.8, 2, model=hostile) for policy in ("uniform", "erk") for seed in range(2)]
    report = report_of(tmp_path, rows)
    text = report.page.read_text()
    assert hostile not in text
    assert text.count(escaped) > 5
    notebook = Compared.model_validate(report.comparison.model_dump() | {"warnings": [hostile]})._repr_html_()
    assert hostile not in notebook
    assert notebook.count(escaped) == 1 + len(report.comparison.rows)


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
