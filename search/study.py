"""A study: the settings that its trials share and those that they differ in. YAML in, all complaints at once."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, StringConstraints, ValidationError, field_validator

from search.search_spec import SearchSpec
from trainables.spec import (
    SEARCHED,
    SEARCHES,
    BudgetKind,
    DataSpec,
    DenseSpec,
    Distillation,
    Frozen,
    GranularityName,
    Recipe,
    Schedule,
    Sparsity,
    TrialSpec,
)
from trainables.tables import did_you_mean

TAKEN = ("artifacts", "mlartifacts")  # folders beside the studies of a storage
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class Resources(Frozen):
    """What one trial occupies on the cluster."""

    cpus: float = Field(1.0, gt=0.0)
    gpus: float | Literal["auto"] = "auto"  # auto: 1 where the running cluster has GPUs, else 0


class StudySpec(Frozen):
    """Every model x criterion x recovery x policy x sparsity x seed is a trial."""

    name: Name
    models: tuple[str, ...] = Field(("small_cnn",), min_length=1)
    width: float = Field(1.0, gt=0.0, le=16.0)
    data: DataSpec = DataSpec()
    dense: Recipe = Recipe()
    granularity: GranularityName = "weight"
    criteria: tuple[str, ...] = Field(("magnitude",), min_length=1)
    policies: tuple[str, ...] = Field(("uniform", "capacity", SEARCHED), min_length=1)
    sparsities: tuple[Sparsity, ...] = Field((0.5, 0.8, 0.95), min_length=1)
    budget: BudgetKind = "params"
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0, 1, 2), min_length=1)
    calibration: int = Field(512, ge=1)
    recalibrate: int = Field(100, ge=0)
    schedule: Schedule = Schedule()
    recoveries: tuple[str, ...] = Field(("finetune",), min_length=1)
    finetune: Recipe = Recipe(epochs=3, lr=0.01)
    distillation: Distillation = Distillation()
    search: SearchSpec = SearchSpec()
    resources: Resources = Resources()
    tracking: str = "auto"  # auto: MLFLOW_TRACKING_URI, else a local store beside the study; off; or a URI

    @field_validator("tracking", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads a bare off as false

    def trials(self) -> list[TrialSpec]:
        """Every trial of a named policy, those that searches start from first."""
        named = [policy for policy in self.all_policies() if policy not in SEARCHES]
        ordered = sorted(named, key=lambda policy: policy not in self.search.warm_start)
        return [cell.model_copy(update={"policy": policy}) for policy in ordered for cell in self.cells()]

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

    def cells(self) -> list[TrialSpec]:
        """One spec for each model x criterion x recovery x sparsity x seed, at the default policy."""
        return [
            TrialSpec(
                dense=DenseSpec(model=model, width=self.width, data=self.data, recipe=self.dense, seed=seed),
                granularity=self.granularity,
                criterion=criterion,
                sparsity=sparsity,
                budget=self.budget,
                calibration=self.calibration,
                recalibrate=self.recalibrate,
                schedule=self.schedule,
                recovery=recovery,
                finetune=self.finetune,
                distillation=self.distillation if recovery == "distill" else Distillation(),
                latency=self.search.timed,
            )
            for seed, model, criterion, recovery, sparsity in product(
                self.seeds, self.models, self.criteria, self.recoveries, self.sparsities
            )
        ]


def cell_key(spec: TrialSpec) -> str:
    """Name of what a trial shares with its rivals: everything but the policy and the densities."""
    return spec.model_copy(update={"policy": TrialSpec().policy, "densities": None}).key()


def shipped() -> dict[str, str]:
    """The studies that come with the package: name -> YAML."""
    folder = resources.files("search") / "studies"
    return {f.name.removesuffix(".yaml"): f.read_text() for f in folder.iterdir() if f.name.endswith(".yaml")}


def read_study(source: str, overrides: Sequence[str] = (), name: str | None = None) -> StudySpec:
    """Read a study, a YAML file or a shipped name, changed by `key=value`; ValueError says all that is wrong."""
    study = parse_study(source, overrides, name)
    if found := complaints(study):
        raise ValueError("\n".join(found))
    return study


def parse_study(source: str, overrides: Sequence[str] = (), name: str | None = None) -> StudySpec:
    """Read a study as `read_study`, but leave the `complaints` to the caller; ValueError where a setting is wrong."""
    settings = _parse(_text(source), source)
    for override in overrides:
        _override(settings, override)
    if name is not None:
        settings["name"] = name
    elif source.endswith((".yaml", ".yml")):
        settings.setdefault("name", Path(source).stem)
    try:
        return StudySpec.model_validate(settings)
    except ValidationError as error:
        found = [_explain(problem) for problem in error.errors()]
        raise ValueError("\n".join([*found, *_complaints_of_the_rest(settings, error)])) from None


def _complaints_of_the_rest(settings: dict[str, Any], error: ValidationError) -> list[str]:
    """Say what else is wrong, so that the user hears of all of it at once."""
    wrong = {problem["loc"][0] for problem in error.errors()}
    try:
        return complaints(
            StudySpec.model_validate({"name": "rest"} | {k: v for k, v in settings.items() if k not in wrong})
        )
    except ValidationError:
        return []


def complaints(study: StudySpec) -> list[str]:
    """Say all that is wrong with a study and can be told without reading its images."""
    from search import search_spec
    from trainables import catalog

    found: list[str] = []
    if study.name in TAKEN:
        found.append(
            f"name must not be one of {', '.join(TAKEN)}, which a storage needs itself, but got {study.name!r}"
        )
    for field in ("models", "criteria", "recoveries", "policies", "sparsities", "seeds"):
        values = getattr(study, field)
        if len(set(values)) < len(values):
            found.append(f"{field} must differ from each other, but got {list(values)}; name each once")
    if study.distillation != Distillation() and "distill" not in study.recoveries:
        found.append("distillation must come with recovery 'distill'; add it to recoveries, or leave distillation out")
    starts = [study.search.starts(policy, len(cells)) for policy, cells in study.searches()]
    found += search_spec.complaints(study.search, max(starts, default=0))
    alike = {(cell.dense.model, cell.criterion, cell.recovery): cell for cell in study.cells()}
    for policy, cell in product(study.all_policies(), alike.values()):
        found += catalog.complaints(cell.model_copy(update={"policy": policy}))
    return (
        list(dict.fromkeys(found))
        or catalog.unreachable([*study.trials(), *study.cells()])
        or search_spec.unvaried(study.search, [cells[0] for _, cells in study.searches()])
    )


def _text(source: str) -> str:
    studies = shipped()
    if source in studies:
        return studies[source]
    path = Path(source)
    if not path.is_file():
        if path.suffix in (".yaml", ".yml"):
            raise ValueError(
                f"a study file must exist, but {source!r} does not; write one or name one of: {_listed(studies)}"
            )
        raise did_you_mean("study", source, studies)
    return path.read_text()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"a study must be YAML, but {source} is not: {error}") from None
    if not isinstance(settings, dict):
        raise ValueError(f"a study must map settings to values, but {source} holds {type(settings).__name__}")
    return settings


def _override(settings: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ValueError(f"--set must be key=value, but got {override!r}; for example --set finetune.epochs=5")
    *parents, leaf = key.split(".")
    place = settings
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise ValueError(f"--set {key} must name a setting, but {parent!r} is a value, not a group")
    try:
        place[leaf] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ValueError(f"--set {key} must be a YAML value, but got {value!r}; quote it") from None


def _explain(problem: Any) -> str:
    """Put one complaint of pydantic in our words."""
    location = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _fields_at(problem["loc"][:-1])
        near = get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"one of: {_listed(known)}"
        return f"{location} must be a known setting, but is not; {hint}"
    return f"{location} is wrong: {problem['msg']}, but got {problem['input']!r}"


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    model: Any = StudySpec
    for part in location:
        model = model.model_fields[part].annotation
    return list(model.model_fields)
