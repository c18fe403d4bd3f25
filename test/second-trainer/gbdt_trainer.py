"""A trainer that shares no code with trainer/: gradient-boosted trees (XGBoost) to ONNX.

`python gbdt_trainer.py manifest.json` keeps docs/trainer-contract.md. An id becomes the smoothed click rate of its rows;
the trees split on these rates and on the numbers. A warm start counts the new rows on top of the parent's and goes on
boosting; a checkpoint is whole boosting rounds.
"""

import base64
import errno
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

CONTRACT_VERSION = 2
ROUNDS_PER_EPOCH = 10
FOLDS = 5
# Rows of the overall rate that every id is given on top of its own.
SMOOTHING = 10.0
PREDICTED_ROWS = 10_000
REPORT_EVERY_SECONDS = 0.25
PARAMETERS = {"objective": "binary:logistic", "eta": 0.1, "max_depth": 4, "max_bin": 64, "base_score": 0.5, "verbosity": 0}


class InputError(Exception):
    """The manifest or the data is at fault: exit code 2."""


class Stopped(Exception):
    """SIGTERM; a checkpoint was saved: exit code 143."""


def main(arguments: list[str]) -> int:
    stop_asked: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: stop_asked.append(True))
    try:
        if len(arguments) != 1:
            raise InputError("usage: python gbdt_trainer.py manifest.json")
        run(read_manifest(Path(arguments[0])), lambda: bool(stop_asked))
        return 0
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except Stopped as error:
        print(error, file=sys.stderr)
        return 143
    except OSError as error:
        print(error, file=sys.stderr)
        return 5 if error.errno == errno.ENOSPC else 1


def run(manifest: dict, stop) -> None:
    fresh = [read_table(path, manifest) for path in manifest["snapshot"]["train"]]
    if sum(table.num_rows for table in fresh) == 0:
        raise InputError("snapshot: no training rows; check the snapshot's window and label maturity")
    history = [read_table(path, manifest) for path in manifest["snapshot"]["replay"]]
    parent = read_parent(manifest)
    for name in ("workDir", "outputDir"):
        Path(manifest[name]).mkdir(parents=True, exist_ok=True)
    rows = pa.concat_tables([*fresh, *history])
    labels = rows[manifest["label"]].to_numpy().astype(np.float32)
    encodings = [
        Encoding(feature, rows[feature["name"]].to_numpy(), labels, parent)
        for feature in manifest["features"]
        if feature["kind"] == "categorical"
    ]
    epochs = epochs_of(manifest, parent)
    booster = boost(manifest, stop, out_of_fold_matrix(rows, manifest, encodings), labels, parent, epochs)
    # One pass over what is new, from the parent: an online update is an incremental one here.
    strategy = "full" if parent is None else manifest["strategy"].replace("online", "incremental")
    write_outputs(manifest, booster, encodings, pa.concat_tables(fresh), {"strategy": strategy, "examples": epochs * len(rows)})


def read_manifest(path: Path) -> dict:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"manifest: cannot read {path}: {error}") from error
    if manifest.get("contractVersion") != CONTRACT_VERSION:
        raise InputError(f"manifest: contractVersion must be {CONTRACT_VERSION}, got {manifest.get('contractVersion')}")
    return manifest


def read_table(path: str, manifest: dict) -> pa.Table:
    wanted = ["impression_id", manifest["label"], *(feature["name"] for feature in manifest["features"])]
    try:
        names = pq.read_schema(path).names
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"snapshot: cannot read {path} as Parquet: {error}") from error
    absent = [name for name in wanted if name not in names]
    if absent:
        raise InputError(f"snapshot: {path} has no column {', '.join(absent)}; it has {', '.join(names)}")
    table = pq.read_table(path, columns=wanted)
    if not all(label in (0, 1) for label in pc.unique(table[manifest["label"]]).to_pylist()):
        raise InputError(f'snapshot: {path}: column "{manifest["label"]}" must be 0 or 1 in every row')
    return table


# Ids to rates


