"""Damages a study at random, again and again, and counts what `verify` names.

python -m tests.benchmarks.verify_damages --count 10000

Each time, one file of a fresh copy of a study is changed, cut, deleted, swapped, edited as JSON or loses its checksum.
A damage is accepted if `verify` finds no problem, unless no value of the table depends on it.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import search
from search.results.folder import StudyFolder
from search.results.rows import TABLE
from tests.search.verification.damages import damage, rows_of


def main() -> None:
    """Damage copies of the study and print how many damages of each kind were named."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("study", help="a finished study in a storage of its own")
    arguments.add_argument("--count", type=int, default=10_000)
    asked = arguments.parse_args()
    study = Path(asked.study)
    assert search.verify(str(study), sample=0).problems == []
    named, unread, accepted = Counter[str](), Counter[str](), []
    started = time.monotonic()
    for seed in range(asked.count):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
            copy = Path(scratch) / "storage" / study.name
            shutil.copytree(study, copy)
            what = damage(copy, random.Random(seed))
            kind = what.partition(" ")[0]
            try:
                problems = search.verify(str(copy), sample=0).problems
            except ValueError as error:
                problems = [str(error)]
            if problems:
                named[kind] += 1
            elif what.endswith(TABLE) and rows_of(copy / TABLE) == StudyFolder.open(str(study)).rows():
                unread[kind] += 1
            else:
                accepted.append(f"{seed}: {what}")
        if (seed + 1) % 500 == 0:
            print(f"{seed + 1} damages, {time.monotonic() - started:.0f} s, accepted: {len(accepted)}", flush=True)
    print(f"named: {dict(named)}, {named.total()} in all")
    print(f"bytes of {TABLE} on which no value depends: {unread.total()}")
    print(f"accepted: {accepted}")


if __name__ == "__main__":
    main()
