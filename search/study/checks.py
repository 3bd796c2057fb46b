"""What is wrong with a study, found before anything runs."""

from itertools import product

from search.study.spec import StudySpec
from trainables.names import GATED
from trainables.spec import Distillation, Gates

MOST_TRIALS, MOST_COMPLAINTS = 100_000, 100  # of a study, searches counted as one; about it


TAKEN = ("artifacts", "mlartifacts")  # folders beside the studies of a storage


def complaints(study: StudySpec) -> list[str]:
    """Say all that is wrong with a study and can be told without reading its images."""
    from search.study import search_checks
    from trainables.catalog import checks, feasibility

    if (size := study.size) > MOST_TRIALS:
        return [f"a study must have at most {MOST_TRIALS:,} trials, but this one has {size:,}; divide it"]
    found: list[str] = []
    if study.name in TAKEN:
        found.append(f"name must not be one of {', '.join(TAKEN)}, which a storage needs, but got {study.name!r}")
    if study.data.content:
        found.append(f"data.content must be left out, as each run finds it, but got {study.data.content!r}; drop it")
    for field in ("models", "criteria", "recoveries", "curricula", "policies", "sparsities", "seeds"):
        values = getattr(study, field)
        if len(set(values)) < len(values):
            told = [getattr(value, "name", value) for value in values]
            found.append(f"{field} must differ from each other, but got {told}; name each once")
    if study.distillation != Distillation() and "distill" not in study.recoveries:
        found.append("distillation must come with recovery 'distill'; add it to recoveries, or leave distillation out")
    if study.gates != Gates() and not {*study.criteria, *study.all_policies()} & {*GATED}:
        found.append("gates must come with a criterion or policy that goes by them; add 'gates', or leave gates out")
    if study.resources.workers > 1:
        found += _complaints_of_workers(study)
    starts = [study.search.starts(policy, len(cells)) for policy, cells in study.searches()]
    found += search_checks.complaints(study.search, max(starts, default=0))
    alike = {(cell.dense.model, cell.criterion, cell.recovery, cell.followed): cell for cell in study.cells()}
    for policy, cell in product(study.all_policies(), alike.values()):
        found += checks.conflicts(cell.under(policy, study.gates))
        if len(found) > MOST_COMPLAINTS:
            break
    found += checks.missing(list({cell.dense.model: cell.dense for cell in alike.values()}.values()))
    found += [f"weights must be for one of the models, but got {name!r}" for name in {*study.weights} - {*study.models}]
    return (
        list(dict.fromkeys(found))
        or feasibility.unreachable([*study.trials(), *study.cells()])
        or search_checks.unvaried(study.search, [cells[0] for _, cells in study.searches()])
    )


def _complaints_of_workers(study: StudySpec) -> list[str]:
    found, workers, gpus = [], study.resources.workers, study.resources.gpus
    if gpus not in ("auto", 0.0, 1.0):
        found.append(f"resources.gpus must be 1 where several workers train a network, but got {gpus}; leave it out")
    for name, recipe in (("dense", study.dense), ("finetune", study.finetune)):
        if recipe.batch_size < workers:
            found.append(
                f"{name}.batch_size must have a sample for each worker, but got {recipe.batch_size} for {workers}; "
                "lower resources.workers"
            )
    return found
