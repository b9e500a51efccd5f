"""How many threads torch may use while a learner fits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: The matrices are small: with two threads on a busy machine a fit took 24 CPU seconds instead of 4. One thread also
#: adds up in one order, so that a seed gives the same model whatever the number of cores.
THREADS = 1

#: What was set before, of each thread of this process that is limited now.
_before: dict[int, int] = {}
_lock = threading.Lock()


@contextmanager
def few_threads(count: int = THREADS) -> Iterator[None]:
    """Limit torch to `count` threads for a while, and give back what was set before.

    torch's setting is that of the calling thread, and what threads begin with that are new: one that is new while
    another is limited would take the limit for what was set before, and leave it behind.

    Example:
        >>> before = torch.get_num_threads()
        >>> with few_threads():
        ...     torch.get_num_threads()
        1
        >>> torch.get_num_threads() == before
        True
    """
    me = threading.get_ident()
    with _lock:
        nested = me in _before
        before = torch.get_num_threads() if nested or not _before else next(iter(_before.values()))
        if not nested:
            _before[me] = before
        torch.set_num_threads(count)
    try:
        yield
    finally:
        with _lock:
            torch.set_num_threads(before)
            if not nested:
                del _before[me]
