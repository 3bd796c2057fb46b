"""How far each cell is ahead of what it is held against, paired by seed: uniform, its curriculum's control, none."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from search.comparison.budgets import matched
from search.comparison.estimates import Estimate
from search.comparison.headline import BASELINE, Cells
from search.comparison.winners import Winner

Cell = tuple[str, float, str]  # setting, sparsity, policy
BySeed = Mapping[int, Winner]


class Rival(NamedTuple):
    """What a cell is held against."""

    name: str
    setting: Callable[[Winner], str]  # of a cell's trial -> its rival's; empty where it has none
    policy: Callable[[str], str]
    fair: Callable[[Winner, Winner], bool]  # whether two trials of one seed may be held against each other

    def of(self, cell: Cell, own: BySeed, cells: Cells) -> BySeed:
        """Find the trials of a cell's rival; none where it has not finished any."""
        _, sparsity, policy = cell
        return cells.get((self.setting(next(iter(own.values()))), sparsity, self.policy(policy)), {})


def same_budget(a: Winner, b: Winner) -> bool:
    """Tell whether two trials keep the same of the budget that was asked."""
    return matched(a.spent, b.spent)


def trained_alike(a: Winner, b: Winner) -> bool:
    """Tell whether budgets match, and both trained for as many epochs on as many images, where these were counted."""
    images = {a.trained_images, b.trained_images} - {None}
    return same_budget(a, b) and (a.dense_epochs, a.epochs) == (b.dense_epochs, b.epochs) and len(images) < 2


CONTROL = Rival("its control", lambda own: own.control_setting, lambda policy: policy, trained_alike)
STANDARD = Rival("no curriculum", lambda own: own.standard_setting, lambda policy: policy, trained_alike)
RIVALS: Mapping[str, Rival] = {  # field of a comparison's row -> what it is the gap to
    "gap_to_uniform": Rival(BASELINE, lambda own: own.setting, lambda _: BASELINE, same_budget),
    "gap_to_control": CONTROL,
    "gap_to_standard": STANDARD,
}


def gaps(cells: Cells) -> dict[Cell, dict[str, Estimate | None]]:
    """Estimate how far the validation accuracy of each cell is ahead of its rivals': cell -> a value for each rival.

    None where no seed has a rival that is fair.
    """
    found: dict[Cell, dict[str, Estimate | None]] = {cell: dict.fromkeys(RIVALS) for cell in cells}
    for field, rival in RIVALS.items():
        apart = {cell: list(_apart(own, rival.of(cell, own, cells), rival)) for cell, own in cells.items()}
        held = {cell: differences for cell, differences in apart.items() if differences}
        for cell, estimate in zip(held, Estimate.of_all(list(held.values())), strict=True):
            found[cell][field] = estimate
    return found


def _apart(own: BySeed, rivals: BySeed, rival: Rival) -> Iterator[float]:
    for seed in sorted(own.keys() & rivals):
        if rival.fair(own[seed], rivals[seed]):
            yield own[seed].best_val_accuracy - rivals[seed].best_val_accuracy


def unfair(cell: Cell, own: BySeed, cells: Cells) -> list[str]:
    """Say where a curriculum's rivals are not there, or were not trained as it was."""
    found = []
    for rival in (CONTROL, STANDARD):
        others = rival.of(cell, own, cells)
        if not others and rival.setting(next(iter(own.values()))):
            found.append(f"{rival.name} has not finished a trial to hold it against")
        elif others and set(others) != set(own):
            found.append(f"seeds differ from those of {rival.name}")
        if odd := [str(seed) for seed in sorted(own.keys() & others) if not rival.fair(own[seed], others[seed])]:
            found.append(
                f"budget, epochs or images differ from those of {rival.name}: the gap leaves out seed {', '.join(odd)}"
            )
    return found
