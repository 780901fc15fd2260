"""Several processes train one model: each on frames of its own, their gradients averaged.

A step of the small language side keeps one core busy and not four: with three threads it took as
long as with one (measured). So each core gets a process, frames of its own and a batch. Not
torch's ``DistributedDataParallel``: it averages what goes through a module's ``forward``, and the
loss here goes through parts of the model; the clock has to be agreed on as well.
"""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import start_processes


class Team:
    """``rank`` of ``size`` processes; one alone needs no meeting."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this process reports and saves."""
        return self.rank == 0

    def seed(self, seed: int) -> int:
        """Of this process alone: what each draws by it differs."""
        return seed + 1_000_003 * self.rank

    def meet(self, parameters: Sequence[Tensor], done: float) -> float:
        """Average the gradients of all; what the first says is ``done`` goes for everyone."""
        if self.size == 1:
            return done
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        said = torch.tensor([done if self.leads else 0.0])
        flat = torch.cat([*(grad.flatten() for grad in grads), said])
        dist.all_reduce(flat)
        sizes = [*(grad.numel() for grad in grads), 1]
        *parts, agreed = torch.split(flat, sizes)
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = (part / self.size).view_as(parameter)
        return float(agreed)


ALONE = Team()


def together(size: int, work: Callable[..., None], *arguments: object) -> None:
    """``work(team, *arguments)`` in ``size`` processes of one thread each; here for a single one.

    An error in any of them ends all, and is raised.
    """
    if size == 1:
        work(ALONE, *arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        handed = (size, meeting, work, *arguments)
        start_processes(_join_in, handed, size, daemon=True, start_method="spawn")  # type: ignore[no-untyped-call]


def _join_in(
    rank: int, size: int, meeting: Path, work: Callable[..., None], *arguments: object
) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    try:
        # Tensors came in shared memory: a model that all write to would take each step many times.
        work(Team(rank, size), *copy.deepcopy(arguments))
    finally:
        dist.destroy_process_group()
