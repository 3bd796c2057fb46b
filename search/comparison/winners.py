"""What each policy reached in each cell, worked out column by column, so that only winners become Python objects."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from search.comparison import search_costs
from search.results.constraints import COMPARE, FRACTIONS, Condition, conditions
from search.results.folder import StudyFolder
from search.results.rows import SCHEMA
from trainables.names import SEARCHED, SEARCHES, GranularityName
from trainables.spec import BudgetKind


class Winner(NamedTuple):
    """The finished trial that a policy reached in a cell. Columns of results.parquet, then what finding it took."""

    trial: str
    setting: str
    family: str
    control_setting: str
    standard_setting: str
    criterion: str
    schedule: str
    before: str
    recovery: str
    curriculum: str
    granularity: GranularityName
    model: str
    width: float
    dataset: str
    sparsity: float
    budget: BudgetKind
    seed: int
    dense_epochs: int | None
    dense_accuracy: float
    one_shot_accuracy: float
    recalibrated_accuracy: float
    best_val_accuracy: float
    epochs: int
    params_kept: int
    params_total: int
    macs_kept: int
    macs_total: int
    latency_ms: float | None
    spent: int  # what it keeps of the budget that was asked
    trained_images: int | None  # through the network, but for sharing the budget; None: not counted
    reached_by: str  # the policy; not the winner's own where a search ends where it started
    cost_seconds: float  # allocation and profile, and every trial that a search evaluated; the next two alike
    cost_evaluations: int | None  # None: not counted, by an older version
    cost_images: int | None
    trials: int  # evaluated by a search; 1 for any other policy
    place: int  # its row in the table of winners


DECISIVE = [  # of who wins and at what cost
    *("trial", "cell", "policy", "status", "best_val_accuracy", "starts", "feasible"),
    *search_costs.COLUMNS,
]
COLUMNS = [name for name in SCHEMA.names if name in (*Winner._fields, *DECISIVE, "layers")]


class Winners(NamedTuple):
    """Winners by setting, sparsity and policy, then by seed; what they keep of each layer; and who reached nothing."""

    cells: Mapping[tuple[str, float, str], Mapping[int, Winner]]
    layers: "Layers"
    in_vain: Mapping[str, int]  # policy -> cells in which none of its search's trials ended within its bounds


class Layers:
    """The densities of many networks' layers, left where Arrow has them."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        maps = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        self._starts: list[int] = maps.offsets.to_pylist()
        self._densities = maps.items.to_numpy()
        names = maps.keys.dictionary_encode()
        self._names, self._codes = names.dictionary.to_pylist(), names.indices.to_numpy()

    def mean(self, places: Sequence[int]) -> dict[str, float]:
        """Average the densities of networks that have the same layers: layer -> density."""
        spans = [slice(self._starts[place], self._starts[place + 1]) for place in places]
        means = np.mean([self._densities[span] for span in spans], axis=0)
        return {self._names[code]: mean for code, mean in zip(self._codes[spans[0]], means.tolist(), strict=True)}


def winners(folders: Sequence[StudyFolder]) -> Winners:
    """Find what each policy reached in each cell of these studies.

    A search reaches the best of all it looked at that keeps its bounds, what it started from included, and pays for
    all of it, in whichever folder it lies. A trial that lies in several folders counts once. Trials that a scheduler
    stopped cost their search something and win nothing.
    """
    table = pa.concat_tables([_as_searched(folder) for folder in folders])
    scan = table.select(DECISIVE).append_column("row", pa.array(np.arange(len(table))))
    scan = scan.filter((pc.field("status") != "failed") & pc.field("best_val_accuracy").is_valid())
    scan = _once(scan) if len(folders) > 1 else scan
    searching, done = pc.field("policy").isin(SEARCHES), pc.field("status") == "done"
    named, own = scan.filter(~searching & done), scan.filter(searching)
    cells = pc.unique(own.filter(pc.field("policy") == SEARCHED)["cell"])
    starts = scan.filter(pc.field("starts") & pc.field("cell").isin(cells))
    seen = pa.concat_tables(
        [own.append_column("search", own["policy"]), starts.append_column("search", pa.repeat(SEARCHED, len(starts)))]
    )
    order = [("best_val_accuracy", "descending"), ("starts", "descending"), ("trial", "ascending")]
    reached = seen.filter(done & pc.field("feasible")).sort_by(order)
    best = reached.group_by(["search", "cell"], use_threads=False).aggregate([("row", "first")])
    paid, quick = search_costs.of_searches(seen), search_costs.of_rules(named)
    searches = best["search"].to_pylist()
    places = list(zip(searches, best["cell"].to_pylist(), strict=True))
    ran = [paid[place] for place in places]

    won = table.take(pa.array(np.concatenate([named["row"].to_numpy(), best["row_first"].to_numpy()])))
    found = {
        **{name: won[name].to_pylist() for name in Winner._fields if name in won.column_names},
        "spent": pc.if_else(pc.equal(won["budget"], "params"), won["params_kept"], won["macs_kept"]).to_pylist(),
        "trained_images": pc.subtract(won["images"], won["allocation_images"]).to_pylist(),
        "reached_by": [*named["policy"].to_pylist(), *searches],
        **{f"cost_{kind}": [*own, *(getattr(spent, kind) for spent in ran)] for kind, own in quick.items()},
        "trials": [*[1] * len(named), *(spent.trials for spent in ran)],
        "place": range(len(won)),
    }
    by_cell: dict[tuple[str, float, str], dict[int, Winner]] = defaultdict(dict)
    for winner in map(Winner._make, zip(*(found[name] for name in Winner._fields), strict=True)):
        by_cell[winner.setting, winner.sparsity, winner.reached_by][winner.seed] = winner
    return Winners(by_cell, Layers(won["layers"]), Counter(search for search, _ in paid.keys() - set(places)))


def _as_searched(folder: StudyFolder) -> pa.Table:
    """Trials of a folder; `starts`: whether its searches start from them; `feasible`: whether they could end there."""
    search = folder.study.search
    bounds = conditions(search.constraints, [])
    bounded = {name for bound in bounds for name in FRACTIONS.get(bound.name, (bound.name,))}
    table = folder.table(list(dict.fromkeys((*COLUMNS, *bounded))))
    starts = pc.is_in(table["policy"], pa.array(search.warm_start, pa.string()))
    feasible = pa.repeat(True, len(table))
    for bound in bounds:
        feasible = pc.and_(feasible, _kept(table, bound))
    return table.select(COLUMNS).append_column("starts", starts).append_column("feasible", feasible)


def _kept(table: pa.Table, bound: Condition) -> pa.Array:
    """Tell which trials keep a bound; one without the number does not, as no comparison holds for NaN."""
    kept, *total = FRACTIONS.get(bound.name, (bound.name,))
    values = table[kept].cast(pa.float64()).to_numpy()
    for dense in total:
        values = values / table[dense].cast(pa.float64()).to_numpy()
    return pa.array(COMPARE[bound.sign](values, bound.bound))


def _once(scan: pa.Table) -> pa.Table:
    """Every trial once, finished before stopped; it is a start, and feasible, if it is so in any folder."""
    firsts = [(name, "first") for name in scan.column_names if name not in ("trial", "starts", "feasible")]
    either = [("starts", "any"), ("feasible", "any")]
    grouped = scan.sort_by("status").group_by("trial", use_threads=False).aggregate([*firsts, *either])
    return grouped.rename_columns([name.removesuffix("_first").removesuffix("_any") for name in grouped.column_names])
