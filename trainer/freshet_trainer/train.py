"""The training itself: rows in, a trained model and its figures out. Resumable at every step."""

import hashlib
import json
import math
import pickle
import platform
import time
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from .dataset import Rows
from .errors import NumericalError, Stopped
from .events import Warnings, emit
from .manifest import Manifest
from .model import RankingModel, measure
from .optimiser import RowSparseAdamW
from .warm_start import freeze_base, load_parent, read_checkpoint

REPORT_EVERY_SECONDS = 1.0
# Reported losses clip probabilities to [1e-6, 1 - 1e-6], as everywhere in Freshet; the trained loss is not clipped.
LOGIT_LIMIT = math.log((1 - 1e-6) / 1e-6)


@dataclass
class Position:
    """Where the training stands, and the reported loss summed over the current epoch."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_rows: int = 0

    @property
    def loss(self) -> float:
        return self.loss_sum / max(1, self.loss_rows)


def train(manifest: Manifest, rows: Rows, warnings: Warnings, stop) -> tuple[RankingModel, dict]:
    """Train until done and return the model and the content of result.json.

    `stop()` is asked after every step; once true, saves a checkpoint and raises Stopped. The same manifest gives the
    same weights on the same kind of CPU, however often the run was stopped and resumed: no state is drawn from a random
    generator except the first weights (from the seed) and each epoch's order (from seed and epoch).
    """
    started = time.monotonic()
    device = _set_up_torch(manifest)
    warm = manifest.strategy == "warmStart" and manifest.warm_start is not None
    if manifest.strategy == "warmStart" and not warm:
        warnings.add("coldStart", "there is no parent to start from: trains in full")
    model = _initial_model(manifest, rows, warnings, warm).to(device)
    rates = manifest.hyperparameters
    epochs = max(1, rates.epochs // 4) if warm else rates.epochs
    optimiser = RowSparseAdamW(
        {name: weight for name, weight in model.named_parameters() if weight.requires_grad},
        learning_rate=rates.learning_rate * (rates.warm_factor if warm else 1.0),
        weight_decay=rates.weight_decay,
    )
    run = Run(manifest, rows, model, optimiser, epochs, device)
    run.resume(warnings)
    loss = run.to_the_end(stop)
    for name, weight in model.state_dict().items():
        if not torch.isfinite(weight).all():
            raise NumericalError(f"weights of {name} are not finite after training; lower hyperparameters.learningRate")
    return model, {
        "contractVersion": 1,
        "metrics": {"trainLogLoss": loss},
        "epochs": epochs,
        "samples": len(rows),
        "seconds": round(time.monotonic() - started, 3),
        "strategy": "warmStart" if warm else "full",
        "warnings": warnings.told,
        "environment": _environment(device),
        "featureStatistics": _feature_statistics(model, rows),
    }


class Run:
    """One training: the loop, and the checkpoints that let another process go on with it."""

    def __init__(self, manifest, rows, model, optimiser, epochs, device) -> None:
        self.manifest, self.model, self.optimiser, self.epochs, self.device = manifest, model, optimiser, epochs, device
        self.ids, self.dense, self.labels = (torch.from_numpy(a) for a in (rows.ids, rows.dense, rows.labels))
        self.batch_size = manifest.hyperparameters.batch_size
        self.steps = math.ceil(len(rows) / self.batch_size)
        self.at = Position()
        self.path = manifest.work_dir / "checkpoint.pt"
        self.fingerprint = _fingerprint(manifest, rows)

    def to_the_end(self, stop) -> float:
        """Run the remaining epochs and return the mean loss of the last one, taken while it was trained."""
        began = reported = saved = time.monotonic()
        steps_here, loss = 0, math.nan
        while self.at.epoch < self.epochs:
            order = _order_of_epoch(len(self.labels), self.manifest.seed, self.at.epoch)
            while self.at.step < self.steps:
                start = self.at.step * self.batch_size
                self.train_batch(order[start : start + self.batch_size])
                steps_here += 1
                now = time.monotonic()
                if now - reported >= REPORT_EVERY_SECONDS or self.at.step == self.steps:
                    self.report(steps_here / max(now - began, 1e-9))
                    reported = now
                if stop():
                    self.save()
                    raise Stopped(f"stopped in epoch {self.at.epoch + 1} of {self.epochs}; saved {self.path}")
                if now - saved >= self.manifest.checkpoint_every_seconds:
                    self.save()
                    saved = now
            loss = self.at.loss
            self.at = Position(epoch=self.at.epoch + 1)
        return loss

    def train_batch(self, batch: Tensor) -> None:
        labels = self.labels[batch].to(self.device)
        logits = self.model(self.ids[batch].to(self.device), self.dense[batch].to(self.device))
        loss = binary_cross_entropy_with_logits(logits, labels)
        if not math.isfinite(loss.item()):
            raise NumericalError(
                f"loss is {loss.item()} in epoch {self.at.epoch + 1}, step {self.at.step + 1} of {self.steps}; "
                "lower hyperparameters.learningRate or look at the numeric features for absurd values"
            )
        loss.backward()
        self.optimiser.step()
        clipped = logits.detach().clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        self.at.loss_sum += binary_cross_entropy_with_logits(clipped, labels, reduction="sum").item()
        self.at.loss_rows += len(batch)
        self.at.step += 1

    def report(self, steps_per_second: float) -> None:
        left = (self.epochs - self.at.epoch) * self.steps - self.at.step
        emit(
            "progress",
            epoch=self.at.epoch + 1,
            epochs=self.epochs,
            step=self.at.step,
            steps=self.steps,
            samplesPerSecond=round(steps_per_second * self.batch_size),
            loss=self.at.loss,
            etaSeconds=round(left / steps_per_second, 1),
        )

    def save(self) -> None:
        """Write the checkpoint whole or not at all: a process killed meanwhile leaves the previous one."""
        partial = self.path.with_suffix(".partial")
        state = {"fingerprint": self.fingerprint, "position": asdict(self.at), "optimiser": self.optimiser.state}
        torch.save({**state, "model": self.model.state_dict()}, partial)
        partial.replace(self.path)
        emit("checkpoint", path=str(self.path), epoch=self.at.epoch, step=self.at.step)

    def resume(self, warnings: Warnings) -> None:
        """Go on from the checkpoint in the work folder, if there is one of the same training on the same rows."""
        if not self.path.exists():
            return
        try:
            state = torch.load(self.path, map_location=self.device, weights_only=True)
            fingerprint = state["fingerprint"]
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError) as error:
            warnings.add("checkpointUnreadable", f"cannot read {self.path} ({type(error).__name__}): starts over")
            return
        if fingerprint != self.fingerprint:
            warnings.add("checkpointForeign", f"{self.path} belongs to another manifest or other rows: starts over")
            return
        self.model.load_state_dict(state["model"])
        self.optimiser.state = state["optimiser"]
        self.at = Position(**state["position"])


def _set_up_torch(manifest: Manifest) -> torch.device:
    torch.manual_seed(manifest.seed)
    torch.set_num_threads(manifest.threads)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@torch.no_grad()
def _initial_model(manifest: Manifest, rows: Rows, warnings: Warnings, warm: bool) -> RankingModel:
    model = RankingModel(manifest.features, manifest.hyperparameters.hidden)
    mean, deviation = measure(torch.from_numpy(rows.dense), model.is_log1p)
    model.mean.copy_(mean)
    model.deviation.copy_(deviation)
    if warm:
        loaded = load_parent(model, read_checkpoint(manifest.warm_start), warnings)
        if manifest.hyperparameters.freeze_base:
            freeze_base(model, loaded)
    else:
        # Begin at the base rate: otherwise the first steps are spent on finding it.
        rate = min(max(float(rows.labels.mean(dtype=np.float64)), 1e-6), 1 - 1e-6)
        model.layers[-1].bias.fill_(math.log(rate / (1 - rate)))
    return model


def _order_of_epoch(count: int, seed: int, epoch: int) -> Tensor:
    """A permutation that depends on nothing but seed and epoch, so that a resumed run needs no generator state."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator)


def _fingerprint(manifest: Manifest, rows: Rows) -> str:
    """Says whether a checkpoint belongs to this training: everything that matters but the folders."""
    rates = asdict(manifest.hyperparameters)
    features = [asdict(feature) for feature in manifest.features]
    digest = hashlib.sha256(json.dumps([features, manifest.strategy, rates, manifest.seed]).encode())
    for array in (rows.ids, rows.dense, rows.labels):
        digest.update(np.ascontiguousarray(array))
    if manifest.warm_start is not None and manifest.strategy == "warmStart":
        digest.update(manifest.warm_start.read_bytes())
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


def _feature_statistics(model: RankingModel, rows: Rows) -> dict[str, dict]:
    """Per feature the share that was missing; of numbers also the mean and deviation the graph standardises with."""
    statistics = {}
    for column, feature in enumerate(model.categorical):
        statistics[feature.name] = {"missing": float((rows.ids[:, column] == 0).mean())}
    for column, feature in enumerate(model.numeric):
        statistics[feature.name] = {
            "missing": float(np.isnan(rows.dense[:, column]).mean()),
            "mean": model.mean[column].item(),
            "deviation": model.deviation[column].item(),
        }
    return statistics
