"""The same trials (a) by `howcompact run`, (b) by a plain Ray Tune script, (c) in bare Python loops, one per core.

    python -m tests.benchmarks.engine [--seeds N] [--epochs N] [--out FILE]

Dense networks are trained beforehand, and all three use them. Ratios come from one run on one machine.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from search.study.reading import read_study
from search.study.spec import StudySpec
from trainables.artifacts.dense import load_dense, make_dense
from trainables.checkpoints import artifact_store, checkpoint
from trainables.data import sources
from trainables.outcome import Outcome
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial

HERE = Path(__file__).parent


def main() -> None:
    """Run all three and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--epochs", type=int, default=8, help="epochs of fine-tuning; longer trials show the fixed cost"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    settings = [
        "policies=[uniform,erk,capacity]",
        f"seeds={list(range(options.seeds))}",
        f"finetune.epochs={options.epochs}",
    ]
    study = read_study("digits", settings)
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        storage = Folder.at(str(home / "runs"))
        train_dense(study, storage)
        bare = bare_loops(study, storage, home)
        ours = howcompact(settings, home, storage, study)
        plain = plain_tune(study, home, storage)
    report = {
        "trials": len(study.trials()),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "howcompact": ours,
        "plain_tune": plain,
        "bare_loops": bare,
        "plain_over_howcompact": plain["wall_seconds"] / ours["wall_seconds"],
        "trial_time_of_bare_over_howcompact": bare["window_seconds"] / ours["window_seconds"],
    }
    print(json.dumps(report, indent=1))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1))


def train_dense(study: StudySpec, storage: Folder) -> None:
    """Train the dense networks that all three start from."""
    torch.set_num_threads(1)
    splits, device = sources.load(study.data), torch.device("cpu")
    for spec in {cell.dense.key(): cell.dense for cell in study.cells()}.values():
        make = partial(make_dense, spec, splits, storage, device=device)
        artifact_store.find_or_make(storage, "dense", spec.key(), make)


def howcompact(settings: list[str], home: Path, storage: Folder, study: StudySpec) -> dict[str, Any]:
    """(a) Time the installed command."""
    command = [str(Path(sys.executable).with_name("howcompact")), "run", "digits", "--storage", storage.uri]
    started = time.perf_counter()
    clock = time.time()
    subprocess.run([*command, "--json", "--set", *settings], cwd=home, check=True, capture_output=True)
    wall = time.perf_counter() - started
    ended, seconds = [], []
    for path in Path(storage.uri).glob("digits/trials/*/outcome.json"):
        ended.append(path.stat().st_mtime)
        seconds.append(Outcome.model_validate_json(path.read_text()).seconds)
    began = [end - spent for end, spent in zip(ended, seconds, strict=True)]
    return {
        "wall_seconds": wall,
        "before_the_first_trial": min(began) - clock,
        "window_seconds": max(ended) - min(began),
        "after_the_last_trial": wall - (max(ended) - clock),
        "summed_trial_seconds": sum(seconds),
    }


def plain_tune(study: StudySpec, home: Path, storage: Folder) -> dict[str, Any]:
    """(b) Time the plain script. It gets the amount of each layer, so it prunes to the same budgets."""
    splits = sources.load(study.data)
    mean, std = torch.tensor(splits.mean).view(-1, 1, 1), torch.tensor(splits.std).view(-1, 1, 1)
    dense, amounts = {}, {}
    for cell in study.cells():
        network = artifact_store.find(storage, "dense", cell.dense.key())
        assert network is not None
        dense[cell.seed] = load_dense(checkpoint.load(network), torch.device("cpu")).state_dict()
    for path in Path(storage.uri).glob("digits/trials/*/outcome.json"):
        outcome = Outcome.model_validate_json(path.read_text())
        assert outcome.facts is not None
        spec = outcome.spec
        amounts[spec.policy, spec.sparsity, spec.seed] = {n: 1.0 - d for n, d in outcome.facts.layers.items()}
    inputs = {
        "splits": {
            name: ((torch.tensor(s.images) / 255 - mean) / std, torch.tensor(s.labels))
            for name, s in (("train", splits.train), ("val", splits.val))
        },
        "dense": dense,
        "amounts": amounts,
        "recipe": study.finetune.model_dump(),
        "grid": {"policy": list(study.policies), "sparsity": list(study.sparsities), "seed": list(study.seeds)},
    }
    torch.save(inputs, home / "inputs.pt")
    (home / "plain").mkdir()
    started = time.perf_counter()
    command = [sys.executable, str(HERE / "plain_tune.py"), str(home / "inputs.pt"), str(home / "plain")]
    subprocess.run(command, cwd=home, check=True, capture_output=True)
    return {"wall_seconds": time.perf_counter() - started}


def bare_loops(study: StudySpec, storage: Folder, home: Path) -> dict[str, Any]:
    """(c) Time one bare loop per core, without imports: the time that the trials alone take."""
    context = get_context("spawn")
    ready, go = context.Semaphore(0), context.Event()
    cores = os.cpu_count() or 1
    shares = [study.trials()[core::cores] for core in range(cores)]
    workers = [
        context.Process(target=_loop, args=(share, storage, Folder.at(str(home / "bare")), ready, go))
        for share in shares
    ]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.acquire()
    started = time.perf_counter()
    go.set()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    return {"window_seconds": time.perf_counter() - started}


def _loop(specs: list[Any], storage: Folder, folder: Folder, ready: Any, go: Any) -> None:
    torch.set_num_threads(1)
    splits = sources.load(specs[0].dense.data)
    ready.release()
    go.wait()
    for spec in specs:
        for _ in run_trial(spec, splits, storage, folder / spec.key(), torch.device("cpu")):
            pass


if __name__ == "__main__":
    main()
