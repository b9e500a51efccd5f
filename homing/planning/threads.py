"""Threads that pass over candidates; of one, the caller's own, whose cache holds what was made just before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from homing.checks import check_count

A = TypeVar("A")
B = TypeVar("B")


class Here:
    """What a pool of one thread does, without a thread.

    Example:
        >>> list(Here().map(abs, [-1, 2]))
        [1, 2]
    """

    def map(self, work: Callable[[A], B], parts: Iterable[A]) -> Iterator[B]:
        """Results in the order of the parts."""
        return map(work, parts)


Pool = ThreadPoolExecutor | Here


@contextmanager
def pool_of(threads: int) -> Iterator[Pool]:
    """A pool of so many threads; 0 for one a core."""
    count = check_count("threads", threads, least=0, next_step="0 is one a core.") or os.cpu_count() or 1
    if count == 1:
        yield Here()
    else:
        with ThreadPoolExecutor(count) as pool:
            yield pool
