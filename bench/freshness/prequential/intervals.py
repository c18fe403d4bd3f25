"""Paired, user-clustered intervals: a replicate weighs each user by a Poisson(1) draw, the same for every strategy.

The Poisson bootstrap is Chamandy et al., 2012 ("Estimating uncertainty for massive data streams"): rows of a user, which are not
independent, stay together, and differences are taken within a replicate.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from .measures import SortedScores

# Replicates at a time: bounds memory, a few hundred bytes a row.
PAGE = 50
WEIGHT_SEED = 20_240_417


@dataclass(frozen=True)
class Measured:
    """AUC of rows `part` (indices), averaged over several sets of scores [N], one a seed."""

    scores: list[np.ndarray]
    part: np.ndarray


def auc_replicates(
    measured: list[Measured], *, labels: np.ndarray, users: np.ndarray, replicates: int, threads: int
) -> list[np.ndarray]:
    """[R] for each of `measured`. users int64 [N]: 0 .. number of users - 1."""
    ordered = [[SortedScores(labels[one.part], scores[one.part]) for scores in one.scores] for one in measured]
    pages: list[list[np.ndarray]] = [[] for _ in measured]
    generator = np.random.default_rng(WEIGHT_SEED)
    people = int(users.max()) + 1
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, replicates, PAGE):
            drawn = generator.poisson(1.0, size=(people, min(PAGE, replicates - start))).astype(np.uint8)
            weights = drawn[users]

            def mean_auc(one: Measured, seeds: list[SortedScores]) -> np.ndarray:
                own = weights[one.part]
                return np.mean([scores.auc(own) for scores in seeds], axis=0)

            for page, drawn_aucs in zip(pages, pool.map(mean_auc, measured, ordered)):
                page.append(drawn_aucs)
    return [np.concatenate(page) for page in pages]


def two_sided(replicates: np.ndarray) -> list[float]:
    """The 95 % interval, by quantiles of the replicates; NaN where there is none."""
    return [quantile(replicates, 0.025), quantile(replicates, 0.975)]


def lower_bound(replicates: np.ndarray) -> float:
    """The one-sided lower 95 % bound."""
    return quantile(replicates, 0.05)


def quantile(replicates: np.ndarray, share: float) -> float:
    known = replicates[np.isfinite(replicates)]
    return float(np.quantile(known, share)) if len(known) > 0 else float("nan")


def slope(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted least squares of y [C, R] on x [C]: the slope in each column; cycles without a value do not count."""
    there = np.isfinite(y) * weights[:, None]
    filled = np.where(np.isfinite(y), y, 0.0)
    total = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = x[:, None] - (there * x[:, None]).sum(axis=0) / total
        return (there * centred * filled).sum(axis=0) / (there * centred**2).sum(axis=0)
