"""Area under the ROC curve of the positive class.

An AUC is the probability that a positive image scores higher than a negative one, ties counted half: the
Mann-Whitney statistic (Hanley & McNeil 1982, doi 10.1148/radiology.143.1.7063747). A predictor that gives
every image the same score has 0.5, whatever the share of positives.
"""

import numpy as np
from scipy.stats import rankdata

from radlib.errors import UserError


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """AUC of one run.

    Args:
        scores: (n,) float, higher = more likely positive.
        labels: (n,) 0 negative, 1 positive.
    Raises:
        UserError: scores not finite, labels other than 0 and 1, only one class, or lengths that differ.
    """
    return float(aucs(np.asarray(scores)[np.newaxis], labels)[0])


def aucs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """AUC of each of R runs on the same images, from mid-ranks.

    Args:
        scores: (R, n) float.
        labels: (n,) 0 or 1.
    Returns:
        (R,) float64.
    Raises:
        UserError: as `auc`.
    """
    scores, labels = checked(scores, labels)
    positive = labels == 1
    n_positive, n_negative = positive.sum(), (~positive).sum()
    rank_sum = rankdata(scores, axis=1)[:, positive].sum(axis=1)
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def descending_steps(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order of (n,) scores from high to low, and the place of each distinct score's last image in it."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    return order, ends


def checked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores as (R, n) float64 and labels as (n,) int64, or the reason why no AUC can be had of them."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 2 or scores.size == 0 or labels.shape != (scores.shape[1],):
        raise UserError(
            f"scores of shape {scores.shape} do not fit labels of shape {labels.shape}; "
            "expected at least one run and image, and one score per label"
        )
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise UserError(f"{bad} of {scores.size} scores are NaN or infinite; find the run that diverged")
    if not np.isin(labels, (0, 1)).all():
        raise UserError(
            f"labels must be 0 or 1, got {np.unique(labels)[:5].tolist()}; check the label column"
        )
    labels = labels.astype(np.int64)
    if labels.min() == labels.max():
        raise UserError(
            f"all {len(labels)} images have label {labels[0]}, so there is no AUC; "
            "split so that each test part holds both classes"
        )
    return scores, labels
