"""Which code, parameters and machine made a report, and what is different here."""

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from radlib.errors import UserError

CODE = ["radlib", "notebooks", "dvc.yaml"]
_MOST = 8  # changed parameters that are listed


def code_version(root: Path) -> dict[str, Any]:
    """`commit`, and `dirty`: whether `CODE` differs from it; both None where there is no git repository."""
    # The last commit of this very folder: a copy inside another repository is not that one's code.
    commit = _git(root, "log", "-1", "--format=%H", "--", ".") or None
    dirty = None if commit is None else bool(_git(root, "status", "--porcelain", "--", *CODE))
    return {"commit": commit, "dirty": dirty}


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
        if key not in ("commit", "dirty") and recorded.get(key) != here.get(key)
    ]
    return found + _parameters(report, root) + _code(recorded, root)


def _recorded(report: Path) -> dict | None:
    path = report / "provenance.json"
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as exc:
        raise UserError(f"{path} is damaged ({exc}); bring it back: git restore {path}") from exc


def _parameters(report: Path, root: Path) -> list[str]:
    """Against the study file of that name, where there is one."""
    now = root / "studies" / f"{report.name}.yaml"
    if not now.is_file():
        return [f"parameters: there is no studies/{now.name} to compare with"]
    was, is_now = (_flat(yaml.safe_load(path.read_text())) for path in (report / "params.yaml", now))
    keys = [key for key in dict.fromkeys([*was, *is_now]) if was.get(key) != is_now.get(key)]
    said = [
        f"parameters: {key} is {was.get(key, 'not set')} in the report, {is_now.get(key, 'not set')} in "
        f"studies/{now.name}"
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
    changed = _git(root, "diff", "--name-only", commit, "--", *CODE)
    if changed is None:
        return [*said, f"code: commit {short} is not in this repository, so code cannot be compared"]
    if changed:
        command = f"git diff {short} -- {' '.join(CODE)}"
        said.append(f"code: {len(changed.splitlines())} files changed since commit {short}; see {command}")
    return said


def _git(root: Path, *arguments: str) -> str | None:
    """What git answers; None where it cannot: no git, no repository, no such commit."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
