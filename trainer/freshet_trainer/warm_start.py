"""Starts a model from its parent's checkpoint: what fits is loaded, what does not is said and begins anew.

Rows of tables go by id and not by place, so a vocabulary that grew or shrank keeps what it knew.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .checkpoint import Checkpoint
from .dataset import Rows
from .encoding import Encoding, quantile_edges
from .events import Warnings
from .learner import Learner
from .manifest import Categorical, Feature, Numeric, Settings
from .model import RankingModel, Tables, input_columns
from .vocabulary import Vocabulary, grow

FIRST_LAYER = "layers.0.weight"
TRAINED_SHARE_OF_FROZEN = 0.25
# The origin of a row that the parent's table does not have.
NOWHERE = -1


@dataclass(frozen=True)
class Grown:
    """The encoding of this training, and for each of its columns where the rows come from in the parent's tables."""

    encoding: Encoding
    # By column of the cells: rows of the parent's column (NOWHERE: begins at zero), and which ids are new.
    origins: list[np.ndarray]
    is_new: list[np.ndarray]
    parent_columns: list[int | None]


def grow_encoding(settings: Settings, rows: Rows, parent: Checkpoint | None) -> Grown:
    """Vocabularies that saw these rows; bin edges of the parent where it has them, else the quantiles of these rows."""
    rates = settings.hyperparameters
    old = {} if parent is None else {_identity(feature): column for column, feature in enumerate(_in_cells(parent.features))}
    # Replayed history was counted when it was fresh.
    counted = rows.fresh if parent is not None else np.ones(len(rows), dtype=bool)
    vocabularies, origins, news, columns = [], [], [], []
    for at, feature in enumerate(settings.categorical):
        column = old.get(_identity(feature))
        known = Vocabulary() if column is None else parent.encoding.vocabularies[column]
        grown = grow(
            known,
            rows.ids[counted, at],
            rows.time_ms[counted],
            admit_after=rates.admit_after,
            expire_after_ms=rates.expire_after_ms,
            capacity=feature.buckets,
        )
        vocabularies.append(grown.vocabulary)
        origins.append(np.full(grown.vocabulary.size, NOWHERE) if column is None else grown.origin)
        news.append(grown.is_new)
        columns.append(column)
    edges = quantile_edges(rows.dense)
    for at, feature in enumerate(settings.numeric):
        column = old.get(_identity(feature))
        if column is not None:
            edges[at] = parent.encoding.edges[column - len(parent.encoding.vocabularies)]
        columns.append(column)
    encoding = Encoding(tuple(vocabularies), edges, rates.positions)
    if rates.positions:
        same = parent is not None and parent.encoding.positions == rates.positions
        columns.append(len(parent.encoding.sizes) - 1 if same else None)
    for column, size in list(zip(columns, encoding.sizes))[len(origins) :]:
        origins.append(np.full(size, NOWHERE) if column is None else np.arange(size))
        news.append(np.zeros(size, dtype=bool))
    return Grown(encoding, origins, news, columns)


def load_parent(learner: Learner, grown: Grown, parent: Checkpoint, warnings: Warnings) -> set[str]:
    """Load what fits, with its optimiser state. Returns the names of the layers' tensors that were loaded.

    Of the first layer the columns of features that both models have are loaded; columns of a number that the parent did
    not know begin at zero, so that the start is the parent's own function. Numeric statistics of known features are the
    parent's: its weights were trained on that scale.
    """
    model = learner.model
    _load_tables(learner, grown, parent)
    _load_statistics(model, parent)
    known = {_identity(feature) for feature in parent.features}
    missing = [feature.name for feature in model.features if _identity(feature) not in known]
    if missing:
        warnings.add("newFeatures", f"the parent does not know {', '.join(missing)} as declared; begins anew")
    loaded = set()
    own = learner.state()  # shares its tensors with the learner: writing to them is loading
    for name in (name for name, _ in model.named_parameters()):
        if name == FIRST_LAYER and name in parent.tensors and len(parent.tensors[name]) == len(own[name]):
            _load_columns(own, parent, model.features)
            loaded.add(name)
        elif name in parent.tensors and parent.tensors[name].shape == own[name].shape:
            for part in _with_state(name):
                own[part].copy_(parent.tensors[part])
            loaded.add(name)
        else:
            found = f"is {tuple(parent.tensors[name].shape)}" if name in parent.tensors else "is not"
            shape = tuple(own[name].shape)
            warnings.add("tensorSkipped", f"{name} {found} in the parent, expected {shape}; begins anew")
    return loaded


