"""Studies: what they expand to, and every complaint before anything runs."""

import re
from pathlib import Path

import pytest
import yaml

from search.methods.schedulers import SCHEDULERS
from search.study.cells import cell_key
from search.study.reading import read_study, shipped
from search.study.spec import StudySpec
from trainables.data.sources import SOURCES


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_study_is_right_but_for_its_data(name: str, tmp_path: Path) -> None:
    digits = ["data.name=digits", "data.path=''", "data.size=32", "data.augment=none", "data.normalise=data"]
    settings = digits if name != "digits" else []
    study = read_study(name, settings)
    assert study.name == name
    assert {"uniform", "capacity"} <= set(study.policies)
    assert len(study.seeds) >= 3


def test_dictionaries_say_the_same_as_yaml_and_settings() -> None:
    settings = {"name": "digits", "policies": ["uniform", "erk"], "finetune": {"epochs": 2}, "sparsities": (0.5,)}
    texts = ["policies=[uniform,erk]", "finetune.epochs=5", "sparsities=[0.5]", "search.trials=7"]
    study = read_study(settings, {"finetune.epochs": 5, "search.trials": 7})
    assert study.finetune.epochs == 5
    assert settings["finetune"] == {"epochs": 2}  # the caller's own is left alone
    same = read_study("digits", texts)
    assert (study.policies, study.sparsities, study.search.trials) == (same.policies, same.sparsities, 7)
    assert read_study({**yaml.safe_load(shipped()["digits"])}, texts) == same
    assert read_study(settings, name="other").name == "other"
    with pytest.raises(ValueError, match="finetun"):
        read_study(settings, {"finetun.epochs": 5})


def test_trials_are_the_product_of_what_differs_with_starting_points_first() -> None:
    study = StudySpec(
        name="s", policies=("random", "uniform", "searched"), sparsities=(0.5, 0.9), seeds=(0, 1), models=("a", "b")
    )
    trials = study.trials()
    assert len(trials) == len({spec.key() for spec in trials}) == 6 * 2 * 2 * 2  # five are starting points
    assert {spec.policy for spec in trials[:40]} == {"uniform", "erk", "lamp", "rdp", "capacity"}
    assert {spec.policy for spec in trials[40:]} == {"random"}
    assert {cell_key(spec) for spec in trials} == {cell_key(cell) for cell in study.cells()}


def test_every_recovery_is_tried_in_every_cell_and_only_distilling_ones_know_its_constants() -> None:
    study = read_study("digits", ["recoveries=[finetune,distill]", "distillation.temperature=2", "seeds=[0]"])
    assert [spec.recovery for spec in study.trials()].count("distill") == 3 * 3
    assert {spec.recovery: spec.distillation.temperature for spec in study.cells()} == {"finetune": 4, "distill": 2}
    plain = {spec.key() for spec in read_study("digits", ["seeds=[0]"]).trials()}
    assert plain == {spec.key() for spec in study.trials() if spec.recovery == "finetune"}


def test_without_a_search_there_are_no_starting_points() -> None:
    assert StudySpec(name="s", policies=("erk",)).all_policies() == ("erk",)


def test_settings_override_by_dotted_name() -> None:
    study = read_study("digits", ["finetune.epochs=7", "seeds=[4]", "tracking=off", "search.sampler=random"])
    assert (study.finetune.epochs, study.seeds, study.tracking, study.search.sampler) == (7, (4,), "off", "random")
    assert study.finetune.lr == read_study("digits").finetune.lr


