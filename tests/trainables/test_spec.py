import hashlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainables.curriculum_spec import Curriculum
from trainables.data_spec import DataSpec
from trainables.device_spec import DeviceSpec
from trainables.frozen import NOT_IN_KEY, Frozen
from trainables.pruning_spec import Distillation, Gates, LayerRule, Pruning, Schedule
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, EpochReport, GatingSpec, LatencySpec, ProbeSpec, ProfileSpec, TrialSpec
from trainables.storage.strict_json import from_json
from trainables.task_spec import MetricSpec, TaskSpec

Changes = dict[str, Any]

CHANGED = TrialSpec(
    dense=DenseSpec(model="vgg16", data=DataSpec(name="cifar10", augment="crop_flip"), seed=3),
    policy="searched",
    sparsity=0.9,
    densities={"b": 0.5, "a": 1.0},
    finetune=Recipe(epochs=5, lr=0.01),
)


def test_keys_are_the_hash_of_what_differs() -> None:
    told = (
        '{"dense":{"data":{"augment":"crop_flip","name":"cifar10"},"model":"vgg16","seed":3},'
        '"densities":{"a":1.0,"b":0.5},"finetune":{"epochs":5,"lr":0.01},"policy":"searched","sparsity":0.9}'
    )
    assert CHANGED.key() == hashlib.sha256(told.encode()).hexdigest()[:16]
    assert TrialSpec().key() == hashlib.sha256(b"{}").hexdigest()[:16]


def test_keys_never_change() -> None:
    assert TrialSpec().key() == "44136fa355b3678a"
    assert CHANGED.key() == "f653f7fb0d03ace1"
    stepwise = TrialSpec(schedule=Schedule(name="gradual", steps=4), recovery="rewind")
    assert stepwise.key() == "8d692b67185af9b0"


class Extended(TrialSpec):
    warmth: float = 0.0
    teacher: DenseSpec | None = None


class ExtendedRecipe(Recipe):
    warmup: int = 0


class ExtendedDense(DenseSpec):
    recipe: ExtendedRecipe = ExtendedRecipe()


def test_new_field_with_a_default_renames_nothing() -> None:
    told = CHANGED.model_dump()
    assert Extended.model_validate(told).key() == CHANGED.key()
    assert Extended.model_validate({**told, "warmth": 0.5}).key() != CHANGED.key()
    dense = DenseSpec(recipe=Recipe(lr=0.1), seed=1)
    assert ExtendedDense.model_validate(dense.model_dump()).key() == dense.key()


