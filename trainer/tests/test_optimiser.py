"""RowSparseAdamW against the textbook, and what it does differently for embedding tables."""

import numpy as np
import pytest
import torch

from freshet_trainer.optimiser import RowSparseAdamW

RATE, DECAY, STEPS = 0.05, 0.3, 6


def gradients(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(4, 3)).astype(np.float32) for _ in range(STEPS)]


def textbook(weight: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    """Algorithm 2 of Loshchilov and Hutter, with PyTorch's convention that the rate scales the decay."""
    weight, mean, square = weight.astype(np.float64), 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        weight = weight - RATE * DECAY * weight
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        weight = weight - RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return weight


def sparse(gradient: np.ndarray, rows: list[int]) -> torch.Tensor:
    values = torch.from_numpy(gradient[rows])
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, gradient.shape, check_invariants=True)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_rows_seen_in_every_step_follow_adamw(kind):
    start = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    weight = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimiser = RowSparseAdamW({"w": weight}, RATE, DECAY)
    for gradient in gradients():
        weight.grad = torch.from_numpy(gradient) if kind == "dense" else sparse(gradient, [2, 0, 3, 1])
        optimiser.step()
        assert weight.grad is None
    np.testing.assert_allclose(weight.detach().numpy(), textbook(start, gradients()), rtol=1e-5, atol=1e-6)


def test_a_row_counts_only_the_steps_it_was_seen_in():
    start = np.ones((4, 3), dtype=np.float32)
    weight = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimiser = RowSparseAdamW({"w": weight}, RATE, DECAY)
    for step, gradient in enumerate(gradients()):
        weight.grad = sparse(gradient, [1] if step % 2 == 0 else [1, 3])
        optimiser.step()
    after = weight.detach().numpy()
    np.testing.assert_array_equal(after[[0, 2]], start[[0, 2]])
    np.testing.assert_allclose(after[1], textbook(start, gradients())[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after[3], textbook(start, gradients()[1::2])[3], rtol=1e-5, atol=1e-6)


def test_an_id_that_is_in_a_batch_twice_is_one_step_with_the_summed_gradient():
    once, twice = (torch.nn.Parameter(torch.zeros(4, 3)) for _ in range(2))
    one = RowSparseAdamW({"w": once}, RATE, DECAY)
    two = RowSparseAdamW({"w": twice}, RATE, DECAY)
    gradient = np.array([[1.0, 2.0, 3.0]] * 4, dtype=np.float32)
    once.grad, twice.grad = sparse(2 * gradient, [1]), sparse(gradient, [1, 1])
    one.step()
    two.step()
    torch.testing.assert_close(once, twice)
