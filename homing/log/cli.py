"""`homing log validate PATH`: does this folder hold a log that the loop can learn from?"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from homing.log.accept import write_rejected
from homing.log.files import read_log
from homing.log.validation import validate

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[Any]


def add_commands(subparsers: Subparsers) -> None:
    """Add `homing log …` to the command line."""
    log = subparsers.add_parser("log", help="look after decision logs")
    commands = log.add_subparsers(dest="log_command", required=True, metavar="COMMAND")
    check = commands.add_parser(
        "validate",
        help="check a log in format 1",
        description="Check every row of a log against format 1. Exit status: 0 when all keep it, 1 when some do not.",
    )
    check.add_argument("path", nargs="+", help="folder with decisions/ and outcomes/; several are read as one log")
    check.add_argument("--json", action="store_true", help="print the report as JSON")
    check.add_argument("--rejected", metavar="DIR", help="write the rows that break the contract there, with reasons")
    check.set_defaults(run=run_validate)


def run_validate(args: argparse.Namespace) -> int:
    """Print the report; 0 when the log keeps the contract, else 1."""
    log = read_log(args.path, set_aside=True)
    report = validate(log) if args.rejected is None else write_rejected(log, args.rejected)
    print(json.dumps(report.to_dict(), indent=2) if args.json else report)
    return 0 if report.ok else 1
