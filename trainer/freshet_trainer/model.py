"""The model: wide and deep (Cheng et al., DLRS 2016).

    logit = sum of one weight a cell (ids, bins of numbers, position)  +  MLP over (embeddings of ids, standardised numbers)

The wide part learns each id's own rate quickly and steadily, the deep part what they mean together. What happens between
the logged features and the probability is inside the model (and, node for node, inside the exported graph), so that a
served model needs nothing but raw ids and numbers.
"""

import torch
from torch import Tensor, nn

from .manifest import Categorical, Feature, Numeric

# A single absurd number (a duration in the wrong unit) must not drown every other input.
STANDARDISED_LIMIT = 10.0


class Tables:
    """Where each column of the cells lies: in the wide weights (all columns), and in the embeddings (ids, by width).

    Tables of one width are kept as one, so that a batch costs one look-up and one update a width and not a feature.
    """

    def __init__(self, features: tuple[Feature, ...], sizes: tuple[int, ...]) -> None:
        self.sizes = sizes
        self.starts = [sum(sizes[:column]) for column in range(len(sizes))]
        self.columns: dict[int, list[int]] = {}
        categorical = [feature for feature in features if isinstance(feature, Categorical)]
        for column, feature in enumerate(categorical):
            self.columns.setdefault(feature.dim, []).append(column)

    def rows(self, dim: int) -> int:
        return sum(self.sizes[column] for column in self.columns[dim])

    def offsets(self, dim: int) -> list[int]:
        """Of each column of this width, the first row of its part of the table."""
        columns = self.columns[dim]
        return [sum(self.sizes[other] for other in columns[:place]) for place in range(len(columns))]


class RankingModel(nn.Module):
    """cells int32 [N, K] and dense float32 [N, D] -> logits float32 [N].

    All tables begin at zero: an id that was never trained on counts exactly as much as a missing one, which is nothing.
    """

    def __init__(self, features: tuple[Feature, ...], hidden: tuple[int, ...], sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.features, self.hidden = features, hidden
        self.numeric = [feature for feature in features if isinstance(feature, Numeric)]
        self.tables = Tables(features, sizes)
        self.register_buffer("wide", torch.zeros(sum(sizes)))
        self.register_buffer("starts", torch.tensor(self.tables.starts, dtype=torch.int64), persistent=False)
        for dim in self.tables.columns:
            self.register_buffer(_embedding(dim), torch.zeros(self.tables.rows(dim), dim))
            self.register_buffer(f"offsets_{dim}", torch.tensor(self.tables.offsets(dim)), persistent=False)
            self.register_buffer(f"columns_{dim}", torch.tensor(self.tables.columns[dim]), persistent=False)
        widths = [sum(feature.width for feature in features), *hidden, 1]
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in zip(widths, widths[1:]))
        self.register_buffer("mean", torch.zeros(len(self.numeric)))
        self.register_buffer("deviation", torch.ones(len(self.numeric)))
        self.register_buffer("is_log1p", _log1p_mask(self.numeric), persistent=False)

    def embedding(self, dim: int) -> Tensor:
        return getattr(self, _embedding(dim))

    def wide_cells(self, cells: Tensor) -> Tensor:
        """Indices int64 [N, K] into the wide weights."""
        return cells + self.starts

    def embedding_rows(self, cells: Tensor, dim: int) -> Tensor:
        """Indices int64 [N, columns of this width] into the embeddings of this width."""
        return cells.index_select(1, getattr(self, f"columns_{dim}")) + getattr(self, f"offsets_{dim}")

    # `index_select` reads a row at a time; on the CPU it is several times as fast as `table[rows]`.

    def wide_sums(self, wide_cells: Tensor) -> Tensor:
        """Sums [N] of the wide weights at these indices [N, K]."""
        return self.wide.index_select(0, wide_cells.reshape(-1)).view(wide_cells.shape).sum(dim=1)

    def embedded(self, rows: Tensor, dim: int) -> Tensor:
        """Embeddings [N, columns, dim] at these indices [N, columns]."""
        return self.embedding(dim).index_select(0, rows.reshape(-1)).view(*rows.shape, dim)

    def deep(self, embedded: list[Tensor], dense: Tensor) -> Tensor:
        """Embeddings [N, columns, dim] by width, in the order of `tables.columns`, and raw numbers -> logits [N]."""
        inputs = [values.flatten(1) for values in embedded]
        if self.numeric:
            inputs.append(self.standardise(dense))
        x = torch.cat(inputs, dim=1)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x).squeeze(1)

    def forward(self, cells: Tensor, dense: Tensor) -> Tensor:
        embedded = [self.embedded(self.embedding_rows(cells, dim), dim) for dim in self.tables.columns]
        return self.deep(embedded, dense) + self.wide_sums(self.wide_cells(cells))

    def standardise(self, dense: Tensor) -> Tensor:
        """Transform, standardise, and put missing numbers on the mean (which is 0 by then)."""
        missing = torch.isnan(dense)
        known = torch.where(missing, 0.0, dense)
        standardised = (transform(known, self.is_log1p) - self.mean) / self.deviation
        return torch.where(missing, 0.0, standardised).clamp(-STANDARDISED_LIMIT, STANDARDISED_LIMIT)


def transform(dense: Tensor, is_log1p: Tensor) -> Tensor:
    """log(1 + x) of the columns that ask for it; such columns are counts or durations, so below 0 reads as 0."""
    return torch.where(is_log1p, torch.log(dense.clamp(min=0) + 1), dense)


def input_columns(features: tuple[Feature, ...]) -> dict[str, slice]:
    """The first layer's columns of each feature, as `deep` puts them: embeddings by width, then numbers."""
    categorical = [feature for feature in features if isinstance(feature, Categorical)]
    widths = list(dict.fromkeys(feature.dim for feature in categorical))
    order = [feature for width in widths for feature in categorical if feature.dim == width]
    order += [feature for feature in features if isinstance(feature, Numeric)]
    columns: dict[str, slice] = {}
    start = 0
    for feature in order:
        columns[feature.name] = slice(start, start + feature.width)
        start += feature.width
    return columns


def measure(dense: Tensor, is_log1p: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [D] of the transformed, known numbers.

    The mean is 0 where nothing is known, the deviation 1 where nothing varies.
    """
    values = transform(dense.double(), is_log1p)
    known = torch.isfinite(values)
    count = known.sum(dim=0).clamp(min=1)
    mean = torch.where(known, values, 0.0).sum(dim=0) / count
    variance = torch.where(known, values - mean, 0.0).square().sum(dim=0) / count
    deviation = variance.sqrt()
    return mean.float(), torch.where(deviation > 1e-6, deviation, 1.0).float()


def _embedding(dim: int) -> str:
    return f"embedding_{dim}"


def _log1p_mask(numeric: list[Numeric]) -> Tensor:
    return torch.tensor([feature.transform == "log1p" for feature in numeric], dtype=torch.bool)
