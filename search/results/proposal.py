"""The command that takes the best network of a study."""

import shlex
from collections.abc import Sequence

from search.results.rows import TrialRow
from trainables.models.trust import is_users_own

AIM = 0.9  # sparsity that the command asks for if the study has it


def best_command(folder: str, rows: Sequence[TrialRow]) -> str | None:
    """Write the command for a shell, or None if no trial is done.

    Its constraint is a sparsity of a done trial: the lowest from `AIM` on, else the highest. All the user's own models
    and tasks are trusted, as any of them may be the best.
    """
    done = [row for row in rows if row.status == "done"]
    if not done:
        return None
    sparsities = sorted({row.sparsity for row in done})
    sparsity = next((value for value in sparsities if value >= AIM), sparsities[-1])
    own = sorted({name for row in done for name in (row.model, row.dataset) if is_users_own(name)})
    trust = [word for name in own for word in ("--trust", name)]
    return shlex.join(["howcompact", "best", folder, "--where", f"sparsity>={sparsity}", "--out", "best/", *trust])
