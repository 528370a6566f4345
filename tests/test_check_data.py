"""make check-data, on small studies whose downloads are written here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from radlib.data.prepare import prepare
from radlib.errors import UserError
from radlib.run.check_data import check_data, report, with_raw
from radlib.run.commands import main
from radlib.study import load_study
from radlib.study.datasets import Checkpoint
from tests import published_files as published
from tests.conftest import REPOSITORY

TASKS = yaml.safe_load("""
    haemorrhage:
      layout: rsna_haemorrhage
      path: data/raw/rsna_ich
      title: Haemorrhage CT
      licence: research only
      url: https://example.org/ich
      negative: negative
      positive: positive
      folds: 1
      expected: {images: 24, patients: 12, positive: 8}
    thyroid:
      layout: ddti_original
      path: data/raw/ddti
      title: Thyroid US
      licence: see publisher
      url: https://example.org/ddti
      negative: benign
      positive: malignant
      folds: 1
      expected: {images: 12}
""")


def quiet(items, **_):
    return items


@pytest.fixture
def params() -> dict:
    """The smoke study, one corpus simulated, one published, and two published tasks."""
    params = yaml.safe_load((REPOSITORY / "studies" / "smoke.yaml").read_text())
    params["tasks"] = TASKS
    unasked = ("segment", "confounds", "label_efficiency", "matched_labels", "controls")
    for part in (*unasked, "robustness", "similarity"):
        del params[part]
    params["corpora"]["radiology"] = {
        "layout": "radimagenet",
        "path": "data/raw/radimagenet",
        "title": "RadImageNet",
        "url": "https://example.org/radimagenet",
    }
    return params


@pytest.fixture
def raw(tmp_path) -> Path:
    """A folder of downloads, somewhere else than the study."""
    raw = tmp_path / "downloads"
    published.rsna_haemorrhage(raw / "rsna_ich", images=24)
    published.ddti_original(raw / "ddti")
    for case in range(11, 19):
        more_thyroid(raw / "ddti", case)
    published.radimagenet(raw / "radimagenet")
    return raw


def more_thyroid(root: Path, case: int) -> None:
    """A case of one image, benign where its number is even."""
    published.picture(root / f"{case}_1.jpg", seed=100 + case)
    (root / f"{case}.xml").write_text(published.ddti_case(case, "5" if case % 2 else "2", {1: None}))


@pytest.fixture
def study(tmp_path, params):
    file = tmp_path / "here" / "params.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(params))
    return load_study(path=file)


def by_name(checked) -> dict:
    return {one.name: one for one in checked}


def test_everything_is_counted_where_raw_says(study, raw):
    checked = check_data(study, raw)
    counts = {one.name: (one.found, one.images, one.patients, one.positive) for one in checked}
    assert counts == {
        "radiology": ("yes", 21, None, None),
        "photographs": ("simulated", None, None, None),
        "haemorrhage": ("yes", 24, 12, 8),
        "thyroid": ("yes", 12, 11, 7),
    }
    assert not any(one.errors or one.warnings for one in checked)
    assert not (study.root / "data").exists()


def test_the_table_says_what_a_reader_needs(study, raw):
    (raw / "ddti").rename(raw / "elsewhere")
    lines = report(study, check_data(study, raw)).splitlines()
    header, table = lines[2], {line.split()[0]: line for line in lines[3:7]}
    assert re.split(r"\s{2,}", header) == [
        "dataset", "found", "images", "patients", "positive", "expected", "licence", "how to get it",
    ]  # fmt: skip
    assert re.split(r"\s{2,}", table["haemorrhage"]) == [
        "haemorrhage", "yes", "24", "12", "8", "images 24, patients 12, positive 8", "research only",
    ]  # fmt: skip
    assert re.split(r"\s{2,}", table["radiology"])[1:4] == ["yes", "21", "not named"]
    assert re.split(r"\s{2,}", table["thyroid"]) == [
        "thyroid", "no", "-", "-", "-", "images 12", "see publisher", "https://example.org/ddti",
    ]  # fmt: skip
    assert "Every listed image was opened." in lines
    assert lines[-1].startswith("Error: 'thyroid' (Thyroid US) is not at ")
    assert lines[-1].endswith("get it from https://example.org/ddti and put it there")


def in_folders(study, raw, **options):
    """The same study with one task, of class folders whose files begin with the patient."""
    for number in range(6):
        name = "ill" if number % 2 else "healthy"
        (raw / "mine" / name).mkdir(parents=True, exist_ok=True)
        published.picture(raw / "mine" / name / f"P{number // 2}_{number}.png", seed=number)
    changes = {"layout": "folders", "path": "data/raw/mine", "negative": "healthy", "positive": "ill"}
    mine = study.tasks["thyroid"].model_copy(update=changes | {"options": options, "expected": None})
    return study.model_copy(update={"tasks": {"mine": mine}})


def test_a_task_whose_patients_nobody_names_is_warned_of(study, raw):
    (warning,) = by_name(check_data(in_folders(study, raw), raw))["mine"].warnings
    assert "patients are named for 0 of 6 images" in warning and "by the option 'patient'" in warning
    named = by_name(check_data(in_folders(study, raw, patient="^(P.)_"), raw))["mine"]
    assert named.patients == 3 and not named.warnings


def test_a_set_that_cannot_be_read_is_not_called_empty(study, raw):
    broken = in_folders(study, raw, labels={"sick": "ill"}).model_copy(update={"corpora": {}})
    text = report(broken, check_data(broken, raw))
    assert "Nothing was opened; see the errors below." in text and "no class folder 'sick'" in text


def test_published_weights_that_are_missing_say_where_they_are_published(study, raw):
    files = {"resnet18": "a.pt", "densenet121": "b.pt"}
    weights = {
        "path": "data/raw/weights",
        "licence": "MIT",
        "url": "https://example.org/weights",
        "files": files,
    }
    weights |= {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    study = study.model_copy(update={"checkpoints": {"published": Checkpoint(**weights)}})
    (raw / "weights").mkdir()

    def row_and_errors():
        lines = report(study, check_data(study, raw, quick=True)).splitlines()
        row = next(line for line in lines if line.startswith("published"))
        return re.split(r"\s{2,}", row.rstrip()), [line for line in lines if line.startswith("Error: ")]

    (raw / "weights/a.pt").write_bytes(b"there")
    row, errors = row_and_errors()
    assert row == ["published", "1 of 2", "-", "-", "-", "-", "MIT", "https://example.org/weights"]
    assert len(errors) == 1 and "fetch it from https://example.org/weights and put it there" in errors[0]
    (raw / "weights/b.pt").write_bytes(b"there")
    row, errors = row_and_errors()
    assert row == ["published", "2 of 2", "-", "-", "-", "-", "MIT"] and not errors
    opened = check_data(study, raw)[-1].errors
    assert [error.split("weights/")[1][:29] for error in opened] == [
        f"{n}.pt cannot be read as weight" for n in "ab"
    ]


def test_wrong_counts_are_warnings_with_the_number(study, raw):
    (raw / "ddti" / "2_2.jpg").unlink()
    warned = by_name(check_data(study, raw))["thyroid"]
    assert warned.warnings == ["'thyroid': images 11, expected 12 (-1)"] and not warned.errors


def test_every_unreadable_file_is_named_unless_quick(study, raw):
    (raw / "rsna_ich/stage_2_train/ID_000000004.dcm").write_bytes(
        (raw / "rsna_ich/stage_2_train/ID_000000004.dcm").read_bytes()[:-100]
    )
    (raw / "ddti/1_1.jpg").write_bytes(b"half a file")
    (raw / "ddti/4_1.jpg").write_bytes(b"")
    (raw / "radimagenet/radiology_ai/US/gallbladder/image006.png").write_bytes(b"<html>")
    found = by_name(check_data(study, raw))
    assert [len(found[n].errors) for n in ("haemorrhage", "thyroid", "radiology")] == [1, 2, 1]
    assert "ID_000000004.dcm is no readable DICOM picture" in found["haemorrhage"].errors[0]
    assert ["1_1.jpg" in found["thyroid"].errors[0], "4_1.jpg is empty" in found["thyroid"].errors[1]] == [
        True
    ] * 2
    assert "image006.png is no readable image" in found["radiology"].errors[0]
    assert found["haemorrhage"].images == 24
    quickly = check_data(study, raw, quick=True)
    assert not any(one.errors for one in quickly)
    assert "No image was opened (quick)." in report(study, quickly, quick=True)


def test_many_unreadable_files_are_counted_not_all_printed(study, raw):
    for file in (raw / "radimagenet").rglob("*.png"):
        file.write_bytes(b"")
    printed = report(study, check_data(study, raw))
    assert printed.count("is empty; replace or delete it") == 20
    assert "Error: 'radiology': 1 more such files" in printed


def test_what_a_reader_finds_wrong_is_an_error_and_the_others_are_still_checked(study, raw):
    (raw / "radimagenet/RadiologyAI_val.csv").unlink()
    (raw / "ddti/2.xml").write_text("<case><tirads>9</tirads></case>")
    found = by_name(check_data(study, raw))
    assert re.match("dataset 'radiology': no table", found["radiology"].errors[0])
    assert "tirads: '9'" in found["thyroid"].errors[0]
    assert found["haemorrhage"].images == 24 and not found["haemorrhage"].errors


def test_labels_that_the_study_does_not_know_are_an_error(study, raw):
    for case in (1, 12, 14, 16, 18):
        (raw / f"ddti/{case}.xml").write_text(published.ddti_case(case, "5", {1: None}))
    found = by_name(check_data(study, raw))["thyroid"]
    assert "no image of class 'benign'" in found.errors[0] and found.images == 12


def thyroid_folds(root: Path, folds: int = 1, parted: bool = False) -> None:
    """The authors' lists of the cases 11 to 18; `parted`: case 14, which validates, is trained on, too."""
    parts = {"train": (11, 12, 17, 18), "val": (13, 14), "test": (15, 16)}
    if parted:
        published.picture(root / "14_2.jpg", seed=142)
    for fold in range(folds):
        for part, cases in parts.items():
            rows = [f"images/{case}_1.jpg,x" for case in cases]
            rows += ["images/14_2.jpg,x"] * (parted and part == "train")
            published.write_csv(root / f"folds/thyroid_{part}_fold{fold + 1}.csv", "img_dir,label", rows)


