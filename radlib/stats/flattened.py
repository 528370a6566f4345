"""The area that the published scripts report: both columns of a two-column softmax, flattened.

`keras.metrics.AUC` takes a softmax as it comes and flattens it, which makes two of every image: the
probability of the positive class with the image's label, and that of the negative class with the opposite
label. What is measured is no longer order alone: with q the probability of an image's true class, the area is
the share of all pairs of images, each paired with itself too, in which q_i > 1 - q_j, ties half. A predictor
that says the same of every image, and favours the larger class, then has that class's share; the area under
the ROC curve of the positive class gives it 0.5.

A softmax of two units is the sigmoid of their difference, so the probability p of a single unit stands for
the columns (1 - p, p). Keras reads its curve at 200 thresholds; here it is exact.
"""

import numpy as np

from radlib.stats.folds import FoldPatients, FoldScores


def both_columns(fold: FoldScores) -> FoldScores:
    """A fold's probabilities of the positive class -> both columns, flattened: 2n scores, same patients.

    Args:
        fold: scores in 0 to 1.
    """
    return FoldScores(
        np.concatenate([1 - fold.labels, fold.labels]),
        np.concatenate([fold.patients, fold.patients]),
        np.concatenate([1 - fold.scores, fold.scores], axis=1),
    )


def patients_of_both(patients: FoldPatients) -> FoldPatients:
    """The same patients in the same order, each with as many positives as negatives: its images."""
    images = patients.positives + patients.negatives
    return FoldPatients(np.concatenate([patients.of_image, patients.of_image]), images, images)
