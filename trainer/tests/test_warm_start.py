"""Warm starts: begin as the parent, load what fits, say what does not, and move with the data."""

import numpy as np
import pytest
import torch
from synthetic import AGE, ITEM, LENGTH, USER, Workplace, columns, log_loss

from freshet_trainer.__main__ import main
from freshet_trainer.events import Warnings
from freshet_trainer.manifest import Categorical, Numeric
from freshet_trainer.model import RankingModel
from freshet_trainer.warm_start import freeze_base, load_parent, read_checkpoint, save_checkpoint

USER_TABLE = "tables.feature_user_id.weight"


def train(place: Workplace) -> Workplace:
    assert main([str(place.write())]) == 0
    return place


def weights(place: Workplace) -> dict[str, torch.Tensor]:
    return read_checkpoint(place.output / "checkpoint.pt").weights


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Workplace:
    return train(Workplace(tmp_path_factory.mktemp("parent"), columns(2_000)))


@pytest.fixture
def barely_moving(tmp_path, parent):
    """Warm-starts from the parent at a rate so small that the start shows in the result."""

    def start(table: dict | None = None, **changes) -> Workplace:
        place = Workplace(tmp_path, columns(500, seed=1) if table is None else table, **changes).warm_from(parent)
        place.change(hyperparameters={"learningRate": 1e-9, "weightDecay": 0.0})
        return train(place)

    return start


def test_it_takes_a_quarter_of_the_epochs_at_a_tenth_of_the_rate(tmp_path, parent):
    warm = train(Workplace(tmp_path, hyperparameters={"epochs": 9, "batchSize": 1_000}).warm_from(parent))
    assert (warm.result["strategy"], warm.result["epochs"], warm.warning_codes) == ("warmStart", 2, [])
    moved = (weights(warm)["layers.1.weight"] - weights(parent)["layers.1.weight"]).abs().max().item()
    # Two steps of AdamW move a weight by at most about one learning rate each.
    assert 0.001 < moved < 2.5 * 0.01 * 0.1


def test_one_cold_epoch_is_one_warm_epoch(tmp_path, parent):
    assert train(Workplace(tmp_path, hyperparameters={"epochs": 1}).warm_from(parent)).result["epochs"] == 1


def test_it_begins_as_the_parent(barely_moving, parent):
    table = columns(100, seed=2)
    np.testing.assert_allclose(barely_moving().predict(table), parent.predict(table), atol=1e-5)


def test_it_follows_tastes_that_turned(tmp_path, parent):
    def turned(rows: int, seed: int) -> dict:
        table = columns(rows, seed)
        return {**table, "label": (1 - table["label"]).astype(np.int8)}

    warm = Workplace(tmp_path, turned(2_000, 1), hyperparameters={"warmFactor": 1.0}).warm_from(parent)
    tomorrow = turned(1_000, 2)
    before = log_loss(tomorrow["label"], parent.predict(tomorrow))
    assert log_loss(tomorrow["label"], train(warm).predict(tomorrow)) < before - 0.1


def test_without_a_parent_it_trains_in_full_and_says_so(tmp_path):
    place = train(Workplace(tmp_path, strategy="warmStart"))
    assert (place.result["strategy"], place.result["epochs"], place.warning_codes) == ("full", 4, ["coldStart"])


def test_full_leaves_the_parent_alone(tmp_path, parent):
    place = Workplace(tmp_path / "given").warm_from(parent)
    place.change(strategy="full")
    assert train(place).bytes("model.onnx") == train(Workplace(tmp_path / "none")).bytes("model.onnx")


def test_statistics_are_carried_from_the_parent_and_fresh_for_a_new_number(barely_moving, parent):
    table = columns(500, seed=1, age_scale=50.0)
    statistics = barely_moving(table, features=[USER, ITEM, AGE, LENGTH]).result["featureStatistics"]
    assert statistics["age_ms"]["mean"] == parent.result["featureStatistics"]["age_ms"]["mean"]
    assert statistics["length"]["mean"] == pytest.approx(table["length"].mean(), rel=1e-4)


def test_a_number_with_another_transform_gets_fresh_statistics(barely_moving):
    place = barely_moving(features=[USER, ITEM, {**AGE, "transform": "none"}])
    assert place.result["featureStatistics"]["age_ms"]["mean"] > 1e6
    assert place.warning_codes == ["newFeatures"]


