"""Intervals about sources from finished runs: what they average, what they cover, and who is left out."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from radlib.questions.auc.compute import OVERALL, compare_sources
from radlib.questions.auc.show import auc_findings, auc_forest, headline_sentence, resampled_sentence
from radlib.questions.auc.show_sources import (
    by_regime,
    gains_table,
    random_sentence,
    regimes_forest,
    sources_findings,
    sources_forest,
    variance_table,
)
from radlib.questions.auc.sources import (
    ALL_TASKS,
    FIXED,
    SAMPLE,
    SOURCES,
    by_network,
    claim_of,
    compare_pretrainings,
)
from radlib.questions.start import TASKS
from radlib.questions.verdicts import left_out
from radlib.report.summary import headline_figure
from radlib.show.table import MEAN
from radlib.study.training import Backbone, Setting
from radlib.training.results import load_results
from tests.fabricated import fabricate, make_study

STRENGTH = {"radiology": 1.2, "photographs": 0.8, "random": 0.3}
BACKBONES = {name: {"size": 80} for name in ("resnet50", "densenet121")}
BACKBONES["inception_v3"] = {"size": 80, "replicates": 1}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    pretrain = {"size": 80, "epochs": 1, "replicates": 3}
    root = tmp_path_factory.mktemp("sources")
    study = make_study(root, ["a", "b"], backbones=list(BACKBONES), pretrain=pretrain)
    study = study.model_copy(update={"backbones": {name: Backbone(**one) for name, one in BACKBONES.items()}})
    fabricate(study, STRENGTH, pretraining=0.3)
    return study


@pytest.fixture(scope="module")
def results(study):
    return load_results(study)


@pytest.fixture(scope="module")
def table(study, results):
    return compare_pretrainings(study, {"grid_mean": results})


def row(table, task=MEAN, networks=FIXED, pair=("radiology", "photographs")):
    keys = {"task": task, "networks": networks, "source_a": pair[0], "source_b": pair[1]}
    (found,) = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)].to_dict("records")
    return found


def test_the_value_is_the_mean_over_networks_of_scikit_learns_auc(study, results, table):
    means = {}
    for task in results.tasks:
        runs = results.of_task(task)
        for network in ("resnet50", "densenet121"):
            for source, sign in (("radiology", 1), ("photographs", -1)):
                own = runs[(runs["source"] == source) & (runs["backbone"] == network)]
                scores = results.scores(task, own)
                aucs = [roc_auc_score(fold.labels, x) for fold in scores for x in fold.scores]
                means.setdefault((task, network), []).append(sign * np.mean(aucs))
    expected = np.mean([sum(values) for values in means.values()])
    assert row(table)["delta"] == pytest.approx(expected)
    of_resnet = np.mean([sum(means[task, "resnet50"]) for task in results.tasks])
    assert row(table, networks="resnet50")["delta"] == pytest.approx(of_resnet)


def test_networks_pretrained_once_are_left_out(table):
    assert set(table["networks"]) == {FIXED, SAMPLE, "resnet50", "densenet121"}
    found = row(table)
    assert (found["n_networks"], found["pretrainings_a"], found["pretrainings_b"]) == (2, 3, 3)


def test_intervals_widen_from_patients_to_pretrainings_to_networks(table):
    found, sample = row(table), row(table, networks=SAMPLE)
    width = found["ci_high"] - found["ci_low"]
    assert width > 3.92 * found["sd_patients"]
    assert sample["ci_high"] - sample["ci_low"] > width
    assert found["resampled"] == "patients and pretrainings"
    # A pretraining moves the level by an SD of 0.3, the AUC by about 0.06, the mean of 2 x 3 by 0.035.
    assert 0.01 < found["sd_pretraining"] < 0.06


def test_a_good_pretraining_is_good_on_all_tasks(table):
    """Its part of the variance does not fall with the number of tasks, as the patients' part does."""
    tasks = [row(table, task)["sd_pretraining"] for task in "ab"]
    assert row(table)["sd_pretraining"] > 0.6 * np.mean(tasks)
    assert row(table)["sd_patients"] < 0.85 * np.mean([row(table, task)["sd_patients"] for task in "ab"])


