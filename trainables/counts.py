"""Numbers with their nouns, in messages."""


def noun(count: float, one: str, many: str = "") -> str:
    """Return the noun that fits a count. many: the plural, if it is not the singular with an s."""
    return one if count == 1 else many or f"{one}s"


def quantity(count: int, one: str, many: str = "") -> str:
    """Write a count with its noun: "1 trial", "2,000 trials". The arguments are those of `noun`."""
    return f"{count:,} {noun(count, one, many)}"
