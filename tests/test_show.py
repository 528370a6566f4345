"""Declared tables, the renderer of findings, and estimates, against the committed reports and scipy."""

import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from radlib.errors import UserError
from radlib.report.findings import DICTIONARY, TABLES, dictionary, findings_by_question
from radlib.show.findings import (
    Finding,
    direction,
    finding_of,
    findings_table,
    over,
    say,
    shown_direction,
)
from radlib.show.table import (
    COUNT,
    DIFFERENCE,
    DIVERGED,
    IS_SIMULATED,
    PAIR,
    TASK,
    Column,
    Table,
    interval_columns,
    p_text,
)
from radlib.stats.estimate import Estimate, mean_of
from radlib.stats.pretrainings import SOURCES
from radlib.study import load_study
from tests.conftest import REPOSITORY
from tests.fabricated import make_study

SMALL = Table(
    "small.csv",
    "moon",
    "task and pair",
    [
        TASK,
        *PAIR,
        *interval_columns(DIFFERENCE, "difference", "a − b"),
        Column("p", "two-sided", "p", p_text),
        Column("n", "patients", "patients", COUNT),
        Column("kind", "of figure", "kind", names={"x": "the x"}),
        Column("hidden", "not for readers"),
        IS_SIMULATED,
        DIVERGED,
    ],
    index=2,
)
ROW = {
    "task": "thyroid_us", "source_a": "radiology", "source_b": "random", "delta": -0.0314, "ci_low": -0.05,
    "ci_high": 0.012, "p": 0.0004, "n": 1200.0, "kind": "x", "hidden": 1, "simulated": True,
}  # fmt: skip


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.file)
@pytest.mark.parametrize("report", ["demo", "open"])
def test_declared_columns_are_those_of_the_committed_reports(table, report):
    committed = pd.read_csv(REPOSITORY / "reports" / report / table.file)
    assert [column.name for column in table.present(committed)] == list(committed)
    assert all(column.meaning for column in table.columns) and len(set(table.names)) == len(table.names)


def test_dictionary_in_docs_is_that_of_the_declarations():
    assert (REPOSITORY / DICTIONARY).read_text() == dictionary(), "run python -m radlib.report.findings"


def test_rows_are_shown_with_titles_rounded_and_with_their_interval(tmp_path):
    study = make_study(tmp_path)
    rows = [ROW, ROW | {"task": "mean over tasks", "source_b": "", "delta": np.nan, "kind": "y", "p": 0.5}]
    shown = SMALL.shown(study, SMALL.frame(rows))
    assert list(shown.index) == [
        ("Thyroid US", "Simulated radiology − Random weights"),
        ("mean over tasks", "Simulated radiology"),
    ]
    assert list(shown) == ["a − b", "p", "patients", "kind", "images are"]
    assert list(shown.iloc[0]) == ["−0.031 (−0.050 to +0.012)", "< 0.001", "1,200", "the x", "simulated"]
    assert list(shown["a − b"])[1] == "" and list(shown["kind"])[1] == "y"
    assert SMALL.shown(study, SMALL.frame()).empty


def test_table_is_written_and_read_again_or_refused(tmp_path):
    study = make_study(tmp_path)
    with pytest.raises(UserError, match="no small.csv .* dvc repro moon"):
        SMALL.read(study)
    SMALL.write(study, SMALL.frame([ROW]).assign(extra=1))
    assert SMALL.read(study).to_dict("records") == [ROW]
    pd.DataFrame({"task": [1]}).to_csv(study.report_dir / "small.csv")
    with pytest.raises(UserError, match="other columns than this version writes"):
        SMALL.read(study)


def test_a_rare_column_is_there_where_a_row_has_it_and_takes_the_verdict(tmp_path):
    study, said = make_study(tmp_path), "3 of 24 runs of photographs diverged"
    table = SMALL.frame([ROW, ROW | {"diverged": said}])
    SMALL.write(study, table)
    read = SMALL.read(study)
    assert list(read) == [*SMALL.names, "diverged"] and list(SMALL.shown(study, read)["no verdict"]) == [
        "",
        said,
    ]
    found = [finding_of(row, "AUC", "better").verdict for row in read.to_dict("records")]
    assert found == ["better", f"no verdict: {said}"]
    assert finding_of(ROW, "AUC").verdict == "no difference shown"
    read.rename(columns={"diverged": "lost"}).to_csv(study.report_dir / "small.csv", index=False)
    with pytest.raises(UserError, match="other columns than this version writes"):
        SMALL.read(study)


