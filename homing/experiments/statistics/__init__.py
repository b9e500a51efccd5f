"""Sufficient statistics: everything that an analysis needs of the data, in sums that can be added."""

from __future__ import annotations

from homing.experiments.statistics.aggregates import aggregates_needed
from homing.experiments.statistics.histogram import Histogram
from homing.experiments.statistics.layout import Layout, layout
from homing.experiments.statistics.sufficient import SufficientStatistics, total

__all__ = ["Histogram", "Layout", "SufficientStatistics", "aggregates_needed", "layout", "total"]
