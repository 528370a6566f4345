"""`dvc.yaml` lists all the code that its stages run, and no code that they do not."""

from pathlib import Path

import pytest
import yaml

from radlib import code
from tests.conftest import REPOSITORY, imports_of

STAGES = {
    name: stage.get("do", stage)
    for name, stage in yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"].items()
    if name != "study"  # it runs every time
}
# What starts and watches a stage settles nothing that the stage writes; images that are simulated are their
# dataset's `path`, which is listed as such.
UNLISTED = ("run/", "simulate/", "code.py", "errors.py", "progress.py")


def run_by(stage: dict) -> set[str]:
    """Files of the library, relative to the repository, that a stage's command imports."""
    words = stage["cmd"].split()
    if "checkpoint" in words:
        modules = {"radlib.networks.checkpoints"}
    else:
        name = words[words.index("notebook") + 1]
        modules = imports_of(REPOSITORY / "notebooks" / f"{name}.ipynb")
    files = [path.relative_to(code.ROOT).as_posix() for path in code.files_of(modules)]
    return {f"radlib/{file}" for file in files if not file.startswith(UNLISTED) and file != "__init__.py"}


def listed(stage: dict) -> set[str]:
    return {str(dep) for dep in stage["deps"] if str(dep).startswith("radlib/")}


def covers(entry: str, file: str) -> bool:
    return entry == file or Path(entry) in Path(file).parents


@pytest.mark.parametrize("name", STAGES)
def test_code_that_runs_is_a_dependency_and_other_code_is_not(name):
    files, entries = run_by(STAGES[name]), listed(STAGES[name])
    # a package's first lines import nothing here; they come with whatever is listed of it
    lacking = {f for f in files if Path(f).name != "__init__.py" and not any(covers(e, f) for e in entries)}
    assert not lacking, f"add to the deps of {name} in dvc.yaml"
    idle = {e for e in entries if not any(covers(e, f) for f in files)}
    assert not idle, f"take from the deps of {name} in dvc.yaml"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_its_notebook(name):
    words = STAGES[name]["cmd"].split()
    if "notebook" in words:
        assert f"notebooks/{words[words.index('notebook') + 1]}.ipynb" in STAGES[name]["deps"]


@pytest.mark.parametrize("name", ["pretrain", "transfer", "segment"])
def test_editing_the_bootstrap_runs_nothing_that_trains(name):
    assert not any(covers(entry, "radlib/stats/bootstrap.py") for entry in listed(STAGES[name]))
