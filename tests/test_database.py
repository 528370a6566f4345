"""Exams and findings to a database: what is written, what never leaves, and what is refused."""

import re
import shutil
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pydicom
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from radlib import datasets
from radlib.data.prepare import prepare
from radlib.database.build import plan_database, write_database
from radlib.database.exams import KINDS, read_exams
from radlib.database.readings import ADJUDICATED, ALL, MOST, NO_HOUNSFIELD, NO_LABEL, ONE, OTHER_MODALITY, TIE
from radlib.database.show import (
    agreement_figure,
    counts,
    key_images,
    label_table,
    region_table,
    study_lines,
)
from radlib.database.taxonomy import SHIPPED, read_taxonomy
from radlib.datasets.dicom import hashed
from radlib.datasets.salt import read_salt
from radlib.errors import UserError
from radlib.study.training import Segment
from tests.conftest import REPOSITORY
from tests.published_files import dicom_bytes, noise, write_csv

matplotlib.use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
SALT = "a salt that nobody guesses"
SECRETS = {
    "PatientName": "Zuckermann^Jane", "PatientID": "MRN00", "PatientBirthDate": "19610305",
    "StudyDate": "20170304", "InstitutionName": "Charity Hospital", "AccessionNumber": "ACC4711",
    "ReferringPhysicianName": "Housemann^G", "StudyDescription": "MRI knee left, Ms Zuckermann",
    "ManufacturerModelName": "Magnetomat",
}  # fmt: skip
UID = "1.2.826.0.1.3680043.777"


def silent(items, **_):
    return items


def exam(folder: Path, number: int, values: np.ndarray | None = None, **tags) -> str:
    """One file; patient, study, series and instance are numbered alike unless `tags` say otherwise."""
    values = 1000 + noise(number).astype(np.uint16) if values is None else values
    named = {
        **SECRETS, "PatientID": f"MRN00{number}", "StudyInstanceUID": f"{UID}.1.{number}",
        "SeriesInstanceUID": f"{UID}.2.{number}", "SOPInstanceUID": f"{UID}.3.{number}", "Modality": "MR",
        "BodyPartExamined": "KNEE",
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / f"Zuckermann{number}.dcm").write_bytes(dicom_bytes(values, **named | tags))
    return (named | tags)["SOPInstanceUID"]


def annotate(folder: Path, rows: list[str], header: str = "uid,finding,reader") -> Path:
    write_csv(folder / "findings.csv", header, rows)
    return folder / "findings.csv"


def plan(folder: Path, rows: list[str], header: str = "uid,finding,reader", **options):
    options = {"taxonomy": read_taxonomy(), "least_patients": 1, "progress": silent, "salt": SALT} | options
    return plan_database(folder / "exams", annotate(folder, rows, header), **options)


def hospital(folder: Path) -> list[str]:
    """Twelve patients with two knees each; every other one is torn. A report and a text lie beside them."""
    rows = []
    for number in range(24):
        uid = exam(folder / "exams", number, PatientID=f"MRN00{number // 2}")
        rows.append(f"{uid},{'meniscal tear' if number // 2 % 2 else 'normal'},Dr. Readwell")
    (folder / "exams" / "notes.txt").write_text("not a picture")
    report = pydicom.data.get_testdata_file("reportsi.dcm", download=False)
    (folder / "exams" / "report.dcm").write_bytes(Path(report).read_bytes())
    return rows


def written(folder: Path, database) -> Path:
    write_database(database, folder / "out", progress=silent)
    return folder / "out"


# The whole way ----------------------------------------------------------------------------------------------
def test_the_folder_is_what_01_data_reads_and_no_patient_is_in_two_parts(tmp_path, small_study):
    out = written(tmp_path, plan(tmp_path, hospital(tmp_path), least_patients=3))
    records = datasets.read("radimagenet", out, {})
    assert {r.class_name for r in records} == {"MR/knee/normal", "MR/knee/meniscal_tear"}
    assert len(records) == 24 and len({r.patient_id for r in records}) == 12
    corpus = small_study.corpora["radiology"].model_copy(
        update={"layout": "radimagenet", "path": str(out), "size": 16, "options": {}}
    )
    study = small_study.model_copy(
        update={"corpora": {"radiology": corpus}, "tasks": {}, "segment": Segment()}
    )
    prepared = prepare(study, "radiology", save=False, progress=silent)
    manifest = prepared.manifest
    assert len(manifest) == 24 and set(manifest["part_0"]) == {"train", "validation", "test"}
    assert (manifest.groupby("patient_id")["part_0"].nunique() == 1).all()
    assert prepared.audit["patients_published"]
    table = pd.read_csv(out / "RadiologyAI_train.csv")
    assert list(table) == ["filename", "label", "patient_id"]
    assert (table["label"] == [name.split("/")[3] for name in table["filename"]]).all()


