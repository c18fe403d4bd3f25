"""A whole training: choose, prepare, run to the end, and say what came of it. Resumable at every step."""

import hashlib
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from .checkpoint import Checkpoint, Tuned
from .dataset import Rows
from .distributed import exchange_of_process
from .errors import NumericalError, OutOfMemory, Stopped
from .events import Warnings
from .learner import predict
from .manifest import Settings
from .model import RankingModel
from .serving import served_model
from .strategies import Prepared, epochs_of, pace, prepare
from .tuning import Ledger, tune

REPORT_EVERY_SECONDS = 1.0
SIGN_OF_LIFE_SECONDS = 10.0
# What PyTorch says, besides torch.OutOfMemoryError: of the CPU, of the device, of its libraries.
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
DORMANT_ROWS = 10_000
# A unit is dormant when its mean activation is below a fortieth of its layer's (Sokar et al., ICML 2023, tau = 0.025).
DORMANT_BELOW = 0.025


@dataclass
class Watch:
    """Who looks on. The default is nobody: nothing is reported, saved or asked."""

    stop: Callable[[], bool] = lambda: False
    progress: Callable[[dict], None] = lambda _: None
    metric: Callable[[str, float], None] = lambda _name, _value: None
    # Takes everything that is needed to go on, and says where it was kept.
    save: Callable[[dict], None] | None = None
    saved: dict | None = None
    save_every_seconds: float = math.inf
    warnings: Warnings = field(default_factory=lambda: Warnings(silent=True))


@dataclass(frozen=True)
class Learned:
    """A trained model, what the next training starts from, and the figures."""

    model: RankingModel
    checkpoint: Checkpoint
    result: dict

    def predict(self, rows: Rows) -> np.ndarray:
        """Probabilities float32 [N] as they are served: the position is the constant that the graph has."""
        cells = self.checkpoint.encoding.cells(rows.ids, rows.dense, rows.position)
        return predict(self.model, cells, rows.dense)


def learn(
    settings: Settings, rows: Rows, parent: Checkpoint | None = None, watch: Watch | None = None, tuned: Tuned | None = None
) -> Learned:
    """Train by the settings' strategy.

    The same input gives the same weights on the same kind of CPU, however often the run was stopped and resumed. `tuned`
    overrides what a training in full would find out by itself, or what the parent found out.

    Raises InputError, NumericalError, OutOfMemory, and Stopped once `watch.stop()` is true and the state is saved.
    """
    watch = watch or Watch()
    torch.set_num_threads(settings.threads)
    strategy = "full" if parent is None else settings.strategy
    run = Run(settings, rows, parent if strategy != "full" else None, watch)
    try:
        if strategy == "full":
            tuned = run.choose(tuned)
        elif tuned is None:
            tuned = parent.tuned
        prepared = prepare(settings, rows, parent, watch.warnings)
        loss = run.to_the_end(prepared, tuned)
        return run.finish(prepared, tuned, loss)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"out of memory with a batch of {run.at.batch_size} rows, of {settings.hyperparameters.batch_size} asked for; "
            "lower training.batchSize, the embeddings' dim or buckets, or take a larger device"
        ) from error


@dataclass
class Position:
    """Where the training stands (in rows of the epoch's order), and the reported loss summed over the epoch."""

    epoch: int = 0
    row: int = 0
    loss_sum: float = 0.0
    examples: int = 0
    seconds: float = 0.0
    tuning_seconds: float = 0.0
    batch_size: int = 0


