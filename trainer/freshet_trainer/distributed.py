"""Several processes, one training: `torchrun` starts one a GPU (or, on the CPU, as many as are asked for).

Every process reads all rows and goes through the same batches in the same order. Of each batch it computes its own share;
the gradients of the layers are summed, those of the rows and the losses are put together in the order of the batch (which
rows these are, everyone knows). Then every process makes the same update of the whole model, so all stay equal and
decide alike, and the first one speaks and writes for all.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import Stopped

# Asking each other takes a message; a stop may wait for so many steps.
ASK_EVERY = 8


class Alone:
    """One process: nothing is exchanged."""

    rank, size = 0, 1

    def share(self, count: int) -> slice:
        """The part of a batch of `count` rows that is this process's."""
        return slice(0, count)

    def sum(self, tensors: list[Tensor]) -> None:
        """Sum each over all processes, in place."""

    def gather(self, parts: list[Tensor], count: int) -> list[Tensor]:
        """Tensors [own share, ...] -> [count, ...], in the order of the batch."""
        return parts

    def agreed(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """A `stop` that is true for all processes at the same call, once it is true for one."""
        return stop


class Group(Alone):
    """One of several processes. All must make the same calls in the same order."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        # Questions between processes go past the GPU, which need not wait for the answer.
        self.questions = dist.new_group(backend="gloo")

    def share(self, count: int) -> slice:
        part = self._largest(count)
        return slice(min(self.rank * part, count), min((self.rank + 1) * part, count))

    def sum(self, tensors: list[Tensor]) -> None:
        if not tensors:
            return
        everything = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(everything)
        for tensor, summed in zip(tensors, everything.split([tensor.numel() for tensor in tensors])):
            tensor.copy_(summed.view_as(tensor))

    def gather(self, parts: list[Tensor], count: int) -> list[Tensor]:
        rows = [part.reshape(len(part), part.shape[1:].numel()) for part in parts]
        own = torch.cat(rows, dim=1)
        # All shares but the last ones are equally long: once these are filled up, the surplus is at the end.
        filled = own.new_zeros(self._largest(count), own.shape[1])
        filled[: len(own)] = own
        everyone = own.new_empty(self.size * len(filled), own.shape[1])
        dist.all_gather_into_tensor(everyone, filled)
        columns = everyone[:count].split([row.shape[1] for row in rows], dim=1)
        return [column.reshape(count, *part.shape[1:]) for column, part in zip(columns, parts)]

    def agreed(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        calls = 0

        def ask() -> bool:
            nonlocal calls
            calls += 1
            if calls % ASK_EVERY != 1:
                return False
            asked = torch.tensor(float(stop()))
            dist.all_reduce(asked, op=dist.ReduceOp.MAX, group=self.questions)
            return asked.item() > 0

        return ask

    def _largest(self, count: int) -> int:
        return -(-count // self.size)


_exchange: Alone = Alone()


def exchange_of_process() -> Alone:
    """What `joined` made of this process."""
    return _exchange


@contextmanager
def joined() -> Iterator[Alone]:
    """Belongs to the other processes that `torchrun` started, if it did, until the end or an agreed stop.

    After an error nobody waits for this process, and it waits for nobody.
    """
    exchange = _join()
    try:
        yield exchange
    except Stopped:
        _leave()
        raise
    _leave()


def _join() -> Alone:
    global _exchange
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return _exchange
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # Sums in whatever order the GPU likes would let the processes' tables drift apart.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False
    dist.init_process_group("nccl" if on_gpu else "gloo")
    _exchange = Group()
    return _exchange


def _leave() -> None:
    global _exchange
    if _exchange.size > 1:
        dist.destroy_process_group()
    _exchange = Alone()
