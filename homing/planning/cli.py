"""`homing plan`: who gets what under population budgets, from the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

DESCRIPTION = """Plan who gets what, or silence, so that the predicted value is as large as budgets, floors and caps
allow; and write the plan, the prices with which the online service makes the same trade-offs, and a report. More than
50 million candidates (or what part_rows in the file says) are planned part by part, and a run that was killed goes on
when it is called again. Exit status: 0 where there is a plan, 2 for a mistake in the call or its input, and where
floors cannot be met."""


def add_commands(subparsers: Any) -> None:
    """Add `plan` to a parser's subcommands; it stores its function as `run`."""
    parser = subparsers.add_parser("plan", help="who gets what under population budgets", description=DESCRIPTION)
    parser.add_argument("problem", type=Path, metavar="PROBLEM.yaml", help="candidates, budgets, floors, caps")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the problem's name, beside it")
    parser.add_argument(
        "--warm-start", type=Path, metavar="PRICES.json", help="prices of an earlier plan, to begin with"
    )
    parser.add_argument(
        "--engine", default="process", help="where parts of a large problem are planned: process or ray"
    )
    parser.add_argument("--threads", type=int, default=0, help="0 for one a core (default: %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Plan, write, and print the report."""
    from homing.planning.plan_files import PAGE, plan_from_file

    out = args.problem.with_suffix("") if args.out is None else args.out
    found = plan_from_file(args.problem, out, warm_start=args.warm_start, engine=args.engine, threads=args.threads)
    print(found.to_text())
    print(f"\nPage: {out / PAGE}")
    return 0
