"""The rooms of the house: imports run down only, and each heavy library has its doors."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("search/**/*.py"), *ROOT.glob("trainables/**/*.py")])

FLOORS = (  # a room imports from lower floors only; later means lower
    ("search.cli",),
    ("search",),
    ("search.running", "search.samples"),
    ("search.report", "search.verification"),
    ("search.networks", "search.report.sections"),
    ("search.figures", "search.retrieval"),
    ("search.comparison", "search.searching", "search.tracking"),
    ("search.cluster", "search.results"),
    ("search.study",),
    ("search.methods",),
    ("trainables.trial",),
    ("trainables", "trainables.artifacts", "trainables.catalog"),
    ("trainables.evaluate", "trainables.learnability"),
    ("trainables.allocation",),
    ("trainables.latency",),
    ("trainables.training",),
    ("trainables.compensation",),
    ("trainables.exports", "trainables.pruning"),
    ("trainables.checkpoints", "trainables.data", "trainables.tracing"),
    ("trainables.outcome",),
    ("trainables.models", "trainables.spec", "trainables.task.adapters"),
    ("trainables.task",),
    (
        *("trainables.curriculum_spec", "trainables.data_spec", "trainables.device_spec", "trainables.plugins"),
        *("trainables.pruning_spec", "trainables.recipe"),
    ),
    ("trainables.mistakes", "trainables.names", "trainables.own_function", "trainables.task_spec"),
    (
        *("trainables.arguments", "trainables.counts", "trainables.frozen", "trainables.garbage", "trainables.lookup"),
        "trainables.storage",
    ),
)

DOORS = {  # library -> the modules that may import it
    "mlflow": {"search.tracking.mlflow_store", "search.retrieval.registry"},
    "optuna": {
        "search.comparison.importance",
        "search.methods.contract",
        "search.methods.samplers",
        "search.methods.spaces",
        "search.searching",
    },
    "ray": {
        "search.cluster.jobs",
        "search.methods.contract",
        "search.methods.schedulers",
        "search.running",
        "search.searching.searcher",
        "trainables.training.workers",
        "trainables.trial.trainable",
    },
    "matplotlib": {"search.figures", "search.samples", "search.networks.curves", "search.report"},
    "typer": {"search.cli"},
    "jinja2": {"search.report.html"},
    "torchvision": {"trainables.models.hub", "trainables.data"},
    "timm": {"trainables.models.libraries"},
    "transformers": {"trainables.models.libraries"},
    "lightning": set(),  # its adapter reads what users have, and imports nothing
    "sklearn": {"trainables.data", "trainables.learnability.detection"},
    "safetensors": {"trainables.checkpoints"},
    "onnxruntime": {"trainables.exports.onnx_file", "trainables.exports.quantise"},
    "tenacity": {"search.cluster.jobs", "search.tracking.tracker", "trainables.storage.folder"},
    "psutil": {"search.running.lease", "trainables.data.memory"},
    "yaml": {"search.study.strict_yaml", "search.cluster.packing"},
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def room_of(module: str) -> str:
    """Find the folder that a file lies in; a file beside the folders is a room of its own."""
    folder = MODULES[module].parent
    return module if folder.parent == ROOT else ".".join(folder.relative_to(ROOT).parts)


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, those inside functions included; type-checking ones are left out."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in full}
    return found


GRAPH = {module: imports_of(path) & MODULES.keys() for module, path in MODULES.items()}


def floor_of(room: str) -> int:
    (floor,) = (floor for floor, rooms in enumerate(FLOORS) if room in rooms)
    return floor


def test_every_room_is_on_one_floor() -> None:
    assert sorted(room for rooms in FLOORS for room in rooms) == sorted({room_of(module) for module in MODULES})


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_down_only(module: str) -> None:
    own = room_of(module)
    for other in {room_of(imported) for imported in GRAPH[module]} - {own}:
        assert floor_of(other) > floor_of(own), f"{module} imports from {other}, which is not below {own}"


def test_no_files_import_each_other_in_a_circle() -> None:
    tuple(TopologicalSorter(GRAPH).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize(
    "room", [module for module, path in MODULES.items() if path.parents[1] != ROOT and path.stem == "__init__"]
)
def test_each_room_says_what_it_is_for_and_what_it_hands_out(room: str) -> None:
    doc = ast.get_docstring(ast.parse((ROOT.joinpath(*room.split(".")) / "__init__.py").read_text())) or ""
    purpose, _, listed = doc.partition("\n\nHands out: ")
    assert purpose.endswith("."), "one sentence says what the room is for"
    used = {
        imported.removeprefix(f"{room}.")
        for module, imports in GRAPH.items()
        for imported in imports
        if room_of(imported) == room != room_of(module)
    }
    assert set(listed.rstrip(".").replace("\n", " ").split(", ")) - {""} == used, f"{room} hands out {sorted(used)}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_heavy_libraries_come_in_by_their_doors(path: Path) -> None:
    own = module_of(path)
    for imported in imports_of(path):
        doors = DOORS.get(imported.split(".")[0])
        assert doors is None or any(own == door or own.startswith(f"{door}.") for door in doors), f"{own}: {imported}"


def test_trainables_never_know_the_search() -> None:
    for path in ROOT.glob("trainables/**/*.py"):
        assert not any(imported.split(".")[0] == "search" for imported in imports_of(path)), path


def test_every_file_is_one_idea() -> None:
    long = {module_of(path): lines for path in FILES if (lines := len(path.read_text().splitlines())) > 250}
    assert not long
