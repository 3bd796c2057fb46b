"""Parameters in MLflow: a setting has one name in the runs of a study, of its dense networks and of its trials.

The names are those of a study file. Where a study lists several values, its run has them all under the singular:
policy is "uniform, erk" in the run of the study, and "erk" in the run of a trial.
"""

from typing import Any

from search.results.names import curriculum_name, rules_name
from search.study.spec import StudySpec
from trainables.plugins import known_of
from trainables.spec import DenseSpec, TrialSpec

LISTS = {  # setting of a study with several values -> its name in MLflow
    "models": "model",
    "criteria": "criterion",
    "policies": "policy",
    "sparsities": "sparsity",
    "seeds": "seed",
    "compensate": "compensate",
    "recoveries": "recovery",
    "curricula": "curriculum",
}


def study_params(study: StudySpec) -> dict[str, Any]:
    """Nested settings of a study, those in `LISTS` as texts."""
    settings = study.model_dump(mode="json")
    settings["layers"] = rules_name(study.layers)
    settings["densities"] = settings.pop("given")["densities"] or None
    settings["curricula"] = [curriculum_name(curriculum) for curriculum in study.all_curricula()]
    return {
        LISTS.get(name, name): ", ".join(map(str, value)) if name in LISTS else value
        for name, value in settings.items()
    }


def dense_params(spec: DenseSpec) -> dict[str, Any]:
    """Nested settings of a dense network."""
    settings = spec.model_dump(mode="json")
    files, contents = ({spec.model: value} if value else {} for value in (spec.weights, spec.content))
    return {
        **{name: settings[name] for name in ("model", "width", "data", "seed")},
        "dense": settings["recipe"],
        "curriculum": curriculum_name(spec.curriculum),
        "records": {"dense": spec.record},
        "task": spec.data.task.function,
        "weights": files,
        "contents": contents,
    }


def trial_params(spec: TrialSpec) -> dict[str, Any]:
    """Nested settings of a trial, with those of its dense network."""
    own = spec.model_dump(mode="json", exclude={"dense", "record", "curriculum", "code"})
    records = {"dense": spec.dense.record, "finetune": spec.record}
    names = {"curriculum": curriculum_name(spec.followed), "layers": rules_name(spec.layers)}
    dense = dense_params(spec.dense)
    contents = {**dense["contents"], **known_of(spec.code)}
    return {**dense, **own, **names, "records": records, "contents": contents}
