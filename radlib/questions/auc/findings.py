"""What 04_auc found, as data, and the one sentence that opens the summary."""

import pandas as pd

from radlib.questions.auc.table import of_estimate
from radlib.questions.patients import unit
from radlib.questions.verdicts import BETTER, BETTER_BY_LITTLE, EQUIVALENT, UNDECIDED, WORSE, WORSE_BY_LITTLE
from radlib.show.findings import Finding, direction
from radlib.show.style import of_pair
from radlib.stats.estimate import PATIENTS
from radlib.study import Study
from radlib.study.titles import ESTIMATES, counted, pair_title, source_title, task_title

_CLAIMS = {
    BETTER: "AUC was higher with {a} than with {b} by {size}",
    WORSE: "AUC was lower with {a} than with {b} by {size}",
    BETTER_BY_LITTLE: "AUC was higher with {a} than with {b}, but by less than matters: {size}",
    WORSE_BY_LITTLE: "AUC was lower with {a} than with {b}, but by less than matters: {size}",
    EQUIVALENT: "AUC was equivalent with {a} and with {b}: difference {size}",
    UNDECIDED: "No difference in AUC was shown between {a} and {b}, nor that they are equivalent: {size}",
}

_NO_VERDICT = "{a} against {b}, {verdict}: difference in AUC {size}"


def headline_sentence(study: Study, overall: pd.DataFrame, estimate: str = "grid_mean") -> str:
    """`AUC was lower with A than with B by 0.033 (95 % CI 0.022 to 0.044), mean over 5 tasks, ...`"""
    row = of_pair(overall, tuple(study.compare.headline), estimate).iloc[0]
    a, b = (source_title(study, source) for source in study.compare.headline)
    value, low, high = row["delta"], row["ci_low"], row["ci_high"]
    directed = (BETTER, WORSE, BETTER_BY_LITTLE, WORSE_BY_LITTLE)
    signed = "" if row["verdict"] in directed else "+"
    if not signed and value < 0:
        value, low, high = -value, -high, -low
    ends = f"{100 * study.compare.confidence:g} % CI {low:{signed}.3f} to {high:{signed}.3f}"
    claim = _CLAIMS.get(row["verdict"], _NO_VERDICT).format(
        verdict=row["verdict"], a=a, b=b, size=f"{value:{signed}.3f} ({ends})"
    )
    scope = f"mean over {counted(row['n_tasks'], 'task')}, {row['n_patients']:,} tested {unit(study)}"
    return f"**{claim}**, {scope}.".replace("-0", "−0")


def auc_findings(study: Study, table: pd.DataFrame, overall: pd.DataFrame) -> list[Finding]:
    """The headline by both estimates, task by task after Holm's correction, then the other pairs."""
    headline = tuple(study.compare.headline)
    found = [_finding(study, row, f"mean over tasks, {ESTIMATES[row['estimate']]}", "verdict")
             for _, row in overall.iterrows() if _pair(row) == headline]  # fmt: skip
    found += [_finding(study, row, task_title(study, row["task"]), "verdict_holm")
              for _, row in of_pair(table, headline, "grid_mean").iterrows()]  # fmt: skip
    others = of_estimate(overall, "grid_mean")
    found += [_finding(study, row, "mean over tasks", "verdict")
              for _, row in others.iterrows() if _pair(row) != headline]  # fmt: skip
    return [*found, _delong(table)]


def resampled_sentence(study: Study, table: pd.DataFrame) -> str:
    """What the intervals of a table of AUC hold."""
    held = of_pair(table, tuple(study.compare.headline), "grid_mean")["interval_holds"].iloc[0]
    seeds = counted(len(study.transfer.seeds), "seed")
    if held == PATIENTS:
        return (
            f"Intervals cover the variation between test patients, **not between trainings** ({seeds} per "
            "setting)."
        )
    return (
        f"Intervals of the mean over settings cover the variation **between test patients and between "
        f"trainings** ({seeds} per setting); those of the setting chosen by validation, and DeLong's, hold "
        "patients alone."
    )


def _finding(study: Study, row: pd.Series, where: str, verdict: str) -> Finding:
    subject = f"AUC, {pair_title(study, _pair(row))}: {where}"
    return Finding(subject, row[verdict], row["delta"], row["ci_low"], row["ci_high"], where="04_auc")


def _pair(row: pd.Series) -> tuple[str, str]:
    return row["source_a"], row["source_b"]


def _delong(table: pd.DataFrame) -> Finding:
    """How often DeLong and the bootstrap come to the same conclusion, over all rows of the table."""
    ends = [("ci_low", "ci_high"), ("delong_ci_low", "delong_ci_high")]
    words = [[direction(*row) for row in table[list(pair)].to_numpy()] for pair in ends]
    same = sum(ours == check for ours, check in zip(*words, strict=True))
    return Finding("DeLong's interval and the bootstrap's", f"agree in {same} of {len(table)} comparisons",
                   where="04_auc")  # fmt: skip
