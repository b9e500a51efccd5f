"""Workers as threads of one process: they add up as a process group does, and train to the bits of workers on Ray."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from homing.learners.workers import Workers


@dataclass(frozen=True)
class Thread(Workers):
    """One of them.

    Attributes:
        barrier: where all meet.
        left: what each has left for the others.
    """

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(1), compare=False)
    left: dict[int, torch.Tensor] = field(default_factory=dict, compare=False)

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """See `Workers.add`."""
        return tensor.copy_(torch.stack(self._every(tensor)).sum(dim=0))

    def stack(self, tensor: torch.Tensor, device: str) -> torch.Tensor:
        """See `Workers.stack`."""
        return torch.stack(self._every(tensor))

    def _every(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        self.left[self.rank] = tensor.clone()
        self.barrier.wait()
        found = [self.left[rank] for rank in range(self.size)]
        self.barrier.wait()
        return found


@dataclass(frozen=True)
class InThreads:
    """An engine of threads, for work that takes its `workers`."""

    here: bool = False

    def together(self, work: Callable[..., Any], *, workers: int, gpus: bool, folder: Path | None) -> Any:
        """See `Engine.together`."""
        barrier, left, found = threading.Barrier(workers), {}, {}

        def run(rank: int) -> None:
            found[rank] = work(workers=Thread(rank, workers, barrier, left))

        threads = [threading.Thread(target=run, args=(rank,)) for rank in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found[0]
