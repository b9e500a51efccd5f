"""Sequential evaluation: policies whose decisions change what comes later, judged over each user's whole trajectory.

An estimator is a frozen dataclass that maps `Journeys` (weights, discounts, rewards and, where it needs them, a
Q-function's values or a reduced state, decision by decision) to a value per user and each user's influence on it.

| name | multiplies weights | needs | holds when |
|---|---|---|---|
| `tis`, `sntis` | the whole trajectory's | nothing | propensities are right |
| `pdis`, `snpdis` | up to each reward | nothing | propensities are right |
| `dr`, `wdr` | up to each reward | a Q-function | propensities are right; the Q-function only narrows |
| `magic` | as far as it pays | a Q-function | as `wdr`, with some of the Q-function's bias |
| `smis` | no | a reduced state | the state holds what messages change |
| `mwl` | no | a reduced state | the same, and the step does not matter |
| `arp` | no | a reduced state | the same, and steps of a phase are alike |
| `fqe` | no | a Q-function | the Q-function is right |
"""

from __future__ import annotations

from homing.ope.sequential.arp import ARP
from homing.ope.sequential.base import Journeys, SequentialEstimator
from homing.ope.sequential.dr import WDR, SequentialDR
from homing.ope.sequential.evaluate import evaluate_sequential
from homing.ope.sequential.fqe import FQE
from homing.ope.sequential.magic import MAGIC
from homing.ope.sequential.mwl import MWL
from homing.ope.sequential.pdis import PDIS, SNPDIS
from homing.ope.sequential.q_function import LinearFQE, QValues
from homing.ope.sequential.registry import SEQUENTIAL, get_sequential
from homing.ope.sequential.smis import SMIS
from homing.ope.sequential.states import MessagesSent
from homing.ope.sequential.tis import SNTIS, TIS
from homing.ope.sequential.trajectories import Trajectories

__all__ = [
    "ARP",
    "FQE",
    "MAGIC",
    "MWL",
    "PDIS",
    "SEQUENTIAL",
    "SMIS",
    "SNPDIS",
    "SNTIS",
    "TIS",
    "WDR",
    "Journeys",
    "LinearFQE",
    "MessagesSent",
    "QValues",
    "SequentialDR",
    "SequentialEstimator",
    "Trajectories",
    "evaluate_sequential",
    "get_sequential",
]
