"""The log in memory: rows in time order, cut into blocks, and history to replay."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .trainer import Rows

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Log:
    """All labelled rows in time order. `users` int64 [N]: 0, 1, ... by user; `keys` uint64 [N]: hashes of the impressions."""

    rows: Rows
    users: np.ndarray
    keys: np.ndarray

    @property
    def time_ms(self) -> np.ndarray:
        return self.rows.time_ms

    @property
    def labels(self) -> np.ndarray:
        return self.rows.labels


@dataclass(frozen=True)
class Block:
    """Rows `lo` to `hi` (exclusive): those of `from_ms` <= time < `to_ms`."""

    lo: int
    hi: int
    from_ms: int
    to_ms: int


def read_log(path: str, categorical: list[str], numeric: list[str]) -> Log:
    """Read a Parquet file with a snapshot's columns whose rows are in time order."""
    names = ["impression_id", "user_id", "event_time_ms", "position", "label", *categorical, *numeric]
    table = pq.read_table(path, columns=names)
    count = table.num_rows
    ids = [pc.fill_null(table[name], 0).to_numpy() for name in categorical]
    dense = [pc.fill_null(table[name].cast(pa.float32()), np.nan).to_numpy() for name in numeric]
    users = table["user_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    rows = Rows(
        ids=np.stack(ids, axis=1) if ids else np.empty((count, 0), dtype=np.int64),
        dense=np.stack(dense, axis=1) if dense else np.empty((count, 0), dtype=np.float32),
        labels=table["label"].to_numpy().astype(np.float32),
        time_ms=table["event_time_ms"].to_numpy(),
        position=pc.fill_null(table["position"], 0).to_numpy().astype(np.int32),
        fresh=np.ones(count, dtype=bool),
    )
    return Log(rows, users, _keys(table["impression_id"]))


def take(rows: Rows, fresh: np.ndarray, replayed: np.ndarray | None = None) -> Rows:
    """Rows by their indices, replayed ones after the fresh ones and marked as such."""
    replayed = np.empty(0, dtype=np.int64) if replayed is None else replayed
    index = np.concatenate([fresh, replayed])
    return replace(rows.at(index), fresh=np.arange(len(index)) < len(fresh))


def blocks_of(time_ms: np.ndarray, begin_ms: int, every_ms: int) -> list[Block]:
    """Blocks of `every_ms` from `begin_ms` to the last row; those without a row are left out."""
    edges = np.arange(begin_ms, time_ms[-1] + every_ms + 1, every_ms)
    places = np.searchsorted(time_ms, edges)
    return [
        Block(int(lo), int(hi), int(start), int(end))
        for lo, hi, start, end in zip(places, places[1:], edges, edges[1:])
        if hi > lo
    ]


def draw_replay(log: Log, block: Block, *, share: float, season_ms: int, seed: int, oldest_ms: int) -> np.ndarray:
    """Indices of history before the block, so many that they are `share` of what trains.

    As snapshots draw it: equal shares of slices of about a season each, within a slice by hash.
    """
    first = int(np.searchsorted(log.time_ms, oldest_ms))
    history = np.arange(first, block.lo)
    wanted = min(len(history), int((block.hi - block.lo) * share / (1 - share)))
    if wanted == 0:
        return history[:0]
    times = log.time_ms[history]
    span = int(times[-1] - times[0]) + 1
    slices = max(1, round(span / season_ms))
    of_slice = (times - times[0]) * slices // span
    drawing = mix(mix(np.array([seed], dtype=np.uint64)) ^ np.uint64(block.to_ms))
    hashes = mix(log.keys[history] ^ drawing)
    order = np.lexsort((hashes, of_slice))
    place = np.empty(len(history), dtype=np.int64)
    starts = np.searchsorted(of_slice[order], of_slice[order])
    place[order] = np.arange(len(history)) - starts
    return np.sort(history[np.lexsort((hashes, place))[:wanted]])


def mix(values: np.ndarray) -> np.ndarray:
    """uint64 [N] -> well-mixed uint64 [N] (the finaliser of SplitMix64, Steele et al., OOPSLA 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _keys(texts: pa.ChunkedArray) -> np.ndarray:
    """uint64 [N]: a hash of each text's bytes (FNV-1a over all texts at once, a byte at a time)."""
    array = texts.combine_chunks().cast(pa.large_binary())
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(array.buffers()[2], dtype=np.uint8)
    lengths, hashes = np.diff(offsets), np.full(len(array), 0xCBF29CE484222325, dtype=np.uint64)
    for at in range(int(lengths.max(initial=0))):
        there = np.flatnonzero(lengths > at)
        hashes[there] = (hashes[there] ^ data[offsets[there] + at]) * np.uint64(0x100000001B3)
    return mix(hashes)