def test_a_patient_moved_to_another_part_by_hand_is_noticed(tmp_path, small_study):
    out = written(tmp_path, plan(tmp_path, hospital(tmp_path)))
    train, test = (pd.read_csv(out / f"RadiologyAI_{part}.csv") for part in ("train", "test"))
    pd.concat([test, train.iloc[:1]]).to_csv(out / "RadiologyAI_test.csv", index=False)
    train.iloc[1:].to_csv(out / "RadiologyAI_train.csv", index=False)
    corpus = small_study.corpora["radiology"].model_copy(
        update={"layout": "radimagenet", "path": str(out), "size": 16, "options": {}}
    )
    study = small_study.model_copy(
        update={"corpora": {"radiology": corpus}, "tasks": {}, "segment": Segment()}
    )
    with pytest.raises(UserError, match=f"patient {train['patient_id'].iloc[0]} is in test and train"):
        prepare(study, "radiology", save=False, progress=silent)
    train.assign(patient_id="").to_csv(out / "RadiologyAI_train.csv", index=False)
    with pytest.raises(UserError, match="has no 'patient_id'"):
        datasets.read("radimagenet", out, {})


def test_nothing_of_a_header_is_in_any_byte_or_name(tmp_path):
    rows = [*hospital(tmp_path), f"{UID}.1.3,meniscal tear,Dr. Second"]
    out = written(tmp_path, plan(tmp_path, rows))
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) == 24 + 7  # parts, agreement, left out, rules, mark
    names = [str(path.relative_to(out)).encode() for path in files]
    text = b"\n".join([*(path.read_bytes() for path in files), *names])
    words = set(re.findall(r"[A-Za-z0-9]{4,}", " ".join(SECRETS.values()))) - {"knee", "left"}
    for secret in [*words, "MRN00", UID, "1.2.826", SALT, "Readwell", "Second"]:
        assert secret.lower().encode() not in text.lower(), secret
    for path in out.rglob("*.png"):
        with Image.open(path) as image:
            assert not image.info and len(image.getexif()) == 0


def test_the_same_exams_give_the_same_bytes_and_another_salt_other_names(tmp_path):
    rows = hospital(tmp_path)
    first, second = plan(tmp_path, rows), plan(tmp_path, list(reversed(rows)))
    write_database(first, tmp_path / "a", progress=silent)
    write_database(second, tmp_path / "b", progress=silent)
    content = [
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (tmp_path / "a", tmp_path / "b")
    ]
    assert content[0] == content[1]
    other = plan(tmp_path, rows, salt="another salt, as long")
    assert not set(other.images["patient_id"]) & set(first.images["patient_id"])
    assert not set(other.images["filename"]) & set(first.images["filename"])
    assert set(first.images["patient_id"]) == {hashed(f"MRN00{n}", SALT) for n in range(12)}


def test_without_a_salt_nothing_is_hashed(tmp_path, monkeypatch):
    monkeypatch.delenv("RADLIB_SALT", raising=False)
    with pytest.raises(UserError, match="no salt in the environment variable RADLIB_SALT.*token_hex"):
        read_salt()
    monkeypatch.setenv("RADLIB_SALT", "short")
    with pytest.raises(UserError, match="has 5 characters, which can be guessed"):
        read_salt()
    monkeypatch.setenv("RADLIB_SALT", SALT)
    assert read_salt() == SALT
    exam(tmp_path / "exams", 0)
    with pytest.raises(UserError, match="no salt in the call, and without one patients are not hashed"):
        plan(tmp_path, [f"{UID}.3.0,normal,A"], salt="")
    (tmp_path / "salt.txt").write_text("from the file itself\n")
    assert read_salt(tmp_path / "salt.txt") == "from the file itself"
    with pytest.raises(UserError, match="salt cannot be read from .*none.txt"):
        read_salt(tmp_path / "none.txt")


# Pixels -----------------------------------------------------------------------------------------------------
def pixels_of(out: Path, folder: str) -> np.ndarray:
    (file,) = (out / "radiology_ai" / folder).glob("*.png")
    return np.asarray(Image.open(file))


