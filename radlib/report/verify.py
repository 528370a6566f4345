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
from functools import partial
from pathlib import Path

import pandas as pd
import yaml

from radlib import compute
from radlib.errors import UserError, explained
from radlib.questions import calibration, ranking, start
from radlib.questions.auc import compute as auc
from radlib.questions.auc.compute import AUC, OVERALL
from radlib.questions.auc.next_study import NEXT, next_study
from radlib.questions.auc.sources import SOURCES, compare_pretrainings
from radlib.questions.calibration import CALIBRATION
from radlib.questions.improvement import IMPROVEMENT, improvement_table
from radlib.questions.lesions import compare as lesions
from radlib.questions.lesions.compare import DICE
from radlib.questions.lesions.measured import lesion_tasks, load_localised, load_segmented
from radlib.questions.lesions.resize import RESIZE, compare_resize
from radlib.questions.ranking import RANKS
from radlib.questions.start import RANKING, TASKS, counting_tasks
from radlib.questions.validity.coverage import VALIDITY, coverage_table
from radlib.questions.validity.simulate import simulate
from radlib.report import agreement, archive, origin
from radlib.report.agreement import DIFFERENT, FAILED, MISSING, NOT_COMPUTED, WITHIN, Verdict
from radlib.report.findings import TABLES
from radlib.study import Study, load_study
from radlib.study.titles import aligned
from radlib.training.results import load_regimes, load_results

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
        the text for the reader, and whether no table is different or missing, and no page, figure or notebook
        another one than the study wrote.
    Raises:
        UserError: there is no such report, or what it holds is damaged or of another version.
    """
    root = root.resolve()
    known = sorted(path.parent.name for path in root.glob("reports/*/params.yaml"))
    if name not in known:
        raise UserError(f"no report '{name}' in reports/; there are: {', '.join(known) or 'none'}")
    report = root / "reports" / name
    try:
        study = load_study(path=report / "params.yaml")
    except UserError as exc:
        raise UserError(
            f"reports/{name} was made by another version of this library ({exc}); make it anew: "
            f"make study STUDY={name}"
        ) from exc
    with tempfile.TemporaryDirectory(prefix="radlib-verify-") as scratch:
        if retrain:
            found = _against(report, _trained_again(report, study, Path(scratch) / "clone"))
        else:
            found = _from_predictions(report, study.model_copy(update={"root": Path(scratch)}))
    written = _written(report)
    found = [_as_written(one, written.get(one.table)) for one in found]
    other = [name for name, same in written.items() if not (same or name.endswith(".csv"))]
    tinkered = [f"{name} is not as the study wrote it (md5 of dvc.lock)" for name in other]
    tinkered += origin.tinkered(report)
    reasons = [*tinkered, *origin.differences(report, compute.provenance(), root)]
    holds = not tinkered and not any(one.verdict in FAILED for one in found)
    return _said(report, retrain, found, reasons), holds


# From the predictions -------------------------------------------------------------------------------------


def _ranking(study: Study) -> None:
    """From the shortcut classifier's scores that the report keeps: it saw images, and they are not here."""
    start.rank_weights(study, start.kept_scores(study.report_dir)).write(study)


def _auc(study: Study) -> None:
    results, regimes = load_results(study), load_regimes(study)
    counting = counting_tasks(study)
    found = auc.compare_sources(study, results, regimes, counting)
    AUC.write(study, found.table)
    OVERALL.write(study, found.overall)
    every = {"grid_mean": results, **regimes}
    NEXT.write(study, next_study(study, every[study.claimed], counting))
    SOURCES.write(study, compare_pretrainings(study, every, counting))


def _dice(study: Study) -> None:
    located = load_localised(study, load_results(study, lesion_tasks(study)))
    methods = [found for found in (located, load_segmented(study)) if found.tasks]
    DICE.write(study, lesions.compare_found(study, methods))
    RESIZE.write(study, compare_resize(study, methods))


def _beyond(study: Study) -> None:
    results = load_results(study)
    drawn = ranking.draw_tasks(study, results)
    counting = counting_tasks(study)
    RANKS.write(study, ranking.rank_table(study, drawn, counting))
    IMPROVEMENT.write(study, improvement_table(study, drawn, counting))
    measured = calibration.measure(study, results)
    CALIBRATION.write(study, calibration.calibration_table(study, measured, counting))


def _validity(study: Study) -> None:
    """The cell that is drawn fastest; all of them take as long as 09_validity."""
    cell = min(study.validity.cells, key=lambda cell: sum(cell.patients) * cell.settings * cell.seeds)
    small = study.model_copy(update={"validity": study.validity.model_copy(update={"cells": [cell]})})
    VALIDITY.write(small, coverage_table(small, simulate(small)))