def base_to_freeze(model: RankingModel, loaded: set[str]) -> set[str]:
    """All but the top quarter of the layers (at least one): names for `Learner.freeze`.

    What was not loaded trains too, it knows nothing.
    """
    blocks = [{"embeddings"}] if model.tables.columns else []
    blocks += [{f"{index}.weight", f"{index}.bias"} for index in range(len(model.layers))]
    trained = max(1, round(len(blocks) * TRAINED_SHARE_OF_FROZEN))
    base = set().union(*blocks[:-trained])
    return {name for name in base if name == "embeddings" or f"layers.{name}" in loaded}


def _load_tables(learner: Learner, grown: Grown, parent: Checkpoint) -> None:
    old_tables, new_tables = Tables(parent.features, parent.encoding.sizes), learner.model.tables
    own = learner.state()
    wide = np.concatenate(
        [
            _moved(origin, None if column is None else old_tables.starts[column])
            for origin, column in zip(grown.origins, grown.parent_columns)
        ]
    )
    is_new = np.concatenate(grown.is_new)
    _take(own["wide"], parent.tensors["wide"], wide)
    _take(own["wide.square"], parent.tensors["wide.square"], np.where(is_new, NOWHERE, wide))
    for dim, columns in new_tables.columns.items():
        name = f"embedding_{dim}"
        if dim not in old_tables.columns:
            continue
        starts = dict(zip(old_tables.columns[dim], old_tables.offsets(dim)))
        rows = np.concatenate([_moved(grown.origins[at], starts.get(grown.parent_columns[at])) for at in columns])
        fresh = np.concatenate([grown.is_new[at] for at in columns])
        _take(own[name], parent.tensors[name], rows)
        for part in ("steps", "mean", "square"):
            _take(own[f"{name}.{part}"], parent.tensors[f"{name}.{part}"], np.where(fresh, NOWHERE, rows))


def _moved(origin: np.ndarray, start: int | None) -> np.ndarray:
    """Rows of one column -> rows of the table that it is a part of."""
    return np.full(len(origin), NOWHERE) if start is None else np.where(origin == NOWHERE, NOWHERE, origin + start)


def _take(own: Tensor, theirs: Tensor, rows: np.ndarray) -> None:
    """own[i] = theirs[rows[i]]; zero where there is none."""
    index = torch.from_numpy(rows)
    values = theirs[index.clamp(min=0)]
    values[index == NOWHERE] = 0.0
    own.copy_(values)


def _load_statistics(model: RankingModel, parent: Checkpoint) -> None:
    places = {_identity(feature): at for at, feature in enumerate(_of(Numeric, parent.features))}
    for at, feature in enumerate(model.numeric):
        if _identity(feature) in places:
            for name in ("mean", "deviation"):
                getattr(model, name)[at] = parent.tensors[name][places[_identity(feature)]]


def _load_columns(own: dict[str, Tensor], parent: Checkpoint, features: tuple[Feature, ...]) -> None:
    here, there = input_columns(features), input_columns(parent.features)
    known = {_identity(feature) for feature in parent.features}
    for feature in features:
        if _identity(feature) in known:
            for part in _with_state(FIRST_LAYER):
                if own[part].dim() > 0:
                    own[part][:, here[feature.name]] = parent.tensors[part][:, there[feature.name]]
        elif isinstance(feature, Numeric):
            own[FIRST_LAYER][:, here[feature.name]] = 0.0
    own[f"{FIRST_LAYER}.step"].copy_(parent.tensors[f"{FIRST_LAYER}.step"])


def _with_state(name: str) -> list[str]:
    return [name, *(f"{name}.{part}" for part in ("step", "exp_avg", "exp_avg_sq"))]


def _identity(feature: Feature) -> tuple:
    """What makes two declarations the same table: not the most rows it may have."""
    if isinstance(feature, Categorical):
        return ("categorical", feature.name, feature.dim)
    return ("numeric", feature.name, feature.transform)


def _of(kind: type, features: tuple[Feature, ...]) -> list[Feature]:
    return [feature for feature in features if isinstance(feature, kind)]


def _in_cells(features: tuple[Feature, ...]) -> list[Feature]:
    """In the order of the cells' columns."""
    return [*_of(Categorical, features), *_of(Numeric, features)]
