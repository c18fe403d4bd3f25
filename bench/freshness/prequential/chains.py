"""The strategies: chains of trainings along the log. Each scores a block before anything of it is trained on.

Labels count as known when their block ends. A chain of one refresh interval is: score the block, train on it, go on.
"""

from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from .log_rows import HOUR_MS, Block, Log, blocks_of, draw_replay, take
from .trainer import Rows, Settings, train, train_again

if TYPE_CHECKING:
    from freshet_trainer.train import Learned


@dataclass(frozen=True)
class Plan:
    """When and how a line trains; times in ms of event time."""

    begin_ms: int
    replay_share: float
    season_ms: int
    window_ms: int
    reanchor_ms: int


@dataclass
class Cost:
    """What trainings took: rows x epochs of the final passes, of the search for rates, and seconds of each."""

    trainings: int = 0
    examples: int = 0
    tuning_examples: int = 0
    seconds: float = 0.0
    tuning_seconds: float = 0.0

    def add(self, learned: "Learned") -> None:
        result = learned.result
        self.trainings += 1
        self.examples += int(result["examples"])
        self.tuning_examples += int(result.get("tuningExamples", 0))
        self.seconds += float(result["seconds"])
        self.tuning_seconds += float(result.get("tuningSeconds", 0.0))


@dataclass
class Outcome:
    """Probabilities float64 [N] of one strategy and seed, NaN where nothing was scored, and what it cost after the bootstrap."""

    probabilities: np.ndarray
    cost: Cost = field(default_factory=Cost)
    # Trainings in which the trainer did something else than asked, such as `full` for want of a parent.
    other_strategies: dict[str, int] = field(default_factory=dict)


class Chains:
    """The chains of one seed."""

    def __init__(self, log: Log, settings: Settings, plan: Plan, seed: int, say) -> None:
        self.log, self.plan, self.seed, self.say = log, plan, seed, say
        self.settings = replace(settings, strategy="full", seed=seed, threads=1)
        started = perf_counter()
        self.first = train(self.settings, self._window(plan.begin_ms), None)
        self.bootstrap_cost = Cost()
        self.bootstrap_cost.add(self.first)
        say(f"bootstrap in {perf_counter() - started:.1f} s")

    def frozen_and_full(self, every: tuple[int, ...]) -> dict[str, Outcome]:
        """`frozen`, and `full` at each interval (ms): a training in full is the same whatever the interval is."""
        first = self.first
        outcomes = {"frozen": self._outcome(), **{f"full@{name_of(ms)}": self._outcome() for ms in every}}
        self._score(outcomes["frozen"], first, self._rest())
        blocks = {ms: {block.from_ms: block for block in self._blocks(ms)} for ms in every}
        for start in sorted({start for found in blocks.values() for start in found}):
            model = first if start == self.plan.begin_ms else self._full(start)
            for ms, found in blocks.items():
                if start in found:
                    outcome = outcomes[f"full@{name_of(ms)}"]
                    self._score(outcome, model, found[start])
                    if model is not first:
                        outcome.cost.add(model)
            self._tell("full", start)
        return outcomes

    def stepwise(self, strategy: str, every_ms: int, online: bool = False) -> dict[str, Outcome]:
        """Trains each block on from the model that scored it; in full again every `reanchor_ms`.

        With `online` there is a second outcome, of hourly updates between these trainings: they begin at the model of each
        block and are dropped when the next is trained.
        """
        name = f"{strategy}@{name_of(every_ms)}"
        outcomes = {name: self._outcome(), **({"online@1h": self._outcome()} if online else {})}
        model, anchored_ms = self.first, self.plan.begin_ms
        blocks = self._blocks(every_ms)
        for place, block in enumerate(blocks):
            self._score(outcomes[name], model, block)
            if online:
                self._online(outcomes["online@1h"], model, block)
            if place == len(blocks) - 1:
                break
            if block.to_ms - anchored_ms >= self.plan.reanchor_ms:
                model, anchored_ms, asked = self._full(block.to_ms), block.to_ms, "full"
            else:
                model, asked = self._update(strategy, block, model), strategy
            for outcome in outcomes.values():
                outcome.cost.add(model)
                self._note(outcome, asked, model)
            self._tell(name, block.to_ms)
        return outcomes

    def _online(self, outcome: Outcome, model: "Learned", block: Block) -> None:
        times = self.log.time_ms[block.lo : block.hi]
        hours = blocks_of(times, block.from_ms, HOUR_MS)
        for place, hour in enumerate(hours):
            within = Block(block.lo + hour.lo, block.lo + hour.hi, hour.from_ms, hour.to_ms)
            self._score(outcome, model, within)
            if place == len(hours) - 1:
                return
            model = self._update("online", within, model)
            outcome.cost.add(model)
            self._note(outcome, "online", model)

    def _update(self, strategy: str, block: Block, parent: "Learned") -> "Learned":
        plan, fresh = self.plan, np.arange(block.lo, block.hi)
        replayed = None
        if strategy != "online":
            replayed = draw_replay(
                self.log,
                block,
                share=plan.replay_share,
                season_ms=plan.season_ms,
                seed=self.seed,
                oldest_ms=block.to_ms - plan.window_ms - plan.season_ms,
            )
        return train(replace(self.settings, strategy=strategy), take(self.log.rows, fresh, replayed), parent)

    def _full(self, until_ms: int) -> "Learned":
        return train_again(self.settings, self._window(until_ms), self.first)

    def _window(self, until_ms: int) -> Rows:
        lo, hi = np.searchsorted(self.log.time_ms, [until_ms - self.plan.window_ms, until_ms])
        return take(self.log.rows, np.arange(lo, hi))

    def _score(self, outcome: Outcome, model: "Learned", block: Block) -> None:
        part = np.arange(block.lo, block.hi)
        outcome.probabilities[part] = model.predict(take(self.log.rows, part))

    def _note(self, outcome: Outcome, asked: str, model: "Learned") -> None:
        did = model.result["strategy"]
        if did != asked:
            outcome.other_strategies[did] = outcome.other_strategies.get(did, 0) + 1

    def _outcome(self) -> Outcome:
        return Outcome(np.full(len(self.log.labels), np.nan))

    def _blocks(self, every_ms: int) -> list[Block]:
        return blocks_of(self.log.time_ms, self.plan.begin_ms, every_ms)

    def _rest(self) -> Block:
        lo = int(np.searchsorted(self.log.time_ms, self.plan.begin_ms))
        return Block(lo, len(self.log.labels), self.plan.begin_ms, int(self.log.time_ms[-1]) + 1)

    def _tell(self, name: str, at_ms: int) -> None:
        """Once a day of the log."""
        begin, end = int(self.log.time_ms[0]), int(self.log.time_ms[-1])
        if (at_ms - self.plan.begin_ms) % (24 * HOUR_MS) == 0:
            self.say(f"{name}: {(at_ms - begin) / HOUR_MS:.0f} of {(end - begin) / HOUR_MS:.0f} h")


def name_of(ms: int) -> str:
    """`4h`."""
    return f"{ms / HOUR_MS:g}h"