def test_pictures_are_the_stored_values_through_the_taxonomy_s_window(tmp_path):
    values = noise(1).astype(np.uint16) * 16
    ct = {"Modality": "CT", "BodyPartExamined": "CHEST", "RescaleSlope": 1, "RescaleIntercept": -1024}
    ct |= {"WindowCenter": 40, "WindowWidth": 80, "VOILUTFunction": "SIGMOID"}
    exam(tmp_path / "exams", 1, values, **ct)
    exam(tmp_path / "exams", 2, values, PhotometricInterpretation="MONOCHROME1")
    exam(tmp_path / "exams", 3, noise(3), Modality="US", BodyPartExamined="THYROID")
    rows = [f"{UID}.3.{n},normal,A" for n in (1, 2, 3)]
    out = written(tmp_path, plan(tmp_path, rows))
    hounsfield = values.astype(float) - 1024
    lung = np.clip((hounsfield - (-600 - 0.5)) / (1500 - 1) + 0.5, 0, 1) * 255
    assert np.abs(pixels_of(out, "CT/lung/normal") - lung).max() <= 0.5 + 1e-9
    low, high = np.percentile(values, [0.5, 99.5])
    knee = np.clip((values - low) / (high - low), 0, 1) * 255
    assert np.abs(pixels_of(out, "MR/knee/normal") - (255 - knee)).max() <= 0.5 + 1e-9
    assert np.array_equal(pixels_of(out, "US/thyroid_normal"), noise(3))


def test_ultrasound_of_more_than_eight_bits_needs_a_window(tmp_path):
    exam(tmp_path / "exams", 1, Modality="US", BodyPartExamined="THYROID")
    database = plan(tmp_path, [f"{UID}.3.1,normal,A"])
    with pytest.raises(UserError, match="Zuckermann1.dcm has values from .* give the taxonomy a window"):
        write_database(database, tmp_path / "out", progress=silent)
    assert not (tmp_path / "out").exists()


def test_of_several_frames_the_csv_names_one_or_the_middle_is_taken(tmp_path):
    frames = np.stack([noise(n) for n in range(5)])
    several = {"Rows": 16, "Columns": 16, "NumberOfFrames": 5, "PixelData": frames.tobytes()}
    exam(tmp_path / "exams", 1, noise(0), Modality="US", BodyPartExamined="LIVER", **several)
    header = "uid,finding,reader,frame"
    for frame, expected in (("", 2), ("4", 4), ("0", 0)):
        database = plan(tmp_path, [f"{UID}.3.1,normal,A,{frame}"], header)
        assert np.array_equal(database.pixels(0), frames[expected])
    assert len(plan(tmp_path, [f"{UID}.3.1,normal,A,{frame}" for frame in (0, 1)], header).images) == 2
    own = plan(tmp_path, [f"{UID}.1.1,normal,A,", f"{UID}.3.1,gallstone,A,4"], header).images
    assert own[["frame", "label"]].to_numpy().tolist() == [[4, "gallstone"]], "not the study's, of the middle"
    with pytest.raises(UserError, match=rf"no such frame: {UID}.3.1 frame 5;"):
        plan(tmp_path, [f"{UID}.3.1,normal,A,5"], header)
    with pytest.raises(UserError, match=rf"no such frame: {UID}.1.1 frame 0; name the picture's own uid"):
        plan(tmp_path, [f"{UID}.1.1,normal,A,0"], header)


def test_the_files_that_come_with_pydicom_become_a_database(tmp_path):
    (tmp_path / "exams").mkdir()
    for name in ("CT_small.dcm", "examples_overlay.dcm", "examples_rgb_color.dcm"):
        file = Path(pydicom.data.get_testdata_file(name, download=False))
        (tmp_path / "exams" / name).write_bytes(file.read_bytes())
    headers = {p.name: pydicom.dcmread(p) for p in (tmp_path / "exams").iterdir()}
    uid = {name: header.SOPInstanceUID for name, header in headers.items()}
    rows = [
        f"{uid['CT_small.dcm']},normal,A,abdomen",
        f"{uid['examples_overlay.dcm']},normal,A,",
        f"{uid['examples_rgb_color.dcm']},nodule,A,thyroid",
    ]
    out = written(tmp_path, plan(tmp_path, rows, "uid,finding,reader,region"))
    assert np.array_equal(pixels_of(out, "US/thyroid_nodule"), headers["examples_rgb_color.dcm"].pixel_array)
    assert pixels_of(out, "CT/abdomen/normal").shape == (128, 128)
    assert pixels_of(out, "MR/abdomen/normal").std() > 10  # ABDOMEN of its header


