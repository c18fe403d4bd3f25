"""Small snapshots with a known truth: some users click more, some items are clicked more, and old items less."""

import copy
import json
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx.reference import ReferenceEvaluator

USERS, ITEMS = 40, 30
USER = {"kind": "categorical", "name": "user_id", "buckets": 1009, "dim": 4}
ITEM = {"kind": "categorical", "name": "item_id", "buckets": 101, "dim": 4}
AGE = {"kind": "numeric", "name": "age_ms", "transform": "log1p"}
LENGTH = {"kind": "numeric", "name": "length", "transform": "none"}


def columns(rows: int, seed: int = 0, age_scale: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, USERS, rows), rng.integers(0, ITEMS, rows)
    age = rng.exponential(3_600_000 * age_scale, rows)
    taste = np.where(users % 2 == 0, 1.2, -1.2) + np.where(items % 3 == 0, 1.0, -0.5)
    logit = taste - (np.log1p(age / age_scale) - 14.5)
    clicked = rng.random(rows) < 1 / (1 + np.exp(-logit))
    ids = np.random.default_rng(7).integers(-(2**62), 2**62, USERS + ITEMS)
    return {
        "user_id": ids[users],
        "item_id": ids[USERS + items],
        "age_ms": age.astype(np.float32),
        "length": rng.normal(200, 50, rows).astype(np.float32),
        "label": clicked.astype(np.int8),
    }


def write_parquet(path: Path, table: dict) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)
    return str(path)


class Workplace:
    """A folder with a manifest, its snapshot, and what the trainer leaves."""

    def __init__(self, folder: Path, table: dict | None = None, **changes) -> None:
        self.folder, self.output, self.work = folder, folder / "output", folder / "work"
        train = write_parquet(folder / "train.parquet", columns(1_000) if table is None else table)
        self.manifest = {
            "contractVersion": 1,
            "line": "test",
            "cycleId": "test-1",
            "snapshot": {"train": [train], "replay": [], "holdout": []},
            "features": [USER, ITEM, AGE],
            "label": "label",
            "strategy": "full",
            "hyperparameters": {
                "learningRate": 0.01,
                "warmFactor": 0.1,
                "weightDecay": 1e-4,
                "epochs": 4,
                "batchSize": 128,
                "hidden": [16, 8],
                "freezeBase": False,
            },
            "warmStart": None,
            "seed": 1,
            "threads": 1,
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

    def warm_from(self, parent: "Workplace") -> "Workplace":
        self.change(strategy="warmStart", warmStart={"checkpoint": str(parent.output / "checkpoint.pt")})
        return self

    def write(self) -> Path:
        path = self.folder / "manifest.json"
        path.write_text(json.dumps(self.manifest))
        return path

    @property
    def result(self) -> dict:
        return json.loads((self.output / "result.json").read_text())

    @property
    def warning_codes(self) -> list[str]:
        return [warning["code"] for warning in self.result["warnings"]]

    def bytes(self, name: str) -> bytes:
        return (self.output / name).read_bytes()

    def predict(self, table: dict) -> np.ndarray:
        """Score rows with the exported model, by ONNX's own reference implementation."""
        kinds = {"categorical": ("ids", np.int64), "numeric": ("dense", np.float32)}
        feeds = {}
        for kind, (feed, element) in kinds.items():
            names = [feature["name"] for feature in self.manifest["features"] if feature["kind"] == kind]
            if names:
                feeds[feed] = np.stack([np.asarray(table[name], dtype=element) for name in names], axis=1)
        model = onnx.load(self.output / "model.onnx")
        with np.errstate(all="ignore"):
            (probability,) = ReferenceEvaluator(model).run(["probability"], feeds)
        return probability


def log_loss(labels: np.ndarray, probability: np.ndarray) -> float:
    p = np.clip(probability.astype(np.float64), 1e-6, 1 - 1e-6)
    return float(-np.mean(np.where(labels == 1, np.log(p), np.log(1 - p))))
