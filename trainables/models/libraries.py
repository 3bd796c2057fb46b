"""Networks of other libraries, with fresh weights: `timm:NAME` of timm, `hf:CLASS` of transformers.

Neither package is needed for other networks. Each is imported when one of its networks is checked or built.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

_OTHERS = "howcompact inspect --input takes its other classes"
_PACKAGES = {"timm": "timm", "hf": "transformers"}  # prefix of a name -> package


def package_of(name: str) -> str | None:
    """Return the package that a network comes with, by the prefix of its name; None for other networks."""
    prefix, colon, _ = name.partition(":")
    return _PACKAGES.get(prefix) if colon else None


def refuse_missing(name: str) -> None:
    """Raise ValueError if the package of a network is not installed. Imports no package."""
    package = package_of(name)
    if package and find_spec(package) is None:
        raise ValueError(
            f"model {name!r} must come with the package {package}, but it is not installed; run pip install {package}"
        )


def check(name: str) -> None:
    """Refuse a network that its package does not have. A network that the package would download is refused, too.

    Raises:
        ValueError: the package is not installed, timm has no model of this name, or transformers has no class of this
            name for image classification.
    """
    refuse_missing(name)
    library, _, model = name.partition(":")
    if library == "timm":
        names, kind, where = _timm_names(), "a model of timm", "timm.list_models() lists them"
    else:
        names, kind, where = _image_classifiers(), "a class of transformers for image classification", _OTHERS
    if model not in names:
        raise _unknown(name, names, kind, where)


def _unknown(name: str, names: Sequence[str], kind: str, where: str) -> ValueError:
    library, _, model = name.partition(":")
    near = get_close_matches(model, names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(f'{library}:{each}' for each in near)}?" if near else where
    return ValueError(f"model {name!r} must name {kind}, but there is none of this name; {hint}")


def build(name: str, num_classes: int, in_channels: int) -> nn.Module:
    """Build a network that `check` accepts. It maps images (B, in_channels, H, W) to logits (B, num_classes)."""
    library, _, model = name.partition(":")
    if library == "timm":
        import timm

        network: nn.Module = timm.create_model(model, pretrained=False, num_classes=num_classes, in_chans=in_channels)
        return network
    import transformers

    return with_logits(getattr(transformers, model), num_labels=num_classes, num_channels=in_channels)


def build_any(name: str, num_labels: int, num_channels: int) -> nn.Module:
    """Build "hf:CLASS", any class of transformers, with its usual configuration. It returns what the class returns.

    num_channels counts where the configuration has it. Raises ValueError: the package is not installed, or has no such
    class.
    """
    refuse_missing(name)
    import transformers

    kind: Any = getattr(transformers, name.partition(":")[2], None)
    known = isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)
    if not known or kind.config_class is None:
        names = [each for each in dir(transformers) if ("Model" in each or "For" in each) and "Auto" not in each]
        raise _unknown(name, names, "a model class of transformers", "see its models")
    config = kind.config_class(num_labels=num_labels)
    if hasattr(config, "num_channels"):
        config.num_channels = num_channels
    network: nn.Module = kind(config)
    return network


def with_logits(model_class: Any, **config: Any) -> nn.Module:
    """Build a network of transformers that returns only its logits. Its modules have the same names as in the class.

    config: values that differ from the class's own configuration.
    """

    def forward(self: nn.Module, inputs: Tensor) -> Tensor:
        logits: Tensor = model_class.forward(self, inputs, return_dict=True).logits
        return logits

    subclass = type(model_class.__name__, (model_class,), {"forward": forward, "__module__": model_class.__module__})
    network: nn.Module = subclass(model_class.config_class(**config))
    return network


def _timm_names() -> list[str]:
    import timm

    names: list[str] = timm.list_models()
    return names


def _image_classifiers() -> list[str]:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as BY_KIND

    return [name for names in BY_KIND.values() for name in ([names] if isinstance(names, str) else names)]