# Where a picture belongs ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("modality", "texts", "region"),
    [
        ("MR", ("KNEE", "MRI SHOULDER", ""), "knee"),
        ("MR", ("", "MRI shoulder, right", "KNEE"), "shoulder"),
        ("MR", ("EXTREMITY", "", "sag_pd_knee_fs"), "knee"),
        ("MR", ("HIP AND KNEE", "", "T1 hip cor"), "hip"),
        ("MR", ("", "SHIPMENT", ""), None),
        ("MR", ("CHEST", "", ""), None),
        ("CT", ("CHEST", "", ""), "lung"),
        ("MR", ("", "abdomen^liver", ""), "abdomen"),
        ("CT", ("", "Thorax/Abdomen", ""), None),
    ],
)
def test_the_header_s_words_tell_the_region(modality, texts, region):
    assert read_taxonomy().region_of(modality, texts) == region


def test_words_of_any_alphabet_tell_a_region_and_an_empty_header_tells_none(tmp_path):
    content = yaml.safe_load(SHIPPED.read_text())
    content["modalities"]["MR"]["regions"]["hip"]["words"] = ["бедро", "-"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    taxonomy = read_taxonomy(tmp_path / "mine.yaml")
    assert taxonomy.region_of("MR", ("", "KNEE", "")) == "knee"
    assert taxonomy.region_of("MR", ("", "МРТ, бедро", "")) == "hip"


def test_the_csv_goes_before_the_header(tmp_path):
    exam(tmp_path / "exams", 1, noise(1))
    header = "uid,finding,reader,modality,region"
    images = plan(tmp_path, [f"{UID}.3.1,nodule,A,US,thyroid", f"{UID}.3.1,nodule,B,,"], header).images
    placed = images[["modality", "region", "label"]].to_numpy().tolist()
    assert placed == [["US", "thyroid", "thyroid_nodule"]]


def test_findings_of_series_and_studies_hold_for_their_pictures_unless_there_is_a_closer_one(tmp_path):
    for number, (study, series) in enumerate([(1, 1), (1, 1), (1, 2), (2, 3)]):
        uids = {"StudyInstanceUID": f"{UID}.1.{study}", "SeriesInstanceUID": f"{UID}.2.{series}"}
        exam(tmp_path / "exams", number, PatientID=f"P{study}", **uids)
    by_uid = {"1.1": "normal", "2.1": "meniscal tear", "3.0": "Normal ", "2.3": "normal"}
    rows = [f"{UID}.{uid},{finding},A" for uid, finding in by_uid.items()]
    for order in (rows, rows[::-1]):
        images = plan(tmp_path, order).images.sort_values("picture")
        assert images["label"].tolist() == ["normal", "meniscal_tear", "normal", "normal"]


def test_the_label_of_most_readers_counts_and_ties_go_to_the_adjudicator(tmp_path):
    votes = {
        0: ["normal"], 1: ["normal", "normal"], 2: ["normal", "meniscal tear", "meniscus tear"],
        3: ["normal", "meniscal tear"], 4: ["normal", "meniscal tear"], 5: ["poor quality", "meniscal tear"],
        6: ["poor quality"],
    }  # fmt: skip
    rows = []
    for number, said in votes.items():
        uid = exam(tmp_path / "exams", number)
        judged = "meniscal tear" if number == 4 else ""
        rows += [f"{uid},{finding},reader {i},{judged if i else ''}" for i, finding in enumerate(said)]
    database = plan(tmp_path, rows, "uid,finding,reader,adjudicator")
    images = database.images.set_index("picture")
    assert images["label"].to_dict() == {
        0: "normal", 1: "normal", 2: "meniscal_tear", 4: "meniscal_tear", 5: "meniscal_tear"
    }  # fmt: skip
    assert images["decision"].to_dict() == {0: ONE, 1: ALL, 2: MOST, 4: ADJUDICATED, 5: ONE}
    assert database.left_out == {TIE: 1, NO_LABEL: 1} and database.unread == 2
    (row,) = database.agreement.to_dict("records")
    assert (row["images"], row["patients"], row["readers"], row["method"]) == (4, 4, 3, "fleiss")


def test_a_reader_of_two_spellings_has_neither_two_votes_nor_a_part_in_kappa(tmp_path):
    rows = [
        f"{exam(tmp_path / 'exams', n)},{finding},{reader}"
        for n in range(3)
        for finding, reader in (("normal", "A"), ("normal", "a"), ("meniscal tear", "B"))
    ]
    with pytest.raises(UserError, match="spells one reader in two ways: 'A' = 'a'"):
        plan(tmp_path, rows)


def test_patients_of_two_spellings_are_joined_or_kept_as_the_user_says(tmp_path):
    rows = [
        f"{exam(tmp_path / 'exams', n, PatientID=('mrn 00' if n % 2 else 'MRN00') + str(n // 2))},normal,R"
        for n in range(8)
    ]
    counts = {}
    for said in ("same", "different"):
        counts[said] = plan(tmp_path, rows, patient_spellings=said).images["patient_id"].nunique()
    assert counts == {"same": 4, "different": 8}
    with pytest.raises(UserError, match="allowed: same, different"):
        plan(tmp_path, rows, patient_spellings=True)


def test_burned_in_text_other_modalities_and_rare_labels_are_left_out_and_counted(tmp_path):
    rows = hospital(tmp_path)
    exam(tmp_path / "exams", 30, BurnedInAnnotation="YES")
    exam(tmp_path / "exams", 31, Modality="MG")
    exam(tmp_path / "exams", 32, BodyPartExamined="HIP", BurnedInAnnotation="NO")
    rows += [f"{UID}.3.{n},normal,A" for n in (30, 31, 32)]
    database = plan(tmp_path, rows, least_patients=3)
    assert database.left_out == {KINDS["burned_in"]: 1, OTHER_MODALITY: 1, "a label of too few patients": 1}
    assert len(database.images) == 24
    shown = counts(database)["number"].to_dict()
    assert shown["files", "pictures that the csv names"] == 27 and shown["patients", "used"] == 12
    assert shown["files", "passed over: no DICOM file"] == shown["images", "left out: " + OTHER_MODALITY] == 1
    assert shown["images", "used, and no header says that no text is burned in"] == 24


CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
OTHER_KINDS = [
    ("scout", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
    ("scout", {"SeriesDescription": "3-plane Localiser"}),
    ("scout", {"SeriesDescription": "survey_sag"}),
    ("capture", {"SOPClassUID": CAPTURE}),
    ("capture", {"SOPClassUID": f"{CAPTURE}.4"}),
    ("capture", {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}),
    ("capture", {"ImageType": ["DERIVED", "SECONDARY", "OTHER", "DOSE_INFO"]}),
    ("burned_in", {"BurnedInAnnotation": "YES"}),
    ("burned_in", {"BurnedInAnnotation": "Y"}),
]
PICTURES = [
    {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
    {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "SeriesDescription": "Bone survey"},
    {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4"},
    {"BurnedInAnnotation": "NO", "SeriesDescription": "relocalization"},
]


def test_a_study_s_finding_does_not_hold_for_its_scouts_dose_sheets_and_screenshots(tmp_path):
    """Twelve slices of twelve studies stay twelve images, unless the kinds are asked for by name."""
    kinds = [*OTHER_KINDS, *((None, tags) for tags in PICTURES)]
    for number in range(12):
        of_study = {"StudyInstanceUID": f"{UID}.1.{number}", "PatientID": f"P{number}"}
        exam(tmp_path / "exams", number, **of_study)
        exam(tmp_path / "exams", 100 + number, **of_study | kinds[number][1])
    exam(tmp_path / "exams", 112, StudyInstanceUID=f"{UID}.1.0", PatientID="P0", **kinds[12][1])
    rows = [f"{UID}.1.{n},{'normal' if n % 2 else 'meniscal tear'},A" for n in range(12)]
    names = [kind for kind, _ in kinds if kind]
    database = plan(tmp_path, rows)
    assert database.left_out == {KINDS[kind]: names.count(kind) for kind in KINDS}
    assert len(database.images) == 12 + len(PICTURES)
    for kind in KINDS:
        database = plan(tmp_path, rows, include=[kind])
        assert database.left_out == {KINDS[other]: names.count(other) for other in KINDS if other != kind}
        assert len(database.images) == 12 + len(PICTURES) + names.count(kind)
    for wrong in (["scouts"], "scout"):
        with pytest.raises(UserError, match="give a list of these words: scout, capture, burned_in"):
            plan(tmp_path, rows, include=wrong)


def test_mixed_scanners_give_one_grey_and_the_rules_are_counted(tmp_path):
    """One picture as classic CT, as Enhanced CT, with half a rescale, and without a preamble."""
    values = noise(1).astype(np.uint16) * 16
    rescale, item = pydicom.Dataset(), pydicom.Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = 1, -1024
    item.PixelValueTransformationSequence = [rescale]
    several = {"NumberOfFrames": 2, "PixelData": np.stack([values] * 2).tobytes()}
    whole = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    scanners = [
        whole,
        several | {"SharedFunctionalGroupsSequence": [item]},
        several | {"PerFrameFunctionalGroupsSequence": [item, item]},
        {"RescaleIntercept": -1024},
        whole,
        {},
    ]
    ct = {"Modality": "CT", "BodyPartExamined": "CHEST"}
    rows = [
        f"{exam(tmp_path / 'exams', n, values, **ct, **tags)},normal,A" for n, tags in enumerate(scanners)
    ]
    file = tmp_path / "exams" / "Zuckermann4.dcm"
    file.write_bytes(file.read_bytes()[132:])
    database = plan(tmp_path, rows)
    assert database.left_out == {NO_HOUNSFIELD: 1}
    pixels = [database.pixels(row) for row in range(5)]
    assert all(np.array_equal(one, pixels[0]) for one in pixels) and pixels[0].std() > 10
    rules = database.rules().set_index("rule")["images"].to_dict()
    assert rules == {
        "RescaleSlope and RescaleIntercept": 2,
        "RescaleSlope and RescaleIntercept of the frame": 2,
        "RescaleIntercept": 1,
    }
    assert len(pd.read_csv(written(tmp_path, database) / "rules.csv")) == 3


def test_tables_count_what_is_written(tmp_path):
    database = plan(tmp_path, hospital(tmp_path))
    table = label_table(database)
    assert table.index.tolist() == ["radiology_ai/MR/knee/meniscal_tear", "radiology_ai/MR/knee/normal"]
    assert (table["images"] == 12).all() and (table["patients"] == 6).all()
    parts = ["train patients", "validation patients", "test patients"]
    assert (table[parts].sum(axis=1) == 6).all() and (table[parts] > 0).all(axis=None)
    assert region_table(database).loc[("MR", "knee"), "labels found"] == 2
    lines = yaml.safe_load(study_lines(Path("data/raw/My-database")))
    assert lines["corpora"]["my_database"]["path"] == "data/raw/My-database"
    assert list(yaml.safe_load(study_lines(Path("2024 Häuser")))["corpora"]) == ["h_user"]


# The taxonomy -----------------------------------------------------------------------------------------------
def test_the_shipped_taxonomy_has_the_published_counts():
    modalities = read_taxonomy().modalities
    published = {
        code: {name: of.published_labels for name, of in modality.regions.items() if of.published_labels}
        for code, modality in modalities.items()
    }
    assert published == {
        "MR": dict(ankle_foot=25, knee=18, shoulder=14, hip=14, brain=10, spine=9, abdomen=26),
        "CT": {"abdomen": 28, "lung": 6},
        "US": {"abdomen": 13, "thyroid": 2},
    }
    assert sum(sum(regions.values()) for regions in published.values()) == 165
    assert "EXAMPLES" in SHIPPED.read_text()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"modalities.XR": {"regions": {}}}, "modalities.XR"),
        ({"modalities.CT.regions.lung.window": None}, "CT/lung has no window, nor has CT"),
        ({"modalities.MR.window": {"percentiles": [99, 1]}}, "percentiles 99 and 1; give two from 0"),
        ({"modalities.MR.window": {"percentiles": [1, 101]}}, "percentiles 1 and 101; give two"),
        ({"modalities.MR.regions.knee.labels": {"a/b": []}}, "modalities.MR.regions.knee.labels.a/b"),
        ({"modalities.MR.regions.knee.labels": {"a": ["X"], "b": ["x "]}}, "the finding 'x' means a and b"),
        ({"modalities.MR.regions.knee.labels": {"artifact": []}}, "'artifact' means no label and artifact"),
        ({"modalities.US.regions.thyroid.labels": {"gallstone": []}}, "US has the label gallstone in two"),
        ({"modalities.MR.regions.knee.word": ["x"]}, "modalities.MR.regions.knee.word: Extra inputs"),
    ],
)
def test_an_impossible_taxonomy_is_one_sentence(tmp_path, change, sentence):
    content = yaml.safe_load(SHIPPED.read_text())
    for dotted, value in change.items():
        *parents, leaf = dotted.split(".")
        node = content
        for key in parents:
            node = node[key]
        node[leaf] = value
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=re.escape(sentence)) as stopped:
        read_taxonomy(tmp_path / "mine.yaml")
    assert "\n" not in str(stopped.value)


