"""Measures the accuracy of some networks of a study again."""

import random
from collections.abc import Callable, Mapping

from search.results.data_at_hand import data_at_hand, name_of
from search.results.folder import StudyFolder
from search.results.rows import row_of
from search.retrieval.copying import OTHER_HARDWARE, SAME_HARDWARE
from trainables.data import sources
from trainables.data.splits import Splits
from trainables.evaluate import accuracy_of, load_trial
from trainables.outcome import Outcome
from trainables.training.process import hardware, own_device


def disagreeing(
    folder: StudyFolder, outcomes: Mapping[str, Outcome], sample: int, say: Callable[[str], None]
) -> tuple[int, list[str]]:
    """Measure the validation accuracy of finished trials again: the same ones in each call.

    Returns the number of trials and a problem for each accuracy that differs by more than hardware explains. Raises
    ValueError where no data set of the study is at hand.
    """
    finished = {key: outcome for key, outcome in outcomes.items() if outcome.status == "done" and outcome.best}
    rows = {key: row_of(outcome) for key, outcome in finished.items()}
    known = data_at_hand(folder, rows.values()) if rows else {}
    at_hand = sorted(key for key, row in rows.items() if name_of(row) in known)
    chosen = random.Random(0).sample(at_hand, min(sample, len(at_hand)))
    device, loaded, problems = own_device(), dict[str, Splits](), []
    for number, key in enumerate(chosen, start=1):
        outcome = finished[key]
        assert outcome.best is not None
        assert outcome.facts is not None
        data = outcome.spec.dense.data.found_by(known[name_of(rows[key])])
        splits = loaded.setdefault(data.key(), loaded.get(data.key()) or sources.load(data))
        try:
            network = load_trial(folder.trial(key), outcome, device, folder.trust)
        except ValueError as error:
            problems.append(f"trial {key}: {error}")
            continue
        accuracy, reported = accuracy_of(network, splits.val, splits, device), outcome.best.val_accuracy
        allowed = SAME_HARDWARE if hardware(device) == outcome.facts.hardware else OTHER_HARDWARE
        if abs(accuracy - reported) > allowed:
            problems.append(f"trial {key} reports accuracy {reported:.4f}, but its network has {accuracy:.4f}")
        say(f"accuracies measured again: {number} of {len(chosen)}")
    return len(chosen), problems
