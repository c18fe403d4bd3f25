"""What each strategy moves, how fast, in which order, and by which rows."""

import math

import numpy as np
import pytest
import torch
from synthetic import (
    IDS,
    MINUTE_MS,
    NEVER_SEEN,
    USERS,
    auc,
    columns,
    joined,
    log_loss,
    rows_of,
    settings_of,
)

from freshet_trainer.checkpoint import Tuned
from freshet_trainer.events import Warnings
from freshet_trainer.learner import Learner
from freshet_trainer.manifest import Rates, Repair
from freshet_trainer.strategies import Pace, StepRates, epochs_of, pace, prepare, recency_weights, sampled
from freshet_trainer.train import Learned, learn


@pytest.fixture(scope="module")
def parent() -> Learned:
    return learn(settings_of(), rows_of(columns(2_000)))


def turned(table: dict) -> dict:
    """Tastes that turned: who clicked does not any more."""
    return {**table, "label": (1 - table["label"]).astype(np.int8)}


def prepared_of(rows, parent=None, **settings):
    given = settings_of(**settings)
    return prepare(given, rows, None if parent is None else parent.checkpoint, Warnings(silent=True))


# Rates and passes


@pytest.mark.parametrize(
    ("strategy", "hyperparameters", "tuned", "expected"),
    [
        ("full", {}, Tuned(), StepRates(0.1, 0.01, 0.01)),
        ("full", {}, Tuned(learning_rate_factor=3, wide_learning_rate_factor=0.5), StepRates(0.05, 0.03, 0.03)),
        ("warmStart", {"warm_factor": 0.2}, Tuned(), StepRates(0.02, 0.002, 0.002)),
        ("incremental", {}, Tuned(), StepRates(0.1, 0.01, 0.01)),
        ("incremental", {}, Tuned(rates=Rates(1, 1, 0.5)), StepRates(0.1, 0.01, 0.005)),
        ("incremental", {"rates": Rates(1, 1, 0.1)}, Tuned(rates=Rates(1, 1, 0.5)), StepRates(0.1, 0.01, 0.001)),
        ("online", {}, Tuned(wide_learning_rate_factor=2), StepRates(0.2, 0, 0)),
    ],
)
def test_rates_by_strategy(strategy, hyperparameters, tuned, expected):
    rates = pace(settings_of(strategy=strategy, wide_learning_rate=0.1, **hyperparameters), strategy, tuned).rates
    assert vars(rates) == pytest.approx(vars(expected))


@pytest.mark.parametrize(
    ("strategy", "epochs", "tuned", "expected"),
    [
        ("full", 4, Tuned(), 4),
        ("full", 4, Tuned(epochs=2), 2),
        ("warmStart", 9, Tuned(epochs=7), 2),
        ("warmStart", 4, Tuned(), 1),
        ("warmStart", 1, Tuned(), 1),
        ("incremental", 9, Tuned(epochs=7), 1),
        ("online", 9, Tuned(), 1),
    ],
)
def test_passes_by_strategy(strategy, epochs, tuned, expected):
    assert epochs_of(settings_of(strategy=strategy, epochs=epochs), strategy, tuned) == expected


@pytest.mark.parametrize(
    ("warmup", "decay", "expected"),
    [
        (0, 1, [1, 1, 1, 1, 1]),
        (0.4, 1, [1 / 3, 2 / 3, 1, 1, 1]),
        (0, 0.2, [1, 0.8, 0.6, 0.4, 0.2]),
        (0.4, 0.5, [1 / 3, 2 / 3, 1, 0.75, 0.5]),
        (1, 0.5, [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6]),
    ],
)
def test_the_rate_of_embeddings_and_layers_grows_and_decays(warmup, decay, expected):
    rates = [Pace(StepRates(0.1, 1.0, 2.0), warmup, decay).at(step, 5) for step in range(5)]
    assert [rate.embeddings for rate in rates] == pytest.approx(expected)
    assert [rate.layers for rate in rates] == pytest.approx([2 * factor for factor in expected])
    assert {rate.wide for rate in rates} == {0.1}


def test_the_only_step_of_a_training_has_a_rate():
    assert Pace(StepRates(0.1, 1.0, 2.0), 0.05, 0.5).at(0, 1).layers > 0


