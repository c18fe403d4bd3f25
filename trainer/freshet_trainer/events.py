"""What the trainer says while it runs: one JSON object a line on standard output."""

import json
import os
import sys


def emit(kind: str, **fields) -> None:
    """Print one event line. Raises BrokenPipeError when the reader is gone: nobody waits for this training any more."""
    print(json.dumps({"type": kind, **fields}), flush=True)


class Warnings:
    """Warnings are told twice: at once as an event, and at the end in result.json."""

    def __init__(self, silent: bool = False) -> None:
        self.told: list[dict[str, str]] = []
        self.silent = silent

    def add(self, code: str, message: str) -> None:
        self.told.append({"code": code, "message": message})
        if not self.silent:
            emit("warning", code=code, message=message)


def silence_stdout() -> None:
    """After a BrokenPipeError, so that the interpreter's own flush at exit does not fail a second time."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
