"""Every published layout, read from small files in the published format, whole and damaged."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radlib import datasets
from radlib.data.prepare import prepare
from radlib.data.records import list_records, loader
from radlib.datasets.dicom import hashed
from radlib.errors import UserError
from radlib.study.training import Segment
from tests import published_files as published

DAMAGED = b"half a file"


def read(layout: str, path: Path, salt: str = "7", **options) -> list:
    return datasets.read(layout, path, options, salt)


def rows(records) -> list[tuple]:
    return [(r.image_id, r.patient_id, r.class_name, r.parts, r.drop) for r in records]


def prepared(study, layout: str, path: Path, corpus: bool = False, **options):
    """`prepare` on one dataset of the layout; folds and classes as given."""
    update = {"layout": layout, "path": str(path), "size": 16, "folds": 1} | options
    name, of = ("radiology", study.corpora) if corpus else ("breast_us", study.tasks)
    entry = of[name].model_copy(update=update)
    # Most of these sets have no masks, and a task to be segmented must.
    change = {
        "corpora": {},
        "tasks": {},
        "corpora" if corpus else "tasks": {name: entry},
        "segment": Segment(),
    }
    study = study.model_copy(update=change)
    return prepare(study, name, save=False, progress=lambda items, **_: items)


# RadImageNet ------------------------------------------------------------------------------------------------
def test_radimagenet_classes_hold_the_region_and_parts_are_the_tables(tmp_path):
    records = read("radimagenet", published.radimagenet(tmp_path))
    assert len(records) == 21 and all(r.patient_id is None for r in records)
    assert {r.class_name for r in records} == {"MR/knee/normal", "CT/lung/normal", "US/gallbladder"}
    parts = {part: sum(r.parts == {0: part} for r in records) for part in ("train", "validation", "test")}
    assert parts == {"train": 9, "validation": 6, "test": 6}
    first = records[0]
    assert first.image_id == "radiology_ai/MR/knee/normal/image000.png"
    assert np.array_equal(loader(colour=False)(first).pixels, published.noise(1000))


def test_radimagenet_s_own_split_is_the_one_that_is_packed(tmp_path, small_study):
    manifest = prepared(
        small_study, "radimagenet", published.radimagenet(tmp_path), corpus=True, options={}
    ).manifest
    listed = {
        line.split(",")[0]: part
        for table, part in (("train", "train"), ("val", "validation"), ("test", "test"))
        for line in (tmp_path / f"RadiologyAI_{table}.csv").read_text().splitlines()[1:]
    }
    assert dict(zip(manifest["image_id"], manifest["part_0"], strict=True)) == listed


def test_training_images_that_the_test_part_nearly_holds_are_left_out(tmp_path, small_study):
    root = published.radimagenet(tmp_path)
    trained, tested = (root / f"radiology_ai/MR/knee/normal/image{n:03d}.png" for n in (0, 15))
    ramp = np.add.outer(np.arange(64), 2 * np.arange(64)).astype(np.uint8) + published.noise(0, 64) // 32
    Image.fromarray(ramp).save(tested)
    nearly = ramp.copy()
    nearly[0, 0] += 1
    Image.fromarray(nearly).save(trained)
    found = prepared(small_study, "radimagenet", root, corpus=True, options={})
    parts = found.manifest.set_index("image_id")["part_0"]
    assert parts[trained.relative_to(root).as_posix()] == "left out"
    assert parts[tested.relative_to(root).as_posix()] == "test"
    assert found.audit["left_out_of_a_fold"] == 1 and (parts == "left out").sum() == 1


# DDTI -------------------------------------------------------------------------------------------------------
def test_ddti_scores_become_labels_and_drawings_masks(tmp_path):
    records = read("ddti_original", published.ddti_original(tmp_path))
    assert rows(records) == [
        ("1_1", "1", "benign", None, ""),
        ("2_1", "2", "malignant", None, ""),
        ("2_2", "2", "malignant", None, ""),
        ("3_1", "3", None, None, "no TI-RADS score"),
        ("4_1", "4", "malignant", None, ""),
    ]
    load = loader(colour=False)
    expected = np.zeros((16, 16), dtype=np.uint8)
    expected[2:10, 4:12] = 1
    assert np.array_equal(load(records[0]).mask, expected)
    expected[13:, 13:] = 1  # the second nodule, cut at the border
    assert np.array_equal(load(records[1]).mask, expected)
    assert load(records[2]).mask is None
    assert not load(records[4]).mask.any()  # two points enclose nothing
    assert load(records[0]).pixels.shape == (16, 16) and len(load(records[0]).inputs) == 2


def test_ddti_takes_the_authors_five_folds_of_whole_images(tmp_path):
    root = published.ddti_original(tmp_path)
    for fold, parts in {"1": ("1_1", "2_1", "4_1"), "2": ("2_1", "4_1", "1_1")}.items():
        for part, name in zip(("train", "val", "test"), parts, strict=True):
            file = root / "folds" / f"thyroid_{part}_fold{fold}.csv"
            published.write_csv(file, "img_dir,label", [f"images/{name}.jpg,benign"])
    found = {r.image_id: (r.parts, r.drop) for r in read("ddti_original", root, folds="authors")}
    assert found["2_1"] == ({0: "validation", 1: "train"}, "")
    assert found["2_2"] == (None, "not in the authors' split files")
    assert found["3_1"][1] == "no TI-RADS score"


def test_ddti_unites_the_marks_of_one_image(tmp_path):
    squares = [[(x, 2), (x + 3, 2), (x + 3, 5), (x, 5)] for x in (1, 9)]
    marks = [published.ddti_case(1, "2", {1: [square]}) for square in squares]
    second = re.search("<mark>.*</mark>", marks[1])[0]
    (published.ddti_original(tmp_path) / "1.xml").write_text(marks[0].replace("</case>", f"{second}</case>"))
    mask = loader(colour=False)(read("ddti_original", tmp_path)[0]).mask
    assert np.flatnonzero(mask.any(axis=0)).tolist() == [1, 2, 3, 4, 9, 10, 11, 12]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<case><tirads>4a</tirads>", "2.xml is no readable XML"),
        (
            "<case><tirads>6</tirads></case>",
            "2.xml, tirads: '6' is none of the labels '2', '3', '4a'",
        ),
        (
            "<case><tirads>2</tirads><mark><image>1</image><svg>[{]</svg></mark></case>",
            "2.xml: 'svg' is no list",
        ),
        (
            '<case><mark><image>1</image><svg>[{"p": 1}]</svg></mark></case>',
            "2.xml: 'svg' is no list of points",
        ),
        (None, "no .*2.xml, which holds the case's label"),
    ],
)
def test_ddti_mistakes_are_named(tmp_path, text, sentence):
    file = published.ddti_original(tmp_path) / "2.xml"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(UserError, match=sentence):
        read("ddti_original", tmp_path)


def test_an_external_entity_is_not_followed(tmp_path):
    file = published.ddti_original(tmp_path) / "2.xml"
    file.write_text('<!DOCTYPE c [<!ENTITY e SYSTEM "file:///etc/hosts">]><case><tirads>&e;</tirads></case>')
    with pytest.raises(UserError, match="2.xml is no readable XML"):
        read("ddti_original", tmp_path)


# BUSI: the authors' folds -----------------------------------------------------------------------------------
def test_busi_takes_the_authors_folds_by_image_name(tmp_path):
    for name in ("benign/benign (1)", "malignant/malignant (1)", "normal/normal (1)", "normal/normal (2)"):
        published.picture(tmp_path / f"{name}.png")
    for part, name in (("train", "benign (1)"), ("val", "malignant (1)"), ("test", "normal (1)")):
        file = tmp_path / "folds" / f"breast_{part}_fold1.csv"
        more = ",," if part == "val" else ""  # columns of other names, or of none, are of no interest
        published.write_csv(file, f"{more}filename,label", [f"{more}images/{name}.png,benign"])
    found = read("busi", tmp_path, folds="authors", labels={"normal": "benign"})
    assert [(r.image_id, r.class_name, r.parts) for r in found[:3]] == [
        ("benign (1)", "benign", {0: "train"}),
        ("malignant (1)", "malignant", {0: "validation"}),
        ("normal (1)", "benign", {0: "test"}),
    ]
    assert found[3].drop == "not in the authors' split files"
    with pytest.raises(UserError, match="option 'folds': Input should be 'own' or 'authors', got 'paper'"):
        read("busi", tmp_path, folds="paper")


def test_an_image_that_two_parts_name_in_two_ways_is_in_neither_by_chance(tmp_path):
    """The authors' lists are matched by the names of files, without folders and endings."""
    published.picture(tmp_path / "benign/benign (1).png")
    published.picture(tmp_path / "malignant/malignant (1).png")
    published.picture(tmp_path / "normal/normal (1).png")
    for part, name in (("train", "a/benign (1).png"), ("val", "x.png"), ("test", "b/benign (1).jpg")):
        published.write_csv(tmp_path / "folds" / f"breast_{part}_fold1.csv", "filename", [name])
    with pytest.raises(UserError, match=r"image benign \(1\) is also in the part 'train' of that fold"):
        read("busi", tmp_path, folds="authors")


