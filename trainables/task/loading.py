"""Calls the function that a study names as its task."""

from functools import cache

from trainables.own_function import is_external, load_function
from trainables.task.task import Task


@cache
def load_task(function: str) -> Task:
    """Call "package.module:function", once in each process.

    Raises ValueError for a name that is no function, and for a function that fails or returns no Task.
    """
    if not is_external(function):
        raise ValueError(f"task must be package.module:function, but got {function!r}; name your function so")
    build = load_function("task", function)
    try:
        task = build()
    except Exception as error:
        raise ValueError(
            f"task {function!r} must return a Task, but failed with {type(error).__name__}: {error}; correct it"
        ) from error
    if not isinstance(task, Task):
        raise ValueError(
            f"task {function!r} must return a Task, but returned a {type(task).__name__}; return Task(...)"
        )
    return task
