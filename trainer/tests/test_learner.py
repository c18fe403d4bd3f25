"""A step of the learner against autograd and PyTorch's optimisers on the whole, dense model."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from freshet_trainer.examples import examples_of
from freshet_trainer.learner import Learner, StepRates
from freshet_trainer.manifest import Categorical, Numeric
from freshet_trainer.model import RankingModel
from freshet_trainer.optimiser import FIRST_ROOT
from freshet_trainer.optimiser import FIRST_ROOT

FEATURES = (Categorical("a", 9, 4), Categorical("b", 9, 2), Categorical("c", 9, 4), Numeric("n", "none"))
SIZES = (3, 4, 5, 21)
ROWS, STEPS, DECAY = 40, 4, 0.2
RATES = StepRates(wide=0.1, embeddings=0.02, layers=0.01)


def made(log_negative_share: float = 0.0) -> Learner:
    torch.manual_seed(1)
    model = RankingModel(FEATURES, (6, 5), SIZES)
    for table in (model.wide, model.embedding(4), model.embedding(2)):
        table.normal_()
    return Learner(model, DECAY, log_negative_share)


def batch(weighted: bool = False, distilled: bool = False):
    rng = np.random.default_rng(3)
    # Every row of every table is in the batch, so that nothing distinguishes rows from a dense update.
    cells = np.stack([rng.permutation(np.arange(ROWS) % size) for size in SIZES], axis=1).astype(np.int32)
    dense = rng.normal(size=(ROWS, 1)).astype(np.float32)
    dense[0] = np.nan
    labels = (rng.random(ROWS) < 0.4).astype(np.float32)
    targets = (0.5 * labels + 0.5 * rng.random(ROWS)).astype(np.float32) if distilled else None
    weights = rng.exponential(1, ROWS).astype(np.float32) if weighted else None
    return examples_of(cells, dense, labels, targets, weights)


@pytest.mark.parametrize(
    ("weighted", "distilled", "share"), [(False, False, 1.0), (True, True, 0.25)], ids=["plain", "weighted and distilled"]
)
def test_steps_are_those_of_the_whole_model(weighted, distilled, share):
    learner, other, examples = made(math.log(share)), made(), batch(weighted, distilled)
    model = other.model
    tables = [model.embedding(dim).requires_grad_() for dim in model.tables.columns]
    wide = model.wide.requires_grad_()
    deep = torch.optim.AdamW(tables, lr=RATES.embeddings, weight_decay=DECAY)
    layers = torch.optim.AdamW(model.layers.parameters(), lr=RATES.layers, weight_decay=DECAY)
    linear = torch.optim.Adagrad([wide], lr=RATES.wide, eps=FIRST_ROOT)
    targets = examples.labels if examples.targets is None else examples.targets
    weights = torch.ones(ROWS) if examples.weights is None else examples.weights
    for _ in range(STEPS):
        losses = learner.step(examples, RATES)
        logits = model(examples.cells, examples.dense) - math.log(share)
        torch.testing.assert_close(losses, binary_cross_entropy_with_logits(logits, examples.labels, reduction="none"))
        loss = (weights * binary_cross_entropy_with_logits(logits, targets, reduction="none")).mean()
        gradients = torch.autograd.grad(loss, [*tables, wide, *model.layers.parameters()])
        for weight, gradient in zip([*tables, wide, *model.layers.parameters()], gradients):
            weight.grad = gradient
        # Each wide weight moves by the sum over the batch, not its mean.
        wide.grad = wide.grad * ROWS
        for optimiser in (deep, layers, linear):
            optimiser.step()
    expected, found = model.state_dict(), learner.model.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.detach(), rtol=1e-4, atol=1e-5, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize(
    ("rates", "moving"),
    [
        (StepRates(0.1, 0.0, 0.0), {"wide"}),
        (StepRates(0.0, 0.1, 0.0), {"embedding_4", "embedding_2"}),
        (StepRates(0.0, 0.0, 0.1), {"layers"}),
    ],
    ids=["wide", "embeddings", "layers"],
)
def test_a_rate_of_zero_leaves_a_part_and_its_state_as_they_are(rates, moving):
    learner = made()
    before = {name: value.clone() for name, value in learner.state().items()}
    learner.step(batch(), rates)
    changed = {name.split(".")[0] for name, value in learner.state().items() if not torch.equal(value, before[name])}
    assert changed == moving


def test_what_is_frozen_stays_while_the_rest_learns():
    learner = made()
    learner.freeze({"embeddings", "0.weight", "0.bias"})
    before = {name: value.clone() for name, value in learner.state().items()}
    learner.step(batch(), RATES)
    same = {name for name, value in learner.state().items() if torch.equal(value, before[name])}
    assert {"embedding_4", "embedding_2", "layers.0.weight", "layers.0.bias"} <= same
    assert not same & {"wide", "layers.1.weight", "layers.2.bias"}


def test_a_loaded_state_goes_on_as_if_nothing_had_happened():
    learner, other = made(), made()
    learner.step(batch(), RATES)
    other.load({name: value.clone() for name, value in learner.state().items()})
    assert torch.equal(learner.step(batch(), RATES), other.step(batch(), RATES))
    assert all(torch.equal(value, other.state()[name]) for name, value in learner.state().items())
