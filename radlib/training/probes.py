"""Probes: classifiers on stored pooled features that no optimiser's rate, epochs or seed decides.

Both read the image itself (view 0), draw nothing, and take seconds on a processor. What is chosen of each,
the strength of the penalty or the number of neighbours, has the lowest log loss on the validation part: as
the epoch of a trained run, and because a log loss tells candidates apart where a handful of validation
patients give all the same AUC.
"""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler, normalize
from torch import Tensor, nn

from radlib.networks.features import Features
from radlib.networks.learners import FrozenLearner, Head, Learner
from radlib.networks.weights import Weights
from radlib.study.training import Transfer

TEMPERATURE = 0.07


class LogisticProbe(FrozenLearner):
    """Logistic regression with an L2 penalty; features have mean 0 and SD 1 on the training part.

    Solved by scikit-learn (L-BFGS). The solution is a linear head, so maps are those of a trained one.
    """

    def __init__(self, features: Features, weights: Weights, units: int = 1):
        width = features.pooled[0].shape[1]
        head = Head(torch.zeros(width), torch.ones(width), dropout=0.0, units=units)
        super().__init__(features, head, weights)
        nn.init.zeros_(self.head.linear.weight)  # unsolved, it has no opinion
        nn.init.zeros_(self.head.linear.bias)

    def choices(self, options: Transfer, train: np.ndarray) -> Sequence[float]:
        """The C of scikit-learn: the smaller, the stronger the penalty."""
        return options.strengths

    def fit(self, rows: np.ndarray, labels: np.ndarray, strength: float) -> None:
        """Solve on rows of the training part; labels: int (rows,), both classes."""
        pooled = self.features.pooled[0][rows].double().numpy()
        scaler = StandardScaler().fit(pooled)
        model = LogisticRegression(C=strength, max_iter=10_000).fit(scaler.transform(pooled), labels)
        head = self.head
        solved = {
            "center": scaler.mean_,
            "scale": scaler.scale_,
            "linear.weight": model.coef_,
            "linear.bias": model.intercept_,
        }
        head.load_state_dict({name: torch.from_numpy(numbers).float() for name, numbers in solved.items()})


class NeighbourProbe(Learner):
    """The vote of the k training images of the most similar features, by cosine similarity s.

    A neighbour's vote weighs exp((s - 1) / 0.07) (Wu et al. 2018, arXiv 1805.01978): 1 for the same
    features. Votes of one class alone would all give a score of 0 or 1, and these ties would be counted in
    the AUC; so the share of positives in the training part votes once more, with a weight of 1:

        score = (sum of the weights of positive neighbours + share) / (sum of all weights + 1).

    An image whose neighbours are alike and near then scores further out than one whose are alike and far.
    Of several classes each has such a score, and they sum to 1.
    """

    def __init__(self, features: Features, units: int = 1):
        super().__init__(None, features)
        self.known, self.units = None, units
        self.register_buffer("neighbours", torch.tensor(1))

    def choices(self, options: Transfer, train: np.ndarray) -> Sequence[int]:
        """Numbers of neighbours, as far as there are training images."""
        return [k for k in options.neighbours if k <= len(train)] or [len(train)]

    def fit(self, rows: np.ndarray, labels: np.ndarray, neighbours: int) -> None:
        self.known = normalize(self._pooled(rows))
        self.votes = labels[:, np.newaxis]
        if self.units > 1:
            self.votes = self.votes == np.arange(self.units)
        self.neighbours.fill_(neighbours)

    def forward(self, rows: np.ndarray, epoch: int | None, generator: torch.Generator | None) -> Tensor:
        """Logits of rows, always of the images themselves; NaN where a feature is no number."""
        pooled = self._pooled(rows)
        finite = np.isfinite(pooled).all(axis=1)
        score = np.full((len(rows), self.units), np.nan)
        if finite.any() and self.known is not None:
            # Not scikit-learn's search, which would scale the whole training part again for every batch.
            far, count = (1 - normalize(pooled[finite]) @ self.known.T).clip(0, 2), int(self.neighbours)
            nearest = np.argpartition(far, count - 1, axis=1)[:, :count]
            weight = np.exp(-np.take_along_axis(far, nearest, axis=1) / TEMPERATURE)
            votes = (weight[..., np.newaxis] * self.votes[nearest]).sum(axis=1) + self.votes.mean(axis=0)
            score[finite] = votes / (weight.sum(axis=1, keepdims=True) + 1)
        score = torch.from_numpy(score)
        return torch.log(score) if self.units > 1 else torch.logit(score.squeeze(1))

    def _pooled(self, rows: np.ndarray) -> np.ndarray:
        return self.features.pooled[0][rows].double().numpy()
