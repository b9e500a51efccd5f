"""`homing datasets list`, `homing datasets describe NAME` and `homing datasets guide`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the room's commands to the command line; each stores its function as `run`."""
    parser = subparsers.add_parser("datasets", help="real data sets as decision logs")
    commands = parser.add_subparsers(dest="datasets_command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="name the data sets")
    listing.set_defaults(run=_list)
    describing = commands.add_parser("describe", help="source, licence, randomisation, caveats and counts of one")
    describing.add_argument("name", metavar="NAME", help="as `homing datasets list` shows it")
    describing.add_argument("--path", help="your copy of the data; without it there are no counts")
    describing.add_argument("--json", action="store_true", help="print JSON")
    describing.add_argument("--behaviour", help="open-bandit: random (default) or bts")
    describing.add_argument("--campaign", help="open-bandit: men (default), women or all")
    describing.set_defaults(run=_describe)
    guide = commands.add_parser("guide", help="write the page about all data sets, in Markdown")
    guide.add_argument("--path", action="append", default=[], metavar="NAME=PATH", help="your copy of one; repeatable")
    guide.set_defaults(run=_guide)


def _list(args: argparse.Namespace) -> int:
    from homing.datasets import card, names

    for name in names():
        print(f"{name:12} {card(name).title}")
    return 0


def _describe(args: argparse.Namespace) -> int:
    from homing.datasets import describe

    options = {name: getattr(args, name) for name in ("behaviour", "campaign") if getattr(args, name) is not None}
    description = describe(args.name, args.path, **options)
    print(json.dumps(description.to_dict(), indent=2, ensure_ascii=False) if args.json else description)
    return 0


def _guide(args: argparse.Namespace) -> int:
    from homing.checks import check_one_of
    from homing.datasets import names
    from homing.datasets.guide import guide
    from homing.errors import InvalidInputError, describe

    paths = {}
    for item in args.path:
        name, separator, path = item.partition("=")
        if not separator:
            raise InvalidInputError(describe("--path", item, "must be NAME=PATH", "For example --path hillstrom=data."))
        paths[check_one_of("dataset", name, names())] = Path(path)
    print(guide(paths), end="")
    return 0
