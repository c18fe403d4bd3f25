"""Wrong input is refused with exit code 2 and a last line that says what was wrong, where, and what was expected."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import AGE, LENGTH, USER, Workplace, columns, write_parquet

from freshet_trainer.__main__ import main

COMMAND = [sys.executable, "-m", "freshet_trainer"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def refusal(capsys, path: Path) -> str:
    assert main([str(path)]) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"contractVersion": 1}, "manifest: contractVersion must be 2, got 1"),
        ({"strategy": "warm"}, "strategy must be 'full' or 'warmStart' or 'incremental' or 'online', got \"warm\""),
        ({"label": ""}, 'manifest: label must be a text that is not empty, got ""'),
        ({"features": []}, "manifest: features must be a list with at least one object, got []"),
        ({"features": [USER, {"kind": "list", "name": "x"}]}, "features[1].kind must be 'categorical' or 'numeric'"),
        ({"features": [{**USER, "buckets": 1}]}, "features[0].buckets must be a whole number of at least 2, got 1"),
        ({"features": [USER, USER]}, 'manifest: feature "user_id" is declared twice'),
        ({"features": [{**AGE, "transform": "sqrt"}]}, "manifest: features[0].transform must be 'none' or 'log1p'"),
        ({"snapshot": {"train": "rows"}}, "manifest: snapshot.train must be a list of file paths"),
        ({"snapshot": {"replay": [""]}}, "manifest: snapshot.replay must be a list of file paths"),
        ({"seed": True}, "manifest: seed must be a whole number"),
        ({"seed": 2**53}, "manifest: seed must be a whole number"),
        ({"threads": 0}, "manifest: threads must be a whole number of at least 1, got 0"),
        ({"checkpointEverySeconds": -1}, "manifest: checkpointEverySeconds must be a finite number of at least 0"),
        ({"workDir": ""}, "manifest: workDir must be a text that is not empty"),
        ({"warmStart": {}}, "manifest: warmStart.checkpoint is missing"),
        ({"warmStart": "parent.pt"}, "manifest: warmStart must be an object"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(tmp_path, capsys, changes, expected):
    assert expected in refusal(capsys, Workplace(tmp_path, **changes).write())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learningRate", 0, "a finite number above 0, got 0"),
        ("learningRate", 10**400, "a finite number above 0"),
        ("wideLearningRate", "fast", 'a finite number above 0, got "fast"'),
        ("warmFactor", 0, "a finite number above 0"),
        ("weightDecay", -0.1, "a finite number of at least 0"),
        ("epochs", 1.5, "a whole number of at least 1"),
        ("batchSize", 0, "a whole number of at least 1"),
        ("hidden", [8, 0], "a list of whole numbers of at least 1"),
        ("freezeBase", 1, "true or false, got 1"),
        ("tune", None, "true or false, got null"),
        ("warmup", 1.5, "a finite number of at least 0 and at most 1"),
        ("decay", 0, "a finite number above 0 and at most 1"),
        ("admitAfter", 0, "a whole number of at least 1"),
        ("expireAfterMs", 10**30, "a whole number of at least 1"),
        ("negativeShare", 0, "a finite number above 0 and at most 1"),
        ("negativeShare", 1.01, "a finite number above 0 and at most 1"),
        ("recencyHalfLifeMs", 0, "a finite number above 0"),
        ("positions", -1, "a whole number of at least 0"),
        ("distillation", 1, "below 1, or the labels would count for nothing"),
        ("distillation", -0.5, "a finite number of at least 0 and at most 1"),
    ],
)
def test_a_wrong_hyperparameter_is_named_with_what_was_expected(tmp_path, capsys, name, value, expected):
    reason = refusal(capsys, Workplace(tmp_path, hyperparameters={name: value}).write())
    assert reason.startswith(f"manifest: hyperparameters.{name} must be {expected}")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rates", {"known": 0.1, "new": 1}, "hyperparameters.rates.dense is missing; expected a finite number above 0"),
        ("rates", {"known": 0, "new": 1, "dense": 1}, "hyperparameters.rates.known must be a finite number above 0"),
        ("rates", [1, 1, 1], "hyperparameters.rates must be an object, got [1, 1, 1]"),
        ("repair", {"shrink": 1.5, "perturb": 0}, "hyperparameters.repair.shrink must be a finite number of at least 0"),
        ("repair", {"shrink": 0.8}, "hyperparameters.repair.perturb is missing"),
    ],
)
def test_a_wrong_part_of_a_hyperparameter_is_named(tmp_path, capsys, name, value, expected):
    assert f"manifest: {expected}" in refusal(capsys, Workplace(tmp_path, hyperparameters={name: value}).write())


@pytest.mark.parametrize("name", sorted({*Workplace.NEEDED, "hyperparameters.batchSize", "snapshot.replay"}))
def test_a_missing_field_is_named(tmp_path, capsys, name):
    place = Workplace(tmp_path)
    *outer, last = name.split(".")
    fields = place.manifest[outer[0]] if outer else place.manifest
    del fields[last]
    assert f"manifest: {name} is missing; expected " in refusal(capsys, place.write())


def test_fields_that_the_contract_does_not_know_are_ignored(tmp_path):
    Workplace(tmp_path, columns(50), tomorrow=1, hyperparameters={"tomorrow": None, "epochs": 1}).train()


@pytest.mark.parametrize(
    ("text", "expected"), [("{oops", "is not JSON"), ("[]", "must be an object, got []"), ("\x00\xff", "is not JSON")]
)
def test_a_garbage_manifest_is_refused(tmp_path, capsys, text, expected):
    path = tmp_path / "manifest.json"
    path.write_text(text, encoding="latin-1")
    assert expected in refusal(capsys, path)


def test_a_manifest_that_is_not_there_is_refused(tmp_path, capsys):
    assert "cannot read" in refusal(capsys, tmp_path / "absent.json")


def test_a_folder_that_can_not_be_made_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    place = Workplace(tmp_path, workDir=str(tmp_path / "file" / "work"))
    assert "manifest: cannot make workDir" in refusal(capsys, place.write())


def test_an_empty_snapshot_is_refused(tmp_path, capsys):
    place = Workplace(tmp_path, {name: values[:0] for name, values in columns(10).items()})
    assert "no training rows" in refusal(capsys, place.write())
    replay = write_parquet(tmp_path / "replay.parquet", columns(10))
    place.change(snapshot={"train": [], "replay": [replay]})
    assert "no training rows" in refusal(capsys, place.write())


def test_down_sampling_that_leaves_no_row_is_refused(tmp_path, capsys):
    table = {**columns(20), "label": np.zeros(20, dtype=np.int8)}
    place = Workplace(tmp_path, table, hyperparameters={"negativeShare": 1e-9})
    assert "raise hyperparameters.negativeShare" in refusal(capsys, place.write())


@pytest.mark.parametrize("missing", ["age_ms", "user_id", "label", "event_time_ms", "position"])
def test_a_missing_column_is_named_with_the_columns_that_are_there(tmp_path, capsys, missing):
    table = columns(10)
    del table[missing]
    reason = refusal(capsys, Workplace(tmp_path, table).write())
    assert f'has no column "{missing}"; it has {", ".join(table)}' in reason


def test_rows_without_names_are_refused_before_the_training(tmp_path, capsys):
    table = columns(10)
    del table["impression_id"]
    assert main([str(Workplace(tmp_path, table).write())]) == 2
    said = capsys.readouterr()
    assert 'has no column "impression_id"' in said.err and '"progress"' not in said.out


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("user_id", ["anna"] * 10, 'column "user_id" is string, expected the featurizer\'s ids (int64)'),
        ("age_ms", ["old"] * 10, 'column "age_ms" is string, expected a number'),
        ("label", [0, 1, 2, None, 0, 1, 0, 1, 0, 1], "must be 0 or 1; 2 of 10 rows are not, the first is 2"),
        ("event_time_ms", [None, *range(9)], '1 rows have no "event_time_ms"'),
        ("event_time_ms", ["today"] * 10, 'column "event_time_ms" is string, expected a number'),
    ],
)
def test_a_column_of_the_wrong_kind_is_refused(tmp_path, capsys, column, values, expected):
    assert expected in refusal(capsys, Workplace(tmp_path, {**columns(10), column: values}).write())


def test_a_file_that_is_not_parquet_is_refused(tmp_path, capsys):
    place = Workplace(tmp_path)
    Path(place.manifest["snapshot"]["train"][0]).write_bytes(b"not parquet")
    assert "as Parquet" in refusal(capsys, place.write())


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint"], ids=["absent", "empty", "garbage"])
@pytest.mark.parametrize("strategy", ["warmStart", "incremental", "online"])
def test_a_parent_that_can_not_be_read_is_refused(tmp_path, capsys, content, strategy):
    parent = tmp_path / "parent.pt"
    if content is not None:
        parent.write_bytes(content)
    place = Workplace(tmp_path, strategy=strategy, warmStart={"checkpoint": str(parent)})
    assert str(parent) in refusal(capsys, place.write())


def test_the_process_refuses_without_a_stack_trace_and_leaves_no_output(tmp_path):
    place = Workplace(tmp_path, strategy="warm")
    run = subprocess.run([*COMMAND, str(place.write())], capture_output=True, text=True, env=ENVIRONMENT)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert run.stderr.strip().splitlines()[-1].startswith("manifest: strategy")
    assert not place.output.exists()


def test_a_process_whose_reader_is_gone_leaves(tmp_path):
    command = [*COMMAND, str(Workplace(tmp_path).write())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    process.stdout.close()
    assert process.stderr.read().strip() == "standard output was closed: nobody waits for this training"
    assert process.wait() == 1


def test_missing_values_are_no_error(tmp_path):
    table = columns(200)
    gaps = {
        "user_id": [None if index % 3 == 0 else int(value) for index, value in enumerate(table["user_id"])],
        "age_ms": [None if index % 4 == 0 else float(value) for index, value in enumerate(table["age_ms"])],
        "length": np.full(200, np.nan, dtype=np.float32),
        "position": [None if index % 2 == 0 else 3 for index in range(200)],
    }
    place = Workplace(tmp_path, {**table, **gaps}, features=[USER, AGE, LENGTH], hyperparameters={"positions": 5}).train()
    statistics = place.result["featureStatistics"]
    assert statistics["user_id"]["missing"] == pytest.approx(0.335)
    assert statistics["age_ms"]["missing"] == 0.25
    assert statistics["length"] == {"missing": 1.0, "mean": 0.0, "deviation": 1.0}
