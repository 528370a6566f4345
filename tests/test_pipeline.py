"""The whole pipeline as users run it: DVC, papermill, a kill, a changed parameter, damage."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from PIL import Image

from radlib.errors import UserError
from radlib.report.verify import verify
from radlib.run.choose import check_unchanged, choose, complete_in_dvc, write_complete
from radlib.run.notebooks import clean
from radlib.run.stages import check_stage, record
from radlib.study import load_study
from radlib.training.transfer import transfer
from tests.conftest import REPOSITORY

OWN_TASK = {
    "layout": "folders", "path": "data/raw/my_images", "title": "My task", "size": 32, "folds": 1,
    "negative": "healthy", "positive": "ill", "options": {"patient": "^([^_]+)_"},
}  # fmt: skip
COPIED = ["dvc.yaml", "params.yaml", "Makefile", ".dvc/config", ".dvcignore"]
PYTHON = Path(sys.executable)
STUDY = ["python", "-m", "radlib.run", "study"]


def environment(folder: Path) -> dict[str, str]:
    """Scripts of this environment first; radlib from the copy; what stages read of the study is noted."""
    return {
        **os.environ,
        "PATH": f"{PYTHON.parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{REPOSITORY / 'tests' / 'trace'}:{folder}",
        "RADLIB_READS": str(folder / "reads.tsv"),
        "DVC_NO_ANALYTICS": "1",
    }


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
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=900
    )
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


def short_study(folder: Path) -> None:
    """The smoke study without what the types fill in; its second task is own, as in docs/own_data.md."""
    params = yaml.safe_load((folder / "studies" / "smoke.yaml").read_text())
    for key in ("dropout", "standardise", "seeds"):
        del params["transfer"][key]
    tasks = params["tasks"]
    del tasks["haemorrhage_ct"], params["matched_labels"], params["notes"]
    # breast_us in place of the task that has an external set and is scored by patient
    classes = {key: tasks["breast_us"][key] for key in ("negative", "positive")}
    options = {**tasks["haemorrhage_ct_same"]["options"], "application": "breast_us"}
    tasks["breast_us_same"] = tasks.pop("haemorrhage_ct_same") | classes | {"options": options}
    tasks["breast_us"] |= {"external": "breast_us_same", "score": "patient_mean"}
    params["tasks"]["my_task"] = OWN_TASK
    params["similarity"]["tasks"] = ["my_task"]
    params["controls"]["task"] = "my_task"
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    rng = np.random.default_rng(0)
    for patient in range(80):
        ill = patient % 2
        path = folder / "data/raw/my_images" / ("ill" if ill else "healthy") / f"P{patient:03d}_left.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.normal(110, 25, (32, 32))
        pixels[10:22, 10:22] += 60 * ill
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory):
    """The smoke study, killed by SIGKILL in the middle of a grid, then run to its end.

    The kill leaves DVC's table of locks half written, as it may at any time; the pipeline must get over it.
    """
    folder = copy_repository(tmp_path_factory.mktemp("smoke") / "copy")
    short_study(folder)
    process = subprocess.Popen(
        STUDY, cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
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
    output = call(folder, *STUDY)
    return folder, finished, output


@pytest.mark.study
def test_kill_repeats_no_finished_run(killed_and_resumed):
    folder, finished, output = killed_and_resumed
    study = load_study(path=folder / "params.yaml")
    total = sum(len(study.runs_of(task)) for task in study.trained_tasks)
    assert 5 <= len(finished) < total
    assert {p: p.stat().st_mtime_ns for p in finished} == finished
    assert not any("pretrain" in stage or "corpus" in stage for stage in stages_run(output))


@pytest.mark.study
def test_kill_leaves_the_tables_of_an_uninterrupted_run(killed_and_resumed, tmp_path):
    folder, finished, _ = killed_and_resumed
    shutil.copytree(folder / "data", tmp_path / "data")
    shutil.copytree(folder / "models", tmp_path / "models")
    study = load_study(path=folder / "params.yaml").model_copy(update={"root": tmp_path})
    for task in {path.parent.name for path in finished}:  # others were not interrupted
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
    assert auc["simulated"].all()  # of the pictures of my_task the sources are not
    regimes = {"frozen", "top", "all", "logistic", "knn"}
    assert set(auc["estimate"]) == {"grid_mean", "best_by_validation", *regimes}
    dice = pd.read_csv(report / "dice.csv")
    # Its small networks have maps of one place, which are left out and said.
    assert set(dice["method"]) == {"segmentation"} and dice["simulated"].all()
    assert (auc["ci_low"] <= auc["delta"]).all() and (auc["delta"] <= auc["ci_high"]).all()
    assert "simulated" in (report / "index.html").read_text().lower()
    notebooks = sorted(report.glob("notebooks/*.ipynb"))
    assert len(notebooks) == 2 + 3 + 2 + 2 + 1 + 13
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
        assert outputs and not any(o.output_type == "error" for o in outputs)
        assert "papermill" not in notebook.metadata


@pytest.mark.study
def test_stages_read_no_parameter_that_dvc_does_not_know_of(killed_and_resumed):
    folder, _, _ = killed_and_resumed
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    declared = {name: [*stage.get("params", {}).get("study.json", {})] for name, stage in stages.items()}
    reads = [line.split("\t") for line in (folder / "reads.tsv").read_text().splitlines()]
    # The name is in all paths, the folder is nowhere, and how work is shared out changes no result.
    reads = [(stage, key) for stage, key in reads if key.split(".")[0] not in {"name", "root", "compute"}]
    assert {stage for stage, _ in reads} >= set(declared) - {"study"}
    unknown = {
        (stage, key)
        for stage, key in reads
        if stage in declared and not any(f"study.{key}.".startswith(f"{name}.") for name in declared[stage])
    }
    # which backbones a source has is declared in one list, study.backbones_of
    unknown = {(stage, key) for stage, key in unknown if not re.search(r"corpora\.\w+\.backbones$", key)}
    # another variant of a task is prepared in another way, and on prepared tasks every corpus depends
    unknown = {one for one in unknown if not re.search(r"^corpus@\w+ tasks\.\w+\.variant_of$", " ".join(one))}
    assert not unknown, f"declare in dvc.yaml: {sorted(unknown)}"


@pytest.mark.study
def test_the_recorded_report_is_what_its_predictions_give(killed_and_resumed):
    folder, _, _ = killed_and_resumed
    report = folder / "reports" / "smoke"
    old, own = report / "notebooks" / "04_transfer-old_task.ipynb", report / "notebooks" / "mine.ipynb"
    for path in (old, own):
        shutil.copy(report / "notebooks" / "05_auc.ipynb", path)
    (report / "provenance.json").unlink()  # else nothing is recorded again
    record(load_study(path=folder / "params.yaml"))
    stages = yaml.safe_load((report / "dvc.lock").read_text())["stages"].values()
    written = {Path(out["path"]).name for stage in stages for out in stage.get("outs", [])}
    assert not old.exists() and own.exists()
    own.unlink()
    assert {path.name for path in report.glob("notebooks/*")} <= written
    said, holds = verify("smoke", root=folder)
    assert holds and said.count("identical") == 12


@pytest.mark.study
def test_second_run_does_nothing_then_a_parameter_and_damage_cost_what_they_touch(killed_and_resumed):
    folder, _, _ = killed_and_resumed
    before = pd.read_parquet(folder / "results/smoke/breast_us/runs.parquet")
    assert stages_run(call(folder, "dvc", "repro")) == set()

    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["transfer"]["epochs"]["top"] = 1
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    write_complete(load_study(path=folder / "params.yaml"))  # as make study does
    mark = {p for p in (folder / "store" / "runs").rglob("*.parquet")}
    status = call(folder, "dvc", "status", "--json").splitlines()
    stale = set(json.loads(next(line for line in status if line.startswith("{"))))
    assert {"transfer@breast_us", "transfer@my_task", "auc", "dice"} <= stale
    assert {"confounds", "label_efficiency", "matched_labels", "beyond", "summary"} <= stale
    assert not any(stage.startswith(("corpus", "task", "pretrain", "segment", "validity")) for stage in stale)
    drawn = folder / "results" / "smoke" / "breast_us" / "segmentation.parquet"
    undamaged = pd.read_parquet(drawn)
    drawn.write_bytes(b"damaged")
    # One of the stages stands for all: a notebook takes seconds to start.
    some = ["segment@breast_us", "transfer@breast_us"]
    assert stages_run(call(folder, "dvc", "repro", *some)) == {"study", *some}
    pd.testing.assert_frame_equal(pd.read_parquet(drawn), undamaged)
    new = {p for p in (folder / "store" / "runs").rglob("*.parquet")} - mark
    assert len(new) == 3 * 2 * 2  # sources, replicates, folds
    runs = pd.read_parquet(folder / "results/smoke/breast_us/runs.parquet")
    assert set(runs["run"]) & set(before["run"]) == set(before.loc[before["train"] != "top", "run"])


@pytest.fixture
def inside_copy(tmp_path, monkeypatch):
    folder = copy_repository(tmp_path / "copy")
    monkeypatch.chdir(folder)
    return folder


def test_choosing_an_unknown_study_names_the_known_ones(inside_copy):
    with pytest.raises(
        UserError,
        match="no study 'moon' in studies/; there are: demo, exams, inceptions, open, own, paper, published, "
        "smoke",
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
    with pytest.raises(UserError, match="'radiology' .* is not at data/raw/radiology-open.zip, or it is"):
        choose("open", str(empty))
    for name in ("radiology-open.zip", "medical-mnist.zip", "tiny-imagenet-200.zip"):
        (empty / name).touch()
    (empty / "ddti_thyroid").mkdir()
    with pytest.raises(UserError, match="'thyroid_us' .* is not at data/raw/ddti_thyroid, or it is empty"):
        choose("open", str(empty))


def stages_of(folder: Path) -> dict:
    return {stage.addressing: stage for stage in Repo(str(folder)).index.stages}


@pytest.mark.parametrize("name", ["demo", "open", "own", "paper", "smoke", "short"])
def test_dvc_finds_every_parameter_of_every_study(inside_copy, name):
    """With a task more, as docs/own_data.md adds it, and nothing that the types can fill in."""
    params = yaml.safe_load(
        (inside_copy / "studies" / f"{'own' if name == 'short' else name}.yaml").read_text()
    )
    params["tasks"]["one_more"] = {**OWN_TASK, "title": "One more"}
    if name == "short":
        params["checkpoints"], params["transfer"] = {}, {**params["transfer"], "seeds": [1]}
        params = {k: v for k, v in params.items() if k not in ("segment", "notes", "controls", "confounds")}
    (inside_copy / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    write_complete(load_study())
    stages = stages_of(inside_copy)
    assert {"study", "task@one_more", "transfer@one_more", "summary"} <= set(stages)
    read = [dep for stage in stages.values() for dep in stage.deps if isinstance(dep, ParamsDependency)]
    assert len(read) == len(stages) - 1
    assert all(set(dep.get_hash().value) == set(dep.params) for dep in read)


def test_a_corpus_with_one_more_backbone_is_pretrained_again(inside_copy):
    params = yaml.safe_load((inside_copy / "params.yaml").read_text())
    seen = []
    for backbones in (["densenet121"], ["resnet50", "densenet121"]):
        params["corpora"]["radiology"]["backbones"] = backbones
        (inside_copy / "params.yaml").write_text(yaml.safe_dump(params))
        write_complete(load_study())
        stages = stages_of(inside_copy)
        names = ("pretrain@radiology", "pretrain@photographs", "transfer@acl_mri", "segment@breast_us")
        seen.append([stages[name].deps[-1].get_hash().value for name in names])
    assert [a != b for a, b in zip(*seen, strict=True)] == [True, False, True, True]


def test_an_edited_study_is_never_passed_over(inside_copy):
    """Values reach DVC in the run itself, for it reads them after its first stage; names do not."""
    params = inside_copy / "params.yaml"
    with pytest.raises(UserError, match="type the command again"):
        complete_in_dvc(load_study())
    complete_in_dvc(load_study())
    params.write_text(params.read_text().replace("seed: 2022", "seed: 2023"))
    with pytest.raises(UserError, match="params.yaml was changed while the study ran; type make study"):
        check_unchanged(load_study())
    complete_in_dvc(load_study())
    check_unchanged(load_study())
    params.write_text(params.read_text().replace("name: demo", "name: other"))
    with pytest.raises(UserError, match="has another name, task, data set or path .* type the command again"):
        complete_in_dvc(load_study())


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ("task@nope", r"no stage 'task@nope' in study 'own'; there are: task@my_task$"),
        ("traning", r"no stage 'traning' in study 'own'; there are: .*corpus, .*pretrain, .*transfer, .*auc"),
    ],
)
def test_an_unknown_stage_names_the_known_ones(inside_copy, stage, sentence):
    shutil.copy("studies/own.yaml", "params.yaml")
    study = load_study()
    write_complete(study)
    with pytest.raises(UserError, match=sentence):
        check_stage(study, stage)
    for known in ("task", "task@my_task", "auc"):
        check_stage(study, known)


def test_dvc_stops_in_one_sentence_before_data_are_linked(inside_copy):
    shutil.copy("studies/own.yaml", "params.yaml")
    write_complete(load_study())
    output = call(inside_copy, "dvc", "repro", "task@my_task", code=255)
    assert "Stopped: 'my_task' (My task) is not at data/raw/my_images" in output
    assert "Errno" not in output and "Traceback" not in output


def test_a_folder_without_git_is_enough(inside_copy):
    shutil.rmtree(".git")
    choose("smoke", "")
    assert "task@breast_us" in stages_of(inside_copy)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["study", "study=open"], "'study=' is not known here; type STUDY=open"),
        (["study", "open"], "'open' is not known here; type make study STUDY=open"),
        (["study", "RWA=/x"], "type one of PYTHON= STUDY= STAGE= RAW="),
        (["stduy"], "type one of help study check-data plan verify"),
    ],
)
def test_a_misspelt_word_stops_make_before_anything_runs(words, sentence):
    done = subprocess.run(["make", "-n", *words], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2 and sentence in done.stderr and "radlib.run" not in done.stdout


def test_a_switch_of_make_that_is_0_is_off():
    done = [
        subprocess.run(["make", "-n", *words], cwd=REPOSITORY, capture_output=True, text=True, check=True)
        for words in (["verify", "RETRAIN=0"], ["verify", "RETRAIN=1"], ["check-data", "QUICK=0"])
    ]
    assert ["--retrain" in one.stdout or "--quick" in one.stdout for one in done] == [False, True, False]


def test_make_alone_says_what_it_can_do():
    done = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "make study STUDY=open RAW=/my/downloads" in done.stdout


def test_executed_notebook_is_cleaned_of_what_differs():
    def executed(time: str):
        metadata = {"papermill": {"end": time}, "execution": {"iopub.status.idle": time}, "tags": ["x"]}
        cell = nbformat.v4.new_code_cell("1 + 1", metadata=metadata, id="sum")
        given = nbformat.v4.new_code_cell("save = True", metadata={"tags": ["injected-parameters"]})
        notebook = nbformat.v4.new_notebook(cells=[given, cell], metadata={"papermill": {"end": time}})
        return nbformat.writes(clean(notebook))

    first, second = executed("1"), executed("2")
    assert first == second
    assert '"tags"' in first and '"id": "sum"' in first
