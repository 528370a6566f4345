"""What a piece of work runs, and when an edit changes its digest."""

import shutil
import subprocess
import sys

import pytest

from radlib import code
from tests.conftest import REPOSITORY, imports_of


def relative(paths) -> set[str]:
    return {path.relative_to(code.ROOT).as_posix() for path in paths}


def loaded_by(module: str) -> set[str]:
    """Files of the library that Python itself loads for a module."""
    say = f"import sys, {module}; print(*[m.__file__ for n, m in sys.modules.items() if n[:6] == 'radlib'])"
    out = subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True).stdout
    return {path.rpartition("/radlib/")[2] for path in out.split()}


@pytest.mark.parametrize("module", ["radlib.training.transfer", "radlib.questions.validity"])
def test_all_that_python_loads_is_listed(module):
    assert loaded_by(module) <= relative(code.files_of([module]))


def test_a_notebook_imports_packages_and_modules():
    found = imports_of(REPOSITORY / "notebooks" / "04_transfer.ipynb")
    assert {"radlib.study", "radlib.training.transfer"} <= found and "radlib.questions" not in found


@pytest.mark.parametrize(
    ("file", "edit", "changes"),
    [
        ("training/grid.py", "\n# a remark\n", False),
        ("training/grid.py", "\nlimit = 3\n", True),
        ("networks/learners.py", "\nlimit = 3\n", True),
        ("stats/bootstrap.py", "\nlimit = 3\n", False),
        ("progress.py", "\nlimit = 3\n", False),
    ],
)
def test_edits_that_train_again(tmp_path, monkeypatch, file, edit, changes):
    copy = shutil.copytree(code.ROOT, tmp_path / "radlib")
    before = code.code_digest("radlib.training.transfer")
    with (copy / file).open("a") as source:
        source.write(edit)
    monkeypatch.setattr(code, "ROOT", copy)
    assert (code.code_digest.__wrapped__("radlib.training.transfer") != before) == changes
