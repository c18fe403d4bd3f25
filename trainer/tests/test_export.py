"""The ONNX file: raw ids and numbers in, probability out, the same as PyTorch says."""

import numpy as np
import onnx
import pytest
from synthetic import AGE, IDS, ITEM, LENGTH, NEVER_SEEN, START_MS, USER, Workplace, columns, rows_of, run_graph, settings_of

from freshet_trainer.export import export_onnx
from freshet_trainer.train import learn

# The order is mixed on purpose: ids and numbers go to inputs of their own.
MIXED = (LENGTH, USER, AGE, {**ITEM, "dim": 3})
LARGEST = np.finfo(np.float32).max
ABSURD = [np.nan, np.inf, -np.inf, LARGEST, -LARGEST, 1e-40, -0.0, 0.0, -1.0, -1e9]
ODD_IDS = [0, 1, -1, NEVER_SEEN, -NEVER_SEEN, 2**63 - 1, -(2**63)]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("export"), features=MIXED).train()


def strange(rows: int, seed: int = 3) -> dict:
    """Rows as they come, every other one with something that no snapshot had."""
    table, rng = columns(rows, seed=seed), np.random.default_rng(seed)
    for name, values in {"age_ms": ABSURD, "length": ABSURD, "user_id": ODD_IDS, "item_id": ODD_IDS}.items():
        chosen = rng.random(rows) < 0.3
        table[name] = np.where(chosen, rng.choice(np.array(values), rows), table[name]).astype(table[name].dtype)
    return table


def one_row(**changes) -> dict:
    row = {"user_id": IDS[3], "item_id": 7, "age_ms": 3_600_000.0, "length": 150.0, **changes}
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


def test_it_is_one_file_and_says_nothing_of_where_it_was_made(place):
    model = onnx.load(place.output / "model.onnx", load_external_data=False)
    assert not any(constant.external_data for constant in model.graph.initializer)
    assert len(model.metadata_props) == 0 and model.doc_string == model.graph.doc_string == ""
    assert not any(node.doc_string or node.name for node in model.graph.node)
    assert str(place.folder).encode() not in place.bytes("model.onnx")


@pytest.mark.parametrize(
    ("features", "hyperparameters"),
    [
        (MIXED, {}),
        ((USER, ITEM), {}),
        ((AGE, LENGTH), {}),
        ((USER,), {"hidden": ()}),
        ((AGE,), {"hidden": ()}),
        ((USER, {**ITEM, "dim": 1}, AGE), {"positions": 6}),
        ((AGE, LENGTH), {"positions": 1}),
        (MIXED, {"negative_share": 0.3, "recency_half_life_ms": 6e6, "hidden": (32, 16, 8)}),
        ((USER, ITEM, AGE), {"admit_after": 10_000}),
    ],
    ids=[
        "mixed",
        "ids",
        "numbers",
        "an id, no layers",
        "a number, no layers",
        "positions",
        "one position",
        "down-sampled",
        "empty vocabularies",
    ],
)
def test_it_says_what_pytorch_says_of_10_000_rows(tmp_path, features, hyperparameters):
    trained = columns(2_000)
    learned = learn(settings_of(features, epochs=1, learning_rate=0.05, **hyperparameters), rows_of(trained, features))
    export_onnx(learned.model, learned.checkpoint.encoding, tmp_path / "model.onnx")
    table = strange(10_000)
    # Among them the values that are edges of bins.
    for name in ("age_ms", "length"):
        table[name][:2_000] = trained[name]
    served, expected = run_graph(tmp_path / "model.onnx", table, features), learned.predict(rows_of(table, features))
    assert served.shape == (10_000,) and served.dtype == np.float32
    assert ((served >= 0) & (served <= 1)).all() and (served.std() > 0.01 or "admit_after" in hyperparameters)
    np.testing.assert_allclose(served, expected, atol=1e-6)


def test_rows_do_not_see_each_other(place):
    table = strange(50)
    alone = [place.predict({name: values[row : row + 1] for name, values in table.items()})[0] for row in range(50)]
    np.testing.assert_allclose(place.predict(table), alone, atol=1e-6)


def test_the_same_weights_give_the_same_bytes(tmp_path):
    learned = learn(settings_of(MIXED, epochs=1), rows_of(columns(300), MIXED))
    for name in ("a", "b"):
        export_onnx(learned.model, learned.checkpoint.encoding, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_missing_number_is_an_input_of_its_own(tmp_path):
    # Those of whom the length is not known click, the others at random.
    table = columns(2_000)
    table["length"][::2] = np.nan
    table["label"][::2] = 1
    place = Workplace(tmp_path, table, features=(USER, LENGTH)).train()
    assert place.predict(one_row(length=np.nan)) > place.predict(one_row(length=200.0)) + 0.1


def test_a_missing_id_is_an_input_of_its_own(tmp_path):
    table = columns(2_000)
    table["user_id"][::2] = 0
    table["label"][::2] = 1
    place = Workplace(tmp_path, table, features=(USER, AGE)).train()
    assert place.predict(one_row(user_id=0)) > place.predict(one_row(user_id=NEVER_SEEN)) + 0.1


def test_an_id_below_zero_is_one_like_any_other(place):
    below = [int(an_id) for an_id in IDS[:40] if an_id < 0]
    assert len(below) > 5
    assert len({float(place.predict(one_row(user_id=an_id))[0]) for an_id in below}) == len(below)


def test_ids_that_agree_modulo_the_rows_of_the_table_do_not_share_one(place):
    known = int(IDS[3])
    for other in (known % USER["buckets"], known + USER["buckets"]):
        assert place.predict(one_row(user_id=other)) == place.predict(one_row(user_id=NEVER_SEEN))
        assert place.predict(one_row(user_id=other)) != place.predict(one_row(user_id=known))


def test_ids_that_doubles_would_mix_up_are_told_apart(tmp_path):
    table = columns(2_000)
    near = 2**62 + 1
    table["user_id"] = np.where(table["label"] == 1, near, near + 1)
    place = Workplace(tmp_path, table, features=(USER,)).train()
    assert place.predict(one_row(user_id=near)) > place.predict(one_row(user_id=near + 1)) + 0.5


def test_rare_ids_share_what_is_known_of_rare_ids(tmp_path):
    # Each of these is seen once and clicks.
    table = columns(2_000)
    table["user_id"][::2] = START_MS + np.arange(1_000)
    table["label"][::2] = 1
    place = Workplace(tmp_path, table, features=(USER,)).train()
    assert place.predict(one_row(user_id=START_MS)) == place.predict(one_row(user_id=NEVER_SEEN))
    assert place.predict(one_row(user_id=NEVER_SEEN)) > 0.8