def test_a_warm_start_moves_at_its_fraction_of_the_rate(parent):
    settings = settings_of(strategy="warmStart", epochs=9, batch_size=500, warmup=0, weight_decay=0)
    warm = learn(settings, rows_of(columns(1_000, seed=1)), parent.checkpoint)
    assert (warm.result["strategy"], warm.result["examples"]) == ("warmStart", 2_000)
    moved = (warm.checkpoint.tensors["layers.1.weight"] - parent.checkpoint.tensors["layers.1.weight"]).abs().max()
    # Four steps of AdamW move a weight by at most about one learning rate each.
    assert 0.001 < moved.item() < 4.5 * 0.01 * 0.1


def test_incremental_is_one_pass_over_fresh_and_replayed_rows(parent):
    rows = joined(rows_of(columns(600, seed=1)), rows_of(columns(300), fresh=False))
    updated = learn(settings_of(strategy="incremental", epochs=9), rows, parent.checkpoint)
    assert (updated.result["strategy"], updated.result["examples"]) == ("incremental", 900)


@pytest.mark.parametrize("strategy", ["warmStart", "incremental", "online"])
def test_it_follows_tastes_that_turned(parent, strategy):
    tomorrow = turned(columns(1_000, seed=2))
    settings = settings_of(strategy=strategy, warm_factor=1.0, epochs=8)
    child = learn(settings, rows_of(turned(columns(2_000, seed=1))), parent.checkpoint)
    before, after = (log_loss(tomorrow["label"], model.predict(rows_of(tomorrow))) for model in (parent, child))
    assert after < before - 0.1


def test_full_is_blind_to_the_parent(parent):
    rows = rows_of(columns(500, seed=1))
    with_parent, without = learn(settings_of(), rows, parent.checkpoint), learn(settings_of(), rows)
    assert all(torch.equal(with_parent.checkpoint.tensors[name], value) for name, value in without.checkpoint.tensors.items())


def test_online_moves_the_linear_part_alone(parent):
    table = columns(800, seed=1)
    table["user_id"][::10] = NEVER_SEEN
    rows = joined(rows_of(table), rows_of(columns(100), fresh=False))
    settings = settings_of(strategy="online", repair=Repair(0.5, 0.5), freeze_base=True)
    child = learn(settings, rows, parent.checkpoint).checkpoint
    theirs, grown = parent.checkpoint, child.encoding.vocabularies[0].rows_of(IDS[:USERS])
    for name, value in child.tensors.items():
        if name.startswith(("layers", "mean", "deviation")):
            assert torch.equal(value, theirs.tensors[name]), name
    for part in ("", ".steps", ".mean", ".square"):
        before = theirs.tensors[f"embedding_4{part}"][theirs.encoding.vocabularies[0].rows_of(IDS[:USERS])]
        assert torch.equal(child.tensors[f"embedding_4{part}"][grown], before), part
    assert (child.tensors["wide"][grown] != theirs.tensors["wide"][grown]).all()


def test_new_rows_learn_at_their_own_rate(parent):
    table = columns(1_000, seed=1)
    table["user_id"] = np.where(np.arange(1_000) % 4 == 0, NEVER_SEEN + np.arange(1_000) % 8, table["user_id"])

    def moved(**rates: float) -> tuple[float, float, float]:
        """How far known rows, new rows and layers went from where they began."""
        settings = settings_of(strategy="incremental", rates=Rates(**rates), warmup=0, weight_decay=0)
        before = prepare(settings, rows_of(table), parent.checkpoint, Warnings(silent=True)).learner.state()
        after = learn(settings, rows_of(table), parent.checkpoint).checkpoint
        users = after.encoding.vocabularies[0]
        distance = (after.tensors["embedding_4"] - before["embedding_4"]).norm(dim=1)
        new = users.rows_of(NEVER_SEEN + np.arange(0, 8, 4))
        layers = (after.tensors["layers.0.weight"] - before["layers.0.weight"]).norm()
        return distance[users.rows_of(IDS[:USERS])].mean().item(), distance[new].mean().item(), layers.item()

    equal = moved()
    slow_known, slow_new, slow_dense = moved(known=0.1), moved(new=0.1), moved(dense=0.1)
    for part, slow in enumerate((slow_known, slow_new, slow_dense)):
        for other in range(3):
            factor = slow[other] / equal[other]
            assert factor < 0.3 if other == part else factor > 0.6, (part, other, factor)


