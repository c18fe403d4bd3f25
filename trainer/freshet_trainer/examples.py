"""The rows that are trained on, where the device gets at them: on it if they fit, else in pinned memory."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

# Of the GPU's free memory; the rest is for the batches.
LARGEST_SHARE_OF_GPU = 0.5


@dataclass(frozen=True)
class Examples:
    """cells int32 [N, K], dense float32 [N, D], labels, targets and weights float32 [N].

    Targets are the labels (None: nothing else), or with distillation a mix of them with the parent's probabilities.
    Weights have a mean of 1 (None: all are 1).
    """

    cells: Tensor
    dense: Tensor
    labels: Tensor
    targets: Tensor | None = None
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: Tensor) -> "Examples":
        """The rows at these places, int64 [n]."""
        places = rows.to(self.labels.device, non_blocking=True)
        return self._each(lambda values: values.index_select(0, places))

    def places(self, rows: Tensor) -> Tensor:
        """The same places where `at` wants them, so that its calls need not wait for a copy."""
        return rows.to(self.labels.device)

    def part(self, rows: slice) -> "Examples":
        return self._each(lambda values: values[rows])

    def on(self, device: torch.device) -> "Examples":
        """The same rows for a model on that device: `at` gives batches that are there."""
        if device.type == "cpu":
            return self
        free, _ = torch.cuda.mem_get_info(device)
        if sum(values.nbytes for values in self._tensors().values()) <= LARGEST_SHARE_OF_GPU * free:
            return self._each(lambda values: values.to(device))
        pinned = self._each(lambda values: values if values.is_pinned() else values.pin_memory())
        return PinnedExamples(**pinned._tensors(), device=device, copies=torch.cuda.Stream(device))

    def _tensors(self) -> dict[str, Tensor]:
        named = ((field.name, getattr(self, field.name)) for field in fields(Examples))
        return {name: values for name, values in named if values is not None}

    def _each(self, change) -> "Examples":
        return Examples(**{name: change(values) for name, values in self._tensors().items()})


@dataclass(frozen=True)
class PinnedExamples(Examples):
    """Rows that do not fit on the GPU. The next batch is put together and copied while the GPU is busy with the last."""

    device: torch.device = torch.device("cpu")
    copies: "torch.cuda.Stream | None" = None

    def at(self, rows: Tensor) -> Examples:
        places = rows.cpu()

        def moved(values: Tensor) -> Tensor:
            staged = torch.empty(len(places), *values.shape[1:], dtype=values.dtype, pin_memory=True)
            torch.index_select(values, 0, places, out=staged)
            return staged.to(self.device, non_blocking=True)

        computing = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.copies):
            batch = self._each(moved)
        computing.wait_stream(self.copies)
        for values in batch._tensors().values():
            values.record_stream(computing)
        return batch


def examples_of(
    cells: np.ndarray, dense: np.ndarray, labels: np.ndarray, targets: np.ndarray | None, weights: np.ndarray | None
) -> Examples:
    """Examples over these arrays, which are not copied."""
    optional = {"targets": targets, "weights": weights}
    given = {name: torch.from_numpy(values) for name, values in optional.items() if values is not None}
    return Examples(torch.from_numpy(cells), torch.from_numpy(dense), torch.from_numpy(labels), **given)
