"""The trainer process: `python -m freshet_trainer manifest.json`.

Exit codes: 0 with model.onnx, checkpoint.pt and result.json written; 2 the manifest or the data is wrong; 3 the numbers
went astray; 143 stopped by SIGTERM after saving a checkpoint; anything else is worth another try. The last line of
standard error says why.
"""

import json
import os
import signal
import sys
from pathlib import Path

from .dataset import read_rows
from .errors import InputError, NumericalError, Stopped
from .events import Warnings, emit, silence_stdout
from .manifest import Manifest, read_manifest

INPUT_ERROR, NUMERICAL_ERROR, STOPPED = 2, 3, 143


def main(arguments: list[str]) -> int:
    """Run one training and return the exit code."""
    stop_asked = []
    # Ctrl-C in a terminal reaches the whole process group: it means the same as SIGTERM.
    signals = (signal.SIGTERM, signal.SIGINT)
    previous = [signal.signal(number, lambda *_: stop_asked.append(True)) for number in signals]
    try:
        if len(arguments) != 1:
            raise InputError("usage: python -m freshet_trainer manifest.json")
        run(read_manifest(Path(arguments[0])), stop=lambda: bool(stop_asked))
        return 0
    except (InputError, NumericalError, Stopped) as error:
        print(error, file=sys.stderr)
        return {InputError: INPUT_ERROR, NumericalError: NUMERICAL_ERROR, Stopped: STOPPED}[type(error)]
    except BrokenPipeError:
        silence_stdout()
        print("standard output was closed: nobody waits for this training", file=sys.stderr)
        return 1
    finally:
        for number, handler in zip(signals, previous):
            signal.signal(number, handler)


def run(manifest: Manifest, stop) -> None:
    rows = read_rows(manifest)
    emit("metric", name="trainingRows", value=len(rows))
    _make_folders(manifest)
    # Importing PyTorch takes seconds; wrong input is refused before.
    from .export import export_onnx
    from .train import train
    from .warm_start import save_checkpoint

    warnings = Warnings()
    model, result = train(manifest, rows, warnings, stop)
    _write(manifest.output_dir / "model.onnx", lambda path: export_onnx(model, path))
    _write(manifest.output_dir / "checkpoint.pt", lambda path: save_checkpoint(model, path))
    _write(manifest.output_dir / "result.json", lambda path: path.write_text(json.dumps(result, indent=2) + "\n"))
    emit("metric", name="trainLogLoss", value=result["metrics"]["trainLogLoss"])


def _make_folders(manifest: Manifest) -> None:
    for name, folder in (("workDir", manifest.work_dir), ("outputDir", manifest.output_dir)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"manifest: cannot make {name} {folder}: {error.strerror}") from error


def _write(path: Path, write) -> None:
    """An output appears under its name only when it is whole."""
    partial = path.with_name(f"{path.name}.partial")
    write(partial)
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
