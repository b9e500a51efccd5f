"""`homing gate`: the gate on saved reports; and `homing ope --rules`: on policies that are judged there and then."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homing.ope.deciding import Deciding
    from homing.ope.evaluation import Evaluation
    from homing.ope.html import Decision
    from homing.promotion.rules import PromotionRules


def add_commands(subparsers: Any) -> None:
    """Add `gate` to a parser's subcommands, and `--rules` to `ope` where that is among them."""
    parser = subparsers.add_parser(
        "gate",
        help="may a challenger replace the champion?",
        description="Judge the reports of an evaluation by promotion rules; at most one challenger is promoted. "
        "Exit status: 0 if one is, 1 if the champion stays (hold or refuse), 2 for a mistake in the call or its input.",
    )
    parser.add_argument("evaluation", type=Path, metavar="EVALUATION_DIR", help="what the evaluate step wrote")
    parser.add_argument("rules", type=Path, metavar="RULES_YAML", help="promotion rules")
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write gate.json and gate.html there")
    parser.set_defaults(run=run)
    if "ope" in subparsers.choices:
        ope = subparsers.choices["ope"]
        ope.add_argument("--rules", type=Path, metavar="YAML", help="promotion rules: also decide on them")
        ope.set_defaults(judge=rules_judge)


def run(args: argparse.Namespace) -> int:
    """Print the decision; 0 if one is promoted, else 1."""
    from homing.promotion import gate_reports

    found = gate_reports(args.evaluation, args.rules, args.out)
    print(found.to_text())
    return int(found.verdict != "promote")


def rules_judge(args: argparse.Namespace) -> RulesJudge | None:
    """What `homing ope` decides with: the rules, if there are any."""
    from homing.errors import InvalidInputError, describe
    from homing.promotion import PromotionRules

    if args.rules is None:
        return None
    if args.champion is None:
        raise InvalidInputError(
            describe("--champion", None, "is needed with --rules", "Name the policy that is in production.")
        )
    return RulesJudge(PromotionRules.from_yaml(args.rules))


class RulesJudge:
    """Promotion rules as `homing ope` asks them."""

    def __init__(self, rules: PromotionRules) -> None:
        self._rules = rules

    def deciding(self, challengers: int) -> Deciding:
        """The intervals that the rules decide on."""
        return self._rules.deciding(challengers)

    def judge(self, evaluation: Evaluation) -> tuple[Decision, str, dict[str, Any]]:
        """The gate's answer for a page, for a terminal and for a program."""
        from homing.ope.html import Decision
        from homing.promotion.many import gate_many
        from homing.promotion.render import headline, requirements_figure

        assert evaluation.champion is not None  # `rules_judge` asks for it
        found = gate_many(evaluation.challengers, evaluation.champion, self._rules)
        reasons = found.decisions[0].reasons
        if len(found.decisions) > 1:
            each = (f"{item.challenger}: {item.verdict}. {item.reasons[0]}" for item in found.decisions)
            reasons = (*found.reasons[1:], *each)
        figures = tuple((item.challenger, requirements_figure(item)) for item in found.decisions)
        return Decision(found.verdict, headline(found), reasons, figures), found.to_text(), found.to_dict()
