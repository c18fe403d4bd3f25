"""From logged features to cells: for each row and feature the row of that feature's table, found once, before training.

Columns of `cells` int32 [N, K]: the categorical features, then the numeric ones (the bin of the value), then the position.
"""

from dataclasses import dataclass

import numpy as np

from .manifest import Settings
from .vocabulary import Vocabulary

BINS = 20
# A value that is missing has a bin of its own, after the others.
MISSING_BIN = BINS
# Quantiles of more rows than this say nothing more.
QUANTILE_ROWS = 200_000


@dataclass(frozen=True)
class Encoding:
    """`vocabularies` by categorical feature, `edges` float32 [D, BINS - 1] by numeric feature, sorted, of the raw values."""

    vocabularies: tuple[Vocabulary, ...]
    edges: np.ndarray
    positions: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each column's table."""
        numeric = [BINS + 1] * len(self.edges)
        return (*(vocabulary.size for vocabulary in self.vocabularies), *numeric, *([self.positions] if self.positions else []))

    def cells(self, ids: np.ndarray, dense: np.ndarray, position: np.ndarray) -> np.ndarray:
        """ids int64 [N, C], dense float32 [N, D], position int32 [N] -> int32 [N, K]."""
        columns = [vocabulary.rows_of(ids[:, at]) for at, vocabulary in enumerate(self.vocabularies)]
        columns += [bins_of(dense[:, at], edges) for at, edges in enumerate(self.edges)]
        if self.positions:
            columns.append(np.clip(position, 0, self.positions - 1))
        return np.stack(columns, axis=1).astype(np.int32)


def quantile_edges(dense: np.ndarray) -> np.ndarray:
    """Bin edges [D, BINS - 1] with equally many of the known values of dense float32 [N, D] between them."""
    step = max(1, len(dense) // QUANTILE_ROWS)
    edges = np.zeros((dense.shape[1], BINS - 1), dtype=np.float32)
    for at in range(dense.shape[1]):
        known = dense[::step, at]
        known = known[np.isfinite(known)]
        if len(known) > 0:
            edges[at] = np.quantile(known, np.arange(1, BINS) / BINS, method="lower")
    return edges


def bins_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The number of edges below each value; MISSING_BIN for NaN."""
    return np.where(np.isnan(values), MISSING_BIN, np.searchsorted(edges, values, side="left")).astype(np.int32)


def empty_encoding(settings: Settings) -> Encoding:
    count = len(settings.numeric)
    return Encoding(
        tuple(Vocabulary() for _ in settings.categorical),
        np.zeros((count, BINS - 1), dtype=np.float32),
        settings.hyperparameters.positions,
    )
