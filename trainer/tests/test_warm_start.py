"""Starts from a parent: begin as the parent did, load what fits, say what does not."""

import numpy as np
import pytest
import torch
from synthetic import (
    AGE,
    IDS,
    ITEM,
    ITEMS,
    LENGTH,
    NEVER_SEEN,
    USER,
    USERS,
    Workplace,
    columns,
    feature,
    joined,
    rows_of,
    settings_of,
)

from freshet_trainer.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from freshet_trainer.events import Warnings
from freshet_trainer.learner import predict
from freshet_trainer.strategies import Prepared, prepare
from freshet_trainer.train import Learned, learn
from freshet_trainer.warm_start import base_to_freeze

FEATURES = (USER, ITEM, AGE)
ADMIT = {"admit_after": 1}


@pytest.fixture(scope="module")
def parent() -> Learned:
    return learn(settings_of(FEATURES, **ADMIT), rows_of(columns(2_000)))


def start(parent: Learned, table: dict, features=FEATURES, strategy="incremental", **hyperparameters) -> tuple[Prepared, list]:
    """A training right before its first step, and the warnings so far."""
    warnings = Warnings(silent=True)
    settings = settings_of(features, strategy, **{**ADMIT, **hyperparameters})
    return prepare(settings, rows_of(table, features), parent.checkpoint, warnings), warnings.told


def says(prepared: Prepared, table: dict, features=FEATURES) -> np.ndarray:
    rows = rows_of(table, features)
    return predict(prepared.learner.model, prepared.encoding.cells(rows.ids, rows.dense, rows.position), rows.dense)


def codes(warnings: list) -> list[str]:
    return [warning["code"] for warning in warnings]


def with_more(table: dict) -> dict:
    """The table with new columns that features can be made of."""
    rows = len(table["label"])
    return {**table, "other_id": table["item_id"], "topic_id": 1 + np.arange(rows) % 5, "clicks": table["age_ms"] ** 0.5}


def renamed(declared: dict, name: str, **changes) -> dict:
    return {**declared, "name": name, **changes}


TOPIC = renamed(ITEM, "topic_id")
CLICKS = renamed(AGE, "clicks")


@pytest.mark.parametrize("strategy", ["warmStart", "incremental", "online"])
@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (FEATURES, []),
        ((AGE, ITEM, USER), []),
        (({**USER, "buckets": 5_000}, ITEM, AGE), []),
        ((*FEATURES, LENGTH), ["newFeatures"]),
        ((LENGTH, AGE, ITEM, USER), ["newFeatures"]),
        ((USER, ITEM, TOPIC, AGE, CLICKS, LENGTH), ["newFeatures"]),
        ((renamed(TOPIC, "topic_id", dim=9), USER, ITEM, AGE), ["newFeatures"]),
    ],
    ids=["the same", "reordered", "more room", "a number", "a number, reordered", "several", "an id of another width"],
)
def test_it_begins_as_the_parent(parent, strategy, features, expected):
    table = with_more(columns(500, seed=2))
    prepared, warnings = start(parent, table, features, strategy)
    np.testing.assert_allclose(says(prepared, table, features), parent.predict(rows_of(table)), atol=1e-6)
    assert codes(warnings) == expected


