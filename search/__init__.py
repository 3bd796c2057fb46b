"""Runs studies and analyses their results. The main commands of the command line are functions here.

Each function imports heavy libraries only when it needs them.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.report.notebook import Compared
    from search.results.folder import StudyFolder
    from search.retrieval.best import Front
    from search.retrieval.copying import Retrieved
    from search.running.clean import Cleaned
    from search.running.dry_run import DryRun
    from search.running.messages import Verbosity
    from search.running.run import RunSummary, Show
    from search.samples.summary import Learnability
    from search.verification.verify import Verified

__all__ = ["best", "clean", "compare", "dry_run", "front", "learnability", "run", "submit", "verify"]

STORAGE = "howcompact-runs"  # the default folder of studies


def run(
    study: str | Mapping[str, Any] = "digits",
    storage: str = STORAGE,
    *,
    name: str | None = None,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    address: str | None = None,
    progress: "Verbosity" = "normal",
    show: "Show | None" = None,
) -> "RunSummary":
    """Start, continue or extend a study.

    study: a YAML file, the name of a shipped study, or a dictionary of settings. storage: folder or URI that holds the
    studies. name: replaces the name of the study. overrides: settings as "key=value", or a dictionary from dotted names
    to values. address: of a running Ray cluster; None starts a local one. progress: "quiet" shows only warnings on
    stderr, "verbose" also each trial and each epoch of dense training, and keeps Ray's logs. show: a function that gets
    the result seconds earlier, before MLflow has all of it. Raises ValueError with all that is wrong with the study, or
    if it is running. Raises StorageError if the storage fails; the same call then continues the study.
    """
    from trainables.garbage import uncollected

    with uncollected():  # most of the time is imports
        from search.study.reading import read_study
        from trainables.storage.folder import Folder

        checked, root = read_study(study, overrides, name), Folder.at(storage)
        from search.running.run import run as run_study  # Ray is imported only for a study that can run
    return run_study(checked, root, address, _warn, progress, show)


def dry_run(
    study: str | Mapping[str, Any] = "digits",
    storage: str = STORAGE,
    *,
    name: str | None = None,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    progress: "Verbosity" = "normal",
) -> "DryRun":
    """Count what `run` would do and reuse, and estimate its time from earlier runs. It starts nothing.

    The arguments and errors are those of `run`.
    """
    from search.running.dry_run import dry_run as plan
    from search.running.messages import Messages
    from search.study.reading import read_study
    from trainables.storage.folder import Folder

    return plan(read_study(study, overrides, name), Folder.at(storage), Messages(progress).say)


def compare(
    folders: Sequence[str], *, margin: float | None = None, test: bool = False, trust: Sequence[str] = ()
) -> "Compared":
    """Compare the policies of finished studies at equal budgets over the same seeds.

    folders: folders or URIs of studies. margin: in points of accuracy; with it, `.pairs` tells of every two policies of
    a cell whether one is better or both are equivalent. test: also measure accuracies on the test split. trust: models
    of your own, "package.module:function", that `test` may import to rebuild networks. The result has `.table`
    (pyarrow) and `.plot()`, and a notebook displays it.
    """
    from search.comparison.compare import compare as compare_studies
    from search.report.notebook import Compared
    from search.results.folder import StudyFolder
    from search.results.status import unfinished_message
    from trainables.models.trust import Trust

    opened = [StudyFolder.open(folder, Trust(trust)) for folder in folders]
    comparison = compare_studies(opened, margin)
    if test:
        from search.comparison.held_out import with_test  # imports torch, which the rest does not need

        comparison = with_test(comparison, opened)
    warnings = [*filter(None, map(unfinished_message, opened)), *comparison.warnings]
    return Compared.model_validate(dict(comparison) | {"warnings": warnings})


def learnability(
    study: str | Mapping[str, Any] = "learnability",
    storage: str = STORAGE,
    *,
    name: str | None = None,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    address: str | None = None,
    out: str | None = None,
    progress: "Verbosity" = "normal",
) -> "Learnability":
    """Measure how easy a study's training samples are for its dense networks. Train networks that are missing.

    The arguments are those of `run`. out: a folder for samples.parquet, the numbers, the figures and the page.
    """
    from pathlib import Path

    from search.results.out_folder import refuse_out, writing
    from search.study.reading import read_study
    from trainables.storage.folder import Folder

    if out is not None:
        refuse_out(out)
    checked, root = read_study(study, overrides, name), Folder.at(storage)
    from search.running.identity import identified
    from search.running.messages import Messages
    from search.running.tuner import train_dense
    from search.samples.runs import networks, read_runs
    from search.samples.summary import learnability as look

    networks(checked)  # raises for a study that records nothing, before files are read
    messages = Messages(progress)
    checked = identified(checked, root, messages.say)
    specs = networks(checked)
    train_dense(checked, specs, root, address, messages)
    runs = read_runs(specs, root)
    result = look(checked, root, runs)
    if out is not None:
        from search.samples.page import write_learnability

        with writing(out):
            write_learnability(result, checked, runs, Path(out))
    return result


def best(
    folder: str,
    *,
    metric: str = "best_val_accuracy",
    where: Sequence[str] = (),
    policy: str | None = None,
    out: str = "best",
    export: Sequence[str] = (),
    register: str | None = None,
    device: str | None = None,
    trust: Sequence[str] = (),
) -> "Retrieved":
    """Copy the network of the best trial to `out`, and measure its accuracy in a new process.

    An error leaves `out` as it was.

    metric: the result that chooses the trial; accuracies and sparsity are best high, all others low. where:
    constraints, such as "sparsity>=0.9", "macs<=0.5" (of the dense network's), "recovery==finetune", or
    "latency_ms<=3", measured here. export: "onnx", "torch", "int8". register: a model's name in MLflow's registry.
    device: where latency is measured: "torch-cpu", "torch-cuda" or "onnxruntime-cpu"; None is PyTorch, on the GPU where
    there is one. trust: models of your own, "package.module:function", that may be imported to rebuild networks. Raises
    ValueError if no trial fits.
    """
    from search.retrieval.best import best as retrieve
    from search.retrieval.choosing import BestRequest

    request = BestRequest(
        metric=metric, where=where, policy=policy, out=out, export=export, register=register, device=device
    )
    return retrieve(_open(folder, trust), request)


def front(
    folder: str,
    *,
    metric: str = "best_val_accuracy",
    where: Sequence[str] = (),
    policy: str | None = None,
    out: str = "front",
    export: Sequence[str] = (),
    device: str | None = None,
    trust: Sequence[str] = (),
) -> "Front":
    """Copy the Pareto set of the metric, weights and multiply-accumulates: each network that no other network beats.

    Latency counts too if a constraint names it. The arguments are those of `best`.
    """
    from search.retrieval.best import best_front
    from search.retrieval.choosing import BestRequest

    request = BestRequest(metric=metric, where=where, policy=policy, out=out, export=export, device=device)
    return best_front(_open(folder, trust), request)


def verify(folder: str, *, sample: int = 3, trust: Sequence[str] = (), progress: "Verbosity" = "normal") -> "Verified":
    """Derive every number of a study's tables again from the files of its trials, and name what disagrees.

    sample: number of finished trials to measure again, on their data sets. trust: as `best`. progress: as `run`.
    """
    from search.results.folder import StudyFolder
    from search.running.messages import Messages
    from search.verification.verify import verify as verify_study
    from trainables.models.trust import Trust

    return verify_study(StudyFolder.open(folder, Trust(trust)), sample, Messages(progress).say)


def clean(storage: str, *, delete: bool = False) -> "Cleaned":
    """List the artifacts of a storage that no study needs; with `delete`, delete them.

    storage: folder or URI that holds the studies. Raises ValueError while a run is active, and if a study cannot be
    read.
    """
    from search.running.clean import clean as clean_storage
    from trainables.storage.folder import Folder

    return clean_storage(Folder.at(storage), delete, _warn)


def submit(study: str, address: str, storage: str, *, name: str | None = None, overrides: Sequence[str] = ()) -> str:
    """Run a study as a Ray job on a cluster. Returns the job's id.

    address: of the cluster's dashboard, as "http://127.0.0.1:8265". storage: a URI or a folder that every node reaches.
    Raises ValueError with all that is wrong with the study, or if the cluster already runs it.
    """
    from search.cluster.jobs import submit as submit_job

    return submit_job(study, address, storage, overrides=overrides, name=name)


def _open(folder: str, trust: Sequence[str]) -> "StudyFolder":
    """Open a study folder; warn of a study that is unfinished."""
    from search.results.folder import StudyFolder
    from search.results.status import unfinished_message
    from trainables.models.trust import Trust

    opened = StudyFolder.open(folder, Trust(trust))
    if message := unfinished_message(opened):
        _warn(message)
    return opened


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.__stderr__, flush=True)
