"""How many threads torch may use while a learner fits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: The matrices are small: with two threads on a busy machine a fit took 24 CPU seconds instead of 4. One thread also
#: adds up in one order, so that a seed gives the same model whatever the number of cores.
THREADS = 1


@contextmanager
def few_threads(count: int = THREADS) -> Iterator[None]:
    """Limit torch to `count` threads for a while, and give back what was set before.

    Example:
        >>> before = torch.get_num_threads()
        >>> with few_threads():
        ...     torch.get_num_threads()
        1
        >>> torch.get_num_threads() == before
        True
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
