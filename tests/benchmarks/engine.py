"""The same trials by `howcompact run`, by plain scripts of Ray Tune and of Optuna, and in bare loops, one per core.

    python -m tests.benchmarks.engine [--cifar10 FOLDER] [--seeds N] [--epochs N] [--out FILE]

The trials are of the digits, or of CIFAR-10 in a folder of Parquet files: ResNet-20 and VGG-16 at a quarter of their
width on 5,000 images. Dense networks are trained beforehand, and all use them. Ratios come from one run on one machine.
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

from search.running.identity import identified
from search.study.reading import read_study
from search.study.spec import StudySpec
from trainables.artifacts.dense import load_dense, make_dense
from trainables.checkpoints import artifact_store, checkpoint
from trainables.data import sources
from trainables.outcome import Outcome
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial


def main() -> None:
    """Run all and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar10", help="folder with the data set's Parquet files")
    parser.add_argument("--seeds", type=int, help="by default 3, and 2 on CIFAR-10")
    parser.add_argument("--epochs", type=int, help="of fine-tuning, by default 8, and 2 on CIFAR-10")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    digits = options.cifar10 is None
    name = "digits" if digits else "cifar10"
    settings = [
        *("policies=[uniform,erk,capacity]",) * digits,
        f"seeds={list(range(options.seeds or (3 if digits else 2)))}",
        f"finetune.epochs={options.epochs or (8 if digits else 2)}",
    ]
    if not digits:
        settings += [
            *("data.name=parquet", f"data.path={options.cifar10}", "data.max_train=5000", "data.max_val=1000"),
            *("models=[resnet20,vgg16]", "width=0.25", "dense.epochs=1", "sparsities=[0.9]", "policies=[uniform,erk]"),
            *("search={}", "data.augment=none"),
        ]
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        storage = Folder.at(str(home / "runs"))
        study = identified(read_study(name, settings), storage, lambda _: None)  # as run does: keys hold checksums
        train_dense(study, storage)
        bare = bare_loops(study, storage, home)
        ours = howcompact(name, settings, home, storage)
        scripts = plain_scripts(study, home, storage)
    report = {
        "trials": len(study.trials()),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "howcompact": ours,
        "bare_loops": bare,
        **scripts,
        **{f"{script}_over_howcompact": wall / ours["wall_seconds"] for script, wall in scripts.items()},
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


def howcompact(name: str, settings: list[str], home: Path, storage: Folder) -> dict[str, Any]:
    """Time the installed command."""
    command = [str(Path(sys.executable).with_name("howcompact")), "run", name, "--storage", storage.uri]
    started = time.perf_counter()
    clock = time.time()
    subprocess.run([*command, "--json", "--set", *settings], cwd=home, check=True, capture_output=True)
    wall = time.perf_counter() - started
    ended, seconds = [], []
    for path in Path(storage.uri).glob(f"{name}/trials/*/outcome.json"):
        ended.append(path.stat().st_mtime)
        seconds.append(Outcome.from_file(path.read_bytes()).seconds)
    began = [end - spent for end, spent in zip(ended, seconds, strict=True)]
    return {
        "wall_seconds": wall,
        "before_the_first_trial": min(began) - clock,
        "window_seconds": max(ended) - min(began),
        "after_the_last_trial": wall - (max(ended) - clock),
        "summed_trial_seconds": sum(seconds),
    }


def plain_scripts(study: StudySpec, home: Path, storage: Folder) -> dict[str, float]:
    """Time the plain scripts: name -> seconds. They get the amount of each layer, so they prune to the same budgets."""
    splits = sources.load(study.data)
    mean, std = torch.tensor(splits.mean).view(-1, 1, 1), torch.tensor(splits.std).view(-1, 1, 1)
    dense, amounts = {}, {}
    for cell in study.cells():
        network = artifact_store.find(storage, "dense", cell.dense.key())
        assert network is not None
        dense[cell.dense.model, cell.seed] = load_dense(checkpoint.load(network), torch.device("cpu")).state_dict()
    for path in Path(storage.uri).glob(f"{study.name}/trials/*/outcome.json"):
        outcome = Outcome.from_file(path.read_bytes())
        assert outcome.facts is not None
        spec = outcome.spec
        amounts[spec.dense.model, spec.policy, spec.sparsity, spec.seed] = {
            n: 1.0 - d for n, d in outcome.facts.layers.items()
        }
    inputs = {
        "splits": {
            name: ((torch.tensor(s.images) / 255 - mean) / std, torch.tensor(s.labels))
            for name, s in (("train", splits.train), ("val", splits.val))
        },
        "dense": dense,
        "amounts": amounts,
        "recipe": study.finetune.model_dump(),
        "channels": splits.train.images.shape[1],
        "width": study.width,
        "grid": {
            "model": list(study.models),
            "policy": list(study.policies),
            "sparsity": list(study.sparsities),
            "seed": list(study.seeds),
        },
    }
    torch.save(inputs, home / "inputs.pt")
    seconds = {}
    for script in ("plain_tune", "plain_optuna"):
        (home / script).mkdir()
        started = time.perf_counter()
        command = [sys.executable, "-m", f"tests.benchmarks.{script}", str(home / "inputs.pt"), str(home / script)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        subprocess.run(command, cwd=home, check=True, capture_output=True, env=environment)
        seconds[script] = time.perf_counter() - started
    return seconds


def bare_loops(study: StudySpec, storage: Folder, home: Path) -> dict[str, Any]:
    """Time one bare loop per core, without imports: the time that the trials alone take."""
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
