"""The trainer process: `python -m freshet_trainer manifest.json`. docs/trainer-contract.md says what it keeps.

Exit codes: 0 with all outputs written; 2 the manifest or the data is wrong; 3 the numbers went astray; 4 out of memory;
5 the disk is full; 143 stopped by SIGTERM after saving a checkpoint; anything else is worth another try. The last line of
standard error says why.
"""

import errno
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DiskFull, InputError, NumericalError, OutOfMemory, Stopped
from .events import silence_stdout
from .manifest import Manifest, read_manifest

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
EXIT_CODES = {InputError: 2, NumericalError: 3, OutOfMemory: 4, DiskFull: 5, Stopped: 143}


def main(arguments: list[str]) -> int:
    """Run one training and return the exit code."""
    stop_asked = []
    # Ctrl-C in a terminal reaches the whole process group: it means the same as SIGTERM.
    signals = (signal.SIGTERM, signal.SIGINT)
    previous = [signal.signal(number, lambda *_: stop_asked.append(True)) for number in signals]
    try:
        if len(arguments) != 1:
            raise InputError("usage: python -m freshet_trainer manifest.json")
        manifest = read_manifest(Path(arguments[0]))
        _make_folders(manifest)
        with _naming_full_disks(manifest):
            # Importing PyTorch takes seconds; a wrong manifest is refused before.
            from .job import run

            run(manifest, stop=lambda: bool(stop_asked))
        return 0
    except tuple(EXIT_CODES) as error:
        print(error, file=sys.stderr)
        return EXIT_CODES[type(error)]
    except BrokenPipeError:
        silence_stdout()
        print("standard output was closed: nobody waits for this training", file=sys.stderr)
        return 1
    finally:
        for number, handler in zip(signals, previous):
            signal.signal(number, handler)


@contextmanager
def _naming_full_disks(manifest: Manifest) -> Iterator[None]:
    """Turns whatever a full disk raises inside into DiskFull."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not _is_disk_full(error):
            raise
        where = " or ".join(dict.fromkeys(map(str, (manifest.work_dir, manifest.output_dir))))
        raise DiskFull(f"no space is left on the disk for {where}: free some, or move FRESHET_HOME") from error


def _is_disk_full(error: BaseException | None) -> bool:
    """PyTorch's writer fails in words of its own, in the context of which stands what the disk had said."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        error = error.__context__
    return False


def _make_folders(manifest: Manifest) -> None:
    for name, folder in (("workDir", manifest.work_dir), ("outputDir", manifest.output_dir)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise DiskFull(f"no space is left on the disk for {folder}") from error
            raise InputError(f"manifest: cannot make {name} {folder}: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
