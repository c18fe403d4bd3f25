"""Training in full: it learns, it repeats itself to the byte, and it can be stopped anywhere."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import (
    AGE,
    ITEM,
    LENGTH,
    USER,
    Workplace,
    auc,
    columns,
    killed,
    log_loss,
    rows_of,
    settings_of,
    stopped,
    write_parquet,
)

from freshet_trainer.errors import InputError
from freshet_trainer.events import Warnings
from freshet_trainer.strategies import prepare
from freshet_trainer.train import dormant_units, learn


def trainable(folder: Path, kind: str, parent: Workplace) -> Workplace:
    """A training of each kind, short but with more than one step and save."""
    if kind == "full":
        return Workplace(folder)
    if kind == "tuned":
        hyperparameters = {"tune": True, "batchSize": 512, "epochs": 2}
        return Workplace(folder, columns(2_000), hyperparameters=hyperparameters)
    hyperparameters = {"epochs": 8, "batchSize": 64, "repair": {"shrink": 0.9, "perturb": 0.1}}
    place = Workplace(folder, columns(600, seed=1), hyperparameters=hyperparameters)
    place.change(snapshot={"replay": [write_parquet(folder / "replay.parquet", columns(300, seed=4))]})
    return place.start_from(parent, kind)


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("parent")).train()


@pytest.fixture(scope="module")
def straight(tmp_path_factory, parent):
    """What a training of each kind leaves when nothing disturbs it."""
    done: dict[str, Workplace] = {}

    def train(kind: str) -> Workplace:
        if kind not in done:
            done[kind] = trainable(tmp_path_factory.mktemp(kind), kind, parent).train()
        return done[kind]

    return train


def test_it_learns_what_can_be_known():
    table, unseen = columns(4_000), columns(2_000, seed=5)
    probability = learn(settings_of(), rows_of(table)).predict(rows_of(unseen))
    base_rate = np.full(2_000, table["label"].mean())
    assert log_loss(unseen["label"], probability) < log_loss(unseen["label"], base_rate) - 0.1
    assert auc(unseen["label"], probability) > 0.75
    assert probability.mean() == pytest.approx(unseen["label"].mean(), abs=0.03)


@pytest.mark.parametrize("hidden", [(), (8,), (8, 8, 8)])
def test_any_number_of_layers_will_do(hidden):
    learned = learn(settings_of(hidden=hidden, epochs=1), rows_of(columns(500)))
    assert 0 <= learned.result["metrics"]["dormantUnits"] <= 1
    assert learned.result["metrics"]["trainLogLoss"] < 0.7


@pytest.mark.parametrize("features", [[USER], [AGE, LENGTH], [LENGTH, USER, AGE, {**ITEM, "dim": 7}]])
def test_any_kinds_of_features_will_do(features):
    table = columns(500)
    learned = learn(settings_of(features, epochs=1), rows_of(table, features))
    assert learned.predict(rows_of(table, features)).shape == (500,)


@pytest.mark.parametrize("name", ["type", "items", "keys", "training", "user id/ä"])
def test_any_column_name_can_be_a_feature(tmp_path, name):
    table = columns(200)
    Workplace(tmp_path, {**table, name: table["user_id"]}, features=[{**USER, "name": name}]).train()


@pytest.mark.parametrize("clicked", [0, 1])
def test_one_class_only_still_trains(clicked):
    table = {**columns(300), "label": np.full(300, clicked, dtype=np.int8)}
    assert np.abs(learn(settings_of(), rows_of(table)).predict(rows_of(table)) - clicked).max() < 0.01


def test_one_row_is_enough():
    learned = learn(settings_of(), rows_of(columns(1)))
    assert learned.result["examples"] == 4 and np.isfinite(learned.predict(rows_of(columns(9)))).all()


def test_units_that_say_nothing_are_dormant():
    prepared = prepare(settings_of(hidden=(16, 8)), rows_of(columns(500)), None, Warnings(silent=True))
    alive = dormant_units(prepared)
    with torch.no_grad():
        prepared.learner.model.layers[0].bias[:12] = -1e6
    assert alive < 0.5 <= 12 / 24 <= dormant_units(prepared)


def test_the_weights_of_rows_nobody_saw_stay_at_zero():
    learned = learn(settings_of(admit_after=1), rows_of(columns(1_000)))
    rare = learned.checkpoint.tensors["embedding_4"][[0, 1]]
    assert (rare == 0).all(), "neither a missing nor a rare user was in the rows"


def test_another_seed_gives_another_model(tmp_path, straight):
    assert Workplace(tmp_path, seed=2).train().bytes("model.onnx") != straight("full").bytes("model.onnx")


@pytest.mark.parametrize("kind", ["full", "tuned", "warmStart", "incremental", "online"])
def test_the_same_manifest_gives_the_same_bytes_in_any_folder(tmp_path, parent, straight, kind):
    again = trainable(tmp_path / "elsewhere", kind, parent).train()
    for name in ("model.onnx", "checkpoint.pt", "predictions.parquet"):
        assert again.bytes(name) == straight(kind).bytes(name), name


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        *(("full", steps) for steps in (1, 8, 11, 32)),
        *(("tuned", steps) for steps in (1, 4, 30)),
        *(("warmStart", steps) for steps in (1, 15, 30)),
        *(("incremental", steps) for steps in (1, 9, 15)),
        *(("online", steps) for steps in (1, 9, 15)),
    ],
)
def test_stopped_and_resumed_gives_the_same_bytes(tmp_path, parent, straight, kind, steps):
    place = trainable(tmp_path, kind, parent)
    stopped(place, steps)
    assert place.outputs == []
    place.train()
    for name in ("model.onnx", "checkpoint.pt"):
        assert place.bytes(name) == straight(kind).bytes(name), name
    assert place.result["metrics"]["trainLogLoss"] == straight(kind).result["metrics"]["trainLogLoss"]
    assert place.result["examples"] == straight(kind).result["examples"]
    assert place.warning_codes == straight(kind).warning_codes


def test_stopped_at_every_third_step_gives_the_same_bytes(tmp_path, straight):
    place = Workplace(tmp_path)
    for _ in range(10):
        stopped(place, 3)
    assert place.train().bytes("model.onnx") == straight("full").bytes("model.onnx")


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path, straight, capsys):
    place = Workplace(tmp_path, checkpointEverySeconds=0)
    killed(place, 20)
    capsys.readouterr()
    place.train()
    saved = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"checkpoint"' in line]
    # Eight steps an epoch. The 20th step was not saved: it is the first again.
    assert (saved[0]["epoch"], saved[0]["step"]) == (3, 4)
    assert place.bytes("model.onnx") == straight("full").bytes("model.onnx")


def test_time_is_counted_over_all_tries(tmp_path, monkeypatch):
    clock = iter(range(0, 10**9, 10))
    monkeypatch.setattr("freshet_trainer.train.time.monotonic", lambda: next(clock))
    place = Workplace(tmp_path)
    stopped(place, 30)
    first = torch.load(place.work / "checkpoint.pt", weights_only=True)["position"]["seconds"]
    assert place.train().result["metrics"]["seconds"] > first > 100


def test_sigterm_saves_a_checkpoint_and_the_next_process_finishes_the_same_model(tmp_path, straight):
    place = Workplace(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "freshet_trainer", str(place.write())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    # Said before the first step, and the signal is looked at after each.
    assert json.loads(process.stdout.readline())["name"] == "trainingRows"
    process.send_signal(signal.SIGTERM)
    output, reason = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "the state is saved" in reason.strip().splitlines()[-1]
    assert json.loads(output.splitlines()[-1])["path"] == str(place.work / "checkpoint.pt")
    assert place.outputs == []
    assert place.train().bytes("model.onnx") == straight("full").bytes("model.onnx")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda place: place.change(seed=3), "checkpointForeign"),
        (lambda place: place.change(hyperparameters={"decay": 0.5}), "checkpointForeign"),
        (lambda place: write_parquet(place.folder / "train.parquet", columns(1_000, seed=9)), "checkpointForeign"),
        (lambda place: torch.save({"some": "state"}, place.work / "checkpoint.pt"), "checkpointForeign"),
        (lambda place: torch.save([1, 2], place.work / "checkpoint.pt"), "checkpointUnreadable"),
        (lambda place: (place.work / "checkpoint.pt").write_bytes(b"torn"), "checkpointUnreadable"),
        (lambda place: (place.work / "checkpoint.pt").write_bytes(b""), "checkpointUnreadable"),
        (lambda place: halve(place.work / "checkpoint.pt"), "checkpointUnreadable"),
    ],
    ids=["other seed", "other rates", "other rows", "other trainer", "no state", "garbage", "empty", "torn"],
)
def test_a_checkpoint_of_something_else_is_not_resumed(tmp_path, spoil, code):
    place = Workplace(tmp_path)
    stopped(place, 11)
    spoil(place)
    assert place.train().warning_codes == [code]
    fresh = Workplace(tmp_path / "fresh")
    fresh.manifest |= {name: place.manifest[name] for name in ("seed", "hyperparameters", "snapshot")}
    assert place.bytes("model.onnx") == fresh.train().bytes("model.onnx")


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_replayed_rows_are_trained_on_too(tmp_path, straight):
    place = Workplace(tmp_path)
    place.change(snapshot={"replay": [write_parquet(tmp_path / "replay.parquet", columns(80, seed=4))]})
    assert place.train().result["examples"] == 4 * 1_080
    assert place.bytes("model.onnx") != straight("full").bytes("model.onnx")


def test_weight_decay_shrinks():
    def norm(decay: float) -> float:
        return learn(settings_of(weight_decay=decay), rows_of(columns(1_000))).checkpoint.tensors["embedding_4"].norm()

    assert norm(10.0) < 0.7 * norm(0.0)


def test_no_row_to_train_on_is_an_error_in_the_library_too():
    rows = rows_of({**columns(20), "label": np.zeros(20)})
    with pytest.raises(InputError, match="no row is left"):
        learn(settings_of(negative_share=1e-9), rows)
