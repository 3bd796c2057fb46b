"""Networks in MLflow's model registry, as safetensors, JSON and the code that loads them: no pickle."""

import tempfile
from pathlib import Path

import torch

from search.results.folder import StudyFolder
from search.results.names import TRAINING, training_name
from search.retrieval.copying import Registered, Retrieved
from search.retrieval.record import VerifiedRecord
from search.retrieval.registered_code import copy_code, packages
from search.tracking.mlflow_store import PARENT, STUDY, TRIAL, cause_of, client, experiment, tracking_at, tracking_store
from trainables.arguments import named_tensors, outputs_of
from trainables.checkpoints import checkpoint
from trainables.models.trust import Trust
from trainables.storage.credentials import redacted
from trainables.storage.folder import Folder

ALIAS = "best"  # of the version that was registered last
TIMEOUT = 60  # seconds without an answer
TAGS = (  # of a version: fields of Retrieved, without empty ones
    *("study", "trial", "model", "policy", "criterion", *TRAINING, "sparsity", "seed"),
    *("params_kept", "macs_kept"),
)


class Registry:
    """One model in the registry of the MLflow that tracks a study."""

    def __init__(self, folder: StudyFolder, name: str) -> None:
        """Connect to the MLflow that tracks the study, or to the default one if the study is not tracked.

        Raises ValueError for a name that MLflow forbids, where no MLflow is known and where none answers.
        """
        if not name.strip() or set(name) & set("/:'"):
            raise ValueError(f"--register must be a name without '/', ':' and quotes, but got {name!r}; choose another")
        study, storage = folder.study, folder.folder.parent
        uri, artifacts = tracking_store("auto" if study.tracking == "off" else study.tracking, storage)
        if uri is None:
            raise ValueError(f"--register must find an MLflow, but {storage.uri} has none; set MLFLOW_TRACKING_URI")
        self._name, self._uri = name, uri
        try:
            self._client = client(uri, TIMEOUT)
            self._experiment = experiment(self._client, uri, artifacts)
        except Exception as error:
            raise self._refusal(error) from error

    def add(self, folder: Path, network: Retrieved) -> Registered:
        """Add the network of a checkpoint folder as the newest version, and give it the alias "best".

        The version is linked to the trial's run, a new run where the trial was not tracked. It appears only once it is
        complete. Raises ValueError where MLflow refuses.
        """
        try:
            with tracking_at(self._uri):
                return self._add(folder, network)
        except Exception as error:
            raise self._refusal(error) from error

    def _add(self, folder: Path, network: Retrieved) -> Registered:
        from mlflow.entities import LoggedModelOutput

        run, tags = self._run(network), _tags(network)
        model = self._client.create_logged_model(self._experiment, self._name, run, tags)
        with tempfile.TemporaryDirectory() as scratch:
            save(Path(scratch) / "model", folder, network, run, model.model_id)
            self._client.log_model_artifacts(model.model_id, str(Path(scratch) / "model"))
        self._client.finalize_logged_model(model.model_id, "READY")
        self._client.log_outputs(run, [LoggedModelOutput(model.model_id, network.epoch)])
        if not self._client.search_registered_models(f"name = '{self._name}'"):
            description = "Pruned networks that `howcompact best --register` has verified."
            self._client.create_registered_model(self._name, description=description)
        added = self._client.create_model_version(
            self._name,
            f"models:/{model.model_id}",
            run,
            tags,
            description=self._describe(network),
            model_id=model.model_id,
        )
        self._client.set_registered_model_alias(self._name, ALIAS, added.version)
        return Registered(uri=self._address, version=int(added.version), tracking=redacted(self._uri))

    @property
    def _address(self) -> str:
        return f"models:/{self._name}@{ALIAS}"

    def _run(self, network: Retrieved) -> str:
        """Find the trial's run, preferably this study's; create one where there is none."""
        studies = self._client.search_runs([self._experiment], f"tags.`{STUDY}` = '{network.study}'")
        parents = {run.info.run_id for run in studies}
        runs = self._client.search_runs([self._experiment], f"tags.`{TRIAL}` = '{network.trial}'")
        for run in sorted(runs, key=lambda run: run.data.tags.get(PARENT) not in parents):
            return str(run.info.run_id)
        run = self._client.create_run(self._experiment, tags={TRIAL: network.trial}, run_name=network.trial)
        self._client.log_metric(run.info.run_id, f"best_val_{network.metric}", network.reported_accuracy)
        self._client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def _describe(self, network: Retrieved) -> str:
        return (
            f"**{network.model}**, pruned by `{network.policy}` and `{network.criterion}` to sparsity "
            f"{network.sparsity:g}, then `{training_name(network)}`, seed {network.seed}: trial `{network.trial}` "
            f"of study `{network.study}`.\n\n"
            f"- validation {network.metric} {network.verified_accuracy:.4f}, verified in a clean process "
            f"({network.reported_accuracy:.4f} reported)\n"
            f"- keeps {network.params_kept:,} of {network.params_total:,} weights\n"
            f"- keeps {network.macs_kept:,} of {network.macs_total:,} multiply-accumulates\n\n"
            f"{_how_to_call(network)}\n\n"
            f'```python\nmodel = mlflow.pyfunc.load_model("{self._address}")\noutputs = model.predict(inputs)\n```\n'
        )

    def _refusal(self, error: Exception) -> ValueError:
        uri = redacted(self._uri)
        return ValueError(f"MLflow at {uri} must take the network, but {cause_of(error)}; nothing was copied")


