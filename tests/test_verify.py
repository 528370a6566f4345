"""A report computed again from its predictions: what was tampered with is found, named and explained."""

import hashlib
import json
import shutil
import subprocess
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from radlib.errors import UserError
from radlib.questions import calibration as reliability
from radlib.questions import improvement
from radlib.questions import ranking as ranks
from radlib.questions.auc import compute as compare
from radlib.questions.auc.compute import AUC, OVERALL
from radlib.questions.auc.next_study import NEXT, next_study
from radlib.questions.auc.sources import SOURCES, compare_pretrainings
from radlib.questions.calibration import CALIBRATION
from radlib.questions.lesions import compare as compare_lesions
from radlib.questions.lesions import measured as lesions
from radlib.questions.lesions.compare import DICE
from radlib.questions.lesions.resize import RESIZE, compare_resize
from radlib.questions.ranking import RANKS
from radlib.questions.validity.coverage import VALIDITY, coverage_table
from radlib.questions.validity.simulate import simulate
from radlib.report import agreement, archive
from radlib.report.findings import TABLES
from radlib.report.origin import differences
from radlib.report.verify import verify
from radlib.run.commands import main
from radlib.run.stages import record
from radlib.stats.dice import MAP_FIGURES
from radlib.store import write_table
from radlib.study import load_study
from radlib.training.results import load_regimes, load_results
from tests import test_compare_resize
from tests.conftest import REPOSITORY
from tests.fabricated import fabricate, make_study
from tests.test_compare_dice import TASK, fabricate_maps

