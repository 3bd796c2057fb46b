"""Text: a small GPT on the documentation strings of Python's standard library, perplexity of the next character."""

import ast
import sysconfig
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, random_split

from trainables.task.metrics import perplexity
from trainables.task.task import Task

MODULES = ("argparse", "calendar", "decimal", "fractions", "heapq", "inspect", "random", "statistics", "textwrap")
LENGTH, CHARACTERS = 64, 96  # of a sample; printable ASCII, and 0 for the rest


class Excerpts(Dataset[Tensor]):
    """Pieces of a text, each one character longer than the model reads: (LENGTH + 1,) int64."""

    def __init__(self, text: str) -> None:
        codes = torch.tensor([code - 31 if 32 <= code < 127 else 0 for code in text.encode("ascii", "replace")])
        self._pieces = codes[: len(codes) // (LENGTH + 1) * (LENGTH + 1)].view(-1, LENGTH + 1)

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, item: int) -> Tensor:
        return self._pieces[item]


def documentation() -> str:
    """Read the documentation strings of some modules of the standard library."""
    library, found = Path(sysconfig.get_path("stdlib")), []
    for module in MODULES:
        file = library / f"{module}.py"
        source = (file if file.exists() else library / module / "__init__.py").read_text()
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        found += [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return "\n\n".join(filter(None, found))


def shown(batch: Tensor) -> Tensor:
    """Return what the model reads: all characters but the last."""
    return batch[:, :-1]


def following(batch: Tensor) -> Tensor:
    """Return what it predicts: all characters but the first."""
    return batch[:, 1:]


def surprise(logits: Tensor, batch: Tensor) -> Tensor:
    """Return the mean cross-entropy of each sample's characters: (B,)."""
    return F.cross_entropy(logits.movedim(-1, 1), following(batch), reduction="none").mean(1)


def right_characters(logits: Tensor, batch: Tensor) -> Tensor:
    """Return the share of each sample's characters that are right: (B,)."""
    return (logits.argmax(-1) == following(batch)).float().mean(1)


def docstrings() -> Task:
    """Predict the next character of documentation strings."""
    train, val = random_split(Excerpts(documentation()), [0.9, 0.1], torch.Generator().manual_seed(0))
    return Task(
        splits={"train": train, "validation": val},
        example=torch.zeros(1, LENGTH, dtype=torch.int64),
        loss=surprise,
        metric=perplexity(following, axis=-1),
        outputs=CHARACTERS,
        logits=-1,
        inputs=shown,
        hits=right_characters,
    )


class Block(nn.Module):
    """Attention to earlier characters, then an MLP, each on a residual path."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, T, width) to the same shape."""
        read = self.norm(x)
        q, k, v = (
            part(read).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        more: Tensor = self.narrow(F.gelu(self.wide(self.second_norm(x))))
        return x + more


class GPT(nn.Module):
    """A decoder of two blocks: ids (B, T) -> logits (B, T, characters)."""

    def __init__(self, characters: int, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(characters, width), nn.Embedding(LENGTH, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, characters)

    def forward(self, ids: Tensor) -> Tensor:
        """Predict the character behind each one."""
        x = self.characters(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


def gpt(num_classes: int, in_channels: int) -> nn.Module:
    """Build a small GPT for so many characters."""
    return GPT(num_classes)
