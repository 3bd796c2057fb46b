import pytest

from search.cli.terminal import WIDTH, plain, terminal

NAME, NUMBER = "".join(f"layer{n}." for n in range(20)), "1" * (WIDTH - 20)


def test_a_table_breaks_long_names_and_marks_numbers_that_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    table = plain("a name and a number that do not fit")
    table.add_column("name")
    table.add_column("number", justify="right")
    table.add_row(NAME, NUMBER)
    terminal().print(table)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= WIDTH
    rows = [line.split() for line in printed.splitlines() if "layer" in line or line.startswith(" ")]
    assert "".join(row[0] for row in rows if row and row[0] != "name" and "─" not in row[0]) == NAME
    (number,) = (row[1] for row in rows if len(row) == 2 and row[1] != "number")
    assert number.endswith("1…")