def test_an_unreadable_taxonomy_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot be read .*start from a copy"):
        read_taxonomy(tmp_path / "none.yaml")
    (tmp_path / "mine.yaml").write_text("modalities: [")
    with pytest.raises(UserError, match="mine.yaml is not valid YAML"):
        read_taxonomy(tmp_path / "mine.yaml")
    twice = SHIPPED.read_text().replace("          normal: []\n", "          normal: []\n" * 2, 1)
    (tmp_path / "mine.yaml").write_text(twice)
    with pytest.raises(UserError, match="mine.yaml: 'normal' stands twice, at lines"):
        read_taxonomy(tmp_path / "mine.yaml")


# Bad input --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("header", "rows", "sentence"),
    [
        ("uid,finding", [f"{UID}.3.0,normal"], "has no column 'reader'; it has: 'uid', 'finding'"),
        ("uid,finding,reader,regoin", [f"{UID}.3.0,normal,A,knee"], "unknown column regoin; allowed: uid"),
        ("uid,finding,reader", [], "has no row below its columns"),
        ("uid,finding,reader", [f"{UID}.3.0,,A", f"{UID}.3.1, ,A"], "line 2, 3 has no finding"),
        ("uid,finding,reader,frame", [f"{UID}.3.0,normal,A,1st"], "line 2 has a frame that is no whole"),
        ("uid,finding,reader", ["1.2E+10,normal,A"], "line 2 has a uid cut by a spreadsheet; format"),
        ("uid,finding,reader", [f"9.{n},normal,A" for n in range(8)], "the uid 9.0, .*9.4 .and 3 more."),
        ("uid,finding,reader", [f"{UID}.3.0,normal,A"] * 2, f"twice by one reader: {UID}.3.0 by A; keep"),
        ("uid,finding,reader", [f"{UID}.3.0,torn,A", f"{UID}.3.1,worn,B"], "'torn' .MR/knee., 'worn'"),
        ("uid,finding,reader,region", [f"{UID}.3.0,normal,A,elbow"], "names the region MR/elbow, which"),
        ("uid,finding,reader,modality", [f"{UID}.3.0,normal,A,XR"], "modality XR; the taxonomy has: CT, MR"),
        (
            "uid,finding,reader,region",
            [f"{UID}.3.0,normal,A,knee", f"{UID}.3.0,normal,B,hip"],
            f"name two values of region: {UID}.3.0; keep one",
        ),
        ("uid,finding,reader", [f"{UID}.3.0,poor quality,A"], "no annotated image is left .*no label"),
    ],
)
def test_a_wrong_csv_is_one_sentence(tmp_path, header, rows, sentence):
    for number in range(2):
        exam(tmp_path / "exams", number)
    with pytest.raises(UserError, match=sentence) as stopped:
        plan(tmp_path, rows, header)
    assert "\n" not in str(stopped.value)


