"""Readers against small datasets written here in the published layouts."""

import os
import re
import shutil
import sys
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radlib import datasets
from radlib.data.records import choose_records
from radlib.datasets.files import list_all
from radlib.errors import UserError
from radlib.study import load_study
from tests.conftest import REPOSITORY


def picture(path: Path, seed: int = 0, size: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def summary(records) -> list[tuple]:
    return [(r.image_id, r.patient_id, r.class_name, r.drop) for r in records]


@pytest.fixture
def class_folders(tmp_path) -> Path:
    root = tmp_path / "set" / "train"
    for number, name in enumerate(
        ["cat/images/00000007_1.png", "cat/images/00000007_2.png", "dog/00000042_1.jpg"]
    ):
        picture(root / name, number)
    (root / "cat" / "boxes.txt").write_text("0 0 1 1")
    (root / "dog" / ".DS_Store").write_text("")
    return tmp_path / "set"


def test_zip_is_read_in_place_and_equals_its_folders(class_folders, tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for file in sorted(class_folders.rglob("*")):
            packed.write(file, file.relative_to(class_folders))
        packed.writestr("__MACOSX/train/cat/._x.png", b"resource fork")
    options = {"root": "train", "patient": r"^(\d{8})"}
    unpacked = datasets.read("folders", class_folders, options)
    zipped = datasets.read("folders", tmp_path / "set.zip", options)
    assert summary(zipped) == summary(unpacked)
    assert summary(zipped) == [
        ("cat/boxes.txt", None, None, "not an image file (.txt)"),
        ("cat/images/00000007_1.png", "00000007", "cat", ""),
        ("cat/images/00000007_2.png", "00000007", "cat", ""),
        ("dog/00000042_1.jpg", "00000042", "dog", ""),
    ]
    assert [r.image.read_bytes() for r in zipped] == [r.image.read_bytes() for r in unpacked]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", "set.zip"]


def test_files_numbered_through_are_of_one_patient(tmp_path):
    files = [
        "ill/8.png",
        "ill/9.png",
        "ill/10.png",
        "ill/12.png",
        "ill/11_2.png",
        "ill/smith_1.png",
        "well/11.png",
    ]
    for name in files:
        picture(tmp_path / name)
    records = datasets.read("folders", tmp_path, {"patient": r"^([a-z]+|\d+)", "consecutive": True})
    patients = {r.image_id: r.patient_id for r in records}
    assert [patients[name] for name in files] == ["8", "8", "8", "12", "11", "smith", "11"]


def test_folders_are_listed_as_pathlib_lists_them(class_folders):
    train = class_folders / "train"
    (train / "empty").mkdir()
    (train / "dog" / "linked.png").symlink_to(train / "dog" / "00000042_1.jpg")
    (train / "dog" / "gone.png").symlink_to(train / "nowhere.png")
    (train / "dog" / "cats").symlink_to(train / "cat", target_is_directory=True)
    listed = list_all(class_folders, "train")[0]
    files = [p for p in train.rglob("*") if p.is_file() and p.name != ".DS_Store"]
    assert list(listed) == sorted(p.relative_to(train).as_posix() for p in files)
    assert [ref.name for ref in listed.values()] == [str(train / name) for name in listed]
    assert "dog/linked.png" in listed and "dog/cats/boxes.txt" not in listed


def test_what_cannot_be_used_is_listed_with_its_reason(class_folders):
    train = class_folders / "train"
    (train / "dog" / "gone.png").symlink_to(train / "nowhere.png")
    (train / "dog" / "cats").symlink_to(train / "cat", target_is_directory=True)
    (train / "dog" / "scan.nii").write_bytes(b"x")
    (train / "dog" / "IM0001").write_bytes(b"x")
    (train / "top.png").write_bytes(b"x")
    (train / "dog" / "desktop.ini").write_text("hidden")
    os.mkfifo(train / "dog" / "pipe.png")
    records = datasets.read("folders", class_folders, {"root": "train"})
    assert {r.image_id: r.drop for r in records if r.drop} == {
        "cat/boxes.txt": "not an image file (.txt)",
        "dog/scan.nii": "not an image file (.nii)",
        "dog/IM0001": "not an image file (no ending)",
        "dog/gone.png": "a link that leads nowhere; fetch the file",
        "dog/cats": "a link to a folder, which is not followed; put the folder itself there",
        "dog/pipe.png": "not an ordinary file",
        "top.png": "not in a class folder",
    }
    assert sum(not r.drop for r in records) == 3
    shutil.rmtree(train / "cat")
    shutil.rmtree(train / "dog")
    with pytest.raises(UserError, match="no images in class folders; .*; 1 left out: not in a class folder"):
        datasets.read("folders", class_folders, {"root": "train"})


PARTNERS = [
    ("P1_l.png", "P1_l_mask.png"),
    ("P1_l.jpg", "P1_l_MASK_2.PNG"),
    ("P1_l.png", "P1_l-mask (3).tif"),
    ("P1_l.png", "p1_l_seg.bmp"),
    ("P1_l.png", "P1_l_segmentation.png"),
    ("P1_l.png", "P1_l_gt.gif"),
    ("P1_l.png", "P1_l_ground_truth.png"),
    ("P1_l.png", "P1_l_label.png"),
    ("P1/image.png", "P1/mask.png"),
    ("P1_image.png", "P1_mask.png"),
    ("P1_l.png", "masks/P1_l.png"),
    ("images/P1_l.png", "masks/P1_l_mask.png"),
    ("P1/images/a.png", "P1/labels/a.png"),
    ("P1_2.png", "P1_mask_2.png"),
]


@pytest.mark.parametrize(("image", "mask"), PARTNERS)
def test_masks_beside_their_images_are_masks(tmp_path, image, mask):
    for name in (image, mask, "P2_mask.png", "P3_masked.png", "P4_label_1.png"):
        picture(tmp_path / "ill" / name)
    records = {r.image_id: r for r in datasets.read("folders", tmp_path, {})}
    assert sorted(records) == sorted(
        f"ill/{name}" for name in (image, "P2_mask.png", "P3_masked.png", "P4_label_1.png")
    )
    assert [ref.path / ref.member for ref in records[f"ill/{image}"].masks] == [tmp_path / "ill" / mask]
    assert records["ill/P2_mask.png"].drop == "named as a mask, but its image is not there"
    assert not records["ill/P3_masked.png"].drop and not records["ill/P4_label_1.png"].drop


def test_a_mask_that_fits_two_images_is_refused_and_one_of_another_class_is_none(tmp_path):
    for name in ("ill/1.png", "ill/1_mask.png", "well/1.png"):
        picture(tmp_path / name)
    masks = {r.image_id: len(r.masks) for r in datasets.read("folders", tmp_path, {})}
    assert masks == {"ill/1.png": 1, "well/1.png": 0}
    picture(tmp_path / "ill/1.jpg")
    with pytest.raises(UserError, match=r"1_mask.png is the mask of ill/1.jpg or of ill/1.png; rename"):
        datasets.read("folders", tmp_path, {})


def test_a_mask_with_a_number_is_not_taken_for_the_mask_of_a_neighbour(tmp_path):
    for name in ("ill/P1.png", "ill/P1_1.png", "ill/P1_mask.png", "ill/P1_mask_1.png"):
        picture(tmp_path / name)
    with pytest.raises(UserError, match=r"P1_mask_1.png is the mask of ill/P1.png or of ill/P1_1.png"):
        datasets.read("folders", tmp_path, {})
    (tmp_path / "ill/P1_1.png").rename(tmp_path / "ill/P1-1.png")
    (tmp_path / "ill/P1_mask_1.png").rename(tmp_path / "ill/P1-mask-1.png")
    with pytest.raises(UserError, match=r"P1-mask-1.png is the mask of ill/P1.png or of ill/P1-1.png"):
        datasets.read("folders", tmp_path, {})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"root": "train", "labels": {"cat": "a", "horse": "b"}},
            "no class folder 'horse' in .*it has: cat, dog",
        ),
        ({"root": "train", "patient": r"^P(\d+)"}, "finds no patient in cat/images/00000007_1.png"),
        ({"root": "train", "patient": r"^\d+"}, "needs a group"),
        ({"root": "train", "patient": "("}, "not a regular expression"),
        ({"root": "test"}, "no folder"),
        (
            {"rot": "train"},
            "has no option 'rot'; allowed: ignore, patient_spellings, root, patient, consecutive, labels",
        ),
        ({"root": "train", "labels": {False: "cat"}}, "got False, which YAML takes for no text"),
    ],
)
def test_folder_mistakes_are_named(class_folders, options, sentence):
    with pytest.raises(UserError, match=sentence):
        datasets.read("folders", class_folders, options)


