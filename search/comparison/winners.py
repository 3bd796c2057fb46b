"""What each policy reached in each cell. Tables are handled by columns, so that only winners become Python objects."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from search.comparison import search_costs
from search.comparison.budgets import spent
from search.results.constraints import COMPARE, FRACTIONS, Condition, conditions
from search.results.folder import StudyFolder
from search.results.rows import SCHEMA
from trainables.names import SEARCHED, SEARCHES, GranularityName
from trainables.spec import BudgetKind


class Winner(NamedTuple):
    """The finished trial that a policy reached in a cell: columns of results.parquet, then the cost of finding it."""

    trial: str
    setting: str
    family: str
    control_setting: str
    standard_setting: str
    criterion: str
    schedule: str
    before: str
    rules: str
    compensation: str
    recovery: str
    curriculum: str
    granularity: GranularityName
    model: str
    width: float
    dataset: str
    metric: str
    higher_is_better: bool
    sparsity: float
    budget: BudgetKind
    seed: int
    dense_epochs: int | None
    dense_accuracy: float
    one_shot_accuracy: float
    recalibrated_accuracy: float
    compensated_accuracy: float | None
    best_val_accuracy: float
    quantised_accuracy: float | None
    other_metrics: dict[str, float]
    epochs: int
    params_kept: int
    params_total: int
    macs_kept: int
    macs_total: int
    params_fixed: int | None
    latency_ms: float | None
    quantised_bytes: int | None
    exported_bytes: int | None
    quantised_latency_ms: float | None
    exported_latency_ms: float | None
    latency_density: float | None  # latency as a fraction of the dense network's
    predicted_latency_ms: float | None
    device: str
    spent: float  # weights, multiply-accumulates or time kept, whichever the budget counts
    within: float  # how far a rival's may be from it, as a fraction
    trained_images: int | None  # images through the network, without those of allocation; None: not counted
    reached_by: str  # the policy; differs from the trial's own where a search's best trial is a starting point
    cost_seconds: float  # of allocation and profile, and of every trial that a search evaluated; the next two alike
    cost_evaluations: int | None  # None: an older version did not count them
    cost_images: int | None
    trials: int  # evaluated by a search; 1 for any other policy
    networks: int  # different ones among these trials
    table_row: int  # of the table of winners


class Cell(NamedTuple):
    """A row of a comparison: one policy in one setting at one sparsity. Its trials differ in the seed."""

    setting: str
    sparsity: float
    policy: str


BySeed = Mapping[int, Winner]
Cells = Mapping[Cell, BySeed]


DECISIVE = [  # columns that decide who wins and at what cost
    *("trial", "cell", "policy", "status", "best_val_accuracy", "higher_is_better", "starts", "feasible"),
    *search_costs.COLUMNS,
]
TIMES = ("latency_ms", "dense_latency_ms", "latency_spread", "predicted_latency_ms")
COLUMNS = [name for name in SCHEMA.names if name in (*Winner._fields, *DECISIVE, *TIMES, "layers", "parts")]


class Winners(NamedTuple):
    """Winners by cell and seed, what they keep of each layer, and which searches reached nothing."""

    cells: Cells
    layers: "Layers"
    without_winner: Mapping[str, int]  # policy -> cells in which no trial of its search kept the constraints


class Layers:
    """The densities of many networks' layers, without copying them out of Arrow."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        maps = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        self._starts: list[int] = maps.offsets.to_pylist()
        self._densities = maps.items.to_numpy()
        names = maps.keys.dictionary_encode()
        self._names, self._codes = names.dictionary.to_pylist(), names.indices.to_numpy()

    def mean(self, rows: Sequence[int]) -> dict[str, float]:
        """Average the densities of networks that have the same layers: layer -> density. rows: of the table."""
        spans = [slice(self._starts[row], self._starts[row + 1]) for row in rows]
        means = np.mean([self._densities[span] for span in spans], axis=0)
        return {self._names[code]: mean for code, mean in zip(self._codes[spans[0]], means.tolist(), strict=True)}


