"""How far the dense networks of a study are, from the records in its storage; and what their training warns of."""

from pathlib import Path

import pytest

from search.results.dense_networks import (
    DenseNetwork,
    networks_of,
    progress_line,
    read_networks,
    seconds_left,
    warnings_of,
)
from search.study.reading import read_study
from tests.trainables.trials import CPU, DATA
from trainables.artifacts.dense import make_dense
from trainables.checkpoints import artifact_store
from trainables.data import sources
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, EpochReport
from trainables.storage.folder import Folder


def network(
    *accuracies: float, epochs: int | None = None, trained: bool = True, model: str = "small_cnn"
) -> DenseNetwork:
    """A network of ten classes with these accuracies after epochs 0, 1, ... of 2 seconds each."""
    history = [
        EpochReport(epoch=epoch, val_accuracy=accuracy, val_loss=1.0, seconds=2.0)
        for epoch, accuracy in enumerate(accuracies)
    ]
    recipe = Recipe(epochs=len(accuracies) - 1 if epochs is None else epochs)
    spec = DenseSpec(model=model, recipe=recipe)
    return DenseNetwork(spec=spec, trained=trained, history=tuple(history), classes=10)


def test_networks_are_read_while_they_train_and_after(tmp_path: Path) -> None:
    storage, splits = Folder.at(str(tmp_path)), sources.load(DATA)
    spec = DenseSpec(data=DATA, width=0.25, recipe=Recipe(epochs=2, lr=0.05))
    (missing,) = read_networks([spec], storage)
    assert (missing.trained, missing.history, missing.epochs_left) == (False, (), 2)

    one_epoch = spec.model_copy(update={"recipe": Recipe(epochs=1, lr=0.05)})
    make_dense(one_epoch, splits, storage, storage / "one", CPU)
    artifact_store.find_or_make(
        storage, "dense", spec.key(), lambda folder: make_dense(spec, splits, storage, folder, CPU)
    )
    (trained,) = read_networks([spec], storage)
    assert trained.trained
    assert [report.epoch for report in trained.history] == [0, 1, 2]
    assert (trained.classes, trained.epochs_left) == (10, 0)


def test_a_study_names_each_network_once() -> None:
    study = read_study("digits", ["models=[small_cnn,resnet20]", "width=0.25", "seeds=[0,1,2]"])
    assert sorted((spec.model, spec.seed) for spec in networks_of(study)) == [
        *(("resnet20", seed) for seed in range(3)),
        *(("small_cnn", seed) for seed in range(3)),
    ]


def test_the_time_left_is_the_mean_of_an_epoch_times_the_epochs_that_are_left() -> None:
    running = network(0.1, 0.5, 0.6, epochs=10, trained=False)
    missing = network(epochs=10, trained=False)
    assert seconds_left([running]) == 8 * 2.0
    assert seconds_left([running, missing]) == (8 + 10) * 2.0
    assert seconds_left([missing]) is None
    assert seconds_left([network(0.1, 0.9)]) == 0.0


def test_progress_names_epoch_accuracy_and_time_left() -> None:
    networks = [
        network(0.1, 0.9),
        network(0.1, 0.5, 0.614, epochs=600, trained=False),
        network(epochs=600, trained=False),
    ]
    assert progress_line(networks) == (
        "dense networks trained: 1 of 3; small_cnn, seed 0: epoch 2 of 600, 61.4 %; about 40 min left"
    )


@pytest.mark.parametrize(
    ("accuracies", "message"),
    [
        ((0.1, 0.9), "still gained 80.0 points of accuracy in the last 1 of 1 epoch:"),
        ((0.1, 0.5, 0.8, 0.9, 0.95, 0.96, 0.96, 0.965, 0.966, 0.966, 0.97), ""),
        (
            (0.1, 0.5, 0.8, 0.9, 0.92, 0.92, 0.92, 0.92, 0.92, 0.92, 0.95),
            "still gained 3.0 points of accuracy in the last 1 of 10 epochs:",
        ),
        ((0.1, 0.1, 0.12, 0.11, 0.10, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1), "ends at 10.0 % accuracy, near chance (10.0 %)"),
    ],
)
def test_a_network_that_is_not_trained_to_its_end_is_warned_of(accuracies: tuple[float, ...], message: str) -> None:
    messages = warnings_of([network(*accuracies)])
    assert len(messages) == bool(message)
    assert message in "".join(messages)
    assert warnings_of([network(*accuracies, trained=False)]) == []


def test_many_warnings_are_few_lines() -> None:
    messages = warnings_of([network(0.1, 0.1)] * 20)
    assert len(messages) == 5
    assert messages[-1] == "the same holds for 16 other dense networks"
