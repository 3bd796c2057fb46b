"""A study: the settings that its trials share and those that they differ in, and what is wrong with them."""

import math
from collections.abc import Mapping
from itertools import chain, product
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from search.search_spec import SearchSpec
from trainables.credentials import Address
from trainables.spec import (
    GATED,
    SEARCHED,
    SEARCHES,
    BudgetKind,
    Curriculum,
    DataSpec,
    DenseSpec,
    Distillation,
    Frozen,
    Gates,
    GranularityName,
    Precision,
    Pruning,
    Recipe,
    Schedule,
    Seed,
    Sparsity,
    Taken,
    TrialSpec,
    Width,
)

MOST_TRIALS, MOST_COMPLAINTS = 100_000, 100  # of a study, searches counted as one; about it
TAKEN = ("artifacts", "mlartifacts")  # folders beside the studies of a storage
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
OFF = BeforeValidator(lambda told: "off" if told is False else told)  # YAML reads a bare off as false
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Named = Annotated[Curriculum, BeforeValidator(lambda told: {"name": told} if isinstance(told, str) else told)]


class Resources(Frozen):
    """What one trial occupies on the cluster."""

    workers: int = Field(1, ge=1, le=64)  # that share each of its trainings, with the same result
    cpus: float = Field(1.0, gt=0.0)  # of each worker
    gpus: Share | Literal["auto"] = "auto"  # of each worker; auto: what a probe finds best
    precision: Precision = "auto"  # of trainings and accuracies


class Recording(Frozen):
    """In which trainings each sample is followed, and when in an epoch that is told."""

    dense: Annotated[Taken, OFF] = DenseSpec().record
    finetune: Annotated[Taken, OFF] = TrialSpec().record


class StudySpec(Frozen):
    """Every model x criterion x recovery x curriculum x policy x sparsity x seed is a trial."""

    name: Name
    models: tuple[str, ...] = Field(("small_cnn",), min_length=1)
    width: Width = 1.0
    weights: Mapping[str, str] = {}  # model -> where its dense training starts: a file, or a name of torchvision's
    data: DataSpec = DataSpec()
    dense: Recipe = Recipe()
    granularity: GranularityName = "weight"
    criteria: tuple[str, ...] = Field(("magnitude",), min_length=1)
    policies: tuple[str, ...] = Field(("uniform", "capacity", SEARCHED), min_length=1)
    sparsities: tuple[Sparsity, ...] = Field((0.5, 0.8, 0.95), min_length=1)
    budget: BudgetKind = "params"
    round_to: int = Field(1, ge=1, le=1024)
    seeds: tuple[Seed, ...] = Field((0, 1, 2), min_length=1)
    calibration: int = Field(512, ge=1)
    recalibrate: int = Field(100, ge=0)
    schedule: Schedule = Schedule()
    recoveries: tuple[str, ...] = Field(("finetune",), min_length=1)
    finetune: Recipe = Recipe(epochs=3, lr=0.01)
    distillation: Distillation = Distillation()
    curricula: tuple[Named, ...] = ()  # beside training without; their controls come by themselves
    records: Recording = Recording()
    before: tuple[Pruning, ...] = ()
    gates: Gates = Gates()
    probe: int = Field(5000, ge=1)
    latency: bool = False  # whether each pruned network's latency is measured
    search: SearchSpec = SearchSpec()
    resources: Resources = Resources()
    tracking: Annotated[Address, OFF] = (
        "auto"  # MLFLOW_TRACKING_URI, else a local store beside the study; off; or a URI
    )

    @property
    def size(self) -> int:
        """How many trials there are of named policies, and searches, before any of them is made."""
        lists = (self.models, self.criteria, self.recoveries, self.all_policies(), self.sparsities, self.seeds)
        return math.prod(map(len, lists)) * (1 + 2 * len(self.curricula))  # with their controls at most

    def trials(self) -> list[TrialSpec]:
        """Every trial of a named policy, those that searches start from first."""
        ordered = sorted(self.all_policies(), key=lambda policy: policy not in self.search.warm_start)
        return [cell.under(policy, self.gates) for policy in ordered if policy not in SEARCHES for cell in self.cells()]

    def searches(self) -> list[tuple[str, list[TrialSpec]]]:
        """Every search: its policy, and the cells that it proposes for, which differ in nothing but sparsity."""
        together = len(self.search.goals) > 1
        groups: dict[str, list[TrialSpec]] = {}
        for cell in self.cells():
            shared = cell.model_copy(update={"sparsity": TrialSpec().sparsity}) if together else cell
            groups.setdefault(shared.key(), []).append(cell)
        return [(policy, cells) for policy in self.policies if policy in SEARCHES for cells in groups.values()]

    def all_policies(self) -> tuple[str, ...]:
        """The policies asked for, and those that a search starts from."""
        starts = self.search.warm_start if SEARCHED in self.policies else ()
        return tuple(dict.fromkeys((*self.policies, *starts)))

    def all_curricula(self) -> tuple[Curriculum, ...]:
        """None at all, the curricula asked for, and the control of each, every one once."""
        each = ((curriculum, control_of(curriculum)) for curriculum in self.curricula)
        return tuple(dict.fromkeys((Curriculum(), *filter(None, chain.from_iterable(each)))))

    def cells(self) -> list[TrialSpec]:
        """One spec for each model x criterion x recovery x curriculum x sparsity x seed, at the default policy."""
        cells = [
            TrialSpec(
                dense=DenseSpec(
                    model=model,
                    width=self.width,
                    data=self.data,
                    recipe=self.dense,
                    seed=seed,
                    record=self.records.dense,
                    weights=self.weights.get(model, ""),
                ),
                granularity=self.granularity,
                criterion=criterion,
                sparsity=sparsity,
                budget=self.budget,
                round_to=self.round_to,
                calibration=self.calibration,
                recalibrate=self.recalibrate,
                schedule=self.schedule,
                recovery=recovery,
                finetune=self.finetune,
                distillation=self.distillation if recovery == "distill" else Distillation(),
                before=self.before,
                gates=self.gates if criterion in GATED else Gates(),
                probe=self.probe if criterion == "probe" else TrialSpec().probe,
                latency=self.latency or self.search.timed,
                record=self.records.finetune,
            )
            for seed, model, criterion, recovery, sparsity in product(
                self.seeds, self.models, self.criteria, self.recoveries, self.sparsities
            )
        ]
        return [following(cell, curriculum) for cell, curriculum in product(cells, self.all_curricula())]


