"""Studies from somebody who means no good: refused and bounded."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from search.results.folder import StudyFolder
from search.results.rows import TABLE, TrialRow, from_parquet, from_table, to_table
from search.searching.journal import JOURNAL, open_journal
from search.study import strict_yaml
from search.study.reading import parse_study, read_study, shipped
from search.study.spec import StudySpec
from tests.search.conftest import howcompact
from tests.trainables.hostility import bounded, damaged, with_flipped_bit_in_a_page
from trainables.storage.columns import to_parquet
from trainables.storage.folder import Folder

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


# Study files


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (LAUGHS + "models: *i\n", "aliases are not read"),
        ("models: &m [*m]\n", "aliases are not read"),
        ("models: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("models: " + "{a: " * 3000 + "}" * 3000, "nested too deeply"),
        ("name: x\n" * 100_000, "must have at most 100,000 characters"),
        ("name: a\nname: b\n", "'name' is there twice"),
        ("finetune: {lr: 1, epochs: 2, lr: 3}\n", "'lr' is there twice"),
        ("sparsities: [.nan]\n", "sparsities.0 must be"),
        ("sparsities: [.inf, -.inf]\n", "sparsities.1 must be"),
        ("finetune: {lr: 1.0e+999}\n", "finetune.lr must be a finite number"),
        (f"seeds: [{'9' * 4000}]\n", "seeds.0 must be"),
        ("name: !!python/object/apply:os.system [exit]\n", "could not determine a constructor"),
        ("name: 2001-99-99\n", "month must be in 1..12"),
        ("? [a, b]\n: c\n", "unhashable"),
        ("1: 2\n", "1 must be valid (Keys should be strings)"),
        ("name: ../../x\n", "name must match the pattern"),
        ('name: "x\\n"\n', "name must match the pattern"),
        ('name: "a\\0b"\n', "name must match the pattern"),
        (f"name: {'x' * 300}\n", "name must match the pattern"),
        (f"seeds: {list(range(9000))}\nsparsities: {[n / 2000 for n in range(1000)]}\n", "at most 100,000 trials"),
        (f"policies: {[f'p{n}' for n in range(9000)]}\n", "policy must be a known name"),
        ("\ud800", "a study must be YAML"),
    ],
    ids=lambda value: value[:24],
)
def test_a_hostile_study_file_is_refused_at_once(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_bytes(text.encode(errors="surrogatepass"))
    with bounded(seconds=60), pytest.raises(ValueError, match=r".") as refusal:
        read_study(str(tmp_path / "study.yaml"))
    assert complaint in str(refusal.value)
    assert len(str(refusal.value)) < 100_000


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_study_file_is_yaml_or_refused(data: st.DataObject) -> None:
    spoiled = data.draw(damaged(shipped()["digits"].encode())).decode(errors="replace")
    try:
        told = strict_yaml.parse(spoiled)
    except ValueError:
        return
    assert told == yaml.safe_load(spoiled)


KEYS = ("models", "data.path", "dense.lr", "seeds", "before", "curricula", "search", "gates.x", "x.y")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    key=st.sampled_from(
        ["models", "data.path", "dense.lr", "seeds", "before", "curricula", "search", "gates.x", "x.y"]
    ),
    value=VALUES,
)
def test_a_setting_of_any_value_is_taken_or_refused(key: str, value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("search.study.reading.complaints", lambda study: [])  # which build networks; tested elsewhere
        try:
            study = parse_study("digits", [f"{key}={yaml.safe_dump(value)}"])
        except ValueError:
            return
    assert study.key()


def test_overrides_that_are_too_deep_are_refused() -> None:
    with pytest.raises(ValueError, match="is too deep"):
        read_study("digits", [".".join("a" * 5000) + "=1"])


# Study folders


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """A study folder without trials."""
    folder = StudyFolder(Folder.at(str(tmp_path)) / "s")
    folder.write_study(StudySpec(name="s"))
    return folder


def row(**changes: Any) -> TrialRow:
    told = {"trial": "0" * 16, "cell": "c", "setting": "s", "policy": "uniform", "criterion": "magnitude", "seed": 0}
    told |= {"granularity": "weight", "model": "small_cnn", "width": 1.0, "dataset": "digits", "sparsity": 0.5}
    told |= {"budget": "params", "status": "done", "best_val_accuracy": 0.5, "best_epoch": 0}
    told |= {f"{kind}_{what}": 9 for kind in ("params", "macs") for what in ("kept", "total")}
    return TrialRow.model_validate(told | changes)


GOOD_ROWS = [row(layers={"a": 0.5}, parts={"a": 0.5})] * 20
GOOD = to_parquet(to_table(GOOD_ROWS))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_in_a_page_changes_no_row(data: st.DataObject) -> None:
    try:
        rows = from_table(from_parquet(data.draw(with_flipped_bit_in_a_page(GOOD))))
    except ValueError:
        return
    assert rows == GOOD_ROWS


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_table_is_read_or_refused(data: st.DataObject) -> None:
    """Any value is right: a footer has no checksum, and the table is only a copy of the outcomes."""
    spoiled = data.draw(damaged(GOOD[::-1]))[::-1] if data.draw(st.booleans()) else data.draw(damaged(GOOD))
    try:
        from_table(from_parquet(spoiled))
    except ValueError:
        return


@pytest.mark.parametrize("spoil", [{"best_val_accuracy": float("nan")}, {"trial": None}, {"seed": "many"}])
def test_values_that_no_trial_has_are_not_believed(folder: StudyFolder, spoil: dict[str, Any]) -> None:
    table = to_table([row()])
    for name, value in spoil.items():
        table = table.set_column(table.column_names.index(name), name, [[value]])
    with pytest.raises(ValueError, match=f"{TABLE} must be as it was written"):
        from_parquet(to_parquet(table))
    folder.folder.write(TABLE, to_parquet(table))
    assert folder.rows() == []  # made anew from the outcomes, of which there are none


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"PAR1", b"\x80\x04N.", b'{"files": 1e999}'])
def test_damaged_files_of_a_study_count_as_never_written(folder: StudyFolder, content: bytes) -> None:
    trial = folder.trial("0" * 16)
    for name in ("spec.json", "outcome.json"):
        trial.write(name, content)
    for name in (TABLE, JOURNAL):
        folder.folder.write(name, content)
    with bounded():
        assert folder.rows() == []
        assert folder.unfinished(set()) == []
        assert list(open_journal(folder.folder)[0].read_logs(0)) == []
    folder.folder.write("study.json", content)
    with bounded(), pytest.raises(ValueError, match=r"."):
        folder.study  # noqa: B018


@pytest.mark.parametrize("trial", ["../../..", "..", "/etc", "a/../../b", "x\0y"])
def test_a_trial_of_the_table_is_looked_for_in_its_study_only(folder: StudyFolder, trial: str, tmp_path: Path) -> None:
    folder.folder.write(TABLE, to_parquet(to_table([row(trial=trial)])))
    for pareto in ([], ["--pareto"]):
        done = howcompact("best", folder.folder.uri, "--out", str(tmp_path / "out"), *pareto, cwd=tmp_path)
        assert done.returncode == 2
        assert "a name in a storage must be that of one file or folder" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"s"}