# MRNet ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("slices", "first"), [(1, ["2", "3"]), (3, ["1", "2", "3", "2", "3", "4"])])
def test_mrnet_takes_the_slices_around_the_middle(tmp_path, slices, first):
    records = read("mrnet", published.mrnet(tmp_path), finding="acl", slices=slices)
    assert len(records) == 6 * slices
    assert [r.image_id for r in records[: 2 * slices]] == [
        f"{exam}_sagittal_{n}" for exam, n in zip(["0000"] * slices + ["0001"] * slices, first, strict=True)
    ]
    assert {(r.patient_id, r.class_name) for r in records[: 2 * slices]} == {
        ("0000", "negative"),
        ("0001", "positive"),
    }
    volume = np.load(tmp_path / "train/sagittal/0001.npy")
    decoded = loader(colour=False)(records[slices])
    assert np.array_equal(decoded.pixels, volume[int(first[slices])])


def test_mrnet_scales_other_numbers_from_the_slice_s_own_percentiles(tmp_path):
    volume = np.linspace(-1, 1, 5 * 256).reshape(5, 16, 16).astype(np.float32)
    np.save(published.mrnet(tmp_path) / "train/sagittal/0000.npy", volume)
    pixels = loader(colour=False)(read("mrnet", tmp_path, finding="acl")[0]).pixels
    expected = np.clip((np.linspace(0, 1, 256) - 0.005) / 0.99, 0, 1) * 255
    assert np.abs(pixels.ravel() - expected).max() <= 0.51


