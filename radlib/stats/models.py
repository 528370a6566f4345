"""Correction over tasks (Holm) and one model of all runs (linear mixed model)."""

import re
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf

PERCENT = 100.0  # fitted in hundredths of AUC, where optimisers take steps of a sensible size
# All are tried: one with a gradient can stop anywhere where a variance is 0 and call it convergence; the
# last needs none. One within this much of the best log-likelihood has found it.
OPTIMISERS = ["lbfgs", "powell"]
NEAR_BEST = 1e-3
BOUNDARY = 0.001  # an SD below this, in AUC, is a variance at its boundary of 0
COLUMNS = ["task", "source", "backbone", "train", "fold", "test_auc"]
RANDOM = {
    "task": " + (1 | task)",
    "fold": " + (1 | task:fold)",
    "source in a fold": " + (1 | task:fold:source)",
}


def holm(p: np.ndarray) -> np.ndarray:
    """(k,) float64: Holm's step-down adjusted p-values (Holm 1979, Scand J Stat 6:65), in the order given.

    They are below alpha exactly where Holm's procedure rejects at family-wise error rate alpha. p: one per
    hypothesis of the family (a comparison: one per task); ValueError where one is NaN or outside [0, 1].

    >>> holm([0.01, 0.04, 0.03]).round(3)
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values must lie within 0 and 1, got {p.tolist()}; a test before this one failed")
    # Not multipletests of statsmodels, the oracle of the tests, which collects garbage at each call (0.4 s).
    order = np.argsort(p)
    stepped = np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order])
    return np.minimum(stepped, 1)[np.argsort(order)]


@dataclass(frozen=True, eq=False)
class MixedModelResult:
    """A fitted model of test AUC.

    formula: fixed effects as fitted, in the notation of statsmodels, then the random intercepts.
    table: one row per fixed effect: term, estimate, ci_low, ci_high, p_value; in AUC (0 to 1).
    random_sd: SD of each random intercept (those of `RANDOM` that the runs can tell) and of the "residual",
        in AUC.
    fitted, residuals: (runs,) float64 in the order of the rows given; fitted includes random intercepts.
    converged: whether the optimiser says so; if not, no number here should be quoted.
    notes: what was left out of the model and why, and every warning of the fit. Show them.
    """

    formula: str
    table: pd.DataFrame
    random_sd: dict[str, float]
    fitted: np.ndarray
    residuals: np.ndarray
    converged: bool
    n_runs: int
    notes: list[str]


def mixed_model(
    runs: pd.DataFrame, reference: str | None = None, confidence: float = 0.95
) -> MixedModelResult:
    """Linear mixed model of the test AUC of all runs, over tasks.

    Fixed effects: source + train + source:train + backbone; random intercepts: task, fold within task (runs
    of one fold share its test images), and source within fold (what one source's runs have in common on these
    images, without which every run would count as new evidence of the source); restricted maximum likelihood
    (Laird & Ware 1982, doi 10.2307/2529876). Intervals and p-values are Wald's (normal), which is somewhat
    narrow where folds are few.

    The response is the AUC itself. Its logit would need clipping where a small test part is separated
    perfectly (AUC = 1), and the clip alone would then set the largest responses. Look at `residuals` for what
    this costs near 1. Train and backbone are coded as deviations from their mean, so "source[x] -
    source[reference]" is the difference averaged over what is trained, not at one level. The last level of a
    deviation is not listed: it is minus the sum of the others. The effect of a source is taken as the same in
    all tasks. The model knows folds and no patients, and nothing of pretrainings: quote the bootstrap.

    runs: one row per run with `COLUMNS`; reference: source that the others are compared with, by default the
    first in alphabetical order. What cannot be told from the runs is left out, and `notes` says so; a
    ValueError where nothing can be fitted.

    >>> columns = {"task": "t", "source": ["a", "b"] * 4, "backbone": "r", "train": "all", "fold": 0}
    >>> aucs = [0.6, 0.7, 0.62, 0.73, 0.61, 0.7, 0.63, 0.71]
    >>> mixed_model(pd.DataFrame(columns).assign(test_auc=aucs)).table["estimate"].round(3).tolist()
    [0.615, 0.095]
    """
    data = _checked(runs)
    sources = sorted(data["source"].unique())
    reference = sources[0] if reference is None else reference
    if reference not in sources:
        raise ValueError(f"reference source '{reference}' has no runs; there are: {', '.join(sources)}")
    notes: list[str] = []
    fixed = _fixed_effects(data, reference, notes)
    intercepts = _random_intercepts(data, notes)
    result = _fit(data, fixed, intercepts, notes)
    variances = [*np.ravel(result.cov_re)[:1], *result.vcomp] if intercepts else []
    sd = np.sqrt([*variances, result.scale]) / PERCENT
    random_sd = dict(zip([*intercepts, "residual"], sd.tolist(), strict=True))
    at_zero = "is at its boundary of 0: its runs differ no more than chance makes them"
    notes += [f"the variance of {name} {at_zero}" for name, size in random_sd.items() if size < BOUNDARY]
    converged = bool(getattr(result, "converged", True))
    if not converged:
        notes.append("the fit did not converge: quote none of its numbers")
    formula = fixed + "".join(RANDOM[name] for name in intercepts)
    fitted, residuals = (np.asarray(x) / PERCENT for x in (result.fittedvalues, result.resid))
    table = _table(result, confidence)
    return MixedModelResult(formula, table, random_sd, fitted, residuals, converged, len(data), notes)


def _checked(runs: pd.DataFrame) -> pd.DataFrame:
    missing = [column for column in COLUMNS if column not in runs.columns]
    if missing:
        raise ValueError(f"the table of runs lacks the columns {', '.join(missing)}; write it anew")
    data = runs[COLUMNS].reset_index(drop=True)
    bad = data.isna().any(axis=1)
    if bad.any() or data.empty:
        raise ValueError(
            f"{int(bad.sum())} of {len(data)} runs lack a value; finish all runs before modelling"
        )
    if data["source"].nunique() < 2:
        raise ValueError("all runs have the same source; a comparison needs at least two")
    data = data.astype(dict.fromkeys(COLUMNS[:-1], str)).astype({"test_auc": np.float64})
    data["test_auc"] *= PERCENT
    data["cluster"] = data["task"] + "/" + data["fold"]
    return data


def _fixed_effects(data: pd.DataFrame, reference: str, notes: list[str]) -> str:
    """The formula, without effects that have one level or that the runs at hand cannot tell apart."""
    formula = source = f"test_auc ~ C(source, Treatment({reference!r}))"
    for column in ("train", "backbone"):
        if data[column].nunique() > 1:
            formula += f" + C({column}, Sum)"
        else:
            notes.append(f"{column} has one level, '{data[column].iloc[0]}', and is not in the model")
    if not _full_rank(data, formula):
        raise ValueError(
            "sources differ in the backbones or layers that they were run with, so that effects cannot be "
            "told apart; model only runs that all sources have"
        )
    if data["train"].nunique() > 1:
        crossed = f"{formula} + {source.removeprefix('test_auc ~ ')}:C(train, Sum)"
        if _full_rank(data, crossed):
            return crossed
        notes.append("not every source has runs of every train, so their interaction is not in the model")
    return formula


def _full_rank(data: pd.DataFrame, formula: str) -> bool:
    design = smf.ols(formula, data).exog
    return design.shape[0] > design.shape[1] == np.linalg.matrix_rank(design)


def _random_intercepts(data: pd.DataFrame, notes: list[str]) -> list[str]:
    """Of `RANDOM` those that the runs can tell."""
    tasks, clusters = data["task"].nunique(), data["cluster"].nunique()
    if tasks == 1 and clusters == 1:
        notes.append(
            "one task with one fold: no random intercepts; an ordinary linear model was fitted, for which "
            "every run is new evidence: its intervals are far too narrow"
        )
        return []
    own = _of_source_in_fold(data, notes)
    if tasks == 1:
        notes.append("one task: no random intercept of task, and nothing is said about other tasks")
        return ["fold", *own]
    if tasks < 5:
        notes.append(f"only {tasks} tasks: the SD between tasks is estimated poorly")
    if tasks == clusters:
        notes.append("one fold in every task: no random intercept of fold")
        return ["task", *own]
    return ["task", "fold", *own]


def _of_source_in_fold(data: pd.DataFrame, notes: list[str]) -> list[str]:
    """A source with one run on every fold has no intercept there that could be told from that run."""
    if data.groupby(["cluster", "source"]).size().max() == 1:
        notes.append("one run of each source on a fold: the residual holds what a source has there")
        return []
    return ["source in a fold"]


def _fit(data: pd.DataFrame, fixed: str, intercepts: list[str], notes: list[str]):
    """Fitted model; each different warning of the fit becomes a note."""
    if not intercepts:
        return smf.ols(fixed, data).fit()
    first, *others = intercepts
    groups = {"task": "task", "fold": "cluster"}[first]
    within = {"fold": "0 + C(fold)", "source in a fold": "0 + C(fold):C(source)"}
    nested = {name: within[name] for name in others} or None
    model = smf.mixedlm(fixed, data, groups=groups, re_formula="1", vc_formula=nested)
    fits, broken = [], None
    for optimiser in OPTIMISERS:
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                result = model.fit(reml=True, method=[optimiser])
                _ = result.fittedvalues  # solves for the random intercepts: may find them singular only here
            fits.append((result, dict.fromkeys(str(w.message).strip() for w in caught)))
        except (np.linalg.LinAlgError, ValueError) as exc:
            broken = exc
    if not fits:
        raise ValueError(
            f"the mixed model of {len(data)} runs broke down ({broken}); look for tasks or folds in which "
            "all runs have the same AUC"
        ) from broken
    best = max(result.llf for result, _ in fits)
    near = [fit for fit in fits if fit[0].llf > best - NEAR_BEST]
    result, said = next((fit for fit in near if fit[0].converged), near[0])
    notes.extend(f"statsmodels: {message}" for message in said)
    return result


def _table(result, confidence: float) -> pd.DataFrame:
    estimates = getattr(result, "fe_params", result.params)  # a mixed model's params include variances
    ends = result.conf_int(alpha=1 - confidence).loc[estimates.index]
    columns = {"estimate": estimates, "ci_low": ends[0], "ci_high": ends[1]}
    table = pd.DataFrame(columns) / PERCENT
    table.insert(0, "term", [_readable(name) for name in estimates.index])
    return table.assign(p_value=result.pvalues).reset_index(drop=True)


def _readable(name: str) -> str:
    """Name of a term in words: `C(source, Treatment('b'))[T.a]` is `source[a] - source[b]`."""
    name = re.sub(r"C\((\w+), Treatment\(['\"](.*?)['\"]\)\)\[T\.(.*?)\]", r"\1[\3] - \1[\2]", name)
    return re.sub(r"C\((\w+), Sum\)\[S\.(.*?)\]", r"\1[\2] - mean", name).replace("]:", "] : ")
