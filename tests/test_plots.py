"""Figures show the numbers they were given, in fixed colours, and say when data are simulated."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from radlib.questions.auc import compute as compare
from radlib.questions.auc import show
from radlib.questions.auc.show import auc_forest, model_figure, roc_curves, setting_map
from radlib.questions.auc.sources import claim_of, compare_pretrainings
from radlib.questions.start import TASKS
from radlib.report.summary import PUBLISHED, headline_figure
from radlib.show.style import (
    COLOURS,
    STAMP,
    UNDECIDED,
    UPRIGHT,
    difference_mark,
    draw_mark,
    of_pair,
    source_colours,
    source_handles,
    source_titles,
)
from radlib.show.table import MEAN
from radlib.stats.models import mixed_model
from radlib.study.titles import task_title
from radlib.training.figures import ACCURACIES, LOSSES, pretraining_curves
from radlib.training.results import load_results
from tests.fabricated import fabricate, make_study

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    study = make_study(tmp_path_factory.mktemp("plots"), ("thyroid_us", "breast_us"))
    fabricate(study, {"radiology": 1.6, "photographs": 0.8, "random": 0.8})
    results = load_results(study)
    return study, results, compare.compare_sources(study, results)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def drawn_points(panel, marker):
    return [line for line in panel.lines if line.get_marker() == marker]


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


def all_figures(study, results, found):
    yield auc_forest(study, found.table, found.overall)
    yield roc_curves(study, results, show.roc_bands(study, results, points=11))
    yield setting_map(study, show.setting_deltas(study, results))
    yield model_figure(study, mixed_model(results.runs, "photographs"))
    yield headline(study, results)


def test_a_source_that_lacks_networks_of_another_says_which_it_has(compared):
    study = compared[0]
    runs = [("radiology", "one"), ("radiology", "other"), ("random", "one"), ("photographs", "other")]
    runs = pd.DataFrame(runs, columns=["source", "backbone"])
    full, few, third = (study.corpora["radiology"].title, "Random weights (one only)", "(other only)")
    assert list(source_titles(study, runs).values()) == [
        full,
        f"{study.corpora['photographs'].title} {third}",
        few,
    ]
    alike = source_titles(study, runs[runs["backbone"] == "one"])
    assert list(alike.values()) == [full, "Random weights"]
    labels = [
        handle.get_label() for handle in source_handles(study, ["random", "radiology"], {"random": few})
    ]
    assert labels == [full, few]


def test_effects_are_named_as_everywhere_else(compared):
    study, results, _ = compared
    figure = model_figure(study, mixed_model(results.runs, "photographs"))
    assert figure.get_suptitle().endswith("a cross-check: it knows folds, not patients")
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    titles = [study.corpora[source].title for source in ("radiology", "photographs")]
    assert f"{titles[0]} − {titles[1]}" in labels and f"Random weights − {titles[1]}" in labels
    assert not any("[" in label or "]" in label for label in labels)


def test_every_figure_is_stamped_exactly_where_the_study_is_simulated(compared, tmp_path):
    study, results, found = compared
    real = study.model_copy(
        update={
            "corpora": {k: c.model_copy(update={"layout": "folders"}) for k, c in study.corpora.items()},
            "tasks": {k: t.model_copy(update={"layout": "folders"}) for k, t in study.tasks.items()},
        }
    )
    assert study.simulated and not real.simulated
    for number, figure in enumerate(all_figures(study, results, found)):
        assert STAMP in texts(figure)
        path = tmp_path / f"{number}.png"
        figure.savefig(path, dpi=40)
        assert plt.imread(path).std() > 0.01
    for figure in all_figures(real, results, found):
        assert STAMP not in texts(figure)


def test_colours_follow_the_order_of_sources(compared):
    study = compared[0]
    colours = source_colours(study)
    assert list(colours) == study.sources and len(set(colours.values())) == len(colours)
    beside = {**study.corpora, "coarse": study.corpora["photographs"]}
    wider = source_colours(study.model_copy(update={"corpora": beside}))
    assert list(wider) == [*study.sources, "coarse"] and colours.items() <= wider.items()
    crowd = study.model_copy(update={"sources": [f"s{i}" for i in range(25)]})
    many = list(source_colours(crowd).values())[:25]
    assert many[:10] == COLOURS and len(set(many)) == 25, "weights to rank may be as many as one likes"


def test_forest_draws_the_intervals_of_the_table(compared):
    study, _, found = compared
    panel = auc_forest(study, found.table, found.overall).axes[0]
    rows = of_pair(found.table, ("radiology", "photographs"), "grid_mean")
    assert [line.get_xdata()[0] for line in drawn_points(panel, "o")] == pytest.approx(list(rows["delta"]))
    drawn = {tuple(np.round(line.get_xdata(), 9)) for line in panel.lines if len(line.get_xdata()) == 2}
    for _, row in rows.iterrows():
        assert (round(row["ci_low"], 9), round(row["ci_high"], 9)) in drawn
    assert len(drawn_points(panel, "D")) == 1
    shown = panel.get_xlim()
    assert shown[0] < rows["ci_low"].min() and rows["ci_high"].max() < shown[1]


@pytest.mark.parametrize(
    "low, high, p_holm, colour",
    [
        (0.1, 0.2, 0.01, 0),
        (-0.2, -0.1, 0.01, 1),
        (-0.1, 0.1, 0.9, None),
        (0.1, 0.2, 0.06, None),
        (-0.2, -0.1, np.nan, 1),
    ],
)
def test_interval_takes_the_colour_of_the_source_ahead_after_the_correction(
    compared, low, high, p_holm, colour
):
    study = compared[0]
    row = pd.Series(
        {
            "ci_low": low,
            "ci_high": high,
            "delta": (low + high) / 2,
            "source_a": "radiology",
            "source_b": "random",
            "p_holm": p_holm,
        }
    )
    colours = source_colours(study)
    expected = UNDECIDED if colour is None else colours[("radiology", "random")[colour]]
    _, panel = plt.subplots()
    draw_mark(panel, difference_mark(study, row), 0)
    assert {to_rgb(line.get_color()) for line in panel.lines} == {to_rgb(expected)}
    (mark,) = drawn_points(panel, "o")
    assert to_rgb(mark.get_markerfacecolor()) == to_rgb("white" if colour is None else expected), "filled"


def test_a_short_interval_is_seen_beyond_its_mark_in_a_narrow_panel(compared):
    study, _, found = compared
    panel = auc_forest(study, found.table, found.overall).axes[0]
    (size,) = {line.get_markersize() for line in drawn_points(panel, "o")}
    ends = drawn_points(panel, UPRIGHT)
    assert len(ends) == len(panel.texts) - 2 and all(line.get_markersize() > size + 2 for line in ends)


def headline(study, results):
    """Of three networks' tasks that all count, beside a shortcut classifier 0.1 below."""
    pretrained = compare_pretrainings(study, {"grid_mean": results})
    ends = {"under": -0.1, "under_low": -0.2, "under_high": 0.0}
    tasks = TASKS.frame([{"task": task, "counts": "yes", **ends} for task in (*results.tasks, MEAN)])
    claim = claim_of(study, compare.compare_sources(study, results).overall, pretrained)
    return headline_figure(study, claim, pretrained, tasks)