def test_unknown_layout_names_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="no layout 'folder'; allowed: folders, table, busi, ddti"):
        datasets.read("folder", tmp_path, {})


def test_dicom_and_broken_zip_are_explained(tmp_path):
    picture(tmp_path / "dicom" / "a" / "1.png")
    (tmp_path / "dicom" / "a" / "2.dcm").write_bytes(b"DICM")
    with pytest.raises(UserError, match="2.dcm is DICOM.*PNG"):
        datasets.read("folders", tmp_path / "dicom", {})
    (tmp_path / "half.zip").write_bytes(b"PK\x03\x04 and then the connection broke")
    with pytest.raises(UserError, match="half.zip is neither a folder nor a whole zip .*; unpack or"):
        datasets.read("folders", tmp_path / "half.zip", {})


def busi(root: Path) -> Path:
    for name in ("benign/benign (1)", "malignant/malignant (1)", "normal/normal (1)"):
        picture(root / f"{name}.png")
        picture(root / f"{name}_mask.png")
    picture(root / "benign/benign (1)_mask_1.png")
    return root


def test_busi_joins_every_mask_of_an_image(tmp_path):
    records = datasets.read("busi", busi(tmp_path / "busi"), {})
    assert [r.image_id for r in records] == ["benign (1)", "malignant (1)", "normal (1)"]
    assert [[Path(m.name).name for m in r.masks] for r in records[:2]] == [
        ["benign (1)_mask.png", "benign (1)_mask_1.png"],
        ["malignant (1)_mask.png"],
    ]
    as_authors = datasets.read("busi", tmp_path / "busi", {"labels": {"normal": "benign"}})
    assert [r.class_name for r in as_authors] == ["benign", "malignant", "benign"]
    (tmp_path / "busi" / "benign" / "benign (1).png").unlink()
    with pytest.raises(UserError, match=r"benign \(1\)"):
        datasets.read("busi", tmp_path / "busi", {})


