"""Optimisers whose cost follows what a batch touches, not the size of a table.

A batch names a row as often as it occurs. The gradients are summed into a buffer of the table's shape, and then every
occurrence reads the whole sum and writes the same new value: no sorting, no search for duplicates, and nothing that a GPU
would have to wait for.
"""

import math

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
# What an Adagrad weight's root of squares starts at: about the gradient's deviation at a base rate of a tenth. Without it the
# first example would move a weight by the whole rate, however small its gradient is.
FIRST_ROOT = 0.3


class DenseAdamW:
    """AdamW (Loshchilov and Hutter, ICLR 2019) of a few dense weights, all in one fused update.

    What `torch.optim.AdamW(fused=True)` calls; making one of those imports PyTorch's compiler, which takes a second.
    `state` of each weight: `step` [], `exp_avg` and `exp_avg_sq` in its shape.
    """

    def __init__(self, weights: list[Tensor], weight_decay: float) -> None:
        self.weights, self.weight_decay = weights, weight_decay
        self.state = {
            weight: {
                "step": torch.zeros((), device=weight.device),
                "exp_avg": torch.zeros_like(weight, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(weight, requires_grad=False),
            }
            for weight in weights
        }

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Update every weight that has a gradient, and drop the gradients."""
        trained = [weight for weight in self.weights if weight.grad is not None]
        if not trained:
            return
        steps, means, squares = ([self.state[weight][key] for weight in trained] for key in ("step", "exp_avg", "exp_avg_sq"))
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            trained,
            [weight.grad for weight in trained],
            means,
            squares,
            [],
            steps,
            lr=rate,
            beta1=BETA1,
            beta2=BETA2,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )
        self.zero_grad()

    def zero_grad(self) -> None:
        for weight in self.weights:
            weight.grad = None


class RowAdamW:
    """AdamW with one difference for tables.

    A row is updated, and decayed, only in the steps whose batch contains it, with its own step count for the bias
    correction. Rows nobody saw keep their values and moments.
    """

    def __init__(self, weight: Tensor, weight_decay: float) -> None:
        self.weight, self.weight_decay = weight, weight_decay
        # Factor on the rate of each row: 1, unless rows that are new learn at another rate than known ones.
        self.factor = torch.ones(len(weight), 1, device=weight.device)
        self.state = {
            "steps": torch.zeros(len(weight), 1, device=weight.device),
            "mean": torch.zeros_like(weight),
            "square": torch.zeros_like(weight),
        }
        self._sum = torch.zeros_like(weight)

    @torch.no_grad()
    def step(self, rows: Tensor, gradients: Tensor, rate: float) -> None:
        """rows int64 [M], gradients [M, dim] of each occurrence."""
        gradient = _summed(self._sum, rows, gradients)
        # Scalars of rows are looked up in vectors: an index of a table moves a row at a time.
        steps = self.state["steps"].view(-1).index_select(0, rows).add_(1)
        rates = self.factor.view(-1).index_select(0, rows).mul_(rate)
        mean = self.state["mean"].index_select(0, rows).lerp_(gradient, 1 - BETA1)
        square = self.state["square"].index_select(0, rows).mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        # rate * unbiased mean / (sqrt(unbiased square) + epsilon), both sides times the root of the square's correction.
        root = _unbias(BETA2, steps).sqrt_()
        pace = rates * root / _unbias(BETA1, steps)
        direction = mean / square.sqrt().add_(root.mul_(EPSILON).unsqueeze(1))
        weight = self.weight.index_select(0, rows).mul_((1 - rates * self.weight_decay).unsqueeze(1))
        weight.addcmul_(direction, pace.unsqueeze(1), value=-1)
        self.weight.index_copy_(0, rows, weight)
        self.state["steps"].view(-1).index_copy_(0, rows, steps)
        self.state["mean"].index_copy_(0, rows, mean)
        self.state["square"].index_copy_(0, rows, square)


class RowAdagrad:
    """Adagrad (Duchi, Hazan and Singer, JMLR 2011) by coordinate, for a vector of weights.

    Each weight's rate falls with what it has seen: the online learner of McMahan et al. (KDD 2013) without the L1 term, whose
    beta is FIRST_ROOT.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self.state = {"square": torch.zeros_like(weight)}
        self._sum = torch.zeros_like(weight)

    @torch.no_grad()
    def step(self, cells: Tensor, gradients: Tensor, rate: float) -> None:
        """cells int64 [M], gradients [M] of each occurrence (of the summed loss, not of its mean)."""
        gradient = _summed(self._sum, cells, gradients)
        square = self.state["square"].index_select(0, cells).addcmul_(gradient, gradient)
        weight = self.weight.index_select(0, cells)
        weight.addcdiv_(gradient, square.sqrt().add_(FIRST_ROOT), value=-rate)
        self.weight.index_copy_(0, cells, weight)
        self.state["square"].index_copy_(0, cells, square)


def _summed(buffer: Tensor, rows: Tensor, gradients: Tensor) -> Tensor:
    """For each occurrence the sum over all occurrences of its row. The buffer is zero before and after."""
    # Whatever needs memory comes before the buffer is written to.
    summed = torch.empty_like(gradients)
    if buffer.dim() == 1:
        # The same as `index_add_`, which is slower on the CPU for vectors.
        buffer.scatter_add_(0, rows, gradients)
    else:
        buffer.index_add_(0, rows, gradients)
    torch.index_select(buffer, 0, rows, out=summed)
    buffer.index_fill_(0, rows, 0.0)
    return summed


def _unbias(beta: float, steps: Tensor) -> Tensor:
    """1 - beta ** steps, without the digits that float32 loses when the power is close to 1."""
    return torch.expm1(steps * math.log(beta)).neg_()