def first_error(study, raw, **changes) -> str:
    """What check-data and 01_data say of the changed task, which must be the same."""
    task = study.tasks["thyroid"].model_copy(update=changes)
    study = with_raw(study.model_copy(update={"tasks": {"thyroid": task}, "corpora": {}}), raw)
    errors = check_data(study, quick=True)[0].errors
    try:
        prepare(study, "thyroid", save=False, progress=quiet)
    except UserError as exc:
        assert errors == [str(exc)]
        return errors[0]
    assert not errors
    return ""


def test_what_01_data_refuses_of_the_authors_split_is_found_before(study, raw):
    authors = {"options": {"folds": "authors"}}
    thyroid_folds(raw / "ddti")
    assert not first_error(study, raw, **authors)
    assert "the authors' files hold 1 folds, not 5; set folds: 1" in first_error(
        study, raw, folds=5, **authors
    )
    thyroid_folds(raw / "ddti", parted=True)
    found = first_error(study, raw, **authors)
    assert "fold 0: patient 14 is in train and validation; correct the split files" in found
    lists = raw / "ddti/folds/thyroid_val_fold1.csv"
    thyroid_folds(raw / "ddti")
    lists.write_text(lists.read_text().replace("images/14_1.jpg,x\n", ""))
    assert "fold 0: the validation part lacks a class (it holds 1 of 2)" in first_error(study, raw, **authors)


