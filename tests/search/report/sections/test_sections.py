"""Sections of the page: what each shows, and what it says where it has nothing to show."""

from functools import partial
from pathlib import Path

from search.comparison.compare import compare
from search.report.sections.compact import compact_section
from search.report.sections.cost import cost_section
from search.report.sections.evidence import gather
from search.report.sections.progress import progress_section
from search.report.write import SECTIONS
from tests.search.reports import study_of, trial_row, trial_rows
from trainables.allocation.profiles import Profile
from trainables.allocation.profiles import to_parquet as profile_to_parquet
from trainables.checkpoints import artifact_store, manifest


def test_a_search_is_followed_in_the_order_in_which_it_ended(tmp_path: Path) -> None:
    starts = [trial_row(policy, 0.5, 0, accuracy, 2) for policy, accuracy in (("uniform", 0.6), ("erk", 0.7))]
    ended = {"2026-01-02T00:00:03": 0.8, "2026-01-02T00:00:01": 0.65, "2026-01-02T00:00:02": 0.75}
    found = [trial_row("searched", 0.5, 0, a, 2, trial=when, ended=when) for when, a in ended.items()]
    stopped = trial_row("searched", 0.5, 0, 0.9, 2, trial="x", ended="2026-01-02T00:00:04", status="stopped")
    drawn = [trial_row("random-search", 0.5, 0, a, 2, trial=f"r{when}", ended=when) for when, a in ended.items()]
    folder = study_of(tmp_path, [*starts, *found, stopped, *drawn])
    section = progress_section(gather(compare([folder]), [folder]))
    (table,) = section.tables
    shown = {policy: [row[-2:] for row in table.rows if row[1] == policy] for policy in ("searched", "random-search")}
    assert shown["searched"] == [("1", "60.00"), ("2", "70.00"), ("4", "75.00"), ("5", "80.00")]
    assert shown["random-search"] == [("1", "65.00"), ("2", "75.00"), ("3", "80.00")]  # it starts from nothing


def test_cost_counts_evaluations_and_images_where_these_were_counted(tmp_path: Path) -> None:
    counts = {"allocation_evaluations": 120, "allocation_images": 12000, "profile_evaluations": 0, "profile_images": 0}
    counted = [trial_row("capacity", 0.5, seed, 0.8, 2, **counts) for seed in range(2)]
    folder = study_of(tmp_path, [*counted, trial_row("erk", 0.5, 0, 0.8, 2)])
    (table,) = cost_section(gather(compare([folder]), [folder])).tables
    rows = {row[1]: dict(zip(table.head, row, strict=True)) for row in table.rows}
    shown = [[rows[policy][name] for name in ("evaluations", "images", "trials")] for policy in ("capacity", "erk")]
    assert shown == [["120", "12,000", "2"], ["", "", "1"]]


def test_sections_without_data_say_why(tmp_path: Path) -> None:
    rows = [trial_row("erk", 0.5, seed, 0.8, 2, ended="") for seed in range(2)]
    folder = study_of(tmp_path, rows, policies=["erk"])
    evidence = gather(compare([folder]), [folder])
    sections = {section.name: section for section in (make(evidence) for make in SECTIONS)}
    for name in ("gap", "compact", "gates", "probes", "progress"):
        assert sections[name].is_empty
        assert len(sections[name].text) > 40
    assert sections["accuracy"].groups


def test_the_most_compact_part_is_that_which_can_lose_most(tmp_path: Path) -> None:
    folder = study_of(tmp_path, trial_rows(searched=0, layers=2), seeds=[0, 1])
    falls = {"block1.conv1": (0.9, 0.88, 0.8), "block1.conv2": (0.9, 0.9, 0.89)}
    flat = dict.fromkeys(falls, (0.0, 0.0, 0.0))
    for key in {cell.profile.key() for cell in folder.study.cells()}:
        profile = profile_to_parquet(Profile((0.0, 0.5, 1.0), 0.9, falls, flat, flat, flat))
        files = {"profile.parquet": profile, "record.json": b'{"cost": {"seconds": 1.0}}'}
        make = partial(manifest.write_files, files=files)
        artifact_store.find_or_make(folder.folder.parent, "profile", key, make)
    (table,) = compact_section(gather(compare([folder]), [folder])).tables
    assert table.rows == [
        ("block1.conv1", "25.0", "50.0", "68.8"),  # 2 points at half, 8 more at the end: 5 are 3/8 of the way
        ("block1.conv2", "100.0 *", "100.0 *", "100.0 *"),
    ]
