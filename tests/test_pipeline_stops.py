"""Notebooks that stop. In a file of its own, so that it runs beside the whole study of test_pipeline."""

import subprocess

import nbformat
import pytest
import yaml

from radlib.errors import UserError
from radlib.report import origin
from radlib.run.choose import choose, mend_record
from radlib.run.notebooks import run_notebook
from radlib.study import load_study
from tests.test_pipeline import call, copy_repository

PARAMETERS = "overrides = {'seed': 3}\nsave = False"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    copy = copy_repository(tmp_path / "copy")
    monkeypatch.chdir(copy)
    return copy


def write(folder, *code: str, name: str = "20_small", given: str = PARAMETERS) -> None:
    cells = [nbformat.v4.new_code_cell(text) for text in (given, *code)]
    cells[0].metadata["tags"] = ["parameters"]
    language = {"language_info": {"name": "python"}}
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata=language), folder / "notebooks" / f"{name}.ipynb"
    )


def commit(folder) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["add", "."], [*who, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def test_notebook_that_stops_prints_one_sentence(folder):
    choose("smoke", "")
    output = call(folder, "python", "-m", "radlib.run", "notebook", "04_transfer", "task=breast_us", code=1)
    assert "Stopped: dataset 'breast_us' is not prepared" in output
    assert "Traceback" not in output
    assert not (folder / "reports" / "smoke" / "notebooks" / "04_transfer-breast_us.ipynb").exists()


@pytest.mark.parametrize(
    ("name", "parameters", "sentence"),
    [
        ("02_small", {}, "no notebook .*02_small.ipynb; there are: 00_database, 01_data"),
        ("20_small", {"datset": "x"}, "notebook 20_small has no parameter 'datset'; .*: overrides, save"),
    ],
)
def test_a_misspelt_notebook_or_parameter_is_one_sentence(folder, name, parameters, sentence):
    write(folder, "raise AssertionError('ran')")
    with pytest.raises(UserError, match=sentence):
        run_notebook(name, parameters)


def test_a_killed_kernel_is_one_sentence_and_leaves_its_notebook(folder):
    write(folder, "print('so far')", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(UserError, match="notebook 20_small was killed, as happens when memory is full; free"):
        run_notebook("20_small", {})
    assert "so far" in (folder / "logs" / "20_small.ipynb").read_text()
    assert {path.name for path in folder.iterdir()} <= before | {"logs"}, "no sockets"


def test_overrides_left_in_a_notebook_change_nothing_and_other_edits_are_said(folder, capsys):
    write(folder, "assert overrides == {} and save\nprint('first')")
    commit(folder)
    run_notebook("20_small", {})
    said = capsys.readouterr().out
    assert "not the committed one" not in said
    assert "Note: overrides in notebooks/20_small.ipynb count by hand alone" in said
    report = load_study().report_dir
    assert origin.recorded_of(load_study())["changed_notebooks"] == [] and origin.tinkered(report) == []
    write(folder, "print('second')", given="overrides = {}\nsave = False")
    run_notebook("20_small", {})
    said = capsys.readouterr().out
    assert "Note: notebooks/20_small.ipynb is not the committed one" in said and "by hand alone" not in said
    assert origin.recorded_of(load_study())["changed_notebooks"] == ["20_small"]


def test_a_record_cut_by_a_kill_keeps_its_whole_stages(tmp_path):
    stages = {f"task@{name}": {"cmd": f"run {name}", "deps": [{"path": name, "size": 3}]} for name in "abc"}
    text = yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False)
    begins = [text.index(f"  {name}:") for name in stages]
    path = tmp_path / "dvc.lock"
    for cut in (cut for cut in range(len(text)) if not text[:cut].endswith("\n")):
        path.write_text(text[:cut], encoding="utf-8")
        mend_record(path)
        kept = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"] if path.exists() else {}
        whole = sum(begin + 2 < cut for begin in begins) - 1  # the last that was begun may lack its end
        assert kept == dict(list(stages.items())[: max(whole, 0)])
    path.write_text(text, encoding="utf-8")
    mend_record(path)
    assert path.read_text(encoding="utf-8") == text
