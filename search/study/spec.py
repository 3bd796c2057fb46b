"""A study: the settings that its trials share, and the lists of settings that differ between them."""

import math
from collections.abc import Mapping
from itertools import chain, product
from typing import Self

from pydantic import Field, model_validator

from search.study.cells import following
from search.study.given import Given, GivenSetting
from search.study.resources import Recording, Resources
from search.study.search_spec import SearchSpec
from search.study.spellings import Compensate, Device, Name, Named, Quantising, Tracking
from search.study.task_setting import task_of_the_data
from trainables.curriculum_spec import Curriculum
from trainables.data_spec import DataSpec, Seed
from trainables.device_spec import DeviceSpec
from trainables.frozen import Frozen
from trainables.learnability.curriculum_kinds import control_of
from trainables.names import (
    DRAWN_AGAIN,
    GATED,
    GIVEN,
    SEARCHED,
    SEARCHES,
    CriterionName,
    GranularityName,
    ModelName,
    PolicyName,
    RecoveryName,
)
from trainables.plugins import FunctionKind, own_functions
from trainables.pruning_spec import Distillation, Gates, LayerRule, Pruning, Schedule, Sparsity
from trainables.recipe import Recipe
from trainables.spec import BudgetKind, DenseSpec, TrialSpec, Width


