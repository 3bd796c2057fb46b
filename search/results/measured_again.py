"""Evaluates trials' networks again."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from torch import nn

from search.results.data_at_hand import data_at_hand, name_of
from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from trainables.data import sources
from trainables.data.samples import Samples
from trainables.data.splits import AnySplits, Split
from trainables.evaluate import evaluated, load_trial
from trainables.outcome import Outcome
from trainables.training.process import own_device
from trainables.training.train import Evaluation


class Measured(NamedTuple):
    """A finished trial whose network was evaluated again."""

    outcome: Outcome
    evaluation: Evaluation
    network: nn.Module  # of its best epoch
    splits: AnySplits


def measured_again(
    folder: StudyFolder, rows: Mapping[str, TrialRow], split: Literal["val", "test"]
) -> Iterator[Measured]:
    """Yield trials in the order of their keys, each with the evaluation of its best epoch's network on a split.

    rows: of finished trials, by key. A trial whose data set is missing or has changed is left out, with a warning on
    stderr. Raises ValueError if no data set is left, and for a network that is damaged or not trusted.
    """
    known = data_at_hand(folder, rows.values()) if rows else {}
    device = own_device()
    loaded: dict[str, tuple[Split | Samples, AnySplits]] = {}
    for key in sorted(key for key, row in rows.items() if name_of(row) in known):
        outcome = folder.outcome(key)
        assert outcome is not None, "data_at_hand refuses rows without an outcome"
        data = outcome.spec.dense.data.found_by(known[name_of(rows[key])])
        if data.key() not in loaded:
            splits = sources.load_any(data)
            loaded[data.key()] = splits.val if split == "val" else sources.load_any_test(data), splits
        network = load_trial(folder.trial(key), outcome, device, folder.trust)
        evaluation = evaluated(network, *loaded[data.key()], device)
        yield Measured(outcome, evaluation, network, loaded[data.key()][1])
