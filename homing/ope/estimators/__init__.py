"""Off-policy estimators, one a file, found by name.

>>> sorted(ESTIMATORS)
['dr', 'dros', 'ips', 'snips', 'switch-dr']
>>> get_estimator("snipz")
Traceback (most recent call last):
homing.errors.UnknownNameError: estimator == 'snipz', must be one of 'dr', ... Did you mean 'snips'?
"""

from __future__ import annotations

from collections.abc import Callable

from homing.errors import unknown_name
from homing.ope.estimators.base import Estimator, RowEstimate, Rows, linear
from homing.ope.estimators.dr import DR
from homing.ope.estimators.dros import DRos
from homing.ope.estimators.ips import IPS
from homing.ope.estimators.snips import SNIPS
from homing.ope.estimators.switch_dr import SwitchDR

#: Every estimator by name; a new one is one file and one line here.
ESTIMATORS: dict[str, Callable[[], Estimator]] = {
    "ips": IPS,
    "snips": SNIPS,
    "dr": DR,
    "switch-dr": SwitchDR,
    "dros": DRos,
}


def get_estimator(name: str | Estimator) -> Estimator:
    """The estimator of that name with its default settings; an estimator is returned as it is."""
    if not isinstance(name, str):
        return name
    if name not in ESTIMATORS:
        raise unknown_name("estimator", name, ESTIMATORS)
    return ESTIMATORS[name]()


__all__ = [
    "DR",
    "ESTIMATORS",
    "IPS",
    "SNIPS",
    "DRos",
    "Estimator",
    "RowEstimate",
    "Rows",
    "SwitchDR",
    "get_estimator",
    "linear",
]
