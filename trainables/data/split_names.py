"""The usual names of splits, in any case. A name that looks like a split, but is not a usual one, is refused."""

import re
from collections.abc import Mapping

from trainables.data.types import Role

NAMES: Mapping[Role, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval"),
}
USUAL = "; ".join(f"{role}: {', '.join(names)}" for role, names in NAMES.items())
ROLE_OF: Mapping[str, Role] = {name: role for role, names in NAMES.items() for name in names}
OTHERS = {  # other words that name splits
    "holdout",
    "heldout",
    "trainval",
    "trainvalid",
    "valtest",
    "evaluation",
    "development",
    "devel",
    "minival",
    "trn",
    "tst",
    "unlabeled",
    "unlabelled",
    "unsupervised",
    "extra",
    "fold",
    "split",
}
FILLERS = re.compile("datasets?|data|sets?|images?|imgs?|pictures?|photos?|samples?|files?")


def of_folder(name: str) -> Role | None:
    """Return the split that a folder's name says, or None."""
    return ROLE_OF.get(name.lower())


def of_file(stem: str) -> Role | None:
    """Return the split that a word of a file's name says, such as `mnist_Test-0`, or None.

    Raises ValueError for a name with two splits, and for a name that looks like a split but is not a usual one.
    """
    roles = {ROLE_OF[word] for word in _words(stem) if word in ROLE_OF}
    if len(roles) > 1 or (not roles and looks_like_split(stem)):
        raise ValueError(
            f"a file must name one split or none, but {stem!r} names {'two' if roles else 'an unknown one'}; rename "
            f"it ({USUAL}), or move it out of the folder"
        )
    return next(iter(roles), None)


def looks_like_split(name: str) -> bool:
    """Tell whether a name is a split's, apart from numbers, marks and words such as `set`: train2, test-images."""
    words = [word for word in _words(name) if not FILLERS.fullmatch(word)]
    kernel = FILLERS.sub("", words[0]) if len(words) == 1 else "".join(words)
    return kernel in ROLE_OF or kernel in OTHERS


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall("[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
