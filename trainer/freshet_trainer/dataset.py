"""Snapshot Parquet -> arrays. Whole columns at a time, never row by row; the whole snapshot is held in memory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .errors import InputError
from .manifest import Categorical, Feature, Manifest, Numeric


@dataclass(frozen=True)
class Rows:
    """`ids` int64 [N, C] and `dense` float32 [N, D] in the order of the feature spec, `labels` float32 [N]."""

    ids: np.ndarray
    dense: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def read_rows(manifest: Manifest) -> Rows:
    """Read the training rows, replayed history after the fresh ones. Raises InputError for anything unusable.

    Shuffling later spreads the replay evenly, so each batch carries the share of it that the snapshot has.
    """
    fresh = [_read_table(path, manifest) for path in manifest.train]
    if sum(table.num_rows for table in fresh) == 0:
        raise InputError("snapshot: no training rows; check the snapshot's window and label maturity")
    tables = [*fresh, *(_read_table(path, manifest) for path in manifest.replay)]
    count = sum(table.num_rows for table in tables)
    categorical = [feature for feature in manifest.features if isinstance(feature, Categorical)]
    numeric = [feature for feature in manifest.features if isinstance(feature, Numeric)]
    rows = Rows(
        ids=np.empty((count, len(categorical)), dtype=np.int64),
        dense=np.empty((count, len(numeric)), dtype=np.float32),
        labels=np.empty(count, dtype=np.float32),
    )
    start = 0
    for table in tables:
        part = slice(start, start + table.num_rows)
        for column, feature in enumerate(categorical):
            rows.ids[part, column] = pc.fill_null(table[feature.name], 0).to_numpy()
        for column, feature in enumerate(numeric):
            numbers = table[feature.name].cast(pa.float32(), safe=False)
            rows.dense[part, column] = pc.fill_null(numbers, np.nan).to_numpy()
        rows.labels[part] = table[manifest.label].to_numpy()
        start = part.stop
    return rows


def _read_table(path: Path, manifest: Manifest) -> pa.Table:
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"snapshot: cannot read {path} as Parquet: {error}") from error
    wanted: list[tuple[str, Feature | None]] = [(feature.name, feature) for feature in manifest.features]
    wanted.append((manifest.label, None))
    for name, feature in wanted:
        if name not in schema.names:
            raise InputError(f'snapshot: {path} has no column "{name}"; it has {", ".join(schema.names)}')
        kind = schema.field(name).type
        if isinstance(feature, Categorical) and not pa.types.is_signed_integer(kind):
            raise InputError(f'snapshot: {path}: column "{name}" is {kind}, expected the featurizer\'s ids (int64)')
        if not isinstance(feature, Categorical) and not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise InputError(f'snapshot: {path}: column "{name}" is {kind}, expected a number')
    table = pq.read_table(path, columns=list(dict.fromkeys(name for name, _ in wanted)))
    label = table[manifest.label]
    strange = label.filter(pc.invert(pc.fill_null(pc.is_in(label, value_set=pa.array([0, 1], label.type)), False)))
    if len(strange) > 0:
        raise InputError(
            f'snapshot: {path}: label column "{manifest.label}" must be 0 or 1; '
            f"{len(strange)} of {len(label)} rows are not, the first is {strange[0].as_py()}"
        )
    return table
