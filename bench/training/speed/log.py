"""Synthetic rows of a given shape, the same for the same shape."""

from dataclasses import dataclass

import numpy as np
from freshet_trainer.dataset import Rows
from freshet_trainer.manifest import Categorical, Hyperparameters, Numeric, Settings


@dataclass(frozen=True)
class Shape:
    """`features` categorical ones with `buckets` ids and embeddings of `dim`, and `numbers`."""

    rows: int
    features: int
    numbers: int
    buckets: int
    dim: int
    hidden: tuple[int, ...]
    batch: int


def settings_of(shape: Shape, threads: int) -> Settings:
    """A training in full of one epoch, without the search for rates."""
    features = [Categorical(f"id_{at}", shape.buckets + 2, shape.dim) for at in range(shape.features)]
    numbers = [Numeric(f"number_{at}", "none") for at in range(shape.numbers)]
    hyperparameters = Hyperparameters(
        learning_rate=1e-3, epochs=1, batch_size=shape.batch, hidden=shape.hidden, tune=False, admit_after=1
    )
    return Settings((*features, *numbers), "full", hyperparameters, seed=1, threads=threads)


def rows_of(shape: Shape) -> Rows:
    """Every id equally often, in random order: no id is hot, which is the worst that can happen to caches."""
    rng = np.random.default_rng(1)
    ids = np.empty((shape.rows, shape.features), dtype=np.int64)
    for column in range(shape.features):
        ids[:, column] = rng.permutation(shape.rows) % shape.buckets + 1
    dense = rng.standard_normal((shape.rows, shape.numbers), dtype=np.float32)
    signal = (ids % 3 - 1).sum(axis=1) + dense.sum(axis=1)
    return Rows(
        ids=ids,
        dense=dense,
        labels=(rng.random(shape.rows) < 1 / (1 + np.exp(1 - 0.3 * signal))).astype(np.float32),
        time_ms=np.arange(shape.rows, dtype=np.int64),
        position=np.zeros(shape.rows, dtype=np.int32),
        fresh=np.ones(shape.rows, dtype=bool),
    )