def test_without_replicates_intervals_are_of_these_weights(tmp_path):
    study = make_study(tmp_path, ["a"])
    fabricate(study, STRENGTH)
    results = load_results(study)
    table, overall = (
        compare_pretrainings(study, {"grid_mean": results}),
        compare_sources(study, results).overall,
    )
    assert set(table["resampled"]) == {"patients"}
    ours, same = row(table, networks="resnet50"), claim_of(study, overall, table)
    assert (ours["delta"], ours["ci_low"]) == pytest.approx((same["delta"], same["ci_low"]))
    assert same["resampled"] == "patients" and "variation between test patients" in resampled_sentence(
        study, same
    )
    SOURCES.write(study, table)
    assert len(SOURCES.read(study)) == len(table)


def test_the_claim_covers_other_pretrainings_and_only_tasks_that_count(study, results, table):
    overall = compare_sources(study, results, counting=["a"]).overall
    only = compare_pretrainings(study, {"grid_mean": results}, ["a"])
    claim = claim_of(study, overall, only)
    assert claim["resampled"] == "patients and pretrainings" and claim["n_tasks"] == 1
    assert claim["delta"] == pytest.approx(row(table, "a")["delta"]) == pytest.approx(row(only)["delta"])
    assert "3 pretrainings of each" in resampled_sentence(study, claim)
    # A mean over one task is not called one; that over all tasks is.
    flagged = only.assign(counts=[left_out(task, ["a"]) for task in only["task"]])
    subjects = [one.subject for one in sources_findings(study, flagged)]
    assert not any("mean over tasks" in one for one in subjects) and any(ALL_TASKS in one for one in subjects)
    assert any("the only task that counts" in one for one in subjects)
    none, sources = (
        compare_sources(study, results, counting=[]),
        compare_pretrainings(study, {"grid_mean": results}, []),
    )
    assert claim_of(study, none.overall, sources) is None
    assert "no task counts" in headline_sentence(study, None)
    said = [one.subject for one in auc_findings(study, none.table, none.overall, sources)]
    assert all(any(f": {task}" in one for one in said) for task in "ab")
    OVERALL.write(study, none.overall)
    OVERALL.shown(study, OVERALL.read(study))
    tasks = TASKS.frame([{"task": task, "counts": "no"} for task in "ab"])
    figure = headline_figure(study, None, sources, tasks)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [ALL_TASKS, "a (does not count)", "b (does not count)"]
    auc_forest(study, none.table, none.overall)


def test_parts_of_the_variance_add_up(study, table):
    found = row(table)
    shown = variance_table(study, found)
    assert list(shown.index) == ["test patients", "pretrainings and trainings", "together"]
    together = found["sd_patients"] ** 2 + found["sd_pretraining"] ** 2
    assert float(shown.loc["together", "standard error"]) == pytest.approx(together**0.5, abs=6e-5)
    # 2.8 standard errors: 1.96 for the level, 0.84 for the power.
    assert float(shown.loc["together"].iloc[1]) == pytest.approx(2.8016 * together**0.5, abs=6e-4)
    total = sum(found[f"sd_{part}"] ** 2 for part in ("patients", "pretraining"))
    shares = shown["share of the claim's variance"]
    assert shares.iloc[0] == f"{found['sd_patients'] ** 2 / total:.0%}"
    # Networks are fixed in the claim.
    assert "fixed" in variance_table(study, found | {"sd_networks": 0.1}).loc["networks"].iloc[2]


