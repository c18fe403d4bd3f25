import numpy as np
import pytest
from freshet_trainer.manifest import Categorical, Hyperparameters, Numeric, Settings
from prequential.chains import Chains, Plan
from prequential.floor import BATCH, RATE, LogisticRegression, run_floor, weight_indices
from prequential.intervals import Measured, auc_replicates, lower_bound, slope
from prequential.log_rows import HOUR_MS, Log, Rows, blocks_of, draw_replay
from prequential.measures import SortedScores, auc, normalized_entropy


def made_log(count: int, every_ms: int = 60_000, seed: int = 0) -> Log:
    drawn = np.random.default_rng(seed)
    ids = drawn.integers(1, 40, size=(count, 2))
    labels = (drawn.random(count) < np.where(ids[:, 0] % 2 == 0, 0.7, 0.3)).astype(np.float32)
    rows = Rows(
        ids=ids.astype(np.int64),
        dense=drawn.random((count, 1)).astype(np.float32),
        labels=labels,
        time_ms=np.arange(count) * every_ms,
        position=np.zeros(count, dtype=np.int32),
        fresh=np.ones(count, dtype=bool),
    )
    return Log(rows, drawn.integers(0, 50, count), drawn.integers(0, 2**63, count).astype(np.uint64))


def pairs_won(labels, scores, weights):
    positive, negative = labels == 1, labels != 1
    ahead = np.sign(scores[positive][:, None] - scores[negative][None]) / 2 + 0.5
    pairs = weights[positive][:, None] * weights[negative][None]
    return (ahead * pairs).sum() / pairs.sum()


def test_weighted_auc_is_the_share_of_weighted_pairs_with_ties_counted_half():
    drawn = np.random.default_rng(1)
    labels, weights = (drawn.random(300) < 0.4).astype(np.float32), drawn.poisson(1.0, (300, 5))
    for scores in (drawn.random(300), np.round(drawn.random(300), 1), np.zeros(300)):
        expected = [pairs_won(labels, scores, weights[:, column]) for column in range(5)]
        np.testing.assert_allclose(SortedScores(labels, scores).auc(weights), expected, rtol=1e-12)
        assert auc(labels, scores) == pytest.approx(pairs_won(labels, scores, np.ones(300)))


def test_without_both_classes_nothing_is_measured():
    assert np.isnan(auc(np.ones(3), np.arange(3.0)))
    assert np.isnan(normalized_entropy(np.zeros(3), np.full(3, 0.5)))


def test_normalized_entropy_is_one_for_the_base_rate_and_finite_for_certain_errors():
    labels = np.array([1.0, 0.0, 0.0, 0.0])
    assert normalized_entropy(labels, np.full(4, 0.25)) == pytest.approx(1.0)
    assert normalized_entropy(labels, 1 - labels) == pytest.approx(-np.log(1e-6) / 0.5623351446, rel=1e-4)


def test_differences_are_paired_and_users_are_weighed_whole():
    log = made_log(4_000)
    good = np.where(log.rows.ids[:, 0] % 2 == 0, 0.7, 0.3) + np.random.default_rng(2).random(4_000) / 100
    everything = np.arange(4_000)
    same = {"labels": log.labels, "users": log.users, "replicates": 200, "threads": 2}
    one, other, worse = auc_replicates(
        [Measured([good], everything), Measured([good + 1], everything), Measured([good, 1 - good], everything)], **same
    )
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(worse, 0.5)
    assert 0 < lower_bound(one - worse) < auc(log.labels, good) - 0.5
    again = auc_replicates([Measured([good], everything)], **same)[0]
    np.testing.assert_array_equal(one, again)
    # Twice the rows of the same users say nothing new; twice the users would.
    doubled = {**same, "labels": np.tile(log.labels, 2), "users": np.tile(log.users, 2)}
    twice = auc_replicates([Measured([np.tile(good, 2)], np.arange(8_000))], **doubled)[0]
    assert twice.std() == pytest.approx(one.std())


def test_a_slope_is_that_of_weighted_least_squares_and_leaves_out_what_is_missing():
    x, weights = np.arange(6.0), np.array([1.0, 2.0, 1.0, 3.0, 1.0, 1.0])
    y = np.stack([3 + 0.5 * x, np.array([0.0, 1.0, np.nan, 3.0, 4.0, 5.0])], axis=1)
    np.testing.assert_allclose(slope(x, y, weights), [0.5, 1.0])
    noisy = np.random.default_rng(3).random(6)
    expected = np.polyfit(x, noisy, 1, w=np.sqrt(weights))[0]
    np.testing.assert_allclose(slope(x, noisy[:, None], weights), [expected])


def test_blocks_cover_the_log_once_and_leave_out_empty_ones():
    times = np.array([0, 1, 5, 6, 7, 20, 21, 31])
    blocks = blocks_of(times, 5, 5)
    assert [(block.lo, block.hi, block.from_ms) for block in blocks] == [(2, 5, 5), (5, 7, 20), (7, 8, 30)]


