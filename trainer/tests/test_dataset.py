"""Parquet to arrays: what each column becomes, and in which order the rows come."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from synthetic import AGE, ITEM, USER, Workplace, columns, write_parquet

from freshet_trainer.dataset import read_rows
from freshet_trainer.manifest import read_manifest


def read(place: Workplace):
    return read_rows(read_manifest(place.write()))


def test_columns_come_in_the_order_of_the_features_and_fresh_rows_before_replayed_ones(tmp_path):
    place = Workplace(tmp_path, columns(30), features=[ITEM, AGE, USER])
    old = columns(20, seed=4)
    place.change(snapshot={"replay": [write_parquet(tmp_path / "replay.parquet", old)]})
    rows, new = read(place), columns(30)
    np.testing.assert_array_equal(rows.ids[:30], np.stack([new["item_id"], new["user_id"]], axis=1))
    np.testing.assert_array_equal(rows.ids[30:, 1], old["user_id"])
    np.testing.assert_array_equal(rows.dense[:30, 0], new["age_ms"])
    np.testing.assert_array_equal(rows.labels, np.concatenate([new["label"], old["label"]]))
    np.testing.assert_array_equal(rows.time_ms[30:], old["event_time_ms"])
    np.testing.assert_array_equal(rows.position[:30], new["position"])
    np.testing.assert_array_equal(rows.fresh, np.arange(50) < 30)
    assert (rows.ids.dtype, rows.dense.dtype, rows.labels.dtype) == (np.int64, np.float32, np.float32)


def test_missing_ids_are_0_missing_numbers_nan_and_missing_positions_the_first(tmp_path):
    table = columns(3)
    place = Workplace(tmp_path, table)
    nulls = {
        "user_id": pa.array([None, 7, None], pa.int64()),
        "age_ms": pa.array([1.5, None, float("nan")], pa.float64()),
        "position": pa.array([2, None, 1], pa.int32()),
    }
    pq.write_table(pa.table({**table, **nulls}), tmp_path / "train.parquet")
    rows = read(place)
    assert rows.ids[:, 0].tolist() == [0, 7, 0]
    assert rows.position.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(rows.dense[:, 0], np.array([1.5, np.nan, np.nan], dtype=np.float32))


def test_rows_of_several_files_follow_each_other(tmp_path):
    place = Workplace(tmp_path, columns(10))
    more = write_parquet(tmp_path / "more.parquet", columns(5, seed=2))
    place.change(snapshot={"train": [str(tmp_path / "train.parquet"), more]})
    rows = read(place)
    assert len(rows) == 15 and rows.fresh.all()
    np.testing.assert_array_equal(rows.ids[10:, 0], columns(5, seed=2)["user_id"])