def test_too_few_patients_for_the_folds_are_found_before(study, raw):
    for case in (14, 16, 18):
        (raw / f"ddti/{case}.xml").unlink()
        (raw / f"ddti/{case}_1.jpg").unlink()
    assert "part lacks a class" in first_error(study, raw, folds=2)


def test_a_task_to_be_segmented_without_any_mask_is_found_before(study, raw):
    for file in (raw / "ddti").glob("*.xml"):
        score = "5" if int(file.stem) % 2 else "2"
        file.write_text(published.ddti_case(int(file.stem), score, {1: None}))
    study = study.model_copy(update={"segment": study.segment.model_copy(update={"tasks": ["thyroid"]})})
    assert "task 'thyroid' has no lesion masks to learn from" in first_error(study, raw)


@pytest.fixture
def at_home(tmp_path, params, monkeypatch) -> Path:
    """A repository with one study of its own, entered."""
    home = tmp_path / "home"
    (home / "studies").mkdir(parents=True)
    (home / "studies" / "mine.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(home)
    return home


def test_the_command_exits_with_1_where_something_is_missing(at_home, raw, capsys):
    command = ["check-data", "--study", "mine", "--raw", str(raw)]
    assert main(command) == 0
    assert "Every listed image was opened." in capsys.readouterr().out
    (raw / "ddti/1_1.jpg").write_bytes(b"half a file")
    assert main(command) == 1
    assert "Error: " in capsys.readouterr().out
    assert main([*command, "--quick"]) == 0
    assert main(["check-data", "--study", "mine"]) == 1
    assert main(["check-data", "--study", "mine", "--raw", "nowhere"]) == 1
    assert "RAW=nowhere is no folder" in capsys.readouterr().err
    assert main(["check-data", "--study", "other"]) == 1
    assert "no study 'other' in studies/; there are: mine" in capsys.readouterr().err
    assert sorted(path.name for path in at_home.iterdir()) == ["studies"]


def test_a_network_that_cannot_work_is_an_error(at_home, raw, capsys):
    file = at_home / "studies" / "mine.yaml"
    file.write_text(file.read_text().replace("test_efficientnet", "coat_tiny"))
    assert main(["check-data", "--study", "mine", "--raw", str(raw), "--quick"]) == 1
    assert "Error: backbones.coat_tiny: the features" in capsys.readouterr().out
    assert main(["study", "--study", "mine", "--raw", str(raw)]) == 1
    assert "Stopped: backbones.coat_tiny: the features" in capsys.readouterr().err


def test_the_chosen_study_is_checked_where_none_is_named(at_home, raw, capsys):
    (at_home / "studies" / "mine.yaml").rename(at_home / "params.yaml")
    assert main(["check-data", "--raw", str(raw), "--quick"]) == 0
    assert capsys.readouterr().out.startswith("Study 'smoke'")


def test_checking_imports_no_pytorch():
    code = "import sys, radlib.run.check_data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_expected_counts_are_checked_like_every_key(tmp_path, params):
    params["tasks"]["thyroid"] = params["tasks"]["thyroid"] | {"expected": {"pictures": 4}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(
        Exception, match="unknown key 'tasks.thyroid.expected.pictures'; allowed there: images"
    ):
        load_study(path=tmp_path / "params.yaml")
