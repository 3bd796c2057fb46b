"""The settings of a data set. This is the only place that defines their defaults."""

from typing import Annotated, Literal

from pydantic import Field

from trainables.frozen import NOT_IN_KEY, Frozen
from trainables.names import DataName
from trainables.task_spec import TaskSpec

Seed = Annotated[int, Field(ge=0, lt=2**63)]


class DataSpec(Frozen):
    """A data set, how it is split, how its images are varied in training, and what networks are trained for."""

    task: TaskSpec = Field(TaskSpec(), description="The task of the user's own; the setting `task` of a study.")
    name: DataName = Field(
        "digits", description='The data set: a name of the catalog; "folder" and "parquet" read images of your own.'
    )
    path: Annotated[str, NOT_IN_KEY] = Field(
        "", description='Folder of a "folder" or "parquet" data set, or where torchvision downloads to.'
    )
    content: str = Field(
        "",
        description="Checksum of the files, which each run computes; empty where the data set's library checks it.",
    )
    image: str = Field("image", min_length=1, description="Column of Parquet files that holds the images.")
    label: str = Field("label", min_length=1, description="Column of Parquet files that holds the labels.")
    size: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Side of the square that images are resized to, in pixels; null keeps their size.",
    )
    max_train: int | None = Field(
        None, ge=1, description="Number of training samples to use, spread evenly over the classes; null uses all."
    )
    max_val: int | None = Field(None, ge=1, description="Number of validation samples to use; null uses all.")
    max_test: int | None = Field(None, ge=1, description="Number of test samples to use; null uses all.")
    val_fraction: float = Field(
        0.1, gt=0.0, lt=1.0, description="Fraction of the training samples that is held out for validation."
    )
    test_fraction: float = Field(
        0.2,
        gt=0.0,
        lt=1.0,
        description="Fraction of all samples that is held out as test split, if the data set has none.",
    )
    split_seed: Seed = Field(0, description="Seed of the random splits.")
    augment: Literal["none", "crop", "flip", "crop_flip", "resized_crop", "resized_crop_flip"] = Field(
        "none", description="How training images are varied."
    )
    label_noise: float = Field(
        0.0, ge=0.0, lt=1.0, description="Fraction of the training labels that is replaced by another class."
    )
    fit: Literal["stretch", "crop"] = Field(
        "stretch",
        description="How an image becomes a square: stretch both sides, or crop the middle of 8/7 of the size.",
    )
    normalise: Literal["data", "imagenet"] = Field(
        "data",
        description="Whose mean and deviation of each channel normalise the images: the data set's or ImageNet's.",
    )
    channels: Literal["auto", "grey", "colour"] = Field(
        "auto",
        description="Whether images are read in grey or in colour; auto takes colour if any image has colour.",
    )
    loading: Annotated[Literal["auto", "memory", "stream"], NOT_IN_KEY] = Field(
        "auto",
        description="Decode all images once into memory, or decode them when needed; auto decides by the memory.",
    )

    def found_by(self, now: "DataSpec") -> "DataSpec":
        """Take path and loading from `now` if it has the same name and content; otherwise return this unchanged."""
        same = (self.name, self.content) == (now.name, now.content)
        return self.model_copy(update={"path": now.path, "loading": now.loading}) if same else self