@pytest.mark.parametrize("finding", ["acl", "meniscus"])
def test_mrnet_takes_the_authors_slices_and_folds(tmp_path, finding):
    published.mrnet_lists(published.mrnet(tmp_path))
    records = {
        r.image_id: r for r in read("mrnet", tmp_path, finding=finding, slices="authors", folds="authors")
    }
    assert sorted(records) == ["0000_sagittal_2", "0001_sagittal_3", "1130_sagittal_1", "1131_sagittal_4"]
    one = records["1131_sagittal_4"]
    assert (one.patient_id, one.class_name, one.parts) == ("1131", "positive", {0: "test", 1: "train"})
    volume = np.load(tmp_path / "valid/sagittal/1131.npy")
    assert np.array_equal(loader(colour=False)(one).pixels, volume[4])
    assert read("mrnet", tmp_path, finding=finding, slices="authors")[0].parts is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"finding": "pcl"}, "'finding': Input should be 'acl', 'meniscus' or 'abnormal', got 'pcl'"),
        ({"finding": "acl", "plane": "oblique"}, "option 'plane': Input should be 'sagittal'"),
        ({"finding": "acl", "slices": 0}, "option 'slices': Input should be greater than or equal to 1"),
        ({"finding": "acl", "slices": True}, "option 'slices': Input should be a valid integer, got True"),
        ({"finding": "acl", "slices": 7}, "0000.npy holds 5 slices, not 7 around the middle"),
        ({"finding": "acl", "folds": "authors"}, "needs 'slices: authors'"),
        ({"finding": "abnormal", "slices": "authors"}, "picked sagittal slices for acl and meniscus only"),
        ({"finding": "acl", "slices": "authors"}, "no split file .*train_fold"),
        ({"finding": "abnormal"}, "no table .*train-abnormal.csv"),
        ({}, "needs the option 'finding'"),
    ],
)
def test_mrnet_impossible_options_are_named(tmp_path, options, sentence):
    with pytest.raises(UserError, match=sentence):
        read("mrnet", published.mrnet(tmp_path), **options)


