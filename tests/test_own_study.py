"""studies/own.yaml, the template for one's own data: used as its comments say."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from radlib.data.prepare import prepare
from radlib.study import Study, load_study
from tests.conftest import REPOSITORY

TEMPLATE = REPOSITORY / "studies" / "own.yaml"
PATIENTS = [f"P{number:03d}" for number in range(39)] + ["NA"]


@pytest.fixture
def root(tmp_path):
    """The folder after `cp studies/own.yaml params.yaml`, with images as the template describes them."""
    shutil.copy(TEMPLATE, tmp_path / "params.yaml")
    rng = np.random.default_rng(0)
    for number, patient in enumerate(PATIENTS):
        folder = tmp_path / "data/raw/my_images" / ("ill" if number % 2 else "healthy")
        folder.mkdir(parents=True, exist_ok=True)
        for side in ("left", "right"):
            pixels = rng.integers(0, 256, (12, 12), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{patient}_{side}.png")
    return tmp_path


def test_class_folders_are_read_with_their_patients(root):
    study = load_study(path=root / "params.yaml")
    prepare(study, "my_task", save=True)
    manifest = pd.read_parquet(study.dataset_dir("my_task") / "manifest.parquet")
    assert sorted(manifest["patient_id"].unique()) == sorted(PATIENTS) and len(manifest) == 80
    assert len(study.runs_of("my_task")) == 2 * 3 * 5


def test_the_list_in_the_comments_reads_the_same(root):
    text = (root / "params.yaml").read_text()
    commented = re.search(r"^#   layout: table\n#   (options: .*)$", text, flags=re.M).group(1)
    params = yaml.safe_load(text)
    task = params["tasks"]["my_task"]
    task |= {"layout": "table", **yaml.safe_load(commented)}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    images = root / "data/raw/my_images"
    files = sorted(images.glob("*/*.png"))
    rows = [(str(f.relative_to(images)), f.parent.name, f.name.split("_")[0]) for f in files]
    columns = [task["options"][key] for key in ("image", "label", "patient")]
    pd.DataFrame(rows, columns=columns).to_csv(images / "labels.csv", index=False)
    manifest = prepare(load_study(path=root / "params.yaml"), "my_task").manifest
    assert sorted(manifest["patient_id"].unique()) == sorted(PATIENTS) and len(manifest) == 80


def test_the_checkpoint_in_the_comments_takes_the_corpus_place(root):
    text = (root / "params.yaml").read_text()
    commented = re.search(r"^# corpora: \{\}\n(?:#.*\n)+", text, flags=re.M).group(0)
    params = yaml.safe_load(text) | yaml.safe_load(re.sub(r"^# ", "", commented, flags=re.M))
    params["sources"] = ["imagenet", "random"]
    params["compare"] |= {"pairs": [["imagenet", "random"]], "headline": ["imagenet", "random"]}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    study = load_study(path=root / "params.yaml")
    assert not study.simulated
    assert study.checkpoints["imagenet"].tags == {"resnet50": "tv_in1k"}


def test_the_three_files_of_the_page_on_own_data_are_a_study(root):
    page = (REPOSITORY / "docs" / "own_data.md").read_text()
    (recipe,) = [
        block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "checkpoints:" in block
    ]
    params = yaml.safe_load((root / "params.yaml").read_text()) | yaml.safe_load(recipe)
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    study = load_study(path=root / "params.yaml")
    assert list(study.checkpoints) == ["first", "second", "third"]
    assert {run.source for run in study.runs_of("my_task")} == {"first", "second", "third", "random"}


def test_the_corpus_of_the_page_on_it_takes_that_of_open():
    page = (REPOSITORY / "docs" / "radiology_corpus.md").read_text()
    built = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])["corpora"]["radiology"]
    params = yaml.safe_load((REPOSITORY / "studies" / "open.yaml").read_text())

    def classes(corpus):
        return {name for one in corpus["options"]["sets"].values() for name in one["classes"].values()}

    assert classes(built) == classes(params["corpora"]["radiology"]) and len(classes(built)) == 27
    params["corpora"]["radiology"] = built
    assert Study.model_validate(params).corpora["radiology"].layout == "collection"
