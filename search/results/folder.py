"""The study folder: the study, its trials and their table. Its files alone say which trials are done."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from search.results.rows import SCHEMA, TABLE, TrialRow, from_parquet, from_table, published, row_of, to_table
from search.study.spec import StudySpec
from trainables.checkpoints.epochs import newest_record
from trainables.checkpoints.record import ProgressRecord
from trainables.mistakes import checked
from trainables.models.trust import NO_TRUST, Trust
from trainables.outcome import Outcome, Status
from trainables.spec import TrialSpec
from trainables.storage.columns import to_parquet
from trainables.storage.folder import Folder
from trainables.storage.sealed_json import sealed, unsealed
from trainables.storage.strict_json import from_json

STUDY = "study.json"
SPEC = "spec.json"
OUTCOME = "outcome.json"
READERS = 16  # threads; each file of a remote storage takes time


class StudyFolder:
    """`<storage>/<study>`: the study, the table, and a folder for each trial, named by the trial's key."""

    def __init__(self, folder: Folder, trust: Trust = NO_TRUST) -> None:
        """trust: the user's own models that checkpoints may build."""
        self.folder, self.trust = folder, trust

    @classmethod
    def open(cls, uri: str, trust: Trust = NO_TRUST) -> "StudyFolder":
        """Open the folder of a study that was started. Raises ValueError if there is none."""
        folder = Folder.at(uri)
        if not folder.has(STUDY):
            raise ValueError(f"a study folder must hold {STUDY}, but {uri} does not; give the folder that run printed")
        return cls(folder, trust)

    @property
    def study(self) -> StudySpec:
        """The study as it was last run. Raises ValueError for a damaged file."""
        rule = f"{self.folder.uri}/{STUDY} must hold a study of this version"
        try:
            values = from_json(unsealed(self.folder.read(STUDY)).decode())
        except ValueError as error:
            raise ValueError(f"{rule}, but: {error}; run the study's command again, which writes it") from None
        return checked(StudySpec, values, rule)

    def write_study(self, study: StudySpec) -> None:
        """Write the study."""
        self.folder.write(STUDY, sealed(study.model_dump_json(indent=1).encode()))

    def trial(self, key: str) -> Folder:
        """Return the folder of a trial."""
        return self.folder / "trials" / key

    def rows(self) -> list[TrialRow]:
        """List every trial that has ended, sorted by key."""
        return from_table(self.table())

    def table(self, columns: Sequence[str] = SCHEMA.names) -> pa.Table:
        """Load the same rows as columns: from results.parquet, and from the outcomes that this file lacks."""
        known = SCHEMA.empty_table()
        with suppress(OSError, ValueError):  # lost or damaged: the outcomes hold the same
            known = from_parquet(self.folder.read(TABLE), [*columns, "trial", "status"])
        known = known.filter(pc.field("status") != "failed")
        held = set(known["trial"].to_pylist())
        fresh = to_table(map(row_of, self.read_outcomes(key for key in self.keys() if key not in held)))
        both = pa.concat_tables([known.select(columns), fresh.select(columns)])
        return both.sort_by("trial") if len(fresh) else both

    def keys(self) -> list[str]:
        """List the keys of all started trials."""
        return (self.folder / "trials").folders()

    def outcome(self, key: str) -> Outcome | None:
        """Load a trial's outcome; None if it has none or a damaged one."""
        return _outcome(self._read_outcome(key))

    def unended(self, spec: TrialSpec, status: Status, error: str) -> Outcome:
        """Build the outcome of a trial that was cut off, from its newest checkpoint."""
        record = newest_record(self.trial(spec.key())) or ProgressRecord()
        return Outcome(spec=spec, status=status, error=error, facts=record.facts, history=record.history)

    def read_outcomes(self, keys: Iterable[str]) -> list[Outcome]:
        """Read outcomes in parallel. Trials without an outcome are left out."""

        def read(some: Sequence[str]) -> list[bytes]:
            return [self._read_outcome(key) for key in some]

        listed = list(keys)
        size = 1 + len(listed) // (4 * READERS)  # a thread reads several: for local files, hand-over takes longest
        with ThreadPoolExecutor(READERS) as pool:
            contents = pool.map(read, [listed[i : i + size] for i in range(0, len(listed), size)])
            outcomes = [_outcome(content) for some in contents for content in some]
        return [outcome for outcome in outcomes if outcome is not None]

    def _read_outcome(self, key: str) -> bytes:
        """Read the bytes of a trial's outcome; empty where it has none. Raises ValueError for a key that is no name."""
        trial = self.trial(key)
        with suppress(FileNotFoundError, ValueError):
            return trial.read(OUTCOME)
        return b""

    def unfinished(self, done: set[str]) -> list[TrialSpec]:
        """List the specs of the trials that were started and have not ended."""
        specs = []
        for key in self.keys():
            if key not in done:
                with suppress(FileNotFoundError, ValueError):  # a damaged spec counts as never written
                    specs.append(self.spec(key))
        return specs

    def spec(self, key: str) -> TrialSpec:
        """Read the spec of a trial that was started. Raises ValueError where it is damaged or of another trial."""
        spec = TrialSpec.model_validate_json(unsealed(self.trial(key).read(SPEC)))
        if spec.key() != key:
            raise ValueError(f"a trial's folder must have its key as name, but holds the spec of trial {spec.key()}")
        return spec

    def start_trial(self, spec: TrialSpec) -> None:
        """Write a trial's spec, so that the trial is known after any failure."""
        self.trial(spec.key()).write(SPEC, sealed(spec.model_dump_json().encode()))

    def forget_outcome(self, key: str) -> None:
        """Delete how a trial ended, as it is tried again."""
        with suppress(FileNotFoundError):
            self.trial(key).remove(OUTCOME)

    def write_table(self) -> list[TrialRow]:
        """Write all rows as Parquet and return them."""
        table = self.table()
        self.folder.write(TABLE, to_parquet(published(table)))
        return from_table(table)


def _outcome(content: bytes) -> Outcome | None:
    with suppress(ValueError):
        return Outcome.from_file(content)
    return None
