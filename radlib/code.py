"""Which of the library's files a piece of work runs, and a digest of what they say.

DVC lists these files as dependencies of its stages; digests in the run store hold those that settle a number.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).parent
# Nothing in these changes a number: parameters enter a digest as values; the rest moves, stores and shows.
SILENT = ("study", "store", "errors", "progress", "show", "machines", "run", "code")


def files_of(modules: Iterable[str]) -> list[Path]:
    """The modules' files and those of all that they import from the library, directly or not; sorted.

    Args:
        modules: dotted names, such as `radlib.training.transfer`.
    """
    graph, names = _graph(), set()
    for module in modules:
        names |= {module, *graph.find_upstream_modules(module)}
    packages = {name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)}
    paths = [ROOT.joinpath(*name.split(".")[1:]) for name in names | packages]
    return sorted(path / "__init__.py" if path.is_dir() else path.with_suffix(".py") for path in paths)


@cache
def code_digest(module: str) -> str:
    """A digest (16 hex digits) of what the module runs, without comments, docstrings and layout.

    An edit that could change a result changes it, and work stored under another digest is computed again.
    """
    total = hashlib.sha256()
    for path in files_of([module]):
        if path.relative_to(ROOT).with_suffix("").parts[0] not in SILENT:
            total.update(f"{path.relative_to(ROOT)}\n{_statements(path)}\n".encode())
    return total.hexdigest()[:16]


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph("radlib", cache_dir=None)


def _statements(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body[0] = ast.Pass()
    return ast.unparse(tree)
