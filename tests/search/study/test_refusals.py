"""A study with mistakes is refused before anything heavy is imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from search.study.reading import read_study
from trainables.names import NAMES

HEAVY = {"torch", "torchvision", "ray", "optuna", "matplotlib", "mlflow", "scipy", "sklearn", "pandas"}
REFUSE = """\
import json, sys
import search
refused = {}
for settings in json.load(sys.stdin):
    try:
        search.run("digits", "nowhere", overrides=settings)
    except ValueError as error:
        refused[" ".join(settings)] = [str(error), sorted(sys.modules)]
print(json.dumps(refused))
"""
COMMAND = """\
import sys
from search.cli.app import main
try:
    main()
finally:
    print(*sys.modules)
"""
MISTAKES = (
    ["finetune.epoch=3"],
    ["dense.epochs=-1"],
    ["policies=[capcity]"],
    ["criteria=[magnitud]"],
    ["recoveries=[finetun]"],
    ["schedule.name=gradul"],
    ["finetune.optimizer=adamm"],
    ["curricula=[easy-frist]"],
    ["curricula=[{name: easy-first, pacing: liner}]"],
    ["curricula=[{name: weigh-hard, measure: el2m, network: resnet2O}]"],
    ["search.sampler=tpee"],
    ["search.space=layer"],
    ["search.scheduler=ahsa"],
    ["search.goals=[accuracy]"],
    ["granularity=chanel"],
    ["data.name=digit"],
    ["models=[smal_cnn]"],
    ["models=[resnet18]", "width=2"],
    ["criteria=[gates]", "granularity=channel", "gates.shaping=sech"],
    ["before=[{granularity: block, criterion: l3, policy: uniform, sparsity: 0.2}]"],
    ["distillation.weight=0.5"],
    ["data.fit=crop"],
    ["data.augment=resized_crop_flip", "data.loading=memory"],
    ["nonsense"],
)


def test_mistakes_are_refused_without_heavy_libraries() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", REFUSE], input=json.dumps(MISTAKES), capture_output=True, text=True, check=True
    )
    refused = json.loads(ended.stdout)
    assert list(refused) == [" ".join(settings) for settings in MISTAKES]
    for errors, modules in refused.values():
        assert "must" in errors or "is wrong" in errors
        assert not HEAVY & set(modules)


def test_the_command_says_all_that_is_wrong_with_a_file_without_heavy_libraries(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("models: [resnet57]\npolicies: [unifrom]\nfinetune: {epoch: 3}\n")
    command = [sys.executable, "-c", COMMAND, "run", "mine.yaml"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 2
    assert all(line.startswith("error: ") for line in ended.stderr.splitlines())
    assert len(ended.stderr.splitlines()) == 3
    assert not HEAVY & set(ended.stdout.split())


def test_mistakes_come_alone_and_what_is_missing_afterwards() -> None:
    missing = ["models=[nowhere.at:all]", "data.name=folder", "data.path=/nowhere"]
    with pytest.raises(ValueError, match="nowhere") as caught:
        read_study("digits", missing)
    assert len(str(caught.value).splitlines()) == 2
    with pytest.raises(ValueError, match="capcity") as caught:
        read_study("digits", [*missing, "policies=[capcity]"])
    assert "nowhere" not in str(caught.value)


def test_every_kind_of_name_is_among_the_mistakes() -> None:
    words = {"model": "models", "policy": "policies", "criterion": "criteria", "recovery": "recoveries"}
    words |= {"schedule": "schedule.name", "curriculum": "curricula"}
    tried = " ".join(setting for settings in MISTAKES for setting in settings)
    assert all(words.get(kind, kind) in tried for kind in NAMES)