def test_busi_takes_any_image_suffix_and_lists_what_it_does_not_use(tmp_path):
    for name in ("benign/benign (1)", "malignant/malignant (1)", "normal/normal (1)"):
        picture(tmp_path / f"{name}.jpg")
        picture(tmp_path / f"{name}_mask.PNG")
    (tmp_path / "readme.txt").write_text("")
    (tmp_path / "benign/benign (2).png").symlink_to(tmp_path / "nowhere.png")
    records = datasets.read("busi", tmp_path, {})
    assert [len(r.masks) for r in records if not r.drop] == [1, 1, 1]
    assert {r.image_id: r.drop for r in records if r.drop} == {
        "readme.txt": "not an image file (.txt)",
        "benign/benign (2).png": "a link that leads nowhere; fetch the file",
    }


def ddti(root: Path, labels: str) -> Path:
    for image_id in ("1_1", "2_1(1)", "2_1(2)", "3_1", "9_1"):
        picture(root / "images" / f"{image_id}.png")
        picture(root / "masks" / f"{image_id}.png")
    (root / "labels.csv").write_text("image_id,tirads,malignant\n" + labels)
    return root


def test_ddti_counts_what_has_no_label(tmp_path):
    root = ddti(tmp_path, "1_1,None,\n2_1(1),4a,1\n2_1(2),4a,1\n3_1,2,0\n4_1,2,0\n")
    assert summary(datasets.read("ddti", root, {})) == [
        ("1_1", "1", None, "no label"),
        ("2_1(1)", "2", "malignant", ""),
        ("2_1(2)", "2", "malignant", ""),
        ("3_1", "3", "benign", ""),
        ("9_1", "9", None, "no row in labels.csv"),
        ("4_1", "4", "benign", "label row without an image"),
    ]