def test_a_verdict_says_where_correction_alone_keeps_a_difference_from_being_shown():
    """The interval excludes 0, so the words may not be those of one that includes it."""
    row = {"delta": 0.086, "ci_low": 0.015, "ci_high": 0.156, "p_value": 0.016, "p_holm": 0.064}
    word = shown_direction(row, 0.05)
    assert word == "no difference shown after correction", "without p: a csv has its own column for it"
    assert finding_of(row, "drop", f"{word}; drops").verdict == f"{word} (p = 0.064); drops"
    assert shown_direction(row | {"p_holm": 0.04}, 0.05) == "higher"
    assert shown_direction(row | {"ci_low": -0.01}, 0.05) == "no difference shown"
    assert [over({}), over({"resampled": SOURCES})] == [
        "(over patients, of these weights)",
        "(over patients and pretrainings)",
    ]


def test_an_empty_text_leaves_no_output(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *texts: shown.extend(texts))
    say("", "one", "", "two")
    assert [text.data for text in shown] == ["one", "two"]


def demo_report(tmp_path):
    """The committed report on simulated images, where it may be changed, and its study."""
    report = tmp_path / "reports" / "demo"
    shutil.copytree(
        REPOSITORY / "reports" / "demo", report, ignore=shutil.ignore_patterns("notebooks", "*.html")
    )
    (tmp_path / "results").mkdir()
    shutil.move(report / "results", tmp_path / "results" / "demo")
    return report, load_study(path=shutil.move(report / "params.yaml", tmp_path / "params.yaml"))


def test_findings_name_the_difference_after_tuning(tmp_path):
    report, study = demo_report(tmp_path)
    overall = pd.read_csv(report / "overall.csv")
    a, b = study.compare.headline
    rows = overall.query("estimate == 'best_by_validation' and source_a == @a and source_b == @b")
    found = findings_by_question(study)["Does the claim hold for other networks, tasks and regimes?"]
    (tuned,) = [one for one in found if "setting chosen by validation" in one.subject]
    (line,), (delta,) = rows.index + 2, rows["delta"]
    assert tuned.value == delta and tuned.csv == f"overall.csv#row={line}"
    assert "over patients, of these weights" in tuned.subject


def test_findings_say_which_tasks_do_not_count(tmp_path):
    report, study = demo_report(tmp_path)
    tasks = pd.read_csv(report / "tasks.csv")
    tasks.loc[tasks["task"] == "thyroid_us", "counts"] = "no"
    tasks.to_csv(report / "tasks.csv", index=False)
    named = {title: [] for title in ("Thyroid US", "Breast US")}
    for question, found in findings_by_question(study).items():
        for one in found:
            for title, some in named.items():
                some += [(question, one.subject)] if title in one.subject else []
    asked = (
        "Which source leans on a mark that goes with the label?",
        "How many test patients would decide it?",
    )
    flagged = [subject for question, subject in named["Thyroid US"] if question in asked]
    assert flagged and all("Thyroid US (does not count)" in subject for subject in flagged)
    assert named["Breast US"] and not any("does not count" in subject for _, subject in named["Breast US"])


def test_findings_become_a_table():
    found = [Finding("AUC", "worse", -0.0334, -0.0442, -0.0218), Finding("Controls", "passed", where="11")]
    table = findings_table(found, 0.9)
    assert list(table["value"]) == ["−0.033 (90 % CI −0.044 to −0.022)", ""]
    assert "notebook" not in findings_table(found[:1], 0.9)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.01, 0.1, "higher"),
        (-0.1, -0.01, "lower"),
        (0.0, 0.1, "no difference shown"),
        (np.nan, np.nan, "no difference shown"),
    ],
)
def test_touching_zero_is_no_difference(low, high, word):
    assert direction(low, high) == word


def test_difference_and_mean_of_estimates_are_those_of_their_replicates():
    rng = np.random.default_rng(3)
    one, other = (Estimate(m, m + 0.1 * rng.normal(size=4000), patients=400) for m in (0.5, 0.2))
    less = one - other
    assert less.value == pytest.approx(0.3)
    np.testing.assert_array_equal(less.replicates, one.replicates - other.replicates)
    few = Estimate(0.1, 0.1 + 0.1 * rng.normal(size=4000), patients=12, folds=2)
    mean = mean_of([one, few], 0.95)
    assert mean.value == pytest.approx(0.3) and mean.sample == few.sample, "the strongest correction"
    # The expanded percentile of normal replicates: Student's t, n / (n - folds) of the variance.
    half = stats.t.isf(0.025, 10) * np.sqrt(12 / 10) * mean.replicates.std()
    low, high = mean.interval(0.95)
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.02)
    assert (mean.p_value() < 0.05) == (low > 0) and mean.smallest_p() <= mean.p_value()
    assert mean.equivalence(1.0, 0.95)[2] < 0.05 < mean.equivalence(0.1, 0.95)[2]
