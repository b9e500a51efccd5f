"""Data sets as decision logs, real and simulated: each states its source, licence, randomisation and caveats.

>>> from homing import datasets
>>> datasets.names()
('heartsteps', 'hillstrom', 'open-bandit', 'simulated-messaging', 'starbucks')
"""

from homing.datasets.card import Card
from homing.datasets.describing import Counts, Description, count, describe
from homing.datasets.prepare import PrepareReport, prepare
from homing.datasets.registry import (
    card,
    default_learner,
    default_rules,
    default_weights,
    load,
    names,
    objectives,
    objectives_path,
    simulated,
)
from homing.datasets.thompson import thompson_probs, thompson_shares
from homing.datasets.truth import Simulated, Truth, true_values

__all__ = [
    "Card",
    "Counts",
    "Description",
    "PrepareReport",
    "Simulated",
    "Truth",
    "card",
    "count",
    "default_learner",
    "default_rules",
    "default_weights",
    "describe",
    "load",
    "names",
    "objectives",
    "objectives_path",
    "prepare",
    "simulated",
    "thompson_probs",
    "thompson_shares",
    "true_values",
]
