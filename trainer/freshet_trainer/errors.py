"""The ways a training ends early. Each has its own exit code, which tells the caller whether to try again."""


class InputError(Exception):
    """The manifest or the data is wrong: the same input fails again. Exit code 2."""


class NumericalError(Exception):
    """The loss or the weights are no longer finite: the same input fails again. Exit code 3."""


class Stopped(Exception):
    """Asked to stop (SIGTERM); a checkpoint was saved and the next run goes on from it. Exit code 143."""


class OutOfMemory(Exception):
    """Not even half the batch fits: the same input fails again. Exit code 4."""


class DiskFull(Exception):
    """No space is left for a checkpoint or an output: another try, later or elsewhere, may find some. Exit code 5."""
