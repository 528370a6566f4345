"""The data sets of studies/paper.yaml as published, with the authors' lists, a handful of images each."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from radlib.study import Study
from tests import published_files as published

LISTS = ("train", "val", "test")
CASES = range(30)  # odd ones are positive
NIH = "pneumonia-challenge-dataset-mappings_2018.json"
# AUC after radiology pretraining minus AUC after ImageNet pretraining, as the paper reports it.
TRANSFER = {
    "thyroid_us": 0.094,
    "breast_us": 0.040,
    "acl_mri": 0.048,
    "meniscus_mri": 0.045,
    "pneumonia_cxr": 0.019,
    "covid_ct": 0.061,
    "sarscov2_ct": 0.017,
    "haemorrhage_ct": 0.009,
}


def write_all(root: Path, study: Study) -> None:
    """All that the study reads below data/raw, at the same place below `root`; weights are empty files."""
    write = {
        "ddti_original": thyroid, "busi": breast, "mrnet": knees, "rsna_pneumonia": pneumonia,
        "covid_csv": covid, "cc_ccii": sarscov2, "rsna_haemorrhage": haemorrhage,
        "radimagenet": published.radimagenet,
    }  # fmt: skip
    for item in {**study.corpora, **study.tasks}.values():
        write[item.layout](root / Path(item.path).relative_to("data/raw"))
    for checkpoint in study.checkpoints.values():
        folder = root / Path(checkpoint.path).relative_to("data/raw")
        folder.mkdir(parents=True)
        for backbone in checkpoint.backbones:
            (folder / checkpoint.file_of(backbone)).touch()


def five_folds() -> Iterator[tuple[int, str, list[int]]]:
    """Number of the fold (from 1), name of the part, and its cases, two neighbours always together."""
    for fold, name in product(range(5), LISTS):
        place = {"test": fold, "val": (fold + 1) % 5}
        parts = {case: next((p for p, k in place.items() if case // 2 % 5 == k), "train") for case in CASES}
        yield fold + 1, name, [case for case in CASES if parts[case] == name]


def one_split() -> Iterator[tuple[str, range]]:
    return zip(LISTS, (range(14), range(14, 20), range(20, 30)), strict=True)


def thyroid(root: Path) -> None:
    """Thirty cases, one image each, benign and malignant in turn."""
    outline = [(8, 8), (24, 8), (24, 24), (8, 24)]
    for case in CASES:
        published.picture(root / f"{case}_1.jpg", seed=case, size=32)
        score = "5" if case % 2 else "2"
        (root / f"{case}.xml").write_text(published.ddti_case(case, score, {1: [outline]}))
    for fold, name, cases in five_folds():
        rows = [f"images/{case}_1.jpg,x" for case in cases]
        published.write_csv(root / f"folds/thyroid_{name}_fold{fold}.csv", "img_dir,label", rows)


def breast(root: Path) -> None:
    """Every tenth image is a normal one, which counts as benign."""
    names = {
        case: f"{'malignant' if case % 2 else 'benign' if case % 10 else 'normal'} ({case})" for case in CASES
    }
    for case, name in names.items():
        folder = root / name.split()[0]
        published.picture(folder / f"{name}.png", seed=case, size=32)
        mask = Image.new("L", (32, 32))
        if folder.name != "normal":
            mask.paste(255, (8, 8, 24, 24))
        mask.save(folder / f"{name}_mask.png")
    for fold, part, cases in five_folds():
        rows = [f"images/{names[case]}.png,x" for case in cases]
        published.write_csv(root / f"folds/breast_{part}_fold{fold}.csv", "filename,label", rows)


def knees(root: Path) -> None:
    """Volumes of three slices, of which the authors picked the second; for both findings at once."""
    for case in CASES:
        file = root / "train" / "sagittal" / f"{case:04d}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.random.default_rng(case).integers(0, 256, (3, 32, 32), dtype=np.uint8))
    for fold, part, cases in five_folds():
        rows = [f"images/{case:04d}_sagittal_1.000000.png,{['no', 'yes'][case % 2]}" for case in cases]
        published.write_csv(root / f"folds/{part}_fold{fold}.csv", "filename,acl_label", rows)
        published.write_csv(root / f"folds/meniscus_{part}_fold{fold}.csv", "img_dir,label", rows)


def pneumonia(root: Path) -> None:
    """One image a person, but the first of train and the first of test are of one."""
    for case in CASES:
        published.dicom(root / "stage_2_train_images" / f"image{case}.dcm", case)
    rows = [f"image{case},,,,,{case % 2}" for case in CASES]
    published.write_csv(root / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", rows)
    for part, cases in one_split():
        rows = [f"0,images/image{case}.png,0,no" for case in cases]
        published.write_csv(root / f"folds/{part}.csv", ",filename,Target,label", rows)
    people = {case: 0 if case == 20 else case for case in CASES}
    entries = [f'{{"subset_img_id": "image{c}", "img_id": "{p:08d}_{c:03d}.png"}}' for c, p in people.items()]
    (root / NIH).write_text(f"[{', '.join(entries)}]")


def covid(root: Path) -> None:
    """Twelve patients of each class, one slice each."""
    number = 0
    for part, count in (("train", 4), ("val", 2), ("test", 6)):
        rows = []
        for label, _ in product(("negative", "positive"), range(count)):
            name = f"images/WH{number}-00_0001.{number}.png"
            published.picture(root / name, seed=number, size=32)
            rows.append(f"{number},{name},{label}")
            number += 1
        published.write_csv(root / f"folds/covid19_{part}.csv", ",filename,label", rows)


def sarscov2(root: Path) -> None:
    """Thirty patients, one slice each, ill and not in turn."""
    for part, cases in one_split():
        rows = []
        for case in cases:
            name = ("CP", "NCP")[case % 2]
            path = f"{name}/{case}/312{case}/0031.png"
            published.picture(root / "images" / path, seed=case, size=32)
            rows.append(f"{case},{path},{name}_{case},{name},images/{path}")
        published.write_csv(root / f"folds/sarscovid2_{part}.csv", ",imgpath,pid,label,filename", rows)


def haemorrhage(root: Path) -> None:
    """Two images a patient, and the one that is damaged as published, without a file."""
    published.rsna_haemorrhage(root, images=60)
    with (root / "stage_2_train.csv").open("a") as table:
        table.write("ID_6431af929_any,0\n")
    for part, cases in one_split():
        rows = [f"ID_{2 * case + image:09x}.png,ID_p{case}" for case in cases for image in range(2)]
        published.write_csv(root / f"folds/hemorrhage_{part}.csv", "dir,pid", rows)
