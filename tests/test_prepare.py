"""From published files to data/<dataset>/, on small datasets written here."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from radlib.data import packing
from radlib.data import prepare as prepare_module
from radlib.data.figures import (
    card,
    class_counts,
    lesion_shares,
    named,
    readable,
    side_by_side,
    split_check,
    split_table,
    unit_of,
)
from radlib.data.images import open_packed
from radlib.data.prepare import prepare
from radlib.errors import UserError
from radlib.run.check_data import check_data, report
from radlib.run.choose import check_raw, choose
from radlib.study import load_study
from tests.conftest import REPOSITORY, two_classes

PATIENTS = 30


def quiet(items, **_):
    return items


@pytest.fixture
def own_data(tmp_path):
    """A study whose params.yaml has one more entry: 60 PNGs of 30 patients, listed in a csv."""
    raw = tmp_path / "data" / "raw" / "mine"
    (raw / "scans").mkdir(parents=True)
    rows = []
    for number in range(2 * PATIENTS):
        rng = np.random.default_rng(number)
        Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8)).save(raw / "scans" / f"{number}.png")
        mask = np.zeros((20, 30), dtype=np.uint8)
        mask[5:15, 5:15] = 255
        Image.fromarray(mask).save(raw / "scans" / f"{number}_lesion.png")
        patient = number // 2
        rows.append(
            (
                f"{number}.png",
                f"{number}_lesion.png" if patient % 3 == 0 else "",
                f"{patient:03d}",
                patient % 3 == 0,
            )
        )
    table = pd.DataFrame(rows, columns=["file", "lesion", "person", "tumour"])
    table.assign(tumour=table["tumour"].astype(int)).to_csv(raw / "list.csv", index=False)
    params = yaml.safe_load((REPOSITORY / "studies" / "smoke.yaml").read_text())
    params["tasks"]["mine"] = yaml.safe_load("""
        layout: table
        path: data/raw/mine
        title: My own images
        size: 16
        negative: healthy
        positive: tumour
        folds: 5
        options:
          csv: list.csv
          images: scans
          image: file
          label: tumour
          labels: {0: healthy, 1: tumour}
          patient: person
          mask: lesion
    """)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return load_study(path=tmp_path / "params.yaml")


def changed(study, **options):
    task = study.tasks["mine"]
    task = task.model_copy(update={"options": task.options | options})
    return study.model_copy(update={"tasks": {"mine": task}})


def test_own_data_is_one_entry_of_params_yaml(own_data):
    prepare(own_data, "mine", progress=quiet)
    packed = open_packed(own_data.dataset_dir("mine"))
    manifest = packed.manifest
    assert packed.images.shape == (60, 16, 16, 1) and packed.images.dtype == np.uint8
    assert list(manifest["image_id"]) == sorted(f"{n}.png" for n in range(60))
    assert manifest.groupby("patient_id").size().to_dict() == {f"{p:03d}": 2 for p in range(PATIENTS)}
    for row, image_id in enumerate(manifest["image_id"]):
        number = int(image_id.removesuffix(".png"))
        original = Image.open(own_data.root / "data/raw/mine/scans" / image_id)
        expected = np.asarray(original.resize((16, 16), Image.Resampling.BILINEAR))
        assert np.array_equal(packed.images[row, :, :, 0], expected)
        assert manifest["label"][row] == int(number // 2 % 3 == 0)
        drawn = np.zeros((20, 30), dtype=bool)
        drawn[5:15, 5:15] = manifest["label"][row]
        assert np.array_equal(packed.masks[row], drawn)
        assert manifest["has_mask"][row] == bool(manifest["label"][row])
    assert set(manifest["width"]) == {30} and set(manifest["height"]) == {20}
    assert packed.meta["classes"] == ["healthy", "tumour"] and packed.meta["simulated"] is False


def test_every_patient_is_tested_once_and_never_shared(own_data):
    manifest = prepare(own_data, "mine", save=False, progress=quiet).manifest
    columns = [f"part_{k}" for k in range(5)]
    by_patient = manifest.groupby("patient_id")[columns]
    assert (by_patient.nunique() == 1).all(axis=None)
    assert ((by_patient.first() == "test").sum(axis=1) == 1).all()


def test_a_letterboxed_variant_has_the_same_patients_and_parts(own_data):
    task = own_data.tasks["mine"]
    variant = task.model_copy(update={"variant_of": "mine", "resize": "letterbox"})
    study = own_data.model_copy(update={"tasks": {"mine": task, "padded": variant}})
    assert study.compared_tasks == ["mine"]
    for name in study.tasks:
        prepare(study, name, progress=quiet)
    stretched, padded = (open_packed(study.dataset_dir(name)) for name in study.tasks)
    pd.testing.assert_frame_equal(padded.manifest, stretched.manifest)
    assert (stretched.resize, padded.resize) == ("stretch", "letterbox")
    assert padded.digest != stretched.digest
    # 20 x 30 px in a square of 16: black above and below, the picture in 16 columns and about 11 rows.
    assert (padded.images[:, [0, 1, -2, -1]] == 0).all() and (padded.images[:, 4:12] > 0).mean() > 0.95
    assert all(np.array_equal(padded.masks[row], stretched.masks[row]) for row in range(60))


def test_a_task_to_be_segmented_needs_masks_before_anything_is_trained(own_data):
    segmented = own_data.segment.model_copy(update={"tasks": ["mine"]})
    study = own_data.model_copy(update={"segment": segmented})
    assert prepare(study, "mine", save=False, progress=quiet).manifest["has_mask"].any()
    with pytest.raises(UserError, match="task 'mine' has no lesion masks to learn from"):
        prepare(changed(study, mask=None), "mine", save=False, progress=quiet)


def test_an_empty_mask_is_neither_a_lesion_nor_a_missing_mask(own_data):
    raw = own_data.root / "data" / "raw" / "mine" / "scans"
    Image.fromarray(np.zeros((20, 30), dtype=np.uint8)).save(raw / "0_lesion.png")
    shutil.copy(raw / "2.png", raw / "3.png")  # dropped, and counted no more
    prepared = prepare(own_data, "mine", save=False, progress=quiet)
    row = prepared.manifest.set_index("image_id").loc["0.png"]
    assert row["empty_mask"] and not row["has_mask"] and prepared.manifest["empty_mask"].sum() == 1
    said = card(own_data.tasks["mine"], prepared)
    assert "| 19 with a lesion; 1 empty: no lesion" in said and "; 39 missing: their images" in said


def test_odd_pictures_and_masks_are_named_before_and_after_preparing(own_data):
    scans = own_data.root / "data" / "raw" / "mine" / "scans"
    rough = np.asarray(Image.open(scans / "3.png")) // 16 * 16
    Image.fromarray(rough).save(scans / "3.png")
    large = np.full((20, 30), 255, dtype=np.uint8)
    large[4:] = 0
    Image.fromarray(255 - large).save(scans / "0_lesion.png")
    (scans / "4.png").write_bytes(b"II*\0" + bytes(100))
    prepared = prepare(own_data, "mine", save=False, progress=quiet)
    reason = "a damaged TIFF, or of a kind that is not read"
    assert prepared.dropped.values.tolist() == [["4.png", reason]] and len(prepared.manifest) == 59
    sentences = prepared.audit["looks"]
    shown = card(own_data.tasks["mine"], prepared)
    assert all(one in shown for one in sentences) and f"| excluded | {reason}: 1 |" in shown
    assert "1 picture with fewer than 32 grey levels" in sentences[0] and "`3.png`" in sentences[0]
    assert "1 mask over more than half of the picture" in sentences[1] and "`0.png`" in sentences[1]
    checked = check_data(own_data)
    (mine,) = (one for one in checked if one.name == "mine")
    assert mine.left_out == {reason: 1} and mine.warnings == [f"'mine': {one}" for one in sentences]
    assert f"Left out of 'mine': 1, {reason}" in report(own_data, checked).splitlines()
    shares = lesion_shares(prepared)
    assert shares.loc["tumour"].tolist() == [20, 16.7, 16.7, 80.0, 1, 0]
    assert shares.loc["healthy", "images with a lesion"] == 0


def test_masks_that_are_mostly_inverted_are_refused_before_anything_is_computed(own_data):
    for file in (own_data.root / "data" / "raw" / "mine" / "scans").glob("*_lesion.png"):
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    sentence = r"dataset 'mine': the masks look inverted: 20 of 20 mark more than half .* \(first: 0.png\)"
    with pytest.raises(UserError, match=sentence):
        prepare(own_data, "mine", save=False, progress=quiet)
    (mine,) = (one for one in check_data(own_data) if one.name == "mine")
    assert len(mine.errors) == 1 and re.match(sentence, mine.errors[0])


def content(folder) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def linked_into_outputs(study, folder):
    (study.raw / "linked").symlink_to(folder, target_is_directory=True)
    return "data/raw/linked"


@pytest.mark.parametrize(
    "path",
    [
        lambda study, folder: str(folder),
        lambda study, folder: str(folder / "scans"),
        lambda study, folder: "data",
        lambda study, folder: ".",
        lambda study, folder: str(folder.relative_to(study.root)).upper(),
        lambda study, folder: "results/mine",
        lambda study, folder: "data/raw/../../models",
        linked_into_outputs,
    ],
)
@pytest.mark.parametrize("kind", ["tasks", "checkpoints"])
def test_no_study_reads_where_it_writes(own_data, path, kind):
    folder = own_data.dataset_dir("mine")
    shutil.copytree(own_data.root / "data/raw/mine", folder)
    params = yaml.safe_load((own_data.root / "params.yaml").read_text())
    path = path(own_data, folder)
    if kind == "tasks":
        params["tasks"]["mine"]["path"] = path
    else:
        params["checkpoints"] = {"weights": {"path": path, "tags": dict.fromkeys(params["backbones"], "x")}}
    (own_data.root / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(UserError, match="lie in one another; keep what is yours elsewhere"):
        load_study(path=own_data.root / "params.yaml")


def test_a_link_to_downloads_that_leads_into_the_study_is_refused(own_data, monkeypatch):
    monkeypatch.chdir(own_data.root)
    shutil.move("data/raw", "results")
    with pytest.raises(UserError, match="lie in one another"):
        choose("", str(own_data.root / "results"))
    assert len(list((own_data.root / "results").rglob("*.png"))) > 60


def test_no_dataset_is_called_like_the_folder_of_downloads(own_data):
    params = (own_data.root / "params.yaml").read_text()
    (own_data.root / "params.yaml").write_text(params.replace("  mine:", "  raw:"))
    with pytest.raises(UserError, match="'raw' is where downloads lie"):
        load_study(path=own_data.root / "params.yaml")


def test_only_folders_that_carry_our_mark_are_removed(own_data):
    folder = own_data.dataset_dir("mine")
    scan = folder / "scans" / "1.png"
    scan.parent.mkdir(parents=True)
    scan.write_bytes(b"the only copy")
    with pytest.raises(UserError, match="holds scans, which this version did not write"):
        prepare(own_data, "mine", progress=quiet)
    with pytest.raises(UserError, match="holds scans, which this version did not write"):
        check_raw(own_data)  # before DVC starts, which removes what a stage writes
    assert scan.read_bytes() == b"the only copy" and len(list(folder.parent.iterdir())) <= 2
    elsewhere = folder.rename(own_data.root / "elsewhere")
    folder.symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(UserError, match="is a file or a link"):
        prepare(own_data, "mine", progress=quiet)
    assert list(elsewhere.rglob("*.png"))
    folder.unlink()
    folder.mkdir()
    prepare(own_data, "mine", progress=quiet)
    prepare(own_data, "mine", progress=quiet)
    assert open_packed(folder).images.shape[0] == 60
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds notes.txt, which"):
        prepare(own_data, "mine", progress=quiet)
    assert (folder / "notes.txt").read_text() == "mine"


def test_same_files_give_the_same_bytes_and_nothing_else(own_data):
    folder = own_data.dataset_dir("mine")
    prepare(own_data, "mine", progress=quiet)
    first = content(folder)
    prepare(own_data, "mine", progress=quiet)
    assert content(folder) == first
    expected = [
        packing.MARK,
        "audit.json",
        "dropped.csv",
        "images.npy",
        "manifest.parquet",
        "masks.npy",
        "meta.json",
        "thumbnails.npy",
    ]
    assert sorted(first) == expected
    assert sorted(p.name for p in folder.parent.iterdir()) == ["mine"]


def test_unsaved_is_equal_to_saved_and_writes_nothing(own_data):
    unsaved = prepare(own_data, "mine", save=False, progress=quiet)
    assert not own_data.dataset_dir("mine").exists()
    saved = prepare(own_data, "mine", progress=quiet)
    assert np.array_equal(saved.images, unsaved.images)
    assert np.array_equal(saved.masks.bits, unsaved.masks.bits)
    pd.testing.assert_frame_equal(saved.manifest, unsaved.manifest, check_dtype=False)
    assert saved.meta == unsaved.meta and saved.audit == unsaved.audit
    assert json.loads((own_data.dataset_dir("mine") / "meta.json").read_text()) == saved.meta


def test_digests_follow_pixels_and_files(own_data):
    before = prepare(own_data, "mine", save=False, progress=quiet).meta
    file = own_data.root / "data/raw/mine/scans/0.png"
    Image.open(file).save(file, compress_level=0)  # other bytes, same pixels
    recoded = prepare(own_data, "mine", save=False, progress=quiet).meta
    assert recoded["digest_raw"] != before["digest_raw"]
    Image.fromarray(np.asarray(Image.open(file))[::-1]).save(file)
    assert prepare(own_data, "mine", save=False, progress=quiet).meta["digest"] != before["digest"]
    other_seed = own_data.model_copy(update={"seed": own_data.seed + 1})
    again = prepare(other_seed, "mine", save=False, progress=quiet).meta
    assert again["digest"] != before["digest"]


def test_a_long_manifest_is_digested_in_pieces_as_if_whole(monkeypatch):
    manifest = two_classes(40, 8, folds=2)[1]
    manifest["patient_id"] = [f'{name}, "{name}"' for name in manifest["patient_id"]]
    images, rows = np.arange(40 * 64, dtype=np.uint8).reshape(40, 8, 8, 1), np.arange(1, 40, 2)
    content = repr((20, 8, 8, 1)).encode() + images[rows].tobytes() + manifest.to_csv(index=False).encode()
    monkeypatch.setattr(packing, "LINES", 7)
    monkeypatch.setattr(packing, "CHUNK", 3)
    assert packing.digest_of(images, rows, None, manifest) == hashlib.sha256(content).hexdigest()


def test_copies_are_dropped_with_their_reason(own_data):
    scans = own_data.root / "data/raw/mine/scans"
    shutil.copy(scans / "0.png", scans / "1.png")  # one patient, one label
    shutil.copy(scans / "2.png", scans / "58.png")  # both healthy, two patients
    shutil.copy(scans / "6.png", scans / "10.png")  # tumour and healthy
    Image.new("L", (30, 20), 9).save(scans / "20.png")
    prepared = prepare(own_data, "mine", progress=quiet)
    written = pd.read_csv(own_data.dataset_dir("mine") / "dropped.csv")
    assert dict(written.itertuples(index=False)) == {
        "1.png": "exact copy",
        "58.png": "exact copy",
        "10.png": "copy with another label",
        "6.png": "copy with another label",
        "20.png": "constant image",
    }
    shown = card(own_data.tasks["mine"], prepared)
    assert "| excluded | constant image: 1; copy with another label: 2; exact copy: 2 |" in shown
    assert "| exact copies with two labels | `10.png` = `6.png` |" in shown
    assert "| labels | positive: tumour, 18 of 55 images; negative: healthy, 37 of 55 images |" in shown
    assert (
        "| how patients are known | named by the publisher" in shown and "| title | My own images |" in shown
    )
    joined = prepared.manifest.set_index("image_id")["patient_id"]
    assert joined["2.png"] == joined["59.png"] == "001"
    assert len(prepared.manifest) == len(prepared.images) == 55


@pytest.mark.parametrize("third", [None, "cyst"])
def test_a_class_of_which_no_image_is_left_is_missed(own_data, third):
    raw = own_data.root / "data/raw/mine"
    table = pd.read_csv(raw / "list.csv", dtype=str)
    lost = table["file"].str.fullmatch("5[0-9].png") if third else table["tumour"] == "1"
    for name in table.loc[lost, "file"]:
        Image.new("L", (30, 20), 9).save(raw / "scans" / name)
    table.loc[lost, "tumour"] = "2" if third else "1"
    table.assign(lesion="").to_csv(raw / "list.csv", index=False)
    study = changed(own_data, labels={"0": "healthy", "1": "tumour", "2": "cyst"})
    if third:
        classes = {"negative": None, "positive": None, "classes": ["healthy", "tumour", "cyst"]}
        study = study.model_copy(update={"tasks": {"mine": study.tasks["mine"].model_copy(update=classes)}})
    held = "2 of 3" if third else "1 of 2"
    with pytest.raises(UserError, match=f"'mine', fold 0: the train part lacks a class .it holds {held}."):
        prepare(study, "mine", save=False, progress=quiet)


def test_authors_folds_are_honoured_and_checked(own_data):
    raw = own_data.root / "data/raw/mine"
    parts = {"train": [], "validation": [], "test": []}
    for number in range(60):
        parts["test" if number < 12 else "validation" if number < 18 else "train"].append(f"{number}.png")
    for part, names in parts.items():
        pd.DataFrame({"file": names}).to_csv(raw / f"{part}_1.csv", index=False)
    study = changed(own_data, folds={part: part + "_{fold}.csv" for part in parts})
    with pytest.raises(UserError, match="the authors' files hold 1 folds, not 5; set folds: 1"):
        prepare(study, "mine", save=False, progress=quiet)
    task = study.tasks["mine"].model_copy(update={"folds": 1})
    study = study.model_copy(update={"tasks": {"mine": task}})
    manifest = prepare(study, "mine", save=False, progress=quiet).manifest.set_index("image_id")
    assert all(manifest.loc[name, "part_0"] == part for part, names in parts.items() for name in names)
    parts["train"].remove("59.png")
    parts["test"].append("59.png")
    for part, names in parts.items():
        pd.DataFrame({"file": names}).to_csv(raw / f"{part}_1.csv", index=False)
    with pytest.raises(UserError, match="patient 029 is in test and train"):
        prepare(study, "mine", save=False, progress=quiet)
    # Whose names may be of files, is left out of the earlier part.
    task = task.model_copy(update={"options": study.tasks["mine"].options, "patients_certain": False})
    prepared = prepare(study.model_copy(update={"tasks": {"mine": task}}), "mine", save=False, progress=quiet)
    manifest = prepared.manifest.set_index("image_id")["part_0"]
    assert (manifest["58.png"], manifest["59.png"]) == ("left out", "test")
    assert prepared.audit["left_out_of_a_fold"] == 1


def test_too_many_folds_for_the_patients_is_said(own_data):
    task = own_data.tasks["mine"].model_copy(update={"folds": 20})
    with pytest.raises(UserError, match="part lacks a class.*use fewer folds"):
        prepare(own_data.model_copy(update={"tasks": {"mine": task}}), "mine", save=False, progress=quiet)


def test_missing_downloads_say_what_and_how(own_data):
    raw = own_data.root / "data/raw/mine"
    shutil.rmtree(raw)
    for _ in ("missing", "empty"):
        with pytest.raises(UserError, match="My own images.*make study RAW=/folder/with/downloads"):
            prepare(own_data, "mine", progress=quiet)
        raw.mkdir(exist_ok=True)
    assert not own_data.dataset_dir("mine").exists()


def test_a_damaged_image_stops_before_anything_is_written(own_data):
    (own_data.root / "data/raw/mine/scans/7.png").write_bytes(b"half a file")
    with pytest.raises(UserError, match="scans/7.png is no readable image"):
        prepare(own_data, "mine", progress=quiet)
    assert not list(own_data.dataset_dir("mine").parent.iterdir())


def test_a_full_disk_is_noticed_before_decoding(own_data, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: usage(10, 10, 100))
    with pytest.raises(
        UserError, match=r"no space left on the disk of .*data/\w+/tasks: about 1 MB are needed"
    ):
        prepare(own_data, "mine", progress=quiet)


@pytest.mark.parametrize(
    ("module", "function"),
    [(packing, "write_rows"), (prepare_module, "write_json"), (packing, "blank_array")],
)
def test_a_disk_that_fills_up_leaves_the_old_dataset_whole(own_data, monkeypatch, module, function):
    prepare(own_data, "mine", progress=quiet)
    before = content(own_data.dataset_dir("mine"))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, function, full)
    with pytest.raises(UserError, match="no space left"):
        prepare(own_data, "mine", progress=quiet)
    assert content(own_data.dataset_dir("mine")) == before
    assert [p.name for p in own_data.dataset_dir("mine").parent.iterdir()] == ["mine"]


def test_open_packed_tells_missing_from_damaged(own_data):
    folder = own_data.dataset_dir("mine")
    with pytest.raises(UserError, match="dataset 'mine' is not prepared.*dvc repro"):
        open_packed(folder)
    prepare(own_data, "mine", progress=quiet)
    images = (folder / "images.npy").read_bytes()
    (folder / "images.npy").write_bytes(images[:1000])
    with pytest.raises(UserError, match="dataset 'mine' is damaged"):
        open_packed(folder)
    np.save(folder / "images.npy", np.zeros((3, 16, 16, 1), dtype=np.uint8))
    with pytest.raises(UserError, match="do not belong together"):
        open_packed(folder)
    (folder / "images.npy").write_bytes(images)
    (folder / "masks.npy").unlink()
    with pytest.raises(UserError, match="do not belong together"):
        open_packed(folder)


def test_simulated_task_is_drawn_from_the_seed(small_study):
    first = prepare(small_study, "breast_us", progress=quiet)
    assert first.meta["simulated"] is True
    assert first.manifest["patient_id"].nunique() == 40 and len(first.images) == 80
    assert first.masks[79].shape == (32, 32) and first.manifest["has_mask"].all()
    assert (
        first.meta["digest"] == prepare(small_study, "breast_us", save=False, progress=quiet).meta["digest"]
    )
    reseeded = small_study.model_copy(update={"seed": 8})
    assert prepare(reseeded, "breast_us", save=False, progress=quiet).meta["digest"] != first.meta["digest"]


def test_corpus_subset_is_balanced_and_chosen_before_decoding(tmp_path, small_study):
    raw = tmp_path / "raw"
    for number in range(90):
        file = raw / ("rare" if number % 9 == 0 else "common") / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    update = {"layout": "folders", "path": "raw", "options": {}, "size": 16, "max_images": 40}
    corpus = small_study.corpora["radiology"].model_copy(update=update)
    study = small_study.model_copy(update={"corpora": {"radiology": corpus}, "tasks": {}})
    decoded = []

    def counted(items, **_):
        for item in items:
            decoded.append(item)
            yield item

    manifest = prepare(study, "radiology", save=False, progress=counted).manifest
    assert len(decoded) == 40
    assert manifest["class_name"].value_counts().to_dict() == {"common": 30, "rare": 10}
    shares = manifest["part_0"].value_counts()
    assert shares.to_dict() == {"train": 30, "test": 6, "validation": 4}


def test_tables_of_classes_and_parts_are_whole_and_compact(own_data):
    counts = pd.DataFrame({"images": range(40)}, index=pd.Index([f"c{n}" for n in range(40)], name="class"))
    beside = side_by_side(counts, rows=15, most=3)
    assert len(beside) == 15 and side_by_side(counts[:15]).equals(counts[:15])
    shown = {*beside.index, *beside["class"].to_numpy().ravel()} - {""}
    assert (
        shown == set(counts.index) and sum(sum(row) for row in beside["images"].replace("", 0).values) == 780
    )
    assert not any(isinstance(count, float) for count in beside["images"].to_numpy().ravel())
    prepared = prepare(own_data, "mine", save=False, progress=quiet)
    table = split_table(prepared.manifest)
    assert {kind.kind for kind in table[["patients", "images"]].dtypes} == {"i"}
    assert table["images"].groupby("fold").sum().sum(axis=1).eq(len(prepared.manifest)).all()


def test_a_corpus_that_a_control_makes_a_task_keeps_its_folder(small_study):
    control = small_study.model_copy(update={"tasks": {"radiology": small_study.tasks["breast_us"]}})
    assert control.dataset_dir("radiology") == small_study.dataset_dir("radiology")
    assert small_study.dataset_dir("radiology").parent != small_study.dataset_dir("breast_us").parent


def test_photographs_are_counted_as_pictures_and_wordnet_ids_are_named(own_data):
    study = own_data
    config = study.corpora["photographs"]
    alone = study.model_copy(update={"tasks": {}})
    prepared = prepare(alone, "photographs", save=False, progress=quiet)
    unit = unit_of(config, prepared)
    assert unit == "pictures" and unit_of(study.tasks["breast_us"], prepared) == "patients"
    assert class_counts(prepared, unit).columns.tolist() == ["pictures", "images"]
    assert "patients" not in " ".join(split_check(prepared.manifest, unit).columns)
    assert not named(prepared).any() and "| how pictures are known | no patients are given" in card(
        config, prepared
    )
    people = prepared.manifest["patient_id"].mask(prepared.manifest.index < 3, "somebody")
    some = replace(prepared, manifest=prepared.manifest.assign(patient_id=people))
    assert unit_of(config, some) == "patients or groups" and named(some).tolist()[:4] == [True] * 3 + [False]
    assert f"| how patients or groups are known | patients are named for 3 of {len(people)} " in card(
        config, some
    )
    assert [readable(name) for name in ("n01443537", "n", "benign")] == ["n01443537 goldfish", "n", "benign"]
