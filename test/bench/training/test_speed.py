"""What the speed benchmark compares: the same model on both sides, and a bound that follows from its shape."""

import numpy as np
import torch
from freshet_trainer.learner import predict
from freshet_trainer.train import learn

from speed.__main__ import Spec, measure
from speed.log import Shape, rows_of, settings_of
from speed.memory import bandwidth, bytes_a_sample
from speed.textbook import WideAndDeep

SHAPE = Shape(rows=600, features=3, numbers=2, buckets=50, dim=4, hidden=(8, 4), batch=64)


def test_the_textbook_model_with_our_weights_says_what_our_model_says():
    rows = rows_of(SHAPE)
    learned = learn(settings_of(SHAPE, threads=1), rows)
    model, encoding = learned.model, learned.checkpoint.encoding
    other = WideAndDeep(list(encoding.sizes), SHAPE.features, SHAPE.dim, SHAPE.numbers, SHAPE.hidden)
    sizes = list(encoding.sizes)
    with torch.no_grad():
        for table, weights in zip(other.wide, model.wide.split(sizes)):
            table.weight.copy_(weights.unsqueeze(1))
        for table, weights in zip(other.embeddings, model.embedding(SHAPE.dim).split(sizes[: SHAPE.features])):
            table.weight.copy_(weights)
        linear = [layer for layer in other.deep if isinstance(layer, torch.nn.Linear)]
        for layer, trained in zip(linear, model.layers, strict=True):
            layer.load_state_dict(trained.state_dict())
        cells = encoding.cells(rows.ids, rows.dense, rows.position)
        logits = other(torch.from_numpy(cells).long(), model.standardise(torch.from_numpy(rows.dense)))
    assert sizes[: SHAPE.features] == [SHAPE.buckets + 2] * SHAPE.features
    np.testing.assert_allclose(torch.sigmoid(logits).numpy(), predict(model, cells, rows.dense), rtol=1e-4, atol=1e-6)


def test_rows_are_the_same_for_the_same_shape_and_can_be_learnt_from():
    one, other = rows_of(SHAPE), rows_of(SHAPE)
    assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)
    assert set(np.bincount(one.ids[:, 0])[1:]) == {SHAPE.rows // SHAPE.buckets}
    assert 0.2 < one.labels.mean() < 0.6


def test_the_figures_are_medians_of_rounds_in_turn():
    figures = measure(Spec(SHAPE, textbookRows=192, rounds=2, threads=1, workers=0))
    assert len(figures["rounds"]) == 2 and figures["samplesPerSecond"] > 0
    assert figures["ratio"] > 0 and figures["textbookSamplesPerSecond"] > 0
    assert figures["bandwidthShare"] is None or 0 < figures["bandwidthShare"] < 1


def test_bytes_of_a_sample_by_hand():
    # 2 ids of 4 numbers: each 7 x 16 bytes and 8 of the step count; 3 wide weights of 20; 3 cells, 1 number, 1 label.
    assert bytes_a_sample(features=2, dim=4, numbers=1) == 2 * (7 * 16 + 8) + 3 * 20 + 5 * 4


def test_copies_have_a_bandwidth():
    assert bandwidth(torch.device("cpu"), size=1 << 20) > 1e6
