"""Everything that is reported: measures by strategy, day and cycle, paired differences, the trend, and cost."""

import math
from dataclasses import asdict

import numpy as np

from .chains import Cost, Outcome
from .intervals import Measured, auc_replicates, lower_bound, slope, two_sided
from .log_rows import HOUR_MS, Log, blocks_of
from .runs import CYCLE_MS, DAY_MS
from .measures import auc, normalized_entropy

FULL, INCREMENTAL = "full@4h", "incremental@4h"


def summarise(
    log: Log, begin_ms: int, outcomes: dict[str, list[Outcome]], floors: dict[str, list[np.ndarray]], spec: dict
) -> dict:
    """One document without NaN. Names of strategies: `frozen`, `full@4h`, ..., and those of the floors."""
    first = int(np.searchsorted(log.time_ms, begin_ms))
    scored = Scored(log, first, {name: [one.probabilities for one in found] for name, found in outcomes.items()} | floors)
    report = {
        "rows": len(log.labels),
        "scoredRows": len(scored.labels),
        "scoredUsers": int(scored.users.max()) + 1,
        "positiveShare": float(scored.labels.mean()),
        "days": scored.days(spec["timeZoneOffsetMs"]),
        "strategies": {name: scored.measures(name) for name in scored.scores},
        "cycles": scored.cycles(begin_ms),
        "intervals": intervals(scored, begin_ms, spec),
        "costs": {name: mean_cost([one.cost for one in found]) for name, found in outcomes.items()},
        "otherStrategies": {name: found[0].other_strategies for name, found in outcomes.items() if found[0].other_strategies},
    }
    return without_nan(report)


class Scored:
    """The rows after the bootstrap. scores: probabilities [N] by strategy and seed."""

    def __init__(self, log: Log, first: int, scores: dict[str, list[np.ndarray]]) -> None:
        self.labels, self.time_ms = log.labels[first:], log.time_ms[first:]
        self.users = np.unique(log.users[first:], return_inverse=True)[1]
        self.scores = {name: [one[first:] for one in found] for name, found in scores.items()}
        for name, found in self.scores.items():
            if not all(np.isfinite(one).all() for one in found):
                raise ArithmeticError(f"{name} gave probabilities that are no numbers")
        self.everything = np.arange(len(self.labels))
        self.last_day = np.flatnonzero(self.time_ms > self.time_ms[-1] - DAY_MS)

    def days(self, offset_ms: int) -> list[dict]:
        """By days of the log."""
        day = (self.time_ms + offset_ms) // DAY_MS
        return [
            {"day": str(np.datetime64(int(one) * DAY_MS, "ms"))[:10], **self._by_strategy(np.flatnonzero(day == one))}
            for one in np.unique(day)
        ]

    def measures(self, name: str) -> dict:
        """Means over the seeds; `aucDeviation`: between seeds, of one."""
        aucs = [auc(self.labels, one) for one in self.scores[name]]
        return {
            "auc": float(np.mean(aucs)),
            "aucDeviation": float(np.std(aucs, ddof=1)) if len(aucs) > 1 else None,
            "normalizedEntropy": self._mean(normalized_entropy, name, self.everything),
            "aucLastDay": self._mean(auc, name, self.last_day),
        }

    def cycles(self, begin_ms: int) -> list[dict]:
        """By blocks of four hours; `trailing`: over the day that ends with the block."""
        found = []
        for block in blocks_of(self.time_ms, begin_ms, CYCLE_MS):
            since = int(np.searchsorted(self.time_ms, block.to_ms - DAY_MS))
            trailing = np.arange(since, block.hi)
            part = self._by_strategy(np.arange(block.lo, block.hi))
            part["trailing"] = {name: self._mean(auc, name, trailing) for name in self.scores}
            found.append({"fromMs": block.from_ms, "toMs": block.to_ms, **part})
        return found

    def _by_strategy(self, part: np.ndarray) -> dict:
        return {
            "rows": len(part),
            "auc": {name: self._mean(auc, name, part) for name in self.scores},
            "normalizedEntropy": {name: self._mean(normalized_entropy, name, part) for name in self.scores},
        }

    def _mean(self, measure, name: str, part: np.ndarray) -> float:
        return float(np.mean([measure(self.labels[part], one[part]) for one in self.scores[name]]))