class Run:
    """One training: the loop, and the state that lets another process go on with it."""

    def __init__(self, settings: Settings, rows: Rows, parent: Checkpoint | None, watch: Watch) -> None:
        self.settings, self.rows, self.parent, self.watch = settings, rows, parent, watch
        self.at = Position(batch_size=settings.hyperparameters.batch_size)
        self.ledger = Ledger({})
        self.is_tuning = True
        self.resumed: dict | None = None
        self.tensors: Callable[[], dict[str, Tensor]] = lambda: self.resumed or {}
        self.fingerprint = _fingerprint(settings, rows, parent)
        if watch.saved is not None:
            self._resume(watch.saved)
        self.began = self.last_saved = self.last_sign = time.monotonic()

    def choose(self, given: Tuned | None) -> Tuned:
        """The rates and epochs of a training in full: as given, as configured, or found by trying."""
        if given is None and not self.settings.hyperparameters.tune:
            return Tuned()
        if given is not None and given.epochs is not None:
            return given
        self.ledger.on_result = self._note_trial
        while True:
            try:
                rates = replace(self.settings.hyperparameters, batch_size=self.at.batch_size)
                settings = replace(self.settings, hyperparameters=rates)
                tuned = tune(settings, self.rows, self.ledger, self._look_up, given)
                break
            except RuntimeError as error:
                self._halve_batch(error)
        self._take_time()
        return tuned

    def to_the_end(self, prepared: Prepared, tuned: Tuned) -> float:
        """Run the remaining epochs and return the mean loss of the last one, taken while it was trained."""
        learner, examples = prepared.learner, prepared.examples
        self.tensors = learner.state
        if self.resumed is not None:
            learner.load(self.resumed)
        rates, epochs = pace(self.settings, prepared.strategy, tuned), epochs_of(self.settings, prepared.strategy, tuned)
        total, loss = len(prepared.by_time), math.nan
        began, reported, here = time.monotonic(), time.monotonic(), 0
        self.is_tuning, self.began = False, began
        losses: list[Tensor] = []
        while self.at.epoch < epochs:
            order = examples.places(prepared.order(self.settings.seed, self.at.epoch))
            while self.at.row < total:
                size = self.at.batch_size
                steps = math.ceil(total / size)
                step = self.at.epoch * steps + self.at.row // size
                batch = order[self.at.row : self.at.row + size]
                try:
                    losses.append(learner.step(examples.at(batch), rates.at(step, steps * epochs)).sum())
                except RuntimeError as error:
                    self._halve_batch(error)
                    learner.layers.zero_grad()
                    continue
                self.at.row += len(batch)
                here += len(batch)
                now = time.monotonic()
                if now - reported >= REPORT_EVERY_SECONDS or self.at.row == total:
                    self._count(losses)
                    speed = here / max(now - began, 1e-9)
                    self._report(epochs, total, speed)
                    reported = now
                self._leave_if_asked(losses)
                self._save_if_due(losses)
            loss = self.at.loss_sum / max(1, total)
            self.at = replace(self.at, epoch=self.at.epoch + 1, row=0, loss_sum=0.0, examples=self.at.examples + total)
        self._take_time()
        return loss

    def finish(self, prepared: Prepared, tuned: Tuned, loss: float) -> Learned:
        learner, settings = prepared.learner, self.settings
        tensors = {name: value.detach().cpu().clone() for name, value in learner.state().items()}
        for name, value in tensors.items():
            if not torch.isfinite(value).all():
                raise NumericalError(f"{name} is not finite after training; lower hyperparameters.learningRate")
        rates = pace(settings, prepared.strategy, tuned).rates
        seconds = round(self.at.seconds, 3)
        results = {what: loss if math.isfinite(loss) else None for what, loss in self.ledger.results.items()}
        result = {
            "contractVersion": 2,
            "strategy": prepared.strategy,
            "metrics": {
                "trainLogLoss": loss,
                "dormantUnits": dormant_units(prepared),
                "epochs": self.at.epoch,
                "seconds": seconds,
                "samplesPerSecond": round(self.at.examples / max(seconds, 1e-3)),
                "tuningSeconds": round(self.at.tuning_seconds, 3),
                "wideRate": rates.wide,
                "embeddingRate": rates.embeddings,
                "layerRate": rates.layers,
            },
            "examples": self.at.examples,
            "seconds": seconds,
            "tuned": {**asdict(tuned), "results": results},
            "tuningExamples": self.ledger.examples,
            "tuningSeconds": round(self.at.tuning_seconds, 3),
            "warnings": self.watch.warnings.told,
            "environment": _environment(learner.model.wide.device),
            "featureStatistics": _feature_statistics(prepared, self.rows, settings),
        }
        checkpoint = Checkpoint(settings.features, settings.hyperparameters.hidden, prepared.encoding, tensors, tuned)
        return Learned(served_model(prepared), checkpoint, result)

    def _take_time(self) -> None:
        """Add what has gone by since the last look to what is being done."""
        now = time.monotonic()
        name = "tuning_seconds" if self.is_tuning else "seconds"
        setattr(self.at, name, getattr(self.at, name) + now - self.began)
        self.began = now

    def _count(self, losses: list[Tensor]) -> None:
        """Add up the losses since the last look; looking at each step would wait for the device each time."""
        if not losses:
            return
        found = torch.stack(losses).double().sum().item()
        losses.clear()
        if not math.isfinite(found):
            raise NumericalError(
                f"the loss is {found} in epoch {self.at.epoch + 1}, row {self.at.row}; "
                "lower hyperparameters.learningRate or look at the numeric features for absurd values"
            )
        self.at.loss_sum += found

    def _report(self, epochs: int, total: int, speed: float) -> None:
        size = self.at.batch_size
        left = (epochs - self.at.epoch) * total - self.at.row
        self.watch.progress(
            {
                "epoch": self.at.epoch + 1,
                "epochs": epochs,
                "step": math.ceil(self.at.row / size),
                "steps": math.ceil(total / size),
                "samplesPerSecond": round(speed),
                "loss": self.at.loss_sum / max(1, self.at.row),
                "etaSeconds": round(left / speed, 1),
            }
        )

    def _note_trial(self) -> None:
        what, loss = next(reversed(self.ledger.results.items()))
        self.watch.metric(f"tuning: {what}", loss if math.isfinite(loss) else None)
        self._save_if_due()

    def _look_up(self) -> None:
        """In the middle of a trial: leave if asked, and give a sign of life, or a long trial would be taken for a hang."""
        self._leave_if_asked()
        if time.monotonic() - self.last_sign >= SIGN_OF_LIFE_SECONDS:
            self.watch.metric("tuningExamples", self.ledger.examples)
            self.last_sign = time.monotonic()

    def _leave_if_asked(self, losses: list[Tensor] | None = None) -> None:
        if self.watch.stop():
            self._count(losses or [])
            self._save()
            raise Stopped(f"stopped in epoch {self.at.epoch + 1}, row {self.at.row}; the state is saved")

    def _save_if_due(self, losses: list[Tensor] | None = None) -> None:
        if time.monotonic() - self.last_saved >= self.watch.save_every_seconds:
            self._count(losses or [])
            self._save()

    def _save(self) -> None:
        if self.watch.save is not None:
            self._take_time()
            position = asdict(self.at)
            ledger = {key: getattr(self.ledger, key) for key in ("results", "examples", "parts")}
            self.watch.save(
                {"fingerprint": self.fingerprint, "position": position, "ledger": ledger, "tensors": self.tensors()}
            )
        self.last_saved = time.monotonic()

    def _resume(self, saved: dict) -> None:
        if saved.get("fingerprint") != self.fingerprint:
            self.watch.warnings.add(
                "checkpointForeign", "the saved state belongs to another manifest or other rows: starts over"
            )
            return
        self.at = Position(**saved["position"])
        self.ledger = Ledger(**saved["ledger"])
        self.resumed = saved["tensors"] or None

    def _halve_batch(self, error: RuntimeError) -> None:
        """Once, and only when memory was the reason; the rows of the failed batch come again. One of several processes
        can not go back by itself."""
        asked = self.settings.hyperparameters.batch_size
        if not _is_out_of_memory(error) or self.at.batch_size < asked or asked == 1 or exchange_of_process().size > 1:
            raise error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.at.batch_size = asked // 2
        self.watch.warnings.add("batchHalved", f"out of memory: goes on with a batch of {self.at.batch_size} rows")


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def dormant_units(prepared: Prepared) -> float:
    """Share of the hidden units whose mean activation over the newest rows is below DORMANT_BELOW of their layer's."""
    model, newest = prepared.learner.model, prepared.by_time[-DORMANT_ROWS:]
    batch, dormant, units = prepared.examples.at(newest), 0, 0
    with torch.no_grad():
        x = torch.cat(
            [model.embedding(dim)[model.embedding_rows(batch.cells, dim)].flatten(1) for dim in model.tables.columns]
            + ([model.standardise(batch.dense)] if model.numeric else []),
            dim=1,
        )
        for layer in model.layers[:-1]:
            x = torch.relu(layer(x))
            activation = x.mean(dim=0)
            dormant += int((activation <= DORMANT_BELOW * activation.mean()).sum())
            units += len(activation)
    return dormant / max(1, units)


