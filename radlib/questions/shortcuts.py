"""Which shortcut does a task allow? (10_confounds)

The AUC of a classifier that sees only size, brightness, contrast and border: the size of the file as
published, its aspect ratio, and of the packed image, which the networks see too, the mean, the contrast and
statistics of the border. Where it does well, classes may differ in how images were made (other scanners,
crops or windows for one of them), or in signs that reach the border, as shadows behind a lesion do.
It learns from the training part of each fold, as the sources do, and is scored on the same test images.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from radlib.data.images import Packed, open_packed
from radlib.errors import of_task
from radlib.progress import progress
from radlib.questions.verdicts import diverged, estimate_columns, left_out, patients_drawn, source_aucs
from radlib.show.findings import HIGHER, LOWER, NOT_SHOWN, Finding, direction, finding_of, over
from radlib.show.style import (
    UNDECIDED,
    intervals,
    legend_above,
    source_colours,
    source_handles,
    source_titles,
)
from radlib.show.table import COUNTED, COUNTS, ORIGIN, TASK, Column, Table, hidden, interval_columns, titled
from radlib.stats.bootstrap import bootstrap_mean_auc
from radlib.stats.estimate import Estimate
from radlib.stats.folds import FoldScores, tested
from radlib.study import Study
from radlib.study.titles import TRAIN, source_title
from radlib.training.predictions import FoldPredictions, places_of
from radlib.training.results import Results

SHORTCUT, EVERYTHING = "shortcut classifier", "everything"
BEST = "the source with the best validation AUC"
TITLES = {
    "size": "only image size",
    "aspect": "only aspect ratio",
    "mean": "only mean brightness",
    "contrast": "only contrast (SD)",
    "border": "only the border",
    EVERYTHING: "all of these",
}
_AUC, _DELTA = ("auc", "ci_low", "ci_high"), ("delta", "delta_low", "delta_high")
SHORTCUTS = Table(
    "shortcuts.csv",
    "confounds",
    "task and set of features",
    [
        TASK,
        Column("features", "what the classifier sees", "sees only", names=TITLES),
        Column("n_features", "how many numbers that is"),
        *interval_columns(_AUC, "of the classifier", "AUC", ".3f"),
        Column("best_source", BEST, "best in validation", source_title),
        Column("auc_best_source", "its AUC", "its test AUC", ".3f"),
        *interval_columns(_DELTA, "its AUC minus that of the classifier", "it has more"),
        *COUNTS[:2],
        *hidden(COUNTS[2]),
        COUNTED,
        *ORIGIN,
    ],
    index=2,
)
SIDES = ["top", "bottom", "left", "right"]
GROUPS = {
    "size": ["log_size"],
    "aspect": ["log_aspect"],
    "mean": ["mean"],
    "contrast": ["contrast"],
    "border": ["border_black", *(f"{side}_{figure}" for side in SIDES for figure in ("mean", "contrast"))],
}
GROUPS[EVERYTHING] = [name for names in GROUPS.values() for name in names]
BORDER = 16  # at each side, this part of the image is its border
_AT_ONCE = 256


@dataclass(frozen=True)
class Shortcuts:
    """`table` (`SHORTCUTS`): a row per task and features; `sources`: task, source, AUC with its interval."""

    table: pd.DataFrame
    sources: pd.DataFrame


def compare_shortcuts(study: Study, results: Results, counting: Collection[str] | None = None) -> Shortcuts:
    """Every task: the shortcut classifier on each set of features, beside every source.

    A source's AUC is the mean over all its own runs of the task. The best source is the one with the highest
    mean validation AUC over all folds, in which the same patients also test: a little in its favour.

    Args:
        counting: as of `averaged`; the other tasks say that they do not count.
    Raises:
        UserError: data missing, or too few patients or resamples for an interval.
    """
    rows, sources = [], []
    for task in progress(results.tasks, description="shortcuts"):
        runs = dict(iter(results.of_task(task).groupby("source")))
        best = max(runs, key=lambda source: runs[source]["val_auc"].mean())
        aucs, counts = _aucs(study, results, task, runs)
        where = {"task": task, "counts": left_out(task, counting)}
        about = where | counts | {"best_source": best, "auc_best_source": aucs[best].value}
        about["diverged"] = diverged(runs[best])
        for group, names in GROUPS.items():
            auc = aucs[f"only {group}"]
            found = estimate_columns(study, auc, _AUC) | estimate_columns(study, aucs[best] - auc, _DELTA)
            rows.append(about | {"features": group, "n_features": len(names), **found})
        sources += [where | row for row in source_aucs(study, aucs)]
    table = SHORTCUTS.frame(rows, study)
    return Shortcuts(table, pd.DataFrame(sources))


@of_task
def _aucs(
    study: Study, results: Results, task: str, runs: dict[str, pd.DataFrame]
) -> tuple[dict[str, Estimate], dict[str, int]]:
    """AUC by set of features and by source, on the patients that 05_auc resamples; and their counts."""
    packed = open_packed(study.dataset_dir(task))
    known, parts = measure_images(packed), results.predictions[task]
    # No source has a space in its name, so none is taken for a set of features.
    sides = {f"only {group}": score_folds(packed, known[names], parts) for group, names in GROUPS.items()}
    counts = tested(sides[f"only {EVERYTHING}"])
    sides |= {source: results.scores(task, some) for source, some in runs.items()}
    return bootstrap_mean_auc(sides, **patients_drawn(study, task)), counts


def measure_images(packed: Packed) -> pd.DataFrame:
    """What the classifier knows of every image; rows as in the manifest, columns of `GROUPS`.

    log_size: logarithm of the geometric mean of the file's sides, in px; log_aspect: of width over height.
    Brightness in 0 to 255, over the packed image: mean and SD, and those of the outer sixteenth at each side;
    border_black: share of black pixels there. Packed images are square, so a border is that of the stretched
    or letterboxed image.
    """
    width, height = (packed.manifest[side].to_numpy(dtype=float) for side in ("width", "height"))
    starts = range(0, len(packed.manifest), _AT_ONCE)
    measured = pd.concat([_brightness(packed.images[i : i + _AT_ONCE]) for i in starts], ignore_index=True)
    return measured.assign(log_size=np.log(width * height) / 2, log_aspect=np.log(width / height))


def _brightness(images: np.ndarray) -> pd.DataFrame:
    grey = images.astype(np.float32).mean(axis=3)
    width = max(1, grey.shape[1] // BORDER)
    inside = np.zeros(grey.shape[1:], dtype=bool)
    inside[width:-width, width:-width] = True
    columns = {"border_black": (grey[:, ~inside] == 0).mean(axis=1)}
    strips = (grey[:, :width], grey[:, -width:], grey[:, :, :width], grey[:, :, -width:])
    parts = {"": grey} | {f"{side}_": strip for side, strip in zip(SIDES, strips, strict=True)}
    for name, part in parts.items():
        columns |= {f"{name}mean": part.mean(axis=(1, 2)), f"{name}contrast": part.std(axis=(1, 2))}
    return pd.DataFrame(columns)


def score_folds(packed: Packed, table: pd.DataFrame, parts: list[FoldPredictions]) -> list[FoldScores]:
    """Train on each fold's training part, score the test images of `parts` in their order.

    Args:
        table: (n rows) what is known of every image of the manifest.
    """
    labels, known = packed.manifest["label"].to_numpy(), table.to_numpy()
    scored = []
    for part in parts:
        train = (packed.manifest[f"part_{part.fold}"] == "train").to_numpy()
        # Several threads would wait for each other longer than they compute, most on a busy machine.
        with threadpool_limits(1):
            model = classifier().fit(known[train], labels[train])
            tested = places_of(part.image_ids, packed.manifest["image_id"], "prepared images")
            scores = model.predict_proba(known[tested])
        scores = scores if part.scores.ndim == 3 else scores[:, 1]
        scored.append(part.scored(scores[np.newaxis]))
    return scored


def classifier() -> VotingClassifier:
    """Mean probability of a logistic regression and of boosted trees: neither is chosen by its result."""
    # Of more than 200 000 images the trees draw some to choose their bins by: always the same ones.
    trees = HistGradientBoostingClassifier(
        learning_rate=0.05, max_depth=3, early_stopping=False, random_state=0
    )
    line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return VotingClassifier([("line", line), ("trees", trees)], voting="soft")


def _by(study: Study) -> str:
    """The settings over which a source's AUC is the mean."""
    regimes = study.transfer.averaged
    return TRAIN[regimes[0]] if len(regimes) == 1 else "mean over the settings that train by gradient"


