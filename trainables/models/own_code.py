"""The user's own code: the modules that a model is written in, and a fingerprint of the network that they build.

Modules of installed packages, of Python itself and of this project do not count as the user's own.
"""

import ast
import hashlib
import io
import sys
import tokenize
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import torch

from trainables.models import hub
from trainables.plugins import NEEDS, FunctionKind, needs_of

OURS = ("search", "trainables")
SKIPPED = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING)  # tokens that change no program


def fingerprint(model: str, num_classes: int, in_channels: int) -> str:
    """Return 16 hexadecimal digits that change with the network of a user's function "package.module:function".

    These count: the names, shapes and dtypes of all parameters and buffers, and the sources of the function's module
    and of the user's own modules that it imports, directly or not. Docstrings count. Comments, blank lines, the folder
    of the modules, installed packages, and files that the code reads do not count.
    Raises ValueError as `hub.build` does.
    """
    whole = hashlib.sha256()
    for name, tensor in hub.build_blank(model, num_classes, in_channels).state_dict(keep_vars=True).items():
        if isinstance(tensor, torch.Tensor):
            whole.update(f"{name}\0{tuple(tensor.shape)}\0{tensor.dtype}\n".encode())
    _add_sources(whole, model.partition(":")[0])
    return whole.hexdigest()[:16]


def checksum(module: str) -> str:
    """Return 16 hexadecimal digits that change with the sources of a module, as in `fingerprint`."""
    whole = hashlib.sha256()
    _add_sources(whole, module)
    return whole.hexdigest()[:16]


def described(functions: Mapping[str, FunctionKind]) -> dict[str, str]:
    """Describe functions as `plugins.code_of` takes them: name -> checksum and inputs.

    functions: name -> kind. Those that have `NEEDS` are imported. Raises ValueError as `plugins.load`.
    """
    return {
        name: " ".join([checksum(name.partition(":")[0]), *(needs_of(kind, name).inputs if kind in NEEDS else ())])
        for name, kind in functions.items()
    }


def _add_sources(whole: "hashlib._Hash", module: str) -> None:
    for name, file in sorted(sources(module).items()):
        whole.update(f"{name}\0{_program(file.read_bytes())}\n".encode())


def own_paths(name: str) -> list[Path]:
    """Find the folders or the file of a top-level module; none if it is installed or not the user's own."""
    spec = None if name in OURS or name in sys.stdlib_module_names else find_spec(name)
    if spec is None:
        return []
    paths = [Path(path) for path in spec.submodule_search_locations or [spec.origin or ""]]
    return [
        path
        for path in paths
        if (path.is_dir() or path.suffix == ".py") and not {"site-packages", "dist-packages"}.intersection(path.parts)
    ]


def sources(module: str) -> dict[str, Path]:
    """Find the files of a module and of the user's own modules that it imports: dotted name -> file.

    Packages that contain an imported module count, too, as Python runs them first. No module is imported.
    """
    found: dict[str, Path] = {}
    waiting, seen = [module], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting += [name.rpartition(".")[0]] if "." in name else []
        if file := _file(name):
            found[name] = file
            package = name if file.stem == "__init__" else name.rpartition(".")[0]
            waiting += _imported(file, package)
    return found


def imported_packages(file: Path) -> set[str]:
    """List the top-level modules that a file imports, without relative imports; none of a file that is no program."""
    found = set[str]()
    for node in _imports(file):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _file(module: str) -> Path | None:
    top, *inner = module.split(".")
    for path in own_paths(top):
        if path.is_file():
            return None if inner else path
        below = path.joinpath(*inner)
        for file in (below / "__init__.py", below.with_suffix(".py")):
            if file.is_file():
                return file
    return None


def _imported(file: Path, package: str) -> Iterator[str]:
    """List all that a file may import; a name that is imported from a package may be a module or not."""
    for node in _imports(file):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _imports(file: Path) -> Iterator[ast.Import | ast.ImportFrom]:
    """Find the import statements of a file; none of a file that is no program."""
    with suppress(SyntaxError, ValueError):  # ValueError: no text
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield node


def _program(source: bytes) -> str:
    """Return the tokens of a source file without comments; the bytes themselves where it is no Python."""
    try:
        tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
    except (SyntaxError, tokenize.TokenError, UnicodeDecodeError):
        return source.hex()
    return "\n".join(_text(token) for token in tokens if token.type not in SKIPPED)


def _text(token: tokenize.TokenInfo) -> str:
    spaces = (tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE)
    return tokenize.tok_name[token.type] if token.type in spaces else token.string
