"""Wrong input is refused with exit code 2 and a last line that says what was wrong, where, and what was expected."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import AGE, LENGTH, USER, Workplace, columns, write_parquet

from freshet_trainer.__main__ import main


def refusal(capsys, path: Path) -> str:
    assert main([str(path)]) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"contractVersion": 2}, "manifest: contractVersion must be 1, got 2"),
        ({"strategy": "warm"}, "manifest: strategy must be 'full' or 'warmStart', got \"warm\""),
        ({"label": ""}, 'manifest: label must be a text that is not empty, got ""'),
        ({"features": []}, "manifest: features must be a list with at least one object, got []"),
        ({"features": [USER, {"kind": "list", "name": "x"}]}, "features[1].kind must be 'categorical' or 'numeric'"),
        ({"features": [{**USER, "buckets": 1}]}, "features[0].buckets must be a whole number of at least 2, got 1"),
        ({"features": [USER, USER]}, 'manifest: feature "user_id" is declared twice'),
        ({"features": [{**AGE, "transform": "sqrt"}]}, "manifest: features[0].transform must be 'none' or 'log1p'"),
        ({"hyperparameters": {"learningRate": 0}}, "hyperparameters.learningRate must be a finite number above 0"),
        ({"hyperparameters": {"epochs": 1.5}}, "manifest: hyperparameters.epochs must be a whole number of at least 1"),
        ({"hyperparameters": {"hidden": [8, 0]}}, "manifest: hyperparameters.hidden must be a list of whole numbers"),
        ({"hyperparameters": {"freezeBase": 1}}, "manifest: hyperparameters.freezeBase must be true or false, got 1"),
        ({"snapshot": {"train": "rows"}}, "manifest: snapshot.train must be a list of file paths"),
        ({"seed": True}, "manifest: seed must be a whole number"),
        ({"warmStart": {}}, "manifest: warmStart.checkpoint is missing"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(tmp_path, capsys, changes, expected):
    assert expected in refusal(capsys, Workplace(tmp_path, **changes).write())


def test_a_missing_field_is_named(tmp_path, capsys):
    place = Workplace(tmp_path)
    del place.manifest["hyperparameters"]["batchSize"]
    assert "manifest: hyperparameters.batchSize is missing" in refusal(capsys, place.write())


@pytest.mark.parametrize(
    ("text", "expected"), [("{oops", "is not JSON"), ("[]", "must be an object, got []"), ("\x00\xff", "is not JSON")]
)
def test_a_garbage_manifest_is_refused(tmp_path, capsys, text, expected):
    path = tmp_path / "manifest.json"
    path.write_text(text, encoding="latin-1")
    assert expected in refusal(capsys, path)


def test_a_manifest_that_is_not_there_is_refused(tmp_path, capsys):
    assert "cannot read" in refusal(capsys, tmp_path / "absent.json")


def test_an_empty_snapshot_is_refused(tmp_path, capsys):
    place = Workplace(tmp_path, {name: values[:0] for name, values in columns(10).items()})
    assert "no training rows" in refusal(capsys, place.write())
    replay = write_parquet(tmp_path / "replay.parquet", columns(10))
    place.change(snapshot={"train": [], "replay": [replay]})
    assert "no training rows" in refusal(capsys, place.write())


def test_a_missing_column_is_named_with_the_columns_that_are_there(tmp_path, capsys):
    table = columns(10)
    del table["age_ms"]
    reason = refusal(capsys, Workplace(tmp_path, table).write())
    assert 'has no column "age_ms"; it has user_id, item_id, length, label' in reason


def test_a_missing_label_column_is_named(tmp_path, capsys):
    assert 'has no column "bought"' in refusal(capsys, Workplace(tmp_path, label="bought").write())


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("user_id", ["anna"] * 10, 'column "user_id" is string, expected the featurizer\'s ids (int64)'),
        ("age_ms", ["old"] * 10, 'column "age_ms" is string, expected a number'),
        ("label", [0, 1, 2, None, 0, 1, 0, 1, 0, 1], "must be 0 or 1; 2 of 10 rows are not, the first is 2"),
    ],
)
def test_a_column_of_the_wrong_kind_is_refused(tmp_path, capsys, column, values, expected):
    assert expected in refusal(capsys, Workplace(tmp_path, {**columns(10), column: values}).write())


def test_a_file_that_is_not_parquet_is_refused(tmp_path, capsys):
    place = Workplace(tmp_path)
    Path(place.manifest["snapshot"]["train"][0]).write_bytes(b"not parquet")
    assert "as Parquet" in refusal(capsys, place.write())


@pytest.mark.parametrize("content", [None, b"not a checkpoint"])
def test_a_parent_that_can_not_be_read_is_refused(tmp_path, capsys, content):
    parent = tmp_path / "parent.pt"
    if content is not None:
        parent.write_bytes(content)
    place = Workplace(tmp_path, strategy="warmStart", warmStart={"checkpoint": str(parent)})
    assert str(parent) in refusal(capsys, place.write())


def test_the_process_refuses_without_a_stack_trace_and_leaves_no_output(tmp_path):
    place = Workplace(tmp_path, strategy="warm")
    run = subprocess.run(
        [sys.executable, "-m", "freshet_trainer", str(place.write())],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert run.stderr.strip().splitlines()[-1].startswith("manifest: strategy")
    assert not place.output.exists()


def test_a_process_whose_reader_is_gone_leaves(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "freshet_trainer", str(Workplace(tmp_path).write())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    process.stdout.close()
    assert process.stderr.read().strip() == "standard output was closed: nobody waits for this training"
    assert process.wait() == 1


def test_missing_values_are_no_error(tmp_path):
    table = columns(200)
    gaps = {
        "user_id": [None if index % 3 == 0 else int(value) for index, value in enumerate(table["user_id"])],
        "age_ms": [None if index % 4 == 0 else float(value) for index, value in enumerate(table["age_ms"])],
        "length": np.full(200, np.nan, dtype=np.float32),
    }
    place = Workplace(tmp_path, {**table, **gaps}, features=[USER, AGE, LENGTH])
    assert main([str(place.write())]) == 0
    statistics = place.result["featureStatistics"]
    assert statistics["user_id"]["missing"] == pytest.approx(0.335)
    assert statistics["age_ms"]["missing"] == 0.25
    assert statistics["length"] == {"missing": 1.0, "mean": 0.0, "deviation": 1.0}
