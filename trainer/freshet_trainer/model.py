"""The model: one embedding table a categorical feature, standardised numbers, and an MLP over all of them.

Everything between the logged features and the probability happens inside this module (and, node for node, inside the
exported graph), so that a served model needs nothing but the raw ids and numbers.
"""

import torch
from torch import Tensor, nn

from .manifest import Categorical, Feature, Numeric

# A single absurd number (a duration in the wrong unit) must not drown every other input.
STANDARDISED_LIMIT = 10.0


class RankingModel(nn.Module):
    """`ids` int64 [N, C] and `dense` float32 [N, D], in the order of the feature spec -> logits float32 [N].

    Embeddings begin at zero: an id that was never trained on counts exactly as much as a missing one, which is nothing.
    """

    def __init__(self, features: tuple[Feature, ...], hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.features, self.hidden = features, hidden
        self.categorical = [feature for feature in features if isinstance(feature, Categorical)]
        self.numeric = [feature for feature in features if isinstance(feature, Numeric)]
        # Sparse gradients: a batch touches a few thousand rows of tables that have a hundred thousand.
        self.tables = nn.ModuleDict(
            {table_key(feature): _zero_embedding(feature) for feature in self.categorical}
        )
        widths = [sum(feature.width for feature in features), *hidden, 1]
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in zip(widths, widths[1:]))
        self.register_buffer("mean", torch.zeros(len(self.numeric)))
        self.register_buffer("deviation", torch.ones(len(self.numeric)))
        self.register_buffer("is_log1p", _log1p_mask(self.numeric), persistent=False)

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        inputs = [
            self.tables[table_key(feature)](torch.remainder(ids[:, column], feature.buckets))
            for column, feature in enumerate(self.categorical)
        ]
        if self.numeric:
            inputs.append(self.standardise(dense))
        x = torch.cat(inputs, dim=1)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x).squeeze(1)

    def standardise(self, dense: Tensor) -> Tensor:
        """Transform, standardise, and put missing numbers on the mean (which is 0 by then)."""
        missing = torch.isnan(dense)
        known = torch.where(missing, 0.0, dense)
        standardised = (transform(known, self.is_log1p) - self.mean) / self.deviation
        return torch.where(missing, 0.0, standardised).clamp(-STANDARDISED_LIMIT, STANDARDISED_LIMIT)

    def blocks(self) -> list[nn.Module]:
        """The layers from the base up: all embeddings as one, then each linear layer."""
        return [self.tables, *self.layers] if self.categorical else [*self.layers]


def transform(dense: Tensor, is_log1p: Tensor) -> Tensor:
    """log(1 + x) of the columns that ask for it; such columns are counts or durations, so below 0 reads as 0."""
    return torch.where(is_log1p, torch.log(dense.clamp(min=0) + 1), dense)


def table_key(feature: Categorical) -> str:
    """The prefix keeps features called `keys` or `type` from colliding with the attributes of a module."""
    return f"feature_{feature.name}"


def input_columns(features: tuple[Feature, ...]) -> dict[str, slice]:
    """The first layer's columns of each feature: embeddings first, then numbers, as `forward` puts them."""
    columns: dict[str, slice] = {}
    start = 0
    for feature in sorted(features, key=lambda feature: isinstance(feature, Numeric)):
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


def _zero_embedding(feature: Categorical) -> nn.Embedding:
    return nn.Embedding.from_pretrained(torch.zeros(feature.buckets, feature.dim), freeze=False, sparse=True)


def _log1p_mask(numeric: list[Numeric]) -> Tensor:
    return torch.tensor([feature.transform == "log1p" for feature in numeric], dtype=torch.bool)