NAME = "fabricated"
REPORT = f"reports/{NAME}"
STRENGTH = {"radiology": 1.5, "photographs": 1.0, "random": 0.5}
LEVEL = {"radiology": 0.5, "photographs": 0.4, "random": 0.4, "whole_image": 0.3, "centred_blob": 0.45}
CELLS = [
    {"measure": "auc", "patients": [40, 40], "level": 0.75, "delta": 0.08},
    {"measure": "auc", "patients": [12, 12], "level": 0.75, "delta": 0.08},
]


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A study of fabricated runs, reported and recorded as the pipeline does, in a git repository."""
    root = tmp_path_factory.mktemp("committed")
    study = make_study(
        root, (TASK, "breast_us"), compute={"workers": 1},
        validity={"studies": 6, "resamples": 200, "cells": CELLS},
    )  # fmt: skip
    fabricate(study, STRENGTH, patients=60)
    fabricate_maps(study, LEVEL)
    study.dataset_dir("breast_us").mkdir(exist_ok=True)
    sides = pd.DataFrame({"image_id": ["a"], "has_mask": [False], "width": [1], "height": [1]})
    sides.to_parquet(study.dataset_dir("breast_us") / "manifest.parquet")
    results, regimes = load_results(study), load_regimes(study)
    found = compare.compare_sources(study, results, regimes)
    AUC.write(study, found.table)
    OVERALL.write(study, found.overall)
    NEXT.write(study, next_study(study, results))
    SOURCES.write(study, compare_pretrainings(study, {"grid_mean": results, **regimes}))
    located = lesions.load_localised(study, results)
    DICE.write(study, compare_lesions.compare_found(study, [located]))
    VALIDITY.write(study, coverage_table(study, simulate(study)))
    RESIZE.write(study, compare_resize(study, [located]))
    drawn = ranks.draw_tasks(study, results)
    RANKS.write(study, ranks.rank_table(study, drawn))
    improvement.IMPROVEMENT.write(study, improvement.improvement_table(study, drawn))
    CALIBRATION.write(study, reliability.calibration_table(study, reliability.measure(study, results)))
    write_table(pd.DataFrame({"task": [TASK], "delta": [0.1]}), study.report_dir / "other.csv")
    (root / "studies").mkdir()
    shutil.copy(root / "params.yaml", root / "studies" / f"{NAME}.yaml")
    for folder in (root / "notebooks", root / REPORT / "notebooks"):
        folder.mkdir(parents=True, exist_ok=True)
        write_notebook(folder, "overrides = {}\nsave = False")
    (study.report_dir / "index.html").write_text("the result")
    (root / "radlib").mkdir()
    (root / "radlib" / "code.py").write_text("a = 1\n")
    lock(root)
    commit(root)
    record(study)
    return root


def write_notebook(folder, given: str, code: str = "1 + 1") -> None:
    cells = [
        nbformat.v4.new_code_cell(given, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(code),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "05_auc.ipynb")


def lock(root) -> None:
    files = [file for kind in ("*.csv", "*.html", "notebooks/*") for file in (root / REPORT).glob(kind)]
    outs = [
        {"path": path.relative_to(root).as_posix(), "md5": hashlib.md5(path.read_bytes()).hexdigest()}
        for path in files
    ]
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"all": {"outs": outs}}}))


def commit(root) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    (root / ".gitignore").write_text("data\nresults\nstore\n")
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "a study"]):
        subprocess.run(["git", *command], cwd=root, check=True)


@pytest.fixture
def copy(committed, tmp_path):
    """The repository as somebody else gets it: no images, no results but those of the report."""
    left = shutil.ignore_patterns("data", "store")
    shutil.copytree(committed, tmp_path / "copy", ignore=left)
    shutil.rmtree(tmp_path / "copy" / "results")
    return tmp_path / "copy"


def verdicts_of(said: str) -> dict[str, str]:
    """Table -> the rest of its line."""
    lines = [line.split() for line in said.splitlines()]
    return {words[0]: " ".join(words[1:]) for words in lines if words and words[0].endswith(".csv")}


def change_cell(path, line: int, column: str, value: str) -> None:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[line - 2, column] = value
    table.to_csv(path, index=False)


def change_predictions(root, change) -> None:
    path = root / REPORT / "results" / TASK / "predictions.parquet"
    table = pd.read_parquet(path)
    change(table)
    table.to_parquet(path, index=False)


def test_an_untouched_report_is_identical(copy):
    said, holds = verify(NAME, root=copy)
    found = verdicts_of(said)
    assert holds, said
    computed = (
        "auc",
        "overall",
        "next_study",
        "sources",
        "dice",
        "resize",
        "ranks",
        "improvement",
        "calibration",
    )
    assert [found[f"{name}.csv"] for name in computed] == ["identical"] * len(computed)
    rows = pd.read_csv(copy / REPORT / "validity.csv")
    small = (rows["positive"] == 12).sum()
    assert found["validity.csv"] == f"identical {small} of {len(rows)} rows computed again"
    assert found["other.csv"].startswith("not computed again") and "RETRAIN=1" in found["other.csv"]
    assert said.endswith("Machine, versions, parameters and code are those that the report records.")


def test_one_changed_cell_is_found_and_named(copy):
    path = copy / REPORT / "auc.csv"
    row = pd.read_csv(path, dtype=str).iloc[2]
    wrong = f"{float(row['ci_low']) + 0.01:.6g}"
    change_cell(path, 4, "ci_low", wrong)
    said, holds = verify(NAME, root=copy)
    found = verdicts_of(said)
    assert not holds and found["auc.csv"].startswith("different")
    where = f"ci_low in line 4 ({row['task']}, {row['estimate']}, {row['source_a']}, {row['source_b']})"
    assert f"most of all {where} is {wrong} in the report and {row['ci_low']} now" in found["auc.csv"]
    assert "the file was changed after the study wrote it (md5 of dvc.lock)" in found["auc.csv"]
    assert found["overall.csv"] == found["dice.csv"] == "identical"


def test_a_changed_word_and_a_lost_row_are_different(copy):
    change_cell(copy / REPORT / "dice.csv", 2, "source_a", "moon")
    auc = copy / REPORT / "auc.csv"
    auc.write_text("\n".join(auc.read_text().splitlines()[:-1]) + "\n")
    (copy / REPORT / "overall.csv").unlink()
    said, holds = verify(NAME, root=copy)
    found = verdicts_of(said)
    assert not holds and "is moon in the report and radiology now" in found["dice.csv"]
    assert "different" in found["auc.csv"] and "rows in the report" in found["auc.csv"]
    assert found["overall.csv"].startswith("missing") and "the report has no overall.csv" in said


def test_another_rounding_of_the_last_digit_is_tolerated(copy):
    path = copy / REPORT / "auc.csv"
    auc_a = pd.read_csv(path).loc[0, "auc_a"]
    change_cell(path, 2, "auc_a", f"{auc_a + 1e-6:.6g}")
    lock(copy)
    shutil.copy(copy / "dvc.lock", copy / REPORT / "dvc.lock")
    said, holds = verify(NAME, root=copy)
    assert holds and verdicts_of(said)["auc.csv"].startswith("within tolerance")
    assert "1 cells differ, most of all auc_a in line 2" in said and "one unit of the sixth digit" in said


def test_a_table_that_is_not_computed_again_is_checked_by_its_digest(copy):
    change_cell(copy / REPORT / "other.csv", 2, "delta", "0.2")
    said, holds = verify(NAME, root=copy)
    assert not holds and verdicts_of(said)["other.csv"].startswith("different")


def test_a_row_that_is_not_computed_again_is_checked_by_its_digest(copy):
    """Of validity.csv one cell alone is drawn again: of 12 patients, not of 40."""
    path = copy / REPORT / "validity.csv"
    line = pd.read_csv(path)["positive"].eq(40).argmax() + 2
    change_cell(path, line, "studies", "7")
    said, holds = verify(NAME, root=copy)
    assert not holds and verdicts_of(said)["validity.csv"].startswith("different")
    assert "the file was changed after the study wrote it (md5 of dvc.lock)" in said


def test_a_page_of_other_results_does_not_hold(copy):
    (copy / REPORT / "index.html").write_text("another result")
    said, holds = verify(NAME, root=copy)
    assert not holds and "index.html is not as the study wrote it (md5 of dvc.lock)" in said


def test_scores_that_moved_between_patients_change_the_table(copy):
    """Every run's AUC stays as it is, and the intervals do not."""

    def exchange(table):
        for _, one in table.groupby("run"):
            ill = one.index[one["label"] == 1]
            table.loc[ill, "score"] = np.sort(table.loc[ill, "score"].to_numpy())

    change_predictions(copy, exchange)
    said, holds = verify(NAME, root=copy)
    found = verdicts_of(said)
    assert not holds and found["auc.csv"].startswith("different")
    # The cell named is of an interval, its p-value or what follows from them; no AUC and no difference moved.
    parts = ("ci_low", "ci_high", "_p in", "p_value", "p_holm", "tost", "verdict")
    assert any(part in found["auc.csv"] for part in parts), found["auc.csv"]
    assert "does not follow" not in said


