"""Cells: the row of each value in its feature's own table."""

import numpy as np
import pytest
from synthetic import AGE, ITEM, LENGTH, USER, columns, rows_of, settings_of

from freshet_trainer.encoding import BINS, MISSING_BIN, Encoding, bins_of, quantile_edges
from freshet_trainer.vocabulary import MISSING, RARE, Vocabulary
from freshet_trainer.warm_start import grow_encoding

INFINITY = np.inf


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-INFINITY, 0), (0.5, 0), (1, 0), (1.5, 1), (2, 1), (9, 3), (INFINITY, 3), (np.nan, MISSING_BIN)],
)
def test_a_bin_is_the_number_of_edges_below(value, expected):
    assert bins_of(np.array([value], np.float32), np.array([1, 2, 3], np.float32)).tolist() == [expected]


def test_bins_hold_equally_many_rows():
    values = columns(2_000)["age_ms"]
    bins = bins_of(values, quantile_edges(values[:, None])[0])
    assert np.bincount(bins, minlength=BINS).tolist() == pytest.approx([2_000 / BINS] * BINS, abs=2)


@pytest.mark.parametrize("known", [[], [7.0], [7.0] * 50, [INFINITY, -INFINITY], [1.0, 2.0]])
def test_edges_are_finite_and_sorted_whatever_is_known(known):
    edges = quantile_edges(np.array([*known, np.nan, np.nan], np.float32)[:, None])
    assert edges.shape == (1, BINS - 1) and edges.dtype == np.float32
    assert np.isfinite(edges).all() and (np.diff(edges) >= 0).all()


def test_columns_are_ids_then_numbers_then_the_position():
    features = (LENGTH, USER, AGE, ITEM)
    table = columns(300)
    rows = rows_of(table, features)
    encoding = grow_encoding(settings_of(features, positions=4, admit_after=1), rows, None).encoding
    cells = encoding.cells(rows.ids, rows.dense, rows.position)
    assert cells.shape == (300, 5) and cells.dtype == np.int32
    np.testing.assert_array_equal(cells[:, 0], encoding.vocabularies[0].rows_of(table["user_id"]))
    np.testing.assert_array_equal(cells[:, 3], bins_of(table["age_ms"], encoding.edges[1]))
    # Positions further down count as the last that is told apart.
    np.testing.assert_array_equal(cells[:, 4], np.minimum(table["position"], 3))
    assert (cells.max(axis=0) < encoding.sizes).all() and (cells >= 0).all()
    assert encoding.sizes == (42, 32, BINS + 1, BINS + 1, 4)


def test_strange_values_have_cells_too():
    encoding = Encoding((Vocabulary(),), np.zeros((1, BINS - 1), np.float32), positions=3)
    ids, dense = np.array([[0], [-7]]), np.array([[np.nan], [-INFINITY]], np.float32)
    assert encoding.cells(ids, dense, np.array([-1, 99])).tolist() == [[MISSING, MISSING_BIN, 0], [RARE, 0, 2]]