def test_ddti_refuses_a_mask_without_an_image(tmp_path):
    root = ddti(tmp_path, "1_1,4a,1\n")
    picture(root / "masks" / "8_1.png")
    with pytest.raises(UserError, match="masks/8_1.png has no image of that name"):
        datasets.read("ddti", root, {})


def test_ddti_takes_any_image_suffix(tmp_path):
    root = ddti(tmp_path, "1_1,4a,1\n2_1(1),4a,1\n2_1(2),4a,1\n3_1,2,0\n9_1,2,0\n")
    (root / "images/1_1.png").rename(root / "images/1_1.JPG")
    (root / "images/notes.txt").write_text("")
    records = {r.image_id: r for r in datasets.read("ddti", root, {})}
    assert [ref.member for ref in records["1_1"].masks] == ["masks/1_1.png"]
    assert records["images/notes.txt"].drop == "not an image file (.txt)" and len(records) == 6


def test_ddti_takes_the_authors_part_of_the_whole_image(tmp_path):
    root = ddti(tmp_path, "2_1(1),4a,1\n2_1(2),4a,1\n3_1,2,0\n")
    (root / "folds").mkdir()
    for fold, parts in {"1": ("2_1", "", "3_1"), "2": ("3_1", "", "2_1")}.items():
        for part, name in zip(("train", "val", "test"), parts, strict=True):
            text = "img_dir,label\n" + (f"images/{name}.jpg,benign\n" if name else "")
            (root / "folds" / f"thyroid_{part}_fold{fold}.csv").write_text(text)
    parts = {r.image_id: r.parts for r in datasets.read("ddti", root, {"folds": "authors"}) if not r.drop}
    assert parts["2_1(1)"] == parts["2_1(2)"] == {0: "train", 1: "test"}
    assert parts["3_1"] == {0: "test", 1: "train"}


def test_ddti_refuses_an_odd_label(tmp_path):
    with pytest.raises(
        UserError, match="image 3_1: '2' is none of the labels '0', '1', '', 'None'; correct it"
    ):
        datasets.read("ddti", ddti(tmp_path, "3_1,2,2\n"), {})


def table(root: Path, rows: str) -> Path:
    for name in ("a.png", "b.png", "m.png"):
        picture(root / "pictures" / name)
    (root / "list.csv").write_text("file,diagnosis,person,lesion\n" + rows)
    return root


TABLE = {
    "csv": "list.csv", "images": "pictures", "image": "file", "label": "diagnosis", "patient": "person",
    "mask": "lesion", "labels": {0: "healthy", 1: "ill"},
}  # fmt: skip


def test_table_keeps_leading_zeros_and_translates_labels(tmp_path):
    records = datasets.read("table", table(tmp_path, "a.png,1,007,m.png\nb.png,0,08,\nm.png,,08,\n"), TABLE)
    assert summary(records) == [
        ("a.png", "007", "ill", ""),
        ("b.png", "08", "healthy", ""),
        ("m.png", "08", None, "no label"),
    ]
    assert [len(r.masks) for r in records] == [1, 0, 0]
    several = datasets.read("table", table(tmp_path, "a.png,1,007,m.png; b.png\n"), TABLE)
    assert [ref.member for ref in several[0].masks] == ["m.png", "b.png"]


def test_table_reads_what_looks_like_a_missing_value_or_a_number_as_the_patient_it_is(tmp_path):
    records = datasets.read("table", table(tmp_path, "a.png,1,NA,\nb.png,0,null,\nm.png,0,1e3,\n"), TABLE)
    assert [record.patient_id for record in records] == ["NA", "null", "1e3"]


