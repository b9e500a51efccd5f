"""`homing gate`: the gate on saved reports, from the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_commands(subparsers: Any) -> None:
    """Add `gate` to a parser's subcommands; it stores its function as `run`."""
    parser = subparsers.add_parser(
        "gate",
        help="may the challenger replace the champion?",
        description="Judge the reports of an evaluation by promotion rules. The exit status is 1 unless promoted.",
    )
    parser.add_argument("evaluation", type=Path, metavar="EVALUATION_DIR", help="what the evaluate step wrote")
    parser.add_argument("rules", type=Path, metavar="RULES_YAML", help="promotion rules")
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write gate.json and gate.html there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the decision; 0 if promoted, else 1."""
    from homing.ope import OPEReport
    from homing.promotion import PromotionRules, gate, gate_reports

    if args.out is not None:
        decision = gate_reports(args.evaluation, args.rules, args.out)
    else:
        challenger, champion = (OPEReport.load(args.evaluation / name) for name in ("challenger", "champion"))
        decision = gate(challenger, champion, PromotionRules.from_yaml(args.rules))
    print(decision.to_text())
    return int(decision.verdict != "promote")
