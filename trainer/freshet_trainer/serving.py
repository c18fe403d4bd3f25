"""The model as it is served: the position is not known before the ranking, so it counts as a constant."""

import copy

import torch
from torch import Tensor

from .learner import PREDICT_ROWS
from .model import RankingModel
from .strategies import Prepared

# Enough to find the constant by; more only cost time.
NEWEST_ROWS = 100_000
HALVINGS = 60
LARGEST_BIAS = 20.0


@torch.no_grad()
def served_model(prepared: Prepared) -> RankingModel:
    """A model whose positions all weigh the same: as much as leaves the mean probability of the newest rows as it is.

    That keeps the probabilities calibrated for the rows as they were shown. Without positions it is the model itself.
    """
    if not prepared.encoding.positions:
        return prepared.learner.model
    model = copy.deepcopy(prepared.learner.model)
    positions = slice(model.tables.starts[-1], None)
    newest = prepared.by_time[-NEWEST_ROWS:]
    mean = _logits(model, prepared, newest).sigmoid().mean()
    model.wide[positions] = 0.0
    without = _logits(model, prepared, newest)
    low, high = -LARGEST_BIAS, LARGEST_BIAS
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if (without + middle).sigmoid().mean() < mean else (low, middle)
    model.wide[positions] = (low + high) / 2
    return model


def _logits(model: RankingModel, prepared: Prepared, rows: Tensor) -> Tensor:
    parts = []
    for part in rows.split(PREDICT_ROWS):
        batch = prepared.examples.at(part)
        parts.append(model(batch.cells, batch.dense).double())
    return torch.cat(parts)
