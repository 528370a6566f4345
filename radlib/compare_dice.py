"""Differences between sources in how well lesions are found: paired, by patient, with intervals.

An image's figure is the mean over the runs that both sources of a pair have; images count the same. A task's
figure is the mean over its test images with a lesion mask.
"""

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from radlib.compare import headline_runs, paired_runs
from radlib.errors import UserError
from radlib.labels import ordered_pairs
from radlib.localise import BASELINES, FIGURES
from radlib.progress import progress
from radlib.results import REMEDY, Results
from radlib.runs import write_table
from radlib.seeds import seed_of
from radlib.stats.means import bootstrap_mean_difference
from radlib.stats.models import holm
from radlib.study import Study

COLUMNS = [
    "task", "method", "metric", "source_a", "source_b", "mean_a", "mean_b", "delta", "relative_gain",
    "ci_low", "ci_high", "gain_low", "gain_high", "p_value", "p_holm", "wilcoxon_p", "n_patients", "n_images",
    "n_runs", "resamples", "simulated",
]  # fmt: skip
METRICS = {
    "dice": "Dice",
    "iou": "IoU",
    "average_precision": "pixel average precision",
    "energy_inside": "energy inside the mask",
    "pointing_hit": "maximum inside the mask",
}
METHODS = {"localisation": "class-activation map"}
_FAMILY = ["method", "metric", "source_a", "source_b"]


@dataclass(frozen=True)
class Located:
    """By task with lesion masks: a row per run (or baseline) and test image, with `FIGURES` and the map."""

    tables: dict[str, pd.DataFrame]

    @property
    def tasks(self) -> list[str]:
        return list(self.tables)


def load_located(study: Study, results: Results) -> Located:
    """Read `results/<task>/localisation.parquet` of the tasks that have one.

    Raises:
        UserError: a file is damaged, or lacks a run of the study.
    """
    tables = {}
    for task in study.tasks:
        path = study.result_dir(task) / "localisation.parquet"
        if not path.is_file():
            continue
        try:
            table = pd.read_parquet(path)
        except (pa.ArrowException, OSError, ValueError) as exc:
            raise UserError(f"{path} is damaged ({type(exc).__name__}); {REMEDY}") from exc
        missing = set(results.of_task(task)["run"]) - set(table["run"])
        if missing or table[FIGURES].isna().any(axis=None):
            raise UserError(f"{path} lacks {len(missing)} of the runs or some of their figures; {REMEDY}")
        tables[task] = table
    return Located(tables)


def image_figures(located: Located, task: str, runs: pd.DataFrame) -> pd.DataFrame:
    """Mean over the given runs: indexed by image_id, columns patient_id, fold and `FIGURES`."""
    some = located.tables[task].merge(runs[["run"]], on="run")
    about = {"patient_id": "first", "fold": "first"}
    return some.groupby("image_id").agg(about | dict.fromkeys(FIGURES, "mean"))


def compare_located(study: Study, results: Results, located: Located) -> pd.DataFrame:
    """Every task with masks x pair x figure (`COLUMNS`); Holm across the tasks of a pair and figure."""
    rows = []
    for task in progress(located.tasks, description="bootstrap of Dice"):
        for pair in ordered_pairs(study):
            sides = paired_runs(results.of_task(task), pair)
            if len(sides[0]):
                a, b = (image_figures(located, task, runs) for runs in sides)
                rows += [_row(study, task, pair, name, a, b, len(sides[0])) for name in FIGURES]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.DataFrame(rows)
    table["p_holm"] = table.groupby(_FAMILY, sort=False)["p_value"].transform(lambda p: holm(p.to_numpy()))
    return table[COLUMNS]


def _row(study: Study, task: str, pair: tuple[str, str], name: str, a, b, n_runs: int) -> dict:
    # One seed a task: all pairs and figures see the same resampled patients.
    found = bootstrap_mean_difference(
        a[name].to_numpy(), b[name].to_numpy(), a["patient_id"].to_numpy(), a["fold"].to_numpy(),
        study.compare.resamples, seed_of(study.seed, "bootstrap", task), study.compare.confidence,
    )  # fmt: skip
    return {
        "task": task, "method": "localisation", "metric": name, "source_a": pair[0], "source_b": pair[1],
        "mean_a": found.mean_a, "mean_b": found.mean_b, "delta": found.delta,
        "relative_gain": found.relative_gain, "ci_low": found.ci_low, "ci_high": found.ci_high,
        "gain_low": found.gain_low, "gain_high": found.gain_high, "p_value": found.p_value,
        "wilcoxon_p": found.wilcoxon_p, "n_patients": found.n_patients, "n_images": len(a),
        "n_runs": n_runs, "resamples": study.compare.resamples, "simulated": study.simulated,
    }  # fmt: skip


def source_figures(study: Study, results: Results, located: Located, task: str) -> dict[str, pd.DataFrame]:
    """By source, over the runs that the headline pair has in common, and by baseline: figures per image."""
    found = {
        source: image_figures(located, task, runs)
        for source, runs in headline_runs(study, results, task).items()
    }
    return found | {name: image_figures(located, task, pd.DataFrame({"run": [name]})) for name in BASELINES}


def means_table(study: Study, results: Results, located: Located) -> pd.DataFrame:
    """Mean figures of every source and baseline: columns task, of and `FIGURES`."""
    rows = []
    for task in located.tasks:
        for name, figures in source_figures(study, results, located, task).items():
            rows.append({"task": task, "of": name, **figures[FIGURES].mean()})
    return pd.DataFrame(rows, columns=["task", "of", *FIGURES])


def thresholds_table(results: Results, located: Located) -> pd.DataFrame:
    """Quartiles of the runs' thresholds by task and source."""
    rows = []
    for task, table in located.tables.items():
        chosen = results.of_task(task)[["run", "source"]]
        chosen = chosen.merge(table.groupby("run")["threshold"].first(), on="run")
        for source, values in chosen.groupby("source")["threshold"]:
            rows.append([task, source, *values.quantile([0.25, 0.5, 0.75])])
    columns = ["task", "source", "lower quartile", "median", "upper quartile"]
    return pd.DataFrame(rows, columns=columns).set_index(["task", "source"])


def save_table(study: Study, table: pd.DataFrame) -> None:
    """Write dice.csv of `reports/<study>/`."""
    write_table(table, study.report_dir / "dice.csv")


def read_table(study: Study) -> pd.DataFrame:
    """dice.csv as `save_table` wrote it; without rows where no task has masks.

    Raises:
        UserError: the table is missing, or another version wrote it.
    """
    path = study.report_dir / "dice.csv"
    if not path.is_file():
        raise UserError(f"no dice.csv in {study.report_dir}; run 06_dice with save = True, or dvc repro dice")
    table = pd.read_csv(path)
    if list(table) != COLUMNS:
        raise UserError(f"{path} has other columns than this version writes; run dvc repro dice")
    return table
