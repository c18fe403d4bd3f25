"""The optimisers against PyTorch's dense ones, and what they do differently for tables."""

import pytest
import torch

from freshet_trainer.optimiser import EPSILON, FIRST_ROOT, DenseAdamW, RowAdagrad, RowAdamW

RATE, DECAY, STEPS = 0.05, 0.3, 6
ROWS = torch.tensor([2, 0, 3, 1])


def gradients(*shape: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(STEPS)]


def table() -> torch.Tensor:
    return torch.linspace(-1, 1, 12).reshape(4, 3)


def reference(start: torch.Tensor, gradients: list[torch.Tensor], make) -> torch.Tensor:
    """`start` after steps of a dense optimiser of PyTorch."""
    weight = torch.nn.Parameter(start.clone())
    optimiser = make([weight])
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimiser.step()
    return weight.detach()


def adamw(weights):
    return torch.optim.AdamW(weights, lr=RATE, eps=EPSILON, weight_decay=DECAY)


def adagrad(weights):
    return torch.optim.Adagrad(weights, lr=RATE, eps=FIRST_ROOT)


def test_rows_seen_in_every_step_follow_adamw():
    weight = table()
    optimiser = RowAdamW(weight, DECAY)
    for gradient in gradients(4, 3):
        optimiser.step(ROWS, gradient[ROWS], RATE)
    torch.testing.assert_close(weight, reference(table(), gradients(4, 3), adamw), rtol=1e-5, atol=1e-6)


def test_a_row_counts_only_the_steps_it_was_seen_in():
    weight = table()
    optimiser = RowAdamW(weight, DECAY)
    for step, gradient in enumerate(gradients(4, 3)):
        rows = torch.tensor([1] if step % 2 == 0 else [1, 3])
        optimiser.step(rows, gradient[rows], RATE)
    assert torch.equal(weight[[0, 2]], table()[[0, 2]])
    assert optimiser.state["steps"].flatten().tolist() == [0, STEPS, 0, STEPS // 2]
    torch.testing.assert_close(weight[1], reference(table(), gradients(4, 3), adamw)[1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weight[3], reference(table(), gradients(4, 3)[1::2], adamw)[3], rtol=1e-5, atol=1e-6)


def test_an_id_that_is_in_a_batch_twice_is_one_step_with_the_summed_gradient():
    once, twice = table(), table()
    one, two = RowAdamW(once, DECAY), RowAdamW(twice, DECAY)
    for gradient in gradients(1, 3):
        one.step(torch.tensor([1]), 2 * gradient, RATE)
        two.step(torch.tensor([1, 1]), gradient.repeat(2, 1), RATE)
    torch.testing.assert_close(once, twice)
    assert two.state["steps"][1] == STEPS


def test_a_rows_factor_scales_its_rate_and_its_decay():
    weight = table()
    optimiser = RowAdamW(weight, DECAY)
    optimiser.factor[1] = 0.1
    for gradient in gradients(4, 3):
        optimiser.step(ROWS, gradient[ROWS], RATE)
    slow = reference(
        table(), gradients(4, 3), lambda weights: torch.optim.AdamW(weights, lr=RATE / 10, eps=EPSILON, weight_decay=DECAY)
    )
    torch.testing.assert_close(weight[1], slow[1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weight[0], reference(table(), gradients(4, 3), adamw)[0], rtol=1e-5, atol=1e-6)


def test_the_bias_correction_holds_after_a_million_steps():
    weight = torch.zeros(1, 3)
    optimiser = RowAdamW(weight, 0.0)
    optimiser.state["steps"].fill_(1_000_000.0)
    optimiser.state["mean"].fill_(1.0)
    optimiser.state["square"].fill_(1.0)
    optimiser.step(torch.tensor([0]), torch.ones(1, 3), RATE)
    torch.testing.assert_close(weight, torch.full((1, 3), -RATE))


def test_weights_seen_in_every_step_follow_adagrad_and_others_stay():
    weight = torch.linspace(-1, 1, 5)
    optimiser = RowAdagrad(weight)
    for gradient in gradients(4):
        # Each occurrence brings half of the sum.
        optimiser.step(torch.cat([ROWS, ROWS]), gradient[ROWS].repeat(2) / 2, RATE)
    start = torch.linspace(-1, 1, 5)
    torch.testing.assert_close(weight[:4], reference(start[:4], gradients(4), adagrad), rtol=1e-5, atol=1e-6)
    assert weight[4] == start[4]


@pytest.mark.parametrize("frozen", [False, True])
def test_layers_follow_adamw_and_those_without_a_gradient_stay(frozen):
    weights = [table().requires_grad_(), torch.ones(2).requires_grad_()]
    optimiser = DenseAdamW(weights, DECAY)
    for first, second in zip(gradients(4, 3), gradients(2, seed=1)):
        weights[0].grad, weights[1].grad = first.clone(), None if frozen else second.clone()
        optimiser.step(RATE)
        assert weights[0].grad is None and weights[1].grad is None
    torch.testing.assert_close(weights[0].detach(), reference(table(), gradients(4, 3), adamw))
    expected = torch.ones(2) if frozen else reference(torch.ones(2), gradients(2, seed=1), adamw)
    torch.testing.assert_close(weights[1].detach(), expected)
    assert optimiser.state[weights[0]]["step"] == STEPS