def _how_to_call(network: Retrieved) -> str:
    if network.task:
        return (
            f"It takes {_inputs(network)}, as the Task `{network.task}` gives them to its model, "
            "and returns the model's outputs."
        )
    return (
        "It takes images that are normalised by the `mean` and `std` of the model's metadata, "
        "`(pixels / 255 - mean) / std`, and returns logits."
    )


def _inputs(network: Retrieved) -> str:
    """Describe the inputs. Those of several tensors are a dictionary; tensors without a name have their position."""
    if not network.tensors:
        return f"inputs (N, {', '.join(map(str, network.image))}) of {network.dtype}"
    parts = (
        f"`{each.name or n}` ({', '.join(map(str, ('N', *each.shape)))}) of {each.dtype}"
        for n, each in enumerate(network.tensors)
    )
    return f"a dictionary of {', '.join(parts)}"


def save(path: Path, folder: Path, network: Retrieved, run: str, model_id: str) -> None:
    """Write a checkpoint folder as an MLflow model with its signature, an input example and the code that loads it.

    network: what the verified checkpoint holds. The code of a user's own model comes along, without installed packages.
    """
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    saved = checkpoint.load(Folder.at(str(folder)), Trust([network.model]))
    example = saved.architecture.example()
    with torch.no_grad():
        outputs = outputs_of(saved.network().eval(), example)

    def spec(tensor: torch.Tensor, name: str | None = None) -> TensorSpec:
        return TensorSpec(tensor.numpy().dtype, (-1, *tensor.shape[1:]), name)

    several = {name or str(position): of for position, (name, of) in enumerate(named_tensors(example))}
    is_one = isinstance(example, torch.Tensor)
    inputs = Schema([spec(tensor, None if is_one else name) for name, tensor in several.items()])
    arrays = {name: tensor.numpy() for name, tensor in several.items()}

    with tempfile.TemporaryDirectory() as scratch:
        data, code = Path(scratch) / "checkpoint", Path(scratch) / "code"  # their names in the model
        data.symlink_to(folder)
        copy_code(network.model, code)
        pyfunc.save_model(
            path,
            loader_module="trainables.exports.served",
            data_path=str(data),
            code_paths=sorted(map(str, code.iterdir())),
            mlflow_model=Model(run_id=run, model_id=model_id),
            signature=ModelSignature(inputs, Schema([spec(outputs)])),
            input_example=arrays["0"] if is_one else arrays,
            pip_requirements=packages(network.model),
            metadata=saved.read(VerifiedRecord).input.model_dump(mode="json"),
        )


def _tags(network: Retrieved) -> dict[str, str]:
    named = {name: str(getattr(network, name)) for name in TAGS if getattr(network, name) != ""}
    return named | {network.metric: f"{network.verified_accuracy:.4f}"}
