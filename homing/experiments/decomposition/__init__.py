"""Why a metric moved: a funnel's steps, mix and rate, parts by channel or campaign, segments found with inference."""

from __future__ import annotations

from homing.experiments.decomposition.decompose import HOWS, decompose
from homing.experiments.decomposition.result import Decomposition, Term

__all__ = ["HOWS", "Decomposition", "Term", "decompose"]
