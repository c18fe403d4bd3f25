"""The reference trainer in this process: the only file here that knows its functions.

What imports PyTorch, which takes seconds, is imported when it is first needed: the process that only measures never does.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from freshet_trainer.dataset import Rows
from freshet_trainer.manifest import Settings, read_manifest

if TYPE_CHECKING:
    from freshet_trainer.train import Learned

__all__ = ["Rows", "Settings", "read_settings", "train", "train_again"]


def read_settings(manifest: str) -> Settings:
    """What the line's config says of training, from a manifest as a cycle writes it."""
    return read_manifest(Path(manifest)).settings


def train(settings: Settings, rows: Rows, parent: "Learned | None") -> "Learned":
    """One training as the trainer process runs it, without its files."""
    from freshet_trainer.train import learn

    return learn(settings, rows, None if parent is None else parent.checkpoint)


def train_again(settings: Settings, rows: Rows, first: "Learned") -> "Learned":
    """From scratch, at the rates that the first training chose; the number of epochs is chosen anew where config tunes."""
    from freshet_trainer.train import learn

    tuned = first.checkpoint.tuned
    return learn(settings, rows, tuned=replace(tuned, epochs=None) if settings.hyperparameters.tune else None)
