"""An experiment for people: as a page, and in lines for a terminal."""

from __future__ import annotations

from homing.experiments.report.html import experiment_page
from homing.experiments.report.text import decision_text, frozen_text, plan_text, scorecard_text, size_text, status_text

__all__ = ["decision_text", "experiment_page", "frozen_text", "plan_text", "scorecard_text", "size_text", "status_text"]
