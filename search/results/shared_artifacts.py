"""The shared artifacts that a study's trials start from, and whether its storage has them. Needs no torch."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from search.results.folder import READERS
from search.results.names import curriculum_name, model_name
from search.study.spec import StudySpec
from trainables.artifacts.needs import artifacts_of
from trainables.checkpoints import artifact_store, manifest
from trainables.checkpoints.artifact_store import Kind
from trainables.curriculum_spec import Curriculum
from trainables.data import content
from trainables.data_spec import DataSpec
from trainables.frozen import Frozen
from trainables.spec import DenseSpec, GatingSpec, LatencySpec, ProbeSpec, ProfileSpec, TrialSpec
from trainables.storage.folder import Folder

Keyed = tuple[Kind, str]  # kind and key of an artifact

key_of = cache(Frozen.key)  # trials share few specs of artifacts


class SharedArtifact(Frozen):
    """An artifact that trials of a study start from."""

    kind: str  # data (checksums of its files), dense, latency, probe, profile or gates
    name: str  # what it is, in words
    artifact: str  # its key; of a data set, the checksum of its contents
    ready: bool  # whether the storage has it
    path: str  # of its folder below the storage, or of its file; empty where it is missing


def shared_artifacts(study: StudySpec, storage: Folder) -> list[SharedArtifact]:
    """List what the trials of a study start from: its data, if the storage has its checksums, and each artifact once.

    An artifact is ready if its folder is complete. Its files are not compared with their checksums.
    """
    needs = artifacts_needed([*study.cells(), *study.trials()])
    with ThreadPoolExecutor(READERS) as pool:
        paths = pool.map(lambda artifact: _path(storage, *artifact), needs)
        found = [
            _artifact(kind, spec, key, path) for ((kind, key), spec), path in zip(needs.items(), paths, strict=True)
        ]
    return [*_of_data(study.data, storage), *found]


def artifacts_needed(trials: Iterable[TrialSpec]) -> dict[Keyed, Frozen]:
    """Map the kind and the key of each artifact that trials start from to its spec, dense networks first."""
    needs = {artifact: None for trial in trials for artifact in artifacts_of(trial)}
    ordered = sorted(needs, key=lambda artifact: artifact[0] != "dense")
    return {(kind, key_of(spec)): spec for kind, spec in ordered}


def words_of(kind: Kind, spec: Frozen) -> str:
    """Describe an artifact: "small_cnn, seed 0", and what was measured on this network."""
    match spec:
        case DenseSpec():
            name = f"{model_name(spec.model, spec.width)}, seed {spec.seed}"
            return name if spec.curriculum == Curriculum() else f"{name}, {curriculum_name(spec.curriculum)}"
        case LatencySpec():
            on = spec.device.table or spec.device.name
            return f"{model_name(spec.model, spec.width)}: {spec.granularity}s, on {on}"
        case ProfileSpec():
            return f"{words_of('dense', spec.dense)}: {spec.granularity}s by {spec.criterion}"
        case ProbeSpec():
            return f"{words_of('dense', spec.dense)}: {spec.samples:,} samples"
        case GatingSpec():
            return f"{words_of('dense', spec.dense)}: sparsity {spec.sparsity:g} of {spec.budget}"
    raise TypeError(kind)


def missing(artifacts: Sequence[SharedArtifact]) -> list[SharedArtifact]:
    """Return those that a run must make."""
    return [artifact for artifact in artifacts if not artifact.ready and artifact.kind != "data"]


def _path(storage: Folder, kind: Kind, key: str) -> str:
    """Return the path of a complete artifact below the storage; empty if it is missing."""
    folder = artifact_store.find(storage, kind, key)
    return f"artifacts/{kind}/{folder.name}" if folder is not None and manifest.is_whole(folder) else ""


def _artifact(kind: Kind, spec: Frozen, key: str, path: str) -> SharedArtifact:
    return SharedArtifact(kind=kind, name=words_of(kind, spec), artifact=key, ready=bool(path), path=path)


def _of_data(data: DataSpec, storage: Folder) -> list[SharedArtifact]:
    if not data.content or data.task.function:  # the data set's library checks the files; a task has none
        return []
    root = content.root_of(data)
    known = (storage / "artifacts" / "data").has(record := content.record_name(root))
    path = f"artifacts/data/{record}" if known else ""
    return [SharedArtifact(kind="data", name=f"checksums of {root}", artifact=data.content, ready=known, path=path)]