def test_mrnet_damage_is_named(tmp_path):
    table = published.mrnet(tmp_path) / "train-acl.csv"
    table.write_text("0000,2\n")
    with pytest.raises(UserError, match="train-acl.csv: exam 0000: '2' is none of the labels"):
        read("mrnet", tmp_path, finding="acl")
    table.write_text("exam\n0000\n")
    with pytest.raises(UserError, match="train-acl.csv has 1 columns; expected exam and label"):
        read("mrnet", tmp_path, finding="acl")
    table.write_text("0009,1\n")
    with pytest.raises(UserError, match="0009.npy is no readable .npy file"):
        read("mrnet", tmp_path, finding="acl")
    table.write_text("0000,1\n")
    for content in (DAMAGED, b"", (tmp_path / "train/sagittal/0000.npy").read_bytes()[:300]):
        (tmp_path / "train/sagittal/0000.npy").write_bytes(content)
        with pytest.raises(UserError, match="0000.npy is no readable .npy file"):
            read("mrnet", tmp_path, finding="acl")
    np.save(tmp_path / "train/sagittal/0000.npy", np.array(3))
    with pytest.raises(UserError, match="0000.npy holds no stack of pictures"):
        read("mrnet", tmp_path, finding="acl")


# RSNA -------------------------------------------------------------------------------------------------------
def test_rsna_pneumonia_counts_an_image_with_two_boxes_once(tmp_path):
    records = read("rsna_pneumonia", published.rsna_pneumonia(tmp_path))
    assert [(r.image_id, r.patient_id, r.class_name) for r in records] == [
        ("0004cfab", None, "negative"),
        ("00436515", None, "positive"),
        ("003d8fa0", None, "negative"),
    ]
    stored = published.noise(1).astype(float)
    expected = (stored - stored.min()) / (stored.max() - stored.min()) * 255
    assert np.abs(loader(colour=False)(records[1]).pixels - expected).max() <= 0.51
    for part, name in (("train", "0004cfab"), ("val", "00436515"), ("test", "none")):
        published.write_csv(
            tmp_path / "folds" / f"{part}.csv", ",filename,Target,label", [f"0,images/{name}.png,0,no"]
        )
    by_authors = read("rsna_pneumonia", tmp_path, folds="authors")
    assert [r.parts for r in by_authors] == [{0: "train"}, {0: "validation"}, None]
    assert by_authors[2].drop == "not in the authors' split files"


def test_rsna_pneumonia_takes_people_from_the_mapping_to_the_nih_s_images(tmp_path):
    mapping = published.rsna_pneumonia(tmp_path) / "pneumonia-challenge-dataset-mappings_2018.json"
    nih = {"0004cfab": "00000013_005.png", "00436515": "00000013_026.png", "003d8fa0": "00001373_000.png"}
    rows = [{"subset_img_id": image, "img_id": name, "orig_labels": []} for image, name in nih.items()]
    mapping.write_text(json.dumps([*rows, {"subset_img_id": "elsewhere", "img_id": "00000002_000.png"}]))
    assert [r.patient_id for r in read("rsna_pneumonia", tmp_path)] == ["00000013", "00000013", "00001373"]
    mapping.write_text(json.dumps(rows[:2]))
    with pytest.raises(UserError, match="mappings_2018.json does not name image 003d8fa0; download it again"):
        read("rsna_pneumonia", tmp_path)
    for text in (
        "half a fi",
        '["a"]',
        '[{"img_id": "00000013_005.png"}]',
        '[{"subset_img_id": 1, "img_id": 2}]',
    ):
        mapping.write_text(text)
        with pytest.raises(
            UserError, match="is not RSNA's list of images .*; download it again or delete it"
        ):
            read("rsna_pneumonia", tmp_path)


