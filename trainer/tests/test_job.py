"""The job around the training: outputs whole or not at all, events on the way, and what ends it early."""

import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from synthetic import AGE, ITEM, USER, Workplace, columns, stopped, write_parquet

from freshet_trainer.__main__ import main
from freshet_trainer.learner import Learner
from freshet_trainer.optimiser import DenseAdamW

OUTPUTS = ["checkpoint.pt", "model.onnx", "predictions.parquet", "result.json"]


def events(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def reason(capsys) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def predictions(place: Workplace) -> tuple[list[str], np.ndarray]:
    table = pq.read_table(place.output / "predictions.parquet")
    assert [str(kind) for kind in table.schema.types] == ["string", "float"]
    return table["impression_id"].to_pylist(), table["probability"].to_numpy()


def test_it_leaves_the_four_outputs_and_tells_its_progress(tmp_path, capsys):
    place = Workplace(tmp_path).train()
    last = [event for event in events(capsys) if event["type"] == "progress"][-1]
    assert (last["epoch"], last["epochs"], last["step"], last["steps"], last["etaSeconds"]) == (4, 4, 8, 8, 0.0)
    assert last["samplesPerSecond"] > 0
    assert place.outputs == OUTPUTS
    result = place.result
    assert (result["contractVersion"], result["strategy"], result["examples"]) == (2, "full", 4_000)
    assert result["warnings"] == []
    assert 0 < result["metrics"]["trainLogLoss"] == last["loss"] < 0.7
    assert all(value is None or isinstance(value, int | float) for value in result["metrics"].values())
    assert result["environment"].keys() >= {"python", "torch", "device", "threads"}
    assert all(isinstance(value, str) for value in result["environment"].values())


def test_the_predictions_are_of_fresh_rows_and_what_the_graph_says(tmp_path):
    tables = [columns(70, seed=3), columns(40, seed=4)]
    # Positions play no role in the graph, so these have to be the served probabilities.
    place = Workplace(tmp_path, hyperparameters={"positions": 5, "negativeShare": 0.5})
    train = [write_parquet(tmp_path / f"{number}.parquet", table) for number, table in enumerate(tables)]
    replay = write_parquet(tmp_path / "replay.parquet", columns(500, seed=5))
    place.change(snapshot={"train": train, "replay": [replay]})
    ids, probability = predictions(place.train())
    assert ids == [name for table in tables for name in table["impression_id"]]
    expected = np.concatenate([place.predict(table) for table in tables])
    np.testing.assert_allclose(probability, expected, atol=1e-6)


def test_of_many_rows_10_000_are_predicted_evenly_spread(tmp_path):
    place = Workplace(tmp_path, columns(25_000), hyperparameters={"epochs": 1, "batchSize": 4_096}).train()
    rows = np.array([int(name.split("-")[1]) for name in predictions(place)[0]])
    assert len(rows) == 10_000 and (rows[0], rows[-1]) == (0, 24_999)
    assert set(np.diff(rows).tolist()) == {2, 3}


@pytest.mark.parametrize("every_seconds", [0, 60])
def test_checkpoints_are_told_and_counted_from_1(tmp_path, capsys, every_seconds):
    place = Workplace(tmp_path, checkpointEverySeconds=every_seconds).train()
    saved = [event for event in events(capsys) if event["type"] == "checkpoint"]
    steps = [(epoch, step) for epoch in range(1, 5) for step in range(1, 9)]
    assert [(event["epoch"], event["step"]) for event in saved] == (steps if every_seconds == 0 else [])
    assert {event["path"] for event in saved} <= {str(place.work / "checkpoint.pt")}


def test_without_a_parent_it_trains_in_full_and_says_so(tmp_path):
    for strategy in ("warmStart", "incremental", "online"):
        place = Workplace(tmp_path / strategy, strategy=strategy).train()
        assert (place.result["strategy"], place.warning_codes) == ("full", ["coldStart"])
        assert place.result["examples"] == 4_000


def test_full_does_not_look_at_a_parent(tmp_path):
    place = Workplace(tmp_path / "given", warmStart={"checkpoint": str(tmp_path / "absent.pt")}).train()
    assert place.bytes("model.onnx") == Workplace(tmp_path / "none").train().bytes("model.onnx")


@pytest.mark.parametrize("steps", [1, 6])
def test_a_loss_that_is_not_a_number_ends_with_3_and_leaves_no_model(tmp_path, capsys, steps):
    # The wide part would be finite at any rate, the layers are not.
    place = Workplace(tmp_path, hyperparameters={"learningRate": 1e30, "batchSize": -(-1_000 // steps)})
    assert main([str(place.write())]) == 3
    assert "lower hyperparameters.learningRate" in reason(capsys)
    assert place.outputs == []


def test_weights_that_break_in_the_very_last_step_end_with_3(tmp_path, capsys):
    changes = {"learningRate": 1e300, "epochs": 1, "batchSize": 1_000, "warmup": 0}
    place = Workplace(tmp_path, hyperparameters=changes)
    assert main([str(place.write())]) == 3
    assert "not finite after training" in reason(capsys) and place.outputs == []


class Memory:
    """Lets `Learner.step` fail as a full device makes it fail, for batches of more rows than fit."""

    def __init__(self, monkeypatch, fits: int, words: str | None = None) -> None:
        self.sizes: list[int] = []
        step = Learner.step

        def limited(learner, batch, rates):
            self.sizes.append(len(batch))
            if len(batch) > fits:
                raise torch.OutOfMemoryError("CUDA out of memory") if words is None else RuntimeError(words)
            return step(learner, batch, rates)

        monkeypatch.setattr(Learner, "step", limited)


@pytest.mark.parametrize(
    "words", [None, "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes", "CUDA error: out of memory"]
)
def test_out_of_memory_halves_the_batch_once(tmp_path, monkeypatch, words):
    halved = Workplace(tmp_path / "halved", hyperparameters={"batchSize": 256})
    asked = Workplace(tmp_path / "asked", hyperparameters={"batchSize": 128}).train()
    memory = Memory(monkeypatch, fits=128, words=words)
    halved.train()
    assert memory.sizes[:2] == [256, 128] and max(memory.sizes[1:]) == 128
    assert halved.warning_codes == ["batchHalved"]
    # Nothing of the failed step is left behind.
    assert halved.bytes("model.onnx") == asked.bytes("model.onnx")


def test_a_step_that_failed_half_way_leaves_nothing_behind(tmp_path, monkeypatch):
    halved = Workplace(tmp_path / "halved", hyperparameters={"batchSize": 256})
    asked = Workplace(tmp_path / "asked", hyperparameters={"batchSize": 128}).train()
    step, failed = DenseAdamW.step, []

    def fail_once(optimiser, rate):
        if not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(optimiser, rate)

    monkeypatch.setattr(DenseAdamW, "step", fail_once)
    assert halved.train().bytes("model.onnx") == asked.bytes("model.onnx")


def test_out_of_memory_in_the_tuning_halves_the_batch_too(tmp_path, monkeypatch):
    memory = Memory(monkeypatch, fits=512)
    place = Workplace(tmp_path, columns(2_000), hyperparameters={"batchSize": 1_000, "tune": True, "epochs": 1}).train()
    assert memory.sizes[:2] == [1_000, 500] and max(memory.sizes[1:]) == 500
    assert place.warning_codes == ["batchHalved"]


@pytest.mark.parametrize("tune", [False, True])
def test_out_of_memory_with_half_the_batch_ends_with_4(tmp_path, capsys, monkeypatch, tune):
    memory = Memory(monkeypatch, fits=60)
    place = Workplace(tmp_path, columns(2_000), hyperparameters={"tune": tune})
    assert main([str(place.write())]) == 4
    assert "out of memory with a batch of 64 rows, of 128 asked for; lower training.batchSize" in reason(capsys)
    assert memory.sizes == [128, 64] and place.outputs == []


def test_a_halved_batch_stays_halved_after_a_stop(tmp_path, monkeypatch):
    memory = Memory(monkeypatch, fits=64)
    place = Workplace(tmp_path)
    stopped(place, 3)
    place.train()
    assert memory.sizes.count(128) == 1


def test_a_model_that_does_not_fit_ends_with_4(tmp_path, capsys):
    place = Workplace(tmp_path, hyperparameters={"hidden": [2_000_000_000, 2_000_000_000]})
    assert main([str(place.write())]) == 4
    assert "out of memory" in reason(capsys)


def test_an_error_that_has_nothing_to_do_with_memory_stays_itself(tmp_path, monkeypatch):
    Memory(monkeypatch, fits=0, words="an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="illegal"):
        main([str(Workplace(tmp_path).write())])


@pytest.mark.parametrize("name", ["work/checkpoint.pt", *(f"output/{name}" for name in OUTPUTS)])
def test_a_full_disk_ends_with_5_and_the_next_try_finds_nothing_in_its_way(tmp_path, capsys, name):
    place = Workplace(tmp_path, columns(300), checkpointEverySeconds=0)
    partial = tmp_path / f"{name}.partial"
    partial.parent.mkdir()
    # Every write to this device fails as one to a full disk does.
    os.symlink("/dev/full", partial)
    assert main([str(place.write())]) == 5
    assert reason(capsys).startswith(f"no space is left on the disk for {place.work} or {place.output}: free some")
    assert "result.json" not in (os.listdir(place.output))
    assert not list(tmp_path.rglob("*.partial"))
    assert place.train().outputs == OUTPUTS


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount a file system")
def test_a_disk_that_is_really_full_ends_with_5(tmp_path, capsys):
    # Large enough for PyTorch to fail in words of its own.
    place = Workplace(tmp_path, checkpointEverySeconds=0, hyperparameters={"hidden": [512, 512]})
    place.work.mkdir()
    if os.system(f"mount -t tmpfs -o size=64k tmpfs {place.work} 2>/dev/null") != 0:
        pytest.skip("not allowed to mount a file system")
    try:
        assert main([str(place.write())]) == 5
        assert "no space is left" in reason(capsys)
        assert os.listdir(place.work) == []
    finally:
        os.system(f"umount {place.work}")


def test_a_second_run_over_the_same_outputs_replaces_them(tmp_path):
    place = Workplace(tmp_path).train()
    first = place.bytes("model.onnx")
    for path in place.output.iterdir():
        path.write_bytes(b"left behind")
    assert place.train().bytes("model.onnx") == first


def test_how_many_ids_own_rows_is_told_in_the_statistics(tmp_path):
    table = columns(1_000)
    place = Workplace(tmp_path, table, features=[USER, ITEM, AGE], hyperparameters={"admitAfter": 25}).train()
    seen = np.unique(table["user_id"], return_counts=True)[1]
    statistics = place.result["featureStatistics"]["user_id"]
    assert statistics["rows"] == 2 + (seen >= 25).sum()
    assert statistics["rare"] == pytest.approx(seen[seen < 25].sum() / 1_000)
