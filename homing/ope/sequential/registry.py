"""Sequential estimators by name.

>>> get_sequential("pdis").name
'pdis'
>>> get_sequential("pdiss")
Traceback (most recent call last):
homing.errors.UnknownNameError: sequential estimator == 'pdiss', must be one of 'arp', ... Did you mean 'pdis'?
"""

from __future__ import annotations

from collections.abc import Callable

from homing.errors import unknown_name
from homing.ope.sequential.arp import ARP
from homing.ope.sequential.base import SequentialEstimator
from homing.ope.sequential.dr import WDR, SequentialDR
from homing.ope.sequential.fqe import FQE
from homing.ope.sequential.magic import MAGIC
from homing.ope.sequential.mwl import MWL
from homing.ope.sequential.pdis import PDIS, SNPDIS
from homing.ope.sequential.smis import SMIS
from homing.ope.sequential.tis import SNTIS, TIS

#: Every sequential estimator by name; a new one is one file and one line here.
SEQUENTIAL: dict[str, Callable[[], SequentialEstimator]] = {
    "tis": TIS,
    "sntis": SNTIS,
    "pdis": PDIS,
    "snpdis": SNPDIS,
    "dr": SequentialDR,
    "wdr": WDR,
    "magic": MAGIC,
    "fqe": FQE,
    "smis": SMIS,
    "mwl": MWL,
    "arp": ARP,
}


def get_sequential(name: str | SequentialEstimator) -> SequentialEstimator:
    """The estimator of that name with its default settings; an estimator is returned as it is."""
    if not isinstance(name, str):
        return name
    if name not in SEQUENTIAL:
        raise unknown_name("sequential estimator", name, SEQUENTIAL)
    return SEQUENTIAL[name]()
