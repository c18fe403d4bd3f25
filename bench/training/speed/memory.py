"""What the memory of a GPU allows: training tables is moving rows, so its bandwidth is the bound."""

import time

import torch

FLOAT = 4
COPIED_BYTES, COPIES = 1 << 30, 20


def bytes_a_sample(features: int, dim: int, numbers: int) -> int:
    """Bytes that one row of a batch has to move to and from the tables, if nothing is cached and nothing wasted.

    An id's embedding is looked up (1 row), and updated: weight, mean and square are read and written (6 rows), and so is
    the row's step count. A wide weight (one for each feature) is looked up, and it and its square are read and written. The
    input is a cell (int32) for each feature, the numbers and the label. Activations, gradients and layers are left out: they could stay on
    the chip. Ids that occur twice in a batch need less.
    """
    embeddings = features * (7 * dim + 2) * FLOAT
    wide = (features + numbers) * 5 * FLOAT
    inputs = (features + numbers + numbers + 1) * FLOAT
    return embeddings + wide + inputs


def bandwidth(device: torch.device, size: int = COPIED_BYTES) -> float:
    """Bytes a second, reads and writes, of copies within the device's memory."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def seconds(copies: int) -> float:
        _wait(device)
        began = time.perf_counter()
        for _ in range(copies):
            target.copy_(source)
        _wait(device)
        return time.perf_counter() - began

    seconds(2)
    return 2 * size * COPIES / seconds(COPIES)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