@pytest.mark.parametrize(
    ("rows", "options", "sentence"),
    [
        ("../../secret.png,1,1,\n", {}, "points outside"),
        ("/etc/hosts,1,1,\n", {}, "points outside"),
        ("a.png,1,1,\n/a.png,1,1,\n", {}, "'/a.png' points outside"),
        ("c.png,1,1,\n", {}, "names c.png, but there is no file"),
        ("a.png,1,,\n", {}, "line 2 has no 'person'; fill it in"),
        ("b.png,0,1,\n\n,,,\na.png,1,,\n", {}, "line 5 has no 'person'; fill it in"),
        (
            "a.png,2,1,\n",
            {},
            "a.png: '2' is none of the labels '0', '1'; correct it or the option",
        ),
        (
            "a.png,1,1,\n",
            {"label": "truth"},
            "no column 'truth'; it has: 'file', 'diagnosis', 'person', 'lesion'",
        ),
        ("a.png,1,1,\n", {"label": ""}, "no column ''; it has: 'file'"),
        ("a.png,1,1,\n", {"csv": "other.csv"}, "no table .*other.csv"),
        (
            "a.png,1,1,\n",
            {"labels": {True: "ill"}},
            "option .labels.1.: .*got True, which YAML takes for no text: write it in quotes",
        ),
        (",1,1,\n", {}, "line 2 has no 'file'"),
    ],
)
def test_table_mistakes_are_named(tmp_path, rows, options, sentence):
    with pytest.raises(UserError, match=sentence):
        datasets.read("table", table(tmp_path, rows), TABLE | options)


def test_a_csv_that_lists_masks_among_its_images_is_refused(tmp_path):
    picture(tmp_path / "pictures" / "a_mask.png")
    options = TABLE | {"mask": None}
    rows = "a.png,1,007,\na_mask.png,1,007,\n"
    with pytest.raises(UserError, match="list.csv names a_mask.png as an image, which is the mask of a.png"):
        datasets.read("table", table(tmp_path, rows), options)
    assert len(datasets.read("table", table(tmp_path, rows.partition("\n")[2]), options)) == 1