# What writes tables that follow from predictions below a study's root, and which.
WAYS = {
    _ranking: [RANKING, TASKS],
    _auc: [AUC, OVERALL, NEXT, SOURCES],
    _dice: [DICE, RESIZE],
    _beyond: [RANKS, IMPROVEMENT, CALIBRATION],
}


def _from_predictions(report: Path, study: Study) -> list[Verdict]:
    """Every table of a report; `study.root` is an empty folder."""
    kept = archive.is_kept(report)
    if kept:
        archive.restore(report, study)
    # Without its scores, which tasks count is told from images: then it is taken as committed.
    scored = (report / start.SCORES).is_file()
    taken = report / (start.SCORES if scored else RANKING.file)
    if taken.is_file():
        study.report_dir.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(taken, study.report_dir / taken.name)
    found = []
    for write, tables in WAYS.items():
        if write is _ranking and not scored:
            continue
        failed = _failed(write, study) if kept else (MISSING, _NOT_KEPT.format(report.name))
        for file in (table.file for table in tables):
            found.append(Verdict(file, *failed) if failed else _compared(report, study, file))
    _validity(study)
    found.append(_compared(report, study, VALIDITY.file, VALIDITY.names[: VALIDITY.names.index("studies")]))
    known = {one.table for one in found}
    others = sorted(path.name for path in report.glob("*.csv") if path.name not in known)
    return found + [Verdict(t, NOT_COMPUTED, "needs images or networks: RETRAIN=1") for t in others]


def _failed(write: Callable[[Study], None], study: Study) -> tuple[str, str] | None:
    """Write tables; a verdict and its reason where the predictions do not allow it."""
    try:
        write(study)
    except (UserError, ValueError) as exc:
        return DIFFERENT, f"does not follow from the kept predictions: {exc}"
    return None


def _compared(report: Path, study: Study, file: str, part: list[str] | None = None) -> Verdict:
    return agreement.compare(file, report / file, study.report_dir / file, agreement.last_digit, part)


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
    files = {path.name for folder in (report, again) for path in folder.glob("*.csv")}
    tolerances = {table.file: partial(agreement.second_training, table=table) for table in TABLES}
    return [
        agreement.compare(file, report / file, again / file, tolerances.get(file, agreement.last_digit))
        for file in sorted(files)
    ]


# What is said ---------------------------------------------------------------------------------------------


def _as_written(found: Verdict, same: bool | None) -> Verdict:
    """Beside the verdict, whether the file is the one that the study wrote; None: nobody knows."""
    if same is None:
        return found
    word, said = found.verdict, "the file was changed after the study wrote it (md5 of dvc.lock)"
    if same:
        if word not in (MISSING, NOT_COMPUTED):
            return found
        said = "the file is as the study wrote it (md5 of dvc.lock)"
    elif word == NOT_COMPUTED or found.table == VALIDITY.file:  # of which one cell alone is computed again
        word = DIFFERENT
    return Verdict(found.table, word, "; ".join(filter(None, [found.detail, said])))


def _written(report: Path) -> dict[str, bool]:
    """File that a stage wrote, such as index.html, if it is there -> whether it is as dvc.lock has it."""
    path, folder = report / "dvc.lock", f"reports/{report.name}/"
    kinds = OSError, yaml.YAMLError, KeyError, TypeError, AttributeError
    with explained(kinds, f"{path} is missing or damaged", f"bring it back: git restore {path}"):
        stages = yaml.safe_load(path.read_text())["stages"].values()
        outs = [(out["path"], out["md5"]) for stage in stages for out in stage.get("outs", [])]
    files = {name.removeprefix(folder): md5 for name, md5 in outs if name.startswith(folder)}
    here = {name: report / name for name in files if (report / name).is_file()}
    return {name: hashlib.md5(file.read_bytes()).hexdigest() == files[name] for name, file in here.items()}


def _said(report: Path, retrain: bool, found: list[Verdict], reasons: list[str]) -> str:
    how = "from nothing, in a clone" if retrain else "from the predictions it keeps"
    rows = pd.DataFrame(found).rename(columns={"detail": ""})
    lines = [f"reports/{report.name}, computed again {how}\n", aligned(rows, right=()), ""]
    if any(v.verdict in (WITHIN, DIFFERENT) for v in found):
        lines += [_TOLERATED[retrain], ""]
    if reasons:
        lines += ["Different from what the report records:", *(f"  {said}" for said in reasons)]
    else:
        lines.append("Machine, versions, parameters and code are those that the report records.")
    return "\n".join(lines)