def control_of(curriculum: Curriculum) -> Curriculum | None:
    """The control that a curriculum is held against; None where it has none, or is one itself."""
    if curriculum == Curriculum():
        return None
    from trainables.learning.curricula import CURRICULA, control  # brings torch

    return control(curriculum) if curriculum.name in CURRICULA else None  # unknown ones are refused elsewhere


def label_of(curriculum: Curriculum) -> str:
    """Name a curriculum in short."""
    if curriculum == Curriculum():
        return curriculum.name
    from trainables.learning.curricula import label  # brings torch

    return label(curriculum)


def following(spec: TrialSpec, curriculum: Curriculum) -> TrialSpec:
    """The same trial, but that the training that this curriculum is for follows it, and the other none."""
    dense, own = (curriculum, Curriculum()) if curriculum.phase == "dense" else (Curriculum(), curriculum)
    return spec.model_copy(update={"dense": spec.dense.model_copy(update={"curriculum": dense}), "curriculum": own})


def cell_key(spec: TrialSpec) -> str:
    """Name of what a trial shares with its rivals: everything but the policy and what only that needs."""
    return spec.under(TrialSpec().policy, spec.gates).model_copy(update={"densities": None}).key()


def complaints(study: StudySpec) -> list[str]:
    """Say all that is wrong with a study and can be told without reading its images."""
    from search import search_spec
    from trainables import catalog

    if (size := study.size) > MOST_TRIALS:
        return [f"a study must have at most {MOST_TRIALS:,} trials, but this one has {size:,}; divide it"]
    found: list[str] = []
    if study.name in TAKEN:
        found.append(f"name must not be one of {', '.join(TAKEN)}, which a storage needs, but got {study.name!r}")
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
    found += search_spec.complaints(study.search, max(starts, default=0))
    alike = {(cell.dense.model, cell.criterion, cell.recovery, cell.followed): cell for cell in study.cells()}
    for policy, cell in product(study.all_policies(), alike.values()):
        found += catalog.conflicts(cell.under(policy, study.gates))
        if len(found) > MOST_COMPLAINTS:
            break
    found += catalog.missing(list({cell.dense.model: cell.dense for cell in alike.values()}.values()))
    found += [f"weights must be for one of the models, but got {name!r}" for name in {*study.weights} - {*study.models}]
    return (
        list(dict.fromkeys(found))
        or catalog.unreachable([*study.trials(), *study.cells()])
        or search_spec.unvaried(study.search, [cells[0] for _, cells in study.searches()])
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
