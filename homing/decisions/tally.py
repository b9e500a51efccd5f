"""Counts of what happened, for metrics: names and labels only, never a user."""

from __future__ import annotations

import threading
from collections import Counter


class Tally:
    """A counter by name and labels, safe for threads.

    >>> tally = Tally()
    >>> tally.add("decisions", slice="policy"); tally.add("decisions", 2, slice="policy")
    >>> tally.snapshot()
    {('decisions', (('slice', 'policy'),)): 3}
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, count: int = 1, **labels: str) -> None:
        """Count `count` more."""
        with self._lock:
            self._counts[name, tuple(sorted(labels.items()))] += count

    def snapshot(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], int]:
        """All counts so far."""
        with self._lock:
            return dict(self._counts)

    def total(self, name: str) -> int:
        """Sum over the labels of one name."""
        return sum(count for (key, _), count in self.snapshot().items() if key == name)
