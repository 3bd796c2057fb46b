"""Tasks of a collator have the loss that the model of transformers computes itself from the labels."""

import math
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    DataCollatorForLanguageModeling,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    default_data_collator,
)

from trainables.arguments import outputs_of
from trainables.task.adapters.huggingface import inputs_of, task_of
from trainables.task.check import refuse_wrong
from trainables.task.fit_check import refuse_unfit

WORDS = 30
BERT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
LENGTHS = (3, 7, 5, 4, 6)


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({"[PAD]": 0} | {f"w{n}": n for n in range(1, WORDS)}, unk_token="w1"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]")


def samples(label: Any) -> list[dict[str, Any]]:
    draw = torch.Generator().manual_seed(0)
    ids = [torch.randint(1, WORDS, (length,), generator=draw).tolist() for length in LENGTHS]
    return [{"input_ids": each, "attention_mask": [1] * len(each), **label(each)} for each in ids]


def bert(kind: Any, labels: int) -> nn.Module:
    model: nn.Module = kind(BertConfig(vocab_size=WORDS, num_labels=labels, max_position_embeddings=16, **BERT))
    return model


def gpt() -> nn.Module:
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16, "bos_token_id": 1, "eos_token_id": 1}
    model: nn.Module = GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, **sizes))
    return model


CASES: dict[str, Any] = {
    "one label": (
        lambda ids: {"label": len(ids) % 3},
        lambda: DataCollatorWithPadding(tokenizer()),
        lambda: bert(BertForSequenceClassification, 3),
        3,
        "accuracy",
    ),
    "a number": (
        lambda ids: {"label": len(ids) / 10},
        lambda: DataCollatorWithPadding(tokenizer()),
        lambda: bert(BertForSequenceClassification, 1),
        1,
        "r2",
    ),
    "a label a token": (
        lambda ids: {"labels": [n % 4 for n in ids]},
        lambda: DataCollatorForTokenClassification(tokenizer()),
        lambda: bert(BertForTokenClassification, 4),
        4,
        "perplexity",
    ),
    "the next token": (
        lambda ids: {},
        lambda: DataCollatorForLanguageModeling(tokenizer(), mlm=False),
        gpt,
        WORDS,
        "perplexity",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_loss_is_the_models_own_and_padding_does_not_count(name: str) -> None:
    label, collator, build, outputs, metric = CASES[name]
    data, collate = samples(label), collator()
    task = task_of({"train": data, "validation": data}, collate, outputs, causal=name == "the next token")
    torch.manual_seed(0)
    model = build().eval()
    refuse_wrong(name, task)
    refuse_unfit(name, task, build(), "model")
    batch = collate(data)
    losses = task.loss(outputs_of(model, task.inputs(batch)), batch).detach()
    alone = [model(**collate([sample])).loss.detach() for sample in data]
    torch.testing.assert_close(losses, torch.stack(alone).reshape(-1))
    assert task.metric.name == metric
    assert (task.labels is None) is (name != "one label")
    if metric == "perplexity":
        counted = torch.tensor([len(sample["input_ids"]) - (name == "the next token") for sample in data])
        expected = math.exp(float((torch.stack(alone) * counted).sum() / counted.sum()))
        sums = task.metric.sums(outputs_of(model, task.inputs(batch)), batch)
        assert task.metric.value(sums.double()) == pytest.approx(expected, rel=1e-5)


def test_the_usual_collator_of_equal_samples_goes_too() -> None:
    data = [{"input_ids": [1, 2, 3], "label": n % 2} for n in range(4)]
    task = task_of({"train": data, "validation": data}, default_data_collator, 2)
    batch = task.collate(data)
    assert inputs_of(batch).keys() == {"input_ids"}
    losses = task.loss(torch.zeros(4, 2), batch)
    torch.testing.assert_close(losses, torch.full((4,), math.log(2)))


@pytest.mark.parametrize(
    ("collator", "found"),
    [
        (lambda samples: {"input_ids": torch.zeros(1, 3)}, "a dictionary of input_ids"),
        (lambda samples: [torch.zeros(1, 3)], "list"),
    ],
)
def test_a_collator_without_labels_is_named(collator: Any, found: str) -> None:
    data: list[dict[str, Tensor]] = [{}]
    with pytest.raises(ValueError, match=f"collator must return a dictionary with a tensor 'labels', but .* {found};"):
        task_of({"train": data, "validation": data}, collator, 2)
