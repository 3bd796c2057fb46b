"""Notes shared work that fails. The trials that need it fail with its error; all other trials run."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from ray.exceptions import RayTaskError

from search.results.names import curriculum_name, model_name
from trainables.artifacts.needs import artifacts_of
from trainables.checkpoints.artifact_store import Kind
from trainables.curriculum_spec import Curriculum
from trainables.learnability.curriculum_kinds import is_scored
from trainables.mistakes import in_one_line
from trainables.names import Source
from trainables.spec import DenseSpec, TrialSpec
from trainables.storage.folder import StorageError
from trainables.training.train import DivergedError

NAMES: Mapping[Source | Literal["scores"], str] = {
    "latency": "latency table",
    "probe": "probes",
    "profile": "profile",
    "gates": "gates",
    "scores": "sample scores",
}
Work = Kind | Literal["scores"]  # an artifact, or the check of the scores that a curriculum reads


class SharedFailures:
    """The dense networks and other artifacts of a run that could not be made, with one message for each."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """say: gets the message of each failure once."""
        self._say = say
        self._messages: dict[tuple[Work, str], str] = {}  # kind and key of shared work -> message

    @property
    def messages(self) -> list[str]:
        """The message of each failure."""
        return list(self._messages.values())

    def add(self, kind: Work, key: str, dense: DenseSpec, error: Exception) -> None:
        """Note that shared work failed. dense: the network that it belongs to."""
        message = message_of(kind, dense, error)
        self._messages[kind, key] = message
        self._say(message)

    def reason(self, spec: TrialSpec) -> str:
        """The message of the failure that keeps a trial from running; empty if the trial can run."""
        if not self._messages:
            return ""
        work: list[tuple[Work, str]] = [(kind, artifact.key()) for kind, artifact in artifacts_of(spec)]
        work += [("scores", key) for key in scores_of(spec)]
        return next((self._messages[each] for each in work if each in self._messages), "")

    def without(self, specs: Iterable[TrialSpec]) -> list[TrialSpec]:
        """The trials that can run."""
        return [spec for spec in specs if not self.reason(spec)]


def scores_of(spec: TrialSpec) -> dict[str, Curriculum]:
    """Return the curricula of a trial that read scores of samples; equal keys read the same scores."""
    return {f"{c.measure} {c.network} {c.table} {spec.dense.key()}": c for c in spec.scored if is_scored(c)}


def message_of(kind: Work, dense: DenseSpec, error: Exception) -> str:
    """Name the network, its seed, the error and the remedy in one line."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    network = f"{model_name(dense.model, dense.width)} with seed {dense.seed}"
    if dense.curriculum != Curriculum():
        network += f" and curriculum {curriculum_name(dense.curriculum)}"
    made = f"the dense network {network} must train" if kind == "dense" else f"the {NAMES[kind]} of {network} must work"
    text = in_one_line(cause)
    setting = " (finetune.lr)" if kind == "gates" else " (dense.lr)" if kind == "dense" else ""
    remedy = setting if isinstance(cause, DivergedError) else "; correct it"
    return (
        f"{made} before its trials run, but fails with {text}{remedy}, or take {dense.model} out of models; the same "
        "command tries again"
    )


def raised(error: Exception) -> Exception:
    """The error to raise for a task that failed: its own cause where that is a user's mistake or the storage's."""
    cause: Any = error.cause if isinstance(error, RayTaskError) else None
    for kind in (ValueError, StorageError):
        if isinstance(cause, kind):
            return kind(str(cause))
    return error
