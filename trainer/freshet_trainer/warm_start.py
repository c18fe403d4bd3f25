"""Starts a model from the champion's checkpoint: what fits is loaded, what does not is said and begins anew."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .errors import InputError
from .events import Warnings
from .manifest import Categorical, Feature, Numeric
from .model import RankingModel, input_columns

FIRST_LAYER = "layers.0.weight"
TRAINED_SHARE_OF_FROZEN = 0.25


@dataclass(frozen=True)
class Checkpoint:
    """What `checkpoint.pt` holds: weights by name (with the numeric statistics) and the feature spec they belong to."""

    weights: dict[str, Tensor]
    features: tuple[Feature, ...]


def save_checkpoint(model: RankingModel, path: Path) -> None:
    features = [{"kind": type(feature).__name__, **vars(feature)} for feature in model.features]
    weights = {name: weight.cpu() for name, weight in model.state_dict().items()}
    torch.save({"contractVersion": 1, "features": features, "model": weights}, path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises InputError when the file is not a checkpoint of this trainer. `module.` prefixes (DDP) are stripped."""
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
        kinds = {"Categorical": Categorical, "Numeric": Numeric}
        features = tuple(kinds[entry.pop("kind")](**entry) for entry in document["features"])
        weights = {name.removeprefix("module."): weight for name, weight in document["model"].items()}
        if not all(isinstance(weight, Tensor) for weight in weights.values()):
            raise TypeError("it holds weights that are no tensors")
    except OSError as error:
        raise InputError(f"warm start: cannot read {path}: {error.strerror}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"warm start: {path} is not a checkpoint of this trainer ({reason}); "
            "restore the parent's artifact, or train with strategy full"
        ) from error
    return Checkpoint(weights, features)


def load_parent(model: RankingModel, parent: Checkpoint, warnings: Warnings) -> set[str]:
    """Load the tensors whose shape fits, and of the first layer the columns of features both models have.

    Numeric statistics of known features are the parent's: its weights were trained on that scale. Columns of a number
    the parent did not know begin at zero, so that the start is the parent's own function.
    Returns the names of the tensors that were loaded (wholly or, the first layer, partly).
    """
    own = model.state_dict()  # shares its tensors with the model: writing to them is loading
    known = {feature.name: feature for feature in parent.features}
    shared = [feature for feature in model.features if known.get(feature.name) == feature]
    loaded = set()
    for name, weight in own.items():
        if name in ("mean", "deviation"):
            _carry_statistics(weight, model, parent, name)
        elif name == FIRST_LAYER and parent.features != model.features:
            if name in parent.weights and len(parent.weights[name]) == len(weight):
                _carry_columns(weight, model, parent, shared)
                loaded.add(name)
                names = [feature.name for feature in model.features if feature not in shared]
                if names:
                    warnings.add("newFeatures", f"the parent does not know {', '.join(names)} as declared; begins anew")
            else:
                _warn_skipped(name, weight, parent, warnings)
        elif name in parent.weights and parent.weights[name].shape == weight.shape:
            weight.copy_(parent.weights[name])
            loaded.add(name)
        else:
            _warn_skipped(name, weight, parent, warnings)
    for name in sorted(parent.weights.keys() - own.keys()):
        warnings.add("tensorUnused", f"{name} of the parent has no place in this model; left out")
    return loaded


def freeze_base(model: RankingModel, loaded: set[str]) -> None:
    """Leave the top quarter of the layers (at least one) to train; what was not loaded trains too, it knows nothing."""
    blocks = model.blocks()
    trained = max(1, round(len(blocks) * TRAINED_SHARE_OF_FROZEN))
    base = {id(weight) for block in blocks[:-trained] for weight in block.parameters()}
    for name, weight in model.named_parameters():
        weight.requires_grad_(id(weight) not in base or name not in loaded)


def _carry_statistics(own: Tensor, model: RankingModel, parent: Checkpoint, name: str) -> None:
    parents = [feature for feature in parent.features if isinstance(feature, Numeric)]
    for index, feature in enumerate(model.numeric):
        if feature in parents and name in parent.weights:
            own[index] = parent.weights[name][parents.index(feature)]


def _carry_columns(own: Tensor, model: RankingModel, parent: Checkpoint, shared: list[Feature]) -> None:
    here, there = input_columns(model.features), input_columns(parent.features)
    for feature in model.features:
        if feature in shared:
            own[:, here[feature.name]] = parent.weights[FIRST_LAYER][:, there[feature.name]]
        elif isinstance(feature, Numeric):
            own[:, here[feature.name]] = 0.0


def _warn_skipped(name: str, own: Tensor, parent: Checkpoint, warnings: Warnings) -> None:
    theirs = parent.weights.get(name)
    found = "is not in the parent" if theirs is None else f"is {tuple(theirs.shape)} in the parent"
    warnings.add("tensorSkipped", f"{name} {found}, expected {tuple(own.shape)}; begins anew")
