"""Nothing that is read can be code: no room knows a way to turn bytes or text into it."""

import ast
from pathlib import Path

import pytest

from tests.test_imports import FILES, imports_of, module_of

LIBRARIES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "code", "codeop"}
CALLS = {"eval", "exec", "compile", "__import__"}  # of Python itself; methods of these names are others
METHODS = {
    *("unsafe_load", "full_load", "load_all", "unsafe_load_all", "full_load_all"),  # PyYAML
    *("read_pickle", "load_state_dict_from_url", "restore"),  # pandas, torchvision, Ray Tune
}
IMPORTERS = {"trainables.own_function"}  # where a function of the user is found by its name
PLAIN = {"search.study.strict_yaml": "_Plain"}  # room -> the loader that it gives yaml.load


def complaint(call: ast.Call, room: str) -> str | None:
    """Say what is wrong with a call."""
    function, options = call.func, {keyword.arg: keyword.value for keyword in call.keywords}
    if isinstance(function, ast.Name):
        return function.id if function.id in CALLS else None
    if not isinstance(function, ast.Attribute):
        return None
    owner, name = ast.unparse(function.value), function.attr
    if name in METHODS:
        return f"{owner}.{name}"
    if (owner, name) == ("torch", "load") and ast.unparse(options.get("weights_only", ast.Constant(None))) != "True":
        return "torch.load without weights_only=True"
    if name == "load" and "allow_pickle" in options:
        return "allow_pickle"
    if (owner, name) == ("yaml", "load") and ast.unparse(call.args[1]) != PLAIN.get(room):
        return "yaml.load with another loader"
    return "importlib.import_module" if name == "import_module" and room not in IMPORTERS else None


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_room_can_read_code(path: Path) -> None:
    room, tree = module_of(path), ast.parse(path.read_text())
    found = [complaint(node, room) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not list(filter(None, found))
    assert not {imported.partition(".")[0] for imported in imports_of(path)} & LIBRARIES


@pytest.mark.parametrize(
    "text",
    [
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, yaml.Loader)",
        "yaml.unsafe_load(text)",
        "pd.read_pickle(path)",
        "importlib.import_module(name)",
    ],
)
def test_what_is_forbidden_is_seen(text: str) -> None:
    (statement,) = ast.parse(text).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    assert complaint(statement.value, "search.study.strict_yaml")
