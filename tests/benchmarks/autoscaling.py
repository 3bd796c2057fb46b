"""A study submitted to a cluster without workers. Workers join when trials wait, and leave when they are idle.

    python -m tests.benchmarks.autoscaling [--idle SECONDS] [--take]

The cluster has the node types and the maximum of `howcompact cluster --kind aws`, but another provider: nodes are
processes of this machine, and their GPUs exist only as numbers. It prints each change of the number of workers. With
--take it kills a worker once all are up, as a spot market does. The trial of this worker goes on elsewhere, and another
worker joins.
"""

import argparse
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FAKE_HEAD_NODE_TYPE
from ray.util.state import list_nodes
from ray.util.state.exception import ServerUnavailable

from search.cluster import jobs
from tests.benchmarks import machines
from tests.search.clusters import Config, config_of, prepared
from tests.search.heads import head
from tests.search.ports import free_port

WORKER = {"CPU": 8, "GPU": 1, "object_store_memory": 100_000_000}  # a g5.2xlarge with less memory
STUDY = ("resources.gpus=1", "policies=[uniform, erk]", "sparsities=[0.5, 0.8, 0.9]", "seeds=[0]", "tracking=off")
HEAD = {
    "RAY_enable_autoscaler_v2": "1",  # as `ray up` sets it
    "RAY_FAKE_CLUSTER": "1",
    "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}


def scaling(folder: str, port: int, idle: float) -> Config:
    """Return the shipped config, with nodes that are processes of this machine. idle: seconds until a worker leaves."""
    config = prepared(config_of("aws"))
    types = config["available_node_types"]
    types["gpu_worker"]["resources"] = WORKER
    types[FAKE_HEAD_NODE_TYPE] = types.pop(config["head_node_type"])
    for node in types.values():
        node["node_config"] = {}
    provider = {"type": "external", "module": "machines.Machines", "folder": folder, "gcs_address": f"127.0.0.1:{port}"}
    local = dict.fromkeys(("use_node_id_as_ip", "disable_node_updaters", "disable_launch_config_check"), True)
    changes = {"provider": provider | local, "head_node_type": FAKE_HEAD_NODE_TYPE, "idle_timeout_minutes": idle / 60}
    return config | changes | {"docker": {}, "auth": {}, "file_mounts": {}}


class Watch:
    """Prints each change of the number of workers."""

    def __init__(self, address: str) -> None:
        self._address, self._began, self.workers = address, time.monotonic(), 0
        threading.Thread(target=self._look, daemon=True).start()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    def _look(self) -> None:
        while True:
            try:
                up = sum(node.state == "ALIVE" and not node.is_head_node for node in list_nodes(self._address))
            except ServerUnavailable:  # the head has ended
                return
            if up != self.workers:
                self.workers = up
                self.say(f"{up} workers")
            time.sleep(0.5)


def take_one(folder: str, watch: Watch, workers: int) -> None:
    """Kill one node with all its processes, once that many workers are up and run trials."""
    while watch.workers < workers:
        time.sleep(0.5)
    time.sleep(10.0)
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # this process has ended meanwhile
            program, *words = command_line.read_bytes().decode().split("\0")
            if program.endswith("/raylet") and any(folder in word for word in words):
                os.kill(int(command_line.parent.name), signal.SIGKILL)
                return watch.say("killed a worker")
    raise LookupError("no worker is up")


def main() -> None:
    """Submit a study, watch the workers, and wait until all of them have left."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--idle", type=float, default=20.0, help="seconds after which an idle worker leaves")
    parser.add_argument("--take", action="store_true", help="kill a worker while trials run")
    options, port = parser.parse_args(), free_port()
    idle = options.idle
    longer = ("finetune.epochs=250",) if options.take else ()  # so that the kill comes before the end
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        config = Path(folder) / "cluster.json"
        config.write_text(json.dumps(scaling(folder, port, idle)))
        shutil.copy(machines.__file__, folder)
        without = ("--num-cpus=0", "--num-gpus=0", f"--autoscaling-config={config}")
        with head(*without, port=port, PYTHONPATH=folder, **HEAD) as address:
            watch = Watch(address)
            job = jobs.submit("digits", address, f"{folder}/studies", overrides=(*STUDY, *longer))
            if options.take:
                threading.Thread(target=take_one, args=(folder, watch, config_of("aws")["max_workers"])).start()
            watch.say(f"{job}: {jobs.follow(address, job, watch.say)}")
            deadline = time.monotonic() + 5 * idle + 30
            while watch.workers and time.monotonic() < deadline:
                time.sleep(0.5)


if __name__ == "__main__":
    main()