OTHERS: list[tuple[type[Frozen], dict[str, Any]]] = [
    (DataSpec, {"name": "x", "content": "c", "size": 9, "max_train": 9, "max_val": 9, "max_test": 9}),
    (DataSpec, {"val_fraction": 0.2, "test_fraction": 0.3, "split_seed": 1, "augment": "flip", "label_noise": 0.1}),
    (DataSpec, {"task": TaskSpec(function="a:b")}),
    (TaskSpec, {"function": "a:b", "code": "c", "metric": MetricSpec(name="r2")}),
    (MetricSpec, {"name": "r2", "higher_is_better": False}),
    (DataSpec, {"image": "x", "label": "x", "fit": "crop", "normalise": "imagenet", "channels": "grey"}),
    (Recipe, {"epochs": 1, "lr": 0.3, "batch_size": 7, "momentum": 0.1, "weight_decay": 0.1, "schedule": "constant"}),
    (Recipe, {"optimizer": "adamw", "nesterov": True, "warmup": 1, "label_smoothing": 0.1, "grad_clip": 1, "ema": 0.9}),
    (Recipe, {"loss_weights": "balanced", "mixup": 0.2, "cutmix": 1.0, "code": "x"}),
    (DenseSpec, {"model": "x", "width": 2.0, "data": DataSpec(size=9), "recipe": Recipe(lr=0.3), "seed": 1}),
    (DenseSpec, {"curriculum": Curriculum(name="x", phase="dense"), "record": "off", "weights": "x", "content": "c"}),
    (ProfileSpec, {"dense": DenseSpec(seed=1), "granularity": "channel", "criterion": "x", "calibration": 9}),
    (ProfileSpec, {"probe": 9, "levels": 9, "compensate": True, "code": "x"}),
    (ProbeSpec, {"dense": DenseSpec(seed=1), "samples": 9}),
    (TrialSpec, {"dense": DenseSpec(seed=1), "granularity": "channel", "criterion": "l1", "policy": "erk"}),
    (TrialSpec, {"sparsity": 0.6, "budget": "macs", "densities": {"a": 1.0}, "calibration": 9, "recalibrate": 9}),
    (TrialSpec, {"compensate": True, "quantise": "int8", "code": "x", "device": DeviceSpec(batch=2)}),
    (DeviceSpec, {"name": "torch-cpu", "threads": 2, "batch": 2, "table": "x", "content": "c"}),
    (LatencySpec, {"model": "x", "width": 2.0, "content": "c", "data": DataSpec(size=9), "granularity": "block"}),
    (LatencySpec, {"round_to": 2, "device": DeviceSpec(batch=2)}),
    (TrialSpec, {"round_to": 8}),
    (TrialSpec, {"layers": (LayerRule(match="a", keep=1.0),)}),
    (TrialSpec, {"finetune": Recipe(lr=0.3), "recovery": "x", "latency": True, "probe": 9}),
    (TrialSpec, {"schedule": Schedule(steps=2), "distillation": Distillation(weight=0.5), "gates": Gates(lr=0.3)}),
    (TrialSpec, {"before": (Pruning(granularity="block", criterion="probe", policy="erk", sparsity=0.3),)}),
    (TrialSpec, {"curriculum": Curriculum(name="x"), "record": "after"}),
    (
        Curriculum,
        {
            "name": "x",
            "phase": "dense",
            "measure": "aum",
            "network": "x",
            "table": "x",
            "pacing": "root",
            "content": "c",
            "code": "c",
        },
    ),
    (Curriculum, {"start": 0.3, "full": 0.3, "fraction": 0.4, "balanced": False, "shuffled": True, "content": "c"}),
    (GatingSpec, {"dense": DenseSpec(seed=1), "sparsity": 0.6, "budget": "macs", "finetune": Recipe(lr=0.3)}),
    (GatingSpec, {"gates": Gates(lr=0.3), "layers": (LayerRule(type="Linear", density=0.5),)}),
    (GatingSpec, {"latency_table": LatencySpec()}),
    (Gates, {"epochs": 9, "shaping": "x", "resolution": 9, "lr": 0.3, "strength": 0.3, "power": 2}),
    (Schedule, {"name": "x", "steps": 2, "step_epochs": 2}),
    (Distillation, {"temperature": 2.0, "weight": 0.5}),
]


@pytest.mark.parametrize("kind", dict.fromkeys(owner for owner, _ in OTHERS))
def test_key_differs_with_every_field(kind: type[Frozen]) -> None:
    others = {field: value for owner, changes in OTHERS if owner is kind for field, value in changes.items()}
    assert set(others) == {name for name, field in kind.model_fields.items() if NOT_IN_KEY not in field.metadata}
    required: dict[str, Any] = {name: 6 for name, field in kind.model_fields.items() if field.is_required()}
    keys = [kind(**required | {field: value}).key() for field, value in others.items()]
    assert len({kind(**required).key(), *keys}) == len(keys) + 1


class Holder(Frozen):
    """Specs of data at other places than in those of trials."""

    several: tuple[DenseSpec, ...] = ()
    named: Mapping[str, DataSpec] = {}
    perhaps: DataSpec | None = None
    marked: Annotated[DataSpec, NOT_IN_KEY] = DataSpec()


HOLDERS: list[Callable[[DataSpec], Frozen]] = [
    lambda data: data,
    lambda data: DenseSpec(data=data, seed=1),
    lambda data: ProfileSpec(dense=DenseSpec(data=data), levels=6),
    lambda data: ProbeSpec(dense=DenseSpec(data=data)),
    lambda data: GatingSpec(dense=DenseSpec(data=data)),
    lambda data: TrialSpec(dense=DenseSpec(data=data), sparsity=0.9),
    lambda data: Holder(several=(DenseSpec(), DenseSpec(data=data)), named={"a": DataSpec(), "b": data}, perhaps=data),
]
ELSEWHERE = {"path": st.text(), "loading": st.sampled_from(["auto", "memory", "stream"])}
CONTENT = {"name": st.text(), "content": st.text(), "split_seed": st.integers(0, 9)}


