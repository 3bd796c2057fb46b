"""Making a profile of a dense network: which samples judge it, and where it is kept."""

import json
import time

import torch
from torch import Tensor, nn

from trainables import artifacts, checkpoints
from trainables.allocation import profiles
from trainables.allocation.profiles import Profile
from trainables.checkpoints import Architecture
from trainables.data.splits import Splits
from trainables.learning.calibration import calibration_samples
from trainables.learning.dense import load_dense
from trainables.pruning.subject import Calibration
from trainables.spec import ProfileSpec, from_json
from trainables.storage import Folder


def make_profile(spec: ProfileSpec, splits: Splits, storage: Folder, folder: Folder, device: torch.device) -> None:
    """Measure the profile of a dense network that `storage` has, on calibration samples of the training split."""
    started = time.perf_counter()
    found = artifacts.find(storage, "dense", spec.dense.key())
    assert found is not None, "dense networks are made before their profiles"
    saved = checkpoints.load(found)
    example = Architecture.model_validate(saved.record["architecture"]).example().to(device)
    calibration = calibration_samples(splits, spec.calibration, device)
    profile = measure_profile(load_dense(saved, device), example, spec, calibration)
    record = {"spec": spec.model_dump(mode="json"), "seconds": time.perf_counter() - started}
    files = {"profile.parquet": profiles.to_parquet(profile), "record.json": json.dumps(record).encode()}
    checkpoints.write_files(folder, files)


def measure_profile(dense: nn.Module, example: Tensor, spec: ProfileSpec, calibration: Calibration) -> Profile:
    """Measure the profile of a dense network, which stays as it is; example: (1, C, H, W) on its device."""
    raise NotImplementedError


def load_profile(folder: Folder) -> tuple[Profile, float]:
    """Load a profile and the seconds that it took to make."""
    files = checkpoints.read_files(folder)
    return profiles.from_parquet(files["profile.parquet"]), float(from_json(files["record.json"].decode())["seconds"])
