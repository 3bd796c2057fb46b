"""A trial as a competent user writes it today: torch's own pruning, data loader, optimizer and schedule."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset


def finetune(config: dict[str, Any], given: dict[str, Any]) -> Iterator[tuple[dict[str, float], dict[str, Any]]]:
    """Load a dense network, prune each layer by its amount, fine-tune. Yield metrics and state of each epoch."""
    from trainables.models import hub

    torch.manual_seed(config["seed"])
    recipe, splits = given["recipe"], given["splits"]
    model = hub.build(config["model"], 10, given["channels"], given["width"])
    model.load_state_dict(given["dense"][config["model"], config["seed"]])
    loaders = {
        name: DataLoader(TensorDataset(*tensors), batch_size=recipe["batch_size"], shuffle=name == "train")
        for name, tensors in splits.items()
    }
    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    wanted = (config["model"], config["policy"], config["sparsity"], config["seed"])
    for name, amount in given["amounts"][wanted].items():
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
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        yield {"val_accuracy": accuracy(), "one_shot_accuracy": one_shot, "epoch": epoch}, state