def intervals(scored: Scored, begin_ms: int, spec: dict) -> dict:
    """Two-sided 95 % intervals of each strategy and of its difference to full, the bounds, and the trend."""
    blocks = blocks_of(scored.time_ms, begin_ms, CYCLE_MS)
    parts = [np.arange(block.lo, block.hi) for block in blocks]
    overall = {name: Measured(found, scored.everything) for name, found in scored.scores.items()}
    last_day = {name: Measured(scored.scores[name], scored.last_day) for name in ("frozen", INCREMENTAL)}
    by_cycle = {name: [Measured(scored.scores[name], part) for part in parts] for name in (FULL, INCREMENTAL)}
    measured = [*overall.values(), *last_day.values(), *(one for found in by_cycle.values() for one in found)]
    drawn = iter(
        auc_replicates(
            measured,
            labels=scored.labels,
            users=scored.users,
            replicates=spec["replicates"],
            threads=spec["processes"],
        )
    )
    all_rows = {name: next(drawn) for name in overall}
    last = {name: next(drawn) for name in last_day}
    cycles = {name: np.stack([next(drawn) for _ in found]) for name, found in by_cycle.items()}

    def point(name: str, part: np.ndarray) -> float:
        return float(np.mean([auc(scored.labels[part], one[part]) for one in scored.scores[name]]))

    points = np.array([point(INCREMENTAL, part) - point(FULL, part) for part in parts])
    replicated = cycles[INCREMENTAL] - cycles[FULL]
    days = np.array([(block.from_ms - begin_ms) / DAY_MS for block in blocks])
    rows = np.array([len(part) for part in parts], dtype=np.float64)
    return {
        "auc": {name: two_sided(found) for name, found in all_rows.items()},
        "minusFull": {name: two_sided(found - all_rows[FULL]) for name, found in all_rows.items()},
        "minusFrozen": {name: two_sided(found - all_rows["frozen"]) for name, found in all_rows.items()},
        "incrementalMinusFullLcb95": lower_bound(all_rows[INCREMENTAL] - all_rows[FULL]),
        "incrementalMinusFrozenLastDayLcb95": lower_bound(last[INCREMENTAL] - last["frozen"]),
        "incrementalMinusFloorLcb95": {
            name: lower_bound(all_rows[INCREMENTAL] - all_rows[name]) for name in all_rows if name.startswith("floor")
        },
        "trendPerDay": {
            "slope": float(slope(days, points[:, None], rows)[0]) if len(blocks) > 1 else None,
            "interval": two_sided(slope(days, replicated, rows)) if len(blocks) > 1 else None,
        },
        "cumulatedDifference": cumulated(points, replicated, rows),
    }


def cumulated(points: np.ndarray, replicated: np.ndarray, rows: np.ndarray) -> list[dict]:
    """Incremental minus full within cycles, averaged by rows from the first cycle to each."""
    found = []
    for end in range(1, len(rows) + 1):
        there = np.isfinite(points[:end])
        weights = rows[:end] * there
        mean = float((np.where(there, points[:end], 0) * weights).sum() / weights.sum()) if there.any() else math.nan
        known = np.isfinite(replicated[:end])
        shares = rows[:end, None] * known
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (np.where(known, replicated[:end], 0) * shares).sum(axis=0) / shares.sum(axis=0)
        found.append({"mean": mean, "interval": two_sided(means)})
    return found


def mean_cost(costs: list[Cost]) -> dict:
    """By the names of the report."""
    return {_camel(key): float(np.mean([getattr(cost, key) for cost in costs])) for key in asdict(costs[0])}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def without_nan(value):
    """JSON knows no NaN: what could not be measured is null."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
