"""Small snapshots with a known truth: some users click more, some items are clicked more, and old items less."""

import copy
import json
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx.reference import ReferenceEvaluator

from freshet_trainer.__main__ import main
from freshet_trainer.checkpoint import Checkpoint, read_checkpoint
from freshet_trainer.dataset import Rows
from freshet_trainer.errors import Stopped
from freshet_trainer.job import run
from freshet_trainer.manifest import Categorical, Feature, Hyperparameters, Numeric, Settings, read_manifest

USERS, ITEMS = 40, 30
USER = {"kind": "categorical", "name": "user_id", "buckets": 1009, "dim": 4}
ITEM = {"kind": "categorical", "name": "item_id", "buckets": 101, "dim": 4}
AGE = {"kind": "numeric", "name": "age_ms", "transform": "log1p"}
LENGTH = {"kind": "numeric", "name": "length", "transform": "none"}
START_MS, MINUTE_MS = 1_767_225_600_000, 60_000
# The ids of users, then of items.
IDS = np.random.default_rng(7).integers(-(2**62), 2**62, USERS + ITEMS)
NEVER_SEEN = 1009 * 10**12 + 1008


def columns(rows: int, seed: int = 0, age_scale: float = 1.0) -> dict[str, np.ndarray]:
    """A row a minute. The position says nothing about the label."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, USERS, rows), rng.integers(0, ITEMS, rows)
    age = rng.exponential(3_600_000 * age_scale, rows)
    taste = np.where(users % 2 == 0, 1.2, -1.2) + np.where(items % 3 == 0, 1.0, -0.5)
    logit = taste - (np.log1p(age / age_scale) - 14.5)
    clicked = rng.random(rows) < 1 / (1 + np.exp(-logit))
    return {
        "impression_id": np.array([f"{seed}-{row}" for row in range(rows)]),
        "event_time_ms": START_MS + MINUTE_MS * np.arange(rows),
        "position": (np.arange(rows) % 10).astype(np.int32),
        "user_id": IDS[users],
        "item_id": IDS[USERS + items],
        "age_ms": age.astype(np.float32),
        "length": rng.normal(200, 50, rows).astype(np.float32),
        "label": clicked.astype(np.int8),
    }


def feature(declared: dict) -> Feature:
    """A manifest's feature as the trainer reads it."""
    fields = {name: value for name, value in declared.items() if name != "kind"}
    return Categorical(**fields) if declared["kind"] == "categorical" else Numeric(**fields)


def settings_of(features=(USER, ITEM, AGE), strategy: str = "full", seed: int = 1, **hyperparameters) -> Settings:
    small = {"learning_rate": 0.01, "epochs": 4, "batch_size": 128, "hidden": (16, 8), "tune": False}
    given = Hyperparameters(**{**small, **hyperparameters})
    return Settings(tuple(map(feature, features)), strategy, given, seed)


def rows_of(table: dict, features=(USER, ITEM, AGE), fresh: bool = True) -> Rows:
    def stack(kind: str, element: type) -> np.ndarray:
        chosen = [np.asarray(table[declared["name"]], element) for declared in features if declared["kind"] == kind]
        return np.stack(chosen, axis=1) if chosen else np.empty((len(table["label"]), 0), element)

    return Rows(
        ids=stack("categorical", np.int64),
        dense=stack("numeric", np.float32),
        labels=table["label"].astype(np.float32),
        time_ms=table["event_time_ms"],
        position=table["position"],
        fresh=np.full(len(table["label"]), fresh),
    )


def joined(*parts: Rows) -> Rows:
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in Rows.__dataclass_fields__))


def write_parquet(path: Path, table: dict) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)
    return str(path)


