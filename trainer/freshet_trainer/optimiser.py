"""AdamW whose cost follows the rows a batch touches, not the size of the tables."""

import math

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class RowSparseAdamW:
    """AdamW (Loshchilov and Hutter, ICLR 2019), with one difference for embedding tables (sparse gradients).

    A table's row is updated, and decayed, only in the steps whose batch contains it, with its own step count for the
    bias correction. Rows nobody saw keep their values and moments. Dense AdamW would decay and move all rows in every
    step: on tables of a hundred thousand rows that is nearly all of the training time.
    """

    def __init__(self, parameters: dict[str, Tensor], learning_rate: float, weight_decay: float) -> None:
        self.parameters, self.learning_rate, self.weight_decay = parameters, learning_rate, weight_decay
        self.state = {
            name: {"steps": _steps(weight), "mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
            for name, weight in parameters.items()
        }

    @torch.no_grad()
    def step(self) -> None:
        """Apply the gradients and clear them."""
        for name, weight in self.parameters.items():
            gradient, state = weight.grad, self.state[name]
            weight.grad = None
            if gradient is None:
                continue
            if gradient.is_sparse:
                gradient = gradient.coalesce()
                rows = gradient.indices()[0]
                touched = {key: value[rows] for key, value in state.items()}
                weight[rows] = self._updated(weight[rows], gradient.values(), touched)
                for key, value in touched.items():
                    state[key][rows] = value
            else:
                weight.copy_(self._updated(weight, gradient, state))

    def _updated(self, weight: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        """The weight after one step; moves `state` in place."""
        steps = state["steps"].add_(1)
        mean = state["mean"].lerp_(gradient, 1 - BETA1)
        square = state["square"].mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        direction = (mean / _unbias(BETA1, steps)) / ((square / _unbias(BETA2, steps)).sqrt() + EPSILON)
        return weight * (1 - self.learning_rate * self.weight_decay) - self.learning_rate * direction


def _unbias(beta: float, steps: Tensor) -> Tensor:
    """1 - beta ** steps, without the digits that float32 loses when the power is close to 1."""
    return -torch.expm1(steps * math.log(beta))


def _steps(weight: Tensor) -> Tensor:
    """One count a row, shaped to broadcast over the row; vectors count as one row."""
    return torch.zeros(len(weight) if weight.dim() > 1 else 1, *[1] * (weight.dim() - 1), device=weight.device)
