"""Networks of timm and transformers by their names."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from tests.trainables.conftest import as_if_trained, assert_same
from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import Architecture
from trainables.models import hub, known, libraries, trial_run
from trainables.models.own_code import fingerprint
from trainables.models.trust import NO_TRUST, is_users_own
from trainables.pruning.channels import Channels
from trainables.storage.folder import Folder

LOAD = """
import sys, torch
from trainables import load_pruned
torch.save(load_pruned(sys.argv[1])(torch.load(sys.argv[2])), sys.argv[3])
"""


@pytest.mark.parametrize("name", ["timm:test_vit", "hf:ResNetForImageClassification"])
def test_a_network_goes_through_the_trial_run(name: str) -> None:
    side = 160 if name == "timm:test_vit" else 64
    trial_run.check_images(name, 5, (1, side, side))
    assert hub.build(name, 5, 1).eval()(torch.zeros(2, 1, side, side)).shape == (2, 5)


def test_images_that_do_not_fit_are_refused_with_a_size_that_does() -> None:
    with pytest.raises(ValueError, match=r"^hf:ViTForImageClassification must get .* such as 224 x 224 pixels"):
        trial_run.check_images("hf:ViTForImageClassification", 5, (3, 32, 32))


def test_a_cut_network_is_loaded_in_a_clean_process_without_trust(tmp_path: Path) -> None:
    torch.manual_seed(0)
    architecture = Architecture(model="timm:test_vit", width=1.0, classes=5, image=(3, 160, 160))
    model = as_if_trained(architecture.build())
    channels = Channels(model, architecture.example())
    channels.remove({part.name: torch.arange((part.units + 1) // 2) for part in channels.parts})
    record = {"architecture": architecture.cut_as(model).model_dump(mode="json")}
    checkpoint.save(Folder.at(str(tmp_path / "net")), {"network": model.state_dict()}, record)
    images = torch.randn(2, 3, 160, 160)
    torch.save(images, tmp_path / "images")
    code = [sys.executable, "-c", LOAD, *(str(tmp_path / each) for each in ("net", "images", "logits"))]
    subprocess.run(code, check=True)
    assert_same(torch.load(tmp_path / "logits"), model(images))


def test_logits_come_alone_and_names_are_those_of_the_class() -> None:
    settings = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48}
    plain = transformers.ViTForImageClassification(transformers.ViTConfig(**settings, image_size=32, num_labels=4))
    model = libraries.with_logits(transformers.ViTForImageClassification, **settings, image_size=32, num_labels=4)
    assert type(model).__name__ == "ViTForImageClassification"
    model.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 32, 32)
    expected = plain.eval()(images).logits
    assert torch.equal(model.eval()(images), expected)
    assert torch.equal(copy.deepcopy(model)(images), expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "timm:vit_tiny_patch16_225",
            "must name a model of timm, but there is none of this name; did you mean timm:vit_tiny",
        ),
        ("timm:hf-hub:timm/vit_tiny_patch16_224", "must name a model of timm, but there is none of this name; "),
        ("timm:?", r"there is none of this name; timm.list_models\(\) lists them"),
        ("hf:BertForSequenceClassification", "must name a class of transformers for image classification, but"),
        ("hf:set_seed", "must name a class of transformers for image classification, but there is none of this name; "),
    ],
)
def test_what_a_library_does_not_have_is_refused(name: str, message: str) -> None:
    for refuse in (
        hub.check,
        lambda name: hub.build(name, 5, 3),
        lambda name: trial_run.check_images(name, 5, (3, 8, 8)),
    ):
        with pytest.raises(ValueError, match=message):
            refuse(name)


@pytest.mark.parametrize(("name", "package"), [("timm:test_vit", "timm"), ("hf:BertModel", "transformers")])
def test_a_missing_package_is_one_sentence(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as Python marks what cannot be imported
    message = (
        f"^model '{name}' must come with the package {package}, but it is not installed; run pip install {package}$"
    )
    for check in (known.check, hub.check):
        with pytest.raises(ValueError, match=message):
            check(name)


def test_names_of_libraries_are_no_code_of_the_user() -> None:
    assert not is_users_own("timm:test_vit")
    NO_TRUST.check("hf:ViTForImageClassification")
    assert (
        fingerprint("timm:test_vit", 5, 3) == fingerprint("timm:test_vit", 5, 3) != fingerprint("timm:test_vit", 5, 1)
    )
    with pytest.raises(ValueError, match=r"^width must be 1.0 for timm:test_vit"):
        hub.check("timm:test_vit", 0.5)


def test_the_packages_are_imported_for_their_own_networks_only() -> None:
    code = (
        "import sys, search, search.cli.app; from trainables.models import hub, known\n"
        "hub.check('resnet18'); hub.build('resnet18', 2, 3); known.check('timm:no_such'); known.check('hf:NoSuch')\n"
        "assert not {'timm', 'transformers'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
