"""Area under the ROC curve of the positive class.

An AUC is the probability that a positive image scores higher than a negative one, ties counted half: the
Mann-Whitney statistic (Hanley & McNeil 1982, doi 10.1148/radiology.143.1.7063747). A predictor that gives
every image the same score has 0.5, whatever the share of positives.
"""

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_curve


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """AUC of one run's (n,) scores, higher = more likely positive; labels: (n,) 0 negative, 1 positive.

    >>> auc([0.1, 0.4, 0.4, 0.9], [0, 0, 1, 1])
    0.875
    """
    return float(aucs(np.asarray(scores)[np.newaxis], labels)[0])


def aucs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """AUC of each of R runs on the same images, from mid-ranks: (R, n) scores."""
    scores, labels = checked(scores, labels)
    positive = labels == 1
    n_positive, n_negative = positive.sum(), (~positive).sum()
    rank_sum = rankdata(scores, axis=1)[:, positive].sum(axis=1)
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The cut with the highest balanced accuracy, `score >= cut` being positive; arguments as `auc`.

    That is Youden's index (Cancer 1950, 3:32-35). Cuts lie halfway between neighbouring scores, or at the
    lowest. Of equals, the one nearest 0.5 counts.

    >>> best_threshold([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    0.5
    """
    (scores,), labels = checked(np.asarray(scores)[np.newaxis], labels)
    fpr, tpr, values = (found[:0:-1] for found in roc_curve(labels, scores, drop_intermediate=False))
    # Between neighbouring numbers of the machine there is none; then the upper one is the cut.
    between = np.maximum((values[:-1] + values[1:]) / 2, np.nextafter(values[:-1], np.inf))
    cuts = np.concatenate([values[:1], between])
    accuracy = (tpr - fpr).round(12)
    best = cuts[accuracy == accuracy.max()]
    return float(best[np.abs(best - 0.5).argmin()])


def checked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores as (R, n) float64 and labels as (n,) int64, or the reason why no AUC can be had of them."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 2 or scores.size == 0 or labels.shape != (scores.shape[1],):
        raise ValueError(
            f"scores of shape {scores.shape} do not fit labels of shape {labels.shape}; "
            "expected at least one run and image, and one score per label"
        )
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise ValueError(f"{bad} of {scores.size} scores are NaN or infinite; find the run that diverged")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"labels must be 0 or 1, got {np.unique(labels)[:5].tolist()}; check the label column"
        )
    labels = labels.astype(np.int64)
    if labels.min() == labels.max():
        raise ValueError(
            f"all {len(labels)} images have label {labels[0]}, so there is no AUC; "
            "split so that each test part holds both classes"
        )
    return scores, labels