def test_replay_is_a_share_of_what_trains_from_all_of_history_and_the_same_every_time():
    log = made_log(6_000)
    block = blocks_of(log.time_ms, 90 * HOUR_MS, 4 * HOUR_MS)[0]
    asked = {"share": 0.25, "season_ms": 24 * HOUR_MS, "oldest_ms": 10 * HOUR_MS}
    drawn = draw_replay(log, block, **asked, seed=1)
    assert len(drawn) == 80 and len(np.unique(drawn)) == 80 and block.hi - block.lo == 240
    assert drawn.min() >= 600 and drawn.max() < block.lo
    # 80 hours before the block are three seasons, each with its third.
    shares = np.bincount((drawn - 600) * 3 // (block.lo - 600))
    assert shares.max() - shares.min() <= 1
    np.testing.assert_array_equal(drawn, draw_replay(log, block, **asked, seed=1))
    assert len(np.intersect1d(drawn, draw_replay(log, block, **asked, seed=2))) < 20


def run_chains(log: Log) -> dict[str, np.ndarray]:
    features = (Categorical("one", 100, 4), Categorical("two", 100, 4), Numeric("number", "none"))
    rates = Hyperparameters(learning_rate=0.01, epochs=1, batch_size=64, hidden=(4,), tune=False)
    plan = Plan(10 * HOUR_MS, replay_share=0.1, season_ms=24 * HOUR_MS, window_ms=168 * HOUR_MS, reanchor_ms=12 * HOUR_MS)
    chains = Chains(log, Settings(features, "full", rates, seed=1), plan, seed=3, say=lambda _: None)
    outcomes = chains.frozen_and_full((4 * HOUR_MS, 8 * HOUR_MS)) | chains.stepwise("warmStart", 4 * HOUR_MS)
    outcomes |= chains.stepwise("incremental", 4 * HOUR_MS, online=True)
    # Four blocks and a rest: in full at the hour 22, for the twelve hours that had passed.
    assert outcomes["incremental@4h"].cost.trainings == 4
    assert outcomes["incremental@4h"].cost.examples == 2 * (240 + 26) + 22 * 60 + 240 + 26
    assert outcomes["online@1h"].cost.examples == outcomes["incremental@4h"].cost.examples + 4 * 180 + 60
    assert outcomes["full@8h"].cost.examples == (18 + 26) * 60
    assert not any(outcome.other_strategies for outcome in outcomes.values())
    return {name: outcome.probabilities for name, outcome in outcomes.items()}


def test_no_chain_sees_a_label_before_its_time():
    log = made_log(28 * 60)
    before = run_chains(log)
    # The third block, which is known when it ends, at the hour 22; its first hour to online updates an hour after it began.
    log.labels[18 * 60 : 22 * 60] = 1 - log.labels[18 * 60 : 22 * 60]
    after = run_chains(log)
    known_from = {"frozen": 28, "full@8h": 26, "online@1h": 19}
    for name in before:
        hour = known_from.get(name, 22)
        assert np.isnan(before[name][: 10 * 60]).all() and np.isfinite(before[name][10 * 60 :]).all()
        np.testing.assert_array_equal(after[name][10 * 60 : hour * 60], before[name][10 * 60 : hour * 60], err_msg=name)
        if hour < 28:
            assert (after[name][hour * 60 :] != before[name][hour * 60 :]).mean() > 0.9, name


def test_the_floor_never_sees_a_label_before_it_scores_the_row():
    log = made_log(3_000)
    blocks = blocks_of(log.time_ms, 20 * HOUR_MS, 4 * HOUR_MS)
    before = run_floor(log, blocks, ([0, 1], [0]))
    first = blocks[0].lo
    assert np.isnan(before[:first]).all() and np.isfinite(before[first:]).all()
    assert auc(log.labels[first:], before[first:]) > 0.65
    changed = blocks[2]
    log.labels[changed.lo :] = 1 - log.labels[changed.lo :]
    after = run_floor(log, blocks, ([0, 1], [0]))
    np.testing.assert_array_equal(after[first : changed.hi], before[first : changed.hi])
    assert (after[changed.hi :] != before[changed.hi :]).mean() > 0.9


def test_the_floor_is_adagrad_with_a_rate_a_weight():
    indices, labels = np.array([[0, 2], [1, 2]]), np.array([1.0, 0.0])
    model = LogisticRegression(3)
    model.train(indices, labels)
    # Errors of -0.5 and 0.5: the shared weight's gradients cancel, the first step of the others is the rate.
    np.testing.assert_allclose(model.weights, [RATE, -RATE, 0.0], rtol=1e-4)
    assert BATCH == 64


def test_numbers_of_the_floor_fall_into_equal_bins_of_what_was_known_with_a_weight_for_missing_ones():
    dense = np.concatenate([np.arange(1_000), [5_000, np.nan]]).astype(np.float32)[:, None]
    indices, weights = weight_indices(np.empty((1_002, 0), dtype=np.int64), dense, known=1_000)
    assert weights == 22
    counts = np.bincount(indices[:1_000, 0])
    assert len(counts) == 20 and counts.max() - counts.min() <= 1
    assert indices[1_000, 0] == 19 and indices[1_001, 0] == 20 and (indices[:, 1] == 21).all()
