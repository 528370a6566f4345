"""Transfer to one task: every run of the grid, each stored as it finishes."""

from dataclasses import dataclass

import pandas as pd

from radlib.data.images import Packed, open_packed
from radlib.networks.localise import baselines
from radlib.stats.dice import MAP_FIGURES
from radlib.store import write_table
from radlib.study import Study
from radlib.training.grid import carry_out
from radlib.training.transfer_arm import PREDICTION, TransferArm, arm_cost


@dataclass(frozen=True)
class Transferred:
    """Tables of a task: one row per run, per run and test image, per run and epoch.

    localisation: per run (and baseline) and test image with a lesion mask; no rows for a task without masks.
    """

    runs: pd.DataFrame
    predictions: pd.DataFrame
    history: pd.DataFrame
    localisation: pd.DataFrame
    computed: int
    reused: int


def transfer(study: Study, task: str, save: bool = False) -> Transferred:
    """Train every run of a task that the store does not hold yet, and gather the tables.

    Raises:
        UserError: data or weights are missing or damaged; the sentence names them.
    """
    packed = open_packed(study.dataset_dir(task))
    done = carry_out(
        study, task, study.runs_of(task), TransferArm, lambda arm: arm_cost(study, packed, arm),
        description=f"transfer to {task}",
    )  # fmt: skip
    result = Transferred(
        runs=done.runs,
        predictions=done.images[PREDICTION],
        history=done.history,
        localisation=_localisation(packed, done.runs, done.images),
        computed=done.computed,
        reused=len(done.runs) - done.computed,
    )
    if save:
        folder = study.result_dir(task)
        for name in ("runs", "predictions", "history", "localisation"):
            write_table(getattr(result, name), folder / f"{name}.parquet")
    return result


def _localisation(packed: Packed, runs: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    maps = ["map_height", "map_width", "map"]
    columns = ["run", "image_id", "patient_id", "fold", *MAP_FIGURES, "threshold", *maps]
    if "threshold" not in runs:
        return pd.DataFrame(columns=columns)
    found = predictions.dropna(subset="dice").merge(runs[["run", "threshold"]], on="run")
    guessed = baselines(packed, sorted(runs["fold"].unique()))
    about = packed.manifest[["image_id", "patient_id"]].iloc[guessed["row"]].reset_index(drop=True)
    return pd.concat([found, guessed.join(about)], ignore_index=True)[columns]
