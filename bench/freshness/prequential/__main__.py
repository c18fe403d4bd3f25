"""The process: `python -m prequential spec.json` writes its report as JSON where the spec says."""

import json
import sys

from .floor import run_floor
from .log_rows import blocks_of
from .runs import CYCLE_MS, plan_of, read, run_chains
from .summary import mean_cost, summarise
from .trainer import Settings


def main(arguments: list[str]) -> None:
    with open(arguments[0], encoding="utf-8") as file:
        spec = json.load(file)
    log, settings = read(spec)
    plan = plan_of(spec, log)
    outcomes, bootstrap = run_chains(spec)
    blocks = blocks_of(log.time_ms, plan.begin_ms, CYCLE_MS)
    floors = {name: [run_floor(log, blocks, columns_of(settings, wanted))] for name, wanted in spec["floors"].items()}
    report = summarise(log, plan.begin_ms, outcomes, floors, spec)
    report["bootstrap"] = {"untilMs": plan.begin_ms, **mean_cost([bootstrap])}
    with open(spec["output"], "w", encoding="utf-8") as file:
        json.dump(report, file, allow_nan=False)


def columns_of(settings: Settings, wanted: list[str]) -> tuple[list[int], list[int]]:
    """Places of the wanted features among the categorical and among the numeric ones."""
    return tuple(
        [place for place, feature in enumerate(kind) if feature.name in wanted]
        for kind in (settings.categorical, settings.numeric)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
