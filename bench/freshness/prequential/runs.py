"""The chains of all seeds, side by side in processes."""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from .chains import Chains, Cost, Outcome, Plan
from .log_rows import HOUR_MS, Log, read_log
from .trainer import Settings, read_settings

CYCLE_MS, DAY_MS = 4 * HOUR_MS, 24 * HOUR_MS


def read(spec: dict) -> tuple[Log, Settings]:
    settings = read_settings(spec["manifest"])
    names = [[feature.name for feature in kind] for kind in (settings.categorical, settings.numeric)]
    return read_log(spec["rows"], *names), settings


def plan_of(spec: dict, log: Log) -> Plan:
    begin = int(log.time_ms[0]) + spec["bootstrapMs"]
    return Plan(begin, spec["replayShare"], spec["seasonMs"], spec["windowMs"], spec["reanchorMs"])


def run_chains(spec: dict) -> tuple[dict[str, list[Outcome]], Cost]:
    """The outcomes of each strategy, one a seed, and what the bootstrap of the first seed cost."""
    seeds, kinds = spec["seeds"], ["full", "steps"]
    # With fewer seeds than processes the chains of a seed are shared out, at the price of a second bootstrap.
    shares = [kinds] if len(seeds) >= spec["processes"] else [[kind] for kind in kinds]
    outcomes: dict[str, list[Outcome]] = {}
    with ProcessPoolExecutor(spec["processes"], mp_context=get_context("spawn")) as pool:
        started = [pool.submit(run_seed, spec, seed, share) for seed in seeds for share in shares]
        try:
            results = [future.result() for future in started]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for result, _ in results:
        for name, outcome in result.items():
            outcomes.setdefault(name, []).append(outcome)
    return outcomes, results[0][1]


def run_seed(spec: dict, seed: int, kinds: list[str]) -> tuple[dict[str, Outcome], Cost]:
    """In a process of its own."""
    log, settings = read(spec)
    chains = Chains(log, settings, plan_of(spec, log), seed, partial(say, f"seed {seed}"))
    quick, outcomes = spec["quick"], {}
    if "full" in kinds:
        outcomes |= chains.frozen_and_full((CYCLE_MS,) if quick else (CYCLE_MS, DAY_MS))
    if "steps" in kinds:
        outcomes |= chains.stepwise("warmStart", CYCLE_MS)
        outcomes |= chains.stepwise("incremental", CYCLE_MS, online=True)
        outcomes |= chains.stepwise("incremental", HOUR_MS)
        for strategy in () if quick else ("warmStart", "incremental"):
            outcomes |= chains.stepwise(strategy, DAY_MS)
    return outcomes, chains.bootstrap_cost


def say(who: str, what: str) -> None:
    print(f"{who}: {what}", file=sys.stderr, flush=True)
