"""The dense networks of a study as the storage has them: how far their training is, and what to warn of."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from statistics import fmean

from search.results.durations import about
from search.results.scale import scale_of
from search.study.spec import StudySpec
from trainables.checkpoints import artifact_store, manifest
from trainables.checkpoints.epochs import newest_record
from trainables.checkpoints.record import ProgressRecord, Record
from trainables.counts import quantity
from trainables.frozen import Frozen
from trainables.spec import DenseSpec, EpochReport
from trainables.storage.folder import Folder

LATE = 0.1  # share of the epochs that are the last ones
GAIN = 0.01  # accuracy that the last epochs may still gain without a warning
MOST_WARNINGS = 4
ABOVE_CHANCE = 0.1  # share of the way from chance to 1 below which an accuracy is near chance


class _Classes(Record):
    classes: int


class _Training(ProgressRecord):
    architecture: _Classes


class DenseNetwork(Frozen):
    """A dense network that is trained, in training, or missing."""

    spec: DenseSpec
    trained: bool
    history: tuple[EpochReport, ...] = ()  # epoch 0 is the network before training
    classes: int | None = None  # None while the training has no record

    @property
    def name(self) -> str:
        """Model and seed, for messages."""
        return f"{self.spec.model}, seed {self.spec.seed}"

    @property
    def epochs_left(self) -> int:
        """The number of epochs that are not trained yet."""
        done = self.history[-1].epoch if self.history else 0
        return 0 if self.trained else self.spec.recipe.epochs - done


def networks_of(study: StudySpec) -> list[DenseSpec]:
    """List the different dense networks that the trials of a study need."""
    return list({network.key(): network for cell in study.cells() for network in cell.networks}.values())


def read_networks(specs: Iterable[DenseSpec], storage: Folder) -> list[DenseNetwork]:
    """Read the records of dense networks, without their tensors. A damaged record counts as missing."""
    return [_read(spec, storage) for spec in specs]


def seconds_left(networks: Sequence[DenseNetwork]) -> float | None:
    """Estimate the seconds that the missing epochs take, one after the other; None before any epoch has ended."""
    if not any(network.epochs_left for network in networks):
        return 0.0
    seconds: dict[str, list[float]] = {}
    for network in networks:
        seconds.setdefault(network.spec.model, []).extend(each.seconds for each in network.history if each.epoch)
    measured = [value for values in seconds.values() for value in values]
    if not measured:
        return None
    return sum(network.epochs_left * fmean(seconds[network.spec.model] or measured) for network in networks)


def epoch_text(network: DenseNetwork, report: EpochReport) -> str:
    """Describe an epoch: its number and its accuracy, or the metric of the task."""
    scale = scale_of(network.spec.data.task.metric.name)
    named = "" if scale.unit else f"{scale.metric} "
    return f"epoch {report.epoch} of {network.spec.recipe.epochs}, {named}{scale.text(report.val_accuracy)}"


def progress_line(networks: Sequence[DenseNetwork]) -> str:
    """Say how far the networks in training are: epoch, accuracy and time left."""
    running = [network for network in networks if network.history and not network.trained]
    parts = [f"dense networks trained: {sum(network.trained for network in networks)} of {len(networks)}"]
    parts += [f"{network.name}: {epoch_text(network, network.history[-1])}" for network in running[:4]]
    left = seconds_left(networks)
    if running and left is not None:
        parts.append(f"{about(left / len(running))} left")
    return "; ".join(parts)


def warnings_of(networks: Iterable[DenseNetwork]) -> list[str]:
    """Warn of classifiers that were still gaining when their training ended, and of those near chance."""
    messages = []
    for network in networks:
        epochs = network.spec.recipe.epochs
        if network.spec.data.task.function or not (network.trained and epochs and network.history and network.classes):
            continue
        accuracy, chance = network.history[-1].val_accuracy, 1 / network.classes
        if accuracy < chance + ABOVE_CHANCE * (1 - chance):
            messages.append(
                f"dense network {network.name} ends at {100 * accuracy:.1f} % accuracy, near chance "
                f"({100 * chance:.1f} %): what is pruned from it is noise; change dense.lr, or raise dense.epochs"
            )
        elif (gain := _late_gain(network.history)) > GAIN:
            messages.append(
                f"dense network {network.name} still gained {100 * gain:.1f} points of accuracy in the last "
                f"{_late(epochs):,} of {quantity(epochs, 'epoch')}: it can still improve; raise dense.epochs"
            )
    others = len(messages) - MOST_WARNINGS
    return messages[:MOST_WARNINGS] + (
        [f"the same holds for {quantity(others, 'other dense network')}"] if others > 0 else []
    )


def _late(epochs: int) -> int:
    return max(1, round(LATE * epochs))


def _late_gain(history: Sequence[EpochReport]) -> float:
    """Subtract the best accuracy of the earlier epochs from that of the last epochs."""
    last = _late(history[-1].epoch)
    before, late = history[:-last], history[-last:]
    return max(each.val_accuracy for each in late) - max(each.val_accuracy for each in before) if before else 0.0


def _read(spec: DenseSpec, storage: Folder) -> DenseNetwork:
    if folder := artifact_store.find(storage, "dense", spec.key()):
        with suppress(FileNotFoundError, ValueError):
            content, _ = manifest.read_record(folder)
            record = _Training.model_validate(content)
            return DenseNetwork(spec=spec, trained=True, history=record.history, classes=record.architecture.classes)
    newest = newest_record(artifact_store.unfinished(storage, spec.key()))
    return DenseNetwork(spec=spec, trained=False, history=newest.history if newest else ())
