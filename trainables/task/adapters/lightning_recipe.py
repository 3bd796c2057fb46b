"""The settings of a study that train as `configure_optimizers` of a Lightning module does."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn, optim
from torch.optim import lr_scheduler as schedules

from trainables.recipe import Recipe

BETA2, EPSILON = 0.999, 1e-8  # of AdamW in recipes
OPTIMIZERS = "SGD, AdamW, and Adam without weight decay"
SCHEDULES = "CosineAnnealingLR and LinearLR down to 0 in the last epoch, and MultiStepLR at half and at three quarters"


def recipe_of(module: nn.Module, epochs: int, batch_size: int) -> dict[str, Any]:
    """Return what a study has under `dense`: print it and put it there.

    Recipes set the learning rate at each step, and so the schedules of epochs become smooth.

    Args:
        module: a LightningModule.
        epochs, batch_size: of its training.

    Raises:
        ValueError: a recipe has no such optimizer or schedule, which the message names.
    """
    optimizer, schedule = one_of_each(module)
    groups = optimizer.param_groups
    settings = {name: value for name, value in groups[0].items() if name != "params"}
    if any({name: value for name, value in group.items() if name != "params"} != settings for group in groups[1:]):
        raise _unknown(f"{len(groups)} groups of parameters with different settings", "one group")
    found = {"lr": settings.get("initial_lr", settings["lr"]), "weight_decay": settings["weight_decay"]}
    found |= _sgd(settings) if type(optimizer) is optim.SGD else _adamw(optimizer, settings)
    recipe = Recipe(epochs=epochs, batch_size=batch_size, schedule=_schedule(schedule, epochs), **found)
    return recipe.model_dump(include={"epochs", "batch_size", "optimizer", "momentum", "nesterov", "schedule", *found})


def one_of_each(module: Any) -> tuple[optim.Optimizer, Any]:
    """Read the optimizer and the schedule in each form that Lightning allows."""
    found = module.configure_optimizers()
    plan: Any = None
    if isinstance(found, Sequence):
        both = len(found) == 2 and all(isinstance(each, Sequence) for each in found)
        optimizers, plans = found if both else (found, ())
        if len(optimizers) != 1 or len(plans) > 1:
            raise _unknown(f"{len(optimizers)} optimizers and {len(plans)} schedules", "one of each")
        found, plan = optimizers[0], plans[0] if plans else None
    if isinstance(found, Mapping):
        found, plan = found["optimizer"], found.get("lr_scheduler")
    if isinstance(plan, Mapping):
        if plan.get("interval", "epoch") != "epoch" or plan.get("frequency", 1) != 1:
            raise _unknown("a schedule of steps", "a schedule of epochs")
        plan = plan["scheduler"]
    if not isinstance(found, optim.Optimizer):
        raise _unknown(f"a {type(found).__name__}", OPTIMIZERS)
    return found, plan


def _sgd(settings: Mapping[str, Any]) -> dict[str, Any]:
    if settings["dampening"] or settings["maximize"]:
        raise _unknown("SGD with dampening or maximize", OPTIMIZERS)
    return {"optimizer": "sgd", "momentum": settings["momentum"], "nesterov": settings["nesterov"]}


def _adamw(optimizer: optim.Optimizer, settings: Mapping[str, Any]) -> dict[str, Any]:
    decays = type(optimizer) is optim.AdamW or (type(optimizer) is optim.Adam and not settings["weight_decay"])
    if not decays:
        coupled = " with weight decay in its gradient; AdamW has it apart" if type(optimizer) is optim.Adam else ""
        raise _unknown(f"{type(optimizer).__name__}{coupled}", OPTIMIZERS)
    beta1, beta2 = settings["betas"]
    if (beta2, settings["eps"]) != (BETA2, EPSILON) or settings["amsgrad"] or settings["maximize"]:
        raise _unknown("AdamW of other settings", f"beta2 {BETA2}, eps {EPSILON:g}, no amsgrad and no maximize")
    return {"optimizer": "adamw", "momentum": beta1}


def _schedule(plan: Any, epochs: int) -> Any:
    if plan is None:
        return "constant"
    known = (
        ("cosine", schedules.CosineAnnealingLR, {"T_max": epochs, "eta_min": 0}),
        ("linear", schedules.LinearLR, {"start_factor": 1.0, "end_factor": 0, "total_iters": epochs}),
    )
    for name, kind, wanted in known:
        if type(plan) is kind and all(getattr(plan, key) == value for key, value in wanted.items()):
            return name
    steps = sorted(plan.milestones) if type(plan) is schedules.MultiStepLR and plan.gamma == 0.1 else None
    if steps == [round(0.5 * epochs), round(0.75 * epochs)]:
        return "step"
    raise _unknown(f"{type(plan).__name__} of these settings, for {epochs} epochs", SCHEDULES)


def _unknown(found: str, known: str) -> ValueError:
    return ValueError(
        f"configure_optimizers must return what a recipe has ({known}), but returns {found}; set the recipe by hand, "
        "or name a function of your own as its optimizer"
    )
