"""Real data as decision logs: each data set states its source, licence, randomisation and caveats.

>>> from homing import datasets
>>> datasets.names()
('heartsteps', 'hillstrom', 'open-bandit', 'starbucks')
"""

from homing.datasets.card import Card
from homing.datasets.describing import Counts, Description, count, describe
from homing.datasets.prepare import PrepareReport, prepare
from homing.datasets.registry import (
    card,
    default_rules,
    default_weights,
    load,
    names,
    objectives,
    objectives_path,
)
from homing.datasets.thompson import thompson_probs, thompson_shares

__all__ = [
    "Card",
    "Counts",
    "Description",
    "PrepareReport",
    "card",
    "count",
    "default_rules",
    "default_weights",
    "describe",
    "load",
    "names",
    "objectives",
    "objectives_path",
    "prepare",
    "thompson_probs",
    "thompson_shares",
]
