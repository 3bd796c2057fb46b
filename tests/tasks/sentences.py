"""Hugging Face: a small BERT tells which module of Python's standard library a line of source comes from."""

import importlib
import inspect

from sklearn.model_selection import train_test_split
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, DataCollatorWithPadding, PreTrainedTokenizerFast

from trainables.task.adapters.huggingface import task_of
from trainables.task.task import Task

MODULES, WORDS, LENGTH = ("argparse", "calendar", "statistics", "textwrap"), 500, 16


def lines() -> Task:
    """Tell the module from a line: samples have token ids, a mask and a label."""
    sources = [inspect.getsource(importlib.import_module(module)).splitlines() for module in MODULES]
    labelled = [(line, label) for label, source in enumerate(sources) for line in source if len(line.split()) > 3]
    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(vocab_size=WORDS, special_tokens=["[PAD]", "[UNK]"])
    words.train_from_iterator((line for line, _ in labelled), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    samples = [dict(tokenizer(line, truncation=True, max_length=LENGTH), label=label) for line, label in labelled]
    train, validation = train_test_split(samples, test_size=0.3, random_state=0)
    collator = DataCollatorWithPadding(tokenizer, padding="max_length", max_length=LENGTH)
    return task_of({"train": train, "validation": validation}, collator, outputs=len(MODULES))


def bert(num_classes: int, in_channels: int) -> nn.Module:
    """Build a small BERT."""
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = BertConfig(vocab_size=WORDS, max_position_embeddings=LENGTH, num_labels=num_classes, **sizes)
    model: nn.Module = BertForSequenceClassification(config)
    return model
