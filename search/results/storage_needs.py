"""What the studies of a storage need of its shared artifacts. Needs no torch."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from search.results.folder import OUTCOME, READERS, SPEC, STUDY, StudyFolder
from search.results.shared_artifacts import Keyed, artifacts_needed
from trainables.data import content
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder


@dataclass
class Needs:
    """What the studies of a storage need."""

    studies: list[str] = field(default_factory=list)
    artifacts: set[Keyed] = field(default_factory=set)
    records: set[str] = field(default_factory=set)  # files with checksums of data


def needs_of_storage(storage: Folder, names: Sequence[str]) -> Needs:
    """Read what the studies in these folders of a storage need; folders that hold no study need nothing.

    Raises ValueError with a line for each study that cannot be read.
    """
    needs, problems = Needs(), list[str]()
    for name in names:
        try:
            trials = list(_trials(StudyFolder(storage / name)))
        except (FileNotFoundError, ValueError) as error:
            problems.append(f"clean must know what each study needs, but study {name} cannot be read: {error}")
            continue
        if trials:
            needs.studies.append(name)
            needs.artifacts |= artifacts_needed(trials).keys()
            needs.records |= {
                content.record_name(content.root_of(data))
                for data in {t.dense.data for t in trials}
                if not data.task.function
            }
    if problems:
        raise ValueError("\n".join(problems))
    return needs


def _trials(folder: StudyFolder) -> Iterator[TrialSpec]:
    """Yield a study's trials and the trials of its folder, which may have run under earlier settings."""
    keys = folder.keys()
    if not folder.folder.has(STUDY):
        if keys:
            raise ValueError(f"it has trials and no {STUDY}; run the study's command again, or delete its folder")
        return
    study = folder.study
    yield from study.cells()
    yield from study.trials()
    with ThreadPoolExecutor(READERS) as pool:
        yield from (spec for spec in pool.map(lambda key: _spec(folder, key), keys) if spec)


def _spec(folder: StudyFolder, key: str) -> TrialSpec | None:
    """Read the settings of a trial from its spec or from its outcome; None if its folder is empty.

    Raises ValueError if neither can be read.
    """
    with suppress(FileNotFoundError, ValueError):
        return folder.spec(key)
    outcome, trial = folder.outcome(key), folder.trial(key)
    if outcome and outcome.spec.key() == key:
        return outcome.spec
    if trial.folders() or not all(name.startswith(".") for name in trial.files()):  # a killed writer leaves .names
        raise ValueError(f"{SPEC} and {OUTCOME} of trial {key} are damaged or missing; delete its folder")
    return None
