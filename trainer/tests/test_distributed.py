"""Two processes under torchrun: the same training as in one, and nobody hangs when it is stopped."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from synthetic import Workplace

from freshet_trainer.checkpoint import read_checkpoint
from freshet_trainer.errors import Stopped
from freshet_trainer.job import run
from freshet_trainer.manifest import read_manifest

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "freshet_trainer"]
# An odd batch, and a last one of a single row: shares of different lengths, one of them empty.
ODD = {"batchSize": 111, "tune": False}


def start(place: Workplace) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, str(place.write())]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_same_model(one: Workplace, other: Workplace) -> None:
    """But for the order in which numbers are added."""
    expected, found = (read_checkpoint(place.output / "checkpoint.pt").tensors for place in (one, other))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=lambda text: f"{name}: {text}")


def test_two_processes_train_the_model_that_one_does_and_only_one_speaks(tmp_path):
    one, two = Workplace(tmp_path / "one", hyperparameters=ODD), Workplace(tmp_path / "two", hyperparameters=ODD)
    one.train()
    process = start(two)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    names = [event.get("name") for event in map(json.loads, output.splitlines()) if event["type"] == "metric"]
    assert names.count("trainingRows") == 1 and names.count("trainLogLoss") == 1
    assert sorted(path.name for path in two.output.iterdir()) == sorted(path.name for path in one.output.iterdir())
    assert abs(two.result["metrics"]["trainLogLoss"] - one.result["metrics"]["trainLogLoss"]) < 1e-5
    assert_same_model(one, two)


def test_stopped_they_leave_one_checkpoint_that_one_process_goes_on_from(tmp_path):
    long = {**ODD, "epochs": 2_000}
    place = Workplace(tmp_path, hyperparameters=long)
    process = start(place)
    for line in process.stdout:
        if json.loads(line)["type"] == "progress":
            break
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=300)
    events = [json.loads(line) for line in output.splitlines()]
    assert [event["type"] for event in events].count("checkpoint") == 1, errors
    assert "the state is saved" in errors
    assert list(place.output.iterdir()) == []
    saved = torch.load(place.work / "checkpoint.pt", weights_only=True)["position"]
    with pytest.raises(Stopped):
        run(read_manifest(place.write()), stop=lambda: True)
    resumed = torch.load(place.work / "checkpoint.pt", weights_only=True)["position"]
    steps = [position["epoch"] * 1_000 + position["row"] for position in (saved, resumed)]
    assert steps[0] > 0 and 0 < steps[1] - steps[0] <= 111