def test_an_empty_csv_is_one_sentence(tmp_path):
    exam(tmp_path / "exams", 0)
    (tmp_path / "findings.csv").write_text("")
    with pytest.raises(UserError, match="findings.csv cannot be read as csv"):
        plan_database(tmp_path / "exams", tmp_path / "findings.csv", SALT, read_taxonomy(), progress=silent)


def copy_of_another(folder: Path) -> None:
    exam(folder, 2, SOPInstanceUID=f"{UID}.3.1")


def study_of_two_patients(folder: Path) -> None:
    exam(folder, 0, StudyInstanceUID=f"{UID}.1.1")


def damaged_header(folder: Path) -> None:
    data = dicom_bytes(noise(1), NumberOfFrames="2")
    (folder / "cut.dcm").write_bytes(data.replace(b"IS\x02\x002 ", b"IS\x02\x00x "))


def no_patient(folder: Path) -> None:
    exam(folder, 1, PatientID="")


def spelt_in_two_ways(folder: Path) -> None:
    exam(folder, 1, PatientID="mrn 0")


def shortened_by_a_spreadsheet(folder: Path) -> None:
    exam(folder, 1, PatientID="2.02401E+11")


def all_anonymous(folder: Path) -> None:
    for number in range(2):
        exam(folder, number, PatientID="ANONYMOUS")


