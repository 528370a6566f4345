"""The whole pipeline as users run it: DVC, papermill, a kill, a changed parameter, damage."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
import yaml

from radlib.errors import UserError
from radlib.report.verify import verify
from radlib.run.choose import choose
from radlib.run.notebooks import clean
from radlib.run.stages import record
from radlib.study import load_study
from radlib.training.transfer import transfer
from tests.conftest import REPOSITORY

COPIED = ["dvc.yaml", "params.yaml", "Makefile", ".dvc/config", ".dvcignore"]
PYTHON = Path(sys.executable)


def environment() -> dict[str, str]:
    """Scripts of this environment first; radlib from the copy, which is the working folder."""
    return {**os.environ, "PATH": f"{PYTHON.parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}


def copy_repository(folder: Path) -> Path:
    folder.mkdir()
    for name in ("radlib", "notebooks", "studies"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in COPIED:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def call(folder: Path, *command: str, code: int = 0) -> str:
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=900)
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def stages_run(output: str) -> set[str]:
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    found = {}
    for path in sorted(folder.glob("results/smoke/*/*.parquet")):
        found[str(path.relative_to(folder))] = pd.read_parquet(path).drop(columns="seconds", errors="ignore")
    found["auc"] = pd.read_csv(folder / "reports/smoke/auc.csv")
    return found


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory):
    """The smoke study, killed by SIGKILL in the middle of a grid, then run to its end.

    The kill leaves DVC's table of locks half written, as it may at any time; the pipeline must get over it.
    """
    folder = copy_repository(tmp_path_factory.mktemp("smoke") / "copy")
    call(folder, "python", "-m", "radlib.run", "choose", "--study", "smoke")
    process = subprocess.Popen(
        ["dvc", "repro"], cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    store = folder / "store" / "runs"
    deadline = time.monotonic() + 600
    while len(list(store.rglob("*.parquet"))) < 5:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    for victim in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        victim.kill()
    process.wait()
    (folder / ".dvc" / "tmp" / "rwlock").write_text("")
    finished = {p: p.stat().st_mtime_ns for p in store.rglob("[!.]*.parquet")}
    call(folder, "python", "-m", "radlib.run", "choose")
    output = call(folder, "dvc", "repro")
    return folder, finished, output


@pytest.mark.study
def test_kill_repeats_no_finished_run(killed_and_resumed):
    folder, finished, output = killed_and_resumed
    study = load_study(path=folder / "params.yaml")
    total = sum(len(study.runs_of(task)) for task in study.tasks)
    assert 5 <= len(finished) < total
    assert {p: p.stat().st_mtime_ns for p in finished} == finished
    assert not any("pretrain" in stage or "corpus" in stage for stage in stages_run(output))


@pytest.mark.study
def test_kill_leaves_the_tables_of_an_uninterrupted_run(killed_and_resumed, tmp_path):
    folder, _, _ = killed_and_resumed
    shutil.copytree(folder / "data", tmp_path / "data")
    shutil.copytree(folder / "models", tmp_path / "models")
    study = load_study(path=folder / "params.yaml").model_copy(update={"root": tmp_path})
    for task in study.tasks:
        scratch = transfer(study, task)
        assert scratch.reused == 0
        stored = tables(folder)
        for name in ("runs", "predictions", "history"):
            expected = getattr(scratch, name).drop(columns="seconds", errors="ignore")
            pd.testing.assert_frame_equal(
                stored[f"results/smoke/{task}/{name}.parquet"], expected, check_exact=True, check_dtype=False
            )


@pytest.mark.study
def test_report_is_complete_and_says_simulated(killed_and_resumed):
    folder, _, _ = killed_and_resumed
    report = folder / "reports" / "smoke"
    auc = pd.read_csv(report / "auc.csv")
    names = "task estimate source_a source_b auc_a auc_b delta ci_low ci_high p_value p_holm"
    counts = "n_patients n_images n_positive n_runs resamples simulated"
    contract = f"{names} {counts}".split()
    assert set(contract) <= set(auc.columns)
    assert auc["simulated"].all()
    assert set(auc["estimate"]) == {"grid_mean", "best_by_validation"}
    dice = pd.read_csv(report / "dice.csv")
    assert set(dice["method"]) == {"localisation", "segmentation"} and dice["simulated"].all()
    assert (auc["ci_low"] <= auc["delta"]).all() and (auc["delta"] <= auc["ci_high"]).all()
    assert "simulated" in (report / "index.html").read_text().lower()
    notebooks = sorted(report.glob("notebooks/*.ipynb"))
    assert len(notebooks) == 2 + 2 + 2 + 2 + 1 + 9
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
        assert outputs and not any(o.output_type == "error" for o in outputs)
        assert "papermill" not in notebook.metadata


@pytest.mark.study
def test_the_recorded_report_is_what_its_predictions_give(killed_and_resumed):
    folder, _, _ = killed_and_resumed
    record(load_study(path=folder / "params.yaml"))
    said, holds = verify("smoke", root=folder)
    assert holds and said.count("identical") == 8


@pytest.mark.study
def test_second_run_does_nothing_then_a_parameter_and_damage_cost_what_they_touch(killed_and_resumed):
    folder, _, _ = killed_and_resumed
    before = pd.read_parquet(folder / "results/smoke/breast_us/runs.parquet")
    assert stages_run(call(folder, "dvc", "repro")) == set()

    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["transfer"]["epochs"]["top10"] = 1
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    mark = {p for p in (folder / "store" / "runs").rglob("*.parquet")}
    status = call(folder, "dvc", "status", "--json").splitlines()
    stale = set(json.loads(next(line for line in status if line.startswith("{"))))
    assert {"transfer@breast_us", "transfer@haemorrhage_ct", "auc", "dice"} <= stale
    assert {"confounds", "label_efficiency", "matched_labels", "beyond", "summary"} <= stale
    assert not any(stage.startswith(("corpus", "task", "pretrain", "segment", "validity")) for stage in stale)
    # One of the stages stands for all: a notebook takes seconds to start.
    assert stages_run(call(folder, "dvc", "repro", "transfer@breast_us")) == {"transfer@breast_us"}
    new = {p for p in (folder / "store" / "runs").rglob("*.parquet")} - mark
    assert len(new) == 3 * 2
    predictions = folder / "results" / "smoke" / "breast_us" / "predictions.parquet"
    changed = pd.read_parquet(predictions)
    runs = pd.read_parquet(folder / "results/smoke/breast_us/runs.parquet")
    assert set(runs["run"]) & set(before["run"]) == set(before.loc[before["train"] != "top10", "run"])

    predictions.write_bytes(b"damaged")
    output = call(folder, "dvc", "repro", "transfer@breast_us")
    assert not any("pretrain" in stage for stage in stages_run(output))
    pd.testing.assert_frame_equal(pd.read_parquet(predictions), changed)


@pytest.fixture
def inside_copy(tmp_path, monkeypatch):
    folder = copy_repository(tmp_path / "copy")
    monkeypatch.chdir(folder)
    return folder


def test_choosing_an_unknown_study_names_the_known_ones(inside_copy):
    with pytest.raises(
        UserError, match="no study 'moon' in studies/; there are: demo, open, own, paper, smoke"
    ):
        choose("moon", "")


def test_own_changes_to_params_are_not_overwritten(inside_copy):
    params = inside_copy / "params.yaml"
    own = params.read_text().replace("seed: 2022", "seed: 2023")
    params.write_text(own)
    with pytest.raises(UserError, match="holds changes of yours .* cp params.yaml studies/mine.yaml"):
        choose("smoke", "")
    assert params.read_text() == own
    (inside_copy / "studies" / "mine.yaml").write_text(own)
    choose("smoke", "")
    assert params.read_bytes() == (inside_copy / "studies" / "smoke.yaml").read_bytes()


def test_missing_downloads_stop_before_anything_is_computed(inside_copy):
    with pytest.raises(UserError, match="is no folder; name the one that holds your downloads"):
        choose("open", str(inside_copy / "nothing"))
    empty = inside_copy / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="'radiology' of study 'open' is not at data/raw/medical-mnist.zip"):
        choose("open", str(empty))
    for name in ("medical-mnist.zip", "tiny-imagenet-200.zip"):
        (empty / name).touch()
    (empty / "ddti_thyroid").mkdir()
    with pytest.raises(UserError, match="'thyroid_us' .* is not at data/raw/ddti_thyroid .or it is empty"):
        choose("open", str(empty))


def test_executed_notebook_is_cleaned_of_what_differs():
    def executed(time: str):
        metadata = {"papermill": {"end": time}, "execution": {"iopub.status.idle": time}, "tags": ["x"]}
        cell = nbformat.v4.new_code_cell("1 + 1", metadata=metadata)
        notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {"end": time}})
        return nbformat.writes(clean(notebook))

    first, second = executed("1"), executed("2")
    assert first == second
    assert '"tags"' in first
