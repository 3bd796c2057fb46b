"""What is wrong with a study, found before anything runs."""

from collections.abc import Sequence
from itertools import product

from search.study import search_checks
from search.study.given import Given
from search.study.spec import StudySpec
from trainables.catalog import checks
from trainables.device_spec import DeviceSpec
from trainables.names import GATED, GIVEN
from trainables.pruning_spec import Distillation, Gates
from trainables.spec import TrialSpec
from trainables.task_spec import TaskSpec

MOST_TRIALS = 100_000  # of a study; a search counts as one
MOST_COMPLAINTS = 100
TRIED = ("optimizer", "measure", "curriculum", "sampler", "scheduler")  # kinds of functions of the user's own
RESERVED = ("artifacts", "mlartifacts")  # folders of a storage, beside its studies


def complaints(study: StudySpec) -> list[str]:
    """List what is wrong with a study; an empty list is returned for a study that can run.

    There are three stages: mistakes in the settings, then files and models that are missing here, then settings that do
    not fit the networks. A stage runs only if the stage before finds nothing. Only the last two import torch. No image
    is read.
    """
    return complaints_of_settings(study) or _missing(study) or _misfits(study)


def complaints_of_settings(study: StudySpec) -> list[str]:
    """List the mistakes in the settings themselves. No heavy library is imported and no network is built."""
    if (size := study.size) > MOST_TRIALS:
        return [f"a study must have at most {MOST_TRIALS:,} trials, but this one has {size:,}; divide it"]
    problems: list[str] = []
    if study.name in RESERVED:
        problems.append(
            f"name must not be one of {', '.join(RESERVED)}, which a storage needs, but got {study.name!r}; change it"
        )
    if study.data.content:
        problems.append(f"data.content must be left out, as each run finds it, but got {study.data.content!r}; drop it")
    if study.data.task != TaskSpec(function=study.task):
        problems.append("data.task must be left out, as the setting task gives it; drop it")
    for name, recipe in (("dense", study.dense), ("finetune", study.finetune)):
        if recipe.code:
            problems.append(f"{name}.code must be left out, as each run finds it, but got {recipe.code!r}; drop it")
    if study.device.content:
        problems.append("device.content must be left out, as each run finds it; drop it")
    if study.device != DeviceSpec() and not study.timed:
        problems.append(
            "device must come with budget=latency, with latency=true, or with latency_ms in search.goals or "
            "search.constraints; set one, or drop device"
        )
    if study.contents or any(curriculum.content or curriculum.code for curriculum in study.curricula):
        problems.append("contents must be left out, as each run finds them; drop them")
    for field in ("models", "criteria", "recoveries", "curricula", "policies", "sparsities", "seeds"):
        values = getattr(study, field)
        if len(set(values)) < len(values):
            listed = [getattr(value, "name", value) for value in values]
            problems.append(f"{field} must differ from each other, but got {listed}; name each once")
    if study.distillation != Distillation() and "distill" not in study.recoveries:
        problems.append(
            "distillation must come with recovery 'distill'; add it to recoveries, or leave distillation out"
        )
    if study.gates != Gates() and not {*study.criteria, *study.all_policies()} & {*GATED}:
        problems.append(
            "gates must come with a criterion or a policy that reads them; add 'gates' to criteria or policies, or "
            "leave gates out"
        )
    if study.given != Given() and GIVEN not in study.all_policies():
        problems.append("given must come with policy 'given'; add it to policies, or leave given out")
    if study.resources.workers > 1:
        problems += _of_workers(study)
    starts = [study.search.starts(policy, len(cells)) for policy, cells in study.searches()]
    problems += search_checks.complaints(study.search, max(starts, default=0))
    for policy, cell in product(study.all_policies(), _different_cells(study)):
        problems += checks.conflicts(study.under(policy, cell))
        if len(problems) > MOST_COMPLAINTS:
            break
    problems += [
        f"weights must be for one of the models, but got {name!r}" for name in {*study.weights} - {*study.models}
    ]
    return list(dict.fromkeys(problems))


def _missing(study: StudySpec) -> list[str]:
    from trainables.catalog import availability  # imports torch

    networks = (network for cell in _different_cells(study) for network in cell.networks)
    different = {(network.model, network.weights): network for network in networks}
    missing = availability.missing(different.values(), study.device)
    return [*missing, *availability.missing_packages(study.quantise)]


def _misfits(study: StudySpec) -> list[str]:
    """List the networks, images, budgets and search spaces that do not fit each other."""
    from trainables.catalog import feasibility  # imports torch

    cells = [cells[0] for _, cells in study.searches()]
    return (
        _unsound(study)
        or feasibility.unreachable([*study.trials(), *study.cells()])
        or search_checks.unvaried(study.search, cells)
    )


def _unsound(study: StudySpec) -> list[str]:
    """Try the functions of the user's own that need neither the study's networks nor its data. List what is wrong."""
    tried = {name: kind for name, kind in study.functions().items() if kind in TRIED}
    if not tried:
        return []
    from search.methods.contract import check_function  # imports torch and Optuna

    problems = []
    for name, kind in tried.items():
        try:
            check_function(kind, name, study.search.goals)
        except ValueError as error:
            problems.append(str(error))
    return problems


def _different_cells(study: StudySpec) -> Sequence[TrialSpec]:
    """Pick one cell for each combination of the settings that the checks read; they read no seed and no sparsity."""
    cells = {(cell.dense.model, cell.criterion, cell.recovery, cell.followed): cell for cell in study.cells()}
    return list(cells.values())


def _of_workers(study: StudySpec) -> list[str]:
    problems, workers, gpus = [], study.resources.workers, study.resources.gpus
    if gpus not in ("auto", 0.0, 1.0):
        problems.append(f"resources.gpus must be 1 where several workers train a network, but got {gpus}; leave it out")
    for name, recipe in (("dense", study.dense), ("finetune", study.finetune)):
        if recipe.batch_size < workers:
            problems.append(
                f"{name}.batch_size must be at least the number of workers, but got {recipe.batch_size} for {workers}; "
                "lower resources.workers"
            )
    return problems