def _fingerprint(settings: Settings, rows: Rows, parent: Checkpoint | None) -> str:
    """Says whether a saved state belongs to this training: everything that matters but the folders."""
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    for name in rows.__dataclass_fields__:
        digest.update(np.ascontiguousarray(getattr(rows, name)))
    if parent is not None:
        digest.update(parent.tensors["wide"].numpy())
        for vocabulary in parent.encoding.vocabularies:
            digest.update(vocabulary.ids)
    return digest.hexdigest()


def _environment(device: torch.device) -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": str(torch.get_num_threads()),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }


def _feature_statistics(prepared: Prepared, rows: Rows, settings: Settings) -> dict[str, dict]:
    """Per feature the share that was missing; of ids also the rows of the table and the share of rare ones, of numbers
    the mean and deviation the graph standardises with."""
    statistics, model = {}, prepared.learner.model
    for column, feature in enumerate(settings.categorical):
        statistics[feature.name] = {
            "missing": float((rows.ids[:, column] == 0).mean()),
            "rows": prepared.encoding.vocabularies[column].size,
            "rare": float((prepared.examples.cells[:, column] == 1).float().mean()),
        }
    for column, feature in enumerate(settings.numeric):
        statistics[feature.name] = {
            "missing": float(np.isnan(rows.dense[:, column]).mean()),
            "mean": model.mean[column].item(),
            "deviation": model.deviation[column].item(),
        }
    return statistics
