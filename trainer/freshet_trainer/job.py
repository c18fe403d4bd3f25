"""One training as a job: reads what the manifest names, trains, and leaves the outputs whole or not at all."""

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from .checkpoint import read_checkpoint, save_checkpoint, write_whole
from .dataset import read_impression_ids, read_rows
from .distributed import Alone, joined
from .events import Warnings, emit, silence_stdout
from .export import export_onnx
from .manifest import Manifest
from .train import Watch, learn

# Of the fresh rows: what the trained model says about them, for the comparison with its graph.
PREDICTED_ROWS = 10_000


def run(manifest: Manifest, stop: Callable[[], bool]) -> None:
    """Raises InputError, NumericalError, OutOfMemory, Stopped, and what a full disk raises: OSError or RuntimeError.

    Of several processes, all train and the first one speaks and writes.
    """
    with joined() as exchange:
        if exchange.rank > 0:
            silence_stdout()
        _run(manifest, exchange, stop)


def _run(manifest: Manifest, exchange: Alone, stop: Callable[[], bool]) -> None:
    rows = read_rows(manifest, pinned=torch.cuda.is_available())
    emit("metric", name="trainingRows", value=len(rows))
    warnings = Warnings()
    needs_parent = manifest.warm_start is not None and manifest.settings.strategy != "full"
    parent = read_checkpoint(manifest.warm_start) if needs_parent else None
    predicted = _evenly_spread(int(rows.fresh.sum()), PREDICTED_ROWS)
    impression_ids = read_impression_ids(manifest, predicted)
    store = WorkStore(manifest.work_dir)
    watch = Watch(
        stop=exchange.agreed(stop),
        progress=lambda fields: emit("progress", **fields),
        metric=lambda name, value: emit("metric", name=name, value=value),
        save=store.save if exchange.rank == 0 else None,
        saved=store.load(warnings),
        save_every_seconds=manifest.checkpoint_every_seconds,
        warnings=warnings,
    )
    learned = learn(manifest.settings, rows, parent, watch)
    if exchange.rank > 0:
        return
    out = manifest.output_dir
    result = json.dumps(learned.result, indent=2, allow_nan=False) + "\n"
    predictions = pa.table({"impression_id": impression_ids, "probability": learned.predict(rows.at(predicted))})
    write_whole(out / "model.onnx", lambda file: export_onnx(learned.model, learned.checkpoint.encoding, file))
    write_whole(out / "checkpoint.pt", lambda file: save_checkpoint(learned.checkpoint, file))
    write_whole(out / "predictions.parquet", lambda file: pq.write_table(predictions, file))
    write_whole(out / "result.json", lambda file: file.write(result.encode()))
    emit("metric", name="trainLogLoss", value=learned.result["metrics"]["trainLogLoss"])


class WorkStore:
    """The state of an unfinished training in the work folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "checkpoint.pt"

    def save(self, state: dict) -> None:
        """A process killed meanwhile leaves the previous one."""
        write_whole(self.path, lambda file: torch.save(state, file))
        at = state["position"]
        step = math.ceil(at["row"] / at["batch_size"])
        emit("checkpoint", path=str(self.path), epoch=at["epoch"] + 1, step=step)

    def load(self, warnings: Warnings) -> dict | None:
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if not isinstance(state, dict):
                raise TypeError("it holds no state")
            return state
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError) as error:
            warnings.add("checkpointUnreadable", f"cannot read {self.path} ({type(error).__name__}): starts over")
            return None


def _evenly_spread(count: int, most: int) -> np.ndarray:
    """At most `most` of the places 0 to count - 1, first and last among them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