def test_a_regime_of_some_tasks_says_on_which(study, table):
    costly = table[table["task"] == "b"].assign(estimate="all", delta=0.123)
    both = pd.concat([table, costly], ignore_index=True)
    labels = [text.get_text() for text in regimes_forest(study, both).axes[0].get_yticklabels()]
    assert labels == ["mean over the settings", "all layers, b"]
    assert [one.value for one in sources_findings(study, both) if "all layers" in one.subject] == [0.123]
    labels = [text.get_text() for text in regimes_forest(study, both, ["a"]).axes[0].get_yticklabels()]
    assert labels[1] == "all layers, b\n(does not count)"
    three = pd.concat([table[table["task"] == "a"].assign(task="c"), table])
    some = pd.concat([three, table.assign(estimate="all")], ignore_index=True)
    for counting, number in ((None, "2 tasks"), (["a", "c"], "1 task")):
        labels = [text.get_text() for text in regimes_forest(study, some, counting).axes[0].get_yticklabels()]
        assert labels == ["mean over the settings", f"all layers, {number}"]
    # One task counts, or each regime has a task of its own: a row of one task is no mean.
    for some, counting in ((both, ["a"]), (pd.concat([table[table["task"] == "a"], costly]), None)):
        labels = [text.get_text() for text in regimes_forest(study, some, counting).axes[0].get_yticklabels()]
        assert labels[1].startswith("all layers, b")
    alone = table[table["task"] != "b"]  # then no task need be named
    labels = [text.get_text() for text in regimes_forest(study, alone).axes[0].get_yticklabels()]
    assert labels == ["mean over the settings"]


def test_figure_and_findings_say_what_the_table_holds(study, table):
    (found,) = sources_findings(study, table)
    assert found.value == row(table, networks=SAMPLE)["delta"] and SAMPLE in found.subject
    some = compare_pretrainings(study, {"grid_mean": load_results(study)}, ["a"])
    every = sources_findings(study, some)[-1]
    assert every.value == pytest.approx(row(table)["delta"]) and ALL_TASKS in every.subject
    wide = by_regime(study, some)
    assert wide.iloc[0, 0].startswith(f"{row(some)['delta']:+.3f}".replace("-", "−"))


def test_tasks_are_judged_after_holms_correction(study, table):
    pair = table[(table["source_b"] == "photographs") & table["task"].isin(["a", "b"])]
    expected = multipletests(pair["p_value"], method="holm")[1]
    assert list(pair["p_holm"]) == pytest.approx(list(expected))
    assert table.loc[table["task"] == MEAN, "p_holm"].isna().all()


def test_gains_over_random_weights_stand_beside_the_claim(study, table):
    pairs = {"compare": study.compare.model_copy(update={"headline": ("radiology", "random")})}
    assert random_sentence(study.model_copy(update=pairs), table) == "", "random weights against themselves"
    own = table[table["source_a"] == "radiology"].assign(source_b="random")
    rows = pd.concat([own, own.assign(source_a="photographs")])
    said = random_sentence(study, rows)
    gain = row(table)["delta"]
    assert f"{gain:+.3f}" in said and "cannot tell" not in said
    assert "cannot tell" in random_sentence(study, rows.assign(verdict="undecided"))
    turned = {"source_a": rows["source_b"], "source_b": rows["source_a"], "delta": -rows["delta"]}
    turned |= {"ci_low": -rows["ci_high"], "ci_high": -rows["ci_low"]}
    words = rows["verdict"].map({"better": "worse"}).fillna(rows["verdict"])
    assert random_sentence(study, rows.assign(**turned, verdict=words)) == said, "asked the other way round"
    assert "no verdict" in random_sentence(study, rows.assign(diverged="1 of 9 runs of random diverged"))


def test_a_sample_of_two_networks_does_not_set_the_scale_of_a_figure(study, table):
    several = table.assign(n_networks=table["n_networks"].where(table["networks"] != SAMPLE, 3))
    for rows, more in ((table, set()), (several, {SAMPLE})):
        figure = sources_forest(study, rows)
        labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
        assert set(labels) == {"resnet50", "densenet121", FIXED} | more