def test_a_grown_vocabulary_keeps_what_it_knew(parent):
    """New users come, half of the old ones are idle, and all rows of the tables change place."""
    table = columns(600, seed=2)
    fresh_ids = 10_000 - np.arange(600)
    old = np.isin(table["user_id"], IDS[: USERS // 2])
    grown = {**table, "user_id": np.where(old, table["user_id"], fresh_ids), "event_time_ms": table["event_time_ms"] + 10**9}
    prepared, _ = start(parent, grown, expire_after_ms=9 * 10**8)
    kept = prepared.encoding.vocabularies[0].ids
    assert np.isin(fresh_ids[~old], kept).all() and np.isin(IDS[:USERS], kept).sum() == USERS // 2
    known = {name: values[np.isin(table["user_id"], kept)] for name, values in table.items()}
    np.testing.assert_allclose(says(prepared, known), parent.predict(rows_of(known)), atol=1e-6)
    # Who is new begins as what the parent said of those it did not know.
    newcomers = {name: values[~old] for name, values in grown.items()}
    np.testing.assert_allclose(says(prepared, newcomers), parent.predict(rows_of(newcomers)), atol=1e-6)


def test_what_is_kept_stays_with_its_id_after_training_too(parent):
    """One step at no rate to speak of: rows were not only scored but also written to the right places."""
    table = columns(400, seed=2)
    table["user_id"][::4] = NEVER_SEEN
    settings = settings_of(FEATURES, "incremental", **ADMIT, learning_rate=1e-9, wide_learning_rate=1e-9, weight_decay=0)
    child = learn(settings, rows_of(table), parent.checkpoint)
    np.testing.assert_allclose(child.predict(rows_of(table)), parent.predict(rows_of(table)), atol=1e-5)


def test_counts_of_ids_that_wait_are_carried():
    def ids_of(learned: Learned) -> np.ndarray:
        return learned.checkpoint.encoding.vocabularies[0].ids

    rows = [rows_of({**columns(30, seed=seed), "user_id": np.full(30, IDS[0])}) for seed in range(3)]
    for part in rows:
        part.ids[0, 0] = IDS[1]
    first = learn(settings_of(admit_after=3), rows[0])
    second = learn(settings_of(strategy="incremental", admit_after=3), rows[1], first.checkpoint)
    # Replayed rows were counted when they were fresh.
    replayed = joined(rows[1], *(rows_of(columns(50), fresh=False) for _ in range(9)))
    again = learn(settings_of(strategy="incremental", admit_after=3), replayed, first.checkpoint)
    third = learn(settings_of(strategy="incremental", admit_after=3), rows[2], second.checkpoint)
    assert [IDS[1] in ids_of(learned) for learned in (first, second, again, third)] == [False, False, False, True]
    assert ids_of(again).tolist() == [IDS[0]]


def test_incremental_carries_the_optimiser(parent):
    prepared, _ = start(parent, columns(300, seed=2))
    state = prepared.learner.state()
    assert state.keys() == parent.checkpoint.tensors.keys()
    for name, value in parent.checkpoint.tensors.items():
        assert torch.equal(state[name], value), name
    assert state["embedding_4.square"].max() > 0 and state["layers.0.weight.exp_avg_sq"].max() > 0


def test_a_warm_start_forgets_the_moments_but_not_the_linear_part_s(parent):
    state = start(parent, columns(300, seed=2), strategy="warmStart")[0].learner.optimiser_state()
    assert torch.equal(state.pop("wide.square"), parent.checkpoint.tensors["wide.square"])
    assert state and all((value == 0).all() for value in state.values())


def test_the_optimiser_moves_with_the_ids_too_and_knows_nothing_of_new_ones():
    rare = columns(2_000)
    rare["user_id"][:500] = np.arange(1, 501)
    parent = learn(settings_of(FEATURES, admit_after=2), rows_of(rare))
    assert parent.checkpoint.tensors["embedding_4.steps"][1] > 0, "rare users were trained on"
    table = columns(300, seed=2)
    table["user_id"][:50] = NEVER_SEEN + np.arange(50)
    prepared, _ = start(parent, table)
    users, before = prepared.encoding.vocabularies[0], parent.checkpoint.encoding.vocabularies[0]
    for part in ("", ".steps", ".mean", ".square"):
        own, theirs = prepared.learner.state()[f"embedding_4{part}"], parent.checkpoint.tensors[f"embedding_4{part}"]
        torch.testing.assert_close(own[users.rows_of(IDS[:USERS])], theirs[before.rows_of(IDS[:USERS])])
        fresh = own[users.rows_of(NEVER_SEEN + np.arange(50))]
        assert (fresh == (theirs[1] if part == "" else 0)).all()
    fresh = prepared.learner.state()["wide.square"][users.rows_of(NEVER_SEEN + np.arange(50))]
    assert (fresh == 0).all()


def test_without_a_feature_the_rest_is_kept(parent):
    prepared, _ = start(parent, columns(300), (USER, AGE))
    kept = parent.checkpoint.tensors["layers.0.weight"][:, [0, 1, 2, 3, 8]]
    assert torch.equal(prepared.learner.model.layers[0].weight, kept)
    own, theirs = prepared.learner.model.wide, parent.checkpoint.tensors["wide"]
    users = parent.checkpoint.encoding.vocabularies[0].size
    assert torch.equal(own[:users], theirs[:users]) and torch.equal(own[users:], theirs[users + ITEMS + 2 :])


def test_an_id_with_another_width_begins_anew_and_the_rest_is_kept(parent):
    prepared, warnings = start(parent, columns(300), (USER, {**ITEM, "dim": 7}, AGE))
    model, theirs = prepared.learner.model, parent.checkpoint.tensors
    assert codes(warnings) == ["newFeatures"] and "item_id" in warnings[0]["message"]
    assert (model.embedding(7) == 0).all()
    assert torch.equal(model.embedding(4), theirs["embedding_4"][: len(model.embedding(4))])
    assert torch.equal(model.layers[0].weight[:, :4], theirs["layers.0.weight"][:, :4])


def test_a_grown_hidden_layer_begins_anew_and_the_rest_is_loaded(parent):
    prepared, warnings = start(parent, columns(300), hidden=(32, 8))
    skipped = [warning["message"] for warning in warnings if warning["code"] == "tensorSkipped"]
    assert [message.split()[0] for message in skipped] == ["layers.0.weight", "layers.0.bias", "layers.1.weight"]
    assert "is (16, 9) in the parent, expected (32, 9)" in skipped[0]
    state = prepared.learner.state()
    for name in ("embedding_4", "wide", "layers.2.weight", "mean"):
        assert torch.equal(state[name], parent.checkpoint.tensors[name]), name


def test_one_more_layer_is_said(parent):
    _, warnings = start(parent, columns(300), hidden=(16, 8, 8))
    assert "layers.3.weight is not in the parent" in warnings[-2]["message"]


def test_statistics_and_bins_are_the_parent_s_and_fresh_for_a_new_number(parent):
    table = columns(500, seed=1, age_scale=50.0)
    prepared, _ = start(parent, table, (LENGTH, *FEATURES))
    model = prepared.learner.model
    assert model.mean[1] == parent.checkpoint.tensors["mean"][0] and model.deviation[1] != model.deviation[0]
    np.testing.assert_array_equal(prepared.encoding.edges[1], parent.checkpoint.encoding.edges[0])
    assert model.mean[0].item() == pytest.approx(table["length"].mean(), rel=1e-4)
    assert prepared.encoding.edges[0][9] == pytest.approx(np.median(table["length"]), rel=0.02)


def test_a_number_with_another_transform_gets_fresh_statistics(parent):
    prepared, warnings = start(parent, columns(500, seed=1), (USER, ITEM, {**AGE, "transform": "none"}))
    assert prepared.learner.model.mean[0] > 1e6 and codes(warnings) == ["newFeatures"]


@pytest.mark.parametrize(
    ("positions", "begins_as_the_parent"), [(5, True), (8, False)], ids=["as many positions", "another number"]
)
def test_what_positions_weigh_is_kept_while_as_many_are_told_apart(positions, begins_as_the_parent):
    table = columns(1_000)
    table["label"] = (np.random.default_rng(0).random(1_000) < 1 / (1 + table["position"])).astype(np.int8)
    parent = learn(settings_of(positions=5), rows_of(table))
    weights = start(parent, table, positions=positions)[0].learner.model.wide[-positions:]
    assert weights.tolist() == (parent.checkpoint.tensors["wide"][-5:].tolist() if begins_as_the_parent else [0.0] * 8)


def test_a_checkpoint_says_all_it_knows_after_reading(tmp_path, parent):
    save_checkpoint(parent.checkpoint, tmp_path / "checkpoint.pt")
    read = read_checkpoint(tmp_path / "checkpoint.pt")
    assert (read.features, read.hidden, read.tuned) == (tuple(map(feature, FEATURES)), (16, 8), parent.checkpoint.tuned)
    assert all(torch.equal(value, parent.checkpoint.tensors[name]) for name, value in read.tensors.items())
    for ours, theirs in zip(read.encoding.vocabularies, parent.checkpoint.encoding.vocabularies, strict=True):
        assert all((values == getattr(theirs, name)).all() for name, values in vars(ours).items())


def test_module_prefixes_are_stripped(tmp_path, parent):
    document: Checkpoint = parent.checkpoint
    wrapped = {f"module.{name}": value for name, value in document.tensors.items()}
    save_checkpoint(Checkpoint(document.features, document.hidden, document.encoding, wrapped, document.tuned), tmp_path / "c.pt")
    assert read_checkpoint(tmp_path / "c.pt").tensors.keys() == document.tensors.keys()


@pytest.mark.parametrize(
    ("hidden", "top"), [((16, 8), {"layers.2"}), ((), {"layers.0"}), ((8,) * 6, {"layers.5", "layers.6"})]
)
def test_a_frozen_base_trains_the_top_quarter_of_the_layers_only(hidden, top):
    first = learn(settings_of(hidden=hidden, **ADMIT), rows_of(columns(1_000)))
    settings = settings_of(strategy="warmStart", hidden=hidden, freeze_base=True, warm_factor=1.0, **ADMIT)
    second = learn(settings, rows_of(columns(500, seed=1)), first.checkpoint).checkpoint.tensors
    deep = [name for name in second if name.startswith(("layers", "embedding")) and name.endswith(("weight", "bias", "_4"))]
    moved = {name for name in deep if not torch.equal(second[name], first.checkpoint.tensors[name])}
    assert moved == {f"{layer}.{part}" for layer in top for part in ("weight", "bias")}


def test_under_a_frozen_base_what_was_not_loaded_trains_too(parent):
    model = parent.model
    assert base_to_freeze(model, {"layers.0.weight", "layers.0.bias", "layers.1.weight"}) == {
        "embeddings",
        "0.weight",
        "0.bias",
        "1.weight",
    }
    assert base_to_freeze(model, set()) == {"embeddings"}


def test_a_frozen_base_means_nothing_to_a_cold_start(tmp_path):
    frozen = Workplace(tmp_path / "frozen", hyperparameters={"freezeBase": True}).train()
    assert frozen.bytes("model.onnx") == Workplace(tmp_path / "free").train().bytes("model.onnx")


@pytest.mark.parametrize("broken", ["format", "features", "vocabularies", "tensors", "tuned"])
def test_a_file_that_lacks_a_part_is_refused(tmp_path, capsys, parent, broken):
    from freshet_trainer.__main__ import main

    path = tmp_path / "parent.pt"
    save_checkpoint(parent.checkpoint, path)
    document = torch.load(path, weights_only=True)
    document[broken] = {"tensors": {"wide": 3}, "format": 1}.get(broken, [{"no": "such"}])
    torch.save(document, path)
    place = Workplace(tmp_path, strategy="incremental", warmStart={"checkpoint": str(path)})
    assert main([str(place.write())]) == 2
    assert f"{path} is not a checkpoint of this trainer" in capsys.readouterr().err.strip().splitlines()[-1]
