"""Is a committed report what its study computes? Asked of every table, in one of two ways.

From the predictions that the report keeps its comparisons are computed again: no image, no network. Or the
whole study is computed from nothing, in a clone of the repository.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import yaml

from radlib import compute
from radlib.errors import UserError
from radlib.questions import calibration
from radlib.questions.auc import compute as compare
from radlib.questions.lesions import dice as compare_dice
from radlib.questions.lesions import measured as lesions
from radlib.questions.lesions import resize as compare_resize
from radlib.questions.lesions.table import DICE, RESIZE
from radlib.questions.ranking import compute as ranks
from radlib.questions.ranking.table import IMPROVEMENT, RANKS
from radlib.questions.validity import compute as validity
from radlib.questions.validity.table import VALIDITY
from radlib.report import agreement, archive, origin
from radlib.report.agreement import DIFFERENT, FAILED, MISSING, NOT_COMPUTED, WITHIN, Verdict
from radlib.study import Study, load_study
from radlib.study.questions import Cell
from radlib.study.titles import aligned
from radlib.training.results import load_results

_NOT_KEPT = "the report keeps no predictions to compute it from; make study STUDY={} makes one that does"
_TOLERATED = {
    False: "Tolerated: one unit of the sixth digit, the last printed; another processor may round otherwise.",
    True: "Tolerated: a quarter of the half width of a row's interval; counts and words must be equal.",
}


def verify(name: str, retrain: bool = False, root: Path = Path()) -> tuple[str, bool]:
    """Check `reports/<name>`.

    Args:
        retrain: compute the whole study again, instead of the comparisons alone.
        root: the repository's folder.
    Returns:
        the text for the reader, and whether no table is different or missing, nor a notebook tinkered with.
    Raises:
        UserError: there is no such report, or what it holds is damaged or of another version.
    """
    report = _report(root.resolve(), name)
    study = _study_of(report)
    with tempfile.TemporaryDirectory(prefix="radlib-verify-") as scratch:
        if retrain:
            found = _against(report, _trained_again(report, study, Path(scratch) / "clone"))
        else:
            found = _from_predictions(report, study.model_copy(update={"root": Path(scratch)}))
    written = _written(report)
    found = [_as_written(verdict, report / verdict.table, written.get(verdict.table)) for verdict in found]
    tinkered = origin.tinkered(report)
    reasons = [*tinkered, *origin.differences(report, compute.provenance(), root.resolve())]
    return _said(report, retrain, found, reasons), not tinkered and not any(
        v.verdict in FAILED for v in found
    )


def _report(root: Path, name: str) -> Path:
    folder = root / "reports"
    known = sorted(path.parent.name for path in folder.glob("*/params.yaml"))
    if name not in known:
        raise UserError(f"no report '{name}' in reports/; there are: {', '.join(known) or 'none'}")
    return folder / name


def _study_of(report: Path) -> Study:
    try:
        return load_study(path=report / "params.yaml")
    except UserError as exc:
        raise UserError(
            f"reports/{report.name} was made by another version of this library ({exc}); make it anew: "
            f"make study STUDY={report.name}"
        ) from exc


# From the predictions -------------------------------------------------------------------------------------


def _auc(study: Study) -> None:
    found = compare.compare_sources(study, load_results(study))
    compare.AUC.write(study, found.table)
    compare.OVERALL.write(study, found.overall)


def _dice(study: Study) -> None:
    located = lesions.load_localised(study, load_results(study, lesions.lesion_tasks(study)))
    methods = [found for found in (located, lesions.load_segmented(study)) if found.tasks]
    DICE.write(study, compare_dice.compare_found(study, methods))
    RESIZE.write(study, compare_resize.compare_resize(study, methods))


def _beyond(study: Study) -> None:
    results = load_results(study)
    drawn = ranks.draw_tasks(study, results)
    RANKS.write(study, ranks.rank_table(study, drawn))
    IMPROVEMENT.write(study, ranks.improvement_table(study, drawn))
    measured = calibration.measure(study, results)
    calibration.CALIBRATION.write(study, calibration.calibration_table(study, measured))


WAYS: dict[tuple[str, ...], Callable[[Study], None]] = {
    ("auc.csv", "overall.csv"): _auc,
    ("dice.csv", "resize.csv"): _dice,
    ("ranks.csv", "improvement.csv", "calibration.csv"): _beyond,
}
"""Tables that follow from predictions, and what writes them below a study's root."""


def _from_predictions(report: Path, study: Study) -> list[Verdict]:
    """Every table of a report; `study.root` is an empty folder."""
    kept = archive.is_kept(report)
    if kept:
        archive.restore(report, study)
    found = []
    for tables, write in WAYS.items():
        if not kept:
            found += [Verdict(table, MISSING, _NOT_KEPT.format(report.name)) for table in tables]
        else:
            found += _judged(report, study, tables, write)
    found.append(_simulated_again(report, study))
    known = {verdict.table for verdict in found}
    others = sorted(path.name for path in report.glob("*.csv") if path.name not in known)
    return found + [Verdict(t, NOT_COMPUTED, "needs images or networks: RETRAIN=1") for t in others]


