"""`homing world list`, `homing world value NAME` and `homing world export NAME --out DIR`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homing.simulation.acting import AnyPolicy
    from homing.simulation.world import World


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the room's commands to the command line; each stores its function as `run`."""
    parser = subparsers.add_parser("world", help="simulated worlds with known truth")
    commands = parser.add_subparsers(dest="world_command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="name the worlds").set_defaults(run=_list)
    value = commands.add_parser(
        "value",
        help="true values of policies in a world",
        description="Let policies run in a world, and print what they are worth there, paired on the same users.",
    )
    _add_world(value, horizon_days=28, users=5_000, seed=1)
    value.add_argument(
        "--policy", action="append", default=[], metavar="POLICY",
        help="a policy artifact's folder, or a baseline: silence, uniform, highest-value, behaviour; repeatable; all "
        "baselines when not given",
    )  # fmt: skip
    value.add_argument("--json", action="store_true", help="print JSON")
    value.set_defaults(run=_value)
    export = commands.add_parser(
        "export",
        help="write a world as a benchmark data set",
        description="Write a log in format 1, the truth that it is judged by, the baselines' scores and a data sheet. "
        "The same command writes the same bytes.",
    )
    _add_world(export, horizon_days=90, users=20_000, seed=0)
    export.add_argument("--out", required=True, type=Path, metavar="DIR", help="a folder that is missing or empty")
    export.add_argument("--days", type=int, default=28, help="length of the log (default: %(default)s)")
    export.add_argument("--truth-users", type=int, default=20_000, help="of the true values (default: %(default)s)")
    export.set_defaults(run=_export)


def _add_world(parser: argparse.ArgumentParser, *, horizon_days: int, users: int, seed: int) -> None:
    parser.add_argument("name", metavar="NAME", help="as `homing world list` shows it")
    parser.add_argument(
        "--horizon-days", type=int, default=horizon_days, help="over which values are summed (default: %(default)s)"
    )
    parser.add_argument("--users", type=int, default=users, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=seed, help="of users and chance (default: %(default)s)")


def _list(args: argparse.Namespace) -> int:
    import inspect

    from homing.simulation import make_world, world_names

    for name in world_names():
        about = (inspect.getdoc(type(make_world(name))) or "").splitlines()[0]
        print(f"{name:12} {about}")
    return 0


def _value(args: argparse.Namespace) -> int:
    from homing.simulation import make_world
    from homing.simulation.baselines import baselines
    from homing.simulation.scores import score_policies

    world = make_world(args.name)
    known = baselines(world)
    policies = {name: _policy(name, known) for name in args.policy} or known
    reference = "behaviour" if "behaviour" in policies else None
    scores = score_policies(
        world, policies, horizon_days=args.horizon_days, n_users=args.users, seed=args.seed, reference=reference,
        progress=_tell,
    )  # fmt: skip
    print(json.dumps(scores.to_dict(), indent=2) if args.json else scores.to_text())
    return 0


def _policy(name: str, known: dict[str, AnyPolicy]) -> AnyPolicy:
    from homing.errors import unknown_name
    from homing.policies import load_policy

    if name in known:
        return known[name]
    if not Path(name).is_dir():
        raise unknown_name("policy", name, known, "Or name the folder of a policy artifact.")
    return load_policy(name)


def _export(args: argparse.Namespace) -> int:
    from homing.simulation import make_world
    from homing.simulation.export import export_world

    world: World = make_world(args.name)
    command = (
        f"homing world export {shlex.quote(args.name)} --days {args.days} --users {args.users} --horizon-days "
        f"{args.horizon_days} --truth-users {args.truth_users} --seed {args.seed} --out DIR"
    )
    export = export_world(
        world, args.out, days=args.days, n_users=args.users, horizon_days=args.horizon_days,
        truth_users=args.truth_users, seed=args.seed, command=command, progress=_tell,
    )  # fmt: skip
    print(export.scores.to_text())
    print(f"\n{export.log.n_decisions:,} decisions and {export.log.n_outcomes:,} outcomes in {export.folder}")
    print(f"SHA-256 of its manifest: {export.digest}")
    return 0


def _tell(what: str, day: int, days: int) -> None:
    """A line that is written over, where a person is looking."""
    if sys.stderr.isatty():
        end = "\n" if day == days else ""
        print(f"\r{what}: day {day} of {days}", end=end, file=sys.stderr, flush=True)
