"""What each strategy starts from, which parts learn and how fast, and in which order the rows come.

full         from scratch, several epochs in random order
warmStart    the parent's weights, a fraction of the rate, fewer epochs, optionally a frozen base
incremental  the parent's weights and optimiser state, one pass over fresh rows with replayed history spread evenly
online       one pass in order of time over the wide part alone; embeddings and layers stay
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .checkpoint import Checkpoint, Tuned
from .dataset import Rows
from .encoding import Encoding
from .errors import InputError
from .events import Warnings
from .examples import Examples, examples_of
from .learner import Learner, StepRates, predict
from .manifest import Hyperparameters, Rates, Repair, Settings
from .model import RankingModel, measure
from .warm_start import base_to_freeze, grow_encoding, load_parent


@dataclass(frozen=True)
class Pace:
    """Base rates of a training, and how the rate of embeddings and layers moves over its steps."""

    rates: StepRates
    warmup: float
    decay: float

    def at(self, step: int, steps: int) -> StepRates:
        """Linear warm-up over the first `warmup` of the steps, then linear decay to the factor `decay`."""
        grown = math.ceil(self.warmup * steps)
        if step < grown:
            factor = (step + 1) / (grown + 1)
        else:
            factor = 1 - (1 - self.decay) * (step - grown) / max(1, steps - 1 - grown)
        return replace(self.rates, embeddings=self.rates.embeddings * factor, layers=self.rates.layers * factor)


@dataclass(frozen=True)
class Prepared:
    """A learner that is ready to train on `examples`.

    `by_time`, `fresh` and `replayed` are places of examples in the order of time: all that train, and the two kinds.
    """

    strategy: str
    encoding: Encoding
    learner: Learner
    examples: Examples
    by_time: Tensor
    fresh: np.ndarray
    replayed: np.ndarray

    def order(self, seed: int, epoch: int) -> Tensor:
        """The places of the examples in the order of this epoch, from nothing but seed and epoch: a resumed run needs
        no generator state. Fresh and replayed rows are each shuffled (online: not) and merged evenly, so that every
        batch has the same share of history."""
        generator = np.random.default_rng([seed % 2**63, epoch])
        if self.strategy == "online":
            fresh, replayed = self.fresh, generator.permutation(self.replayed)
        else:
            fresh, replayed = generator.permutation(self.fresh), generator.permutation(self.replayed)
        spread = [(np.arange(len(part)) + 0.5) / max(1, len(part)) for part in (fresh, replayed)]
        merged = np.argsort(np.concatenate(spread), kind="stable")
        return torch.from_numpy(np.concatenate([fresh, replayed])[merged])


def prepare(settings: Settings, rows: Rows, parent: Checkpoint | None, warnings: Warnings) -> Prepared:
    """Build the model, load what the strategy starts from, and turn the rows into examples."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rates = settings.hyperparameters
    strategy = settings.strategy
    if parent is None and strategy != "full":
        warnings.add("coldStart", f"there is no parent to start from: trains in full and not {strategy}")
        strategy = "full"
    parent = None if strategy == "full" else parent
    kept = sampled(rows.labels, rates.negative_share, settings.seed)
    if not kept.any():
        raise InputError("snapshot: no row is left after negative down-sampling; raise hyperparameters.negativeShare")
    grown = grow_encoding(settings, rows, parent)
    learner = _cold_learner(settings, rows, grown.encoding)
    if parent is not None:
        loaded = load_parent(learner, grown, parent, warnings)
        if strategy == "warmStart":
            _forget_moments(learner)
            if rates.freeze_base:
                learner.freeze(base_to_freeze(learner.model, loaded))
        if strategy == "incremental":
            _set_row_factors(learner, grown.is_new, incremental_rates(settings, parent.tuned))
    learner = on_device(learner, device)
    cells = grown.encoding.cells(rows.ids, rows.dense, rows.position)
    examples = examples_of(
        cells=cells,
        dense=rows.dense,
        labels=rows.labels,
        targets=_targets(rows, cells, learner.model, rates) if parent is not None and rates.distillation > 0 else None,
        weights=recency_weights(rows.time_ms, rates.recency_half_life_ms, kept) if rates.recency_half_life_ms else None,
    ).on(device)
    if parent is not None and rates.repair is not None and strategy != "online":
        _shrink_and_perturb(learner, rates.repair, settings)
    by_time = np.lexsort((np.arange(len(rows)), rows.time_ms))
    by_time = by_time[kept[by_time]]
    return Prepared(
        strategy=strategy,
        encoding=grown.encoding,
        learner=learner,
        examples=examples,
        by_time=torch.from_numpy(by_time),
        fresh=by_time[rows.fresh[by_time]],
        replayed=by_time[~rows.fresh[by_time]],
    )