def test_networks_are_shown_in_the_order_of_the_study(study, table):
    ordered = by_network(study, table)
    pd.testing.assert_frame_equal(ordered.sort_index(), table)
    rows = ordered[(ordered["task"] == MEAN) & (ordered["source_a"] == "radiology")]
    networks = [name for name in study.backbones if name in set(table["networks"])]
    assert list(rows["networks"][rows["source_b"] == "photographs"]) == [*networks, FIXED, SAMPLE]
    places = [ordered.drop_duplicates(name)[name].tolist() for name in ("estimate", "task")]
    assert places == [table.drop_duplicates(name)[name].tolist() for name in ("estimate", "task")]


CHECKPOINT = {"files": {"resnet50": "a.safetensors"}, "path": "data/raw/weights", "title": "Published"}
CHECKPOINT |= {"mean": [0.5] * 3, "std": [0.2] * 3}


def test_a_file_is_held_fixed_and_no_pretraining_of_it_is_claimed(tmp_path):
    pairs = {"pairs": [["radiology", "published"]], "headline": ["radiology", "published"], "resamples": 400}
    changes = {"checkpoints": {"published": CHECKPOINT}, "sources": ["radiology", "published"]}
    pretrain = {"size": 80, "epochs": 1, "replicates": 3}
    study = make_study(tmp_path, ["a"], compare=pairs, pretrain=pretrain, **changes)
    fabricate(study, {"radiology": 1.2, "published": 0.8}, pretraining=0.3)
    results = load_results(study)
    overall = compare_sources(study, results).overall
    table = compare_pretrainings(study, {"grid_mean": results})
    said = resampled_sentence(study, claim_of(study, overall, table))
    assert "(3 pretrainings of each with Simulated radiology); the weights of Published, training" in said


def test_unequal_numbers_of_pretrainings_are_said_source_by_source(study, table):
    claim = row(table) | {"pretrainings_b": 2}
    said = resampled_sentence(study, claim)
    assert "3 pretrainings of each with Simulated radiology, 2 pretrainings of each with Simulated" in said


def test_a_corpus_pretrained_once_stays_fixed_beside_networks_of_unequal_numbers(study):
    corpora = study.corpora | {"radiology": study.corpora["radiology"].model_copy(update={"replicates": 1})}
    once = study.model_copy(update={"corpora": corpora})
    table = compare_pretrainings(once, {"grid_mean": load_results(once)})
    found = row(table)
    assert (found["n_networks"], found["pretrainings_a"], found["pretrainings_b"]) == (2, 1, 3)


def test_a_task_without_these_networks_leaves_the_claim_to_all_runs(study):
    """Of the second task only the network that was pretrained once has runs."""
    settings = [Setting(train="frozen", lr=0.01, backbones=["resnet50"])]
    settings.append(Setting(train="all", lr=0.001, backbones=["inception_v3"]))
    tasks = {"a": study.tasks["a"], "b": study.tasks["b"].model_copy(update={"train": ["all"]})}
    transfer = study.transfer.model_copy(update={"settings": settings})
    part = study.model_copy(update={"tasks": tasks, "transfer": transfer})
    results = load_results(part)
    overall = compare_sources(part, results).overall
    claim = claim_of(part, overall, compare_pretrainings(part, {"grid_mean": results}))
    aucs = results.runs.groupby(["task", "source", "backbone", "replicate"])["test_auc"].mean()
    paired = aucs.unstack("source").dropna()
    of_tasks = (paired["radiology"] - paired["photographs"]).groupby("task").mean()
    assert claim["n_tasks"] == len(of_tasks) == 2
    assert claim["resampled"] == "patients" and "networks" not in claim
    # Networks with several pretrainings have as many runs for each.
    assert claim["delta"] == pytest.approx(of_tasks.mean())


