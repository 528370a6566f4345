"""The published protocol: its grid as the paper counts it, and a cut of it from published files on."""

import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from radlib.data.prepare import prepare
from radlib.networks import backbones
from radlib.networks.checkpoints import import_checkpoint
from radlib.networks.weights import load_weights
from radlib.questions.auc.compute import compare_sources
from radlib.run.choose import choose
from radlib.run.commands import main
from radlib.run.plan import plan
from radlib.study import Study, load_study
from radlib.training.pretrain import pretrain
from radlib.training.results import load_results
from radlib.training.transfer import transfer
from tests import paper_files
from tests import published_files as published
from tests.conftest import LITE0, REPOSITORY

PAPER = REPOSITORY / "studies" / "paper.yaml"
SMALL_SETS = {"thyroid_us", "breast_us", "acl_mri", "meniscus_mri"}


def test_study_has_the_published_runs():
    study = load_study(path=PAPER)
    assert set(study.tasks) == set(paper_files.TRANSFER)
    runs = [run for task in study.tasks for run in study.runs_of(task)]
    two = [run for run in runs if run.source in ("radimagenet", "imagenet")]
    assert len(two) == len(set(two)) == 24 * 2 * (4 * 5 + 4) == 1152
    assert len(runs) == 2 * len(two), "weights pretrained here and random ones are two sources more"
    rates = {"frozen": (1e-2, 1e-3), "top10": (1e-2, 1e-3), "all": (1e-3, 1e-4)}
    settings = {(b, t, lr) for b in study.backbones for t in rates for lr in rates[t]}
    assert {(run.backbone, run.train, run.lr) for run in runs} == settings and len(settings) == 24
    for task in study.tasks:
        folds = {run.fold for run in runs if run.task == task}
        assert len(folds) == (5 if task in SMALL_SETS else 1)
        assert study.tasks[task].augment == ("full" if task in SMALL_SETS else "shifts")
        assert {study.input_size(task, backbone) for backbone in study.backbones} == {256}
    assert set(study.transfer.epochs.values()) == {30} and study.pretrain.size == 224


def test_weights_of_the_study_keep_their_own_preprocessing():
    checkpoint = load_study(path=PAPER).checkpoints["radimagenet"]
    assert checkpoint.channels == "BGR" and checkpoint.std == (1, 1, 1)
    np.testing.assert_allclose(255 * np.array(checkpoint.mean), (103.939, 116.779, 123.68), atol=1e-3)