def test_headline_shows_what_else_could_be_started_from_and_the_shortcut_classifier(compared):
    study, results, _ = compared
    pair, others = ([t.get_text() for t in axes.get_yticklabels()] for axes in headline(study, results).axes)
    assert pair[0] == f"mean over {len(results.tasks)} tasks"
    assert pair[-len(results.tasks) :] == [task_title(study, t) for t in results.tasks]
    assert "Random weights" in " ".join(others) and others[-1] == "shortcut classifier, minus logistic probe"
    only = study.transfer.settings[0]  # then the claim and the shortcut classifier are of one regime
    changes = {
        "compare": study.compare.model_copy(update={"rank_by": only.train}),
        "transfer": study.transfer.model_copy(update={"settings": [only]}),
    }
    panel = headline(study.model_copy(update=changes), results).axes[-1]
    assert panel.get_yticklabels()[-1].get_text() == "shortcut classifier"


def test_headline_marks_published_values_as_other_data(compared):
    study, results, _ = compared
    figure = headline(study, results)
    crosses = drawn_points(figure.axes[0], "x")
    assert [line.get_xdata()[0] for line in crosses] == [0.04, 0.04]
    assert PUBLISHED[False][0] in texts(figure) and PUBLISHED[True][0] not in texts(figure)
    same = study.tasks["breast_us"].model_copy(update={"same_data_as_published": True})
    none = study.tasks["thyroid_us"].model_copy(update={"published_delta": None})
    other = study.model_copy(update={"tasks": {"thyroid_us": none, "breast_us": same}})
    figure = headline(other, results)
    assert len(drawn_points(figure.axes[0], "x")) == 1
    assert PUBLISHED[True][0] in texts(figure) and PUBLISHED[False][0] not in texts(figure)


