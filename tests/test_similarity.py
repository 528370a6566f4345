"""Similarity of networks: stages against timm's own, equal and random sources, trainings of 04_transfer."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import timm
import torch

from radlib import compute
from radlib.networks.weights import Preprocessing, load_weights, save_weights
from radlib.questions.similarity import (
    AFTER,
    BEFORE,
    DRAWS,
    SIMILARITY,
    correlation_words,
    scatter_figure,
    similarity,
    similarity_findings,
    stages_figure,
    stages_runs,
    trained_words,
)
from radlib.stats.cka import cka
from radlib.study import load_study
from radlib.study.questions import Similarity
from radlib.study.training import Compute, Setting
from radlib.training.grid import carry_out
from radlib.training.results import load_results
from radlib.training.stages import POOLED, StagesGroup, stage_names, watched
from radlib.training.transfer import transfer
from tests import networks
from tests.conftest import REPOSITORY, SMALL, two_classes, write_packed

TASK, PAIRS = "breast_us", [("radiology", "random"), ("photographs", "random"), ("radiology", "photographs")]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> tuple:
    """Study and table: 100 images; `photographs` has the weights of `random`, `radiology` has others."""
    study = load_study({"pretrain.replicates": 1}, path=REPOSITORY / "studies" / "smoke.yaml")
    compare = study.compare.model_copy(update={"pairs": PAIRS, "headline": PAIRS[0], "resamples": 2000})
    settings = [Setting(train="frozen", lr=0.01), Setting(train="all", lr=0.003)]
    transferred = study.transfer.model_copy(update={"settings": settings})
    task = study.tasks[TASK].model_copy(update={"folds": 1})
    changes = {"compute": Compute(workers=1), "compare": compare, "transfer": transferred}
    changes |= {"similarity": Similarity(tasks=[TASK]), "tasks": {TASK: task}}
    study = study.model_copy(update={"root": tmp_path_factory.mktemp("similar"), **changes})
    write_packed(study.dataset_dir(TASK), *two_classes(100, 32, folds=1))
    for source, seed in (("radiology", 1), ("photographs", study.seed)):
        weights = load_weights(study.model_copy(update={"seed": seed}), "random", SMALL)
        save_weights(study.model_file(source, SMALL), weights.state, Preprocessing())
    transfer(study, TASK, save=True)
    return study, similarity(study, load_results(study))


def line(table: pd.DataFrame, state: str, one: str, other: str) -> pd.DataFrame:
    return table[(table["state"] == state) & (table["one"] == one) & (table["other"] == other)]


def test_equal_networks_are_entirely_alike_and_different_ones_are_not(found):
    _, table = found
    same = line(table, BEFORE, "photographs", "random")
    np.testing.assert_allclose(same[["cka", "ci_low", "ci_high"]], 1, atol=1e-6)
    other, twice = line(table, BEFORE, "radiology", "random"), line(table, BEFORE, *DRAWS)
    assert len(other) == len(twice) == len(stage_names(timm.create_model(SMALL))) + 1
    assert (other["cka"] < 0.999).all() and (other["ci_low"] < other["cka"]).all()
    last = same[same["module"] == POOLED].squeeze()
    assert last["verdict"] == "more alike than two random initialisations" and last["delta"] == 0
    # Other draws of random weights are no more alike than the two that all are measured by.
    assert (other["verdict"] == "no difference shown").mean() >= 0.5


def test_the_training_is_that_of_04_transfer(found):
    study, table = found
    own = carry_out(study, TASK, stages_runs(study, TASK), StagesGroup, "again")
    assert own.computed == 0
    whole = transfer(study, TASK)
    keys = ["source", "train"]
    trained = own.runs[own.runs["train"] == "all"].set_index(keys)["val_loss"]
    np.testing.assert_array_equal(trained, whole.runs.set_index(keys)["val_loss"].loc[trained.index])
    after = line(table, AFTER, "radiology", "random")
    before = line(table, BEFORE, "radiology", "random")
    np.testing.assert_allclose(after["change"], after["cka"].to_numpy() - before["cka"].to_numpy(), atol=1e-9)
    assert (after["cka"].to_numpy() != before["cka"].to_numpy()).all()
    runs = whole.runs[whole.runs["train"] == "all"].set_index("source")["test_auc"]
    assert after["delta"].iloc[-1] == pytest.approx(runs["radiology"] - runs["random"], abs=1e-6)


def test_cka_is_of_patients_and_of_the_networks_own_features(found):
    study, table = found
    manifest = pd.read_parquet(study.dataset_dir(TASK) / "manifest.parquet")
    own = manifest["part_0"] == "test"
    images = torch.from_numpy(np.load(study.dataset_dir(TASK) / "images.npy")[own.to_numpy()])
    batch = (images.permute(0, 3, 1, 2).float().expand(-1, 3, -1, -1) / 255 - 0.5) / 0.5
    means = []
    for source in PAIRS[0]:
        network = load_weights(study, source, SMALL).build().eval().cpu()
        with compute.inference():
            said = network(batch).float().numpy()
        means.append(pd.DataFrame(said).groupby(manifest.loc[own, "patient_id"].to_numpy()).mean().to_numpy())
    row = line(table, BEFORE, *PAIRS[0]).set_index("module").loc[POOLED]
    assert row["cka"] == pytest.approx(cka(means)[0, 1], abs=0.02 if torch.cuda.is_available() else 2e-3)
    assert row["n_patients"] == manifest.loc[own, "patient_id"].nunique()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet10t", {}),
        ("vit_tiny_patch16_224", {"depth": 2, "img_size": 64}),
        ("swin_tiny_patch4_window7_224", {"depths": (1, 1), "num_heads": (1, 2), "img_size": 56}),
    ],
)
def test_stages_are_those_of_timm(name, options):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0, **options).eval()
    size = options.get("img_size", 64)
    images, said = torch.randn(2, 3, size, size), {}
    with torch.no_grad():
        with watched(network, said):
            network(images)
        maps = network.forward_intermediates(images, output_fmt="NCHW", intermediates_only=True)
        network(images)  # no longer watched
    assert list(said) == stage_names(network)
    assert all(len(parts) == 1 for parts in said.values())
    if name.startswith("vit"):  # timm leaves out the class token, which is one of the places here
        assert said["blocks.1"][0].shape == (2, 192)
        return
    for parts, expected in zip(said.values(), maps[-len(said) :], strict=True):
        torch.testing.assert_close(parts[0], expected.mean((2, 3)), atol=1e-4, rtol=1e-4)


def test_what_is_shown(found):
    study, table = found
    assert list(table) == SIMILARITY.names
    panels = stages_figure(study, table, TASK).axes
    titles = [f"{SMALL},\nbefore transfer", f"{SMALL},\nafter transfer (all layers trained)"]
    assert [panel.get_title() for panel in panels] == titles
    dashed = [[line for line in panel.lines if line.get_linestyle() == "--"] for panel in panels]
    assert [len(lines) for lines in dashed] == [1, 1], "two random initialisations stand beside either state"
    # Where only the top layers train, the stages below them are as they were.
    below = table.assign(change=table["change"].where(table["stage"] == table["stage"].max(), 0))
    after = below[below["state"] == AFTER]
    assert trained_words(study, after).endswith(f", from stage {table['stage'].max()} on)")
    panel, *_ = scatter_figure(study, table).axes
    ends = [value for line in panel.lines for value in line.get_ydata()]
    assert min(ends) >= 0, "a size is never negative, nor an end of its interval"
    sizes = [line.get_ydata()[0] for line in panel.lines if line.get_marker() not in ("None", None)]
    assert sorted(sizes) == pytest.approx(sorted(table["delta"].abs().dropna()))
    assert correlation_words(study, table).endswith(", 6 points")
    assert (
        correlation_words(study, table[table["state"] == BEFORE])
        == "3 points: too few for a rank correlation"
    )
    said = similarity_findings(study, table)
    assert [one.subject.split(",")[0] for one in said[:2]] == [
        "CKA before transfer",
        "CKA after transfer minus before",
    ]
    patients = f"{table['n_patients'].max():.0f} test patients"
    assert all(patients in one.subject and "of what the heads read" in one.subject for one in said[:2])
    plt.close("all")


def test_a_study_without_the_question_or_without_such_settings(found):
    study, _ = found
    empty = similarity(study.model_copy(update={"similarity": Similarity()}), load_results(study))
    assert empty.empty and not similarity_findings(study, empty)
    study = study.model_copy(update={"similarity": Similarity(tasks=[TASK], after="top10")})
    assert {run.train for run in stages_runs(study, TASK)} == {"frozen"}


def test_a_network_that_diverged_is_compared_with_none_and_said(found, monkeypatch):
    study, table = found

    def one_lost(*given):
        own = carry_out(*given)
        lost = (own.runs["source"] == "radiology") & (own.runs["train"] == "all")
        said = own.predictions.copy()
        rows = said["run"].isin(own.runs["run"][lost])
        no_numbers = np.full(len(said[POOLED][0]) // 4, np.nan, np.float32).tobytes()
        said.loc[rows, POOLED] = no_numbers
        return replace(own, runs=own.runs.assign(diverged=lost), predictions=said)

    monkeypatch.setattr("radlib.questions.similarity.carry_out", one_lost)
    results = load_results(study)
    again = similarity(study, results)
    said = "1 of 1 runs of radiology diverged"
    assert set(line(again, AFTER, "radiology", "random")["diverged"]) == {said}
    kept = again[again["diverged"].isna()].drop(columns="diverged")
    sound = table[(table["state"] == BEFORE) | ~table[["one", "other"]].eq("radiology").any(axis=1)]
    pd.testing.assert_frame_equal(
        kept.reset_index(drop=True), sound.reset_index(drop=True), check_dtype=False
    )
    words = [one.verdict for one in similarity_findings(study, again)]
    assert words[1] == f"no verdict: {said}" and not words[0].startswith("no verdict")
    stages_figure(study, again, TASK)
    results.runs["diverged"] = results.runs["source"] == "radiology"
    of_radiology = again[["one", "other"]].eq("radiology").any(axis=1)
    assert similarity(study, results)["delta"][of_radiology].isna().all()
    plt.close("all")


@pytest.mark.parametrize("source", ["radiology", "random"])
def test_a_network_without_numbers_before_transfer_is_said(found, monkeypatch, source):
    """Of random weights, against which all others stand before transfer, no verdict there is left."""
    study, table = found

    def one_lost(*given):
        own = carry_out(*given)
        lost = (own.runs["source"] == source) & (own.runs["train"] == "frozen")
        return replace(own, runs=own.runs.assign(diverged=lost))

    monkeypatch.setattr("radlib.questions.similarity.carry_out", one_lost)
    again = similarity(study, load_results(study))
    said = f"1 of 1 runs of {source} diverged"
    assert set(line(again, BEFORE, "radiology", "random")["diverged"]) == {said}
    after, sound = (line(some, AFTER, "radiology", "random") for some in (again, table))
    np.testing.assert_array_equal(after["cka"], sound["cka"])
    assert after["verdict"].str.startswith("no verdict: before transfer").all(), "changed from what?"
    similarity_findings(study, again)
    stages_figure(study, again, TASK)
    plt.close("all")


def test_stages_are_numbered_from_the_image_on_in_every_network(found):
    """The second network has stages of other names, and the first one's pooled features before them."""
    study, _ = found
    other = "test_resnet"
    for seed, source in enumerate(("radiology", "photographs")):
        weights = load_weights(study.model_copy(update={"seed": seed}), "random", other)
        save_weights(study.model_file(source, other), weights.state, Preprocessing())
    both = {SMALL: study.backbones[SMALL], other: study.backbones[SMALL]}
    asked = {"similarity": Similarity(tasks=[TASK], after="top10"), "backbones": both}
    table = similarity(study.model_copy(update=asked), load_results(study))
    for name in both:
        own = table[(table["backbone"] == name) & (table["one"] == DRAWS[0]) & (table["other"] == DRAWS[1])]
        expected = [*stage_names(timm.create_model(name)), POOLED]
        assert own["module"].tolist() == expected
        assert own["stage"].tolist() == list(range(1, len(expected) + 1))


def test_class_and_register_tokens_are_no_places():
    """A stage of a vision transformer is the mean over its patches, as timm's average pooling has it."""
    network, said = networks.tiny_dinov2(num_classes=0).eval(), {}
    images = torch.rand(2, 3, *network.patch_embed.img_size)
    with watched(network, said), torch.inference_mode():
        last = network.forward_features(images)
    assert network.num_prefix_tokens > 1
    blocks = []
    hook = network.blocks[-1].register_forward_hook(lambda module, given, out: blocks.append(out))
    with torch.inference_mode():
        network.forward_features(images)
    hook.remove()
    kept = blocks[0][:, network.num_prefix_tokens :].mean(1)
    assert torch.allclose(said[stage_names(network)[-1]][0], kept, atol=1e-6)
    assert last.shape[1] == blocks[0].shape[1]
