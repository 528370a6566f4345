"""The code of notebooks: whether it is the committed one, and whether a report was run from it."""

import ast
import hashlib
import subprocess
from pathlib import Path
from typing import Any

import nbformat

GIVEN = {"dataset", "source", "task", "overrides", "save"}
"""What the pipeline gives to every notebook that has it; what the notebook says of it changes nothing."""


def digest(notebook: nbformat.NotebookNode) -> str:
    """SHA-256 of the code, without text, outputs, and the values that the pipeline gives."""
    cells = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and "injected-parameters" not in _tags(cell)
    ]
    code = [_without_given(cell.source) if "parameters" in _tags(cell) else cell.source for cell in cells]
    return hashlib.sha256("\0".join(text.strip() for text in code).encode()).hexdigest()


def is_committed(root: Path, name: str) -> bool:
    """Whether the code of `notebooks/<name>.ipynb` is that of the last commit; True without git."""
    text = git(root, "show", f"HEAD:./notebooks/{name}.ipynb")
    here = nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)
    return text is None or digest(nbformat.reads(text, as_version=4)) == digest(here)


def parameters(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """The values with which an executed notebook ran: those of its first cell, then those it was given."""
    cells = [cell.source for cell in notebook.cells if _tags(cell) & {"parameters", "injected-parameters"}]
    return {name: ast.literal_eval(value) for source in cells for name, value in _assigned(source)}


def executed(report: Path) -> dict[str, nbformat.NotebookNode]:
    """The study's notebooks in a report by their names, such as 03_transfer-thyroid_us."""
    paths = sorted(report.glob("notebooks/[0-9][0-9]_*.ipynb"))
    return {path.stem: nbformat.read(path, as_version=4) for path in paths}


def git(root: Path, *arguments: str) -> str | None:
    """What git answers; None where it cannot: no git, no repository, no such commit."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def _without_given(source: str) -> str:
    kept = [s for s in ast.parse(source).body if not (isinstance(s, ast.Assign) and _target(s) in GIVEN)]
    return "\n".join(map(ast.unparse, kept))


def _assigned(source: str) -> list[tuple[str, ast.expr]]:
    statements = [s for s in ast.parse(source).body if isinstance(s, ast.Assign)]
    return [(_target(s), s.value) for s in statements]


def _target(statement: ast.Assign) -> str:
    return ast.unparse(statement.targets[0])