def test_scores_that_contradict_the_runs_are_said_so(copy):
    change_predictions(copy, lambda table: table.update(1 - table["score"]))
    said, holds = verify(NAME, root=copy)
    assert not holds
    assert "does not follow from the kept predictions: task 'thyroid_us', fold 0: test_auc" in said


def test_versions_parameters_and_code_that_differ_are_said(copy):
    path = copy / REPORT / "provenance.json"
    recorded = json.loads(path.read_text())
    assert len(recorded["commit"]) == 40 and recorded["dirty"] is False
    path.write_text(json.dumps({**recorded, "numpy": "1.0", "precision": "float8", "dirty": True}))
    study = copy / "studies" / f"{NAME}.yaml"
    study.write_text(study.read_text().replace("resamples: 400", "resamples: 500"))
    (copy / "radlib" / "code.py").write_text("a = 2\n")
    said, holds = verify(NAME, root=copy)
    assert holds and f"numpy: 1.0 in the report, {recorded['numpy']} here" in said
    assert f"precision: float8 in the report, {recorded['precision']} here" in said and "pandas" not in said
    assert f"compare.resamples is 400 in the report, 500 in studies/{NAME}.yaml" in said
    assert f"1 files changed since commit {recorded['commit'][:10]}" in said
    assert "changes to commit" in said and "not committed" in said
    for commit, sentence in (
        ("0" * 40, "commit 0000000000 is not in this repository"),
        (None, "does not record"),
    ):
        path.write_text(json.dumps({**recorded, "commit": commit}))
        assert sentence in " ".join(differences(copy / REPORT, recorded, copy))
    path.unlink()
    assert "has no provenance.json" in differences(copy / REPORT, recorded, copy)[0]


