"""`python -m speed SPEC`: SPEC is JSON of `Spec`; prints the figures as JSON, progress goes to standard error.

The two take turns, so that whatever else the machine does meets both; figures are medians.
"""

import json
import statistics
import sys
import time
from dataclasses import dataclass

import torch
from freshet_trainer.train import Learned, learn

from .log import Shape, rows_of, settings_of
from .memory import bandwidth, bytes_a_sample
from .textbook import Impressions, WideAndDeep, train


@dataclass(frozen=True)
class Spec:
    shape: Shape
    # Of the textbook's epoch: it is slow, and each step costs the same.
    textbookRows: int
    rounds: int
    threads: int
    workers: int


def main(arguments: list[str]) -> None:
    given = json.loads(arguments[0])
    shape = {**given["shape"], "hidden": tuple(given["shape"]["hidden"])}
    print(json.dumps(measure(Spec(**{**given, "shape": Shape(**shape)})), allow_nan=False))


def measure(spec: Spec) -> dict:
    """The figures of this machine: on the GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = rows_of(spec.shape)
    settings = settings_of(spec.shape, spec.threads)
    ours, theirs, prepared = [], [], []
    for turn in range(spec.rounds):
        began = time.perf_counter()
        learned = learn(settings, rows)
        ours.append(learned.result["examples"] / learned.result["seconds"])
        prepared.append(time.perf_counter() - began - learned.result["seconds"])
        theirs.append(textbook(spec, learned, rows, device))
        say(f"round {turn + 1} of {spec.rounds}: trainer {ours[-1]:,.0f} samples/s, textbook {theirs[-1]:,.0f}")
        weights = sum(value.numel() for value in learned.model.state_dict().values())
        del learned
    speed = statistics.median(ours)
    moved = bytes_a_sample(spec.shape.features, spec.shape.dim, spec.shape.numbers)
    on_gpu = device.type == "cuda"
    allowed = bandwidth(device) if on_gpu else None
    return {
        "samplesPerSecond": round(speed),
        "textbookSamplesPerSecond": round(statistics.median(theirs)),
        "ratio": statistics.median(own / other for own, other in zip(ours, theirs)),
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "rounds": [{"samplesPerSecond": round(own), "textbook": round(other)} for own, other in zip(ours, theirs)],
        "prepareSeconds": round(statistics.median(prepared), 3),
        "weights": weights,
        "threads": spec.threads,
        "torch": torch.__version__,
        "bytesPerSample": moved,
        "bandwidthBytesPerSecond": allowed,
        "bandwidthShare": speed * moved / allowed if allowed else None,
    }


def textbook(spec: Spec, learned: Learned, rows, device: torch.device) -> float:
    """Samples a second over the same cells, with tables of the same sizes."""
    torch.manual_seed(1)
    shape, encoding = spec.shape, learned.checkpoint.encoding
    rows = rows.at(slice(0, spec.textbookRows))
    cells = torch.from_numpy(encoding.cells(rows.ids, rows.dense, rows.position)).long()
    dense = learned.model.cpu().standardise(torch.from_numpy(rows.dense))
    model = WideAndDeep(list(encoding.sizes), shape.features, shape.dim, shape.numbers, shape.hidden)
    return train(model, Impressions(cells, dense, torch.from_numpy(rows.labels)), shape.batch, spec.workers, device)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
