"""One step of training: a batch of rows in, gradients, and the updates of the layers and of the rows it touched."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from .distributed import Alone, exchange_of_process
from .examples import Examples
from .model import RankingModel
from .optimiser import DenseAdamW, RowAdagrad, RowAdamW

# Reported losses clip probabilities to [1e-6, 1 - 1e-6], as everywhere in Freshet; the trained loss is not clipped.
LOGIT_LIMIT = math.log((1 - 1e-6) / 1e-6)
PREDICT_ROWS = 16_384


@dataclass(frozen=True)
class StepRates:
    """Learning rates of one step; 0 leaves a part as it is."""

    wide: float
    embeddings: float
    layers: float


class Learner:
    """A model with its optimisers. Everything that a step changes is in `state()`.

    `log_negative_share`: logarithm of the share of the negatives that trains. The loss is taken at logit minus this, the
    log odds among the rows that are left (King and Zeng 2001), so that the model itself always speaks of all rows.
    """

    def __init__(
        self, model: RankingModel, weight_decay: float, log_negative_share: float = 0.0, exchange: Alone | None = None
    ) -> None:
        self.model, self.weight_decay, self.log_negative_share = model, weight_decay, log_negative_share
        self.exchange = exchange or exchange_of_process()
        self.wide = RowAdagrad(model.wide)
        self.embeddings = {dim: RowAdamW(model.embedding(dim), weight_decay) for dim in model.tables.columns}
        self.layers = DenseAdamW(list(model.layers.parameters()), weight_decay)
        self.frozen: set[str] = set()

    def freeze(self, names: set[str]) -> None:
        """Names as in `model.layers.named_parameters()`, or `embeddings`."""
        self.frozen = names
        for name, weight in self.model.layers.named_parameters():
            weight.requires_grad_(name not in names)

    def step(self, batch: Examples, rates: StepRates) -> Tensor:
        """Train on one batch, of which each process computes its share. Returns the (clipped) losses [B] the rows had before."""
        model, exchange, count = self.model, self.exchange, len(batch)
        share = exchange.share(count)
        wide_cells = model.wide_cells(batch.cells)
        rows = {dim: model.embedding_rows(batch.cells, dim) for dim in self.embeddings}
        learns_rows = rates.embeddings > 0 and "embeddings" not in self.frozen
        embedded = [model.embedded(rows[dim][share], dim).requires_grad_(learns_rows) for dim in rows]
        own = batch.part(share)
        with torch.set_grad_enabled(learns_rows or rates.layers > 0):
            deep = model.deep(embedded, own.dense)
        logits = deep.detach() + model.wide_sums(wide_cells[share]) - self.log_negative_share
        # The gradient of each row's loss by its logit.
        residuals = torch.sigmoid(logits) - (own.labels if own.targets is None else own.targets)
        if own.weights is not None:
            residuals *= own.weights
        if deep.requires_grad:
            # `deep.backward(residuals / count)` is the same, but imports PyTorch's symbolic shapes, which takes a second.
            torch.dot(deep, residuals / count).backward()
        gradients = [values.grad for values in embedded] if learns_rows else []
        logits, residuals, *gradients = exchange.gather([logits, residuals, *gradients], count)
        if rates.layers > 0:
            exchange.sum([weight.grad for weight in self.layers.weights if weight.grad is not None])
            self.layers.step(rates.layers)
        for dim, gradient in zip(rows, gradients):
            self.embeddings[dim].step(rows[dim].reshape(-1), gradient.reshape(-1, dim), rates.embeddings)
        if rates.wide > 0:
            repeated = residuals.unsqueeze(1).expand_as(wide_cells)
            self.wide.step(wide_cells.reshape(-1), repeated.reshape(-1), rates.wide)
        return clipped_losses(logits, batch.labels)

    @torch.no_grad()
    def losses(self, examples: Examples) -> Tensor:
        """The (clipped) losses [N] of rows that are not trained on."""
        parts = []
        for start in range(0, len(examples), PREDICT_ROWS):
            batch = examples.at(torch.arange(start, min(start + PREDICT_ROWS, len(examples))))
            logits = self.model(batch.cells, batch.dense) - self.log_negative_share
            parts.append(clipped_losses(logits, batch.labels))
        return torch.cat(parts)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that training changes, by name; loading it goes on exactly there."""
        tensors = dict(self.model.state_dict())
        tensors.update(self.optimiser_state())
        return tensors

    def optimiser_state(self) -> dict[str, Tensor]:
        """`wide.square`, `embedding_DIM.{steps,mean,square}`, `layers.N.weight.{step,exp_avg,exp_avg_sq}`."""
        tensors = {f"wide.{name}": value for name, value in self.wide.state.items()}
        for dim, optimiser in self.embeddings.items():
            tensors |= {f"embedding_{dim}.{name}": value for name, value in optimiser.state.items()}
        for name, weight in self.model.layers.named_parameters(prefix="layers"):
            tensors |= {f"{name}.{key}": value for key, value in self.layers.state[weight].items()}
        return tensors

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Raises KeyError or RuntimeError when a tensor is missing or has another shape."""
        for name, value in self.state().items():
            value.copy_(tensors[name])


def clipped_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Log loss [N] of the probabilities as they are reported."""
    return binary_cross_entropy_with_logits(logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT), labels, reduction="none")


@torch.no_grad()
def predict(model: RankingModel, cells: np.ndarray, dense: np.ndarray) -> np.ndarray:
    """Probabilities float32 [N] of cells int32 [N, K] and dense float32 [N, D]."""
    device = model.wide.device
    parts = [np.empty(0, dtype=np.float32)]
    for start in range(0, len(cells), PREDICT_ROWS):
        part = slice(start, start + PREDICT_ROWS)
        logits = model(torch.from_numpy(cells[part]).to(device), torch.from_numpy(dense[part]).to(device))
        parts.append(torch.sigmoid(logits).cpu().numpy())
    return np.concatenate(parts)
