"""What is wrong with a study, found before anything runs."""

from collections.abc import Sequence
from itertools import product

from search.study import search_checks
from search.study.spec import StudySpec
from trainables.catalog import checks
from trainables.names import GATED
from trainables.pruning_spec import Distillation, Gates
from trainables.spec import TrialSpec

MOST_TRIALS = 100_000  # of a study; a search counts as one
MOST_COMPLAINTS = 100
RESERVED = ("artifacts", "mlartifacts")  # folders of a storage, beside its studies


def complaints(study: StudySpec) -> list[str]:
    """Say all that is wrong with the settings; if nothing is, what is missing here; if nothing is, what cannot fit.

    Only the second and the third question import torch. No image is read.
    """
    return complaints_of_settings(study) or _missing(study) or _misfits(study)


def complaints_of_settings(study: StudySpec) -> list[str]:
    """Say all that is wrong with the settings themselves. Nothing heavy is imported and no network is built."""
    if (size := study.size) > MOST_TRIALS:
        return [f"a study must have at most {MOST_TRIALS:,} trials, but this one has {size:,}; divide it"]
    found: list[str] = []
    if study.name in RESERVED:
        found.append(f"name must not be one of {', '.join(RESERVED)}, which a storage needs, but got {study.name!r}")
    if study.data.content:
        found.append(f"data.content must be left out, as each run finds it, but got {study.data.content!r}; drop it")
    for field in ("models", "criteria", "recoveries", "curricula", "policies", "sparsities", "seeds"):
        values = getattr(study, field)
        if len(set(values)) < len(values):
            shown = [getattr(value, "name", value) for value in values]
            found.append(f"{field} must differ from each other, but got {shown}; name each once")
    if study.distillation != Distillation() and "distill" not in study.recoveries:
        found.append("distillation must come with recovery 'distill'; add it to recoveries, or leave distillation out")
    if study.gates != Gates() and not {*study.criteria, *study.all_policies()} & {*GATED}:
        found.append(
            "gates must come with a criterion or a policy that reads them; add 'gates' to criteria or policies, or "
            "leave gates out"
        )
    if study.resources.workers > 1:
        found += _of_workers(study)
    starts = [study.search.starts(policy, len(cells)) for policy, cells in study.searches()]
    found += search_checks.complaints(study.search, max(starts, default=0))
    for policy, cell in product(study.all_policies(), _different_cells(study)):
        found += checks.conflicts(cell.under(policy, study.gates))
        if len(found) > MOST_COMPLAINTS:
            break
    found += [f"weights must be for one of the models, but got {name!r}" for name in {*study.weights} - {*study.models}]
    return list(dict.fromkeys(found))


def _missing(study: StudySpec) -> list[str]:
    from trainables.catalog import availability  # imports torch

    networks = (network for cell in _different_cells(study) for network in cell.networks)
    return availability.missing({(network.model, network.weights): network for network in networks}.values())


def _misfits(study: StudySpec) -> list[str]:
    """Say which networks, images, budgets and spaces do not fit each other."""
    from trainables.catalog import feasibility  # imports torch

    return feasibility.unreachable([*study.trials(), *study.cells()]) or search_checks.unvaried(
        study.search, [cells[0] for _, cells in study.searches()]
    )


def _different_cells(study: StudySpec) -> Sequence[TrialSpec]:
    """Pick one cell for each combination of settings that the checks look at: seeds and sparsities do not matter."""
    cells = {(cell.dense.model, cell.criterion, cell.recovery, cell.followed): cell for cell in study.cells()}
    return list(cells.values())


def _of_workers(study: StudySpec) -> list[str]:
    found, workers, gpus = [], study.resources.workers, study.resources.gpus
    if gpus not in ("auto", 0.0, 1.0):
        found.append(f"resources.gpus must be 1 where several workers train a network, but got {gpus}; leave it out")
    for name, recipe in (("dense", study.dense), ("finetune", study.finetune)):
        if recipe.batch_size < workers:
            found.append(
                f"{name}.batch_size must be at least the number of workers, but got {recipe.batch_size} for {workers}; "
                "lower resources.workers"
            )
    return found