@given(st.builds(dict, **CONTENT), st.builds(dict, **CONTENT), st.builds(dict, **ELSEWHERE))
def test_where_data_is_and_how_it_is_loaded_is_in_no_key(one: Changes, other: Changes, elsewhere: Changes) -> None:
    for holder in HOLDERS:
        plain, moved, rival = (holder(DataSpec.model_validate(told)) for told in (one, one | elsewhere, other))
        assert moved.key() == plain.key()
        assert moved.identity() == plain.identity() == plain
        assert (rival.key() == plain.key()) == (one == other)
    assert Holder(marked=DataSpec.model_validate(one | elsewhere)).key() == Holder().key()


def test_data_is_found_where_the_same_content_is_now() -> None:
    earlier = DataSpec(name="folder", path="there", content="c", loading="stream", max_train=9)
    now = DataSpec(name="folder", path="here", content="c", max_train=5)
    assert earlier.found_by(now) == DataSpec(name="folder", path="here", content="c", max_train=9)
    for other in ({"content": "d"}, {"name": "parquet"}):
        assert earlier.found_by(now.model_copy(update=other)) == earlier


def test_nested_defaults_are_not_mixed_up() -> None:
    recipes = [Recipe(), Recipe(epochs=3), Recipe(lr=0.01), Recipe(epochs=3, lr=0.01)]  # the last is a trial's default
    assert len({TrialSpec(finetune=recipe).key() for recipe in recipes}) == 4
    assert TrialSpec(finetune=recipes[-1]).key() == TrialSpec().key()


def test_equal_specs_have_equal_keys_however_they_are_written() -> None:
    same = TrialSpec.model_validate_json(CHANGED.model_dump_json())
    assert same == CHANGED
    assert same.key() == CHANGED.key()
    assert TrialSpec(sparsity=0).key() == TrialSpec(sparsity=0.0).key()
    assert TrialSpec(densities={"a": 1, "b": 2}).key() == TrialSpec(densities={"b": 2.0, "a": 1.0}).key()


@pytest.mark.parametrize(
    "settings",
    [{"sparsity": 1.0}, {"sparsity": -0.1}, {"sparsity": float("nan")}, {"sparsty": 0.5}, {"finetune": {"epoch": 1}}],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrialSpec.model_validate(settings)


def test_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TrialSpec().sparsity = 0.9  # type: ignore[misc]


def test_profile_is_that_of_the_dense_network_and_the_criterion() -> None:
    spec = TrialSpec(dense=DenseSpec(seed=2), granularity="channel", criterion="l1", calibration=9, sparsity=0.9)
    expected = ProfileSpec(dense=DenseSpec(seed=2), granularity="channel", criterion="l1", calibration=9, levels=101)
    assert spec.profile == expected
    assert spec.model_copy(update={"policy": "rdp"}).profile == expected  # policies share a profile
    assert spec.seed == 2


@pytest.mark.parametrize("levels", [6, 21, 201])
def test_profiles_of_other_levels_have_other_keys(levels: int) -> None:
    """Profiles of an earlier version had six levels, and their number was not in the key."""
    profile = TrialSpec().profile
    before_levels = TrialSpec().key()  # all defaults, as the key of such a profile
    assert len({profile.key(), profile.model_copy(update={"levels": levels}).key(), before_levels}) == 3


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_json_numbers_must_be_finite(number: str) -> None:
    with pytest.raises(ValueError, match=f"JSON numbers must be finite, but got {number}"):
        from_json(f'{{"a": [{number}]}}')
    with pytest.raises(ValidationError):
        EpochReport(epoch=0, val_accuracy=float(number.replace("Infinity", "inf")), val_loss=0.0, seconds=0.0)
