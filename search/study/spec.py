"""A study: the settings that its trials share and those that they differ in, and what is wrong with them."""

import math
from collections.abc import Mapping
from itertools import chain, product
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from search.study.cells import following
from search.study.search_spec import SearchSpec
from trainables.frozen import Frozen
from trainables.learnability.curriculum_kinds import control_of
from trainables.names import GATED, SEARCHED, SEARCHES, GranularityName
from trainables.spec import (
    BudgetKind,
    Curriculum,
    DataSpec,
    DenseSpec,
    Distillation,
    Gates,
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
from trainables.storage.credentials import Address

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
