"""Two tasks whose networks are called with several tensors: in order (image and table) and by name (BERT)."""

import pytest
import torch
from torch import nn

from tests.tasks import pair, sentences
from tests.trainables.conftest import as_if_trained
from trainables.arguments import Arguments
from trainables.checkpoints.checkpoint import Architecture
from trainables.data.samples import inputs_of
from trainables.data_spec import DataSpec
from trainables.spec import DenseSpec
from trainables.task_spec import TaskSpec

KINDS_OF_INPUTS = pytest.mark.parametrize("name", ["pair", "sentences"])
TASKS = {"pair": pair.pair(), "sentences": sentences.lines()}
MODELS = {"pair": "tests.tasks.pair:two_branches", "sentences": "tests.tasks.sentences:bert"}
FUNCTIONS = {"pair": "tests.tasks.pair:pair", "sentences": "tests.tasks.sentences:lines"}


def data_of(name: str) -> DataSpec:
    return DataSpec(task=TaskSpec(function=FUNCTIONS[name]), max_train=160, max_val=60)


def architecture(name: str) -> Architecture:
    return Architecture.of(DenseSpec(model=MODELS[name]), inputs_of(TASKS[name]))


def network(name: str) -> tuple[nn.Module, Arguments]:
    torch.manual_seed(0)
    built = architecture(name)
    return as_if_trained(built.build()).eval(), built.example()


def batch_of(name: str, samples: int = 5) -> Arguments:
    task = TASKS[name]
    return task.inputs(task.collate([task.splits["train"][item] for item in range(samples)]))
