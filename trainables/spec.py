"""The settings of one trial. This is the only place that defines their defaults."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field

from trainables.curriculum_spec import Curriculum
from trainables.data_spec import DataSpec, Seed
from trainables.device_spec import DeviceSpec
from trainables.frozen import Frozen
from trainables.names import (
    CRITERION_NEEDS,
    DRAWN_AGAIN,
    GATED,
    GATES_JOINT,
    POLICY_NEEDS,
    CriterionName,
    GranularityName,
    ModelName,
    Needs,
    PolicyName,
    RecoveryName,
    Source,
)
from trainables.plugins import FunctionKind, code_of, inputs_of, own_functions
from trainables.pruning_spec import Distillation, Gates, LayerRule, Pruning, Schedule, Sparsity
from trainables.recipe import Recipe

BudgetKind = Literal["params", "macs", "latency"]
Taken = Literal["off", "during", "after"]  # when each training sample is recorded: in its epoch or after the epoch
Precision = Literal["auto", "float32", "bfloat16"]  # auto: bfloat16 on GPUs that have it, else float32
Quantise = Literal["off", "int8"]  # the numbers of the quantised network, beside float32
LEVELS = 101  # of the profiles that policies read: 0, 0.01, ..., 1, as RDP's authors measure them
Width = Annotated[float, Field(gt=0.0, le=16.0)]


class DenseSpec(Frozen):
    """A dense network: its model, its data, its training and its seed."""

    model: ModelName = "small_cnn"
    width: Width = 1.0  # factor on the channels of the project's own models
    data: DataSpec = DataSpec()
    recipe: Recipe = Recipe()
    seed: Seed = 0
    curriculum: Curriculum = Curriculum()
    record: Taken = "during"
    weights: str = ""  # initial weights: a file, or a name of torchvision's weights; empty: random ones
    content: str = ""  # checksums of the user's own model and weights file, which each run computes

    def identity(self) -> Self:
        """Leave out the path of weights whose checksum is known."""
        same = super().identity()
        return same.model_copy(update={"weights": ""}) if self.content else same

    def scored_by(self, curriculum: Curriculum) -> "DenseSpec":
        """Return the dense network whose training scores the samples of a curriculum: this network or another model."""
        other = {"model": curriculum.network, "weights": "", "content": curriculum.content}
        return self.model_copy(update={**(other if curriculum.network else {}), "curriculum": Curriculum()})


class ProfileSpec(Frozen):
    """Settings of a profile: the dense network, the units that are removed from it, and the samples that measure it."""

    dense: DenseSpec = DenseSpec()
    granularity: GranularityName = "weight"
    criterion: CriterionName = "magnitude"
    calibration: int = Field(512, ge=1)  # training samples that the profile is measured on
    probe: int = Field(5000, ge=1)  # training samples of the linear probes, if the criterion reads them
    compensate: bool = False  # whether least squares re-fits the layers that lose weights
    code: str = ""  # of a criterion of the user's own
    levels: int = Field(ge=2)  # sparsities from 0 to 1 that each part is measured at; no default, so always in the key


class ProbeSpec(Frozen):
    """Settings of linear probes: the dense network and the number of training samples."""

    dense: DenseSpec = DenseSpec()
    samples: int = Field(5000, ge=1)


class LatencySpec(Frozen):
    """Settings of a latency table: the network, the units that go, and the device. Weights do not matter."""

    model: ModelName = "small_cnn"
    width: Width = 1.0
    content: str = ""
    data: DataSpec = DataSpec()  # whose samples the network takes
    granularity: GranularityName = "channel"
    round_to: int = Field(1, ge=1, le=1024)
    device: DeviceSpec = DeviceSpec()


class GatingSpec(Frozen):
    """Settings of trained gates: the dense network, the budget, the recipe of the weights, and the rules for layers."""

    dense: DenseSpec = DenseSpec()
    sparsity: Sparsity = 0.5
    budget: BudgetKind = "params"
    finetune: Recipe = Recipe(epochs=3, lr=0.01)
    gates: Gates = Gates()
    layers: tuple[LayerRule, ...] = ()
    latency_table: LatencySpec | None = None  # where the budget is latency


class TrialSpec(Frozen):
    """One trial: prune the dense network of this seed to the budget, then train it until it recovers."""

    dense: DenseSpec = DenseSpec()
    before: tuple[Pruning, ...] = ()  # earlier prunings of coarser units, in their order
    granularity: GranularityName = "weight"
    criterion: CriterionName = "magnitude"
    policy: PolicyName = "uniform"
    sparsity: Sparsity = 0.5  # fraction of the budget that is removed
    budget: BudgetKind = "params"  # what the sparsity counts: prunable weights, multiply-accumulates or time
    round_to: int = Field(1, ge=1, le=1024)  # the number of kept channels is a multiple of this, or all are kept
    layers: tuple[LayerRule, ...] = ()  # what some layers keep; the first rule that matches a part holds for it
    densities: dict[str, float] | None = None  # relative density of each part, from a search or given
    calibration: int = Field(512, ge=1)  # training samples that policies, criteria and quantisation may read
    recalibrate: int = Field(100, ge=0)  # batches that re-estimate batch norms after pruning; 0: as they were
    compensate: bool = False  # whether least squares re-fits each layer after pruning, on the calibration samples
    finetune: Recipe = Recipe(epochs=3, lr=0.01)
    schedule: Schedule = Schedule()
    recovery: RecoveryName = "finetune"
    distillation: Distillation = Distillation()  # the settings of recovery "distill"
    gates: Gates = Gates()  # the settings of criteria and policies that read trained gates
    probe: int = Field(5000, ge=1)  # training samples that the linear probes of criterion "probe" learn from
    latency: bool = False  # whether the latency of the pruned network is measured
    device: DeviceSpec = DeviceSpec()  # on which networks are timed, for `latency` and for a budget of it
    quantise: Quantise = "off"  # whether the best epoch's network is quantised at the end, on the calibration samples
    curriculum: Curriculum = Curriculum()  # of recovery; the one of dense training is in `dense`
    record: Taken = "off"  # when recovery records each training sample: during its epoch, after the epoch, or never
    code: str = ""  # of the user's own policies, criteria and recovery: see `plugins.code_of`; each run finds it

    @property
    def seed(self) -> int:
        """The one seed of dense initialisation, dense training, pruning and recovery."""
        return self.dense.seed

    @property
    def inputs(self) -> set[Source]:
        """The measurements that the criterion, the policy and the budget read in addition to the weights."""
        named = (CRITERION_NEEDS.get(self.criterion, Needs()), POLICY_NEEDS.get(self.policy, Needs()))
        own = (inputs_of(self.code, self.criterion), inputs_of(self.code, self.policy))
        timed: tuple[Source, ...] = ("latency",) if self.budget == "latency" else ()
        return {*named[0].inputs, *named[1].inputs, *own[0], *own[1], *timed}

    @property
    def functions(self) -> dict[str, FunctionKind]:
        """The user's own policies, criteria and recovery: name -> kind."""
        policies = [self.policy, *(pruning.policy for pruning in self.before)]
        criteria = [self.criterion, *(pruning.criterion for pruning in self.before)]
        return own_functions({"policy": policies, "criterion": criteria, "recovery": [self.recovery]})

    def with_code(self, known: Mapping[str, str]) -> "TrialSpec":
        """Return the same trial with what is known of its functions: name -> checksum and inputs."""
        return self.model_copy(update={"code": code_of(self.functions, known, self.code)})

    @property
    def joint(self) -> bool:
        """Whether gates choose the units and recovery continues with the weights that were trained with the gates."""
        return self.policy == GATES_JOINT

    @property
    def trains_kept_weights(self) -> bool:
        """Whether recovery starts from the weights that pruning kept, and trains them."""
        return self.finetune.epochs > 0 and self.recovery not in DRAWN_AGAIN

    @property
    def followed(self) -> Curriculum:
        """The curriculum of the trial, in dense training or in recovery."""
        return self.dense.curriculum if self.curriculum == Curriculum() else self.curriculum

    @property
    def scored(self) -> tuple[Curriculum, ...]:
        """The curricula that are not standard training."""
        return tuple(c for c in (self.dense.curriculum, self.curriculum) if c.name != Curriculum().name)

    @property
    def networks(self) -> tuple[DenseSpec, ...]:
        """The dense network of the trial, and the networks that score the samples of its curriculum."""
        return (self.dense, *(self.dense.scored_by(curriculum) for curriculum in self.scored if not curriculum.table))

    @property
    def prunings(self) -> tuple["TrialSpec", ...]:
        """One trial for each pruning in order: the earlier prunings, then this pruning alone.

        Of the rules for layers, only those that keep all units hold for earlier prunings.
        """
        last = self.model_copy(update={"before": ()})
        whole = tuple(rule for rule in self.layers if rule.keep)
        plain = last.model_copy(update={"densities": None, "schedule": Schedule(), "layers": whole})
        earlier = (plain.model_copy(update=dict(each)).under(each.policy, self.gates) for each in self.before)
        return (*earlier, last)

    @property
    def profile(self) -> ProfileSpec:
        """The settings of the profile that a policy may read."""
        inputs = {name: getattr(self, name) for name in ProfileSpec.model_fields if name not in ("levels", "code")}
        code = code_of([self.criterion], {}, self.code)
        return ProfileSpec(**inputs, levels=LEVELS, code=code)

    @property
    def probing(self) -> ProbeSpec:
        """The settings of the probes that a criterion may read."""
        return ProbeSpec(dense=self.dense, samples=self.probe)

    @property
    def latency_table(self) -> LatencySpec | None:
        """The settings of the latency table that a budget of latency reads."""
        if self.budget != "latency":
            return None
        of_network = {name: getattr(self.dense, name) for name in ("model", "width", "content", "data")}
        return LatencySpec(**of_network, granularity=self.granularity, round_to=self.round_to, device=self.device)

    @property
    def gating(self) -> GatingSpec:
        """The settings of the gates that a criterion or a policy may read."""
        return GatingSpec.model_validate(self, from_attributes=True)

    def under(self, policy: str, gates: Gates) -> "TrialSpec":
        """Return the same trial with another policy. It has `gates` only if its criterion or its policy reads them."""
        used = self.criterion in GATED or policy in GATED
        return self.model_copy(update={"policy": policy, "gates": gates if used else Gates()}).with_code({})


class EpochReport(Frozen):
    """The results of one epoch; epoch 0 is the start of recovery: the recalibrated network, or fresh weights."""

    epoch: int
    val_accuracy: float  # or the metric of the task
    val_loss: float
    train_loss: float | None = None
    seconds: float  # of this epoch and its validation, without writing its checkpoint
    images: int | None = None  # that passed through the network in this time; None: an older version did not count them
    final: bool = False  # whether no epoch follows
    other_metrics: dict[str, float] = Field({})  # of the task, on validation samples: name -> value
    promise: float | None = None  # of epoch 0, which schedulers judge by it: see `trainables.trial.promise`
