"""Where models come from. A checkpoint may name any function, and building it runs its code. Needs no torch."""

from collections.abc import Collection
from dataclasses import dataclass

from trainables.models.libraries import package_of
from trainables.own_function import is_external


def is_users_own(model: str) -> bool:
    """Whether a model is a function of the user, "package.module:function", and comes with no library."""
    return is_external(model) and not package_of(model)


@dataclass(frozen=True)
class Trust:
    """The models and tasks of the user's own that may be imported for what a checkpoint says."""

    models: Collection[str] = ()

    def check(self, model: str) -> None:
        """Raise ValueError for a model of the user's own that is not one of these."""
        if is_users_own(model) and model not in self.models:
            raise ValueError(
                f"a checkpoint's own model must be trusted, as building it imports code, but this one names "
                f"{model!r}; if you know that code, add --trust {model}, in Python trust=[{model!r}]"
            )

    def check_task(self, function: str) -> None:
        """Raise ValueError for a task that is not one of these; an empty text is the classification of images."""
        if function and function not in self.models:
            raise ValueError(
                f"a checkpoint's task must be trusted, as its data and its metric are code, but this one names "
                f"{function!r}; if you know that code, add --trust {function}, in Python trust=[{function!r}]"
            )


NO_TRUST = Trust()