def test_setting_map_shows_every_setting_once_per_task_and_their_mean(compared):
    study, results, _ = compared
    deltas = show.setting_deltas(study, results)
    drawn = np.asarray(setting_map(study, deltas).axes[0].collections[0].get_array()).reshape(-1, 3)
    assert sorted(np.ravel(drawn[:, :-1])) == pytest.approx(sorted(deltas["delta"]))
    assert drawn[:, -1] == pytest.approx(drawn[:, :-1].mean(axis=1))
    alone = np.asarray(setting_map(study, deltas, ["breast_us"]).axes[0].collections[0].get_array())
    assert alone.reshape(-1, 2).shape[0] == len(drawn), "one task that counts has no mean"
    partly = np.ma.asarray(setting_map(study, deltas[1:]).axes[0].collections[0].get_array())
    assert np.ma.getmaskarray(partly).reshape(-1, 3)[:, -1].sum() == 1, "a mean over some tasks is left out"
    runs = results.of_task("thyroid_us").query("train == 'all'").groupby("source")["test_auc"].mean()
    expected = runs["radiology"] - runs["photographs"]
    assert deltas.query("task == 'thyroid_us' and train == 'all'")["delta"].item() == pytest.approx(expected)


def test_labels_of_the_setting_map_stand_clear_and_blanks_are_explained(compared):
    study, results, _ = compared
    tasks = {
        "thyroid_us": study.tasks["thyroid_us"].model_copy(update={"title": "Thyroid US, by patient"}),
        "breast_us": study.tasks["breast_us"].model_copy(update={"title": "Breast ultrasound elsewhere"}),
    }
    study, deltas = study.model_copy(update={"tasks": tasks}), show.setting_deltas(study, results)
    figure = setting_map(study, deltas[1:])
    figure.canvas.draw()
    labels, other = figure.axes[0].get_xticklabels(), tasks["breast_us"].title
    assert [label.get_text() for label in labels] == ["Thyroid US,\nby patient", other, MEAN]
    ends = [(box.x0, box.x1) for box in (label.get_window_extent() for label in labels)]
    assert all(end < start for (_, end), (start, _) in zip(ends, ends[1:], strict=False))
    blank = "\n(blank: not run; of the mean, not run on every task that counts)"
    assert figure.get_suptitle().endswith(blank)
    assert setting_map(study, deltas[1:], ["breast_us"]).get_suptitle().endswith("\n(blank: not run)")


def test_published_mean_and_sd_are_named_and_blank_without_an_sd(compared):
    study, _, found = compared
    titles = {"task": "task", "source_a": "pair", "auc_a": "AUC a", "sd_a": "SD a"}
    table = show.of_estimate(found.table, "grid_mean")
    shown = show.shown_as(study, table.assign(sd_a=[np.nan, *table["sd_a"][1:]]), titles)
    assert list(shown) == ["AUC a", "SD a"] and shown.index.names == ["task", "pair"]
    assert list(shown["SD a"]) == ["", *(f"{sd:.3f}" for sd in table["sd_a"][1:])]
    assert set(shown.index.get_level_values("task")) == {task_title(study, task) for task in study.tasks}


def test_roc_curves_agree_with_the_auc_of_the_table(compared):
    study, results, found = compared
    band = show.roc_bands(study, results, points=201)["thyroid_us"]["radiology"]
    row = found.table.query("task == 'thyroid_us' and source_a == 'radiology' and estimate == 'grid_mean'")
    low, high = band.interval(0.95)
    assert np.trapezoid(band.value, dx=1 / 200) == pytest.approx(row["auc_a"].item(), abs=0.02)
    assert (low <= band.value + 1e-12).all() and (band.value <= high + 1e-12).all()


@pytest.mark.parametrize("epochs", [1, 12])
def test_pretrainings_of_a_network_share_a_panel_whose_epochs_are_whole(epochs):
    names = [*LOSSES, *ACCURACIES]
    one = pd.DataFrame({"epoch": range(1, epochs + 1), **{name: 0.5 for name in names}})
    history = pd.concat({"resnet50": one, "resnet50 (2)": one, "vgg16": one}, names=["backbone", None])
    figure = pretraining_curves(history, "corpus", simulated=False, classes=4)
    assert [panel.get_title() for panel in figure.axes[:2]] == ["resnet50", "vgg16"]
    assert figure.get_suptitle() == "corpus: of each kind a line for every pretraining"
    below = figure.axes[2]
    low, high = below.get_xlim()
    ticks = [tick for tick in below.get_xticks() if low <= tick <= high]
    assert ticks and all(tick == int(tick) for tick in ticks)
    lines = [line.get_ydata()[0] for line in below.get_lines()]
    assert lines == [50] * 2 * len(ACCURACIES) + [25]
