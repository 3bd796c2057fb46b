"""Decides between colour and grey: by the setting `data.channels`, or by the modes of the images."""

from collections.abc import Callable
from typing import Literal, NamedTuple

Setting = Literal["auto", "grey", "colour"]
GREY = {"1", "L", "LA", "La"}  # Pillow's modes without colour; those that start with I and F are grey, too


class Modes(NamedTuple):
    """The number of images with and without colour, among those whose headers were read."""

    colour: int
    grey: int
    images: int  # of the data set

    @property
    def mixed(self) -> bool:
        """Whether images with colour and images without colour were seen."""
        return self.colour > 0 and self.grey > 0


class Channels(NamedTuple):
    """The channels of the images of a data set."""

    number: Literal[1, 3]
    why: str
    converts: bool  # whether images with other channels are converted; otherwise an image with colour is refused

    @property
    def message(self) -> str:
        """Say whether the images are read in colour or in grey, and why."""
        return f"images are read in {'colour' if self.number == 3 else 'grey'}: {self.why}"


def decide(setting: Setting, modes: Callable[[], Modes]) -> Channels:
    """Follow the setting `data.channels`. With "auto" one image with colour makes all images coloured."""
    if setting != "auto":
        return Channels(1 if setting == "grey" else 3, f"data.channels is {setting}", True)
    colour, grey, images = modes()
    if colour and grey:
        why = f"{colour:,} {'has' if colour == 1 else 'have'} colour, {grey:,} {'is' if grey == 1 else 'are'} grey"
    else:
        why = f"all {colour + grey:,} {'have colour' if colour else 'are grey'}"
    if colour + grey < images:
        why += f", of {images:,} images of which {colour + grey:,} were read"
    return Channels(3 if colour else 1, why, colour > 0)


def is_grey(mode: str) -> bool:
    """Tell whether images of one of Pillow's modes have no colour."""
    return mode in GREY or mode.startswith(("I", "F"))
