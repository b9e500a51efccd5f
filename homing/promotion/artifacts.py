"""`gate_reports`: the gate on saved reports, its answer as JSON and as a page."""

from __future__ import annotations

from pathlib import Path

from homing.ope import OPEReport
from homing.ope.storage import write_json
from homing.promotion.decision import GateDecision
from homing.promotion.gate import gate
from homing.promotion.rules import PromotionRules


def gate_reports(evaluation_dir: str | Path, rules: str | Path | PromotionRules, out: str | Path) -> GateDecision:
    """Judge the reports that `homing.ope.evaluate_artifacts` wrote; write `out/gate.json` and `out/gate.html`.

    Args:
        evaluation_dir: folder with `challenger` and `champion` reports.
        rules: the rules, or their YAML file.
        out: folder to write to.

    Raises:
        ArtifactError: if a report is missing or altered.
        InvalidInputError: if the rules break a bound.
        UnknownNameError: if the rules name what the reports lack.
    """
    if not isinstance(rules, PromotionRules):
        rules = PromotionRules.from_yaml(rules)
    evaluation_dir, out = Path(evaluation_dir), Path(out)
    decision = gate(OPEReport.load(evaluation_dir / "challenger"), OPEReport.load(evaluation_dir / "champion"), rules)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "gate.json", decision.to_dict())
    (out / "gate.html").write_text(decision.to_html(), encoding="utf-8")
    return decision
