"""What a competent user writes today: Ray Tune as in its guide, torch's pruning, Ray's MLflow callback."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset


def finetune(config: dict[str, Any], splits: Any, dense: Any, amounts: Any, recipe: dict[str, Any]) -> None:
    """Run one trial: load the dense network, prune each layer by its amount, fine-tune, report each epoch."""
    from trainables.models.cifar import small_cnn

    torch.manual_seed(config["seed"])
    model = small_cnn(10, 1)
    model.load_state_dict(dense[config["seed"]])
    loaders = {
        name: DataLoader(TensorDataset(*tensors), batch_size=recipe["batch_size"], shuffle=name == "train")
        for name, tensors in splits.items()
    }
    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    for name, amount in amounts[config["policy"], config["sparsity"], config["seed"]].items():
        prune.l1_unstructured(layers[name], "weight", amount=amount)

    def accuracy() -> float:
        model.eval()
        with torch.no_grad():
            hits = sum(int((model(x).argmax(1) == y).sum()) for x, y in loaders["val"])
        return hits / len(splits["val"][1])

    optimizer = torch.optim.SGD(
        model.parameters(), recipe["lr"], momentum=recipe["momentum"], weight_decay=recipe["weight_decay"]
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe["epochs"] * len(loaders["train"]))
    one_shot = accuracy()
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        for x, _ in loaders["train"]:
            model(x)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    for epoch in range(recipe["epochs"] + 1):
        if epoch:
            model.train()
            for x, y in loaders["train"]:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
                scheduler.step()
        with tempfile.TemporaryDirectory() as folder:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, f"{folder}/state.pt")
            metrics = {"val_accuracy": accuracy(), "one_shot_accuracy": one_shot, "epoch": epoch}
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def main(inputs: str, out: str) -> None:
    """Run every trial of `inputs`, a file that `tests.benchmarks.engine` saves, and write results under `out`."""
    given = torch.load(inputs, weights_only=False)
    trainable = tune.with_parameters(
        finetune, splits=given["splits"], dense=given["dense"], amounts=given["amounts"], recipe=given["recipe"]
    )
    callback = MLflowLoggerCallback(tracking_uri=f"sqlite:///{out}/mlflow.db", experiment_name="plain")
    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={name: tune.grid_search(values) for name, values in given["grid"].items()},
        tune_config=tune.TuneConfig(metric="val_accuracy", mode="max"),
        run_config=tune.RunConfig(name="plain", storage_path=out, callbacks=[callback]),
    ).fit()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[2]))
    main(sys.argv[1], sys.argv[2])
