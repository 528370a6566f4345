"""Simulated studies against closed forms and other libraries; what is counted of their intervals."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from sklearn.metrics import roc_auc_score

from radlib.errors import UserError
from radlib.questions.validity import coverage as validity
from radlib.questions.validity.coverage import (
    ANY,
    HOLDS,
    NARROW,
    THESE,
    VALIDITY,
    WIDE,
    coverage_figure,
    validity_findings,
)
from radlib.questions.validity.simulate import Batch, design_of, simulate, simulate_study
from radlib.seeds import seed_of
from radlib.stats.bootstrap import bootstrap_delta
from radlib.stats.means import bootstrap_mean_difference
from radlib.stats.rivals import METHODS, auc_intervals, figure_intervals
from radlib.stats.simulation import Design, draw_latent, figures, level_of, scores, true_difference
from radlib.study import load_study
from radlib.study.questions import Cell, Validity
from radlib.study.training import Compute
from tests.conftest import REPOSITORY

PLAIN = Cell(measure="auc", patients=[40, 60], level=0.75, delta=0.08)
FOLDS = Cell(measure="auc", patients=[12, 14], level=0.7, delta=0.1, folds=2)
LUCKY = Cell(measure="auc", patients=[20, 20], level=0.75, delta=0.08, settings=2, seeds=3, training_sd=0.4)
DICE = Cell(measure="dice", patients=[30], level=0.4, delta=0.06, folds=2)


# The simulation -------------------------------------------------------------------------------------------


def test_true_auc_and_mean_against_brute_force():
    design = Design((3000, 2500), settings=1, between=0.3)
    latent = draw_latent(design, np.random.default_rng(1))
    levels = level_of(0.9), level_of(0.7)
    for (fold,), truth in zip(scores(latent, levels), (0.9, 0.7), strict=True):
        assert roc_auc_score(fold.labels, fold.scores[0]) == pytest.approx(truth, abs=0.01)
    for side, truth in zip(figures(latent, levels), (0.9, 0.7), strict=True):
        assert side.min() >= 0 and side.max() <= 1
        assert side.mean() == pytest.approx(truth, abs=0.01)
    assert true_difference(levels, latent.shifts) == pytest.approx(0.2)


@pytest.mark.parametrize("luck", [0.0, 0.3, 1.0])
def test_truth_over_all_trainings_is_the_integral_over_their_luck(luck):
    level = level_of(0.8, luck)
    area = integrate.quad(
        lambda t: stats.norm.cdf((level + luck * t) / math.sqrt(2)) * stats.norm.pdf(t), -9, 9
    )
    assert area[0] == pytest.approx(0.8, abs=1e-9)
    shifts = luck * np.random.default_rng(0).standard_normal((2, 4000, 3))
    found = true_difference((level_of(0.8, luck), level_of(0.7, luck)), shifts)
    assert found == pytest.approx(0.1, abs=0.01)


def test_clustering_and_correlation_are_as_asked():
    design = Design((4000,), settings=2, images=(2, 2), between=0.7, alike=0.3, steady=0.6)
    values = draw_latent(design, np.random.default_rng(2)).values
    flat = values.reshape(4, -1)
    correlation = np.corrcoef(flat)
    assert flat.std(axis=1) == pytest.approx(1, abs=0.02)
    assert (correlation[0, 1], correlation[2, 3]) == pytest.approx((0.6, 0.6), abs=0.03)
    assert correlation[:2, 2:] == pytest.approx(0.3, abs=0.03)
    assert np.corrcoef(values[0, 0, ::2], values[0, 0, 1::2])[0, 1] == pytest.approx(0.7, abs=0.03)


def test_patients_images_and_folds_are_as_asked():
    latent = draw_latent(Design((30, 11), folds=5, images=(2, 4)), np.random.default_rng(3))
    table = pd.DataFrame({"class": latent.classes, "patient": latent.patients, "fold": latent.folds})
    images = table.groupby("patient").size()
    assert len(images) == 41 and set(images) == {2, 3, 4}
    one = table.groupby("patient")[["class", "fold"]].nunique()
    assert (one == 1).all(axis=None)
    per_fold = table.drop_duplicates("patient").groupby(["class", "fold"]).size()
    assert set(per_fold[0]) == {6} and set(per_fold[1]) == {2, 3}


# The methods ----------------------------------------------------------------------------------------------


def batch_of(cell: Cell, tmp_path, delta: float | None = None, resamples: int = 300) -> Batch:
    return Batch(cell, cell.delta if delta is None else delta, 0, 2, 5, resamples, 0.95, tmp_path)


def drawn(cell: Cell, batch: Batch, number: int):
    """The study of `simulate_study`, drawn again."""
    design = design_of(cell)
    seed = seed_of(batch.seed, "validity", cell.measure, design, cell.level, batch.delta, number)
    levels = level_of(cell.level + batch.delta, cell.varies), level_of(cell.level, cell.varies)
    return draw_latent(design, np.random.default_rng(seed)), levels, seed


def ends(rows: list[dict], method: str) -> tuple[float, float]:
    return next((row["low"], row["high"]) for row in rows if row["method"] == method)


def test_reported_and_t_tests_are_the_studys_own_and_scipys(tmp_path):
    batch = batch_of(FOLDS, tmp_path)
    rows = simulate_study(batch, 1)
    latent, levels, seed = drawn(FOLDS, batch, 1)
    a, b = scores(latent, levels)
    reported = bootstrap_delta(a, b, 300, seed)
    assert ends(rows, "reported") == reported.interval(0.95)
    assert [len(fold.labels) for fold in a] == [int((latent.folds == i).sum()) for i in (0, 1)]
    by_run = [[[roc_auc_score(f.labels, s) for s in f.scores] for f in side] for side in (a, b)]
    for method, sides in (("t_folds", np.mean(by_run, axis=2)), ("t_runs", np.reshape(by_run, (2, -1)))):
        expected = stats.ttest_rel(*sides).confidence_interval(0.95)
        assert ends(rows, method) == pytest.approx(tuple(expected), abs=1e-12)


def test_dice_methods_are_the_studys_own_and_scipys(tmp_path):
    batch = batch_of(DICE, tmp_path)
    rows = simulate_study(batch, 0)
    latent, levels, seed = drawn(DICE, batch, 0)
    a, b = figures(latent, levels)
    found = bootstrap_mean_difference(
        a.mean(axis=0), b.mean(axis=0), latent.patients, latent.folds, 300, seed
    )
    assert ends(rows, "reported") == found.difference.interval(0.95)
    means = [[side[:, latent.folds == fold].mean() for fold in (0, 1)] for side in (a, b)]
    expected = stats.ttest_rel(*means).confidence_interval(0.95)
    assert ends(rows, "t_folds") == pytest.approx(tuple(expected), abs=1e-12)


def test_methods_by_patient_and_by_image_agree_where_each_patient_has_one_image():
    rng = np.random.default_rng(4)
    latent = draw_latent(Design((60, 50), images=(1, 1)), rng)
    found = auc_intervals(*scores(latent, (1.2, 0.9)), np.arange(4), np.arange(4), 500, 0, 0.95)
    assert found["images"] == found["percentile"]
    assert found["delong_images"] == pytest.approx(found["delong_patients"])
    one = draw_latent(Design((60,), images=(1, 1)), rng)
    dice = figure_intervals(*figures(one, (0.3, 0.1)), one.patients, one.folds, 500, 0, 0.95)
    assert dice["images"] == dice["percentile"]


# Counting -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    study = load_study(path=REPOSITORY / "studies" / "smoke.yaml")
    options = Validity(studies=60, resamples=500, cells=[PLAIN, FOLDS, LUCKY, DICE])
    root = tmp_path_factory.mktemp("validity")
    study = study.model_copy(update={"root": root, "validity": options, "compute": Compute(workers=1)})
    intervals = simulate(study)
    return study, intervals, validity.coverage_table(study, intervals)


def test_equal_seeds_give_equal_numbers_whatever_was_finished(simulated, tmp_path):
    study, intervals, _ = simulated
    stored = sorted((study.store_dir / "validity").glob("*.parquet"))
    assert len(stored) == 4 * 2 * 2
    stored[0].unlink()
    times = {path: path.stat().st_mtime_ns for path in stored[1:]}
    pd.testing.assert_frame_equal(simulate(study), intervals, check_exact=True)
    assert {path: path.stat().st_mtime_ns for path in stored[1:]} == times
    few = study.validity.model_copy(update={"studies": 3})
    fewer = study.model_copy(update={"root": tmp_path, "validity": few})
    expected = intervals[intervals["study"] < 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(simulate(fewer), expected, check_exact=True)


def test_coverage_of_the_drawn_studies(simulated):
    study, intervals, table = simulated
    assert list(table) == VALIDITY.names
    row = table.query("positive == 40 and true_delta > 0 and method == 'reported'").iloc[0]
    own = intervals.query("cell == 0 and true_delta > 0 and method == 'reported'")
    assert row["coverage"] == own["low"].le(0.08 + 1e-12).mul(own["high"].ge(0.08 - 1e-12)).mean()
    assert row["rejected"] == 1 - own["low"].le(0).mul(own["high"].ge(0)).mean()
    assert row["studies"] == 60 and row["coverage"] > 0.85
    null = table[(table["true_delta"] == 0) & (table["training_sd"] == 0)]
    assert null["rejected"].to_numpy() == pytest.approx(1 - null["coverage"].to_numpy())
    coverage = table.query("positive == 40").groupby("method")["coverage"].mean()
    assert coverage["images"] < 0.88 < coverage["reported"]


def test_luck_has_two_truths_and_both_levels(simulated):
    _, _, table = simulated
    lucky = table[table["training_sd"] > 0]
    assert set(lucky["truth"]) == {THESE, ANY}
    assert "both_levels" in set(lucky["method"]) and "both_levels" not in set(
        table.query("training_sd == 0")["method"]
    )
    assert lucky.loc[lucky["truth"] == THESE, "rejected"].isna().all()
    coverage = lucky.groupby(["method", "truth"])["coverage"].mean()
    assert coverage["reported", THESE] > coverage["reported", ANY] + 0.05
    assert coverage["both_levels", ANY] > coverage["reported", ANY] + 0.05


def made_up(study, half_width: float) -> pd.DataFrame:
    """Intervals of normal estimates with SD 1, both true differences: right at a half width of 1.96."""
    rng = np.random.default_rng(8)
    tables = []
    for delta in (0.0, 3.0):
        estimate = delta + rng.normal(size=2000)
        known = {
            "cell": 0,
            "true_delta": delta,
            "study": np.arange(2000),
            "these": delta,
            "method": "reported",
        }
        tables.append(pd.DataFrame({**known, "low": estimate - half_width, "high": estimate + half_width}))
    return validity.coverage_table(study, pd.concat(tables))


@pytest.mark.parametrize(("half_width", "verdict"), [(1.96, HOLDS), (1.6, NARROW), (2.6, WIDE)])
def test_wrong_intervals_are_found_to_be_wrong(simulated, half_width, verdict):
    study = simulated[0]
    study = study.model_copy(
        update={
            "validity": Validity(studies=2000, cells=[Cell(**{**PLAIN.model_dump(), "patients": [50, 50]})])
        }
    )
    table = made_up(study, half_width)
    assert set(table["verdict"]) == {verdict}
    null = table[table["true_delta"] == 0].iloc[0]
    assert null["rejected"] == pytest.approx(2 * stats.norm.sf(half_width), abs=0.015)
    assert null["rejected_low"] < 2 * stats.norm.sf(half_width) < null["rejected_high"]
    power = table[table["true_delta"] == 3].iloc[0]["rejected"]
    assert power == pytest.approx(stats.norm.sf(half_width - 3), abs=0.03)
    promise = validity_findings(study, table)[0]
    broken = 0 if verdict == HOLDS else 2
    lowest = table.loc[table["coverage"].idxmin()]
    said = (
        f"shown to be outside 94 % to 96 % in {broken} of 2 kinds of study; Monte-Carlo error of the lowest: "
    )
    assert promise.verdict == f"{said}{lowest['coverage_low']:.1%} to {lowest['coverage_high']:.1%}"
    assert promise.value == table["coverage"].min()


def test_monte_carlo_error_is_wilsons():
    n, p, z = 200, 0.9, stats.norm.ppf(0.975)
    middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)
    assert validity.wilson(pd.Series(np.arange(n) < 180)) == pytest.approx((p, *expected))


# Words, figure, files -------------------------------------------------------------------------------------


def test_words_and_figure_follow_the_table(simulated):
    study, _, table = simulated
    subjects = [found.subject for found in validity_findings(study, table)]
    assert not any("50 patients of each class" in subject for subject in subjects)
    assert sum("any training" in subject for subject in subjects) == 2 and "*" not in "".join(subjects)
    assert len(VALIDITY.shown(study, table)) == len(table)
    figure = coverage_figure(study, table)
    panel = next(p for p in figure.axes if p.get_title() == METHODS["reported"])
    dots = sorted(line.get_xdata()[0] for line in panel.lines if line.get_marker() == "o")
    drawn = (table["method"] == "reported") & (table["true_delta"] != 0)
    reported = table[drawn & (table["training_sd"] == 0)]
    assert dots == pytest.approx(sorted(reported["coverage"]))
    alone = [
        panel.get_title() for panel in figure.axes if "(AUC alone)" in panel.get_title().replace("\n", " ")
    ]
    assert len(alone) == 2 and all(title.startswith("DeLong") for title in alone)
    figure = coverage_figure(study, table, ANY)
    titles = [panel.get_title().replace("\n", " ") for panel in figure.axes if panel.get_title()]
    assert titles == [METHODS["reported"], METHODS["both_levels"]]
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["3 seeds of 2 settings, SD 0.4"]
    title = figure.legends[0].get_title().get_text()
    assert title.startswith(
        "How often 95% intervals cover the true difference of any training\n(all: AUC 0.75, 2"
    )
    assert coverage_figure(study, table[table["training_sd"] == 0], ANY) is None, "nobody asks for it"
    plt.close("all")


def test_titles_tell_cells_apart(simulated):
    one = LUCKY.model_copy(update={"training_sd": 0.0, "pretrainings": 3, "pretraining_sd": 0.3, "seeds": 1})
    cells = [
        one,
        one.model_copy(update={"folds": 5}),
        one.model_copy(update={"patients": [50, 50]}),
        one.model_copy(update={"delta": 0.1}),
    ]
    for some in (cells, [PLAIN, FOLDS, PLAIN.model_copy(update={"settings": 9}), DICE]):
        rows = pd.DataFrame([cell.model_dump() | {"true_delta": cell.delta} for cell in some])
        rows["positive"], rows["negative"] = rows["patients"].str[0], rows["patients"].str[-1]
        titles, common = validity.cell_titles(rows)
        assert len(set(titles)) == len(some)
        assert not any(part in title for title in titles for part in filter(None, common.split(", ")))
    assert "AUC 0.7, 12 + 14 patients, 2 folds, 4 settings" in titles


def test_a_coverage_as_far_below_the_band_as_is_said_holds_every_second_time():
    below = 0.94 - validity.missed(pd.DataFrame({"studies": [2000]}), 0.94)
    hits = np.random.default_rng(0).binomial(2000, below, 1000)
    ends = [validity.wilson(pd.Series(np.arange(2000) < count))[1:] for count in hits[:200]]
    held = [validity.verdict(low, high, 0.95, 0.01) == HOLDS for low, high in ends]
    assert np.mean(held) == pytest.approx(0.5, abs=0.12)


def test_table_is_written(simulated):
    study, _, table = simulated
    VALIDITY.write(study, table)
    read = pd.read_csv(study.report_dir / "validity.csv")
    assert read["coverage"].to_numpy() == pytest.approx(table["coverage"].to_numpy(), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"patients": [50]}, "patients: .positive, negative. for auc"),
        ({"patients": [9, 50], "folds": 5}, "9 patients over 5 folds; each needs two"),
        ({"level": 0.95}, "level . delta must lie below 1"),
        ({"moon": 1}, "unknown key 'validity.cells.0.moon'; allowed there: measure, patients, level"),
    ],
)
def test_impossible_cells_are_one_sentence(change, sentence):
    cell = {**PLAIN.model_dump(), **change}
    with pytest.raises(UserError, match=sentence) as caught:
        load_study({"validity.cells": [cell]}, REPOSITORY / "studies" / "demo.yaml")
    assert "\n" not in str(caught.value)