@pytest.fixture
def cut(tmp_path) -> Study:
    """The study with one small backbone, two tasks, half of the settings, and small images for one epoch."""
    params = yaml.safe_load(PAPER.read_text())
    params["tasks"] = {name: params["tasks"][name] | {"size": 32} for name in ("thyroid_us", "covid_ct")}
    params["corpora"]["radimagenet_here"]["size"] = 32
    params["backbones"] = {LITE0: {"size": 32}}
    params["checkpoints"]["radimagenet"]["files"] = {LITE0: "published.safetensors"}
    params["checkpoints"]["imagenet"]["tags"] = {LITE0: "in1k"}
    params["sources"] = ["radimagenet", "imagenet", "radimagenet_here"]
    params["compare"]["pairs"] = [["radimagenet", "imagenet"], ["radimagenet_here", "imagenet"]]
    params["pretrain"] |= {"size": 32, "epochs": 1}
    params["transfer"]["settings"] = params["transfer"]["settings"][1::2]
    params["transfer"]["epochs"] = dict.fromkeys(("frozen", "top10", "all"), 1)
    params["segment"]["tasks"] = []
    params["confounds"]["tasks"] = []
    del params["controls"], params["robustness"], params["similarity"]
    params["compute"] = {"workers": 1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    study = load_study(path=tmp_path / "params.yaml")
    paper_files.thyroid(study.raw_path(study.tasks["thyroid_us"]))
    paper_files.covid(study.raw_path(study.tasks["covid_ct"]))
    published.radimagenet(study.raw_path(study.corpora["radimagenet_here"]))
    for seed, name in enumerate(study.checkpoints):
        torch.manual_seed(seed)
        file = study.checkpoint_file(name, LITE0)
        file.parent.mkdir(parents=True)
        save_file(backbones.create(LITE0, classes=5).state_dict(), file)
    return study


def test_cut_study_runs_from_published_files_to_intervals(cut):
    for dataset in [*cut.tasks, *cut.corpora]:
        prepare(cut, dataset)
    for name in cut.checkpoints:
        import_checkpoint(cut, name)
    pretrain(cut, "radimagenet_here", save=True)
    digests = {source: load_weights(cut, source, LITE0).digest for source in cut.sources}
    assert len(set(digests.values())) == 3
    for task in cut.tasks:
        found = transfer(cut, task, save=True)
        assert len(found.runs) == 3 * 3 * cut.tasks[task].folds
        assert dict(zip(found.runs["source"], found.runs["weights_digest"], strict=True)) == digests
        assert found.localisation.empty == (task == "covid_ct")
    table = compare_sources(cut, load_results(cut)).table
    rows = table[(table["source_a"] == "radimagenet") & (table["estimate"] == "grid_mean")]
    assert dict(zip(rows["task"], rows["n_patients"], strict=True)) == {"thyroid_us": 30, "covid_ct": 12}
    assert (rows["ci_low"] <= rows["delta"]).all() and (rows["delta"] <= rows["ci_high"]).all()
    assert not rows["simulated"].any()


def public() -> str:
    """studies/paper.yaml after the edits that docs/published_protocol.md asks for."""
    text, page = PAPER.read_text(), (REPOSITORY / "docs" / "published_protocol.md").read_text()
    for old, new in (
        ("name: paper", "name: paper_public"),
        ("title: The published protocol, eight tasks", "title: The published protocol, seven public tasks"),
    ):
        assert f"`{new}`" in page
        text, edits = re.subn(f"^{old}$", new, text, flags=re.M)
        assert edits == 1
    return re.sub(r"^  covid_ct:.*?(?=^  sarscov2_ct:)", "", text, flags=re.M | re.S)


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    """A repository's folder, entered, and the public downloads in another one."""
    home, downloads = tmp_path / "home", tmp_path / "downloads"
    (home / "studies").mkdir(parents=True)
    shutil.copy(PAPER, home / "studies")
    paper_files.write_all(downloads, load_study(path=PAPER))
    # The files of weights are empty here; test_published_weights.py reads real ones.
    monkeypatch.setattr("radlib.networks.checkpoints.published_weights", lambda *_: None)
    shutil.rmtree(downloads / "covid19")
    monkeypatch.chdir(home)
    return home, str(downloads)


def test_public_part_of_the_study_goes_through_the_commands_of_the_readme(at_home, capsys):
    home, downloads = at_home
    assert main(["study", "--study", "paper", "--raw", downloads]) == 1
    assert "'covid_ct' (COVID-19 CT) is not at data/raw/covid19" in capsys.readouterr().err
    shutil.copy(home / "studies/paper.yaml", home / "params.yaml")
    (home / "params.yaml").write_text(public())
    assert main(["check-data", "--raw", downloads]) == 0
    assert "Error: " not in capsys.readouterr().out
    choose("", downloads)
    study = load_study()
    assert study.name == "paper_public" and set(study.tasks) == set(paper_files.TRANSFER) - {"covid_ct"}
    assert (
        sum(run.source in ("radimagenet", "imagenet") for t in study.tasks for run in study.runs_of(t))
        == 1104
    )
    found = {name: prepare(study, name) for name in [*study.tasks, *study.corpora]}
    assert all(len(prepared.manifest) for prepared in found.values())
    assert all(stage.images is not None for stage in plan(study))
    lists = {name: not prepared.audit["own_folds"] for name, prepared in found.items()}
    assert all(lists.values()), "the authors' lists are taken everywhere"
    assert found["pneumonia_cxr"].audit["left_out_of_a_fold"] == 1, "a person in two of the authors' parts"


def test_study_without_images_of_radimagenet_is_one_too(tmp_path):
    params = yaml.safe_load(public())
    params["corpora"] = {}
    params["sources"].remove("radimagenet_here")
    params["compare"]["pairs"] = [p for p in params["compare"]["pairs"] if "radimagenet_here" not in p]
    params["controls"]["positive"] = {}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    assert load_study(path=tmp_path / "params.yaml").sources == ["radimagenet", "imagenet", "random"]
