"""Snapshot Parquet -> arrays. Whole columns at a time, never row by row; the whole snapshot is held in memory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .errors import InputError
from .manifest import Categorical, Feature, Manifest

IMPRESSION, TIME, POSITION = "impression_id", "event_time_ms", "position"


@dataclass(frozen=True)
class Rows:
    """`ids` int64 [N, C] and `dense` float32 [N, D] in the order of the feature spec, `labels` float32 [N] (0 or 1).

    `time_ms` int64 [N] is the event time, `position` int32 [N] the place in the slate, `fresh` bool [N] whether the row
    is new to the parent (False: history, replayed).
    """

    ids: np.ndarray
    dense: np.ndarray
    labels: np.ndarray
    time_ms: np.ndarray
    position: np.ndarray
    fresh: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, index: np.ndarray) -> "Rows":
        return Rows(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def empty_rows(count: int, categorical: int, numeric: int, pinned: bool = False) -> Rows:
    """`pinned`: what goes to a GPU as it is lies in memory that the GPU copies from by itself."""
    floats = _pinned if pinned else np.empty
    return Rows(
        ids=np.empty((count, categorical), dtype=np.int64),
        dense=floats((count, numeric), dtype=np.float32),
        labels=floats(count, dtype=np.float32),
        time_ms=np.empty(count, dtype=np.int64),
        position=np.empty(count, dtype=np.int32),
        fresh=np.empty(count, dtype=bool),
    )


def read_rows(manifest: Manifest, pinned: bool = False) -> Rows:
    """Read the training rows, replayed history after the fresh ones. Raises InputError for anything unusable."""
    fresh = [_read_table(path, manifest) for path in manifest.train]
    if sum(table.num_rows for table in fresh) == 0:
        raise InputError("snapshot: no training rows; check the snapshot's window and label maturity")
    tables = [*fresh, *(_read_table(path, manifest) for path in manifest.replay)]
    settings = manifest.settings
    rows = empty_rows(sum(table.num_rows for table in tables), len(settings.categorical), len(settings.numeric), pinned)
    start = 0
    for number, table in enumerate(tables):
        part = slice(start, start + table.num_rows)
        for column, feature in enumerate(settings.categorical):
            rows.ids[part, column] = pc.fill_null(table[feature.name], 0).to_numpy()
        for column, feature in enumerate(settings.numeric):
            numbers = table[feature.name].cast(pa.float32(), safe=False)
            rows.dense[part, column] = pc.fill_null(numbers, np.nan).to_numpy()
        rows.labels[part] = table[manifest.label].to_numpy()
        rows.time_ms[part] = table[TIME].to_numpy()
        rows.position[part] = pc.fill_null(table[POSITION], 0).to_numpy()
        rows.fresh[part] = number < len(fresh)
        start = part.stop
    return rows


def _pinned(shape: int | tuple[int, ...], dtype: type) -> np.ndarray:
    import torch

    return torch.empty(shape, dtype=getattr(torch, np.dtype(dtype).name), pin_memory=True).numpy()


def read_impression_ids(manifest: Manifest, index: np.ndarray) -> list[str]:
    """The ids of the rows at these (sorted) places among the fresh ones."""
    columns = []
    for path in manifest.train:
        if IMPRESSION not in pq.read_schema(path).names:
            raise InputError(f'snapshot: {path} has no column "{IMPRESSION}"')
        columns += pq.read_table(path, columns=[IMPRESSION])[IMPRESSION].cast(pa.string()).chunks
    return pa.chunked_array(columns, pa.string()).take(pa.array(index)).to_pylist()


def _read_table(path: Path, manifest: Manifest) -> pa.Table:
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"snapshot: cannot read {path} as Parquet: {error}") from error
    wanted: list[tuple[str, Feature | None]] = [(feature.name, feature) for feature in manifest.settings.features]
    wanted += [(name, None) for name in (manifest.label, TIME, POSITION)]
    for name, feature in wanted:
        if name not in schema.names:
            raise InputError(f'snapshot: {path} has no column "{name}"; it has {", ".join(schema.names)}')
        kind = schema.field(name).type
        if isinstance(feature, Categorical) and not pa.types.is_signed_integer(kind):
            raise InputError(f'snapshot: {path}: column "{name}" is {kind}, expected the featurizer\'s ids (int64)')
        if not isinstance(feature, Categorical) and not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise InputError(f'snapshot: {path}: column "{name}" is {kind}, expected a number')
    table = pq.read_table(path, columns=list(dict.fromkeys(name for name, _ in wanted)))
    if table[TIME].null_count > 0:
        raise InputError(f'snapshot: {path}: {table[TIME].null_count} rows have no "{TIME}"')
    label = table[manifest.label]
    strange = label.filter(pc.invert(pc.fill_null(pc.is_in(label, value_set=pa.array([0, 1], label.type)), False)))
    if len(strange) > 0:
        raise InputError(
            f'snapshot: {path}: label column "{manifest.label}" must be 0 or 1; '
            f"{len(strange)} of {len(label)} rows are not, the first is {strange[0].as_py()}"
        )
    return table
