"""Attributes of modules that depend on the shapes of their tensors."""

from collections.abc import Mapping

from torch import nn

from trainables.models.attention import fit_attention
from trainables.models.window_attention import fit_windows, has_windows

HEADS = ("num_heads", "num_attention_heads", "num_key_value_heads", "n_heads", "n_head", "nhead", "heads")
HEADS_TIMES_WIDTH = ("attn_dim", "all_head_size", "inner_dim")
WIDTHS = ("hidden_dim", "embed_dim", "hidden_size", "d_model", "dim")
PARTS = ("split_size",)  # the width of each equal part of a dimension
_CUT = "_cut_sizes"  # attribute of a module: its attributes that a cut has changed


def fit_widths(module: nn.Module) -> None:
    """Set these attributes of a module. Call this for a module before the modules inside of it."""
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        module.in_channels, module.out_channels = module.weight.shape[0], module.weight.shape[1] * module.groups
    elif isinstance(module, nn.modules.conv._ConvNd):
        module.out_channels = module.weight.shape[0]
        module.groups = min(module.groups, module.out_channels)  # only a depthwise convolution loses groups
        module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.weight is not None:
        module.num_features = len(module.weight)
    elif isinstance(module, nn.GroupNorm) and module.weight is not None:
        module.num_channels = len(module.weight)
    elif isinstance(module, nn.Embedding):
        module.embedding_dim = module.weight.shape[1]
    elif type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # a linear layer of transformers
        for name, size in zip(("nx", "nf"), module.get_parameter("weight").shape, strict=True):
            setattr(module, name, size)
    elif isinstance(getattr(module, "normalized_shape", None), tuple) and module._parameters.get("weight") is not None:
        setattr(module, "normalized_shape", tuple(module.get_parameter("weight").shape))  # noqa: B010
    fit_attention(module)
    fit_windows(module)


def counts_its_heads(module: nn.Module) -> bool:
    """Tell whether `fit_widths` finds the number of heads from the shapes of tensors."""
    return isinstance(module, nn.MultiheadAttention) or has_windows(module)


def set_size(module: nn.Module, attribute: str, size: int) -> None:
    """Change a number of heads or a width that no tensor's shape shows, and remember it for checkpoints."""
    setattr(module, attribute, size)
    module.__dict__[_CUT] = module.__dict__.get(_CUT, {}) | {attribute: size}


def cut_sizes(model: nn.Module) -> dict[str, int]:
    """Return what `set_size` has changed: "module.attribute" -> size."""
    return {
        f"{name}.{attribute}".removeprefix("."): size
        for name, module in model.named_modules()
        for attribute, size in module.__dict__.get(_CUT, {}).items()
    }


def set_sizes(model: nn.Module, sizes: Mapping[str, int]) -> None:
    """Change attributes again as `cut_sizes` returned them. Raises ValueError where a network has no such number."""
    for name, size in sizes.items():
        path, _, attribute = name.rpartition(".")
        try:
            module = model.get_submodule(path)
        except AttributeError:
            module = nn.Identity()
        before = getattr(module, attribute, None)
        known = attribute in HEADS + HEADS_TIMES_WIDTH + WIDTHS + PARTS
        if not (known and isinstance(before, int) and 0 < size <= before):
            raise ValueError(f"cut sizes must be those of a {type(model).__name__}, but {name} cannot be {size}")
        set_size(module, attribute, size)