class Workplace:
    """A folder with a manifest, its snapshot, and what the trainer leaves."""

    # Fields without which there is nothing to run.
    NEEDED = ("contractVersion", "line", "cycleId", "features", "label", "strategy", "seed", "threads", "outputDir")

    def __init__(self, folder: Path, table: dict | None = None, **changes) -> None:
        self.folder, self.output, self.work = folder, folder / "output", folder / "work"
        train = write_parquet(folder / "train.parquet", columns(1_000) if table is None else table)
        self.manifest = {
            "contractVersion": 2,
            "line": "test",
            "cycleId": "test-1",
            "snapshot": {"train": [train], "replay": [], "holdout": []},
            "cutoffMs": START_MS,
            "features": [USER, ITEM, AGE],
            "label": "label",
            "strategy": "full",
            "hyperparameters": {
                "learningRate": 0.01,
                "wideLearningRate": 0.1,
                "warmFactor": 0.1,
                "weightDecay": 1e-4,
                "epochs": 4,
                "batchSize": 128,
                "hidden": [16, 8],
                "freezeBase": False,
                "tune": False,
                "rates": None,
                "warmup": 0.05,
                "decay": 1,
                "admitAfter": 2,
                "expireAfterMs": 2_592_000_000,
                "negativeShare": 1,
                "recencyHalfLifeMs": None,
                "positions": 0,
                "distillation": 0,
                "repair": None,
            },
            "warmStart": None,
            "seed": 1,
            "threads": 1,
            "devices": 0,
            "checkpointEverySeconds": 60,
            "workDir": str(self.work),
            "outputDir": str(self.output),
        }
        self.change(**changes)

    def change(self, **changes) -> None:
        """`hyperparameters` and `snapshot` are merged, other fields replaced."""
        for name, value in copy.deepcopy(changes).items():
            if name in ("hyperparameters", "snapshot"):
                self.manifest[name].update(value)
            else:
                self.manifest[name] = value

    def start_from(self, parent: "Workplace", strategy: str = "warmStart") -> "Workplace":
        self.change(strategy=strategy, warmStart={"checkpoint": str(parent.output / "checkpoint.pt")})
        return self

    def write(self) -> Path:
        path = self.folder / "manifest.json"
        path.write_text(json.dumps(self.manifest))
        return path

    def train(self) -> "Workplace":
        """Run the trainer in this process, to the end."""
        assert main([str(self.write())]) == 0
        return self

    @property
    def outputs(self) -> list[str]:
        return sorted(path.name for path in self.output.iterdir())

    @property
    def result(self) -> dict:
        def refuse(constant: str):
            raise ValueError(f"result.json holds {constant}, which is no JSON")

        return json.loads((self.output / "result.json").read_text(), parse_constant=refuse)

    @property
    def checkpoint(self) -> Checkpoint:
        return read_checkpoint(self.output / "checkpoint.pt")

    @property
    def warning_codes(self) -> list[str]:
        return [warning["code"] for warning in self.result["warnings"]]

    def bytes(self, name: str) -> bytes:
        return (self.output / name).read_bytes()

    def predict(self, table: dict) -> np.ndarray:
        """Score rows with the exported model."""
        return run_graph(self.output / "model.onnx", table, self.manifest["features"])


class Killed(Exception):
    """What happens to a process that can do nothing about it."""


def stopped(place: Workplace, steps: int) -> None:
    """Train, and be asked to leave after so many steps, as by SIGTERM."""
    asked = []
    with pytest.raises(Stopped, match="saved"):
        _run(place, lambda: asked.append(True) or len(asked) >= steps)


def killed(place: Workplace, steps: int) -> None:
    """Train, and be ended after so many steps, as by SIGKILL."""
    asked = []

    def die() -> bool:
        asked.append(True)
        if len(asked) >= steps:
            raise Killed
        return False

    with pytest.raises(Killed):
        _run(place, die)


def _run(place: Workplace, stop) -> None:
    for folder in (place.work, place.output):
        folder.mkdir(parents=True, exist_ok=True)
    run(read_manifest(place.write()), stop)


def run_graph(model: Path, table: dict, features) -> np.ndarray:
    """Probabilities by ONNX's own reference implementation."""
    kinds = {"categorical": ("ids", np.int64), "numeric": ("dense", np.float32)}
    feeds = {}
    for kind, (feed, element) in kinds.items():
        names = [declared["name"] for declared in features if declared["kind"] == kind]
        if names:
            feeds[feed] = np.stack([np.asarray(table[name], dtype=element) for name in names], axis=1)
    with np.errstate(all="ignore"):
        (probability,) = ReferenceEvaluator(onnx.load(model)).run(["probability"], feeds)
    return probability


def log_loss(labels: np.ndarray, probability: np.ndarray) -> float:
    p = np.clip(probability.astype(np.float64), 1e-6, 1 - 1e-6)
    return float(-np.mean(np.where(labels == 1, np.log(p), np.log(1 - p))))


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The share of pairs of a positive and a negative row that the scores put right; ties count half."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    positives = int((labels == 1).sum())
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives)))
