"""The importances of a study's searches, as tables for the terminal."""

from rich.table import Table

from search.cli.terminal import plain, terminal
from search.comparison.importance import Importance, Importances
from search.comparison.wording import correlation, written
from search.results.names import network_name, pruning_name, training_name
from search.study.search_spec import CAPACITY
from trainables.counts import noun, quantity

MOST_PARTS = 20  # rows; the other parts are in --json


def print_importances(result: Importances) -> None:
    """Print one table of importances for each network and sparsity, the most important part first."""
    for row in result.rows:
        seeds = f"{noun(len(row.seeds), 'seed')} {', '.join(map(str, row.seeds))}"
        print(f"{network_name(row)}, {pruning_name(row)}, {training_name(row)}, sparsity {row.sparsity:g}")
        print(
            f"importance by {result.evaluator} in %, mean and 95 % interval over {seeds}; "
            f"{quantity(row.trials, 'trial')}"
        )
        print(f"{100 / len(row.parts):.1f} each if all {len(row.parts)} parts mattered equally")
        terminal().print(_importance(row))
        if row.agreement:
            print(f"rank correlation with the densities of {CAPACITY}: {correlation(row.agreement)}\n")
    print("importance: how much a part's density influenced the metric in these trials, not how much of it is needed")
    print("(the budget makes the densities depend on each other)")
    for text in result.left_out:
        print(f"! {text}")


def _importance(row: Importance) -> Table:
    table = plain("")
    for name in ("part", "importance %", f"{CAPACITY} keeps %"):
        table.add_column(name, justify="left" if name == "part" else "right", no_wrap=True)
    for part in sorted(row.parts, key=lambda part: -part.importance.mean)[:MOST_PARTS]:
        kept = "" if part.capacity is None else f"{100 * part.capacity:.1f}"
        table.add_row(part.part, written(part.importance), kept)
    if len(row.parts) > MOST_PARTS:
        table.add_row(f"and {len(row.parts) - MOST_PARTS} more")
    return table