def winners(folders: Sequence[StudyFolder]) -> Winners:
    """Find what each policy reached in each cell of these studies.

    A search reaches its best finished trial that keeps its constraints; its starting points count, too. It pays for
    every trial that it evaluated, in whichever folder that is. A trial that is in several folders counts once. A trial
    that a scheduler stopped costs its search, but cannot win.
    """
    table = pa.concat_tables([_as_searched(folder) for folder in folders])
    scan = table.select(DECISIVE).append_column("row", pa.array(np.arange(len(table))))
    scan = scan.filter((pc.field("status") != "failed") & pc.field("best_val_accuracy").is_valid())
    scan = _once(scan) if len(folders) > 1 else scan
    searching, done = pc.field("policy").isin(SEARCHES), pc.field("status") == "done"
    named, own = scan.filter(~searching & done), scan.filter(searching)
    searched = pc.unique(own.filter(pc.field("policy") == SEARCHED)["cell"])
    starts = scan.filter(pc.field("starts") & pc.field("cell").isin(searched))
    seen = pa.concat_tables(
        [own.append_column("search", own["policy"]), starts.append_column("search", pa.repeat(SEARCHED, len(starts)))]
    )
    seen = seen.append_column("network", search_costs.marks_of_networks(table["parts"].take(seen["row"])))
    signs = pc.if_else(seen["higher_is_better"], 1.0, -1.0)
    seen = seen.append_column("rank", pc.multiply(seen["best_val_accuracy"], signs))
    order = [("rank", "descending"), ("starts", "descending"), ("trial", "ascending")]
    reached = seen.filter(done & pc.field("feasible")).sort_by(order)
    best = reached.group_by(["search", "cell"], use_threads=False).aggregate([("row", "first")])
    paid, paid_by_rule = search_costs.of_searches(seen), search_costs.of_rules(named)
    searches = best["search"].to_pylist()
    reached_cells = list(zip(searches, best["cell"].to_pylist(), strict=True))
    paid_by_search = [paid[each] for each in reached_cells]

    won = table.take(pa.array(np.concatenate([named["row"].to_numpy(), best["row_first"].to_numpy()])))
    kept, within = spent(won)
    columns = {
        **{name: won[name].to_pylist(maps_as_pydicts="strict") for name in Winner._fields if name in won.column_names},
        "latency_density": pc.divide(won["latency_ms"], won["dense_latency_ms"]).to_pylist(),
        "spent": kept.tolist(),
        "within": within.tolist(),
        "trained_images": pc.subtract(won["images"], won["allocation_images"]).to_pylist(),
        "reached_by": [*named["policy"].to_pylist(), *searches],
        **{
            f"cost_{kind}": [*costs, *(getattr(each, kind) for each in paid_by_search)]
            for kind, costs in paid_by_rule.items()
        },
        "trials": [*[1] * len(named), *(each.trials for each in paid_by_search)],
        "networks": [*[1] * len(named), *(each.networks for each in paid_by_search)],
        "table_row": range(len(won)),
    }
    cells: dict[Cell, dict[int, Winner]] = defaultdict(dict)
    for winner in map(Winner._make, zip(*(columns[name] for name in Winner._fields), strict=True)):
        cells[Cell(winner.setting, winner.sparsity, winner.reached_by)][winner.seed] = winner
    without_winner = Counter(search for search, _ in paid.keys() - set(reached_cells))
    return Winners(cells, Layers(won["layers"]), without_winner)


def _as_searched(folder: StudyFolder) -> pa.Table:
    """Read the trials of a folder with two more columns.

    starts: whether the folder's searches start from the trial. feasible: whether it keeps their constraints.
    """
    search = folder.study.search
    constraints = conditions(search.constraints, [])
    bounded = {name for constraint in constraints for name in FRACTIONS.get(constraint.name, (constraint.name,))}
    table = folder.table(list(dict.fromkeys((*COLUMNS, *bounded))))
    starts = pc.is_in(table["policy"], pa.array(search.warm_start, pa.string()))
    feasible = pa.repeat(True, len(table))
    for constraint in constraints:
        feasible = pc.and_(feasible, _kept(table, constraint))
    return table.select(COLUMNS).append_column("starts", starts).append_column("feasible", feasible)


def _kept(table: pa.Table, constraint: Condition) -> pa.Array:
    """Tell which trials keep a constraint. A trial without the number does not: no comparison holds for NaN."""
    kept, *total = FRACTIONS.get(constraint.name, (constraint.name,))
    values = table[kept].cast(pa.float64()).to_numpy()
    for dense in total:
        values = values / table[dense].cast(pa.float64()).to_numpy()
    return pa.array(COMPARE[constraint.operator](values, constraint.bound))


def _once(scan: pa.Table) -> pa.Table:
    """Keep each trial once, finished rather than stopped; `starts` and `feasible` hold if they hold in any folder."""
    firsts = [(name, "first") for name in scan.column_names if name not in ("trial", "starts", "feasible")]
    either = [("starts", "any"), ("feasible", "any")]
    grouped = scan.sort_by("status").group_by("trial", use_threads=False).aggregate([*firsts, *either])
    return grouped.rename_columns([name.removesuffix("_first").removesuffix("_any") for name in grouped.column_names])
