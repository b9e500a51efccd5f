"""Tests that are looked at more than once: spending functions and bounds, with their numerical integration."""

from __future__ import annotations

from homing.experiments.sequential.boundaries import exit_probabilities, spending_bounds
from homing.experiments.sequential.group_sequential import (
    group_sequential_bounds,
    group_sequential_p_value,
    inflation_factor,
    look_information,
)
from homing.experiments.sequential.spending import SPENDING, spend

__all__ = [
    "SPENDING",
    "exit_probabilities",
    "group_sequential_bounds",
    "group_sequential_p_value",
    "inflation_factor",
    "look_information",
    "spend",
    "spending_bounds",
]
