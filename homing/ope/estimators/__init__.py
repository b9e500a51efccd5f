"""Off-policy estimators, one a file, found by name.

>>> sorted(ESTIMATORS)
['balanced-ips', 'clipped-ips', 'dm', 'dr', 'dros', 'drps', 'ips', 'mips-campaign', 'mips-message', 'mrdr', 'sg-dr',
 'sg-ips', 'sndr', 'snips', 'snmips-message', 'switch-dr']
>>> get_estimator("snipz")
Traceback (most recent call last):
homing.errors.UnknownNameError: estimator == 'snipz', must be one of 'balanced-ips', ... Did you mean 'snips'?
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from homing.errors import unknown_name
from homing.ope.estimators.balanced_ips import BalancedIPS, balanced_weights
from homing.ope.estimators.base import Estimator, RowEstimate, Rows, linear
from homing.ope.estimators.clipped_ips import ClippedIPS
from homing.ope.estimators.dm import DM
from homing.ope.estimators.dr import DR
from homing.ope.estimators.dros import DRos
from homing.ope.estimators.drps import DRps
from homing.ope.estimators.ips import IPS
from homing.ope.estimators.mips import MIPS, SNMIPS, marginal_weights
from homing.ope.estimators.mrdr import MRDR, mrdr_weights
from homing.ope.estimators.sg_dr import SubGaussianDR
from homing.ope.estimators.sg_ips import SubGaussianIPS
from homing.ope.estimators.sndr import SNDR
from homing.ope.estimators.snips import SNIPS
from homing.ope.estimators.switch_dr import SwitchDR

#: Every estimator by name; a new one is one file and one line here.
ESTIMATORS: dict[str, Callable[[], Estimator]] = {
    "ips": IPS,
    "snips": SNIPS,
    "dr": DR,
    "switch-dr": SwitchDR,
    "dros": DRos,
    "clipped-ips": ClippedIPS,
    "sg-ips": SubGaussianIPS,
    "dm": DM,
    "sndr": SNDR,
    "drps": DRps,
    "sg-dr": SubGaussianDR,
    "mrdr": MRDR,
    "mips-message": MIPS,
    "mips-campaign": partial(MIPS, "campaign"),
    "snmips-message": SNMIPS,
    "balanced-ips": BalancedIPS,
}


def get_estimator(name: str | Estimator) -> Estimator:
    """The estimator of that name with its default settings; an estimator is returned as it is."""
    if not isinstance(name, str):
        return name
    if name not in ESTIMATORS:
        raise unknown_name("estimator", name, ESTIMATORS)
    return ESTIMATORS[name]()


__all__ = [
    "DM",
    "DR",
    "ESTIMATORS",
    "IPS",
    "MIPS",
    "MRDR",
    "SNDR",
    "SNIPS",
    "SNMIPS",
    "BalancedIPS",
    "ClippedIPS",
    "DRos",
    "DRps",
    "Estimator",
    "RowEstimate",
    "Rows",
    "SubGaussianDR",
    "SubGaussianIPS",
    "SwitchDR",
    "balanced_weights",
    "get_estimator",
    "linear",
    "marginal_weights",
    "mrdr_weights",
]