def test_a_claim_over_trainings_has_no_parts_and_heads_the_figure(tmp_path):
    settings = [{"train": "frozen", "lr": 0.01}, {"train": "frozen", "lr": 0.001}]
    transfer = {"settings": settings, "epochs": {"frozen": 1}, "seeds": [0, 1, 2]}
    study = make_study(tmp_path, ["a"], transfer=transfer)
    fabricate(study, STRENGTH)
    results = load_results(study)
    found, table = compare_sources(study, results), compare_pretrainings(study, {"grid_mean": results})
    claim = claim_of(study, found.overall, table)
    assert claim["resampled"] == "patients and trainings" and variance_table(study, claim) is None
    tasks = TASKS.frame([{"task": "a", "counts": "yes"}])
    panel = headline_figure(study, claim, table, tasks).axes[0]
    ends = [list(line.get_xdata()) for line in panel.lines if list(line.get_ydata()) == [0, 0]]
    assert ends == [pytest.approx([claim["ci_low"], claim["ci_high"]])]
    # A mean over a single task is none, and one over the settings of one regime has that regime's name.
    said = auc_findings(study, found.table, found.overall, table)
    assert said[0].subject.startswith("AUC, Simulated radiology − Simulated photographs: one task, frozen (")


def test_the_table_of_regimes_says_which_task_and_which_runs_diverged(study, table):
    costly = table[table["task"] == "b"].assign(estimate="all", delta=0.123)
    lost = table.assign(diverged="2 of 9 runs of radiology diverged")
    wide = by_regime(study, pd.concat([lost, costly], ignore_index=True))
    assert wide.iloc[0, 0].endswith("; no verdict")
    assert wide.iloc[0, 1].startswith("+0.123") and wide.iloc[0, 1].endswith(", b alone")


@pytest.mark.parametrize("name", ["05_auc", "08_beyond_the_mean"])
def test_a_headline_without_settings_that_train_by_gradient_is_shown_by_its_probe(
    name, tmp_path, monkeypatch
):
    pairs = {"pairs": [["radiology", "published"]], "headline": ["radiology", "published"]}
    compare = pairs | {"claim_by": "knn", "resamples": 400}
    settings = [{"train": "frozen", "lr": 0.01, "backbones": ["densenet121"]}, {"train": "knn"}]
    study = make_study(
        tmp_path, ["a"], backbones=["resnet50", "densenet121"], checkpoints={"published": CHECKPOINT},
        sources=["radiology", "published"], compare=compare,
        transfer={"settings": settings, "epochs": {"frozen": 1}},
    )  # fmt: skip
    fabricate(study, {"radiology": 1.2, "published": 0.8})
    notebook = Path(__file__).resolve().parents[1] / "notebooks" / f"{name}.ipynb"
    monkeypatch.chdir(tmp_path)
    known: dict = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), known)
    plt.close("all")
    assert known["study"].claimed == "knn"
    if name == "05_auc":
        assert known["claim"]["estimate"] == "knn" and known["model"] is None
    else:
        assert known["won"].empty and known["scored"].empty


def test_gains_of_each_network_stand_in_one_table(study, table):
    own = table[table["source_a"] == "radiology"].assign(source_b="random")
    turned = own.assign(source_a="random", source_b="photographs", delta=-own["delta"])
    turned = turned.assign(ci_low=-own["ci_high"], ci_high=-own["ci_low"])
    shown = gains_table(study, pd.concat([own, turned]))
    assert list(shown.index) == ["Simulated radiology", "Simulated photographs"]
    means = own[own["task"] == MEAN].set_index("networks")["delta"].drop(SAMPLE)
    assert sorted(shown.columns) == sorted(means.index)
    for name, delta in means.items():
        assert shown[name].map(lambda text: text.split()[0]).eq(f"{delta:+.3f}".replace("-", "−")).all()
    assert gains_table(study, table[table["source_b"] != "random"]) is None
