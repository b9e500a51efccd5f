"""`gate_reports`: the gate on saved reports, its answer as JSON and as a page."""

from __future__ import annotations

import json
from pathlib import Path

from homing.errors import ArtifactError, InvalidInputError, describe
from homing.ope import OPEReport, SupportMap, pareto
from homing.ope.artifacts import CHALLENGERS, CHAMPION, METRICS
from homing.ope.storage import write_json
from homing.promotion.many import ManyDecision, gate_many
from homing.promotion.rules import PromotionRules


def gate_reports(
    evaluation_dir: str | Path, rules: str | Path | PromotionRules, out: str | Path | None = None
) -> ManyDecision:
    """Judge the reports that `homing.ope.evaluate_artifacts` wrote; at most one challenger is promoted.

    Args:
        evaluation_dir: folder with reports in `challengers/NAME` and `champion`.
        rules: the rules, or their YAML file.
        out: folder for `gate.json` and `gate.html`; None writes nothing.

    Raises:
        ArtifactError: if a report is missing or altered.
        InvalidInputError: if the rules break a bound.
        UnknownNameError: if the rules name what the reports lack.
    """
    if not isinstance(rules, PromotionRules):
        rules = PromotionRules.from_yaml(rules)
    evaluation_dir = Path(evaluation_dir)
    challengers = _challengers(evaluation_dir)
    champion = OPEReport.load(evaluation_dir / CHAMPION)
    found = gate_many(challengers, champion, rules)
    if out is not None:
        from homing.ope.html import evidence

        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        trade = pareto(challengers, champion, rules.estimator, directions=rules.directions)
        shown = evidence(challengers, champion, _maps(evaluation_dir / METRICS), trade, rules.level)
        write_json(out / "gate.json", found.to_dict())
        (out / "gate.html").write_text(found.to_html(evidence=shown), encoding="utf-8")
    return found


def _challengers(evaluation_dir: Path) -> tuple[OPEReport, ...]:
    folder = evaluation_dir / CHALLENGERS
    found = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not found:
        raise ArtifactError(
            describe("evaluation", str(evaluation_dir), f"must hold {CHALLENGERS}/NAME", "Evaluate policies first.")
        )
    return tuple(OPEReport.load(path) for path in found)


def _maps(metrics: Path) -> tuple[SupportMap, ...]:
    """The support maps that the evaluation drew; none where it wrote no metrics."""
    if not metrics.is_file():
        return ()
    try:
        return tuple(SupportMap.from_dict(item) for item in json.loads(metrics.read_bytes())["support_maps"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            describe("file", str(metrics), "must be what the evaluation wrote", "Evaluate anew.")
        ) from error
