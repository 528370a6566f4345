"""The passport finds the preprocessing that known networks were trained under, or says it cannot tell."""

import json
import shutil
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from benchmarks.passport import as_input, preprocessing_of, pretrained, rates, word_of
from radlib.data.images import open_packed
from radlib.errors import UserError
from radlib.networks.cards import census, model_card
from radlib.networks.checkpoints import import_checkpoint
from radlib.networks.passport import (
    OF_IMAGES,
    ORDER,
    SCALINGS,
    TOLD,
    UNTOLD,
    Candidate,
    arriving,
    candidates,
    distances,
    match,
    verdict_of,
)
from radlib.networks.weights import Preprocessing, load_weights, save_weights
from radlib.questions.passport import (
    NEAREST,
    PASSPORT,
    REFERENCE,
    chosen,
    passport_figure,
    passport_findings,
    passports,
)
from radlib.simulate import simulated_photographs, simulated_radiology
from radlib.study.training import Backbone
from radlib.training.pretrain import channel_statistics
from tests.conftest import REPOSITORY, two_classes, write_packed
from tests.fabricated import make_study

SIDE = 32
CAFFE_255 = Preprocessing((0.407604, 0.457957, 0.485020), (1, 1, 1), "BGR")


class Small(nn.Module):
    """Three convolutions with batch norm and a classifier."""

    def __init__(self, classes: int = 4, momentum: float = 0.3):
        super().__init__()
        channels, layers = (3, 24, 24, 32), []
        for i in range(3):
            layers += [
                nn.Conv2d(*channels[i : i + 2], 3, 2 - i // 2, 1),
                nn.BatchNorm2d(channels[i + 1], momentum=momentum),
                nn.ReLU(),
            ]
        self.features, self.head = nn.Sequential(*layers), nn.Linear(32, classes)

    def forward_features(self, images):
        return self.features(images)

    def forward(self, images):
        return self.head(self.forward_features(images).mean((2, 3)))


@pytest.fixture(scope="module")
def photographs():
    """uint8 (160, 32, 32, 3) and four classes."""
    drawn = list(simulated_photographs(160, SIDE, 1))
    return np.stack([one.image for one in drawn]), np.arange(160) % 18 // 5


@pytest.fixture(scope="module")
def radiology():
    """uint8 (100, 32, 32, 1) and four classes."""
    drawn = list(simulated_radiology(100, 1, SIDE, 1))
    classes = np.unique([one.class_name for one in drawn], return_inverse=True)[1]
    return np.stack([one.image[..., None] for one in drawn]), classes % 4


def told(images, labels, truth, stated=CAFFE_255):
    """What is left of the candidates for a network trained on all but the last 48 images, which are shown."""
    own = channel_statistics(images, np.arange(len(images) - 48))
    torch.manual_seed(0)
    known = as_input(images[:-48])
    network = pretrained(Small(), known, labels[:-48], preprocessing_of(truth, own), 30, 0)
    shown = as_input(images[-48:])
    return match(network, shown, candidates(shown, stated, own), 400, 0).fitting(0.95)


FOUR = list(SCALINGS)[:4]


@pytest.mark.parametrize("truth", [*product(FOUR, ["RGB", "BGR"])])
def test_the_preprocessing_of_a_training_is_found(truth, photographs):
    assert word_of(told(*photographs, truth), truth) in ("right", "but order")


@pytest.mark.parametrize("truth", [*product(FOUR, ["BGR"])])
def test_it_is_found_on_grey_images_too(truth, radiology):
    assert word_of(told(*radiology, truth), truth) in ("right", "but order")


def test_mean_and_sd_of_the_images_are_found(photographs, radiology):
    """ImageNet's are so near to those of photographs that both may be left."""
    for images, alike in ((photographs, {OF_IMAGES, "ImageNet's mean and SD"}), (radiology, {OF_IMAGES})):
        fitting = told(*images, (OF_IMAGES, "RGB"))
        names = {name for one in fitting for name in one.names}
        assert (OF_IMAGES, "RGB") in names and {scaling for scaling, _ in names} <= alike


def test_what_a_few_batches_leave_of_the_start_is_taken_off():
    """Batches that are all alike leave their own mean and variance, however few they are."""
    norm, images = nn.BatchNorm2d(3), torch.rand(8, 3, 6, 6) * 0.1 + 0.4
    for _ in range(5):
        norm(images)
    network = nn.Sequential(norm).eval()
    network.forward_features = network.forward
    assert norm.running_var.max() > 0.5
    assert distances(arriving(network, images), np.ones((1, 8)))[0] < 1e-4


def test_the_distance_is_the_divergence_of_normal_distributions():
    network = nn.Sequential(nn.BatchNorm2d(3))
    network.forward_features = network.forward
    stored = torch.tensor([0.1, 0.5, 2.0]), torch.tensor([1.0, 0.2, 3.0])
    network[0].running_mean, network[0].running_var = stored
    images = torch.randn(20, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 0.7 + 0.3
    counts = torch.tensor([3] * 5 + [1] * 10 + [0] * 5)
    drawn = images.repeat_interleave(counts, dim=0).double().transpose(0, 1).flatten(1)
    found = Normal(drawn.mean(1), drawn.std(1, unbiased=False))
    expected = kl_divergence(found, Normal(stored[0].double(), stored[1].double().sqrt())).mean()
    value = distances(arriving(network.eval(), images), counts.numpy()[None])[0]
    assert value == pytest.approx(float(expected), rel=5e-3)


def test_candidates_that_prepare_images_alike_are_one(photographs, radiology):
    own = Preprocessing((0.3,) * 3, (0.2,) * 3)
    grey = candidates(as_input(radiology[0][:20]), Preprocessing((0.5,) * 3, (0.5,) * 3, "BGR"), own)
    assert [one.title for one in grey if one.stated] == ["−1 to 1, RGB or BGR"]
    assert "0 to 1, RGB or BGR" in [one.title for one in grey]
    assert {"ImageNet's mean and SD, RGB", "ImageNet's mean and SD, BGR"} < {one.title for one in grey}
    colour = candidates(as_input(photographs[0][:20]), CAFFE_255, own)
    assert [one.title for one in colour if one.stated] == ["Caffe / 255, BGR"] and len(colour) == 12
    strange = candidates(as_input(radiology[0][:20]), Preprocessing((0.9,) * 3, (0.1,) * 3), own)
    assert [one.title for one in strange if one.stated] == ["as the study has it, RGB"]


def test_verdicts():
    first, other, far = (
        Candidate(names, Preprocessing())
        for names in ((("a", "RGB"),), (("a", "BGR"), ("b", "BGR")), (("c", "RGB"),))
    )
    assert verdict_of([first]) == TOLD and verdict_of([first, other]) == ORDER
    assert verdict_of([first, other, far]) == verdict_of([other, far]) == UNTOLD


def test_census_counts_what_was_planted():
    network = timm.create_model("resnet10t", num_classes=0)
    state = network.state_dict()
    clean = census(state)
    norms = [key for key in state if key.endswith("running_var")]
    state[norms[0]][:3] = 0
    state[norms[1].replace("running_var", "weight")][:2] = 1e-6
    state[norms[2]][5] = 56296.0
    found = census(state)
    assert found["dead channels"] - clean["dead channels"] == 5
    assert found["exploding channels"] - clean["exploding channels"] == 1
    assert found["largest variance"] == f"5.63e+04 in {norms[2].removesuffix('.running_var')}"
    assert found["parameters"] == f"{sum(p.numel() for p in network.parameters()):,}"
    assert census(timm.create_model("test_vit", num_classes=0).state_dict())["batch norms"] == 0


def test_dead_channels_count_for_nothing():
    """A channel that never varied cannot be compared, however far the images' are."""
    network = Small().eval()
    images = torch.rand(10, 3, SIDE, SIDE)
    network.features[1].running_var[0] = 0
    (norm,) = arriving(network, images, layers=1)
    assert norm.mean.shape == (23,) and norm.first.shape == (10, 23)


def test_refusals():
    ways = [Candidate((("0 to 1", "RGB"),), Preprocessing())]
    with pytest.raises(UserError, match="7 images of different patients are too few"):
        match(Small().eval(), torch.rand(7, 3, SIDE, SIDE), ways, 100, 0)
    with pytest.raises(UserError, match="without batch norm stores nothing"):
        match(nn.Sequential(nn.Conv2d(3, 3, 1)), torch.rand(8, 3, SIDE, SIDE), ways, 100, 0)


def test_images_are_of_different_patients(tmp_path):
    write_packed(tmp_path, *two_classes(40, SIDE, 1))
    packed = open_packed(tmp_path)
    rows = chosen(packed, np.arange(30), 0)
    assert len(rows) == packed.manifest["patient_id"].iloc[rows].nunique() == 15
    assert (np.diff(rows) > 0).all() and rows.max() < 30


# A file as published ---------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def study(keras, photographs, radiology, tmp_path_factory):
    """Keras' DenseNet121 with the statistics of photographs that were prepared as RadImageNet's; the study
    says that they were prepared as ImageNet's. Its corpus has photographs, its task radiology images."""
    root = tmp_path_factory.mktemp("passport")
    folder = root / "data/raw/weights"
    folder.mkdir(parents=True)
    with keras.device("cpu"):
        keras.utils.set_random_seed(0)
        model = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(None, None, 3))
        for layer in model.layers:
            layer.momentum = 0.0  # what a batch brings is stored as it is
        model(CAFFE_255(as_input(photographs[0][:96])).permute(0, 2, 3, 1), training=True)
        model.save(folder / "notop.h5")
    imagenet = SCALINGS["ImageNet's mean and SD"]
    study = make_study(
        root,
        backbones=["densenet121"],
        sources=["published", "random"],
        checkpoints={
            "published": {
                "path": "data/raw/weights",
                "title": "Published",
                "files": {"densenet121": "notop.h5"},
                "mean": list(imagenet.mean),
                "std": list(imagenet.std),
            }
        },
        compare={"pairs": [], "headline": ["published", "random"]},
    )
    import_checkpoint(study, "published")
    study = study.model_copy(update={"backbones": {"densenet121": Backbone(size=SIDE)}})
    for name, images in (("photographs", photographs[0][96:]), ("radiology", radiology[0][:64])):
        write_packed(
            study.dataset_dir(name),
            images,
            two_classes(64, SIDE, 1)[1].assign(patient_id=np.arange(64).astype(str)),
        )
    write_packed(study.dataset_dir("thyroid_us"), *two_classes(64, SIDE, 2))
    return study, model


def test_figure_says_which_candidates_are_left_out(tmp_path):
    """Two networks with other nearest candidates: more are drawn than the nearest of one."""
    names = [f"candidate {i}" for i in range(NEAREST + 3)]
    first = pd.DataFrame({"candidate": names, "backbone": "one", "distance": np.arange(1, len(names) + 1.0)})
    second = first.assign(backbone="other", candidate=[names[-1], *names[:-1]])
    known = {"source": "radiology", "fits": False, "stated": False, "ci_low": 0.5, "ci_high": 20.0}
    study, table = make_study(tmp_path), pd.concat([first, second]).assign(**known)
    figure = passport_figure(study, table, "radiology")
    assert len(figure.axes[0].get_yticks()) == NEAREST + 1
    title = figure.legends[0].get_title().get_text()
    assert f"not drawn: 2 candidates, not among the nearest {NEAREST} of any network)" in title
    title = passport_figure(study, table[: len(names)], "radiology").legends[0].get_title().get_text()
    assert title.endswith(f"not drawn: 3 candidates, not among the nearest {NEAREST})")
    plt.close("all")


def test_a_keras_file_under_a_wrong_preprocessing_is_found_out(study, keras):
    study, model = study
    found = passports(study)
    table = found.table
    assert list(table) == PASSPORT.names and (table["dataset"] == "photographs").all()
    nearest = table.iloc[0]
    assert nearest["candidate"] == "Caffe / 255, BGR" and nearest["n_datasets"] == 3
    assert nearest["distance"] < 0.05 and nearest["ci_low"] <= nearest["distance"] <= nearest["ci_high"]
    stated = table[table["stated"]].iloc[0]
    assert stated["candidate"] == "ImageNet's mean and SD, RGB" and not stated["fits"]
    (finding,) = passport_findings(study, table)
    assert "WARNING: the study prepares its images otherwise" in finding.verdict
    title = passport_figure(study, table, "published").legends[0].get_title().get_text()
    assert f"not drawn: {(~table['stated']).iloc[NEAREST:].sum()} candidates" in title
    plt.close("all")
    assert {"parameters", "dead channels"} < set(model_card(study, "published").index)
    of_task = passports(study, images="thyroid_us").table
    assert (of_task["dataset"] == "thyroid_us").all() and (of_task["n_images"] == 32).all()
    with pytest.raises(UserError, match="no data set 'elsewhere'"):
        passports(study, images="elsewhere")


def test_the_reference_vector_is_what_keras_says_of_the_picture(study, keras):
    """The picture by its formula, prepared as the study states, through Keras' own network."""
    study, model = study
    found = passports(study, images="photographs")
    found.write(study)
    reference = json.loads((study.report_dir / REFERENCE).read_text())["published"]["densenet121"]
    y, x, c = np.mgrid[: reference["size"], : reference["size"], :3]
    picture = (2 * x + 3 * y + x * y // 8 + 40 * c) % 256 / 255
    way = study.checkpoints["published"]
    with torch.no_grad(), keras.device("cpu"):
        maps = model(((picture - way.mean) / way.std).astype(np.float32)[None], training=False)
    expected = maps.mean((1, 2))[0].numpy()
    assert len(reference["features"]) == 1024
    assert np.abs(reference["features"] - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_distance_by_hand_holds_where_a_channel_is_still(study, tmp_path):
    """The cell of 03_passport, on grey images, of a network with a filter that sees colours alone."""
    root = shutil.copytree(study[0].root, tmp_path / "copy")
    coloured = study[0].model_copy(update={"root": root})
    weights = load_weights(coloured, "published", "densenet121")
    filters = weights.state["features.conv0.weight"]
    filters[0] = torch.stack([filters[0, 0], -filters[0, 0], 0 * filters[0, 0]]) / 100
    save_weights(coloured.model_file("published", "densenet121"), weights.state, weights.preprocessing)
    cells = json.loads((REPOSITORY / "notebooks/03_passport.ipynb").read_text())["cells"]
    (code,) = ("".join(cell["source"]) for cell in cells if cell.get("id") == "method")
    shown = []
    known = {"study": coloured, "sources": ["published"], "images": None, "pd": pd, "display": shown.append}
    exec(code, known)  # it asserts that the library computes the same
    assert known["v"].min() < 2e-3 * known["V"][known["v"].argmin()] and len(shown[0]) == 8


def test_rates_of_the_benchmark():
    rows = pd.DataFrame(
        {"shown": "same kind", "margin": 2, "word": ["right"] * 19 + ["wrong"], "distance": 0.01}
    )
    table = rates(rows)
    assert table["right"].iloc[0] == "19/20 (75% to 100%)" and table["wrong"].iloc[0] == "1/20 (0% to 25%)"
