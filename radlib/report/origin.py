"""Which code, parameters and machine made a report, and what is different here."""

import json
from pathlib import Path
from typing import Any

import nbformat

from radlib.errors import UserError
from radlib.report import sources
from radlib.report.sources import git
from radlib.study import Study
from radlib.study.files import read_params

CODE = ["radlib", "notebooks", "dvc.yaml"]
_NOT_OF_THE_MACHINE = ("commit", "dirty", "notebooks", "changed_notebooks")
_MOST = 8  # changed parameters that are listed


def code_version(root: Path) -> dict[str, Any]:
    """`commit`, and `dirty`: whether `CODE` differs from it; both None where there is no git repository."""
    # The last commit of this very folder: a copy inside another repository is not that one's code.
    commit = git(root, "log", "-1", "--format=%H", "--", ".") or None
    dirty = None if commit is None else bool(git(root, "status", "--porcelain", "--", *CODE))
    return {"commit": commit, "dirty": dirty}


def notebooks(study: Study) -> dict[str, Any]:
    """`notebooks`: the digest of the code of each that was run; `changed_notebooks`: not as committed."""
    digests = {name: sources.digest(one) for name, one in sources.executed(study.report_dir).items()}
    names = sorted({name.split("-")[0] for name in digests})
    changed = [name for name in names if not sources.is_committed(study.root, name)]
    return {"notebooks": digests, "changed_notebooks": changed}


def tinkered(report: Path) -> list[str]:
    """Notebooks of a report that ran with overrides or with code that no commit holds, one sentence each.

    Raises:
        UserError: provenance.json is damaged.
    """
    recorded = _recorded(report) or {}
    digests = recorded.get("notebooks", {})
    said = [
        f"notebook {name} was run from code that is not committed"
        for name in recorded.get("changed_notebooks", [])
    ]
    for name, one in sources.executed(report).items():
        overrides = sources.parameters(one).get("overrides")
        if overrides:
            said.append(f"notebook {name} was run with overrides = {overrides}, not by params.yaml alone")
        if name in digests and digests[name] != sources.digest(one):
            said.append(f"notebook {name} holds other code than the study ran")
    return said


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
    found = [
        f"{key}: {recorded.get(key, 'not recorded')} in the report, {here.get(key, 'not recorded')} here"
        for key in dict.fromkeys([*here, *recorded])
        if key not in _NOT_OF_THE_MACHINE and recorded.get(key) != here.get(key)
    ]
    return found + _parameters(report, root) + _code(recorded, root) + _notebooks(recorded, root)


def _recorded(report: Path) -> dict | None:
    path = report / "provenance.json"
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as exc:
        raise UserError(f"{path} is damaged ({exc}); bring it back: git restore {path}") from exc


def _parameters(report: Path, root: Path) -> list[str]:
    """Against the study file of that name, or params.yaml where it is that study."""
    now = root / "studies" / f"{report.name}.yaml"
    if not now.is_file():
        now = root / "params.yaml"
    is_now = _flat(read_params(now)) if now.is_file() else {}
    if is_now.get("name") != report.name:
        return []
    was = _flat(read_params(report / "params.yaml"))
    keys = [key for key in dict.fromkeys([*was, *is_now]) if was.get(key) != is_now.get(key)]
    said = [
        f"parameters: {key} is {was.get(key, 'not set')} in the report, {is_now.get(key, 'not set')} in "
        f"{now.relative_to(root)}"
        for key in keys[:_MOST]
    ]
    return said + ([f"parameters: and {len(keys) - _MOST} more"] if len(keys) > _MOST else [])


def _flat(params: dict, above: str = "") -> dict[str, Any]:
    """Dotted key -> value."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return flat


def _code(recorded: dict, root: Path) -> list[str]:
    commit = recorded.get("commit")
    if commit is None:
        return ["code: the report does not record its commit, so code cannot be compared"]
    short = commit[:10]
    dirty = [f"code: the study ran with changes to commit {short} that are not committed"]
    said = dirty if recorded.get("dirty") else []
    changed = git(root, "diff", "--name-only", commit, "--", *CODE)
    if changed is None:
        return [*said, f"code: commit {short} is not in this repository, so code cannot be compared"]
    if changed:
        command = f"git diff {short} -- {' '.join(CODE)}"
        said.append(f"code: {len(changed.splitlines())} files changed since commit {short}; see {command}")
    return said


def _notebooks(recorded: dict, root: Path) -> list[str]:
    digests = {}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        digests[path.stem] = sources.digest(nbformat.read(path, as_version=4))
    ran = {name.split("-")[0]: digest for name, digest in recorded.get("notebooks", {}).items()}
    other = [name for name in sorted(ran) if name in digests and ran[name] != digests[name]]
    return [f"code: notebook {name} is another one here than the study ran" for name in other]
