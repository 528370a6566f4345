"""MRNet, knee MRI, as published: `train/sagittal/0000.npy`, `valid/...`, `train-acl.csv`, `valid-acl.csv`.

Bien N. et al., Deep-learning-assisted diagnosis for knee magnetic resonance imaging, PLoS Medicine 2018, doi
10.1371/journal.pmed.1002699. A volume is (slices, 256, 256); a table has no header and says exam, 0 or 1. An
exam counts as a patient: the 1 130 exams of train are of 1 088 patients, which the files do not name.

The labels are of exams, so slices must be chosen. `slices: 3` takes the middle one and its neighbours; the
middle of n slices is slice n // 2, counted from 0. `slices: authors` takes the slices that the authors of
RadImageNet picked, with their labels: `images/1054_sagittal_19.000000.png` is slice 19 of exam 1054 (counted
from 0 too; their lists do not say).
"""

import re
from pathlib import Path

from radlib.datasets.arrays import VolumeSlice, open_array
from radlib.datasets.authors import read_cells, read_list
from radlib.datasets.record import Record, below
from radlib.errors import UserError

FINDINGS = ("acl", "meniscus", "abnormal")
PLANES = ("sagittal", "coronal", "axial")
_LABELS = {
    "0": "negative", "no": "negative", "n": "negative",
    "1": "positive", "yes": "positive", "p": "positive",
}  # fmt: skip
# The authors' lists: columns of image and label, and the beginning of the files' names in folds/.
_LISTS = {"acl": ("filename", "acl_label", ""), "meniscus": ("img_dir", "label", "meniscus_")}
_PICKED = re.compile(r"images/(\d+)_sagittal_(\d+)(?:\.0+)?\.png")


def read(
    path: Path,
    *,
    finding: str,
    plane: str = "sagittal",
    slices: int | str = 1,
    folds: str = "own",
    exported: bool = False,
) -> list[Record]:
    """One record per chosen slice, of class negative or positive.

    Args:
        finding: acl, meniscus or abnormal. plane: sagittal, coronal or axial.
        slices: how many around the middle, or "authors": those of `folds/[meniscus_]train_fold1.csv`, ...
        folds: "own" or, with the authors' slices, "authors": their five folds too.
        exported: with the authors' slices, take them from their `images/*.png` and not from the volumes.
    Raises:
        UserError: an impossible option, a table or volume that is missing or damaged, an unknown label.
    """
    _check(finding, plane, slices, folds, exported)
    if slices == "authors":
        return _picked(path, finding, folds, exported)
    return [
        record
        for part in ("train", "valid")
        for exam, label in _exams(path / f"{part}-{finding}.csv")
        for record in _middle(path / part / plane / f"{exam}.npy", exam, label, plane, slices)
    ]


def _check(finding: str, plane: str, slices: int | str, folds: str, exported: bool) -> None:
    for option, value, allowed in (("finding", finding, FINDINGS), ("plane", plane, PLANES)):
        if value not in allowed:
            raise UserError(f"option '{option}' is '{value}'; allowed: {', '.join(allowed)}")
    if slices != "authors" and (isinstance(slices, bool) or not isinstance(slices, int) or slices < 1):
        raise UserError(f"option 'slices' is '{slices}'; allowed: a number from 1 on, authors")
    if slices == "authors" and (finding not in _LISTS or plane != "sagittal"):
        raise UserError(
            "the authors picked sagittal slices for acl and meniscus only; give 'slices' a number"
        )
    if folds not in ("own", "authors"):
        raise UserError(f"option 'folds' is '{folds}'; allowed: own, authors")
    if slices != "authors" and (folds == "authors" or exported):
        raise UserError("options 'folds: authors' and 'exported' need 'slices: authors'")


def _exams(file: Path) -> list[tuple[str, str]]:
    """Exam and class of every line of a table without a header."""
    table = read_cells(file)
    if table.shape[1] != 2:
        raise UserError(f"{file} has {table.shape[1]} columns; expected exam and label, without a header")
    return [(exam, _label(value, f"{file}: exam {exam}")) for exam, value in table.to_numpy().tolist()]


def _middle(file: Path, exam: str, label: str, plane: str, count: int) -> list[Record]:
    depth = len(open_array(file))
    first = depth // 2 - count // 2
    if first < 0 or first + count > depth:
        raise UserError(
            f"{file} holds {depth} slices, not {count} around the middle; lower the option 'slices'"
        )
    return [
        Record(f"{exam}_{plane}_{index}", exam, label, VolumeSlice(file, index))
        for index in range(first, first + count)
    ]


def _picked(path: Path, finding: str, folds: str, exported: bool) -> list[Record]:
    image, label, begin = _LISTS[finding]
    files = {
        part: f"folds/{begin}{name}_fold{{fold}}.csv"
        for part, name in (("train", "train"), ("validation", "val"), ("test", "test"))
    }
    rows, parts = read_list(path, files, [image, label])
    names, where = rows[image].tolist(), path / "folds"
    picked = [_name(name, where) for name in names]
    refs = below(path, names, where) if exported else _slices(path, picked, where)
    return [
        Record(
            f"{exam}_sagittal_{index}",
            exam,
            _label(value, f"{where}: image {name}"),
            ref,
            parts=parts[name] if folds == "authors" else None,
        )
        for name, (exam, index), value, ref in zip(names, picked, rows[label], refs, strict=True)
    ]


def _name(name: str, where: Path) -> tuple[str, int]:
    """Exam and slice in the name that the authors gave an image."""
    found = _PICKED.fullmatch(name)
    if not found:
        raise UserError(f"{where}: '{name}' is not images/<exam>_sagittal_<slice>.png; download it again")
    return found.group(1), int(found.group(2))


def _slices(path: Path, picked: list[tuple[str, int]], where: Path) -> list[VolumeSlice]:
    """Slices of the volumes; an exam lies in train or in valid."""
    volumes = {f.stem: f for part in ("train", "valid") for f in (path / part / "sagittal").glob("*.npy")}
    for exam, _ in picked:
        if exam not in volumes:
            raise UserError(
                f"{where} names exam {exam}, but neither train/ nor valid/ of {path} has its volume"
            )
    return [VolumeSlice(volumes[exam], index) for exam, index in picked]


def _label(value: str, where: str) -> str:
    if value.strip() not in _LABELS:
        raise UserError(f"{where} has the label '{value}'; expected one of {', '.join(_LABELS)}")
    return _LABELS[value.strip()]