def no_region(folder: Path) -> None:
    exam(folder, 1, BodyPartExamined="ELBOW", StudyDescription="")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (copy_of_another, r"there twice .one SOPInstanceUID.: .*Zuckermann1.dcm = .*Zuckermann2.dcm"),
        (study_of_two_patients, f"give one study to two patients .*{UID}.1.1"),
        (damaged_header, "cut.dcm is no readable DICOM picture"),
        (no_patient, r"1 annotated pictures name no patient .PatientID.: .*Zuckermann1.dcm"),
        (all_anonymous, "all 2 pictures, of 2 studies, name one patient .PatientID.; were the ids overwr"),
        (spelt_in_two_ways, r"one patient id is spelt in two ways: .*Zuckermann0.dcm.*Zuckermann1.dcm"),
        (
            shortened_by_a_spreadsheet,
            r"Zuckermann1.dcm: the patient '2.02401E\+11' .*format the column",
        ),
        (no_region, "tells the region of 1 annotated pictures; headers say MR: ELBOW"),
    ],
)
def test_exams_that_contradict_or_lack_something_are_named(tmp_path, spoil, sentence):
    for number in range(2):
        exam(tmp_path / "exams", number)
    spoil(tmp_path / "exams")
    with pytest.raises(UserError, match=sentence) as stopped:
        plan(tmp_path, [f"{UID}.3.{number},normal,A" for number in range(2)])
    assert "\n" not in str(stopped.value)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), max_size=5),
    length=st.integers(1, 2000),
)
def test_any_damage_to_a_header_ends_in_a_picture_a_count_or_a_user_error(tmp_path, changes, length):
    data = bytearray(dicom_bytes(noise(1), **SECRETS, SOPInstanceUID=f"{UID}.3.1", NumberOfFrames="2"))
    for position, value in changes:
        data[position % len(data)] = value
    (tmp_path / "damaged.dcm").write_bytes(data[:length])
    try:
        pictures, passed_over = read_exams(tmp_path, {f"{UID}.3.1"}, SALT, progress=silent)
    except UserError as exc:
        assert str(tmp_path) in str(exc) and "\n" not in str(exc)
    else:
        assert len(pictures) + sum(passed_over.values()) == 1