def test_rsna_haemorrhage_takes_patients_from_headers_and_the_window_given(tmp_path):
    root = published.rsna_haemorrhage(tmp_path)
    records = read("rsna_haemorrhage", root)
    assert [r.class_name for r in records] == ["positive", "negative", "negative"] * 2
    patients = [r.patient_id for r in records]
    assert patients == [hashed(f"ID_p{n // 2}", "7") for n in range(6)]
    assert patients != [r.patient_id for r in read("rsna_haemorrhage", root, salt="8")]
    units = published.noise(0).astype(float) - 24  # stored values begin at 1000, the intercept is -1024
    for options, (low, high) in (({}, (0, 199)), ({"window": [40, 80]}, (0, 79))):
        pixels = loader(colour=False)(read("rsna_haemorrhage", root, **options)[0]).pixels
        expected = np.clip((units - low) / (high - low), 0, 1) * 255
        assert np.abs(pixels - expected).max() <= 0.51


def test_the_salt_is_the_study_s_seed_or_in_a_file_but_never_an_option(tmp_path, small_study):
    path = str(published.rsna_haemorrhage(tmp_path / "set"))
    (tmp_path / "salt.txt").write_text("kept to ourselves\n")
    (tmp_path / "short.txt").write_text("guess me\n")

    def first_patient(**options):
        update = {"layout": "rsna_haemorrhage", "path": path, "options": options}
        task = small_study.tasks["breast_us"].model_copy(update=update)
        study = small_study.model_copy(update={"tasks": {"breast_us": task}})
        return list_records(study, "breast_us", progress=lambda items, **_: items)[0].patient_id

    assert first_patient() == hashed("ID_p0", str(small_study.seed))
    for file in ("../salt.txt", str(tmp_path / "salt.txt")):
        assert first_patient(salt_file=file) == hashed("ID_p0", "kept to ourselves")
    with pytest.raises(UserError, match="short.txt has 8 characters, which can be guessed"):
        first_patient(salt_file="../short.txt")
    with pytest.raises(UserError, match="the salt cannot be read from .*none.txt"):
        first_patient(salt_file="none.txt")
    with pytest.raises(UserError, match="option 'salt' would be copied into the report .* salt_file: /safe/"):
        first_patient(salt="kept to ourselves")
    with pytest.raises(UserError, match="layout 'busi' has no option 'salt_file'"):
        read("busi", tmp_path, salt_file="salt.txt")


def test_01_data_counts_the_rules_by_which_dicom_became_grey(tmp_path, small_study):
    root = published.rsna_haemorrhage(tmp_path, images=24)
    for number in (0, 1, 3):  # other scanners: no rescale, and no window
        bare = {"RescaleIntercept": -1024, "RescaleSlope": 1} if number == 3 else {}
        file = root / "stage_2_train" / f"ID_{number:09x}.dcm"
        published.dicom(file, number, PatientID=f"ID_p{number // 2}", **bare)
    update = {"layout": "rsna_haemorrhage", "path": str(root), "options": {}, "size": 16, "folds": 2}
    update |= {"negative": "negative", "positive": "positive"}
    task = small_study.tasks["breast_us"].model_copy(update=update)
    study = small_study.model_copy(update={"tasks": {"breast_us": task}, "segment": Segment()})
    prepared = prepare(study, "breast_us", save=False, progress=lambda items, **_: items)
    assert prepared.audit["dicom_rules"] == {
        "RescaleSlope and RescaleIntercept, own range": {"negative": 0, "positive": 1},
        "RescaleSlope and RescaleIntercept, window of the header": {"negative": 15, "positive": 6},
        "stored values, own range": {"negative": 1, "positive": 1},
    }


