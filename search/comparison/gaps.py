"""How far each cell is ahead of its rivals, paired by seed: uniform, its curriculum's control, and no curriculum."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from search.comparison.budgets import matched
from search.comparison.estimates import Estimate
from search.comparison.headline import BASELINE
from search.comparison.winners import BySeed, Cell, Cells, Winner
from search.results.scale import rank


class Gaps(NamedTuple):
    """How far a cell is ahead of each rival, above 0 if better; None where no seed has a fair rival."""

    gap_to_uniform: Estimate | None
    gap_to_control: Estimate | None
    gap_to_standard: Estimate | None


class Rival(NamedTuple):
    """What a cell is compared with."""

    name: str
    setting: Callable[[Winner], str]  # a trial of the cell -> the rival's setting; empty where it has none
    policy: Callable[[str], str]  # the cell's policy -> the rival's
    fair: Callable[[Winner, Winner], bool]  # whether two trials of one seed may be compared

    def of(self, cell: Cell, own: BySeed, cells: Cells) -> BySeed:
        """Find the finished trials of a cell's rival; none where there are none."""
        setting = self.setting(next(iter(own.values())))
        return cells.get(Cell(setting, cell.sparsity, self.policy(cell.policy)), {})


def same_budget(a: Winner, b: Winner) -> bool:
    """Tell whether two trials keep the same of the budget that was asked."""
    return matched(a.spent, b.spent, max(a.within, b.within))


def trained_alike(a: Winner, b: Winner) -> bool:
    """Tell whether budgets match and both trained for as many epochs, on as many images where these were counted."""
    images = {a.trained_images, b.trained_images} - {None}
    return same_budget(a, b) and (a.dense_epochs, a.epochs) == (b.dense_epochs, b.epochs) and len(images) < 2


CONTROL = Rival("its control", lambda own: own.control_setting, lambda policy: policy, trained_alike)
STANDARD = Rival("no curriculum", lambda own: own.standard_setting, lambda policy: policy, trained_alike)
RIVALS = (Rival(BASELINE, lambda own: own.setting, lambda _: BASELINE, same_budget), CONTROL, STANDARD)  # as in `Gaps`


def gaps(cells: Cells) -> dict[Cell, Gaps]:
    """Estimate how far each cell is ahead of each rival, over the seeds where the comparison is fair."""
    columns = []
    for rival in RIVALS:
        differences = {cell: list(_differences(own, rival.of(cell, own, cells), rival)) for cell, own in cells.items()}
        known = {cell: values for cell, values in differences.items() if values}
        columns.append(dict(zip(known, Estimate.of_all(list(known.values())), strict=True)))
    return {cell: Gaps(*(column.get(cell) for column in columns)) for cell in cells}


def _differences(own: BySeed, rivals: BySeed, rival: Rival) -> Iterator[float]:
    for seed in sorted(own.keys() & rivals):
        if rival.fair(own[seed], rivals[seed]):
            yield rank(own[seed]) - rank(rivals[seed])


def unfair(cell: Cell, own: BySeed, cells: Cells) -> list[str]:
    """Say where a curriculum's rivals are missing or were trained otherwise."""
    texts = []
    for rival in (CONTROL, STANDARD):
        others = rival.of(cell, own, cells)
        if not others and rival.setting(next(iter(own.values()))):
            texts.append(f"{rival.name} has no finished trial to compare with")
        elif others and set(others) != set(own):
            texts.append(f"seeds differ from those of {rival.name}")
        if odd := [str(seed) for seed in sorted(own.keys() & others) if not rival.fair(own[seed], others[seed])]:
            texts.append(
                f"budget, epochs or images differ from those of {rival.name}: the gap leaves out seed {', '.join(odd)}"
            )
    return texts
