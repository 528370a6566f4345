"""Area under the ROC curve of the positive class.

An AUC is the probability that a positive image scores higher than a negative one, ties counted half: the
Mann-Whitney statistic (Hanley & McNeil 1982, doi 10.1148/radiology.143.1.7063747). A predictor that gives
every image the same score has 0.5, whatever the share of positives.

Of several classes it is the macro-averaged one-against-rest AUC: the mean, over the classes, of the AUC of
the class' own score, images of the class being positive (Fawcett 2006, doi 10.1016/j.patrec.2005.10.010,
section 9, each class counting the same). Hand and Till's M, a mean over pairs of classes, is another number.
"""

from typing import Literal

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_curve


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """AUC of one run's (n,) scores, higher = more likely positive; labels: (n,) 0 negative, 1 positive.

    Of (n, K) scores and labels 0 ... K - 1 the macro-averaged one.

    >>> auc([0.1, 0.4, 0.4, 0.9], [0, 0, 1, 1])
    0.875
    """
    return float(aucs(np.asarray(scores)[np.newaxis], labels)[0])


def aucs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """AUC of each of R runs on the same images, from mid-ranks: (R, n) scores, or (R, n, K) as in `auc`.

    >>> aucs([[0.1, 0.4, 0.4, 0.9], [0.4, 0.3, 0.2, 0.1]], [0, 0, 1, 1])
    array([0.875, 0.   ])
    """
    scores, labels = checked(scores, labels)
    if scores.ndim == 3:
        return np.mean([aucs(scores[..., k], labels == k) for k in range(scores.shape[2])], axis=0)
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


def by_patient(
    scores: np.ndarray, labels: np.ndarray, patients: np.ndarray, how: Literal["mean", "max"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A row per patient, whose score is the mean or the largest of its images' scores.

    Args:
        scores: (R, n) or (R, n, K). labels: (n,). patients: (n,), any sortable type.
    Returns:
        scores (R, p) or (R, p, K), labels (p,), and the patients (p,), sorted.
    Raises:
        ValueError: a patient has images of two labels, so that it has none itself.

    >>> by_patient([[0.2, 0.4, 0.5]], [0, 0, 1], ["a", "a", "b"], "mean")[0].round(2)
    array([[0.3, 0.5]])
    """
    scores, labels, patients = np.asarray(scores, dtype=np.float64), np.asarray(labels), np.asarray(patients)
    order = np.argsort(patients, kind="stable")
    names, starts, counts = np.unique(patients[order], return_index=True, return_counts=True)
    own = labels[order][starts]
    other = labels[order] != np.repeat(own, counts)
    if other.any():
        raise ValueError(
            f"patient {patients[order][other][0]} has images of two labels, so there is no label for a score "
            "by patient; give all images of an exam the label of the exam, or set score: image"
        )
    combine = np.maximum if how == "max" else np.add
    combined = combine.reduceat(scores[:, order], starts, axis=1)
    if how == "mean":
        combined = _rounded(combined / counts.reshape(1, -1, *[1] * (scores.ndim - 2)))
    return combined, own, names


def _rounded(numbers: np.ndarray) -> np.ndarray:
    """To 43 binary digits, about 13 decimal ones: equal scores have means that differ in the last of 53."""
    mantissa, exponent = np.frexp(numbers)
    return np.ldexp(np.round(np.ldexp(mantissa, 43)), exponent - 43)


def checked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores as (R, n) or (R, n, K) float64 and labels as (n,) int64, or why no AUC can be had of them."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.ndim not in (2, 3) or scores.size == 0 or labels.shape != (scores.shape[1],):
        raise ValueError(
            f"scores of shape {scores.shape} do not fit labels of shape {labels.shape}; "
            "expected at least one run and image, and one score per label"
        )
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise ValueError(f"{bad} of {scores.size} scores are NaN or infinite; find the run that diverged")
    if scores.ndim == 3:
        if lacking := set(range(scores.shape[2])) ^ set(np.unique(labels).tolist()):
            raise ValueError(
                f"of {scores.shape[2]} classes, numbered from 0, label {min(lacking)} has no image or no "
                "score; split so that each test part holds all classes"
            )
        return scores, labels.astype(np.int64)
    if not ((labels == 0) | (labels == 1)).all():
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