def test_a_file_gives_its_name_unless_it_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"policies": ["uniform"]}))
    assert read_study(str(path)).name == "mine"
    assert read_study(str(path), name="other").name == "other"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("resources.gpus=-1", "resources.gpus must be greater than or equal to 0 or be 'auto', but got -1"),
        ("resources.gpus=two", "resources.gpus must be a number or be 'auto', but got 'two'"),
        ("sparsities=[95]", "sparsities.0 must be less than 1, but got 95; did you mean 0.95?"),
        ("sparsities=[-1]", "sparsities.0 must be greater than or equal to 0, but got -1"),
        ("sparsities=0.9", "sparsities must be a list, but got 0.9; write sparsities=[0.9]"),
        ("seeds=[]", "seeds must have 1 or more values, but got []"),
        ("policies=uniform", "policies must be a list, but got 'uniform'; write policies=[uniform]"),
        ("data=digits", "data must be a group of settings, but got 'digits'; write its settings one by one"),
        ("dense.epochs=0.5", "dense.epochs must be a whole number, but got 0.5"),
        ("latency=perhaps", "latency must be true or false, but got 'perhaps'"),
        ("budget=flops", "budget must be 'params', 'macs' or 'latency', but got 'flops'"),
    ],
)
def test_a_mistake_in_a_study_is_one_line_that_says_what_to_write(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as caught:
        read_study("digits", [setting])
    assert len(str(caught.value).splitlines()) == 1


def test_all_complaints_come_at_once() -> None:
    settings = ["finetune.epoch=3", "sparsities=[0.5,1.5]", "policies=[capcity]", "search.scheduler=ahsa"]
    with pytest.raises(ValueError, match="did you mean") as caught:
        read_study("digits", settings)
    told = str(caught.value)
    assert "finetune.epoch must be a known setting, but is not; did you mean 'epochs'?" in told
    assert "sparsities.1 must be less than 1, but got 1.5" in told
    assert "policy must be a known name, but got 'capcity'; did you mean 'capacity" in told
    assert "scheduler must be a known name, but got 'ahsa'; did you mean 'asha'?" in told


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["criteria=[l1]"], "criterion 'l1' must go with granularity channel or block or projected-block, but got"),
        (["granularity=channel"], "criterion 'magnitude' must go with granularity weight"),
        (["granularity=channel", "criteria=[bn-scale]"], "criterion 'bn-scale' must find a batch norm"),
        (["models=[resnet21]"], "model must be a known name, but got 'resnet21'; did you mean"),
        (["models=[nowhere.at:all]"], "nowhere"),
        (["data.name=digit"], "did you mean 'digits'"),
        (["resources.workers=2", "resources.gpus=0.5"], "resources.gpus must be 1 where several workers train"),
        (
            ["resources.workers=8", "finetune.batch_size=4"],
            "finetune.batch_size must be at least the number of workers",
        ),
        (["resources.gpus=2"], "resources.gpus must be less than or equal to 1 or be 'auto', but got 2"),
        (["data.name=parquet", "data.path=/nowhere"], "/nowhere"),
        (["sparsities=[0.5,0.9999]"], "use a sparsity of at most 0."),
        (["models=[vgg16]"], "set data.size to 32"),
        (["schedule.name=gradul", "schedule.steps=3"], "did you mean 'gradual'"),
        (["schedule.name=gradual"], "schedule 'gradual' must have steps >= 2, but got 1"),
        (["schedule.steps=3"], "schedule 'one-shot' must have neither steps nor step_epochs"),
        (["schedule.name=gradual", "schedule.steps=0"], "schedule.steps must be greater than"),
        (["recoveries=[finetun]"], "recovery must be a known name, but got 'finetun'; did you mean 'finetune'?"),
        (["recoveries=[rewind,rewind]"], "recoveries must differ from each other"),
        (["recoveries=[rewind]", "finetune.epochs=11"], "must repeat at most the 10 dense epochs, but got 11"),
        (["distillation.weight=0.5"], "distillation must come with recovery 'distill'"),
        (["gates.lr=0.5"], "gates must come with a criterion or a policy that reads them"),
        (["search.trials=3"], "search.trials must exceed its 3 starting points, but got 3"),
        (["search.sampler=tpee"], "sampler must be a known name, but got 'tpee'; did you mean 'tpe'?"),
        (["search.space=stage"], "space must be a known name, but got 'stage'; did you mean 'stages'?"),
        (["search.space=family", "search.warm_start=[erk]"], "'family' must know the densities of 'capacity'"),
        (["search.goals=[macs]"], "search.goals must begin with best_val_accuracy"),
        (["search.goals=[best_val_accuracy,flops]"], "goal must be a known name, but got 'flops'"),
        (
            ["search.goals=[best_val_accuracy,macs]", "search.sampler=cmaes"],
            "must take several goals, but 'cmaes' takes one",
        ),
        (
            ["search.goals=[best_val_accuracy,macs]", "search.trials=9"],
            "search.trials must exceed its 9 starting points",
        ),
        (
            ["search.constraints=['sparsity>=0.4']"],
            "search.constraints must bound one of params, macs, latency_ms",
        ),
        (
            ["search.constraints=['macs<=0.4']", "search.sampler=qmc"],
            "must learn from constraints, but 'qmc' does not",
        ),
        (["seeds=[1,1]"], "seeds must differ from each other"),
        (
            ["search.warm_start=[searched]"],
            "search.warm_start must name policies that are not searches, but got 'searched'",
        ),
        (["name=../out"], "name must match the pattern"),
        (["name=artifacts"], "name must not be one of artifacts, mlartifacts"),
        (["finetune.lr=.nan"], "finetune.lr must be a finite number"),
        (["nonsense"], "--set must be key=value"),
        (["name.deep=1"], "must name a setting"),
    ],
)
def test_a_wrong_setting_is_refused(settings: list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        read_study("digits", settings)


def test_the_sparsity_that_a_refusal_names_is_accepted() -> None:
    with pytest.raises(ValueError, match="at most") as caught:
        read_study("digits", ["sparsities=[0.9999]"])
    most = str(caught.value).rpartition("at most ")[2]
    assert read_study("digits", [f"sparsities=[{most}]"]).sparsities == (float(most),)


@pytest.mark.parametrize("text", ["- a list", "a: [unclosed", "42"])
def test_a_file_that_is_no_study_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ValueError, match="a study must"):
        read_study(str(tmp_path / "bad.yaml"))


def test_missing_files_and_unknown_names_are_told_apart() -> None:
    with pytest.raises(ValueError, match="a study file must exist"):
        read_study("nowhere.yaml")
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        read_study("digit")


def test_every_table_of_a_study_has_entries() -> None:
    assert {"digits", "parquet", "folder", "cifar10", "cifar100", "fashion_mnist"} <= set(SOURCES)
    assert set(SCHEDULERS) == {"fifo", "asha", "median", "hyperband"}