def _judged(report: Path, study: Study, tables: tuple[str, ...], write: Callable) -> list[Verdict]:
    try:
        write(study)
    except UserError as exc:
        return [
            Verdict(table, DIFFERENT, f"does not follow from the kept predictions: {exc}") for table in tables
        ]
    return [
        agreement.compare(table, report / table, study.report_dir / table, agreement.last_digit)
        for table in tables
    ]


def _simulated_again(report: Path, study: Study) -> Verdict:
    """The cell of validity.csv that is drawn fastest; all of them take as long as 08_validity."""
    cell = min(study.validity.cells, key=_images_drawn)
    options = study.validity.model_copy(update={"cells": [cell]})
    small = study.model_copy(update={"validity": options})
    VALIDITY.write(small, validity.coverage_table(small, validity.simulate(small)))
    keys = VALIDITY.names[: VALIDITY.names.index("studies")]
    file = VALIDITY.file
    return agreement.compare(file, report / file, study.report_dir / file, agreement.last_digit, keys)


def _images_drawn(cell: Cell) -> int:
    return sum(cell.patients) * cell.settings * cell.seeds


# From nothing ---------------------------------------------------------------------------------------------


def _trained_again(report: Path, study: Study, clone: Path) -> Path:
    """Compute a report's study in a clone of the repository's last commit; the clone's report.

    Raises:
        UserError: there is no repository, or the study stopped.
    """
    root = report.parents[1]
    _call(["git", "clone", "--quiet", str(root), str(clone)], root, "the repository cannot be cloned")
    shutil.rmtree(clone / "reports", ignore_errors=True)
    shutil.copyfile(report / "params.yaml", clone / "params.yaml")
    raw = root / "data" / "raw"
    if raw.exists():
        (clone / "data").mkdir()
        (clone / "data" / "raw").symlink_to(raw.resolve(), target_is_directory=True)
    _call([sys.executable, "-m", "radlib.run", "study"], clone, "the study stopped in the clone")
    return clone / "reports" / study.name


def _call(command: list[str], folder: Path, failed: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(folder)}
    if subprocess.run(command, cwd=folder, env=environment).returncode:
        raise UserError(f"{failed}; its own words stand above")


def _against(report: Path, again: Path) -> list[Verdict]:
    tables = sorted({path.name for folder in (report, again) for path in folder.glob("*.csv")})
    return [agreement.compare(t, report / t, again / t, agreement.second_training) for t in tables]


# What is said ---------------------------------------------------------------------------------------------


def _as_written(verdict: Verdict, path: Path, written: str | None) -> Verdict:
    """Beside the verdict, whether the file is the one that the study wrote, whose md5 is given."""
    if written is None or not path.is_file():
        return verdict
    judged, said = verdict.verdict, "the file was changed after the study wrote it (md5 of dvc.lock)"
    if hashlib.md5(path.read_bytes()).hexdigest() == written:
        if judged not in (MISSING, NOT_COMPUTED):
            return verdict
        said = "the file is as the study wrote it (md5 of dvc.lock)"
    elif judged == NOT_COMPUTED:
        judged = DIFFERENT
    return Verdict(verdict.table, judged, f"{verdict.detail}; {said}" if verdict.detail else said)


def _written(report: Path) -> dict[str, str]:
    """Table -> md5, as dvc.lock has it."""
    path = report / "dvc.lock"
    if not path.is_file():
        return {}
    try:
        stages = yaml.safe_load(path.read_text())["stages"].values()
        outs = [out for stage in stages for out in stage.get("outs", [])]
        return {Path(out["path"]).name: out["md5"] for out in outs if out["path"].startswith("reports/")}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as exc:
        raise UserError(f"{path} is damaged; bring it back: git restore {path}") from exc


def _said(report: Path, retrain: bool, found: list[Verdict], reasons: list[str]) -> str:
    how = "from nothing, in a clone" if retrain else "from the predictions it keeps"
    rows = pd.DataFrame([(v.table, v.verdict, v.detail) for v in found], columns=["table", "verdict", ""])
    lines = [f"reports/{report.name}, computed again {how}\n", aligned(rows, right=()), ""]
    if any(v.verdict in (WITHIN, DIFFERENT) for v in found):
        lines += [_TOLERATED[retrain], ""]
    if not reasons:
        return "\n".join(
            [*lines, "Machine, versions, parameters and code are those that the report records."]
        )
    return "\n".join([*lines, "Different from what the report records:", *(f"  {said}" for said in reasons)])