def test_rsna_haemorrhage_subset_is_the_same_every_time_and_grows(tmp_path):
    root = published.rsna_haemorrhage(tmp_path, images=12)
    chosen = [{r.image_id for r in read("rsna_haemorrhage", root, subset=n)} for n in (4, 4, 8)]
    assert chosen[0] == chosen[1] and len(chosen[0]) == 4 and chosen[0] < chosen[2]


def test_rsna_haemorrhage_by_the_authors_lists_opens_no_header(tmp_path):
    root = published.rsna_haemorrhage(tmp_path)
    for number, part in enumerate(("train", "val", "test")):
        names = [f"ID_{2 * number + k:09x}" for k in range(2)]
        published.write_csv(
            root / "folds" / f"hemorrhage_{part}.csv",
            "pid,label,dir",
            [f"ID_p{number},yes,images/{n}.png" for n in names],
        )
    from_headers = [r.patient_id for r in read("rsna_haemorrhage", root)]
    for file in (root / "stage_2_train").iterdir():
        file.write_bytes(DAMAGED)
    records = read("rsna_haemorrhage", root, folds="authors")
    assert [r.patient_id for r in records] == from_headers
    assert [r.parts[0] for r in records] == ["train"] * 2 + ["validation"] * 2 + ["test"] * 2


def test_rsna_haemorrhage_leaves_out_what_is_damaged_as_published(tmp_path):
    root = published.rsna_haemorrhage(tmp_path)
    (root / "stage_2_train" / "ID_000000003.dcm").write_bytes(DAMAGED)
    with pytest.raises(UserError, match="ID_000000003.dcm is no readable DICOM picture"):
        read("rsna_haemorrhage", root)
    records = read("rsna_haemorrhage", root, leave_out=["ID_000000003"])
    assert [(r.image_id, r.drop) for r in records if r.drop] == [("ID_000000003", "left out by an option")]
    with pytest.raises(UserError, match="'leave_out' names 'ID_9', which .*stage_2_train.csv does not list"):
        read("rsna_haemorrhage", root, leave_out=["ID_9"])


# The two CT sets of the authors' lists ----------------------------------------------------------------------
def test_cc_ccii_reads_the_three_lists(tmp_path, small_study):
    root = published.cc_ccii(tmp_path)
    records = read("cc_ccii", root)
    assert len(records) == 12
    assert rows(records)[0] == ("CP/1/3121/0031.png", "CP_1", "CP", {0: "train"}, "")
    assert rows(records)[-1] == ("NCP/6/3126/0032.png", "NCP_6", "NCP", {0: "test"}, "")
    manifest = prepared(small_study, "cc_ccii", root, options={}, negative="CP", positive="NCP").manifest
    assert manifest.groupby("part_0")["patient_id"].nunique().to_dict() == {
        "train": 2,
        "validation": 2,
        "test": 2,
    }


def test_covid_patients_stand_in_the_names(tmp_path):
    records = read("covid_csv", published.covid(tmp_path))
    assert [r.patient_id for r in records[::2]] == [
        "Bozhou_P11", "WH104", "WCH_P26", "Normal-7", "Fuyang_P7", "N1",
    ]  # fmt: skip
    assert rows(records)[2] == ("images/WH104-00_0001.300.png", "WH104", "negative", {0: "train"}, "")
    with pytest.raises(UserError, match=r"option 'patient' .* finds no patient in images/Bozhou_P11-00"):
        read("covid_csv", tmp_path, patient=r"^(P\d+)")
    with pytest.raises(UserError, match="needs a group"):
        read("covid_csv", tmp_path, patient="P")