PLAIN = "file,diagnosis,person,lesion\na.png,1,007,m.png\nb.png,0,08,\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace(",", ", "),
        PLAIN.replace(",", " ,"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("\n", "\r\n") + ",,,\r\n",
        "\ufeff" + PLAIN.replace("\n", "\r"),
        "\n".join('"' + line.replace(",", '", "') + '"' for line in PLAIN.splitlines()),
    ],
)
def test_csv_files_as_people_have_them_say_the_same(tmp_path, text):
    plain = datasets.read("table", table(tmp_path, "a.png,1,007,m.png\nb.png,0,08,\n"), TABLE)
    (tmp_path / "list.csv").write_bytes(text.encode())
    assert datasets.read("table", tmp_path, TABLE) == plain


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            PLAIN.replace("m.png", "m.png,"),
            "Expected 4 fields in line 2, saw 5.*the first line is the header",
        ),
        (PLAIN + "a.png,1,1,,\n", "Expected 4 fields in line 4, saw 5"),
        (PLAIN + '"a.png,1,1,\n', "cannot be read as csv .EOF inside string"),
        (
            PLAIN.replace("007", "M\u00fc").encode("latin-1"),
            "list.csv is not in UTF-8 .*save it as CSV UTF-8",
        ),
        (PLAIN.encode("utf-16"), "not in UTF-8"),
        (PLAIN.replace("007", "0\0007"), "holds NUL bytes"),
        ("sep=,\n" + PLAIN, "list.csv begins with a line 'sep='.*delete that line"),
        (PLAIN.replace("lesion", "file"), "two columns 'file'.*correct its first line"),
        (",,,\n \n", "list.csv has no line with a cell that is filled"),
        ("\r\n\n" + PLAIN.replace("08", ""), "list.csv: line 5 has no 'person'"),
        (PLAIN.splitlines()[0] + "\n,,,\n", "list.csv has no row below its header; write one per image"),
        (PLAIN.replace("person", "who "), "no column 'person'; it has: 'file', 'diagnosis', 'who', 'lesion'"),
        (PLAIN + "./a.png,0,1,\n", "'a.png' and './a.png' are one file"),
        # Two quotes, each of which nobody closed: the rows between them would be one cell of the first.
        ('file,diagnosis,person,lesion\na.png,1,"007,\nb.png,0,08,\nm.png,0,09",\n', "begins '007,"),
        (f'{PLAIN.splitlines()[0]}\na.png,1,007,"\nb.png,0,08,"\n', "a cell that begins .* row of its own"),
    ],
)
def test_csv_files_that_would_be_misread_are_refused(tmp_path, text, sentence):
    table(tmp_path, "")
    (tmp_path / "list.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=sentence):
        datasets.read("table", tmp_path, TABLE)


def test_a_note_of_several_lines_is_one_cell(tmp_path):
    plain = datasets.read("table", table(tmp_path, "a.png,1,007,m.png\nb.png,0,08,\n"), TABLE)
    noted = (
        'file,diagnosis,person,lesion,note\na.png,1,007,m.png,"a mass, firm\nno calcium"\nb.png,0,08,,""\n'
    )
    (tmp_path / "list.csv").write_text(noted)
    assert datasets.read("table", tmp_path, TABLE) == plain


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system takes no such name")
def test_a_name_that_is_not_in_utf_8_is_refused(class_folders):
    train = class_folders / "train"
    (train / "dog" / "00000042_1.jpg").rename(train / "dog" / os.fsdecode(b"P\xe4.png"))
    with pytest.raises(UserError, match="cannot list .*dog.* codec can't encode .*write names in UTF-8"):
        datasets.read("folders", class_folders, {"root": "train"})


@pytest.mark.parametrize(
    ("named", "file", "pattern"),
    [
        ("left\\a_\u00e9.png", "left/a_\u00e9.png", None),
        ("left/A_\u00c9.PNG", "left/a_\u00e9.png", None),
        ("left/a_\u00e9.png", "left/a_e\u0301.png", None),
        ("./left/a", "left/a.png", None),
        ("0", "000.png", "{image:0>3}.png"),
    ],
)
def test_files_are_found_by_names_that_other_programs_changed(tmp_path, named, file, pattern):
    picture(tmp_path / file)
    (tmp_path / "list.csv").write_text(f"file,label\n{named},ill\n", encoding="utf-8")
    options = {"csv": "list.csv", "image": "file"} | ({"file": pattern} if pattern else {})
    (record,) = datasets.read("table", tmp_path, options)
    assert record.image.read_bytes() == (tmp_path / file).read_bytes()
    with pytest.raises(UserError, match="names .*, but there is no file|fits left/a.jpg, left/a.png"):
        picture(tmp_path / "left/a.jpg")
        (tmp_path / "list.csv").write_text("file,label\nleft/A,ill\nb,ill\n")
        datasets.read("table", tmp_path, options)
    with pytest.raises(UserError, match="option 'file' is '{name}.png'"):
        datasets.read("table", tmp_path, options | {"file": "{name}.png"})


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_classes_have_one_unicode_form(tmp_path, form):
    """Macs write decomposed names, editors composed ones; both look alike."""
    name = unicodedata.normalize(form, "Läsion")
    picture(tmp_path / name / "a.png")
    assert datasets.read("folders", tmp_path, {})[0].class_name == "Läsion"
    assert datasets.read("folders", tmp_path, {"labels": {"Läsion": "ill"}})[0].class_name == "ill"
    (tmp_path / "list.csv").write_text(f"image,label\n{name}/a.png,{name}\n", encoding="utf-8")
    assert datasets.read("table", tmp_path, {"csv": "list.csv"})[0].class_name == "Läsion"


SPELLINGS = {
    "case": str.lower,
    "blank": lambda name: name.replace("P", "P\u2009"),
    "zeros": lambda name: re.sub(r"(?<=\D)0+", "", name),
    "invisible": lambda name: f"\ufeff{name}\u200b",
    "decomposed": lambda name: unicodedata.normalize("NFD", name),
    "wide": lambda name: name.replace("P", "\uff30"),
}


def spelt(tmp_path, study, ids, **options):
    """A study of a csv in which image i is of patient ids[i]; every other image is ill."""
    root = tmp_path / "raw"
    for i, _ in enumerate(ids):
        picture(root / f"{i}.png", i)
    rows = [f'{i}.png,{"malignant" if i // 2 % 2 else "benign"},"{name}"' for i, name in enumerate(ids)]
    (root / "list.csv").write_text("\n".join(["image,label,who", *rows]), encoding="utf-8")
    options = {"csv": "list.csv", "patient": "who"} | options
    return with_task(study, layout="table", path=str(root), options=options)


@pytest.mark.parametrize("how", SPELLINGS)
def test_two_spellings_of_one_person_stop_the_study_or_are_declared(small_study, tmp_path, how):
    numbers = np.random.default_rng(len(how)).choice(np.arange(1, 99), 6, replace=False)
    ids = [f"P\u00e9{number:03d}" for number in numbers]
    pairs = [name for one in ids for name in (one, SPELLINGS[how](one))]
    changed = [name for name in pairs if name not in ids]
    with pytest.raises(
        UserError, match=r"spelt in two ways: .*\d.png.* and .*option 'patient_spellings'"
    ) as stop:
        choose_records(spelt(tmp_path, small_study, pairs), "breast_us")
    assert str(stop.value).isprintable()
    for said, count in (("same", len(ids)), ("different", len(ids) + len(changed))):
        chosen = choose_records(spelt(tmp_path, small_study, pairs, patient_spellings=said), "breast_us")
        assert len({record.patient_id for record in chosen.records}) == count
    consistent = choose_records(spelt(tmp_path, small_study, pairs[1::2] * 2), "breast_us")
    assert {record.patient_id for record in consistent.records} == set(pairs[1::2])


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        (["1", "2.02401E+11", "3", "2,5e+08"], r"image 1.png: the patient '2.02401E\+11' .*column as text"),
        (["7", "7.0", "8", "9"], "some patients are numbers with a decimal .7.0. and others are not"),
        (["P001", "1.0", "P002", "2.0"], "some patients are numbers with a decimal"),
        (["anonymous"] * 4, "all images are of one patient, 'anonymous'"),
    ],
)
def test_ids_that_a_spreadsheet_has_changed_are_refused(small_study, tmp_path, ids, sentence):
    with pytest.raises(UserError, match=f"dataset 'breast_us': {sentence}"):
        choose_records(spelt(tmp_path, small_study, ids), "breast_us")


