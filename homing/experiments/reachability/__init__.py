"""Reachability: for how long users may still be contacted, over all who were randomised, and what that is worth."""

from __future__ import annotations

from homing.experiments.reachability.break_even import BreakEven, break_even
from homing.experiments.reachability.readout import ReachabilityReadout, ReachableTime, read_reachability
from homing.experiments.reachability.states import (
    ANY,
    Reachability,
    losses_of,
    per_send,
    reachable_at,
    reachable_days,
)
from homing.experiments.reachability.survival import KaplanMeier

__all__ = [
    "ANY",
    "BreakEven",
    "KaplanMeier",
    "Reachability",
    "ReachabilityReadout",
    "ReachableTime",
    "break_even",
    "losses_of",
    "per_send",
    "reachable_at",
    "reachable_days",
    "read_reachability",
]
