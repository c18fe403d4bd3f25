"""Reads the manifest and refuses what is not as the trainer contract says, naming the field and what was expected."""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError

CONTRACT_VERSION = 2
STRATEGIES = ("full", "warmStart", "incremental", "online")
# JSON readers agree on whole numbers up to here.
MAX_SAFE_INTEGER = 2**53 - 1


@dataclass(frozen=True)
class Categorical:
    """A 64-bit id that owns a row of an embedding table of at most `buckets` rows of `dim` numbers. Id 0 is missing."""

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
class Rates:
    """Factors on the learning rate of an incremental update, for rows the parent trained, new rows, and the layers."""

    known: float = 1.0
    new: float = 1.0
    dense: float = 1.0


@dataclass(frozen=True)
class Repair:
    """Shrink and perturb (Ash and Adams, NeurIPS 2020): weights = shrink * weights + perturb * first weights."""

    shrink: float
    perturb: float


@dataclass(frozen=True)
class Hyperparameters:
    """See config/model-sections.ts for what each one means and why it has its default."""

    learning_rate: float = 1e-4
    wide_learning_rate: float = 0.1
    warm_factor: float = 0.1
    weight_decay: float = 1e-4
    epochs: int = 4
    batch_size: int = 1024
    hidden: tuple[int, ...] = (64, 32)
    freeze_base: bool = False
    tune: bool = True
    rates: Rates | None = None
    warmup: float = 0.05
    decay: float = 0.3
    admit_after: int = 1
    expire_after_ms: int = 2_592_000_000
    negative_share: float = 1.0
    recency_half_life_ms: float | None = None
    positions: int = 0
    distillation: float = 0.0
    repair: Repair | None = None


@dataclass(frozen=True)
class Settings:
    """What is to be learnt and how; no files, no folders."""

    features: tuple[Feature, ...]
    strategy: str
    hyperparameters: Hyperparameters
    seed: int
    threads: int = 1

    @property
    def categorical(self) -> list[Categorical]:
        return [feature for feature in self.features if isinstance(feature, Categorical)]

    @property
    def numeric(self) -> list[Numeric]:
        return [feature for feature in self.features if isinstance(feature, Numeric)]


@dataclass(frozen=True)
class Manifest:
    line: str
    cycle_id: str
    train: tuple[Path, ...]
    replay: tuple[Path, ...]
    label: str
    settings: Settings
    warm_start: Path | None
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

    def number(self, name: str, positive: bool = False, at_most: float = math.inf) -> float:
        expected = f"a finite number {'above' if positive else 'of at least'} 0"
        if at_most < math.inf:
            expected += f" and at most {at_most:g}"
        in_range = (lambda v: 0 < v <= at_most) if positive else (lambda v: 0 <= v <= at_most)
        return float(self._take(name, expected, lambda v: _is_number(v) and in_range(v)))

    def optional_number(self, name: str, positive: bool = False) -> float | None:
        return None if self._value.get(name) is None else self.number(name, positive)

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
    warm_start = fields.optional_object("warmStart")
    return Manifest(
        line=fields.text("line"),
        cycle_id=fields.text("cycleId"),
        train=snapshot.paths("train"),
        replay=snapshot.paths("replay"),
        label=fields.text("label"),
        settings=Settings(
            features=_read_features(fields.objects("features")),
            strategy=fields.choice("strategy", STRATEGIES),
            hyperparameters=_read_hyperparameters(fields.object("hyperparameters")),
            seed=fields.integer("seed", at_least=-MAX_SAFE_INTEGER),
            threads=fields.integer("threads", at_least=1),
        ),
        warm_start=None if warm_start is None else Path(warm_start.text("checkpoint")),
        checkpoint_every_seconds=fields.number("checkpointEverySeconds"),
        work_dir=Path(fields.text("workDir")),
        output_dir=Path(fields.text("outputDir")),
    )


def _read_hyperparameters(fields: Fields) -> Hyperparameters:
    rates, repair = fields.optional_object("rates"), fields.optional_object("repair")
    distillation = fields.number("distillation", at_most=1.0)
    if distillation == 1:
        raise InputError("manifest: hyperparameters.distillation must be below 1, or the labels would count for nothing")
    return Hyperparameters(
        learning_rate=fields.number("learningRate", positive=True),
        wide_learning_rate=fields.number("wideLearningRate", positive=True),
        warm_factor=fields.number("warmFactor", positive=True),
        weight_decay=fields.number("weightDecay"),
        epochs=fields.integer("epochs", at_least=1),
        batch_size=fields.integer("batchSize", at_least=1),
        hidden=fields.widths("hidden"),
        freeze_base=fields.flag("freezeBase"),
        tune=fields.flag("tune"),
        rates=None if rates is None else Rates(*(rates.number(name, positive=True) for name in ("known", "new", "dense"))),
        warmup=fields.number("warmup", at_most=1.0),
        decay=fields.number("decay", positive=True, at_most=1.0),
        admit_after=fields.integer("admitAfter", at_least=1),
        expire_after_ms=fields.integer("expireAfterMs", at_least=1),
        negative_share=fields.number("negativeShare", positive=True, at_most=1.0),
        recency_half_life_ms=fields.optional_number("recencyHalfLifeMs", positive=True),
        positions=fields.integer("positions", at_least=0),
        distillation=distillation,
        repair=None if repair is None else Repair(repair.number("shrink", at_most=1.0), repair.number("perturb", at_most=1.0)),
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
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_SAFE_INTEGER


def _is_width(value: object) -> bool:
    return _is_integer(value) and value >= 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_list(value: object, accept) -> bool:
    return isinstance(value, list) and all(accept(item) for item in value)


def _show(value: object) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
