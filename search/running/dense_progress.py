"""How far the training of dense networks is: one line from time to time, or each epoch in a verbose run."""

from collections.abc import Sequence
from functools import partial

from search.results.dense_networks import epoch_text, progress_line, read_networks
from search.running.tasks import Watch
from trainables.spec import DenseSpec
from trainables.storage.folder import Folder


def dense_watch(networks: Sequence[DenseSpec], storage: Folder, verbose: bool) -> Watch:
    """Watch the networks in training by their records in `storage`."""
    if verbose:
        return Watch(partial(_new_epochs, networks, storage, set()), first_pause=1.0, longest_pause=1.0)
    return Watch(partial(_how_far, networks, storage))


def _how_far(networks: Sequence[DenseSpec], storage: Folder) -> list[str]:
    return [progress_line(read_networks(networks, storage))]


def _new_epochs(networks: Sequence[DenseSpec], storage: Folder, shown: set[tuple[str, int]]) -> list[str]:
    """Describe the epochs that are not in `shown`, and add them to it."""
    lines = []
    for network in read_networks(networks, storage):
        for report in network.history:
            if (mark := (network.spec.key(), report.epoch)) not in shown:
                shown.add(mark)
                lines.append(f"dense network {network.name}: {epoch_text(network, report)}")
    return lines
