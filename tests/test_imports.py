"""The rooms of the house: imports run down only, and each heavy library has its doors."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("search/**/*.py"), *ROOT.glob("trainables/**/*.py")])

FLOORS = (  # a module imports from its own floor or from a lower one; later means lower
    ("search.cli", "search.cli_cluster", "search.cli_networks"),
    ("search", "search.listing", "search.receipts"),
    ("search.running", "search.held_out", "search.notebook", "search.retrieval", "search.jobs", "search.status"),
    (
        "search.report",
        "search.pictures",
        "search.tables",
        "search.network_tables",
        "search.search_tables",
        "search.learning",
        "search.sample_tables",
        "search.registry",
        "search.progress",
        "search.relay",
        "search.tune",
    ),
    (
        "search.allocating",
        "search.choosing",
        "search.copying",
        "search.probing",
        "search.profiling",
        "search.stopwatch",
        "search.comparison",
        "search.evaluated",
        "search.forgotten",
        "search.mislabelled",
        "search.gaps",
        "search.headline",
        "search.importance",
        "search.ranking",
        "search.unlike",
        "search.winners",
        "search.prepare",
        "search.reach",
        "search.searcher",
        "search.searches",
        "search.verdicts",
        "search.adoption",
        "search.tracking",
    ),
    (
        "search.networks",
        "search.sharing",
        "search.mlflow_store",
        "search.events",
        "search.agreement",
        "search.samples",
        "search.results",
        "search.constraints",
        "search.costs",
        "search.estimates",
        "search.packing",
    ),
    ("search.rows",),
    ("search.study_file",),
    ("search.study",),
    ("search.search_spec",),
    (
        "search.samplers",
        "search.spaces",
        "search.schedulers",
        "search.journal",
        "search.lease",
        "search.arguments",
        "search.package_files",
        "search.plain_yaml",
        "search.fronts",
        "search.replacing",
        "search.versions",
    ),
    ("trainables.trial", "trainables.workers"),
    ("trainables", "trainables.catalog", "trainables.evaluate", "trainables.served"),
    ("trainables.learning",),
    ("trainables.latency",),
    (
        "trainables.allocation",
        "trainables.data",
        "trainables.checkpoints",
        "trainables.artifacts",
        "trainables.pretrained",
    ),
    ("trainables.pruning", "trainables.models", "trainables.export"),
    ("trainables.outcome", "trainables.process"),
    (
        "trainables.spec",
        "trainables.strict",
        "trainables.tables",
        "trainables.storage",
        "trainables.credentials",
        "trainables.columns",
        "trainables.footer",
        "trainables.compressed",
    ),
)

DOORS = {  # library -> the modules that may import it
    "mlflow": {"search.mlflow_store", "search.registry"},
    "optuna": {
        "search.importance",
        "search.journal",
        "search.samplers",
        "search.searcher",
        "search.searches",
        "search.spaces",
        "search.verdicts",
    },
    "ray": {
        "search.jobs",
        "search.prepare",
        "search.reach",
        "search.relay",
        "search.schedulers",
        "search.searcher",
        "search.sharing",
        "search.tune",
        "trainables.trial",
        "trainables.workers",
    },
    "matplotlib": {"search.report", "search.pictures"},
    "typer": {"search.cli", "search.cli_cluster", "search.cli_networks", "search.arguments"},
    "torch_pruning": {"trainables.pruning.coupling"},
    "torchvision": {"trainables.models.hub", "trainables.data"},
    "sklearn": {"trainables.data"},
    "safetensors": {"trainables.checkpoints", "trainables.pretrained"},
    "onnxruntime": {"trainables.export"},
    "yaml": {"search.plain_yaml", "search.packing"},
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


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
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def floor_of(module: str) -> int:
    """Find the floor of the longest prefix that is on one."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        for floor, rooms in enumerate(FLOORS):
            if ".".join(parts[:length]) in rooms:
                return floor
    raise AssertionError(f"{module} is on no floor")


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_run_down_only(path: Path) -> None:
    own = module_of(path)
    for imported in imports_of(path):
        if imported.split(".")[0] in ("search", "trainables"):
            assert floor_of(imported) >= floor_of(own), f"{own} imports {imported} from a floor above"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_heavy_libraries_come_in_by_their_doors(path: Path) -> None:
    own = module_of(path)
    for imported in imports_of(path):
        doors = DOORS.get(imported.split(".")[0])
        assert doors is None or any(own == door or own.startswith(f"{door}.") for door in doors), f"{own}: {imported}"


def test_trainables_never_know_the_search() -> None:
    for path in ROOT.glob("trainables/**/*.py"):
        assert not any(imported.split(".")[0] == "search" for imported in imports_of(path)), path


def test_every_file_is_one_room() -> None:
    long = {module_of(path): lines for path in FILES if (lines := len(path.read_text().splitlines())) > 250}
    assert not long