# The order of rows


def test_every_batch_has_the_same_share_of_history(parent):
    rows = joined(rows_of(columns(900, seed=1)), rows_of(columns(300), fresh=False))
    for strategy in ("warmStart", "incremental", "online"):
        order = prepared_of(rows, parent, strategy=strategy).order(seed=1, epoch=0)
        assert sorted(order.tolist()) == list(range(1_200))
        assert all((batch >= 900).sum() == 10 for batch in order.split(40))


def test_online_goes_in_order_of_time_and_others_do_not(parent):
    table = columns(300, seed=1)
    table["event_time_ms"] = table["event_time_ms"][::-1].copy()
    orders = {
        strategy: prepared_of(rows_of(table), parent, strategy=strategy).order(seed=1, epoch=0).tolist()
        for strategy in ("online", "warmStart")
    }
    assert orders["online"] == list(range(299, -1, -1))
    assert sorted(orders["warmStart"]) == list(range(300)) and orders["warmStart"] != sorted(orders["warmStart"])


def test_the_order_depends_on_seed_and_epoch_and_nothing_else():
    rows = rows_of(columns(300))
    prepared, again = prepared_of(rows), prepared_of(rows)
    orders = {(seed, epoch): prepared.order(seed, epoch).tolist() for seed in (1, -1) for epoch in (0, 1)}
    assert len({tuple(order) for order in orders.values()}) == 4
    assert all(again.order(*key).tolist() == order for key, order in orders.items())


# Which rows count, and how much


def test_down_sampling_keeps_all_positive_rows_and_a_share_of_the_others():
    labels = columns(20_000)["label"]
    kept = sampled(labels, 0.2, seed=1)
    assert kept[labels == 1].all() and kept[labels == 0].mean() == pytest.approx(0.2, abs=0.02)
    assert (kept == sampled(labels, 0.2, seed=1)).all() and (kept != sampled(labels, 0.2, seed=2)).any()
    assert sampled(labels, 1.0, seed=1).all()


def rarely(rows: int, seed: int = 0) -> dict:
    """Rows with one click in ten."""
    table = columns(rows, seed)
    return {**table, "label": table["label"] * (np.random.default_rng(seed).random(rows) < 0.2).astype(np.int8)}


@pytest.mark.parametrize("negative_share", [0.5, 0.2])
def test_down_sampling_leaves_the_probabilities_calibrated(negative_share):
    table, unseen = rarely(12_000), rarely(6_000, seed=5)
    everything, sample = (learn(settings_of(negative_share=share, epochs=2), rows_of(table)) for share in (1.0, negative_share))
    negatives = (table["label"] == 0).sum()
    assert sample.result["examples"] < 2 * (12_000 - (1 - negative_share) * negatives + 200)
    probability = sample.predict(rows_of(unseen))
    assert probability.mean() == pytest.approx(unseen["label"].mean(), rel=0.12)
    assert auc(unseen["label"], probability) > auc(unseen["label"], everything.predict(rows_of(unseen))) - 0.02


def test_rows_weigh_half_a_half_life_before_the_newest():
    times = np.array([0, 5, 10, 10]) * MINUTE_MS
    weights = recency_weights(times, 5 * MINUTE_MS, np.array([True, True, True, True]))
    assert weights.tolist() == pytest.approx([weights[2] / 4, weights[2] / 2, weights[2], weights[2]])
    assert weights.mean() == pytest.approx(1)
    only_old = recency_weights(times, 5 * MINUTE_MS, np.array([True, True, False, False]))
    assert only_old[:2].mean() == pytest.approx(1)
    assert recency_weights(times, 1, np.array([True] * 4)).tolist() == pytest.approx([0, 0, 2, 2])


def test_recency_weights_make_newer_rows_count_more():
    old, new, unseen = columns(1_500), turned(columns(1_500, seed=1)), turned(columns(1_000, seed=2))
    new["event_time_ms"] = new["event_time_ms"] + 1_500 * MINUTE_MS
    rows = joined(rows_of(old), rows_of(new))

    def loss(half_life_ms: float | None) -> float:
        model = learn(settings_of(recency_half_life_ms=half_life_ms), rows)
        return log_loss(unseen["label"], model.predict(rows_of(unseen)))

    assert loss(300 * MINUTE_MS) < loss(None) - 0.1


