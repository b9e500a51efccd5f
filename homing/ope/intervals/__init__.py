"""Intervals, one a file, found by name: all work on each user's contribution to the error.

>>> sorted(INTERVALS)
['anytime', 'bernstein', 'bootstrap', 'cluster-t', 'cressie-read']
>>> get_interval("bootstrapp")
Traceback (most recent call last):
homing.errors.UnknownNameError: interval == 'bootstrapp', must be one of 'anytime', ... Did you mean 'bootstrap'?
"""

from __future__ import annotations

from collections.abc import Callable

from homing.errors import unknown_name
from homing.ope.intervals.anytime import Anytime
from homing.ope.intervals.base import Bounds, Contributions, Interval, Part
from homing.ope.intervals.bernstein import Bernstein
from homing.ope.intervals.betting import BettingSequence, betting_sequence
from homing.ope.intervals.bootstrap import Bootstrap
from homing.ope.intervals.cluster_t import ClusterT
from homing.ope.intervals.cressie_read import CressieRead
from homing.ope.intervals.empirical_likelihood import empirical_likelihood
from homing.ope.intervals.simultaneous import simultaneous_level

#: Every interval by name; a new one is one file and one line here.
INTERVALS: dict[str, Callable[[], Interval]] = {
    "cluster-t": ClusterT,
    "cressie-read": CressieRead,
    "bootstrap": Bootstrap,
    "bernstein": Bernstein,
    "anytime": Anytime,
}


def get_interval(name: str | Interval) -> Interval:
    """The interval of that name with its default settings; an interval is returned as it is."""
    if not isinstance(name, str):
        return name
    if name not in INTERVALS:
        raise unknown_name("interval", name, INTERVALS)
    return INTERVALS[name]()


__all__ = [
    "INTERVALS",
    "Anytime",
    "Bernstein",
    "BettingSequence",
    "Bootstrap",
    "Bounds",
    "ClusterT",
    "Contributions",
    "CressieRead",
    "Interval",
    "Part",
    "betting_sequence",
    "empirical_likelihood",
    "get_interval",
    "simultaneous_level",
]
