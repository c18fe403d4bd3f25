"""Which ids own rows: let in by count, out when idle, and nobody's row is lost on the way."""

import numpy as np
import pytest

from freshet_trainer.vocabulary import FIRST_OWN, MISSING, RARE, Vocabulary, grow

HOUR = 3_600_000


def after(*parts: list[int], admit_after: int = 2, expire_hours: float = 100, capacity: int = 100):
    """The growth by the last of these trainings, an hour apart."""
    grown, known = None, Vocabulary()
    for hour, ids in enumerate(parts):
        rows = np.array(ids, dtype=np.int64)
        times = np.full(len(rows), hour * HOUR)
        limits = {"admit_after": admit_after, "expire_after_ms": int(expire_hours * HOUR), "capacity": capacity}
        grown = grow(known, rows, times, **limits)
        known = grown.vocabulary
    return grown


def members(*parts: list[int], **limits) -> set[int]:
    return set(after(*parts, **limits).vocabulary.ids.tolist())


@pytest.mark.parametrize(
    ("parts", "limits", "expected"),
    [
        ([[5, 5, 7]], {}, {5}),
        ([[5, 7]], {"admit_after": 1}, {5, 7}),
        ([[5], [5]], {}, {5}),
        ([[5], [7], [5]], {"admit_after": 2}, {5}),
        ([[5], [5], [5]], {"admit_after": 4}, set()),
        ([[0, 0, 0, 5, 5]], {}, {5}),
        ([[-5, -5, 5]], {}, {-5}),
        ([[]], {}, set()),
    ],
    ids=["count", "at once", "over two trainings", "with a gap", "not yet", "0 is no id", "below zero", "no rows"],
)
def test_an_id_is_let_in_once_it_was_seen_often_enough(parts, limits, expected):
    assert members(*parts, **limits) == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([[5, 5], [7, 7], [7]], {5, 7}),
        ([[5, 5], [7, 7], [7], [7]], {7}),
        ([[5, 5], [7, 7], [5], [7]], {5, 7}),
        # An id that waits is forgotten as well: its count begins anew.
        ([[5], [7, 7], [7], [7], [5]], {7}),
        ([[5, 5], []], {5}),
    ],
    ids=["not yet idle for longer", "idle", "seen again", "idle while waiting", "time stands still without rows"],
)
def test_an_id_leaves_when_it_is_idle(parts, expected):
    assert members(*parts, expire_hours=2) == expected


def test_beyond_the_capacity_the_longest_idle_leave():
    assert members([1, 1], [2, 2], [1], [3, 3], capacity=FIRST_OWN + 2) == {1, 3}
    assert members([1, 1, 2, 2], capacity=FIRST_OWN) == set()
    table = after(list(range(1, 500)) * 2, capacity=64).vocabulary
    assert table.size == 64


def test_no_more_ids_wait_than_could_be_let_in():
    assert len(after(list(range(1, 500)), capacity=64).vocabulary.waiting) <= 64


def test_each_row_says_where_it_was_before():
    grown = after([5, 5, 7, 7, 9, 9], [3, 3, 7, 9], [3, 7, 11, 11], expire_hours=1)
    owned = dict(zip(grown.vocabulary.ids.tolist(), zip(grown.origin[FIRST_OWN:].tolist(), grown.is_new[FIRST_OWN:])))
    before = after([5, 5, 7, 7, 9, 9], [3, 3, 7, 9], expire_hours=1).vocabulary
    rows = before.rows_of(np.array([3, 7, 9]))
    # What was shared by all rare ids is where a new one begins.
    assert owned == {3: (rows[0], False), 7: (rows[1], False), 9: (rows[2], False), 11: (RARE, True)}
    assert grown.origin[:FIRST_OWN].tolist() == [MISSING, RARE] and not grown.is_new[:FIRST_OWN].any()


def test_the_order_of_the_rows_plays_no_role():
    rng = np.random.default_rng(0)
    ids, times = rng.integers(-50, 50, 1_000), rng.integers(0, 100, 1_000)
    mixed = rng.permutation(1_000)
    limits = {"admit_after": 10, "expire_after_ms": 20, "capacity": 40}
    straight, shuffled = (grow(Vocabulary(), ids[at], times[at], **limits) for at in (slice(None), mixed))
    for name, values in vars(straight.vocabulary).items():
        np.testing.assert_array_equal(values, getattr(shuffled.vocabulary, name), name)


def test_rows_of_ids():
    vocabulary = after([-(2**63), -(2**63), 2**63 - 1, 2**63 - 1, 5, 5, 6]).vocabulary
    asked = np.array([0, 6, NEVER := 99, 5, -(2**63), 2**63 - 1, 5])
    rows = vocabulary.rows_of(asked)
    assert rows[:3].tolist() == [MISSING, RARE, RARE] and NEVER not in vocabulary.ids
    assert rows.dtype == np.int32 and rows[3] == rows[6]
    assert sorted(rows[3:6].tolist()) == [2, 3, 4] == list(range(FIRST_OWN, vocabulary.size))
    assert Vocabulary().rows_of(asked).tolist() == [MISSING] + [RARE] * 6


def test_a_vocabulary_agrees_with_a_plain_count_over_many_trainings():
    rng = np.random.default_rng(3)
    known, count, seen = Vocabulary(), {}, {}
    owned: set[int] = set()
    for hour in range(30):
        ids = rng.zipf(1.3, 60) % 200
        times = hour * HOUR + rng.integers(0, HOUR, len(ids))
        known = grow(known, ids, times, admit_after=3, expire_after_ms=5 * HOUR, capacity=10_000).vocabulary
        for an_id, time in zip(ids.tolist(), times.tolist()):
            if an_id != 0:
                count[an_id], seen[an_id] = count.get(an_id, 0) + 1, max(time, seen.get(an_id, 0))
        owned |= {an_id for an_id in count if count[an_id] >= 3}
        idle = {an_id for an_id in count if seen[an_id] < times.max() - 5 * HOUR}
        owned -= idle
        for an_id in idle:
            del count[an_id], seen[an_id]
        assert set(known.ids.tolist()) == owned
        assert dict(zip(known.ids.tolist(), known.seen_ms.tolist())) == {an_id: seen[an_id] for an_id in owned}
