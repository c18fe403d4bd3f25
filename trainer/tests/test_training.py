"""Cold training: it learns, it repeats itself to the byte, it can be stopped anywhere, and it says what went wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import AGE, LENGTH, USER, Workplace, columns, log_loss, write_parquet

from freshet_trainer.__main__ import main, run
from freshet_trainer.errors import Stopped
from freshet_trainer.manifest import read_manifest


def train(place: Workplace) -> Workplace:
    assert main([str(place.write())]) == 0
    return place


def stop_after(steps: int):
    """What SIGTERM sets, true after so many steps."""
    seen = []
    return lambda: seen.append(True) or len(seen) >= steps


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Workplace:
    return train(Workplace(tmp_path_factory.mktemp("trained")))


def test_it_learns_what_can_be_known(tmp_path):
    table = columns(4_000)
    place = train(Workplace(tmp_path, table, hyperparameters={"epochs": 8}))
    unseen = columns(2_000, seed=5)
    base_rate = np.full(2_000, table["label"].mean())
    assert log_loss(unseen["label"], place.predict(unseen)) < log_loss(unseen["label"], base_rate) - 0.1


def test_it_leaves_the_three_outputs_and_tells_its_progress(tmp_path, capsys):
    place = train(Workplace(tmp_path))
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    last = [event for event in events if event["type"] == "progress"][-1]
    assert (last["epoch"], last["epochs"], last["step"], last["steps"], last["etaSeconds"]) == (4, 4, 8, 8, 0.0)
    assert last["samplesPerSecond"] > 0
    assert sorted(path.name for path in place.output.iterdir()) == ["checkpoint.pt", "model.onnx", "result.json"]
    result = place.result
    assert (result["contractVersion"], result["epochs"], result["samples"]) == (1, 4, 1_000)
    assert result["strategy"] == "full" and result["warnings"] == []
    assert 0 < result["metrics"]["trainLogLoss"] < 0.7
    assert last["loss"] == result["metrics"]["trainLogLoss"]
    assert result["environment"].keys() >= {"python", "torch", "device", "threads"}


def test_the_same_manifest_gives_the_same_bytes_in_any_folder(tmp_path, trained):
    again = train(Workplace(tmp_path / "elsewhere"))
    assert again.bytes("model.onnx") == trained.bytes("model.onnx")
    assert again.bytes("checkpoint.pt") == trained.bytes("checkpoint.pt")


def test_another_seed_gives_another_model(tmp_path, trained):
    assert train(Workplace(tmp_path, seed=2)).bytes("model.onnx") != trained.bytes("model.onnx")


@pytest.mark.parametrize("steps", [1, 8, 11, 32], ids=["first", "end of an epoch", "middle", "very last"])
def test_stopped_and_resumed_gives_the_same_bytes(tmp_path, trained, steps):
    place = Workplace(tmp_path)
    with pytest.raises(Stopped, match="saved"):
        run(read_manifest(place.write()), stop_after(steps))
    assert not (place.output / "model.onnx").exists()
    train(place)
    assert place.bytes("model.onnx") == trained.bytes("model.onnx")
    assert place.result["metrics"] == trained.result["metrics"]


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path, trained, capsys):
    class Killed(Exception):
        pass

    def die_at_20(steps=[]):
        steps.append(True)
        if len(steps) == 20:
            raise Killed

    place = Workplace(tmp_path, checkpointEverySeconds=0)
    with pytest.raises(Killed):
        run(read_manifest(place.write()), die_at_20)
    capsys.readouterr()
    train(place)
    saved = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"checkpoint"' in line]
    assert (saved[0]["epoch"], saved[0]["step"]) == (2, 4)
    assert place.bytes("model.onnx") == trained.bytes("model.onnx")


def test_sigterm_saves_a_checkpoint_and_the_next_process_finishes_the_same_model(tmp_path, trained):
    place = Workplace(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "freshet_trainer", str(place.write())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    # The rows are read, PyTorch is not yet imported: the first step is still seconds away.
    assert json.loads(process.stdout.readline())["name"] == "trainingRows"
    process.send_signal(signal.SIGTERM)
    output, reason = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "stopped in epoch 1 of 4" in reason.strip().splitlines()[-1]
    assert json.loads(output.splitlines()[-1])["path"] == str(place.work / "checkpoint.pt")
    assert list(place.output.iterdir()) == []
    train(place)
    assert place.bytes("model.onnx") == trained.bytes("model.onnx")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda place: place.change(seed=3), "checkpointForeign"),
        (lambda place: write_parquet(place.folder / "train.parquet", columns(1_000, seed=9)), "checkpointForeign"),
        (lambda place: (place.work / "checkpoint.pt").write_bytes(b"torn"), "checkpointUnreadable"),
    ],
    ids=["other seed", "other rows", "torn file"],
)
def test_a_checkpoint_of_something_else_is_not_resumed(tmp_path, spoil, code):
    place = Workplace(tmp_path)
    with pytest.raises(Stopped):
        run(read_manifest(place.write()), stop_after(11))
    spoil(place)
    train(place)
    assert place.warning_codes == [code]


def test_a_loss_that_is_not_a_number_ends_with_3_and_leaves_no_model(tmp_path, capsys):
    place = Workplace(tmp_path, hyperparameters={"learningRate": 1e30})
    assert main([str(place.write())]) == 3
    assert "lower hyperparameters.learningRate" in capsys.readouterr().err.strip().splitlines()[-1]
    assert list(place.output.iterdir()) == []


def test_weights_that_break_in_the_very_last_step_end_with_3(tmp_path, capsys):
    changes = {"learningRate": 1e300, "epochs": 1, "batchSize": 1_000}
    assert main([str(Workplace(tmp_path, hyperparameters=changes).write())]) == 3
    assert "not finite after training" in capsys.readouterr().err.strip().splitlines()[-1]


def test_replayed_rows_are_trained_on_too(tmp_path, trained):
    place = Workplace(tmp_path)
    place.change(snapshot={"replay": [write_parquet(tmp_path / "replay.parquet", columns(80, seed=4))]})
    assert train(place).result["samples"] == 1_080
    assert place.bytes("model.onnx") != trained.bytes("model.onnx")


def test_weight_decay_shrinks_only_the_rows_that_were_seen(tmp_path):
    from freshet_trainer.warm_start import read_checkpoint

    def table(name: str, decay: float):
        place = train(Workplace(tmp_path / name, hyperparameters={"weightDecay": decay}))
        return read_checkpoint(place.output / "checkpoint.pt").weights["tables.feature_user_id.weight"]

    free, decayed = table("free", 0.0), table("decayed", 10.0)
    assert decayed.norm() < 0.7 * free.norm()
    assert int((free.abs().sum(dim=1) > 0).sum()) <= 40


def test_one_class_only_still_trains(tmp_path):
    table = columns(300)
    place = train(Workplace(tmp_path, {**table, "label": np.zeros(300, dtype=np.int8)}))
    assert place.predict(table).max() < 0.01


@pytest.mark.parametrize("features", [[USER], [AGE, LENGTH]], ids=["ids only", "numbers only"])
def test_one_kind_of_feature_is_enough(tmp_path, features):
    place = train(Workplace(tmp_path, features=features))
    assert place.predict(columns(7)).shape == (7,)


@pytest.mark.parametrize("name", ["type", "items", "keys", "training"])
def test_any_column_name_can_be_a_feature(tmp_path, name):
    table = columns(200)
    train(Workplace(tmp_path, {**table, name: table["user_id"]}, features=[{**USER, "name": name}]))
