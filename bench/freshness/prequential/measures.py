"""How good probabilities are: AUC and normalized entropy."""

import numpy as np

CLIP = 1e-6


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half; NaN unless both classes are there."""
    return float(SortedScores(labels, scores).auc(np.ones((len(labels), 1)))[0])


def normalized_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Log loss over the entropy of the base rate (He et al., ADKDD 2014); NaN unless both classes are there."""
    rate = float(labels.mean(dtype=np.float64)) if len(labels) > 0 else 0.0
    if rate in (0.0, 1.0):
        return float("nan")
    clipped = np.clip(probabilities, CLIP, 1 - CLIP)
    loss = -np.where(labels == 1, np.log(clipped), np.log1p(-clipped)).mean()
    return float(loss / -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)))


class SortedScores:
    """Scores sorted once, for AUCs under many weightings of the rows."""

    def __init__(self, labels: np.ndarray, scores: np.ndarray) -> None:
        positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels != 1)
        self.positive = positive[np.argsort(scores[positive], kind="stable")]
        self.negative = negative[np.argsort(scores[negative], kind="stable")]
        ordered, values = scores[self.negative], scores[self.positive]
        # Of each positive row: how many negative ones have less, and how many have at most as much.
        self.less = np.searchsorted(ordered, values, side="left")
        self.at_most = np.searchsorted(ordered, values, side="right")
        self.tied = bool((self.less != self.at_most).any())

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """weights [N, R] by row -> AUCs [R]: of the weighted pairs, the share in which the positive row has more."""
        positive = weights[self.positive].astype(np.float64)
        below = np.zeros((len(self.negative) + 1, weights.shape[1]))
        np.cumsum(weights[self.negative], axis=0, out=below[1:])
        wins = np.einsum("nr,nr->r", positive, below[self.less])
        if self.tied:
            wins = (wins + np.einsum("nr,nr->r", positive, below[self.at_most])) / 2
        pairs = positive.sum(axis=0) * below[-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pairs > 0, wins / pairs, np.nan)