def test_a_report_without_predictions_says_what_can_be_checked(copy):
    shutil.rmtree(copy / REPORT / "results")
    said, holds = verify(NAME, root=copy)
    found = verdicts_of(said)
    assert not holds and found["validity.csv"].startswith("identical")
    for name in ("auc.csv", "overall.csv", "dice.csv", "resize.csv"):
        assert found[name].startswith("missing") and "keeps no predictions" in found[name]
        assert found[name].endswith("the file is as the study wrote it (md5 of dvc.lock)")
    assert f"make study STUDY={NAME}" in said


@pytest.mark.parametrize(
    ("file", "damage", "sentence"),
    [
        (f"results/{TASK}/predictions.parquet", "flip", "predictions.parquet is damaged .* git restore"),
        (f"results/{TASK}/runs.parquet", "cut", "runs.parquet is damaged .* git restore"),
        ("provenance.json", "cut", "provenance.json is damaged .* git restore"),
        ("auc.csv", "empty", "auc.csv is no table .* git restore"),
        ("dvc.lock", "words", "dvc.lock is missing or damaged .* git restore"),
        ("dvc.lock", "lost", "dvc.lock is missing or damaged .* git restore"),
        ("params.yaml", "words", "was made by another version of this library .* make study STUDY="),
    ],
)
def test_damage_is_one_sentence(copy, file, damage, sentence):
    path = copy / REPORT / file
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 3] ^= 0xFF
    changed = {"cut": content[: len(content) // 2], "empty": b"", "words": b"stages: moon\n"}
    path.write_bytes(changed.get(damage, content))
    if damage == "lost":
        path.unlink()
    with pytest.raises(UserError, match=sentence) as caught:
        verify(NAME, root=copy)
    assert "\n" not in str(caught.value)


def test_a_task_without_predictions_and_other_columns(copy):
    path = copy / REPORT / "auc.csv"
    path.write_text(path.read_text().replace("delong_p,", "moon,", 1))
    said, _ = verify(NAME, root=copy)
    assert "other columns: only in the report moon; only now delong_p" in said
    shutil.rmtree(copy / REPORT / "results" / "breast_us")
    with pytest.raises(UserError, match="holds nothing of task 'breast_us'; bring it back: git restore"):
        verify(NAME, root=copy)


def test_an_unknown_report_names_the_known_ones(copy, monkeypatch, capsys):
    monkeypatch.chdir(copy)
    assert main(["verify", "--study", "moon"]) == 1
    assert "Stopped: no report 'moon' in reports/; there are: fabricated" in capsys.readouterr().err
    change_cell(copy / REPORT / "auc.csv", 2, "delta", "0.5")
    assert main(["verify", "--study", NAME]) == 1


def test_kept_predictions_hold_every_bit_and_name_nobody(committed):
    study = load_study(path=committed / "params.yaml")
    before = pd.read_parquet(study.result_dir(TASK) / "predictions.parquet")
    kept = committed / REPORT / "results" / TASK
    after = pd.read_parquet(kept / "predictions.parquet")
    rest = [name for name in before if name not in ("image_id", "patient_id")]
    pd.testing.assert_frame_equal(before[rest], after[rest], check_exact=True)
    for name in ("image_id", "patient_id"):
        # The same groups in the same order, under other names.
        assert (before[name].rank(method="dense") == after[name].rank(method="dense")).all()
        assert not set(before[name]) & set(after[name])
    located = pd.read_parquet(kept / "localisation.parquet")
    figures = pd.read_parquet(study.result_dir(TASK) / "localisation.parquet")[MAP_FIGURES]
    pd.testing.assert_frame_equal(located[MAP_FIGURES], figures, check_exact=True)
    assert not {"map", "seconds"} & set(located) and set(located["image_id"]) <= set(after["image_id"])
    assert "seconds" not in pd.read_parquet(kept / "runs.parquet")
    assert pq.ParquetFile(kept / "predictions.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


def test_the_sides_of_images_are_kept_for_the_comparison_of_letterboxing(tmp_path):
    study = test_compare_resize.study_of(tmp_path)
    test_compare_resize.fabricate(study)
    archive.keep(study)
    other = study.model_copy(update={"root": tmp_path / "other"})
    archive.restore(study.report_dir, other)
    here, there = (compare_resize(s, [lesions.load_segmented(s)]) for s in (study, other))
    pd.testing.assert_frame_equal(here, there, check_exact=True)
    assert len(here) == 4


def test_recording_twice_gives_the_same_bytes(committed):
    first = {p.name: p.read_bytes() for p in (committed / REPORT / "results").rglob("*.parquet")}
    study = load_study(path=committed / "params.yaml")
    assert "Kept the predictions for make verify" in archive.keep(study)
    assert {p.name: p.read_bytes() for p in (committed / REPORT / "results").rglob("*.parquet")} == first
    (committed / REPORT / "results" / ".DS_Store").write_text("how a file browser shows the folder")
    archive.keep(study)
    mine = committed / REPORT / "results" / "breast_us" / "notes.txt"
    mine.write_text("the only copy")
    with pytest.raises(UserError, match="notes.txt is no prediction of a study"):
        archive.keep(study)
    assert mine.read_text() == "the only copy"


def test_a_study_is_recorded_again_only_where_something_changed(copy, capsys):
    """In the copy nothing can be recorded: the results that the report keeps are not there."""
    study, report = load_study(path=copy / "params.yaml"), copy / REPORT
    record(study)
    assert capsys.readouterr().out == f"\nRead the result in {REPORT}/index.html\n"
    recorded = json.loads((report / "provenance.json").read_text())
    (report / "provenance.json").write_text(json.dumps({**recorded, "dirty": True}))
    with pytest.raises(UserError, match="has no results"):
        record(study)
    (report / "provenance.json").write_text(json.dumps(recorded))
    (copy / "dvc.lock").write_text("stages: {}\n")
    with pytest.raises(UserError, match="has no results"):
        record(study)


def test_too_large_predictions_are_not_kept_and_that_is_said(committed, tmp_path):
    study = load_study(path=committed / "params.yaml").model_copy(update={"root": tmp_path})
    for name in ("results", "data"):
        shutil.copytree(committed / name, tmp_path / name)
    archive.keep(study)
    assert archive.is_kept(study.report_dir)
    assert "more than the 0.001 MB that a report keeps" in archive.keep(study, largest=1000)
    assert not archive.is_kept(study.report_dir) and not list(study.report_dir.iterdir())
    shutil.rmtree(study.result_dir("breast_us"))
    with pytest.raises(UserError, match="task 'breast_us' has no results .* dvc repro"):
        archive.keep(study)


def test_a_second_training_may_move_a_quarter_of_the_half_width(tmp_path):
    row = {
        "task": "a", "delta": "0.10", "ci_low": "0.02", "ci_high": "0.18", "p_value": "0.01", "n_images": "7"
    }  # fmt: skip

    def judged(**changes):
        for name, line in (("one", row), ("two", row | changes)):
            pd.DataFrame([line]).to_csv(tmp_path / f"{name}.csv", index=False)
        paths = tmp_path / "one.csv", tmp_path / "two.csv"
        return agreement.compare("auc.csv", *paths, partial(agreement.second_training, table=AUC)).verdict

    # Half width 0.08, a quarter of it 0.02.
    assert judged() == "identical"
    assert judged(delta="0.119") == judged(ci_low="0.001", p_value="0.04") == "within tolerance"
    assert judged(delta="0.121") == judged(ci_high="0.21") == judged(n_images="8") == judged(task="b")
    assert judged(task="b") == "different"


@pytest.mark.parametrize("file", ["auc.csv", "overall.csv", "dice.csv", "confounds.csv", "calibration.csv"])
def test_a_second_training_may_move_every_figure_of_a_table(tmp_path, file):
    """By a thousandth; by a tenth it is another result."""
    path, table = REPOSITORY / "reports" / "demo" / file, next(t for t in TABLES if t.file == file)
    report = pd.read_csv(path)
    figures = [c for c in report.select_dtypes(float) if not c.startswith(("n_", "bins", "equivalence"))]
    for factor, verdict in ((1.001, "within tolerance"), (1.1, "different")):
        again = report.assign(**{name: factor * report[name] for name in figures})
        again.to_csv(tmp_path / file, index=False, float_format="%.6g")
        tolerance = partial(agreement.second_training, table=table)
        assert agreement.compare(file, path, tmp_path / file, tolerance).verdict == verdict


def test_places_follow_from_other_tables_and_may_move(tmp_path):
    path, tolerance = (
        REPOSITORY / "reports" / "demo" / RANKS.file,
        partial(agreement.second_training, table=RANKS),
    )
    report = pd.read_csv(path)
    for name, verdict in (
        ("share", "within tolerance"),
        ("auc", "within tolerance"),
        ("n_runs", "different"),
    ):
        report.assign(**{name: 1.1 * report[name]}).to_csv(
            tmp_path / RANKS.file, index=False, float_format="%.6g"
        )
        assert agreement.compare(RANKS.file, path, tmp_path / RANKS.file, tolerance).verdict == verdict


def test_a_report_of_notebooks_with_overrides_does_not_hold(copy):
    write_notebook(copy / REPORT / "notebooks", "overrides = {'transfer.epochs.frozen': 1}\nsave = True")
    said, holds = verify(NAME, root=copy)
    assert not holds and "notebooks/05_auc.ipynb is not as the study wrote it" in said


def test_other_code_in_a_notebook_is_named(copy):
    write_notebook(copy / "notebooks", "overrides = {'seed': 2}\nsave = True", "2 + 2")
    said, holds = verify(NAME, root=copy)
    assert holds and "code: notebook 05_auc is another one here than the study ran" in said
    write_notebook(copy / REPORT / "notebooks", "overrides = {}", "2 + 2")
    said, holds = verify(NAME, root=copy)
    assert not holds and "notebooks/05_auc.ipynb is not as the study wrote it" in said
    path = copy / REPORT / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"changed_notebooks": ["05_auc"]}))
    assert "notebook 05_auc was run from code that is not committed" in verify(NAME, root=copy)[0]


def test_an_own_study_is_compared_with_params_yaml(copy, monkeypatch, capsys):
    (copy / "studies" / f"{NAME}.yaml").unlink()
    monkeypatch.chdir(copy)
    assert main(["verify"]) == 0
    assert "parameters:" not in capsys.readouterr().out
    text = (copy / "params.yaml").read_text()
    (copy / "params.yaml").write_text(text.replace("resamples: 200", "resamples: 300"))
    main(["verify"])
    assert "in the report, 300 in params.yaml" in capsys.readouterr().out


@pytest.mark.parametrize("report", sorted(path.parent for path in REPOSITORY.glob("reports/*/dvc.lock")))
def test_committed_reports_hold_the_notebooks_of_their_stages_alone(report):
    stages = yaml.safe_load((report / "dvc.lock").read_text())["stages"].values()
    written = {Path(out["path"]).name for stage in stages for out in stage.get("outs", [])}
    assert {path.name for path in report.glob("notebooks/*")} <= written
