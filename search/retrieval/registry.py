"""Networks in MLflow's model registry, as safetensors, JSON and the code that reads them: no pickle."""

import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

import trainables
from search.results.folder import StudyFolder
from search.retrieval.copying import Registered, Retrieved
from search.tracking.mlflow_store import PARENT, STUDY, TRIAL, cause_of, client, experiment, tracking_at, tracking_store
from trainables.checkpoints import checkpoint
from trainables.exports.served import REQUIREMENTS
from trainables.storage.credentials import redacted
from trainables.storage.folder import Folder

ALIAS = "best"  # of the version that was registered last
TRAINING = (  # folders whose code a saved network does not need
    *("allocation", "artifacts", "catalog", "data", "learnability", "pruning", "training", "trial"),
)
TIMEOUT = 60  # seconds without an answer
TOLD = (
    *("study", "trial", "model", "policy", "criterion", "recovery", "curriculum", "sparsity", "seed"),
    *("params_kept", "macs_kept"),
)


class Registry:
    """One model in the registry of the MLflow that tracks a study."""

    def __init__(self, folder: StudyFolder, name: str) -> None:
        """Reach MLflow: where the study is tracked, or where it would be by default if it is not.

        Raises ValueError for a name that MLflow forbids, and where no MLflow is known or answers.
        """
        if not name.strip() or set(name) & set("/:'"):
            raise ValueError(f"--register must be a name without '/', ':' and quotes, but got {name!r}; choose another")
        study, storage = folder.study, folder.folder.parent
        uri, artifacts = tracking_store("auto" if study.tracking == "off" else study.tracking, storage)
        if uri is None:
            raise ValueError(f"--register must know an MLflow, but {storage.uri} has none; set MLFLOW_TRACKING_URI")
        self._name, self._uri = name, uri
        try:
            self._client = client(uri, TIMEOUT)
            self._experiment = experiment(self._client, uri, artifacts)
        except Exception as error:
            raise self._refusal(error) from error

    def add(self, place: Path, taken: Retrieved) -> Registered:
        """Add the network of a checkpoint folder as the newest version, and give it the alias "best".

        It is linked to the trial's run, a new one where the trial was not tracked. Raises ValueError where MLflow
        refuses; a version appears only if all that belongs to it is there.
        """
        try:
            with tracking_at(self._uri):
                return self._add(place, taken)
        except Exception as error:
            raise self._refusal(error) from error

    def _add(self, place: Path, taken: Retrieved) -> Registered:
        from mlflow.entities import LoggedModelOutput

        run, tags = self._run(taken), _tags(taken)
        model = self._client.create_logged_model(self._experiment, self._name, run, tags)
        with tempfile.TemporaryDirectory() as scratch:
            save(Path(scratch) / "model", place, taken.model, run, model.model_id)
            self._client.log_model_artifacts(model.model_id, str(Path(scratch) / "model"))
        self._client.finalize_logged_model(model.model_id, "READY")
        self._client.log_outputs(run, [LoggedModelOutput(model.model_id, taken.epoch)])
        if not self._client.search_registered_models(f"name = '{self._name}'"):
            about = "Pruned networks that `howcompact best --register` has verified."
            self._client.create_registered_model(self._name, description=about)
        made = self._client.create_model_version(
            self._name,
            f"models:/{model.model_id}",
            run,
            tags,
            description=self._describe(taken),
            model_id=model.model_id,
        )
        self._client.set_registered_model_alias(self._name, ALIAS, made.version)
        return Registered(uri=self._address, version=int(made.version), tracking=redacted(self._uri))

    @property
    def _address(self) -> str:
        return f"models:/{self._name}@{ALIAS}"

    def _run(self, taken: Retrieved) -> str:
        """Find the trial's run, that of this study first; make one where there is none."""
        studies = self._client.search_runs([self._experiment], f"tags.`{STUDY}` = '{taken.study}'")
        parents = {run.info.run_id for run in studies}
        runs = self._client.search_runs([self._experiment], f"tags.`{TRIAL}` = '{taken.trial}'")
        for run in sorted(runs, key=lambda run: run.data.tags.get(PARENT) not in parents):
            return str(run.info.run_id)
        made = self._client.create_run(self._experiment, tags={TRIAL: taken.trial}, run_name=taken.trial)
        self._client.log_metric(made.info.run_id, "best_val_accuracy", taken.reported_accuracy)
        self._client.set_terminated(made.info.run_id)
        return str(made.info.run_id)

    def _describe(self, taken: Retrieved) -> str:
        return (
            f"**{taken.model}**, pruned by `{taken.policy}` and `{taken.criterion}` to sparsity {taken.sparsity:g}, "
            f"recovered by `{taken.recovery}`, seed {taken.seed}: trial `{taken.trial}` of study `{taken.study}`.\n\n"
            f"- validation accuracy {taken.verified_accuracy:.4f}, verified in a clean process "
            f"({taken.reported_accuracy:.4f} reported)\n"
            f"- keeps {taken.params_kept:,} of {taken.params_total:,} weights\n"
            f"- keeps {taken.macs_kept:,} of {taken.macs_total:,} multiply-accumulates\n\n"
            "Takes normalised images, `(pixels / 255 - mean) / std`, by the `mean` and `std` of the model's metadata; "
            "returns logits.\n\n"
            f'```python\nmodel = mlflow.pyfunc.load_model("{self._address}")\nlogits = model.predict(images)\n```\n'
        )

    def _refusal(self, error: Exception) -> ValueError:
        where = redacted(self._uri)
        return ValueError(f"MLflow at {where} must take the network, but {cause_of(error)}; nothing was copied")


def save(path: Path, place: Path, model_name: str, run: str, model_id: str) -> None:
    """Write a checkpoint folder as an MLflow model, with signature, input example and the code that loads it.

    model_name: of the network, as the checkpoint that was verified has it.
    """
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    saved = checkpoint.load(Folder.at(str(place)), trust=(model_name,))
    built = saved.architecture
    kind = np.dtype(np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        data, code = Path(scratch) / "checkpoint", Path(scratch) / "trainables"  # their names in the model
        data.symlink_to(place)
        shutil.copytree(Path(trainables.__file__).parent, code, ignore=shutil.ignore_patterns(*TRAINING, "__pycache__"))
        pyfunc.save_model(
            path,
            loader_module="trainables.exports.served",
            data_path=str(data),
            code_paths=[str(code)],
            mlflow_model=Model(run_id=run, model_id=model_id),
            signature=ModelSignature(
                Schema([TensorSpec(kind, (-1, *built.image))]), Schema([TensorSpec(kind, (-1, built.classes))])
            ),
            input_example=built.example().numpy(),
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
            metadata=saved.record["input"],
        )


def _tags(taken: Retrieved) -> dict[str, str]:
    return {name: str(getattr(taken, name)) for name in TOLD} | {"accuracy": f"{taken.verified_accuracy:.4f}"}
