"""Processes that train the same networks together: each on users of its own, all with one gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import distributed


@dataclass(frozen=True)
class Workers:
    """This process among those that train together; alone unless an engine has joined it with others.

    Attributes:
        rank: its number, from 0.
        size: how many there are.

    Example:
        >>> alone = Workers.here()
        >>> alone.rank, alone.size, alone.share(256)
        (0, 1, 256)
        >>> [Workers(rank, 3).share(256) for rank in range(3)]
        [86, 85, 85]
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Workers:
        """This process's place in torch's process group, which engines set up."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    def share(self, count: int) -> int:
        """How many of `count` things fall to this worker; the shares of all sum to `count`."""
        return count // self.size + (self.rank < count % self.size)

    def seed(self, seed: int) -> int:
        """A seed of this worker's own; the first one's is `seed` itself."""
        if not self.rank:
            return seed
        return int(np.random.SeedSequence(seed, spawn_key=(self.rank,)).generate_state(1, np.uint64)[0] >> 2)

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over workers, in place; the same bits in each."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def stack(self, tensor: torch.Tensor, device: str) -> torch.Tensor:
        """The tensors of all workers, (size, …), each of the same shape; `device` is where they are exchanged."""
        if self.size == 1:
            return tensor[None]
        mine = tensor.to(device)
        every = [torch.empty_like(mine) for _ in range(self.size)]
        distributed.all_gather(every, mine)
        return torch.stack(every).to(tensor.device)
