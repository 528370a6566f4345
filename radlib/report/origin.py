"""Which code, parameters and machine made a report, and what is different here."""

import ast
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import yaml

from radlib.errors import explained, listed
from radlib.study import Study
from radlib.study.files import read_params

CODE = ["radlib", "notebooks", "dvc.yaml"]
_NOT_OF_THE_MACHINE = ("commit", "dirty", "notebooks", "changed_notebooks")
# What the pipeline gives to every notebook that has it; what the notebook says of it changes nothing.
_GIVEN = {"dataset", "source", "task", "overrides", "save"}

_WORDS = {"title", "about", "publisher", "licence", "url", "expected", "notes", "history", "validity"}

_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of libyaml, ten times as fast, where it was built

# What is recorded -----------------------------------------------------------------------------------------


def recorded_of(study: Study) -> dict[str, Any]:
    """What `provenance.json` says of code.

    `commit`, and `dirty`: whether `CODE` differs from it, both None where there is no git repository;
    `notebooks`: the digest of the code of each that was run; `changed_notebooks`: those not as committed.
    """
    # The last commit of this very folder: a copy inside another repository is not that one's code.
    commit = _git(study.root, "log", "-1", "--format=%H", "--", ".") or None
    dirty = None if commit is None else bool(_git(study.root, "status", "--porcelain", "--", *CODE))
    digests = {name: _digest(one) for name, one in _executed(study.report_dir).items()}
    names = sorted({name.split("-")[0] for name in digests})
    changed = [name for name in names if not is_committed(study.root, name)]
    return {"commit": commit, "dirty": dirty, "notebooks": digests, "changed_notebooks": changed}


def is_committed(root: Path, name: str) -> bool:
    """Whether the code of `notebooks/<name>.ipynb` is that of the last commit; True without git."""
    text = _git(root, "show", f"HEAD:./notebooks/{name}.ipynb")
    here = nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)
    return text is None or _digest(nbformat.reads(text, as_version=4)) == _digest(here)


def plan_of(study: Study) -> tuple[str, str]:
    """The commits since which `compare`, and all parameters but words, stand in the study's file as they do.

    `0123abcd of 2026-11-28` each; empty where no commit holds the parameters as they are.
    """
    file = f"studies/{study.name}.yaml"
    here = (study.root / "params.yaml").read_text(encoding="utf-8")
    if (_git(study.root, "show", f"HEAD:./{file}") or "").strip() != here.strip():
        return "", ""
    plan = _without_words(yaml.safe_load(here))
    claim = _since(study.root, file, lambda then: then.get("compare") == plan.get("compare"))
    return claim, _since(study.root, file, plan.__eq__)


def _since(root: Path, file: str, same: Callable[[dict], bool]) -> str:
    """The oldest commit of those after the last in which a study's file was not the `same`.

    The last is sought along first parents; what a merge brought in is dated by the commit that made it.
    """

    def commits(*where: str) -> list[str]:
        return (_git(root, "log", *where, "--format=%h of %cs", "--", file) or "").splitlines()

    def is_same(commit: str) -> bool:
        text = _git(root, "show", f"{commit.split()[0]}:./{file}") or ""
        return same(_without_words(yaml.load(text, Loader=_FAST)) or {})

    other = next((commit for commit in commits("--first-parent") if not is_same(commit)), None)
    after = commits(f"{other.split()[0]}..HEAD") if other else commits()
    return next(filter(is_same, reversed(after)), "")


def _without_words(params: Any) -> Any:
    """Parameters without those that no number of the comparison depends on."""
    if not isinstance(params, dict):
        return params
    return {key: _without_words(value) for key, value in params.items() if key not in _WORDS}


def plan_sentence(study: Study) -> str:
    """When the plan was fixed, as far as anybody can check, and that results may have been known."""
    claim, whole = plan_of(study)
    said = f"Plan: `compare` stands as it is since commit {claim}."
    if claim != whole:
        notes = " (see the notes)" if study.notes else ""
        said += f" Parameters outside it were last changed in commit {whole}{notes}."
    if not claim:
        said = "No commit holds this plan, so nobody can see when it was made."
    known = " It was made after the results under *History of this result*, of the same tasks and patients."
    return said + (known if study.history else "")


# What is different ----------------------------------------------------------------------------------------


def tinkered(report: Path) -> list[str]:
    """Notebooks of a report that ran with code that no commit holds, one sentence each.

    Raises:
        UserError: provenance.json is damaged.
    """
    changed = (_recorded(report) or {}).get("changed_notebooks", [])
    return [f"notebook {name} was run from code that is not committed" for name in changed]


