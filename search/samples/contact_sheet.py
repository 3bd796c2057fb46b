"""Draws contact sheets: small images of the easiest and the hardest samples of each class."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from search.figures.chart import HUES, Panel
from trainables.data.splits import Listing

COLUMNS, MOST_CLASSES = 8, 50
SIDE, BESIDE, BELOW = 26.0, 3.0, 21.0  # points: side of an image, gap beside it, space below it for two lines of text
TEXT = 6.5
LONGEST = 14  # characters of a class name


@dataclass(frozen=True, eq=False)
class ContactSheet:
    """Samples with their learnability. Arrays are (N,), sorted by id."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]  # in training
    values: NDArray[np.float64]  # learnability
    order: NDArray[np.int64]  # positions of the samples, from the hardest to the easiest
    wrong: NDArray[np.bool_]  # whether the label was flipped
    source: Listing

    def panels(self) -> list[Panel]:
        """Draw the easiest and the hardest samples, one row for each class."""
        return [self._panel("easiest", self.order[::-1]), self._panel("hardest", self.order)]

    def _panel(self, end: str, order: NDArray[np.int64]) -> Panel:
        classes = self.source.classes[:MOST_CLASSES]
        rows = [order[self.labels[order] == label][:COLUMNS] for label in range(len(classes))]
        images = [self.source.decode(self.ids[row]).transpose(0, 2, 3, 1) for row in rows]
        names = [f"{name[:LONGEST]}…" if len(name) > LONGEST else name for name in classes]
        left_margin = 10 + 3.9 * max(map(len, names))

        def draw(axis: Axes) -> None:
            height, width = images[0].shape[1:3]
            across, down = round(width * BESIDE / SIDE), round(height * BELOW / SIDE)
            sheet = np.zeros((len(rows) * (height + down), COLUMNS * (width + across), 4), np.uint8)
            axis.set_xlim(0, sheet.shape[1])
            axis.set_ylim(sheet.shape[0], 0)
            for row, column in product(range(len(rows)), range(COLUMNS)):
                if column < len(rows[row]):
                    sample = rows[row][column]
                    top, left = row * (height + down), column * (width + across)
                    sheet[top : top + height, left : left + width, :3] = images[row][column]
                    sheet[top : top + height, left : left + width, 3] = 255
                    axis.text(
                        left + width / 2,
                        top + height * 1.03,
                        f"{self.ids[sample]}\n{self.values[sample]:.2f}",
                        fontsize=TEXT,
                        ha="center",
                        va="top",
                        linespacing=1.1,
                    )
                    if self.wrong[sample]:
                        axis.add_patch(
                            Rectangle((left, top), width, height, fill=False, edgecolor=HUES[2], linewidth=2)
                        )
            axis.imshow(sheet, interpolation="none", aspect="auto", extent=(0, sheet.shape[1], sheet.shape[0], 0))
            axis.set_yticks([row * (height + down) + height / 2 for row in range(len(rows))], names, fontsize=TEXT)
            axis.set_xticks([])
            axis.tick_params(length=0)
            axis.grid(visible=False)
            axis.spines[:].set_visible(False)

        listing = "; ".join(
            f"{name}: {', '.join(map(str, self.ids[row]))}" for name, row in zip(names, rows, strict=True)
        )
        return Panel(
            f"the {end} of each class",
            f"Ids of the {end} samples of each class, the {end} first. {listing}",
            draw,
            width=left_margin + COLUMNS * (SIDE + BESIDE) + 4,
            height=24 + len(rows) * (SIDE + BELOW),
            left=left_margin,
            right=4,
            bottom=4,
            top=20,
        )
