"""A storage that some node cannot reach is found before a trial waits for it there."""

import uuid
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trainables.storage.folder import Folder

PATIENCE = 120.0  # seconds in which every node must have answered; starting a worker takes some of them
MARK, NAMED = "driver", 3  # file of the driver; nodes that an error names


def refuse_unreachable(storage: Folder) -> None:
    """Let every node that may run trials read what this one writes, and the other way round.

    Raises ValueError with the nodes that cannot, why not, and what to do. A cluster of this node alone is not asked;
    nodes that join later are checked by Tune, which marks its own folder in the storage.
    """
    here = ray.get_runtime_context().get_node_id()
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in _working() if node["NodeID"] != here}
    if not nodes:
        return
    place, mark = storage / f".reach-{uuid.uuid4().hex}", uuid.uuid4().bytes
    try:
        place.write(MARK, mark)
        visits = {
            _visit.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                place, mark, node
            ): node
            for node in nodes
        }
        ended, silent = ray.wait(list(visits), num_returns=len(visits), timeout=PATIENCE)
        told = {visits[visit]: f"no answer in {PATIENCE:.0f} s" for visit in silent}
        told |= {visits[visit]: _answer(visit) or _unseen(place, visits[visit]) for visit in ended}
    finally:
        place.delete()
    left = {node["NodeID"] for node in _working()}  # one that has gone meanwhile runs no trial
    wrong = [f"{nodes[node]} ({why})" for node, why in told.items() if why and node in left]
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if wrong[NAMED:] else ""
        raise ValueError(
            f"storage must be a place that every node reaches, but {storage.uri} is not for {', '.join(wrong[:NAMED])}"
            f"{more}; give a URI such as s3://bucket/studies with credentials in each node's environment, or a folder "
            "that every node has mounted at the same path"
        )


def _working() -> list[dict[str, Any]]:
    """Nodes that are up and may run trials."""
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]


@ray.remote(num_cpus=0, max_retries=0)
def _visit(place: Folder, mark: bytes, name: str) -> str:
    """Read the driver's mark and leave one; tell what is wrong, if anything is."""
    try:
        if place.read(MARK) != mark:
            return "it reads something else there"
        place.write(name, mark)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return ""


def _answer(visit: Any) -> str:
    try:
        return str(ray.get(visit))
    except ray.exceptions.RayError as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def _unseen(place: Folder, node: str) -> str:
    return "" if place.has(node) else "what it writes is not seen here"