@torch.no_grad()
def _cold_learner(settings: Settings, rows: Rows, encoding: Encoding) -> Learner:
    """First weights from the seed, statistics of the numbers and the base rate from these rows."""
    rates = settings.hyperparameters
    torch.manual_seed(settings.seed)
    model = RankingModel(settings.features, rates.hidden, encoding.sizes)
    mean, deviation = measure(torch.from_numpy(rows.dense), model.is_log1p)
    model.mean.copy_(mean)
    model.deviation.copy_(deviation)
    # Otherwise the first steps are spent on finding the base rate. A parent's bias takes its place.
    rate = min(max(float(rows.labels.mean(dtype=np.float64)), 1e-6), 1 - 1e-6)
    model.layers[-1].bias.fill_(math.log(rate / (1 - rate)))
    return Learner(model, rates.weight_decay, math.log(rates.negative_share))


def pace(settings: Settings, strategy: str, tuned: Tuned) -> Pace:
    """The rates of a training by this strategy."""
    given = settings.hyperparameters
    deep, wide = given.learning_rate * tuned.learning_rate_factor, given.wide_learning_rate * tuned.wide_learning_rate_factor
    if strategy == "online":
        return Pace(StepRates(wide, 0.0, 0.0), given.warmup, given.decay)
    if strategy == "warmStart":
        deep, wide = deep * given.warm_factor, wide * given.warm_factor
    factor = incremental_rates(settings, tuned).dense if strategy == "incremental" else 1.0
    return Pace(StepRates(wide, deep, deep * factor), given.warmup, given.decay)


def epochs_of(settings: Settings, strategy: str, tuned: Tuned) -> int:
    if strategy == "full":
        return tuned.epochs or settings.hyperparameters.epochs
    return max(1, settings.hyperparameters.epochs // 4) if strategy == "warmStart" else 1


def incremental_rates(settings: Settings, tuned: Tuned) -> Rates:
    return settings.hyperparameters.rates or tuned.rates


def sampled(labels: np.ndarray, negative_share: float, seed: int) -> np.ndarray:
    """bool [N]: every positive row, and this share of the others, drawn from nothing but the seed."""
    if negative_share == 1:
        return np.ones(len(labels), dtype=bool)
    drawn = np.random.default_rng([seed % 2**63, 1]).random(len(labels)) < negative_share
    return drawn | (labels == 1)


def recency_weights(time_ms: np.ndarray, half_life_ms: float, kept: np.ndarray) -> np.ndarray:
    """float32 [N]: halved with every half-life before the newest row; mean 1 over the rows that train."""
    weights = np.exp2((time_ms - time_ms.max()) / half_life_ms)
    return (weights / weights[kept].mean()).astype(np.float32)


def on_device(learner: Learner, device: torch.device) -> Learner:
    """The same learner on another device: tables are moved before optimisers hold on to them."""
    if learner.model.wide.device == device:
        return learner
    moved = Learner(learner.model.to(device), learner.weight_decay, learner.log_negative_share, learner.exchange)
    moved.load({name: value.to(device) for name, value in learner.state().items()})
    moved.freeze(learner.frozen)
    for dim, optimiser in learner.embeddings.items():
        moved.embeddings[dim].factor.copy_(optimiser.factor)
    return moved


def _targets(rows: Rows, cells: np.ndarray, parent: RankingModel, rates: Hyperparameters) -> np.ndarray:
    """Labels, mixed with what the parent says (Hinton, Vinyals and Dean 2015): the cross-entropy is linear in them.

    What it says of all rows is turned into what holds among those that negative down-sampling leaves, as labels do.
    """
    share = rates.distillation
    told = predict(parent, cells, rows.dense)
    told = told / (told + (1 - told) * rates.negative_share)
    return ((1 - share) * rows.labels + share * told).astype(np.float32)


def _set_row_factors(learner: Learner, is_new: list[np.ndarray], rates: Rates) -> None:
    for dim, columns in learner.model.tables.columns.items():
        fresh = torch.from_numpy(np.concatenate([is_new[column] for column in columns]))
        learner.embeddings[dim].factor.copy_(torch.where(fresh, rates.new, rates.known).unsqueeze(1))


def _forget_moments(learner: Learner) -> None:
    for name, value in learner.optimiser_state().items():
        # Adagrad's sum is what its rate is made of; without it every weight would jump.
        if not name.startswith("wide."):
            value.zero_()


@torch.no_grad()
def _shrink_and_perturb(learner: Learner, repair: Repair, settings: Settings) -> None:
    """On the hidden layers alone: ids keep what was learnt about them. The last layer's bias is the base rate."""
    generator = torch.Generator().manual_seed(settings.seed % 2**63)
    for layer in learner.model.layers[:-1]:
        bound = 1 / math.sqrt(layer.in_features)
        for weight in (layer.weight, layer.bias):
            first = ((torch.rand(weight.shape, generator=generator) * 2 - 1) * bound).to(weight.device)
            weight.mul_(repair.shrink).add_(first, alpha=repair.perturb)
            for value in learner.layers.state[weight].values():
                value.zero_()
