"""Positions: the bias of where a row was shown is learnt apart, and counts as a constant when serving."""

import copy

import numpy as np
import onnx
import pytest
from synthetic import AGE, IDS, ITEM, ITEMS, USER, USERS, auc, columns, rows_of, run_graph, settings_of

from freshet_trainer.export import export_onnx
from freshet_trainer.learner import predict
from freshet_trainer.train import Learned, learn

FEATURES = (USER, ITEM, AGE)
PLACES = 10


def relevance(items: np.ndarray) -> np.ndarray:
    return np.where(items % 3 == 0, 0.7, -0.7)


def shown(rows: int, seed: int, is_ranked: bool = True) -> dict:
    """Slates of an earlier ranking that liked the wrong items: what it put on top was clicked for being there."""
    table, rng = columns(rows, seed), np.random.default_rng(seed + 100)
    items = rng.integers(0, ITEMS, rows)
    wrong = -relevance(items) + rng.normal(0, 1, rows)
    position = np.clip(((1.5 - wrong) / 3 * PLACES), 0, PLACES - 1) if is_ranked else rng.integers(0, PLACES, rows)
    position = position.astype(np.int32)
    logit = relevance(items) - 0.5 * position + 0.5
    clicked = rng.random(rows) < 1 / (1 + np.exp(-logit))
    return {**table, "item_id": IDS[USERS + items], "position": position, "label": clicked.astype(np.int8)}


def truth(table: dict) -> np.ndarray:
    place = {an_id: item for item, an_id in enumerate(IDS[USERS:].tolist())}
    return relevance(np.array([place[an_id] for an_id in table["item_id"].tolist()])) > 0


@pytest.fixture(scope="module")
def models() -> dict[int, Learned]:
    rows = rows_of(shown(6_000, seed=1), FEATURES)
    return {positions: learn(settings_of(FEATURES, positions=positions), rows) for positions in (0, PLACES)}


def test_the_served_model_ranks_by_relevance(models):
    table = shown(3_000, seed=2, is_ranked=False)
    without, with_positions = (auc(truth(table), model.predict(rows_of(table, FEATURES))) for model in models.values())
    assert with_positions > 0.9 > 0.5 > without


def test_the_mean_probability_is_that_with_the_positions_as_they_were(models):
    learned, rows = models[PLACES], rows_of(shown(6_000, seed=1), FEATURES)
    cells = learned.checkpoint.encoding.cells(rows.ids, rows.dense, rows.position)
    with_positions = copy.deepcopy(learned.model)
    with_positions.wide.copy_(learned.checkpoint.tensors["wide"])
    expected = predict(with_positions, cells, rows.dense).mean(dtype=np.float64)
    assert learned.predict(rows).mean(dtype=np.float64) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("negative_share", [1.0, 0.3])
def test_the_mean_probability_of_other_rows_is_kept(negative_share):
    table = shown(6_000, seed=1)
    model = learn(settings_of(FEATURES, positions=PLACES, negative_share=negative_share), rows_of(table, FEATURES))
    unseen = shown(6_000, seed=3)
    assert model.predict(rows_of(unseen, FEATURES)).mean() == pytest.approx(unseen["label"].mean(), abs=0.04)


def test_the_position_of_a_request_plays_no_role(models, tmp_path):
    table = shown(500, seed=2)
    served = [
        models[PLACES].predict(rows_of({**table, "position": np.full(500, position, np.int32)}, FEATURES))
        for position in (0, PLACES - 1)
    ]
    np.testing.assert_array_equal(*served)
    export_onnx(models[PLACES].model, models[PLACES].checkpoint.encoding, tmp_path / "model.onnx")
    inputs = [value.name for value in onnx.load(tmp_path / "model.onnx").graph.input]
    assert inputs == ["ids", "dense"]
    np.testing.assert_allclose(run_graph(tmp_path / "model.onnx", table, FEATURES), served[0], atol=1e-6)


def test_the_checkpoint_keeps_what_each_position_weighs(models):
    weights = models[PLACES].checkpoint.tensors["wide"][-PLACES:]
    assert weights[0] > weights[4] + 0.5 > weights[-1] + 1.0
    assert models[PLACES].model.wide[-PLACES:].unique().numel() == 1


def test_without_positions_nothing_is_changed(models):
    np.testing.assert_array_equal(models[0].model.wide, models[0].checkpoint.tensors["wide"])
