"""What one trial is: frozen settings, every default stated here and nowhere else."""

from typing import Annotated, Literal

from pydantic import Field

from trainables.frozen import NOT_IN_KEY, Frozen
from trainables.names import CRITERION_NEEDS, GATED, GATES_JOINT, POLICY_NEEDS, GranularityName, Source
from trainables.storage.credentials import Address

BudgetKind = Literal["params", "macs"]
Taken = Literal["off", "during", "after"]  # when an epoch's record of each training sample is taken, if at all
Precision = Literal["auto", "float32", "bfloat16"]  # auto: bfloat16 on GPUs that have it, else float32
Sparsity = Annotated[float, Field(ge=0.0, lt=1.0)]
Width = Annotated[float, Field(gt=0.0, le=16.0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class DataSpec(Frozen):
    """A data set, how it is split and how its images are varied while training."""

    name: str = "digits"
    path: Annotated[str, NOT_IN_KEY] = ""  # folder of a "parquet" or "folder" data set; torchvision's downloads
    content: str = ""  # checksum of the files, which each run finds; empty where the data set's library checks them
    size: int | None = Field(None, ge=1, le=1024)  # resize to size x size pixels; None keeps the images' own size
    max_train: int | None = Field(None, ge=1)  # use that many training samples, spread evenly over the classes
    max_val: int | None = Field(None, ge=1)
    max_test: int | None = Field(None, ge=1)
    val_fraction: float = Field(0.1, gt=0.0, lt=1.0)  # of the training samples
    test_fraction: float = Field(0.2, gt=0.0, lt=1.0)  # of all samples, where the source has no test split of its own
    split_seed: Seed = 0
    augment: Literal["none", "crop", "flip", "crop_flip", "resized_crop", "resized_crop_flip"] = "none"
    label_noise: float = Field(0.0, ge=0.0, lt=1.0)  # fraction of the training labels that are flipped to another class
    fit: Literal["stretch", "crop"] = "stretch"  # to size: both sides, or the middle of 8/7 of it
    normalise: Literal["data", "imagenet"] = "data"  # by whose mean and deviation of each channel
    loading: Annotated[Literal["auto", "memory", "stream"], NOT_IN_KEY] = "auto"  # decoded once or when needed

    def found_by(self, now: "DataSpec") -> "DataSpec":
        """Take path and loading from `now`, if that is of the same content; else return this as it is."""
        same = (self.name, self.content) == (now.name, now.content)
        return self.model_copy(update={"path": now.path, "loading": now.loading}) if same else self


class Recipe(Frozen):
    """How a network is trained by SGD with momentum: the dense one, and the pruned one while it recovers."""

    epochs: int = Field(10, ge=0)
    lr: float = Field(0.05, gt=0.0)
    batch_size: int = Field(128, ge=2)
    momentum: float = Field(0.9, ge=0.0, lt=1.0)
    weight_decay: float = Field(5e-4, ge=0.0)
    schedule: Literal["cosine", "constant"] = "cosine"


class Curriculum(Frozen):
    """What each step of a training draws, by scores of the samples; the default is every sample once an epoch."""

    name: str = "standard"
    phase: Literal["finetune", "dense"] = "finetune"  # the training that follows it
    measure: str = "learnability"  # by which the samples are scored
    network: str = ""  # model whose dense training they are scored by; empty: the trial's own
    table: Address = ""  # URI of samples.parquet of `howcompact learnability` instead, whose means over seeds are taken
    pacing: str = "linear"  # of curricula that begin with some of the samples
    start: float = Field(0.2, gt=0.0, le=1.0)  # b: fraction of the samples that these begin with
    full: float = Field(0.8, gt=0.0, le=1.0)  # a: fraction of the steps after which they have all samples
    fraction: float = Field(0.3, gt=0.0, lt=1.0)  # of the samples, dropped by curricula that drop some
    balanced: bool = True  # whether samples are ordered and dropped class by class
    shuffled: bool = False  # control: the scores are dealt out to the samples by chance


class DenseSpec(Frozen):
    """A dense network: what it is, what it learnt from, and the seed of its initialisation and training."""

    model: str = "small_cnn"
    width: Width = 1.0  # multiplies the channels of the project's own models
    data: DataSpec = DataSpec()
    recipe: Recipe = Recipe()
    seed: Seed = 0
    curriculum: Curriculum = Curriculum()
    record: Taken = "during"
    weights: str = ""  # that it starts from: a file, or a name of torchvision's; empty: drawn by the seed

    def scored_by(self, curriculum: Curriculum) -> "DenseSpec":
        """The dense network whose training scores the samples for a curriculum: this one, or as this one."""
        own = {"model": curriculum.network, "weights": ""} if curriculum.network else {}
        return self.model_copy(update={**own, "curriculum": Curriculum()})


class ProfileSpec(Frozen):
    """What a profile was measured on: the dense network, what is removed from it, and how many samples judged it."""

    dense: DenseSpec = DenseSpec()
    granularity: GranularityName = "weight"
    criterion: str = "magnitude"
    calibration: int = Field(512, ge=1)  # training samples
    probe: int = Field(5000, ge=1)  # as of a trial, where its criterion looks at probes


class ProbeSpec(Frozen):
    """What linear probes read: the dense network, and how many training samples they learn from."""

    dense: DenseSpec = DenseSpec()
    samples: int = Field(5000, ge=1)


class Schedule(Frozen):
    """How pruning comes to its sparsity: at once, or in steps with training between two of them."""

    name: str = "one-shot"
    steps: int = Field(1, ge=1)
    step_epochs: int = Field(1, ge=1)  # of training between two steps, at the constant learning rate of fine-tuning


class Distillation(Frozen):
    """How a pruned network listens to the dense one; both defaults are ours."""

    temperature: float = Field(4.0, gt=0.0)
    weight: float = Field(0.9, ge=0.0, le=1.0)  # of the dense network's opinion; the labels have the rest


class Gates(Frozen):
    """How gates on channels are trained along with the weights, to the budget; all defaults are ours."""

    epochs: int = Field(1, ge=1)  # the first ones of fine-tuning, best about a third of them
    shaping: str = "straight-through"  # of the gradient that a gate passes on
    resolution: int = Field(100_000, ge=1, le=1_000_000)  # M: gates are within 1 / M of 0 and 1
    lr: float = Field(0.005, gt=0.0)  # times the number of gates is theirs; at the end of their epochs it is 0
    strength: float = Field(0.2, gt=0.0)  # lambda, of the distance to the budget beside the loss
    power: Literal[1, 2] = 1  # p, of that distance


class GatingSpec(Frozen):
    """What gates were trained for and with: the dense network, its budget, and the recipe of the weights."""

    dense: DenseSpec = DenseSpec()
    sparsity: Sparsity = 0.5
    budget: BudgetKind = "params"
    finetune: Recipe = Recipe(epochs=3, lr=0.01)
    gates: Gates = Gates()


class Pruning(Frozen):
    """A pruning at once that comes before a trial's own: what goes, who decides, and how much is gone by then."""

    granularity: GranularityName
    criterion: str
    policy: str
    sparsity: Sparsity  # fraction of the dense network's budget, as the trial's own


class TrialSpec(Frozen):
    """One trial: prune the dense network of this seed to the budget, then let it recover."""

    dense: DenseSpec = DenseSpec()
    before: tuple[Pruning, ...] = ()  # prunings of coarser units, in their order
    granularity: GranularityName = "weight"
    criterion: str = "magnitude"
    policy: str = "uniform"
    sparsity: Sparsity = 0.5  # fraction of the budget removed
    budget: BudgetKind = "params"  # what the sparsity counts: prunable weights, or multiply-accumulates
    round_to: int = Field(1, ge=1, le=1024)  # of coupled channels a multiple of it stays, or all
    densities: dict[str, float] | None = None  # relative densities of a search
    calibration: int = Field(512, ge=1)  # training samples that the profile of a policy may look at
    recalibrate: int = Field(100, ge=0)  # batches that re-estimate batch-norm statistics; 0 leaves them
    finetune: Recipe = Recipe(epochs=3, lr=0.01)
    schedule: Schedule = Schedule()
    recovery: str = "finetune"
    distillation: Distillation = Distillation()  # of the recovery "distill"
    gates: Gates = Gates()  # of criteria and policies that go by them
    probe: int = Field(5000, ge=1)  # training samples that the linear probes of the criterion "probe" learn from
    latency: bool = False  # whether the pruned network's latency is measured
    curriculum: Curriculum = Curriculum()  # of recovery; one of dense training is in `dense`
    record: Taken = "off"  # of recovery

    @property
    def seed(self) -> int:
        """One seed covers dense initialisation and training, pruning and recovery."""
        return self.dense.seed

    @property
    def inputs(self) -> set[Source]:
        """The measurements that the criterion and the policy read, beside the weights."""
        return {*CRITERION_NEEDS[self.criterion].inputs, *POLICY_NEEDS[self.policy].inputs}

    @property
    def joint(self) -> bool:
        """Whether gates pick the units, and recovery goes on from the weights that were trained along with them."""
        return self.policy == GATES_JOINT

    @property
    def followed(self) -> Curriculum:
        """The one curriculum that the trial is about, in whichever phase."""
        return self.dense.curriculum if self.curriculum == Curriculum() else self.curriculum

    @property
    def scored(self) -> tuple[Curriculum, ...]:
        """The curricula that need scores."""
        return tuple(c for c in (self.dense.curriculum, self.curriculum) if c.name != Curriculum().name)

    @property
    def networks(self) -> tuple[DenseSpec, ...]:
        """The dense networks that the trial starts from or goes by."""
        return (self.dense, *(self.dense.scored_by(curriculum) for curriculum in self.scored if not curriculum.table))

    @property
    def prunings(self) -> tuple["TrialSpec", ...]:
        """A trial for each pruning, in their order: those that come before, then this one alone."""
        own = self.model_copy(update={"before": ()})
        plain = own.model_copy(update={"densities": None, "schedule": Schedule()})
        first = (plain.model_copy(update=dict(each)).under(each.policy, self.gates) for each in self.before)
        return (*first, own)

    @property
    def profile(self) -> ProfileSpec:
        """The profile that a policy may look at."""
        return ProfileSpec.model_validate(self, from_attributes=True)

    @property
    def probing(self) -> ProbeSpec:
        """The probes that a criterion may look at."""
        return ProbeSpec(dense=self.dense, samples=self.probe)

    @property
    def gating(self) -> GatingSpec:
        """The gates that a criterion or a policy may look at."""
        return GatingSpec.model_validate(self, from_attributes=True)

    def on(self, data: DataSpec) -> "TrialSpec":
        """Return the same trial on this data set."""
        return self.model_copy(update={"dense": self.dense.model_copy(update={"data": data})})

    def under(self, policy: str, gates: Gates) -> "TrialSpec":
        """The same trial under another policy; `gates` are settings for it only where somebody goes by them."""
        used = self.criterion in GATED or policy in GATED
        return self.model_copy(update={"policy": policy, "gates": gates if used else Gates()})


class EpochReport(Frozen):
    """What a trial knows after an epoch; epoch 0 is what recovery starts from: recalibrated, or drawn anew."""

    epoch: int
    val_accuracy: float
    val_loss: float
    train_loss: float | None = None
    seconds: float  # of this epoch and its validation; writing its checkpoint is left out
    images: int | None = None  # through the network in these seconds; None: not counted, by an older version
    final: bool = False  # whether no epoch follows
