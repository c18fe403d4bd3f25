"""Which id owns which row of an embedding table: ids are let in once they are seen often enough, and leave when idle.

Row 0 is the missing value, row 1 is shared by all ids that own no row (rare ones, and all that are new when serving).
"""

from dataclasses import dataclass, field

import numpy as np

MISSING, RARE, FIRST_OWN = 0, 1, 2
NO_IDS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Vocabulary:
    """`ids` int64 [n]: the id that owns row FIRST_OWN + i, last seen at `seen_ms` [n] (event time).

    `waiting` are ids that were not seen often enough yet, with the number of rows they had in `waiting_counts`.
    """

    ids: np.ndarray = field(default_factory=NO_IDS.copy)
    seen_ms: np.ndarray = field(default_factory=NO_IDS.copy)
    waiting: np.ndarray = field(default_factory=NO_IDS.copy)
    waiting_counts: np.ndarray = field(default_factory=NO_IDS.copy)
    waiting_seen_ms: np.ndarray = field(default_factory=NO_IDS.copy)

    @property
    def size(self) -> int:
        """Rows of the table."""
        return FIRST_OWN + len(self.ids)

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """ids int64 [N] -> rows int32 [N]."""
        rows = np.full(len(ids), RARE, dtype=np.int32)
        if len(self.ids) > 0:
            order = np.argsort(self.ids)
            place = order[np.searchsorted(self.ids, ids, sorter=order).clip(max=len(self.ids) - 1)]
            rows = np.where(self.ids[place] == ids, place.astype(np.int32) + FIRST_OWN, RARE).astype(np.int32)
        rows[ids == 0] = MISSING
        return rows


@dataclass(frozen=True)
class Grown:
    """A vocabulary after it saw new rows, and where the rows of its table come from."""

    vocabulary: Vocabulary
    # For each row of the new table the row of the old one; new ids point to RARE, as which they counted until now.
    origin: np.ndarray
    # Whether a row of the new table belongs to an id that owned none before.
    is_new: np.ndarray


def grow(
    old: Vocabulary, ids: np.ndarray, times_ms: np.ndarray, *, admit_after: int, expire_after_ms: int, capacity: int
) -> Grown:
    """Let in the ids that have now been seen in at least `admit_after` rows; drop those idle for `expire_after_ms`.

    ids, times_ms: int64 [N], the newly seen rows. At most `capacity` rows in all: beyond it the longest idle leave.
    """
    known_time = times_ms.max(initial=0)
    oldest = max(known_time, old.seen_ms.max(initial=0)) - expire_after_ms
    seen, counts, newest = _tally(ids[ids != 0], times_ms[ids != 0])
    place = np.searchsorted(seen, old.ids).clip(max=max(len(seen) - 1, 0))
    again = seen[place] == old.ids if len(seen) > 0 else np.zeros(len(old.ids), dtype=bool)
    seen_ms = np.where(again, np.maximum(old.seen_ms, newest[place] if len(seen) > 0 else 0), old.seen_ms)

    others = ~np.isin(seen, old.ids)
    waiting, waited, waiting_seen = _merge(
        np.concatenate([old.waiting, seen[others]]),
        np.concatenate([old.waiting_counts, counts[others]]),
        np.concatenate([old.waiting_seen_ms, newest[others]]),
    )
    let_in = waited >= admit_after
    everyone = np.concatenate([old.ids, waiting[let_in]])
    everyone_seen = np.concatenate([seen_ms, waiting_seen[let_in]])
    origins = np.concatenate([np.arange(len(old.ids)) + FIRST_OWN, np.full(int(let_in.sum()), RARE)])
    staying = np.flatnonzero(everyone_seen >= oldest)
    room = max(0, capacity - FIRST_OWN)
    if len(staying) > room:
        newest_first = np.lexsort((everyone[staying], -everyone_seen[staying]))
        staying = np.sort(staying[newest_first[:room]])
    still = np.flatnonzero(~let_in & (waiting_seen >= oldest))
    # No more ids wait than could ever be let in.
    keep = np.sort(still[np.argsort(-waiting_seen[still], kind="stable")[:capacity]])
    return Grown(
        Vocabulary(everyone[staying], everyone_seen[staying], waiting[keep], waited[keep], waiting_seen[keep]),
        origin=np.concatenate([[MISSING, RARE], origins[staying]]).astype(np.int64),
        is_new=np.concatenate([[False, False], origins[staying] == RARE]),
    )


def _tally(ids: np.ndarray, times_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct ids in order, the rows each has, and its newest time."""
    return _merge(ids, np.ones(len(ids), dtype=np.int64), times_ms)


def _merge(ids: np.ndarray, counts: np.ndarray, times_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    distinct, place = np.unique(ids, return_inverse=True)
    summed = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(summed, place, counts)
    newest = np.zeros(len(distinct), dtype=np.int64)
    np.maximum.at(newest, place, times_ms)
    return distinct, summed, newest
