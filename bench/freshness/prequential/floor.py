"""The floor: a logistic regression with a rate a weight (Adagrad; Duchi et al., JMLR 2011), one pass in time order.

Shares no code with the trainer. Each distinct value of a categorical feature has a weight; numbers fall into bins with equal
numbers of rows, which are found on the bootstrap alone.
"""

import numpy as np

BINS = 20
RATE, BATCH = 0.15, 64
# Of a weight's sum of squared gradients before its first.
INITIAL_SQUARE = 1e-6


def weight_indices(ids: np.ndarray, dense: np.ndarray, known: int) -> tuple[np.ndarray, int]:
    """ids int64 [N, C], dense float32 [N, D] -> indices of weights int64 [N, C + D + 1] and their number.

    The last column is the intercept's. Bins come from the first `known` rows; what is missing has a weight of its own.
    """
    columns, start = [], 0
    for column in ids.T:
        values, index = np.unique(column, return_inverse=True)
        columns.append(index + start)
        start += len(values)
    for column in dense.T:
        numbers = column[:known][~np.isnan(column[:known])]
        edges = np.unique(np.quantile(numbers, np.arange(1, BINS) / BINS)) if len(numbers) > 0 else np.empty(0)
        index = np.where(np.isnan(column), len(edges) + 1, np.searchsorted(edges, column))
        columns.append(index + start)
        start += len(edges) + 2
    columns.append(np.full(len(ids), start))
    return np.stack(columns, axis=1), start + 1


class LogisticRegression:
    """Sums one weight a feature; trains in batches, each weight by the sum of its gradients."""

    def __init__(self, weights: int) -> None:
        self.weights = np.zeros(weights)
        self.squares = np.full(weights, INITIAL_SQUARE)

    def predict(self, indices: np.ndarray) -> np.ndarray:
        """indices [N, F] -> probabilities float64 [N]."""
        return 1 / (1 + np.exp(-self.weights[indices].sum(axis=1)))

    def train(self, indices: np.ndarray, labels: np.ndarray) -> None:
        """One pass in the order given."""
        width = indices.shape[1]
        for start in range(0, len(labels), BATCH):
            batch = indices[start : start + BATCH]
            error = self.predict(batch) - labels[start : start + BATCH]
            touched, place = np.unique(batch, return_inverse=True)
            gradient = np.bincount(place.ravel(), np.repeat(error, width), minlength=len(touched))
            self.squares[touched] += gradient**2
            self.weights[touched] -= RATE * gradient / np.sqrt(self.squares[touched])


def run_floor(log, blocks, columns: tuple[list[int], list[int]]) -> np.ndarray:
    """Probabilities float64 [N], NaN before the first block: each block is scored and then trained on.

    columns: which of the log's categorical and of its numeric features it takes.
    """
    categorical, numeric = columns
    first = blocks[0].lo
    indices, weights = weight_indices(log.rows.ids[:, categorical], log.rows.dense[:, numeric], known=first)
    model, probabilities = LogisticRegression(weights), np.full(len(log.labels), np.nan)
    model.train(indices[:first], log.labels[:first])
    for block in blocks:
        part = slice(block.lo, block.hi)
        probabilities[part] = model.predict(indices[part])
        model.train(indices[part], log.labels[part])
    return probabilities