@pytest.mark.parametrize(
    "features",
    [[USER, ITEM, AGE, LENGTH], [LENGTH, AGE, ITEM, USER], [USER, ITEM, {**ITEM, "name": "length_id"}, AGE]],
    ids=["a number", "a number, in another order", "a category"],
)
def test_with_a_new_feature_it_still_begins_as_the_parent(barely_moving, parent, features):
    table = {**columns(500, seed=1)}
    table["length_id"] = table["length"].astype(np.int64)
    warm = barely_moving(table, features=features)
    assert "newFeatures" in warm.warning_codes
    np.testing.assert_allclose(warm.predict(table), parent.predict(table), atol=1e-5)


def test_without_a_feature_the_rest_is_kept(barely_moving, parent):
    warm = barely_moving(features=[USER, AGE])
    assert warm.warning_codes == ["tensorUnused"]
    kept = weights(parent)["layers.0.weight"][:, [0, 1, 2, 3, 8]]
    torch.testing.assert_close(weights(warm)["layers.0.weight"], kept, atol=1e-6, rtol=0)


def test_a_grown_hidden_layer_begins_anew_and_the_rest_is_loaded(barely_moving, parent):
    warm = barely_moving(hyperparameters={"hidden": [32, 8]})
    skipped = [warning["message"] for warning in warm.result["warnings"] if warning["code"] == "tensorSkipped"]
    assert [message.split()[0] for message in skipped] == ["layers.0.weight", "layers.0.bias", "layers.1.weight"]
    assert "is (16, 9) in the parent, expected (32, 9)" in skipped[0]
    for name in (USER_TABLE, "layers.2.weight", "mean"):
        torch.testing.assert_close(weights(warm)[name], weights(parent)[name], atol=1e-6, rtol=0)


def test_a_resized_table_begins_anew(barely_moving, parent):
    warm = barely_moving(features=[{**USER, "buckets": 2003}, ITEM, AGE])
    assert warm.warning_codes == ["tensorSkipped", "newFeatures"]
    assert weights(warm)[USER_TABLE].abs().max() < 1e-6


def test_module_prefixes_are_stripped(tmp_path, parent):
    wrapped = Workplace(tmp_path / "wrapped")
    wrapped.output.mkdir(parents=True)
    document = torch.load(parent.output / "checkpoint.pt", weights_only=True)
    document["model"] = {f"module.{name}": weight for name, weight in document["model"].items()}
    torch.save(document, wrapped.output / "checkpoint.pt")
    plain = train(Workplace(tmp_path / "a").warm_from(parent))
    stripped = train(Workplace(tmp_path / "b").warm_from(wrapped))
    assert stripped.warning_codes == []
    assert stripped.bytes("model.onnx") == plain.bytes("model.onnx")


def test_a_frozen_base_trains_the_top_quarter_only(tmp_path, parent):
    changes = {"freezeBase": True, "hidden": [16, 8], "warmFactor": 1.0}
    warm = train(Workplace(tmp_path, hyperparameters=changes).warm_from(parent))
    moved = {name for name, weight in weights(warm).items() if not torch.equal(weight, weights(parent)[name])}
    assert moved == {"layers.2.weight", "layers.2.bias"}


def test_under_a_frozen_base_what_was_not_loaded_trains_too(tmp_path):
    features = (Categorical("user_id", 11, 2), Numeric("age_ms", "none"))
    save_checkpoint(RankingModel(features, (4, 4)), tmp_path / "parent.pt")
    model = RankingModel((*features, Categorical("item_id", 11, 2)), (4, 4))
    freeze_base(model, load_parent(model, read_checkpoint(tmp_path / "parent.pt"), Warnings()))
    training = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert training == ["tables.feature_item_id.weight", "layers.2.weight", "layers.2.bias"]


def test_a_frozen_base_means_nothing_to_a_cold_start(tmp_path):
    frozen = train(Workplace(tmp_path / "frozen", hyperparameters={"freezeBase": True}))
    assert frozen.bytes("model.onnx") == train(Workplace(tmp_path / "free")).bytes("model.onnx")


def test_a_stopped_warm_start_resumes_to_the_same_bytes(tmp_path, parent):
    from freshet_trainer.__main__ import run
    from freshet_trainer.errors import Stopped
    from freshet_trainer.manifest import read_manifest

    straight = train(Workplace(tmp_path / "straight", hyperparameters={"epochs": 8}).warm_from(parent))
    place = Workplace(tmp_path / "stopped", hyperparameters={"epochs": 8}).warm_from(parent)
    with pytest.raises(Stopped):
        run(read_manifest(place.write()), lambda steps=[]: steps.append(True) or len(steps) == 3)
    assert train(place).bytes("model.onnx") == straight.bytes("model.onnx")
