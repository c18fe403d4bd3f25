"""What one training leaves for the next: weights, optimiser state, vocabularies, and what was found out about the line."""

import os
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from .encoding import Encoding
from .errors import InputError
from .manifest import Categorical, Feature, Numeric, Rates
from .vocabulary import Vocabulary

FORMAT = 2


@dataclass(frozen=True)
class Tuned:
    """Chosen by progressive validation: factors on the config's learning rates, the epochs, and an update's rates."""

    learning_rate_factor: float = 1.0
    wide_learning_rate_factor: float = 1.0
    epochs: int | None = None
    rates: Rates = field(default_factory=Rates)


@dataclass(frozen=True)
class Checkpoint:
    """`tensors` as `Learner.state()` names them, on the CPU."""

    features: tuple[Feature, ...]
    hidden: tuple[int, ...]
    encoding: Encoding
    tensors: dict[str, Tensor]
    tuned: Tuned


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """`write(file)` shows under its name only when it is whole; a failed one leaves the file that was there, if any.

    The file is Python's, since PyTorch's own does not tell a full disk from other errors.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            write(file)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def save_checkpoint(checkpoint: Checkpoint, file: Path | BinaryIO) -> None:
    encoding = checkpoint.encoding
    torch.save(
        {
            "format": FORMAT,
            "features": [{"kind": type(feature).__name__, **vars(feature)} for feature in checkpoint.features],
            "hidden": list(checkpoint.hidden),
            "vocabularies": [_as_tensors(vars(vocabulary)) for vocabulary in encoding.vocabularies],
            "edges": torch.from_numpy(encoding.edges),
            "positions": encoding.positions,
            "tensors": checkpoint.tensors,
            "tuned": asdict(checkpoint.tuned),
        },
        file,
    )


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises InputError when the file is not a checkpoint of this trainer. `module.` prefixes (DDP) are stripped."""
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
        if document["format"] != FORMAT:
            raise ValueError(f"it has format {document['format']}, expected {FORMAT}")
        return _parse(document)
    except OSError as error:
        raise InputError(f"warm start: cannot read {path}: {error.strerror}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"warm start: {path} is not a checkpoint of this trainer ({reason}); "
            "restore the parent's artifact, or train with strategy full"
        ) from error


def _parse(document: dict) -> Checkpoint:
    kinds = {"Categorical": Categorical, "Numeric": Numeric}
    tensors = {name.removeprefix("module."): value for name, value in document["tensors"].items()}
    if not all(isinstance(value, Tensor) for value in tensors.values()):
        raise TypeError("it holds weights that are no tensors")
    tuned = dict(document["tuned"])
    return Checkpoint(
        features=tuple(kinds[entry.pop("kind")](**entry) for entry in document["features"]),
        hidden=tuple(document["hidden"]),
        encoding=Encoding(
            tuple(Vocabulary(**_as_arrays(entry)) for entry in document["vocabularies"]),
            document["edges"].numpy(),
            document["positions"],
        ),
        tensors=tensors,
        tuned=Tuned(**{**tuned, "rates": Rates(**tuned["rates"])}),
    )


def _as_tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _as_arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
