"""`reports/<study>/metrics.json`, what `dvc metrics show` prints: differences with their intervals."""

import pandas as pd

from radlib.store import write_json
from radlib.study import Study

_NUMBERS = ["delta", "ci_low", "ci_high"]


def metrics(
    study: Study, table: pd.DataFrame, overall: pd.DataFrame, dice: pd.DataFrame, controls: pd.DataFrame
) -> dict:
    """Whether all controls passed (null without any), AUC of every pair over all tasks, AUC and Dice of the
    headline pair task by task.

    Args:
        table, overall, dice, controls: `auc.csv`, `overall.csv`, `dice.csv` and `controls.csv`.
    """
    every, tasks, found = {}, {}, {}
    for row in overall.to_dict("records"):
        pair = f"{row['source_a']}_minus_{row['source_b']}"
        every.setdefault(pair, {})[row["estimate"]] = _numbers(row)
    for row in _headline(study, table):
        tasks.setdefault(row["task"], {})[row["estimate"]] = _numbers(row)
    for row in _headline(study, dice):
        found.setdefault(row["task"], {}).setdefault(row["method"], {})[row["metric"]] = _numbers(row)
    passed = bool(controls["passed"].all()) if len(controls) else None
    about = {"study": study.name, "simulated": study.simulated, "controls_passed": passed}
    return {**about, "overall": every, "tasks": tasks, "lesions": found}


def save_metrics(
    study: Study, table: pd.DataFrame, overall: pd.DataFrame, dice: pd.DataFrame, controls: pd.DataFrame
) -> None:
    """Write metrics.json whole or not at all."""
    write_json(metrics(study, table, overall, dice, controls), study.report_dir / "metrics.json")


def _headline(study: Study, table: pd.DataFrame) -> list[dict]:
    a, b = study.compare.headline
    return table[(table["source_a"] == a) & (table["source_b"] == b)].to_dict("records")


def _numbers(row: dict) -> dict[str, float]:
    return {key: float(row[key]) for key in _NUMBERS}
