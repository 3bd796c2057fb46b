"""The page: sections of charts and tables in one HTML file that fetches nothing and runs no script."""

import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from io import StringIO
from string import Template

from search.comparison.compare import BASELINE, ComparisonRow, Estimate
from search.comparison.wording import percent, warnings_of
from search.figures.chart import inline
from search.figures.section import Section, Table
from search.report.provenance import run_command
from search.report.sections.evidence import Evidence
from search.results.rows import TABLE
from search.study.spec import StudySpec

MOST_ROWS, MOST_WARNINGS = 400, 8  # of a table; at the top
MADE = Section("made", "How this was made", "")


def page(evidence: Evidence, sections: Sequence[Section], made: Mapping[str, str]) -> str:
    """Write the page of a comparison; made: what to say of how it came about."""
    return document(evidence.comparison.study, _summary(evidence), sections, made, evidence.studies)


def document(
    name: str, summary: str, sections: Sequence[Section], made: Mapping[str, str], studies: Sequence[StudySpec]
) -> str:
    """Write a page; summary: HTML that stands at the top. made: what to say of how it came about."""
    template = Template((resources.files("search.report") / "page.html").read_text())
    return template.substitute(
        title=_text(f"howcompact: {name}"),
        summary=summary,
        links="".join(f'<li><a href="#{s.name}">{_text(s.title)}</a></li>' for s in (*sections, MADE)),
        sections="\n".join(_section(section, made) for section in sections),
        made=_made(studies, made),
    )


def _summary(evidence: Evidence) -> str:
    """Say in words who is ahead, and what has to be known to read on."""
    told = StringIO()
    for name, rows in evidence.settings.items():
        best: dict[float, ComparisonRow] = {}
        for row in [row for row in rows if not row.warnings] or rows:
            if row.sparsity not in best or row.best_val_accuracy.mean > best[row.sparsity].best_val_accuracy.mean:
                best[row.sparsity] = row
        wins = Counter(row.policy for row in best.values())
        ahead, hardest = wins.most_common(1)[0], best[max(best)]
        told.write(
            f"<p><strong>{_text(name)}</strong>: dense {_percent(rows[0].dense_accuracy)}. {_text(ahead[0])} has the "
            f"highest mean at {ahead[1]} of {len(best)} sparsities; at {hardest.sparsity:g} it is "
            f"{_text(hardest.policy)} with {_percent(hardest.best_val_accuracy)}.</p>"
        )
    told.write(
        f"<p>{len(evidence.trials):,} trials of {len(evidence.looks)} policies. Accuracy is on validation samples, ± "
        f"half of the 95 % interval over seeds; gaps are to {BASELINE} at the same budget and seed.</p>"
    )
    if held_out := evidence.comparison.held_out:
        told.write(f"<p>The test split was read for {held_out.trials} trials, from {held_out.first} on.</p>")
    warnings = [*evidence.comparison.warnings, *warnings_of(evidence.comparison.rows)]
    for warning in warnings[:MOST_WARNINGS]:
        told.write(f'<p class="warn">{_text(warning)}</p>')
    if len(warnings) > MOST_WARNINGS:
        told.write(f'<p class="warn">... and {len(warnings) - MOST_WARNINGS} more, in comparison.json</p>')
    return told.getvalue()


def _percent(estimate: Estimate) -> str:
    return f"{percent(estimate)} %".replace(" ", "\u00a0")


def _section(section: Section, made: Mapping[str, str]) -> str:
    body = StringIO()
    body.write(f'<section id="{section.name}"><h2>{_text(section.title)}</h2><p>{_coded(section.text)}</p>')
    if section.groups:
        body.write(_charts(section))
    for table in section.tables:
        body.write(_table(table))
    if section.groups:
        files = " and ".join(f'<a href="{section.name}.{kind}">{section.name}.{kind}</a>' for kind in ("svg", "png"))
        how = "; ".join(f"{name} {_text(made[name])}" for name in ("seeds", "hardware", "versions") if name in made)
        body.write(
            f'<p class="made"><code>{_text(made["command"])}</code>, {_text(made["date"])}; {how}. Files: {files}</p>'
        )
    body.write("</section>")
    return body.getvalue()


def _charts(section: Section) -> str:
    """Write the panels of each group side by side, or groups of one panel each side by side."""
    every = [panel for panels in section.groups.values() for panel in panels]
    widest = max(panel.width for panel in every)
    single = all(len(panels) == 1 for panels in section.groups.values())
    groups = []
    for number, (name, panels) in enumerate(section.groups.items()):
        names = (f"{section.name}{number}-{i}" for i in range(len(panels)))
        charts = "".join(inline(panel, own, panel.width / widest) for panel, own in zip(panels, names, strict=True))
        heading = f"<h3>{_text(name)}</h3>" if name else ""
        groups.append(f"<div>{heading}{charts if single else _grid(charts, len(panels), widest)}</div>")
    return _grid("".join(groups), len(groups), widest) if single else "".join(groups)


def _grid(charts: str, count: int, widest: float) -> str:
    return f'<div class="charts" style="--n:{count};--w:{widest * 4 / 3:.0f}px">{charts}</div>'


def _table(table: Table) -> str:
    body = StringIO()
    shown = table.rows[:MOST_ROWS]
    rest = (
        f"; the first {MOST_ROWS} of {len(table.rows):,} rows, {TABLE} has all" if len(table.rows) > MOST_ROWS else ""
    )
    body.write(f'<details><summary>Table: {_text(table.caption)}</summary><div class="scroll" tabindex="0">')
    body.write(f"<table><caption>{_text(table.caption + rest)}</caption><thead><tr>")
    words = [' class="w"' if place < table.words else "" for place in range(len(table.head))]
    body.writelines(f'<th scope="col"{word}>{_text(name)}</th>' for word, name in zip(words, table.head, strict=True))
    body.write("</tr></thead><tbody>")
    for row in shown:
        cells = (f"<td{word}>{_text(cell)}</td>" for word, cell in zip(words, row, strict=True))
        body.write(f"<tr>{''.join(cells)}</tr>")
    body.write("</tbody></table></div></details>")
    return body.getvalue()


def _made(studies: Sequence[StudySpec], made: Mapping[str, str]) -> str:
    body = StringIO()
    body.write("<dl>")
    for study in studies:
        body.write(f"<dt>study {_text(study.name)}</dt><dd><code>{_text(run_command(study))}</code></dd>")
    for name, told in made.items():
        told = _text(told)
        body.write(f"<dt>{name}</dt><dd>{f'<code>{told}</code>' if name == 'command' else told}</dd>")
    body.write("</dl>")
    for study in studies:
        settings = _text(study.model_dump_json(indent=1))
        body.write(f"<details><summary>Every setting of {_text(study.name)}</summary><pre>{settings}</pre></details>")
    return body.getvalue()


def _text(text: str) -> str:
    return html.escape(text)


def _coded(text: str) -> str:
    """Escape text, in which what is typed stands between backticks."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", _text(text))
