"""Chooses rates and epochs on the training rows themselves, before a training in full.

By progressive validation (Blum, Kalai and Langford, COLT 1999), in the steps in which the line will live: a first model
learns the older half, then block after block of the newer half is scored and only then trained on, as an update would.
What gains over all blocks is taken: it has to serve the first training and the updates alike.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from .checkpoint import Tuned
from .dataset import Rows
from .events import Warnings
from .learner import LOGIT_LIMIT
from .manifest import Rates, Settings
from .strategies import Pace, Prepared, incremental_rates, pace, prepare

# Enough to tell rates apart; a pass over them takes seconds.
MOST_ROWS = 500_000
# With fewer there is nothing to choose by.
LEAST_ROWS = 2_000
FIRST_MODEL, EPOCHS_FROM = 0.5, 0.8
# Of the newer half: seven hours each where the window is a week, about a cycle or two.
BLOCKS = 12
# Of a block: enough differences to tell a gain from chance.
PARTS = 8
RATE_STEP, WIDE_STEP = 10**0.5, 2.0
MOST_CLIMBS = 5
# In standard errors. Of base rates the config's is believed until the data clearly say otherwise; of factors for updates
# none is (literature and logs disagree), so what is likely better is taken.
CLEAR_GAIN, LIKELY_GAIN = 2.0, 1.0
# Factors of an update on (known rows, new rows, layers), besides all equal.
UPDATE_RATES = (
    Rates(1.0, 1.0, 0.3),
    Rates(0.5, 1.0, 0.5),
    Rates(0.25, 1.0, 0.25),
    Rates(0.1, 1.0, 0.1),
    Rates(2.0, 2.0, 2.0),
)


@dataclass
class Ledger:
    """Results so far, by what was tried: kept in the work folder, so that a killed training does not try again.

    `results` are mean losses (and the number of epochs), `parts` the losses they are the means of.
    """

    results: dict[str, float]
    examples: int = 0
    parts: dict[str, list[float]] = field(default_factory=dict)
    on_result: Callable[[], None] = lambda: None


def tune(
    settings: Settings, rows: Rows, ledger: Ledger, check: Callable[[], None], known: Tuned | None = None
) -> Tuned:
    """`check()` is called after every batch and may raise to end the search. With `known` only the epochs are chosen."""
    newest = rows.at(np.sort(np.argsort(rows.time_ms, kind="stable")[-MOST_ROWS:]))
    if len(newest) < LEAST_ROWS:
        return known or Tuned()
    search = Search(settings, newest, ledger, check)
    if known is not None:
        return search.epochs(known)
    # The linear part learns the most of a line; embeddings and layers add to it.
    tuned = search.climb(Tuned(), "wide_learning_rate_factor", WIDE_STEP)
    tuned = search.climb(tuned, "learning_rate_factor", RATE_STEP)
    if settings.hyperparameters.rates is None:
        tuned = search.update_rates(tuned)
    return search.epochs(tuned)


class Search:
    """Tries settings on the same rows, each from the same start."""

    def __init__(self, settings: Settings, rows: Rows, ledger: Ledger, check: Callable[[], None]) -> None:
        self.settings = replace(settings, strategy="full")
        self.rows, self.ledger, self.check = rows, ledger, check

    def climb(self, start: Tuned, name: str, step: float) -> Tuned:
        """Multiply the factor by `step` until that clearly hurts; if nothing above was clearly better, go down instead.

        Steps that change little do not end it: a rate can be so far too small that neither it nor its triple learns.
        """
        best = start
        for direction in (step, 1 / step):
            factor = getattr(start, name)
            for _ in range(MOST_CLIMBS):
                factor *= direction
                candidate = replace(best, **{name: factor})
                gain = self.gain(candidate, best)
                if gain > CLEAR_GAIN:
                    best = candidate
                if gain < -CLEAR_GAIN:
                    break
            if best != start:
                break
        return best

    def update_rates(self, tuned: Tuned) -> Tuned:
        """The factors for updates that gain the most over equal ones, if that is likely no chance."""
        candidates = [replace(tuned, rates=rates) for rates in UPDATE_RATES]
        gains = [self.gain(candidate, tuned) for candidate in candidates]
        best = int(np.argmax(gains))
        return candidates[best] if gains[best] > LIKELY_GAIN else tuned

    def gain(self, candidate: Tuned, over: Tuned) -> float:
        """How much smaller the candidate's losses are, in standard errors."""
        return _gain(self.losses(over), self.losses(candidate))

    def losses(self, tuned: Tuned) -> list[float]:
        """Losses of the newer half before it was trained on, means of parts of each block in the order of time; NaN where
        the run went astray."""
        rates = tuned.rates
        what = f"rate {tuned.learning_rate_factor:.4g}, wide {tuned.wide_learning_rate_factor:.4g}"
        if rates != Rates():
            what += f", updates {rates.known:g} {rates.new:g} {rates.dense:g}"

        def measure() -> float:
            self.ledger.parts[what] = [part for block in self._blocks(tuned) for part in _means(block, PARTS)]
            return float(np.mean(self.ledger.parts[what]))

        self._once(what, measure)
        return self.ledger.parts[what]

    def epochs(self, tuned: Tuned) -> Tuned:
        """As many epochs over the older rows as make the newest fifth clearly better."""
        most = self.settings.hyperparameters.epochs
        if most == 1:
            return replace(tuned, epochs=1)

        def measure() -> float:
            prepared = self._start()
            known = int(len(prepared.by_time) * EPOCHS_FROM)
            before, held = prepared.by_time[:known], prepared.examples.at(prepared.by_time[known:])
            constant = Pace(pace(self.settings, "full", tuned).rates, warmup=0.0, decay=1.0)
            last: list[float] = []
            for epoch in range(most):
                self._train(prepared, before, constant, seed=epoch)
                losses = _means(prepared.learner.losses(held), BLOCKS * PARTS)
                if last and not _gain(last, losses) > CLEAR_GAIN:
                    return epoch
                last = losses
            return most

        return replace(tuned, epochs=int(self._once("epochs", measure)))

    def _start(self) -> Prepared:
        return prepare(self.settings, self.rows, None, Warnings(silent=True))

    def _blocks(self, tuned: Tuned) -> Iterator[Tensor]:
        """Train a first model on the older half, then block after block; the losses of each block before."""
        prepared = self._start()
        known = int(len(prepared.by_time) * FIRST_MODEL)
        older, newer = prepared.by_time[:known], prepared.by_time[known:]
        self._train(prepared, older, pace(self.settings, "full", tuned), seed=0)
        for place, block in enumerate(newer.tensor_split(BLOCKS)):
            yield prepared.learner.losses(prepared.examples.at(block))
            _set_factors(prepared, prepared.by_time[:known], incremental_rates(self.settings, tuned))
            self._train(prepared, block, pace(self.settings, "incremental", tuned), seed=place)
            known += len(block)

    def _train(self, prepared: Prepared, rows: Tensor, rates: Pace, seed: int) -> None:
        """Train once on these rows, shuffled."""
        shuffled = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
        batches = prepared.examples.places(shuffled).split(self.settings.hyperparameters.batch_size)
        for step, batch in enumerate(batches):
            prepared.learner.step(prepared.examples.at(batch), rates.at(step, len(batches)))
            self.check()
        self.ledger.examples += len(rows)

    def _once(self, what: str, measure: Callable[[], float]) -> float:
        if what not in self.ledger.results:
            found = measure()
            self.ledger.results[what] = found if np.isfinite(found) else np.inf
            self.ledger.on_result()
        return self.ledger.results[what]


def _means(losses: Tensor, parts: int) -> list[float]:
    """Of parts with equally many rows, in their order."""
    return [part.mean().item() for part in losses.double().tensor_split(parts) if len(part) > 0]


def _gain(over: list[float], losses: list[float]) -> float:
    """Mean of the differences in its standard errors; NaN counts as the largest loss there is."""
    gains = np.subtract(*(np.nan_to_num(parts, nan=LOGIT_LIMIT) for parts in (over, losses)))
    return float(gains.mean() / max(gains.std(ddof=1) / len(gains) ** 0.5, 1e-12))


def _set_factors(prepared: Prepared, known: Tensor, rates: Rates) -> None:
    """Rows of the tables that occur in the known examples learn at one rate, all others at another."""
    cells = prepared.examples.cells[known]
    for dim, optimiser in prepared.learner.embeddings.items():
        optimiser.factor.fill_(rates.new)
        optimiser.factor[prepared.learner.model.embedding_rows(cells, dim).reshape(-1)] = rates.known