# MedMNIST ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("channels", [None, 3])
def test_medmnist_is_read_with_its_own_split(tmp_path, small_study, channels):
    file = published.medmnist(tmp_path / "pneumoniamnist.npz", channels)
    records = read("medmnist", file, classes={0: "normal", 1: "pneumonia"})
    assert rows(records)[13] == ("val_000001", None, "pneumonia", {0: "validation"}, "")
    images = np.load(file)["val_images"]
    decoded = loader(colour=channels is not None)(records[13])
    assert np.array_equal(decoded.pixels, images[1])
    found = prepared(
        small_study, "medmnist", file, colour=channels is not None,
        options={"classes": {0: "normal", 1: "pneumonia"}}, negative="normal", positive="pneumonia",
    )  # fmt: skip
    assert found.manifest["part_0"].value_counts().to_dict() == {"train": 12, "test": 8, "validation": 6}
    assert found.images.shape == (26, 16, 16, channels or 1)


def test_medmnist_of_several_classes_is_a_corpus(tmp_path, small_study):
    file = published.medmnist(tmp_path / "organ.npz", classes=3)
    manifest = prepared(small_study, "medmnist", file, corpus=True, options={}).manifest
    assert sorted(set(manifest["class_name"])) == ["0", "1", "2"]
    assert list(manifest.loc[manifest["image_id"] == "test_000004", "part_0"]) == ["test"]


def test_medmnist_damage_is_named(tmp_path):
    file = published.medmnist(tmp_path / "a.npz")
    with pytest.raises(
        UserError, match="a.npz, train_images 1: '1' is none of the labels '0'; .* the option 'classes'"
    ):
        read("medmnist", file, classes={0: "normal"})
    arrays = dict(np.load(file))
    np.savez(file, **{key: value for key, value in arrays.items() if key != "val_labels"})
    with pytest.raises(UserError, match="a.npz has no array 'val_labels'; it has: train_images"):
        read("medmnist", file)
    np.savez(file, **arrays | {"val_images": arrays["val_images"][:3]})
    with pytest.raises(UserError, match="a.npz has 3 val_images but 6 labels"):
        read("medmnist", file)
    np.savez(file, **arrays | {"test_labels": np.zeros((8, 14), dtype=np.uint8)})
    with pytest.raises(UserError, match=r"test_labels has the shape \(8, 14\); one whole number"):
        read("medmnist", file)
    np.savez(file, **{key: value for key, value in arrays.items() if key != "test_images"})
    with pytest.raises(UserError, match="a.npz holds no readable array 'test_images'"):
        read("medmnist", file)
    for content in (DAMAGED, b""):
        file.write_bytes(content)
        with pytest.raises(UserError, match="a.npz is no readable .npz file"):
            read("medmnist", file)
    with pytest.raises(UserError, match="none.npz is no readable .npz file"):
        read("medmnist", tmp_path / "none.npz")
    record = read("medmnist", published.medmnist(file))[0]
    file.unlink()
    with pytest.raises(UserError, match="a.npz cannot be unpacked into .*make room there"):
        loader(colour=False)(record)


# What every listed layout has in common ---------------------------------------------------------------------
# Layout -> its writer, a table and the columns that are needed, and an image that the tables list.
LISTED = {
    "radimagenet": (
        published.radimagenet,
        ("RadiologyAI_val.csv", "filename", "label"),
        "radiology_ai/US/gallbladder/image006.png",
    ),
    "rsna_pneumonia": (
        published.rsna_pneumonia,
        ("stage_2_train_labels.csv", "patientId", "Target"),
        "stage_2_train_images/00436515.dcm",
    ),
    "rsna_haemorrhage": (
        published.rsna_haemorrhage,
        ("stage_2_train.csv", "ID", "Label"),
        "stage_2_train/ID_000000001.dcm",
    ),
    "cc_ccii": (
        published.cc_ccii,
        ("folds/sarscovid2_val.csv", "imgpath", "pid", "label"),
        "images/CP/3/3123/0031.png",
    ),
    "covid_csv": (
        published.covid,
        ("folds/covid19_val.csv", "filename", "label"),
        "images/WCH_P26-00_0001.300.png",
    ),
}


