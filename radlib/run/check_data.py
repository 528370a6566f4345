"""What of a study's data is there, before anything is computed: one table, and a sentence for each fault."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from radlib.data.facts import FACTS, check_inverted, facts_of, odd_looks
from radlib.data.parts import classes_of, with_parts
from radlib.data.records import choose_from, list_records, loader
from radlib.datasets import Record
from radlib.errors import UserError
from radlib.progress import on_threads, progress
from radlib.study import Study
from radlib.study.datasets import Corpus, Dataset, Task
from radlib.study.places import absent, check_places, holds_something
from radlib.study.titles import aligned

RAW = PurePosixPath("data/raw")
_AT_ONCE = 256
_SHOWN = 20


@dataclass
class Checked:
    """One dataset or checkpoint.

    found: yes, no, simulated, or how many of a checkpoint's files. images, patients, positive: counted; None
    where there is nothing to count, and patients None where the publisher names none. left_out: reason ->
    how many files. warnings: counts that differ, odd pictures. errors: what would stop the study.
    incomplete: whether something must still be fetched.
    """

    name: str
    found: str
    images: int | None = None
    patients: int | None = None
    positive: int | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    incomplete: bool = False


def check_data(study: Study, raw: Path | None = None, quick: bool = False) -> list[Checked]:
    """Look for everything that the study reads, count it, split it, open every listed image and all weights.

    Args:
        raw: the folder with the downloads, in place of data/raw. quick: count only, open no image.
    """
    study = with_raw(study, raw)
    checked = [_check_dataset(study, name, quick) for name in {**study.corpora, **study.tasks}]
    return checked + [_check_files(study, name, quick) for name in study.checkpoints]


def with_raw(study: Study, raw: Path | None) -> Study:
    """The study with every path below data/raw moved to `raw`."""
    if raw is None:
        return study
    if not raw.is_dir():
        raise UserError(f"RAW={raw} is no folder; name the one that holds your downloads")

    def moved(item: Dataset) -> Dataset:
        path = PurePosixPath(item.path)
        if not path.is_relative_to(RAW):
            return item
        return item.model_copy(update={"path": str(raw.resolve() / path.relative_to(RAW))})

    sections = {name: getattr(study, name) for name in ("corpora", "tasks", "checkpoints")}
    sections = {name: {key: moved(item) for key, item in held.items()} for name, held in sections.items()}
    study = study.model_copy(update=sections)
    check_places(study)
    return study


def _check_dataset(study: Study, name: str, quick: bool) -> Checked:
    config = study.dataset(name)
    if config.simulated:
        return Checked(name, "simulated")
    if not holds_something(study.raw_path(config)):
        return Checked(name, "no", errors=[absent(study, name)], incomplete=True)
    try:
        records = list_records(study, name)
    except UserError as exc:
        return Checked(name, "yes", errors=[str(exc)])
    usable = [record for record in records if not record.drop]
    checked = Checked(name, "yes", left_out=Counter(record.drop for record in records if record.drop))
    _count(checked, config, usable)
    try:
        _check_split(study, name, choose_from(study, name, records).records)
    except UserError as exc:
        checked.errors.append(str(exc))
    if not quick:
        _open(checked, usable, config.colour)
    return checked


def _check_split(study: Study, name: str, records: list[Record]) -> None:
    """Split before any image is opened, as `01_data` does afterwards, and raise what it would raise.

    `01_data` knows of copies, too, and splits fewer images of fewer patients: what fails here fails there
    (but for a patient whose only image in a second part is an exact copy, which `01_data` drops).
    """
    classes = [record.class_name for record in records]
    order = classes_of(study.dataset(name), classes)
    named = pd.Series([record.patient_id for record in records], dtype=object)
    manifest = pd.DataFrame(
        {
            "image_id": [record.image_id for record in records],
            "patient_id": [record.patient_id or record.image_id for record in records],
            "label": [order.index(class_name) for class_name in classes],
            "class_name": classes,
            "has_mask": [bool(record.masks) for record in records],
        }
    )
    with_parts(study, name, manifest, [record.parts for record in records], named)


def _check_files(study: Study, name: str, quick: bool) -> Checked:
    # PyTorch takes seconds to import, and without checkpoints nothing here needs it.
    from radlib.networks import hub
    from radlib.networks.checkpoints import published_weights

    names, here, checked = study.checkpoints[name].backbones, 0, Checked(name, "")
    for backbone in names:
        try:
            if hub.located(study, name, backbone):
                here += 1
                if not quick:
                    published_weights(study, name, backbone)
            else:
                said = "make study fetches it" if quick else hub.announced(study, name, backbone)
                checked.warnings.append(f"'{name}' for {backbone} is not here yet: {said}")
        except UserError as exc:
            checked.errors.append(str(exc))
    return replace(checked, found=f"{here} of {len(names)}", incomplete=here < len(names))


def _count(checked: Checked, config: Corpus | Task, usable: list[Record]) -> None:
    """Counts before the study leaves classes out or draws a subset, as publishers count."""
    checked.images = len(usable)
    if all(record.patient_id is not None for record in usable):
        checked.patients = len({record.patient_id for record in usable})
    elif isinstance(config, Task):
        named = sum(record.patient_id is not None for record in usable)
        checked.warnings.append(
            f"'{checked.name}': patients are named for {named:,} of {len(usable):,} images; of the others "
            "only near-identical images are kept in one part, so one person may be in training and in test, "
            "which flatters every figure. If you know the patients, name them by the option 'patient'"
        )
    if isinstance(config, Task) and not config.classes:
        checked.positive = sum(record.class_name == config.positive for record in usable)
    for what in ("images", "patients", "positive"):
        expected = getattr(config.expected, what, None)
        counted = getattr(checked, what)
        if expected is not None and counted is not None and counted != expected:
            checked.warnings.append(
                f"'{checked.name}': {what} {counted:,}, expected {expected:,} ({counted - expected:+,})"
            )


def _open(checked: Checked, records: list[Record], colour: bool) -> None:
    """Note every image or mask that cannot be decoded, is left out, or looks odd."""
    load, names, facts = loader(colour), [], []

    def one(record: Record) -> tuple[str, str, tuple]:
        """What is wrong with it and why it is left out, "" for nothing, and its row of FACTS."""
        try:
            decoded = load(record)
        except UserError as exc:
            return str(exc), "", ()
        return "", decoded.drop, facts_of(decoded.pixels, decoded.mask)[0]

    opened = on_threads(one, records, _AT_ONCE)
    bar = progress(opened, total=len(records), description=f"opening {checked.name}", unit="img")
    for record, (error, drop, noted) in zip(records, bar, strict=True):
        if error:
            checked.errors.append(error)
        elif drop:
            checked.left_out[drop] += 1
        else:
            names.append(record.image_id)
            facts.append(noted)
    seen = np.array(names, dtype=object), np.array(facts, dtype=FACTS)
    checked.warnings += [f"'{checked.name}': {sentence}" for sentence in odd_looks(*seen)]
    try:
        check_inverted(checked.name, *seen)
    except UserError as exc:
        checked.errors.append(str(exc))


# What the user reads ----------------------------------------------------------------------------------------
def report(study: Study, checked: list[Checked], quick: bool = False) -> str:
    """The table, and below it what is wrong, the worst last."""
    table = pd.DataFrame([_row(study, one) for one in checked]).pipe(
        aligned, right=("images", "patients", "positive")
    )
    warnings = [f"Warning: {sentence}" for one in checked for sentence in one.warnings]
    errors = [f"Error: {sentence}" for one in checked for sentence in _shortened(one)]
    left_out = [
        f"Left out of '{one.name}': {count:,}, {reason}"
        for one in checked
        for reason, count in sorted(one.left_out.items())
    ]
    done = "No image was opened (quick)." if quick else "Every listed image was opened."
    if not any(one.images for one in checked):
        done = f"Nothing was opened{'; see the errors below' if errors else ': there is no image'}."
    return "\n".join(
        [f"Study '{study.name}': {study.title}", "", table, "", done, *left_out, *warnings, *errors]
    )


def _row(study: Study, one: Checked) -> dict[str, str]:
    item = {**study.corpora, **study.tasks, **study.checkpoints}[one.name]
    expected = getattr(item, "expected", None)
    counts = {} if expected is None else expected.model_dump(exclude_none=True)
    patients = "not named" if one.images and one.patients is None else _number(one.patients)
    return {
        "dataset": one.name,
        "found": one.found,
        "images": _number(one.images),
        "patients": patients,
        "positive": _number(one.positive),
        "expected": ", ".join(f"{what} {count:,}" for what, count in counts.items()) or "-",
        "licence": item.licence or "-",
        "how to get it": item.url if one.incomplete else "",
    }


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _shortened(one: Checked) -> list[str]:
    more = len(one.errors) - _SHOWN
    return one.errors[:_SHOWN] + ([f"'{one.name}': {more:,} more such files"] if more > 0 else [])