@pytest.mark.parametrize(
    "ids", [["10", "1", "100", "0"], ["1e3", "1E4", "a0b", "ab"], ["1.0", "2.0", "1.0", "3.0"]]
)
def test_ids_that_differ_in_more_than_spelling_are_people_of_their_own(small_study, tmp_path, ids):
    chosen = choose_records(spelt(tmp_path, small_study, ids), "breast_us")
    assert [record.patient_id for record in chosen.records] == ids


def test_the_patient_may_be_a_folder(small_study, tmp_path):
    names = [
        f"{c}/{c[0]}{k}/IM-{s:04d}.png" for c in ("benign", "malignant") for k in range(3) for s in range(2)
    ]
    for i, name in enumerate(names):
        picture(tmp_path / "raw" / name, i)
    for pattern in (r"([bm]\d)/", "([^/]+)/[^/]+$"):
        chosen = choose_records(with_task(small_study, options={"patient": pattern}), "breast_us")
        assert [record.patient_id for record in chosen.records] == [name.split("/")[1] for name in names]
    for pattern in (r"(\d+)", r"^([^_]+)\."):
        with pytest.raises(
            UserError, match="finds patient '.*' in two folders: benign/b0.*with a / is searched"
        ):
            choose_records(with_task(small_study, options={"patient": pattern}), "breast_us")
    with pytest.raises(UserError, match=r"several folders of a class .benign/b0, benign/b1., and no option"):
        choose_records(with_task(small_study), "breast_us")
    chosen = choose_records(with_task(small_study, options={"patient": "^(.+/.+)$"}), "breast_us")
    assert [record.patient_id for record in chosen.records] == names


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("tops", [["train", "test"], ["around"]])
def test_class_folders_a_floor_deeper_ask_for_root(small_study, tmp_path, zipped, tops):
    names = [f"{top}/{c}/{n}.png" for top in tops for c in ("benign", "malignant") for n in range(2)]
    for i, name in enumerate(names):
        picture(tmp_path / "raw" / name, i)
    path = tmp_path / "raw"
    if zipped:
        path = tmp_path / "raw.zip"
        with zipfile.ZipFile(path, "w") as packed:
            for name in names:
                packed.writestr(name.replace("/", "\\"), (tmp_path / "raw" / name).read_bytes())
    with pytest.raises(UserError, match=f"folders lie in {', '.join(sorted(tops))}; .*'root: {max(tops)}'"):
        choose_records(with_task(small_study, path=str(path)), "breast_us")
    chosen = choose_records(with_task(small_study, path=str(path), options={"root": tops[0]}), "breast_us")
    assert [f"{tops[0]}/{r.image_id}" for r in chosen.records] == [n for n in names if n.startswith(tops[0])]
    assert chosen.records[0].image.read_bytes() == (tmp_path / "raw" / names[0]).read_bytes()