class StudySpec(Frozen):
    """Every model x criterion x compensation x recovery x curriculum x policy x sparsity x seed is a trial."""

    name: Name = Field(description="Name of the study and of its folder; by default the name of the file.")
    models: tuple[ModelName, ...] = Field(
        ("small_cnn",),
        min_length=1,
        description="The models: names of the catalog, timm:NAME, hf:CLASS, or package.module:function.",
    )
    width: Width = Field(1.0, description="Factor on the channels of the project's own models.")
    weights: Mapping[str, str] = Field(
        {}, description="Initial weights of a model: a file, or a name of torchvision's weights."
    )
    contents: Mapping[str, str] = Field(
        {}, description="Checksums of the user's own models and weights files by model, which each run computes."
    )
    data: DataSpec = Field(DataSpec(), description="The data set.")
    task: str = Field("", description='A function "package.module:function" that returns a Task; empty: images.')
    dense: Recipe = Field(Recipe(), description="How the dense networks are trained.")
    granularity: GranularityName = Field("weight", description="The units that are removed.")
    criteria: tuple[CriterionName, ...] = Field(
        ("magnitude",), min_length=1, description="The criteria that score the units."
    )
    policies: tuple[PolicyName, ...] = Field(
        ("uniform", "capacity", SEARCHED),
        min_length=1,
        description="The policies that share the budget among the parts of a network.",
    )
    given: GivenSetting = Field(
        Given(), description='The densities of policy "given": a table, or a trial of another study.'
    )
    sparsities: tuple[Sparsity, ...] = Field(
        (0.5, 0.8, 0.95), min_length=1, description="The fractions of the budget that are removed."
    )
    budget: BudgetKind = Field(
        "params", description="What a sparsity counts: prunable weights, multiply-accumulates or time on a device."
    )
    round_to: int = Field(
        1, ge=1, le=1024, description="The number of kept channels is a multiple of this, or all channels are kept."
    )
    layers: tuple[LayerRule, ...] = Field(
        (), description="Rules for what some layers keep; the first rule that matches a part counts."
    )
    seeds: tuple[Seed, ...] = Field(
        (0, 1, 2), min_length=1, description="The seeds; each one trains its own dense network."
    )
    calibration: int = Field(
        512, ge=1, description="Training samples that policies, criteria and quantisation may read."
    )
    recalibrate: int = Field(
        100,
        ge=0,
        description="Batches that re-estimate the statistics of batch norms after pruning; 0 keeps the old statistics.",
    )
    compensate: Compensate = Field(
        (False,),
        min_length=1,
        description="Whether least squares re-fits each layer after pruning, without labels; a list compares both.",
    )
    schedule: Schedule = Field(Schedule(), description="The pruning schedule.")
    recoveries: tuple[RecoveryName, ...] = Field(
        ("finetune",), min_length=1, description="How the pruned networks regain their accuracy."
    )
    finetune: Recipe = Field(Recipe(epochs=3, lr=0.01), description="The recipe of fine-tuning.")
    distillation: Distillation = Field(Distillation(), description='The settings of recovery "distill".')
    curricula: tuple[Named, ...] = Field(
        (), description="Curricula to compare with standard training; their controls are added."
    )
    records: Recording = Field(Recording(), description="Which trainings record each sample.")
    before: tuple[Pruning, ...] = Field((), description="Earlier prunings of coarser units, in their order.")
    gates: Gates = Field(Gates(), description="The settings of criteria and policies that read trained gates.")
    probe: int = Field(
        5000, ge=1, description='Training samples that the linear probes of criterion "probe" learn from.'
    )
    latency: bool = Field(False, description="Whether the latency of each pruned network is measured.")
    quantise: Quantising = Field(
        "off",
        description="int8: each trial also quantises its network to an int8 ONNX file and measures it; off: none does.",
    )
    device: Device = Field(DeviceSpec(), description="Where latency is measured, or the file of a latency table.")
    search: SearchSpec = Field(
        SearchSpec(), description='How the policies "searched" and "random-search" look for densities.'
    )
    resources: Resources = Field(Resources(), description="What each trial occupies on the machine or the cluster.")
    tracking: Tracking = Field(
        "auto",
        description="Where MLflow is: a URI or off; auto: MLFLOW_TRACKING_URI, else a local store beside the study.",
    )

    _handed_on = model_validator(mode="before")(task_of_the_data)

    def identity(self) -> Self:
        """Leave out the paths of weights whose checksums are known."""
        unknown = {model: file for model, file in self.weights.items() if model not in self.contents}
        return super().identity().model_copy(update={"weights": unknown})

    def found_now(self, spec: TrialSpec) -> TrialSpec:
        """Return an earlier trial with the paths of this study, where data, weights and tables are the same."""
        dense = spec.dense.model_copy(update={"data": spec.dense.data.found_by(self.data)})
        if dense.content and dense.content == self.contents.get(dense.model):
            dense = dense.model_copy(update={"weights": self.weights.get(dense.model, "")})
        dense = dense.model_copy(update={"curriculum": dense.curriculum.found_in(self.curricula)})
        others = {"curriculum": spec.curriculum.found_in(self.curricula), "device": spec.device.found_by(self.device)}
        return spec.model_copy(update={"dense": dense, **others})

    @property
    def timed(self) -> bool:
        """Whether the latency of a device matters to any trial."""
        return self.latency or self.search.timed or self.budget == "latency"

    @property
    def size(self) -> int:
        """Upper bound on the number of trials of named policies plus the number of searches; none of them is built."""
        lists = (
            self.models,
            self.criteria,
            self.compensate,
            self.recoveries,
            self.all_policies(),
            self.sparsities,
            self.seeds,
        )
        return math.prod(map(len, lists)) * (1 + 2 * len(self.curricula))  # each curriculum may have a control

    def trials(self) -> list[TrialSpec]:
        """Return the trials of the named policies. Trials that searches start from come first."""
        ordered = sorted(self.all_policies(), key=lambda policy: policy not in self.search.warm_start)
        return [self.under(policy, cell) for policy in ordered if policy not in SEARCHES for cell in self.cells()]

    def under(self, policy: str, cell: TrialSpec) -> TrialSpec:
        """Return the trial of a named policy in a cell."""
        trial = cell.under(policy, self.gates).with_code(self.contents)
        return trial.model_copy(update={"densities": dict(self.given.densities) or None}) if policy == GIVEN else trial

    def searches(self) -> list[tuple[str, list[TrialSpec]]]:
        """Return the policy and the cells of each search. The cells of one search differ only in sparsity."""
        proposes_sparsity = len(self.search.goals) > 1
        groups: dict[str, list[TrialSpec]] = {}
        for cell in self.cells():
            shared = cell.model_copy(update={"sparsity": TrialSpec().sparsity}) if proposes_sparsity else cell
            groups.setdefault(shared.key(), []).append(cell)
        return [(policy, cells) for policy in self.policies if policy in SEARCHES for cells in groups.values()]

    def functions(self) -> dict[str, FunctionKind]:
        """Return the functions of the user's own: name -> kind."""
        policies = [*self.all_policies(), *(pruning.policy for pruning in self.before)]
        criteria = [*self.criteria, *(pruning.criterion for pruning in self.before)]
        others: dict[FunctionKind, list[str]] = {
            "optimizer": [self.dense.optimizer, self.finetune.optimizer],
            "measure": [curriculum.measure for curriculum in self.curricula],
            "curriculum": [curriculum.name for curriculum in self.curricula],
            "sampler": [self.search.sampler],
            "scheduler": [self.search.scheduler],
        }
        return own_functions({"policy": policies, "criterion": criteria, "recovery": self.recoveries, **others})

    def all_policies(self) -> tuple[str, ...]:
        """Return the policies of the study and the policies that its searches start from."""
        starts = self.search.warm_start if SEARCHED in self.policies else ()
        return tuple(dict.fromkeys((*self.policies, *starts)))

    def _trainings(self) -> tuple[tuple[bool, RecoveryName], ...]:
        """Return each compensation x recovery; recoveries that draw new weights have nothing to compensate."""
        pairs = product(self.compensate, self.recoveries)
        return tuple(dict.fromkeys((fit and recovery not in DRAWN_AGAIN, recovery) for fit, recovery in pairs))

    def all_curricula(self) -> tuple[Curriculum, ...]:
        """Return standard training, the curricula of the study and their controls, each of them once."""
        pairs = ((curriculum, control_of(curriculum)) for curriculum in self.curricula)
        return tuple(dict.fromkeys((Curriculum(), *filter(None, chain.from_iterable(pairs)))))

    def cells(self) -> list[TrialSpec]:
        """Return the cells of the study, as trials of the default policy."""
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
                    content=self.contents.get(model, ""),
                ),
                granularity=self.granularity,
                criterion=criterion,
                sparsity=sparsity,
                budget=self.budget,
                round_to=self.round_to,
                layers=self.layers,
                calibration=self.calibration,
                recalibrate=self.recalibrate,
                compensate=compensate,
                schedule=self.schedule,
                recovery=recovery,
                finetune=self.finetune,
                distillation=self.distillation if recovery == "distill" else Distillation(),
                before=self.before,
                gates=self.gates if criterion in GATED else Gates(),
                probe=self.probe if criterion == "probe" else TrialSpec().probe,
                latency=self.timed and not self.device.table,
                device=self.device,
                quantise=self.quantise,
                record=self.records.finetune,
            )
            for seed, model, criterion, (compensate, recovery), sparsity in product(
                self.seeds, self.models, self.criteria, self._trainings(), self.sparsities
            )
        ]
        cells = [cell.with_code(self.contents) for cell in cells]
        return [following(cell, curriculum) for cell, curriculum in product(cells, self.all_curricula())]
