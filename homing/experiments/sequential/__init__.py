"""Tests that are looked at more than once: by spending, by mixtures, by precision; and of sample ratios."""

from __future__ import annotations

from homing.experiments.sequential.anytime_regression import (
    anytime_regression_half_width,
    anytime_regression_p_value,
    regression_precision,
)
from homing.experiments.sequential.boundaries import exit_probabilities, spending_bounds
from homing.experiments.sequential.confidence_sequence import (
    confidence_sequence_bounds,
    confidence_sequence_p_value,
)
from homing.experiments.sequential.fixed_power import fixed_power_information
from homing.experiments.sequential.group_sequential import (
    group_sequential_bounds,
    group_sequential_p_value,
    inflation_factor,
    look_information,
)
from homing.experiments.sequential.multinomial import sequential_ratio_p_value
from homing.experiments.sequential.spending import SPENDING, spend

__all__ = [
    "SPENDING",
    "anytime_regression_half_width",
    "anytime_regression_p_value",
    "confidence_sequence_bounds",
    "confidence_sequence_p_value",
    "exit_probabilities",
    "fixed_power_information",
    "group_sequential_bounds",
    "group_sequential_p_value",
    "inflation_factor",
    "look_information",
    "regression_precision",
    "sequential_ratio_p_value",
    "spend",
    "spending_bounds",
]