def test_authors_split_with_an_image_in_two_parts_is_refused(tmp_path):
    root = table(tmp_path, "a.png,1,1,\nb.png,0,2,\n")
    for part, names in {"train": "a.png\nb.png\n", "val": "", "test": "a.png\n"}.items():
        (root / f"{part}.csv").write_text("file\n" + names)
    folds = {"train": "train.csv", "validation": "val.csv", "test": "test.csv"}
    with pytest.raises(UserError, match="image a.png is also in the part 'train'"):
        datasets.read("table", root, TABLE | {"folds": folds})
    with pytest.raises(UserError, match="needs the keys train, validation, test"):
        datasets.read("table", root, TABLE | {"folds": {"train": "train.csv"}})


def with_task(study, **changes):
    task = study.tasks["breast_us"].model_copy(
        update={"layout": "folders", "path": "raw", "options": {}} | changes
    )
    return study.model_copy(update={"tasks": {"breast_us": task}})


def test_labels_that_are_neither_class_must_be_ignored_by_name(small_study, tmp_path):
    for name in ("benign/1.png", "malignant/2.png", "normal/3.png"):
        picture(tmp_path / "raw" / name)
    with pytest.raises(
        UserError, match="3.png has the label 'normal', which is neither 'benign' nor 'malignant'"
    ):
        choose_records(with_task(small_study), "breast_us")
    chosen = choose_records(with_task(small_study, options={"ignore": ["normal"]}), "breast_us")
    assert [r.image_id for r in chosen.records] == ["benign/1.png", "malignant/2.png"]
    assert chosen.dropped == {"normal/3.png": "class 'normal' is ignored"}
    with pytest.raises(UserError, match="'ignore' names 'Normal', which is no class; found: 'benign', 'mali"):
        choose_records(with_task(small_study, options={"ignore": ["Normal"]}), "breast_us")
    (tmp_path / "deep").mkdir()
    (tmp_path / "raw").rename(tmp_path / "deep" / "set")
    with pytest.raises(UserError, match="the class folders lie in set; name one by the option 'root'"):
        choose_records(with_task(small_study, path="deep", options={"ignore": ["normal"]}), "breast_us")
    (tmp_path / "deep" / "set").rename(tmp_path / "raw")
    with pytest.raises(UserError, match="no image of class 'cyst'"):
        choose_records(
            with_task(small_study, positive="cyst", options={"ignore": ["malignant", "normal"]}), "breast_us"
        )


def test_covid_document_expression_cuts_page_and_figure():
    """The expression of studies/open.yaml on the published kinds of names."""
    study = load_study(path=REPOSITORY / "studies" / "open.yaml")
    pattern = re.compile(study.tasks["covid_ct"].options["patient"])
    names = {
        "2020.03.10.20032136-p34-118_1%1.png": "2020.03.10.20032136",
        "2020.01.24.919183-p27-132.png": "2020.01.24.919183",
        "PIIS0140673620303603%4.png": "PIIS0140673620303603",
        "39%3.png": "39",
        "997.png": "997",
        "kjr-21-e24-p5-31.png": "kjr-21-e24",
    }
    assert {name: pattern.search(name).group(1) for name in names} == names
