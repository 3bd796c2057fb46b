"""Fingerprints of the user's own models: which changes are told apart."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainables.models.own_code import fingerprint, sources

FILES = {
    "ownnet/__init__.py": "",
    "ownnet/model.py": (
        "import numpy\nfrom torch import nn\nfrom .layers import hidden\nfrom ownhelp import WIDTH\n\n\n"
        "def net(num_classes, in_channels):\n"
        "    return nn.Sequential(nn.Flatten(), hidden(in_channels * 64, WIDTH), nn.Linear(WIDTH, num_classes))\n"
    ),
    "ownnet/layers.py": "def hidden(a, b):\n    from torch import nn\n    return nn.Linear(a, b)\n",
    "ownnet/train.py": "LR = 1\n",
    "ownhelp.py": "import ownfar\nWIDTH = 4\n",
    "ownfar.py": "DEEP = 1\n",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("ownnet", "ownhelp", "ownfar")]:
        del sys.modules[name]


def of_model() -> str:
    forget()
    return fingerprint("ownnet.model:net", 10, 1)


def test_the_sources_of_a_model_are_its_module_and_the_own_modules_that_it_imports(root: Path) -> None:
    names = ("ownnet/__init__", "ownnet/model", "ownnet/layers", "ownhelp", "ownfar")
    expected = {name.replace("/", ".").removesuffix(".__init__"): root / f"{name}.py" for name in names}
    assert sources("ownnet.model") == expected


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("ownnet/model.py", "nn.Flatten(),", "nn.Flatten(), nn.ReLU(),"),
        ("ownnet/layers.py", "return nn.Linear(a, b)", "return nn.Linear(a, b, bias=False)"),
        ("ownhelp.py", "4", "5"),
        ("ownfar.py", "1", "2"),
    ],
)
def test_a_changed_network_or_source_changes_the_fingerprint(root: Path, file: str, old: str, new: str) -> None:
    before = of_model()
    (root / file).write_text((root / file).read_text().replace(old, new))
    assert of_model() != before


def test_comments_blank_lines_and_modules_that_are_not_imported_do_not_count(root: Path) -> None:
    before = of_model()
    for file in FILES:
        (root / file).write_text("# a comment\n\n" + (root / file).read_text() + "\n\n# another\n")
    (root / "ownnet" / "train.py").write_text("LR = 2\n")
    assert of_model() == before


def test_the_folder_of_the_modules_does_not_count(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = of_model()
    other = root.with_name("elsewhere")
    root.rename(other)
    monkeypatch.syspath_prepend(other)
    assert of_model() == before


def test_a_shape_that_an_installed_package_or_a_file_decides_changes_the_fingerprint(root: Path) -> None:
    (root / "ownhelp.py").write_text(
        "from pathlib import Path\nWIDTH = int(Path(__file__).with_name('w').read_text())\n"
    )
    found = []
    for width in ("4", "5"):
        (root / "w").write_text(width)
        found.append(of_model())
    assert found[0] != found[1]