@pytest.mark.parametrize("layout", LISTED)
def test_a_table_without_its_column_or_missing_is_named(tmp_path, layout):
    write, (table, *columns), _ = LISTED[layout]
    file = write(tmp_path) / table
    text = file.read_text()
    for column in columns:
        head, _, rest = text.partition("\n")
        changed = [f"other_{c}" if c == column else c for c in head.split(",")]
        file.write_text(",".join(changed) + "\n" + rest)
        with pytest.raises(
            UserError, match=f"{Path(table).name} has no column '{column}'; it has: .*other_{column}"
        ):
            read(layout, tmp_path)
    file.unlink()
    with pytest.raises(UserError, match=f"no table .*{Path(table).name}"):
        read(layout, tmp_path)


@pytest.mark.parametrize("layout", LISTED)
def test_a_listed_image_that_is_not_there_is_named(tmp_path, layout):
    write, _, image = LISTED[layout]
    (write(tmp_path) / image).unlink()
    with pytest.raises(UserError, match=rf"names .*but there is no .*{re.escape(Path(image).name)}"):
        read(layout, tmp_path)


@pytest.mark.parametrize(
    ("layout", "published_label", "other"),
    [
        ("cc_ccii", ",CP,", ",Normal,"),
        ("covid_csv", ",negative", ",perhaps"),
        ("rsna_pneumonia", ",,,,,0", ",,,,,2"),
        ("rsna_haemorrhage", "_any,1", "_any,yes"),
    ],
)
def test_an_unknown_label_is_named_with_its_image(tmp_path, layout, published_label, other):
    write, (table, *_), _ = LISTED[layout]
    file = write(tmp_path) / table
    file.write_text(file.read_text().replace(published_label, other))
    wrong = re.findall(r"\w+", other)[-1]
    sentence = rf"image \S+: '{wrong}' is none of the labels '\w+', '\w+'; correct it"
    with pytest.raises(UserError, match=sentence):
        read(layout, tmp_path)


@pytest.mark.parametrize("name", ["/etc/hosts", "../../secret.png", "images/../../secret.png"])
def test_a_table_must_not_point_elsewhere(tmp_path, name):
    file = published.covid(tmp_path) / "folds/covid19_val.csv"
    file.write_text(f",filename,label\n0,{name},positive\n")
    with pytest.raises(UserError, match="points outside"):
        read("covid_csv", tmp_path)


def test_radimagenet_paths_are_as_published(tmp_path):
    file = published.radimagenet(tmp_path) / "RadiologyAI_val.csv"
    for name in ("radiology_ai/XR/knee/normal/image000.png", "MR/knee/normal/image000.png"):
        published.picture(tmp_path / name)
        file.write_text(f"filename,label\n{name},normal\n")
        with pytest.raises(UserError, match=f"RadiologyAI_val.csv or .*: '{name}' is not radiology_ai"):
            read("radimagenet", tmp_path)


def test_two_rows_of_an_image_that_differ_are_refused(tmp_path):
    file = published.covid(tmp_path) / "folds/covid19_val.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, lines[-1].replace("negative", "positive")]) + "\n")
    with pytest.raises(UserError, match="image images/Normal-7-01_0001.301.png has rows that differ"):
        read("covid_csv", tmp_path)


def test_a_patient_in_two_of_the_authors_parts_stops_preparation(tmp_path, small_study):
    root = published.cc_ccii(tmp_path)
    file = root / "folds/sarscovid2_test.csv"
    file.write_text(file.read_text().replace("CP_5", "CP_1"))
    with pytest.raises(UserError, match="patient CP_1 is in test and train"):
        prepared(small_study, "cc_ccii", root, options={}, negative="CP", positive="NCP")


def test_records_travel_to_other_processes(tmp_path):
    for records in (
        read("ddti_original", published.ddti_original(tmp_path / "d")),
        read("mrnet", published.mrnet(tmp_path / "m"), finding="acl"),
        read("rsna_haemorrhage", published.rsna_haemorrhage(tmp_path / "h")),
        read("medmnist", published.medmnist(tmp_path / "a.npz")),
    ):
        assert pickle.loads(pickle.dumps(records)) == records
