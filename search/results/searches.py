"""The names of searches, and `exhausted.json` in the study folder: the searches that ended early."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress

from pydantic import TypeAdapter

from search.results.names import COMPENSATED, curriculum_name, model_name
from search.study.search_spec import SearchSpec
from trainables.curriculum_spec import Curriculum
from trainables.names import RANDOM_SEARCH
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.storage.sealed_json import sealed, unsealed

EXHAUSTED = "exhausted.json"
CONTROL = {"sampler": "random", "space": "layers", "warm_start": ()}  # settings of the control

Exhausted = Mapping[str, int]  # name of a search -> proposals that it had made when it found no new network
_FILE = TypeAdapter(dict[str, int])


def settings_of(policy: str, settings: SearchSpec) -> SearchSpec:
    """Return the settings that a search of this policy follows."""
    return settings.model_copy(update=CONTROL) if policy == RANDOM_SEARCH else settings


def name_of(policy: str, cells: Sequence[TrialSpec], settings: SearchSpec) -> str:
    """Name a search, as in Optuna's journal. Searches whose trials differ have different names.

    cells: they differ in nothing but sparsity. settings: those of `settings_of`.
    """
    first = cells[0]
    network = model_name(first.dense.model, first.dense.width)
    compensated = f"{COMPENSATED}, " if first.compensate else ""
    curriculum = "" if first.followed == Curriculum() else f"{curriculum_name(first.followed)}, "
    sparsity = f"{first.sparsity:g}" if len(cells) == 1 else "any"
    mark = hash_of(*(cell.key() for cell in cells), settings.space, *settings.goals, *settings.constraints)
    return (
        f"{policy}: {network}, {first.granularity}s by {first.criterion}, "
        f"{compensated}{first.recovery}, {curriculum}sparsity {sparsity}, seed {first.seed} ({mark})"
    )


def hash_of(*texts: str) -> str:
    """Hash texts to 8 hex digits."""
    return hashlib.sha256("/".join(texts).encode()).hexdigest()[:8]


def read_exhausted(study: Folder) -> dict[str, int]:
    """Read which searches of a study folder ended early. Raises ValueError for a damaged file."""
    return _FILE.validate_json(unsealed(study.read(EXHAUSTED))) if study.has(EXHAUSTED) else {}


def known_exhausted(study: Folder) -> dict[str, int]:
    """Read which searches of a study folder ended early. A damaged file counts as never written."""
    with suppress(ValueError):
        return read_exhausted(study)
    return {}


def write_exhausted(study: Folder, exhausted: Exhausted) -> None:
    """Write which searches of a study folder ended early."""
    study.write(EXHAUSTED, sealed(_FILE.dump_json(dict(exhausted), indent=1)))


def is_exhausted(search: str, proposals: int, exhausted: Exhausted) -> bool:
    """Tell whether a search with this number of proposals ended early. It goes on if trials of it were deleted."""
    return search in exhausted and proposals >= exhausted[search]