def differences(report: Path, here: dict[str, Any], root: Path) -> list[str]:
    """What a report records of its making that is otherwise here, one sentence each, without full stop.

    Args:
        report: folder of the report. here: `compute.provenance()`. root: the repository's folder.
    Raises:
        UserError: provenance.json is damaged.
    """
    recorded = _recorded(report)
    if recorded is None:
        return ["provenance: the report has no provenance.json, so versions and machine cannot be compared"]
    machine = {key: value for key, value in recorded.items() if key not in _NOT_OF_THE_MACHINE}
    found = [
        f"{key}: {was} in the report, {now} here" for key, was, now in _unlike(machine, here, "not recorded")
    ]
    return found + _parameters(report, root) + _code(recorded, root) + _notebooks(recorded, root)


def _recorded(report: Path) -> dict | None:
    path = report / "provenance.json"
    if not path.is_file():
        return None
    with explained((ValueError, TypeError), f"{path} is damaged", f"bring it back: git restore {path}"):
        return dict(json.loads(path.read_text(encoding="utf-8")))


def _unlike(was: dict[str, Any], now: dict[str, Any], absent: str) -> list[tuple[str, Any, Any]]:
    """(key, value then, value now) of what differs."""
    keys = [key for key in dict.fromkeys([*was, *now]) if was.get(key) != now.get(key)]
    return [(key, was.get(key, absent), now.get(key, absent)) for key in keys]


def _parameters(report: Path, root: Path) -> list[str]:
    """Against the study file of that name, or params.yaml where it is that study."""
    now = root / "studies" / f"{report.name}.yaml"
    if not now.is_file():
        now = root / "params.yaml"
    here = read_params(now) if now.is_file() else {}
    if here.get("name") != report.name:
        return []
    # Dotted key -> value.
    (was,), (is_now,) = (
        pd.json_normalize(params).to_dict("records") for params in (read_params(report / "params.yaml"), here)
    )
    unlike = _unlike(was, is_now, "not set")
    said = [f"{key} is {a} in the report, {b} in {now.relative_to(root)}" for key, a, b in unlike]
    return [f"parameters: {listed(said, most=8, between='; ')}"] if said else []


def _code(recorded: dict, root: Path) -> list[str]:
    commit = recorded.get("commit")
    if commit is None:
        return ["code: the report does not record its commit, so code cannot be compared"]
    short = commit[:10]
    dirty = [f"code: the study ran with changes to commit {short} that are not committed"]
    said = dirty if recorded.get("dirty") else []
    changed = _git(root, "diff", "--name-only", commit, "--", *CODE)
    if changed is None:
        return [*said, f"code: commit {short} is not in this repository, so code cannot be compared"]
    if changed:
        command = f"git diff {short} -- {' '.join(CODE)}"
        said.append(f"code: {len(changed.splitlines())} files changed since commit {short}; see {command}")
    return said


def _notebooks(recorded: dict, root: Path) -> list[str]:
    ran = {name.split("-")[0]: digest for name, digest in recorded.get("notebooks", {}).items()}
    here = {path.stem: path for path in (root / "notebooks").glob("*.ipynb")}
    other = [n for n in sorted(ran) if n in here and ran[n] != _digest(nbformat.read(here[n], as_version=4))]
    return [f"code: notebook {name} is another one here than the study ran" for name in other]


# The code of a notebook -----------------------------------------------------------------------------------


def _executed(report: Path) -> dict[str, nbformat.NotebookNode]:
    """The study's notebooks in a report by their names, such as 04_transfer-thyroid_us."""
    paths = sorted(report.glob("notebooks/[0-9][0-9]_*.ipynb"))
    return {path.stem: nbformat.read(path, as_version=4) for path in paths}


def _digest(notebook: nbformat.NotebookNode) -> str:
    """SHA-256 of the code, without text, outputs, and the values that the pipeline gives."""
    code = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags:
            kept = [s for s in ast.parse(cell.source).body if _target(s) not in _GIVEN]
            code.append("\n".join(map(ast.unparse, kept)))
        elif cell.cell_type == "code" and "injected-parameters" not in tags:
            code.append(cell.source.strip())
    return hashlib.sha256("\0".join(code).encode()).hexdigest()


def _target(statement: ast.stmt) -> str:
    """The name that a statement sets; '' of other statements."""
    return ast.unparse(statement.targets[0]) if isinstance(statement, ast.Assign) else ""


def _git(root: Path, *arguments: str) -> str | None:
    """What git answers; None where it cannot: no git, no repository, no such commit."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
