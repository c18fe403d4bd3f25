"""Reads the manifest and refuses what is not as the trainer contract says, naming the field and what was expected."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError

CONTRACT_VERSION = 1
# The smallest whole number that JSON readers agree on.
MIN_SAFE_INTEGER = -(2**53 - 1)


@dataclass(frozen=True)
class Categorical:
    """A 64-bit id that becomes a row of an embedding table with `buckets` rows of `dim` numbers. Id 0 is missing."""

    name: str
    buckets: int
    dim: int

    @property
    def width(self) -> int:
        return self.dim


@dataclass(frozen=True)
class Numeric:
    """A number, transformed and standardised inside the graph. NaN is missing."""

    name: str
    transform: str
    width: int = 1


Feature = Categorical | Numeric


@dataclass(frozen=True)
class Hyperparameters:
    learning_rate: float
    warm_factor: float
    weight_decay: float
    epochs: int
    batch_size: int
    hidden: tuple[int, ...]
    freeze_base: bool


@dataclass(frozen=True)
class Manifest:
    line: str
    cycle_id: str
    train: tuple[Path, ...]
    replay: tuple[Path, ...]
    features: tuple[Feature, ...]
    label: str
    strategy: str
    hyperparameters: Hyperparameters
    warm_start: Path | None
    seed: int
    threads: int
    checkpoint_every_seconds: float
    work_dir: Path
    output_dir: Path


class Fields:
    """One JSON object of the manifest. Every reader names the field's full path in its error."""

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            raise InputError(f"manifest: {path or 'the document'} must be an object, got {_show(value)}")
        self._value, self._path = value, path

    def _take(self, name: str, expected: str, accept) -> object:
        path = f"{self._path}.{name}" if self._path else name
        if name not in self._value:
            raise InputError(f"manifest: {path} is missing; expected {expected}")
        value = self._value[name]
        if not accept(value):
            raise InputError(f"manifest: {path} must be {expected}, got {_show(value)}")
        return value

    def text(self, name: str) -> str:
        return self._take(name, "a text that is not empty", lambda v: isinstance(v, str) and v != "")

    def choice(self, name: str, allowed: tuple) -> object:
        return self._take(name, " or ".join(map(repr, allowed)), lambda v: v in allowed)

    def flag(self, name: str) -> bool:
        return self._take(name, "true or false", lambda v: isinstance(v, bool))

    def integer(self, name: str, at_least: int) -> int:
        return self._take(name, f"a whole number of at least {at_least}", lambda v: _is_integer(v) and v >= at_least)

    def number(self, name: str, at_least: float = 0.0, positive: bool = False) -> float:
        expected = "a finite number above 0" if positive else f"a finite number of at least {at_least:g}"
        in_range = (lambda v: v > 0) if positive else (lambda v: v >= at_least)
        return float(self._take(name, expected, lambda v: _is_number(v) and in_range(v)))

    def widths(self, name: str) -> tuple[int, ...]:
        return tuple(self._take(name, "a list of whole numbers of at least 1", lambda v: _is_list(v, _is_width)))

    def paths(self, name: str) -> tuple[Path, ...]:
        paths = self._take(name, "a list of file paths", lambda v: _is_list(v, lambda p: isinstance(p, str) and p))
        return tuple(Path(path) for path in paths)

    def object(self, name: str) -> "Fields":
        value = self._take(name, "an object", lambda v: isinstance(v, dict))
        return Fields(value, f"{self._path}.{name}".lstrip("."))

    def optional_object(self, name: str) -> "Fields | None":
        return None if self._value.get(name) is None else self.object(name)

    def objects(self, name: str) -> list["Fields"]:
        values = self._take(name, "a list with at least one object", lambda v: isinstance(v, list) and len(v) > 0)
        return [Fields(value, f"{self._path}.{name}[{index}]".lstrip(".")) for index, value in enumerate(values)]


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest file. Fields the contract does not know are ignored. Raises InputError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"manifest: cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"manifest: {path} is not JSON: {error}") from error
    fields = Fields(document)
    fields.choice("contractVersion", (CONTRACT_VERSION,))
    snapshot = fields.object("snapshot")
    rates = fields.object("hyperparameters")
    warm_start = fields.optional_object("warmStart")
    return Manifest(
        line=fields.text("line"),
        cycle_id=fields.text("cycleId"),
        train=snapshot.paths("train"),
        replay=snapshot.paths("replay"),
        features=_read_features(fields.objects("features")),
        label=fields.text("label"),
        strategy=fields.choice("strategy", ("full", "warmStart")),
        hyperparameters=Hyperparameters(
            learning_rate=rates.number("learningRate", positive=True),
            warm_factor=rates.number("warmFactor", positive=True),
            weight_decay=rates.number("weightDecay"),
            epochs=rates.integer("epochs", at_least=1),
            batch_size=rates.integer("batchSize", at_least=1),
            hidden=rates.widths("hidden"),
            freeze_base=rates.flag("freezeBase"),
        ),
        warm_start=None if warm_start is None else Path(warm_start.text("checkpoint")),
        seed=fields.integer("seed", at_least=MIN_SAFE_INTEGER),
        threads=fields.integer("threads", at_least=1),
        checkpoint_every_seconds=fields.number("checkpointEverySeconds"),
        work_dir=Path(fields.text("workDir")),
        output_dir=Path(fields.text("outputDir")),
    )


def _read_features(entries: list[Fields]) -> tuple[Feature, ...]:
    features: list[Feature] = []
    for entry in entries:
        kind, name = entry.choice("kind", ("categorical", "numeric")), entry.text("name")
        if any(feature.name == name for feature in features):
            raise InputError(f'manifest: feature "{name}" is declared twice')
        if kind == "categorical":
            features.append(Categorical(name, entry.integer("buckets", at_least=2), entry.integer("dim", at_least=1)))
        else:
            features.append(Numeric(name, entry.choice("transform", ("none", "log1p"))))
    return tuple(features)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_width(value: object) -> bool:
    return _is_integer(value) and value >= 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_list(value: object, accept) -> bool:
    return isinstance(value, list) and all(accept(item) for item in value)


def _show(value: object) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
