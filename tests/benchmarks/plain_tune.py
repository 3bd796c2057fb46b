"""What a competent user writes today: Ray Tune as in its guide, torch's pruning, Ray's MLflow callback."""

import sys
import tempfile
from typing import Any

import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback

from tests.benchmarks.plain_trial import finetune


def trial(config: dict[str, Any], given: dict[str, Any]) -> None:
    """Run one trial; report each epoch with a checkpoint."""
    for metrics, state in finetune(config, given):
        with tempfile.TemporaryDirectory() as folder:
            torch.save(state, f"{folder}/state.pt")
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def main(inputs: str, out: str) -> None:
    """Run every trial of `inputs`, a file that `tests.benchmarks.engine` saves, and write results under `out`."""
    given = torch.load(inputs, weights_only=False)
    callback = MLflowLoggerCallback(tracking_uri=f"sqlite:///{out}/mlflow.db", experiment_name="plain")
    tune.Tuner(
        tune.with_resources(tune.with_parameters(trial, given=given), {"cpu": 1}),
        param_space={name: tune.grid_search(values) for name, values in given["grid"].items()},
        tune_config=tune.TuneConfig(metric="val_accuracy", mode="max"),
        run_config=tune.RunConfig(name="plain", storage_path=out, callbacks=[callback]),
    ).fit()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