def test_exams_may_lie_in_a_zip(tmp_path):
    rows = hospital(tmp_path)
    folder = plan(tmp_path, rows)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "exams")
    zipped = plan_database(
        tmp_path / "packed.zip", tmp_path / "findings.csv", SALT, read_taxonomy(), 1, progress=silent
    )
    columns = ["filename", "patient_id", "part"]
    pd.testing.assert_frame_equal(zipped.images[columns], folder.images[columns])
    assert np.array_equal(zipped.pixels(5), folder.pixels(5))


def test_pictures_that_cannot_be_decoded_are_all_named_and_nothing_is_written(tmp_path):
    rows = hospital(tmp_path)
    for number in (3, 7):
        file = tmp_path / "exams" / f"Zuckermann{number}.dcm"
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="Zuckermann3.dcm is no readable .*Zuckermann7.dcm is no readable"):
        write_database(plan(tmp_path, rows), tmp_path / "out", progress=silent)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["exams", "findings.csv"]


def test_folders_without_pictures_and_folders_in_use_are_refused(tmp_path):
    (tmp_path / "exams").mkdir()
    (tmp_path / "exams" / "a.txt").write_text("a")
    with pytest.raises(UserError, match="holds no DICOM picture among 1 files"):
        plan(tmp_path, ["1,normal,A"])
    (tmp_path / "exams" / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    database = plan(tmp_path, hospital(tmp_path))
    assert sum(count for why, count in database.passed_over.items() if "a link to a folder" in why) == 1
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match="out is there already"):
        write_database(database, tmp_path / "out", progress=silent)
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep me"
    with pytest.raises(UserError, match="out lies in .*exams, where the exams are"):
        write_database(database, tmp_path / "exams" / "out", progress=silent)


# The notebook -----------------------------------------------------------------------------------------------
def test_the_notebook_runs_on_what_comes_with_pydicom_and_writes_where_it_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.delenv("RADLIB_SALT", raising=False)
    names: dict = {}
    for cell in nbformat.read("notebooks/00_database.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
        if cell.id == "parameters":
            names |= {"save": True, "out": str(tmp_path / "mine")}
    plt.close("all")
    records = datasets.read("radimagenet", tmp_path / "mine", {})
    assert sorted(r.image_id for r in records) == sorted(names["planned"].images["filename"])
    assert {r.class_name for r in records} == {
        "CT/brain/haemorrhage", "CT/brain/normal", "CT/lung/normal", "MR/abdomen/normal", "MR/brain/normal",
        "MR/knee/normal", "US/thyroid_nodule",
    }  # fmt: skip
    assert names["planned"].left_out == {KINDS["scout"]: 1, OTHER_MODALITY: 3, NO_LABEL: 1, TIE: 3}
    assert set(names["planned"].agreement["method"]) == {"cohen", "fleiss"}


def test_figures_show_every_region_and_label(tmp_path):
    rows = hospital(tmp_path)
    rows += [row.replace("Readwell", "Second") for row in rows[:14]]
    database = plan(tmp_path, rows)
    (axis,) = agreement_figure(database.agreement).axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["MR/knee: 14 images, 7 patients"]
    figure = key_images(database, most=3)
    assert [axis.get_title(loc="left") for axis in figure.axes[::3]] == [
        "MR/knee/meniscal_tear", "MR/knee/normal"
    ]  # fmt: skip
    drawn = [np.asarray(axis.images[0].get_array()) for axis in figure.axes]
    patients = [
        database.images["patient_id"].iloc[row]
        for picture in drawn
        for row in range(24)
        if np.array_equal(database.pixels(row), picture)
    ]
    assert len(patients) == len(set(patients)) == 6
    plt.close("all")
