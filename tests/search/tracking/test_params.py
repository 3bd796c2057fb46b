"""A setting has one name in the runs of a study, of its dense networks and of its trials."""

from search.study.spec import StudySpec
from search.tracking.inbox import flat
from search.tracking.params import dense_params, study_params, trial_params


def test_a_trial_has_the_names_and_values_of_a_study_with_one_value_each() -> None:
    settings = {
        "models": ["resnet20"],
        "width": 0.5,
        "weights": {"resnet20": "weights.pt"},
        "contents": {"resnet20": "0123"},
        "data": {"name": "folder", "path": "/images", "content": "4567", "max_train": 90},
        "dense": {"epochs": 7},
        "policies": ["erk"],
        "criteria": ["l1"],
        "granularity": "channel",
        "sparsities": [0.7],
        "seeds": [3],
        "compensate": True,
        "recoveries": ["distill"],
        "distillation": {"temperature": 3.0},
        "finetune": {"epochs": 2},
        "records": {"dense": "after", "finetune": "during"},
        "latency": True,
        "round_to": 4,
    }
    study = StudySpec.model_validate({"name": "s", **settings})
    (trial,) = study.trials()
    of_study, of_trial = flat(study_params(study)), flat(trial_params(trial))
    assert of_trial["densities"] == "None"
    assert of_trial.items() <= of_study.items()
    assert flat(dense_params(trial.dense)).items() <= (of_trial | {"records.dense": "after"}).items()
    assert (of_trial["policy"], of_trial["seed"], of_trial["dense.epochs"]) == ("erk", "3", "7")
    assert {name.partition(".")[0] for name in of_study.keys() - of_trial.keys()} == {
        *("name", "search", "resources", "tracking")
    }


def test_a_study_has_all_values_of_a_list_under_the_name_that_trials_use() -> None:
    lists = {"policies": ["uniform", "erk"], "sparsities": [0.5, 0.9], "seeds": [0, 1], "curricula": ["easy-first"]}
    study = StudySpec.model_validate({"name": "s", **lists})
    of_study = study_params(study)
    assert (of_study["policy"], of_study["sparsity"], of_study["seed"]) == ("uniform, erk", "0.5, 0.9", "0, 1")
    assert {trial_params(trial)["curriculum"] for trial in study.trials()} == {*of_study["curriculum"].split(", ")}