def test_distillation_pulls_towards_the_parent(parent):
    table, unseen = turned(columns(2_000, seed=1)), columns(1_000, seed=2)
    told = parent.predict(rows_of(unseen))

    def distance(share: float) -> float:
        settings = settings_of(strategy="warmStart", warm_factor=1.0, epochs=16, distillation=share)
        child = learn(settings, rows_of(table), parent.checkpoint)
        return float(np.abs(child.predict(rows_of(unseen)) - told).mean())

    distances = [distance(share) for share in (0.0, 0.5, 0.95)]
    assert distances[0] > distances[1] + 0.05 and distances[1] > distances[2] + 0.05 and distances[2] < 0.1


def test_distillation_and_down_sampling_agree_on_the_probabilities():
    table = rarely(6_000)
    teacher = learn(settings_of(), rows_of(table))
    settings = settings_of(strategy="warmStart", warm_factor=1.0, epochs=16, distillation=0.9, negative_share=0.2)
    child = learn(settings, rows_of(rarely(6_000, seed=1)), teacher.checkpoint)
    unseen = rarely(4_000, seed=2)
    assert child.predict(rows_of(unseen)).mean() == pytest.approx(unseen["label"].mean(), rel=0.15)


def test_what_is_distilled_is_the_parent_before_its_repair(parent):
    rows = rows_of(columns(500, seed=1))
    given = {"strategy": "incremental", "distillation": 0.5}
    plain, repaired = (prepared_of(rows, parent, repair=repair, **given) for repair in (None, Repair(0.2, 1.0)))
    assert torch.equal(plain.examples.targets, repaired.examples.targets)


# Repair


@pytest.mark.parametrize("strategy", ["warmStart", "incremental"])
def test_repair_moves_the_hidden_layers_and_nothing_else(parent, strategy):
    rows, shrink = rows_of(columns(500, seed=1)), 0.8
    plain, shrunk, perturbed = (
        prepared_of(rows, parent, strategy=strategy, repair=repair).learner.state()
        for repair in (None, Repair(shrink, 0.0), Repair(shrink, 0.3))
    )
    hidden = {f"layers.{layer}.{part}" for layer in (0, 1) for part in ("weight", "bias")}
    for name, value in plain.items():
        if name in hidden:
            torch.testing.assert_close(shrunk[name], shrink * value)
            drawn = (perturbed[name] - shrunk[name]) / 0.3
            bound = 1 / math.sqrt(plain[name.replace("bias", "weight")].shape[1])
            assert 0.5 * bound < drawn.abs().max() <= bound * 1.001
        elif name.rsplit(".", 1)[0] in hidden:
            assert (perturbed[name] == 0).all(), f"{name}: moments of weights that are no more"
        else:
            assert torch.equal(perturbed[name], value), name


def test_repair_wakes_units_that_say_nothing(parent):
    checkpoint = parent.checkpoint
    dead = {name: value.clone() for name, value in checkpoint.tensors.items()}
    dead["layers.0.weight"][:12], dead["layers.0.bias"][:12] = 0, -0.01
    sick = type(checkpoint)(checkpoint.features, checkpoint.hidden, checkpoint.encoding, dead, checkpoint.tuned)
    rows = rows_of(columns(500, seed=1))

    def dormant(repair: Repair | None) -> float:
        return learn(settings_of(strategy="incremental", repair=repair), rows, sick).result["metrics"]["dormantUnits"]

    assert dormant(None) > 0.35 > 0.25 > dormant(Repair(0.8, 0.5))


def test_a_batch_in_which_all_is_known_moves_little():
    """A learner that is told what it says already stays where it is (without decay)."""
    prepared = prepared_of(rows_of(columns(200)), weight_decay=0.0)
    learner: Learner = prepared.learner
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    examples = prepared.examples
    said = torch.sigmoid(learner.model(examples.cells, examples.dense)).detach()
    known = type(examples)(examples.cells, examples.dense, examples.labels, said, examples.weights)
    learner.step(known, StepRates(0.1, 0.0, 0.0))
    torch.testing.assert_close(learner.model.wide, before["wide"], atol=1e-4, rtol=0)
