"""Networks to take home: the best of a study, or its whole Pareto set, whole or not at all."""

import os
from collections.abc import Sequence
from pathlib import Path

from search.results.data_at_hand import DataName, data_at_hand, name_of
from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from search.retrieval.atomic_folder import replacing
from search.retrieval.choosing import choose, choose_front
from search.retrieval.copying import Retrieved, take
from search.retrieval.latency import LatencyMeter
from search.retrieval.registry import Registry
from trainables.checkpoints import manifest
from trainables.exports import export
from trainables.frozen import Frozen
from trainables.spec import DataSpec
from trainables.storage.folder import Folder
from trainables.storage.strict_json import from_json

FRONT = "front.json"


class Front(Frozen):
    """A study's Pareto set, each network in a folder of its own."""

    folder: str
    metric: str
    where: list[str]
    networks: list[Retrieved]  # the best by the metric first


def best(
    folder: StudyFolder,
    metric: str,
    where: Sequence[str],
    policy: str | None,
    out: str,
    exports: Sequence[str],
    register: str | None,
    trust: Sequence[str],
) -> Retrieved:
    """Copy the network of the best epoch of the best trial to `out`, judge it again, export it, register it in MLflow.

    metric, where, policy: as for `choose`. exports: kinds of files to write beside it. register: name of a model in the
    registry. trust: as for `checkpoints.load`. Whatever fails, `out` stays as it was. Raises ValueError where no trial
    fits, where `out` holds something else, and for all that `take` and `Registry` refuse.
    """
    _refuse(out, exports)
    registry = Registry(folder, register) if register else None
    watch = LatencyMeter(folder, trust)
    rows, data = _on_data_at_hand(folder)
    row = choose(rows, metric, where, policy, watch.milliseconds)
    with replacing(out) as fresh:
        (taken,) = take(folder, data, {out: row}, {out: fresh}, exports, watch, trust)
        if registry:
            taken = taken.model_copy(update={"registered": registry.add(fresh, taken)})
    return taken


def best_front(
    folder: StudyFolder,
    metric: str,
    where: Sequence[str],
    policy: str | None,
    out: str,
    exports: Sequence[str],
    trust: Sequence[str],
) -> Front:
    """Copy every network that `choose_front` finds to a folder of its own in `out`, and list them in `front.json`."""
    _refuse(out, exports)
    watch = LatencyMeter(folder, trust)
    rows, data = _on_data_at_hand(folder)
    rows = choose_front(rows, metric, where, policy, watch.milliseconds)
    with replacing(out) as fresh:
        chosen = {os.path.join(out, f"{row.policy}-{row.sparsity:g}-{row.trial}"): row for row in rows}
        places = {home: fresh / os.path.basename(home) for home in chosen}
        networks = take(folder, data, chosen, places, exports, watch, trust)
        found = Front(folder=out, metric=metric, where=list(where), networks=networks)
        Folder.at(str(fresh)).write(FRONT, found.model_dump_json(indent=1).encode())
    return found


def _on_data_at_hand(folder: StudyFolder) -> tuple[list[TrialRow], dict[DataName, DataSpec]]:
    """Find the data sets that networks are judged on again, and leave out the finished trials that lack theirs."""
    rows = folder.rows()
    data = data_at_hand(folder, [row for row in rows if row.status == "done"])
    return [row for row in rows if row.status != "done" or name_of(row) in data], data


def _refuse(out: str, exports: Sequence[str]) -> None:
    """Raise ValueError for a place that is not ours to fill, and for exports that cannot be written here."""
    if "://" in out:
        raise ValueError(f"--out must be a folder of this machine, but got {out!r}; copy the folder there afterwards")
    if os.path.lexists(out) and not (os.path.isdir(out) and set(os.listdir(out)) <= _filled(Path(out))):
        raise ValueError(f"--out must be a new folder or one that best has filled, but {out} is neither; name another")
    for kind in exports:
        export.check(kind)


def _filled(place: Path) -> set[str]:
    """Name what `best` has left in a folder and nobody has added to."""
    folder = Folder.at(str(place))
    if folder.has(FRONT):
        names = [Path(network["checkpoint"]).name for network in from_json(folder.read(FRONT).decode())["networks"]]
        return {FRONT} | {name for name in names if set(os.listdir(place / name)) <= _filled(place / name)}
    if not (folder.has(manifest.MANIFEST) and folder.has("record.json")):
        return set()
    ours = "verified_accuracy" in from_json(folder.read("record.json").decode())
    return {manifest.MANIFEST, *from_json(folder.read(manifest.MANIFEST).decode())["files"]} if ours else set()
