"""The names that are known without torch are those of the tables, and the tables read what the needs declare."""

from collections.abc import Iterable
from typing import get_args

import pytest
import torchvision.models
from torch import nn

from search.methods import names as methods
from search.methods.samplers import SAMPLERS
from search.methods.schedulers import SCHEDULERS
from search.methods.spaces import SPACES
from trainables.allocation.policies import POLICIES
from trainables.allocation.schedules import SCHEDULES
from trainables.catalog.curriculum_checks import epochs_of_recovery
from trainables.data.sources import SOURCES
from trainables.learnability.curricula import DRAWS, PACINGS
from trainables.learnability.curriculum_kinds import CURRICULA
from trainables.learnability.measures import MEASURES
from trainables.models import known
from trainables.models.cifar import CIFAR
from trainables.names import CRITERION_NEEDS, NAMES, POLICY_NEEDS, GranularityName, unknown
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.gates import SHAPINGS
from trainables.pruning.granularities import GRANULARITIES
from trainables.pruning_spec import Gates
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, TrialSpec
from trainables.training.optimizers import OPTIMIZERS
from trainables.training.recovery import RECOVERIES, Pruned

TABLES: dict[str, Iterable[str]] = {
    "policy": POLICIES,
    "criterion": CRITERIA,
    "granularity": GRANULARITIES,
    "schedule": SCHEDULES,
    "recovery": RECOVERIES,
    "optimizer": OPTIMIZERS,
    "shaping": SHAPINGS,
    "curriculum": CURRICULA,
    "pacing": PACINGS,
    "measure": MEASURES,
    "model": CIFAR,
    "data.name": SOURCES,
}


def test_each_table_has_the_names_that_settings_may_use() -> None:
    assert {kind: sorted(table) for kind, table in TABLES.items()} == {k: sorted(names) for k, names in NAMES.items()}
    assert set(POLICIES) == set(POLICY_NEEDS)
    assert set(CRITERIA) == set(CRITERION_NEEDS)
    assert set(GRANULARITIES) == set(get_args(GranularityName))


def test_methods_of_a_search_have_their_names_too() -> None:
    assert set(SAMPLERS) == set(methods.SAMPLER_ABILITIES)
    assert set(SPACES) == set(methods.SPACES)
    assert set(SCHEDULERS) == set(methods.SCHEDULERS)


def test_every_curriculum_has_a_way_to_draw() -> None:
    assert {kind.method for kind in CURRICULA.values()} == set(DRAWS)


def test_torchvision_registers_the_classifiers_that_its_source_shows() -> None:
    assert list(known.torchvision_names()) == sorted(torchvision.models.list_models(module=torchvision.models))


def test_an_unknown_name_comes_with_the_nearest_ones() -> None:
    assert unknown("pacing", "linear") == []
    assert unknown("pacing", "liner") == ["pacing must be a known name, but got 'liner'; did you mean 'linear'?"]


@pytest.mark.parametrize("policy", ["uniform", "gates-joint"])
@pytest.mark.parametrize("recovery", NAMES["recovery"])
def test_epochs_of_a_recovery_are_those_of_its_training_plan(recovery: str, policy: str) -> None:
    dense = DenseSpec(recipe=Recipe(epochs=7))
    spec = TrialSpec(dense=dense, recovery=recovery, policy=policy, finetune=Recipe(epochs=5), gates=Gates(epochs=2))
    assert epochs_of_recovery(spec) == RECOVERIES[recovery](Pruned(spec, 1.0, nn.Identity)).epochs
