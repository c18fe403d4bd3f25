"""The ONNX file: raw ids and numbers in, probability out, the same as PyTorch says."""

import numpy as np
import onnx
import pytest
import torch
from synthetic import AGE, ITEM, LENGTH, USER, Workplace, columns

from freshet_trainer.__main__ import main
from freshet_trainer.events import Warnings
from freshet_trainer.manifest import read_manifest
from freshet_trainer.model import RankingModel
from freshet_trainer.warm_start import load_parent, read_checkpoint


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workplace:
    # The order is mixed on purpose: ids and numbers go to inputs of their own.
    place = Workplace(tmp_path_factory.mktemp("export"), features=[LENGTH, USER, AGE, ITEM])
    assert main([str(place.write())]) == 0
    return place


def one_row(**changes) -> dict:
    row = {"user_id": -5, "item_id": 7, "age_ms": 1000.0, "length": 150.0, **changes}
    return {name: [value] for name, value in row.items()}


def test_its_inputs_and_output_are_those_of_the_contract(place):
    model = onnx.load(place.output / "model.onnx")
    types = {value.name: value.type.tensor_type for value in [*model.graph.input, *model.graph.output]}
    shapes = {
        name: (tensor.elem_type, [axis.dim_param or axis.dim_value for axis in tensor.shape.dim])
        for name, tensor in types.items()
    }
    assert shapes == {
        "ids": (onnx.TensorProto.INT64, ["N", 2]),
        "dense": (onnx.TensorProto.FLOAT, ["N", 2]),
        "probability": (onnx.TensorProto.FLOAT, ["N"]),
    }
    assert len(model.metadata_props) == 0 and model.doc_string == ""
    assert b"/" not in b"".join(node.SerializeToString() for node in model.graph.node)


@pytest.mark.parametrize("rows", [1, 500])
def test_it_says_what_pytorch_says(place, rows):
    table = columns(rows, seed=3)
    table["age_ms"][::5] = np.nan
    table["length"][::7] = 1e30
    table["user_id"][::3] = 0
    manifest = read_manifest(place.folder / "manifest.json")
    model = RankingModel(manifest.features, manifest.hyperparameters.hidden)
    load_parent(model, read_checkpoint(place.output / "checkpoint.pt"), Warnings())
    ids = torch.from_numpy(np.stack([table["user_id"], table["item_id"]], axis=1))
    dense = torch.from_numpy(np.stack([table["length"], table["age_ms"]], axis=1))
    with torch.no_grad():
        expected = torch.sigmoid(model(ids, dense)).numpy()
    np.testing.assert_allclose(place.predict(table), expected, atol=1e-6)


def test_a_missing_number_counts_as_the_mean(place):
    mean = place.result["featureStatistics"]["length"]["mean"]
    assert place.predict(one_row(length=np.nan)) == pytest.approx(place.predict(one_row(length=mean)), abs=1e-6)
    assert place.predict(one_row(length=np.nan)) != pytest.approx(place.predict(one_row(length=mean + 80)), abs=1e-6)


def test_a_missing_id_counts_as_one_that_was_never_seen(place):
    never_seen = 1009 * 10**12 + 1008
    assert place.predict(one_row(user_id=0)) == place.predict(one_row(user_id=never_seen))
    known = int(columns(1)["user_id"][0])
    assert place.predict(one_row(user_id=0)) != place.predict(one_row(user_id=known))


def test_ids_map_to_rows_modulo_the_buckets_below_zero_too(place):
    known = int(columns(1)["user_id"][0])
    assert place.predict(one_row(user_id=known)) == place.predict(one_row(user_id=known % 1009))


@pytest.mark.parametrize("extreme", [np.finfo(np.float32).max, -np.finfo(np.float32).max, np.inf, -1.0])
def test_an_absurd_number_gives_a_probability_all_the_same(place, extreme):
    probability = place.predict(one_row(age_ms=extreme, length=extreme))
    assert np.isfinite(probability).all() and 0 <= probability[0] <= 1