def _titles(study: Study, tasks: Iterable[str]) -> dict[str, str]:
    """What sources are called whose means over these settings stand side by side: see `source_titles`."""
    runs = [run for task in dict.fromkeys(tasks) for run in study.runs_of(task)]
    averaged = [(run.source, run.backbone) for run in runs if run.train in study.transfer.averaged]
    return source_titles(study, pd.DataFrame(averaged, columns=["source", "backbone"]))


def shortcuts_figure(study: Study, found: Shortcuts) -> Figure:
    """Task by task: AUC of the classifier that knows all sets of features, above the sources' AUC."""
    blind = found.table[found.table["features"] == EVERYTHING].assign(source="", marker="s", colour=UNDECIDED)
    colours, names = found.sources["source"].map(source_colours(study)), _titles(study, found.table["task"])
    marks = pd.concat([blind, found.sources.assign(marker="o", colour=colours)])
    titles = [titled(study, row) for row in marks.to_dict("records")]
    marks = marks.assign(value=marks["auc"], panel="", row=titles, series=marks["source"])
    figure, (panel,) = intervals(study, marks, "test AUC (line: 0.5, chance)", line=0.5)
    panel.xaxis.set_major_locator(MultipleLocator(0.1))
    square = Line2D([], [], color=UNDECIDED, marker="s", label=SHORTCUT)
    handles = [square, *source_handles(study, found.sources["source"], names, marker="o")]
    title = f"AUC of the {SHORTCUT}, and of the sources ({_by(study)}),\n"
    title += f"with {study.compare.confidence:.0%} interval over patients"
    legend_above(figure, handles, title=title)
    return figure


def shortcuts_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Task by task: what the shortcut classifier reaches; whether a source is shown to have more."""
    words = {HIGHER: "has more", LOWER: "has less", NOT_SHOWN: "is not shown to have more"}
    found, names = [], _titles(study, table["task"])
    for row in table[table["features"] == EVERYTHING].to_dict("records"):
        more = f"{words[direction(row['delta_low'], row['delta_high'])]} ({row['auc_best_source']:.3f})"
        verdict = f"{BEST}, {names[row['best_source']]}, {more}"
        subject = f"AUC of the {SHORTCUT}, beside sources ({_by(study)}): {titled(study, row)} {over(row)}"
        found.append(finding_of(row, subject, verdict, _AUC, ".3f"))
    return found
