"""Which shortcut does a task allow? The AUC of a classifier that never sees what is in the image.

It knows the size of the file as published, its aspect ratio, and of the packed image, which the networks see
too, the mean, the contrast and statistics of the border. Where such a classifier does well, a network may owe
its AUC to how images were made rather than to what they show: other scanners, crops or windows for one class.
It learns from the training part of each fold, as the sources do, and is scored on the same test images.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from radlib.data.images import Packed, open_packed
from radlib.errors import of_task
from radlib.progress import progress
from radlib.questions.shortcuts.table import EVERYTHING, SHORTCUTS
from radlib.seeds import seed_of
from radlib.stats.bootstrap import bootstrap_mean_auc
from radlib.stats.folds import FoldScores, tested
from radlib.study import Study
from radlib.training.results import FoldPredictions, Results

SOURCE_COLUMNS = ["task", "source", "auc", "ci_low", "ci_high"]
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
    """`table` (`SHORTCUTS`): a row per task and features; `sources`: the networks (`SOURCE_COLUMNS`)."""

    table: pd.DataFrame
    sources: pd.DataFrame


def compare_shortcuts(study: Study, results: Results) -> Shortcuts:
    """Every task: the shortcut classifier on each set of features, beside every source.

    A source's AUC is the mean over all its own runs of the task. The best source is the one with the highest
    mean validation AUC over all folds, in which the same patients also test: a little in its favour.

    Raises:
        UserError: data missing, or too few patients or resamples for an interval.
    """
    rows, networks = [], []
    for task in progress(results.tasks, description="shortcuts"):
        packed = open_packed(study.dataset_dir(task))
        table, parts = measure_images(packed), results.predictions[task]
        runs = dict(iter(results.of_task(task).groupby("source")))
        # No source has a space in its name, so none is taken for a set of features.
        sides = {f"only {group}": score_folds(packed, table[GROUPS[group]], parts) for group in GROUPS}
        sides |= {source: results.scores(task, some) for source, some in runs.items()}
        best = max(runs, key=lambda source: runs[source]["val_auc"].mean())
        found = _intervals(study, task, sides, best)
        networks += [{"task": task, "source": s, **found[s]} for s in study.sources if s in runs]
        about = {
            "task": task, "best_source": best, "auc_best_source": found[best]["auc"],
            **tested(sides[best]), "resamples": study.compare.resamples, "simulated": study.simulated,
        }  # fmt: skip
        rows += [about | {"features": g, "n_features": len(GROUPS[g]), **found[f"only {g}"]} for g in GROUPS]
    return Shortcuts(SHORTCUTS.frame(rows), pd.DataFrame(networks, columns=SOURCE_COLUMNS))


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


def score_folds(packed: Packed, table: pd.DataFrame, parts: list[FoldPredictions]) -> list[FoldScores]:
    """Train on each fold's training part, score the test images of `parts` in their order.

    Args:
        table: (n rows) what is known of every image of the manifest.
    """
    labels, known = packed.manifest["label"].to_numpy(), table.to_numpy()
    place = pd.Index(packed.manifest["image_id"])
    scored = []
    for part in parts:
        train = (packed.manifest[f"part_{part.fold}"] == "train").to_numpy()
        model = classifier().fit(known[train], labels[train])
        scores = model.predict_proba(known[place.get_indexer(part.image_ids)])[:, 1]
        scored.append(FoldScores(part.labels, part.patients, scores[np.newaxis]))
    return scored


def classifier() -> VotingClassifier:
    """Mean probability of a logistic regression and of boosted trees: neither is chosen by its result."""
    trees = HistGradientBoostingClassifier(learning_rate=0.05, max_depth=3, early_stopping=False)
    line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return VotingClassifier([("line", line), ("trees", trees)], voting="soft")


def _brightness(images: np.ndarray) -> pd.DataFrame:
    grey = images.astype(np.float32).mean(axis=3)
    width = max(1, grey.shape[1] // BORDER)
    strips = {
        "top": grey[:, :width], "bottom": grey[:, -width:],
        "left": grey[:, :, :width], "right": grey[:, :, -width:],
    }  # fmt: skip
    inside = np.zeros(grey.shape[1:], dtype=bool)
    inside[width:-width, width:-width] = True
    columns = {
        "mean": grey.mean(axis=(1, 2)),
        "contrast": grey.std(axis=(1, 2)),
        "border_black": (grey[:, ~inside] == 0).mean(axis=1),
    }
    for side, strip in strips.items():
        columns |= {f"{side}_mean": strip.mean(axis=(1, 2)), f"{side}_contrast": strip.std(axis=(1, 2))}
    return pd.DataFrame(columns)


@of_task
def _intervals(
    study: Study, task: str, sides: dict[str, list[FoldScores]], best: str
) -> dict[str, dict[str, float]]:
    """AUC of every side, and by how much the best source exceeds it; the patients that 04_auc resamples."""
    options = study.compare
    aucs = bootstrap_mean_auc(sides, options.resamples, seed_of(study.seed, "bootstrap", task))
    found = {}
    for name, auc in aucs.items():
        low, high = auc.interval(options.confidence)
        delta = aucs[best] - auc
        ends = delta.interval(options.confidence)
        found[name] = {"auc": auc.value, "ci_low": low, "ci_high": high}
        found[name] |= {"delta": delta.value, "delta_low": ends[0], "delta_high": ends[1]}
    return found
