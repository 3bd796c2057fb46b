"""The command that takes the best network of a study."""

import shlex
from collections.abc import Sequence

from search.results.rows import TrialRow
from trainables.models.trust import is_users_own

AIM = 0.9  # sparsity that the command asks for if the study has it


def best_command(folder: str, rows: Sequence[TrialRow]) -> str | None:
    """Write the command for a shell, or None if no trial is done.

    Its constraint is a sparsity of a done trial: the lowest from `AIM` on, else the highest. All the user's own models
    are trusted, as any of them may be the best.
    """
    done = [row for row in rows if row.status == "done"]
    if not done:
        return None
    sparsities = sorted({row.sparsity for row in done})
    sparsity = next((value for value in sparsities if value >= AIM), sparsities[-1])
    own_models = sorted({row.model for row in done if is_users_own(row.model)})
    trust = [word for model in own_models for word in ("--trust", model)]
    return shlex.join(["howcompact", "best", folder, "--where", f"sparsity>={sparsity}", "--out", "best/", *trust])
