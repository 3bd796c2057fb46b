"""Samplers and schedulers of the user's own: the README's examples hold, and each fault is named before any trial."""

import re
import sys
from pathlib import Path

import pytest

from search.methods.contract import check_sampler, check_scheduler
from search.methods.names import SAMPLER_ABILITIES, SCHEDULERS
from search.study.reading import read_study

README = Path(__file__).parents[3] / "search" / "README.md"
FAULTY = """
import random
import optuna
from ray.tune.schedulers import FIFOScheduler, HyperBandScheduler, MedianStoppingRule


def no_sampler(seed, trials):
    return optuna.samplers.TPESampler


def unseeded(seed, trials):
    return optuna.samplers.RandomSampler(seed=random.randrange(10**9))


class Stubborn(optuna.samplers.RandomSampler):
    def sample_independent(self, study, trial, name, distribution):
        return distribution.choices[0] if hasattr(distribution, "choices") else distribution.high


def stubborn(seed, trials):
    return Stubborn(seed)


def one_goal(seed, trials):
    return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def breaks(seed, trials):
    raise KeyError("x")


def of_one(seed):
    return optuna.samplers.RandomSampler(seed)


def no_scheduler(epochs, metric, mode):
    return "asha"


def pauses(epochs, metric, mode):
    return HyperBandScheduler(metric=metric, mode=mode, max_t=epochs)


def other_metric(epochs, metric, mode):
    return MedianStoppingRule(time_attr="training_iteration", metric=None, mode=None)


def plain(epochs, metric, mode):
    return FIFOScheduler()
"""


@pytest.fixture(autouse=True)
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the README's examples and the faulty functions into modules of their own."""
    monkeypatch.syspath_prepend(tmp_path)
    examples = [code for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if "def " in code]
    assert all(len(code.splitlines()) <= 20 for code in examples)
    for name, code in (("tried_examples", "\n\n".join(examples)), ("tried_faults", FAULTY)):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(code)


@pytest.mark.parametrize("goals", [1, 3])
def test_the_examples_of_the_readme_hold(goals: int) -> None:
    assert next(check_sampler("tried_examples:patient", goals)).startswith("16 proposals for")
    (held,) = check_scheduler("tried_examples:hasty")
    assert held.startswith("16 trials of 9 epochs heard")
    assert not held.endswith(" 0 of them stopped")


@pytest.mark.parametrize("name", sorted(set(SAMPLER_ABILITIES) - {"gp"}))  # gp takes a minute
def test_our_own_samplers_keep_the_contract(name: str) -> None:
    for goals in (1, 3) if SAMPLER_ABILITIES[name].several_goals else (1,):
        assert list(check_sampler(name, goals))


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("goals", [("best_val_accuracy",), ("best_val_accuracy", "macs", "latency_ms")])
def test_our_own_schedulers_keep_the_contract(name: str, goals: tuple[str, ...]) -> None:
    (held,) = check_scheduler(name, goals)
    assert held.endswith(" 0 of them stopped") is (name == "fifo")


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("sampler", "no_sampler", "must return a sampler of Optuna .* but returned <class"),
        ("sampler", "unseeded", "must propose the same for a seed, but first gives .* hand the seed on"),
        ("sampler", "stubborn", "must propose new points, but gives 1 different ones in 16 proposals"),
        (
            "sampler",
            "breaks",
            "tried_faults:breaks must run on a made-up search, but failed with KeyError: 'x'",
        ),
        ("sampler", "of_one", r"must be callable as of_one\(seed, trials\), but: .* give it these 2 parameters"),
        ("sampler", "patiente", "function of tried_faults must be a known name"),
        ("scheduler", "no_scheduler", "must return a scheduler of Ray Tune .* but returned 'asha'"),
        ("scheduler", "pauses", "must answer CONTINUE or STOP, as no trial of a search waits for others, but answered"),
        ("scheduler", "other_metric", "must run on a made-up search, but failed with ValueError"),
        ("scheduler", "of_one", r"must be callable as of_one\(epochs, metric, mode\), but: .* these 3 parameters"),
    ],
)
def test_a_fault_is_named_before_any_trial(kind: str, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list((check_sampler if kind == "sampler" else check_scheduler)(f"tried_faults:{name}"))
    with pytest.raises(ValueError, match=message) as refused:
        read_study("digits", [f"search.{kind}=tried_faults:{name}"])
    assert len(str(refused.value).splitlines()) == 1


def test_a_sampler_is_tried_with_the_goals_of_the_study() -> None:
    assert read_study("digits", ["search.sampler=tried_faults:one_goal"]).search.sampler == "tried_faults:one_goal"
    goals = "search.goals=[best_val_accuracy,macs]"
    with pytest.raises(ValueError, match="tried_faults:one_goal must run on a made-up search, but failed"):
        read_study("digits", ["search.sampler=tried_faults:one_goal", goals])


def test_samplers_and_schedulers_change_no_key_of_a_trial() -> None:
    ours = read_study("digits")
    own = read_study("digits", ["search.sampler=tried_examples:patient", "search.scheduler=tried_faults:plain"])
    assert own.functions() == {"tried_examples:patient": "sampler", "tried_faults:plain": "scheduler"}
    with_code = own.model_copy(update={"contents": dict.fromkeys(own.functions(), "0" * 16)})
    assert [trial.key() for trial in with_code.trials()] == [trial.key() for trial in ours.trials()]
