"""The command `clean`."""

from typing import Annotated

import typer

import search
from search.cli.options import Json
from search.results.to_json import to_json
from trainables.counts import quantity

cleaning = typer.Typer()

MOST = 20  # lines; --json has all


@cleaning.command()
def clean(
    storage: Annotated[str, typer.Argument(help="Folder or URI that holds the studies and their artifacts.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete what is listed.")] = False,
    as_json: Json = False,
) -> None:
    """List the shared artifacts of a storage that no study needs; with --yes, delete them.

    Example: howcompact clean howcompact-runs
    """
    cleaned = search.clean(storage, delete=yes)
    if as_json:
        return print(to_json(cleaned))
    width = max((len(each.name) for each in cleaned.unneeded[:MOST]), default=0)
    for each in cleaned.unneeded[:MOST]:
        print(f"{_size(each.bytes)}  {each.name:{width}}  {each.reason}: {each.path}")
    if len(cleaned.unneeded) > MOST:
        print(f"{quantity(len(cleaned.unneeded) - MOST, 'more is', 'more are')} in --json")
    needed = f"what {quantity(len(cleaned.studies), 'study needs', 'studies need')} stays"
    kept = needed if cleaned.studies else "the storage holds no study"
    total = f"{quantity(len(cleaned.unneeded), 'artifact')}, {_size(cleaned.bytes).strip()}"
    if not cleaned.unneeded:
        print(f"nothing to delete; {kept}")
    elif yes:
        print(f"deleted: {total}; {kept}")
    else:
        print(f"to delete: {total}; {kept}")
        print("nothing was deleted; --yes deletes them")
    return None


def _size(size: int) -> str:
    return f"{size / 1e6:9,.1f} MB"