class Encoding:
    """Of a categorical feature: rows and clicks by id, the parent's included, and the rate that each id stands for."""

    def __init__(self, feature: dict, ids: np.ndarray, labels: np.ndarray, parent: dict | None) -> None:
        self.name, self.column = feature["name"], ids
        known = (parent or {}).get("encodings", {}).get(self.name, {"ids": [], "rows": [], "clicks": []})
        old = np.array([int(text) for text in known["ids"]], dtype=np.int64)
        self.ids, where = np.unique(np.concatenate([ids, old]), return_inverse=True)
        self.inverse, old_places = where[: len(ids)], where[len(ids) :]
        # The rates that train come from the other folds' rows: a row's own label must not stand in its features.
        self.fold = np.arange(len(ids)) % FOLDS
        cell = self.inverse * FOLDS + self.fold
        shape = (len(self.ids), FOLDS)
        self.fold_rows = np.bincount(cell, minlength=shape[0] * FOLDS).reshape(shape)
        self.fold_clicks = np.bincount(cell, weights=labels, minlength=shape[0] * FOLDS).reshape(shape)
        self.rows, self.clicks = self.fold_rows.sum(axis=1).astype(float), self.fold_clicks.sum(axis=1)
        self.rows[old_places] += known["rows"]
        self.clicks[old_places] += known["clicks"]
        self.overall = float(self.clicks.sum() / self.rows.sum())
        # The most seen ids have an entry of their own; the rest stands for the overall rate.
        kept = np.lexsort((self.ids, -self.rows))[: feature["buckets"]]
        self.kept = np.zeros(len(self.ids), dtype=bool)
        self.kept[kept] = True
        self.rates = np.where(self.kept, self._smooth(self.clicks, self.rows), self.overall).astype(np.float32)

    def _smooth(self, clicks: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return (clicks + SMOOTHING * self.overall) / (rows + SMOOTHING)

    def out_of_fold(self) -> np.ndarray:
        rows = self.rows[self.inverse] - self.fold_rows[self.inverse, self.fold]
        clicks = self.clicks[self.inverse] - self.fold_clicks[self.inverse, self.fold]
        return np.where(self.kept[self.inverse], self._smooth(clicks, rows), self.overall).astype(np.float32)

    def lookup(self, ids: np.ndarray) -> np.ndarray:
        """What the graph's LabelEncoder says."""
        place = np.searchsorted(self.ids, ids).clip(max=len(self.ids) - 1)
        return np.where(self.ids[place] == ids, self.rates[place], np.float32(self.overall))

    def state(self) -> dict:
        return {"ids": [str(one) for one in self.ids], "rows": self.rows.tolist(), "clicks": self.clicks.tolist()}


def out_of_fold_matrix(rows: pa.Table, manifest: dict, encodings: list[Encoding]) -> np.ndarray:
    return np.column_stack([*(encoding.out_of_fold() for encoding in encodings), *dense_columns(rows, manifest)])


def served_matrix(rows: pa.Table, manifest: dict, encodings: list[Encoding]) -> np.ndarray:
    rates = (encoding.lookup(rows[encoding.name].to_numpy()) for encoding in encodings)
    return np.column_stack([*rates, *dense_columns(rows, manifest)])


def dense_columns(rows: pa.Table, manifest: dict) -> list[np.ndarray]:
    names = [feature["name"] for feature in manifest["features"] if feature["kind"] == "numeric"]
    return [pc.fill_null(rows[name].cast(pa.float32()), np.nan).to_numpy() for name in names]


# Boosting


def epochs_of(manifest: dict, parent: dict | None) -> int:
    epochs = manifest["hyperparameters"]["epochs"]
    if parent is None:
        return epochs
    return max(1, epochs // 4) if manifest["strategy"] == "warmStart" else 1


def boost(manifest: dict, stop, matrix: np.ndarray, labels: np.ndarray, parent: dict | None, epochs: int):
    """The booster after all rounds, the parent's trees included."""
    import xgboost

    data = xgboost.DMatrix(matrix, label=labels, nthread=manifest["threads"])
    settings = {**PARAMETERS, "nthread": manifest["threads"], "seed": manifest["seed"] % 2**31}
    saved = Path(manifest["workDir"]) / "checkpoint.json"
    digest = fingerprint(manifest, matrix, labels, parent)
    trees, done = read_progress(saved, digest)
    if trees is None and parent is not None:
        trees = base64.b64decode(parent["trees"])
    booster = xgboost.Booster(settings, cache=[data], model_file=None if trees is None else bytearray(trees))
    began = reported = kept = time.monotonic()
    rounds, start = epochs * ROUNDS_PER_EPOCH, done
    for done in range(done + 1, rounds + 1):
        booster.update(data, done)
        now = time.monotonic()
        if now - reported >= REPORT_EVERY_SECONDS or done == rounds:
            report(done, epochs, (done - start) / max(now - began, 1e-9), len(labels), log_loss(booster.predict(data), labels))
            reported = now
        if stop() or now - kept >= manifest["checkpointEverySeconds"]:
            save_progress(saved, digest, booster, done)
            kept = now
        if stop():
            raise Stopped(f"stopped after round {done} of {rounds}; saved {saved}")
    return booster


def report(done: int, epochs: int, rounds_per_second: float, rows: int, loss: float) -> None:
    emit(
        "progress",
        epoch=(done - 1) // ROUNDS_PER_EPOCH + 1,
        epochs=epochs,
        step=(done - 1) % ROUNDS_PER_EPOCH + 1,
        steps=ROUNDS_PER_EPOCH,
        samplesPerSecond=round(rounds_per_second * rows / ROUNDS_PER_EPOCH),
        loss=loss,
        etaSeconds=round((epochs * ROUNDS_PER_EPOCH - done) / rounds_per_second, 1),
    )


def emit(kind: str, **fields) -> None:
    print(json.dumps({"type": kind, **fields}), flush=True)


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    clipped = probabilities.astype(float).clip(1e-6, 1 - 1e-6)
    return float(-np.mean(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)))


# Checkpoints


def read_parent(manifest: dict) -> dict | None:
    if manifest["strategy"] == "full" or manifest["warmStart"] is None:
        return None
    path = manifest["warmStart"]["checkpoint"]
    try:
        parent = json.loads(Path(path).read_bytes())
        features = parent["gbdt"]["features"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"warmStart: {path} is no checkpoint of this trainer: {error}; train with strategy full") from error
    if features == feature_names(manifest):
        return parent["gbdt"]
    emit("warning", code="featuresChanged", message=f"the trees of {path} split on {', '.join(features)}: trains in full")
    return None


def feature_names(manifest: dict) -> list[str]:
    return [feature["name"] for kind in ("categorical", "numeric") for feature in manifest["features"] if feature["kind"] == kind]


def read_progress(path: Path, digest: str) -> tuple[bytes | None, int]:
    """Trees and finished rounds of an earlier try of the same training, else (None, 0)."""
    try:
        state = json.loads(path.read_bytes())
        if state["fingerprint"] == digest:
            return base64.b64decode(state["trees"]), state["rounds"]
        emit("warning", code="checkpointForeign", message=f"{path} belongs to another training: starts over")
    except FileNotFoundError:
        pass
    except (ValueError, LookupError, TypeError) as error:
        emit("warning", code="checkpointUnreadable", message=f"cannot read {path} ({error}): starts over")
    return None, 0


def save_progress(path: Path, digest: str, booster, done: int) -> None:
    state = {"fingerprint": digest, "rounds": done, "trees": base64.b64encode(booster.save_raw("ubj")).decode()}
    write_whole(path, json.dumps(state).encode())
    emit("checkpoint", path=str(path), epoch=(done - 1) // ROUNDS_PER_EPOCH + 1, step=(done - 1) % ROUNDS_PER_EPOCH + 1)


def fingerprint(manifest: dict, matrix: np.ndarray, labels: np.ndarray, parent: dict | None) -> str:
    matters = [manifest["features"], manifest["strategy"], manifest["hyperparameters"], manifest["seed"], parent]
    digest = hashlib.sha256(json.dumps(matters).encode())
    digest.update(np.ascontiguousarray(matrix))
    digest.update(labels)
    return digest.hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Appears under its name only when it is whole."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)


# Outputs


def write_outputs(manifest: dict, booster, encodings: list[Encoding], fresh: pa.Table, told: dict) -> None:
    import xgboost

    folder = Path(manifest["outputDir"])
    chosen = np.linspace(0, len(fresh) - 1, min(len(fresh), PREDICTED_ROWS)).astype(np.int64)
    sample = fresh.take(chosen)
    probabilities = booster.predict(xgboost.DMatrix(served_matrix(sample, manifest, encodings)))
    table = pa.table({"impression_id": sample["impression_id"], "probability": pa.array(probabilities, pa.float32())})
    pq.write_table(table, folder / "predictions.parquet")
    write_whole(folder / "model.onnx", onnx_model(manifest, booster, encodings))
    checkpoint = {
        "features": feature_names(manifest),
        "encodings": {encoding.name: encoding.state() for encoding in encodings},
        "trees": base64.b64encode(booster.save_raw("ubj")).decode(),
    }
    write_whole(folder / "checkpoint.pt", json.dumps({"gbdt": checkpoint}).encode())
    loss = log_loss(probabilities, sample[manifest["label"]].to_numpy())
    result = {
        "contractVersion": CONTRACT_VERSION,
        "metrics": {"trainLogLoss": loss, "trees": booster.num_boosted_rounds()},
        "environment": {"trainer": "gbdt", "xgboost": xgboost.__version__, "numpy": np.__version__},
        **told,
    }
    write_whole(folder / "result.json", json.dumps(result, indent=2).encode())
    emit("metric", name="trainLogLoss", value=loss)


def onnx_model(manifest: dict, booster, encodings: list[Encoding]) -> bytes:
    """The graph: each column of ids through a LabelEncoder, then all columns through the trees, then a sigmoid."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, inputs, columns = [], [], [], []
    dense = sum(feature["kind"] == "numeric" for feature in manifest["features"])
    if encodings:
        inputs.append(helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", len(encodings)]))
    for column, encoding in enumerate(encodings):
        constants.append(numpy_helper.from_array(np.array([column], dtype=np.int64), f"column{column}"))
        nodes.append(helper.make_node("Gather", ["ids", f"column{column}"], [f"id{column}"], axis=1))
        keys, values = encoding.ids[encoding.kept].tolist(), encoding.rates[encoding.kept].tolist()
        table = {"keys_int64s": keys, "values_floats": values, "default_float": encoding.overall}
        nodes.append(helper.make_node("LabelEncoder", [f"id{column}"], [f"rate{column}"], domain="ai.onnx.ml", **table))
        columns.append(f"rate{column}")
    if dense:
        inputs.append(helper.make_tensor_value_info("dense", TensorProto.FLOAT, ["N", dense]))
        columns.append("dense")
    nodes.append(helper.make_node("Concat", columns, ["x"], axis=1))
    nodes.append(helper.make_node("TreeEnsembleRegressor", ["x"], ["margin"], domain="ai.onnx.ml", **tree_nodes(booster)))
    constants.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "last"))
    nodes.append(helper.make_node("Squeeze", ["margin", "last"], ["logit"]))
    nodes.append(helper.make_node("Sigmoid", ["logit"], ["probability"]))
    output = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N"])
    graph = helper.make_graph(nodes, "gbdt", inputs, [output], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def tree_nodes(booster) -> dict:
    """XGBoost's trees as the attributes of a TreeEnsembleRegressor. Both compare 32-bit floats, `x < threshold` goes left."""
    learner = json.loads(booster.save_raw("json"))["learner"]
    flat = {name: [] for name in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")}
    missing_left, leaves = [], {"treeids": [], "nodeids": [], "weights": []}
    for number, tree in enumerate(learner["gradient_booster"]["model"]["trees"]):
        count = len(tree["left_children"])
        is_leaf = [child == -1 for child in tree["left_children"]]
        flat["treeids"] += [number] * count
        flat["nodeids"] += range(count)
        flat["featureids"] += tree["split_indices"]
        flat["modes"] += ["LEAF" if leaf else "BRANCH_LT" for leaf in is_leaf]
        flat["values"] += tree["split_conditions"]
        flat["truenodeids"] += [max(0, child) for child in tree["left_children"]]
        flat["falsenodeids"] += [max(0, child) for child in tree["right_children"]]
        missing_left += tree["default_left"]
        for node in np.flatnonzero(is_leaf).tolist():
            leaves["treeids"].append(number)
            leaves["nodeids"].append(node)
            leaves["weights"].append(tree["split_conditions"][node])
    return {
        **{f"nodes_{name}": values for name, values in flat.items()},
        "nodes_missing_value_tracks_true": missing_left,
        **{f"target_{name}": values for name, values in leaves.items()},
        "target_ids": [0] * len(leaves["nodeids"]),
        "n_targets": 1,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
