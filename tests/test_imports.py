"""The rooms of the house: imports run down only, and each heavy library has its doors."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("search/**/*.py"), *ROOT.glob("trainables/**/*.py")])

FLOORS = (  # a module imports from its own floor or from a lower one; later means lower
    ("search.cli.app", "search.cli.cluster", "search.cli.networks"),
    ("search", "search.cli.catalog", "search.cli.best_tables"),
    (
        "search.running.run",
        "search.comparison.held_out",
        "search.report.notebook",
        "search.retrieval.best",
        "search.cluster.jobs",
        "search.results.status",
    ),
    (
        "search.report",
        "search.networks.figures",
        "search.cli.comparison_tables",
        "search.cli.network_tables",
        "search.cli.search_tables",
        "search.learnability.summary",
        "search.learnability.tables",
        "search.retrieval.registry",
        "search.running.progress",
        "search.running.callback",
        "search.running.tuner",
    ),
    (
        "search.networks.allocation",
        "search.retrieval.choosing",
        "search.retrieval.copying",
        "search.networks.probe",
        "search.networks.profile",
        "search.retrieval.latency",
        "search.comparison.compare",
        "search.comparison.search_trials",
        "search.learnability.forgetting",
        "search.learnability.label_noise",
        "search.comparison.gaps",
        "search.comparison.headline",
        "search.comparison.importance",
        "search.comparison.rank_correlation",
        "search.comparison.mismatches",
        "search.comparison.winners",
        "search.running.shared_work",
        "search.running.storage_check",
        "search.searching.searcher",
        "search.searching.density_search",
        "search.searching.optuna_results",
        "search.running.warm_start",
        "search.tracking.tracker",
    ),
    (
        "search.networks.network",
        "search.running.gpu_sharing",
        "search.tracking.mlflow_store",
        "search.tracking.inbox",
        "search.learnability.agreement",
        "search.learnability.runs",
        "search.results.folder",
        "search.results.constraints",
        "search.comparison.search_costs",
        "search.comparison.estimates",
        "search.cluster.packing",
    ),
    ("search.results.rows",),
    ("search.study.reading",),
    ("search.study.spec",),
    ("search.study.search_spec",),
    (
        "search.methods.samplers",
        "search.methods.spaces",
        "search.methods.schedulers",
        "search.searching.journal",
        "search.running.lease",
        "search.cli.options",
        "search.study.shipped",
        "search.study.strict_yaml",
        "search.results.pareto",
        "search.retrieval.atomic_folder",
        "search.results.versions",
    ),
    ("trainables.trial.trainable", "trainables.training.workers"),
    ("trainables", "trainables.catalog.tables", "trainables.evaluate", "trainables.exports.served"),
    ("trainables.training",),
    ("trainables.exports.latency",),
    (
        "trainables.allocation",
        "trainables.data",
        "trainables.checkpoints.checkpoint",
        "trainables.checkpoints.artifact_store",
        "trainables.checkpoints.pretrained",
    ),
    ("trainables.pruning", "trainables.models", "trainables.exports.export"),
    ("trainables.outcome", "trainables.training.process"),
    (
        "trainables.spec",
        "trainables.storage.strict_json",
        "trainables.lookup",
        "trainables.storage.folder",
        "trainables.storage.credentials",
        "trainables.storage.columns",
        "trainables.storage.parquet_footer",
        "trainables.checkpoints.sparse_tensors",
    ),
)

DOORS = {  # library -> the modules that may import it
    "mlflow": {"search.tracking.mlflow_store", "search.retrieval.registry"},
    "optuna": {
        "search.comparison.importance",
        "search.searching.journal",
        "search.methods.samplers",
        "search.searching.searcher",
        "search.searching.density_search",
        "search.methods.spaces",
        "search.searching.optuna_results",
    },
    "ray": {
        "search.cluster.jobs",
        "search.running.shared_work",
        "search.running.storage_check",
        "search.running.callback",
        "search.methods.schedulers",
        "search.searching.searcher",
        "search.running.gpu_sharing",
        "search.running.tuner",
        "trainables.trial.trainable",
        "trainables.training.workers",
    },
    "matplotlib": {"search.report", "search.networks.figures"},
    "typer": {"search.cli.app", "search.cli.cluster", "search.cli.networks", "search.cli.options"},
    "torch_pruning": {"trainables.pruning.channel_groups"},
    "torchvision": {"trainables.models.hub", "trainables.data"},
    "sklearn": {"trainables.data"},
    "safetensors": {"trainables.checkpoints.checkpoint", "trainables.checkpoints.pretrained"},
    "onnxruntime": {"trainables.exports.export"},
    "yaml": {"search.study.strict_yaml", "search.cluster.packing"},
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
