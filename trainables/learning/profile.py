"""Making a profile of a dense network: which samples judge it, and where it is kept."""

import copy
import json
import time

import torch
from torch import Tensor, nn

from trainables import artifacts, checkpoints
from trainables.allocation import profiles
from trainables.allocation.profiles import Profile
from trainables.checkpoints import Architecture
from trainables.data.batches import Resident
from trainables.data.splits import Split, Splits
from trainables.learning.dense import load_dense
from trainables.learning.train import evaluate
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularity import Prunable
from trainables.pruning.views import view
from trainables.spec import ProfileSpec, from_json
from trainables.storage import Folder


def make_profile(spec: ProfileSpec, splits: Splits, storage: Folder, folder: Folder, device: torch.device) -> None:
    """Measure the profile of a dense network that `storage` has, on calibration samples of the training split."""
    started = time.perf_counter()
    found = artifacts.find(storage, "dense", spec.dense.key())
    assert found is not None, "dense networks are made before their profiles"
    saved = checkpoints.load(found)
    example = Architecture.model_validate(saved.record["architecture"]).example().to(device)
    profile = measure_profile(load_dense(saved, device), example, spec, splits)
    record = {"spec": spec.model_dump(mode="json"), "seconds": time.perf_counter() - started}
    files = {"profile.parquet": profiles.to_parquet(profile), "record.json": json.dumps(record).encode()}
    checkpoints.write_files(folder, files)


def measure_profile(dense: nn.Module, example: Tensor, spec: ProfileSpec, splits: Splits) -> Profile:
    """Measure the profile of a dense network; example: (1, C, H, W) on the network's device."""
    data = Resident(calibration_samples(splits.train, spec.calibration), splits, example.device)

    def fresh() -> tuple[nn.Module, Prunable]:
        model = copy.deepcopy(dense)
        return model, view(model, spec.granularity, example)

    seed = spec.dense.seed
    return profiles.measure(fresh, CRITERIA[spec.criterion], seed, lambda model: evaluate(model, data).accuracy)


def load_profile(folder: Folder) -> tuple[Profile, float]:
    """Load a profile and the seconds that it took to make."""
    files = checkpoints.read_files(folder)
    return profiles.from_parquet(files["profile.parquet"]), float(from_json(files["record.json"].decode())["seconds"])


def calibration_samples(train: Split, size: int) -> Split:
    """Take the first `size` training samples at most; every prefix of a split is spread evenly over the classes."""
    return Split(train.images[:size], train.labels[:size], train.ids[:size])
