"""`homing ope`: saved policies judged on a log, from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from homing.log.dataset import LoggedDataset
    from homing.ope.deciding import Deciding
    from homing.ope.evaluation import Evaluation
    from homing.ope.html import Decision
    from homing.ope.intervals import Bounds

DESCRIPTION = """Estimate what saved policies would have earned on a log that another policy wrote, each against the
champion, or against what the log itself earned. Of several policies the intervals hold all together, so that picking
the best is paid for. Exit status: 0 where the log can judge every policy, and with --rules where one is promoted; 1
where it cannot, and with --rules where the champion stays (hold or refuse); 2 for a mistake in the call or its
input."""


class Judge(Protocol):
    """What decides on an evaluation; `homing.promotion.cli` brings the one with rules."""

    def deciding(self, challengers: int) -> Deciding:
        """The intervals that it decides on."""
        ...

    def judge(self, evaluation: Evaluation) -> tuple[Decision, str, dict[str, Any]]:
        """The decision for a page, for a terminal and for a program."""
        ...


def add_commands(subparsers: Any) -> None:
    """Add `ope` to a parser's subcommands; it stores its function as `run`."""
    parser = subparsers.add_parser("ope", help="estimate saved policies' values on a log", description=DESCRIPTION)
    parser.add_argument(
        "log", type=Path, metavar="LOG", help="a saved LoggedDataset, or a decision log in format 1 with --objectives"
    )
    parser.add_argument("policies", type=Path, nargs="+", metavar="POLICY", help="a policy artifact; several compare")
    parser.add_argument("--champion", type=Path, metavar="DIR", help="artifact of the policy in production")
    parser.add_argument(
        "--objectives", type=Path, metavar="YAML", help="what a decision log is judged on; a saved set has its own"
    )
    parser.add_argument(
        "--reward-model", type=Path, metavar="DIR", help="artifact of a policy over a reward model: adds DR and its kin"
    )
    parser.add_argument("--estimators", metavar="A,B", help="names (default: ips, snips, and with a model dr, …)")
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals (default: %(default)s)")
    parser.add_argument(
        "--interval",
        metavar="KIND",
        default="cluster-t",
        help="cluster-t, cressie-read (rare events), bootstrap, bernstein (with --max-weight and --reward-range) or "
        "anytime (default: %(default)s)",
    )
    parser.add_argument("--max-weight", type=float, metavar="W", help="largest weight that the design allows")
    parser.add_argument(
        "--reward-range", action="append", default=[], metavar="NAME=LOW:HIGH", help="an objective's true range; repeat"
    )
    parser.add_argument(
        "--segments",
        metavar="FEATURE",
        help="context feature whose segments are asked for support; "
        "by default the one along which a policy departs most from the log",
    )
    parser.add_argument("--seed", type=int, default=0, help="of random draws (default: %(default)s)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    parser.set_defaults(run=run, judge=_without_rules)


def run(args: argparse.Namespace) -> int:
    """Print reports and comparisons; see `DESCRIPTION` for the status."""
    from homing.ope.html import evaluation_page
    from homing.ope.storage import write_json

    make_judge: Callable[[argparse.Namespace], Judge | None] = args.judge
    judge = make_judge(args)
    evaluation = evaluate(args, judge)
    judged = None if judge is None else judge.judge(evaluation)
    print("\n\n".join(report.to_text() for report in evaluation.policies))
    print(f"\n{comparison_text(evaluation)}")
    kept: dict[str, Any] = evaluation.to_dict()
    decision = None
    refused = any(report.support.verdict == "refuse" for report in evaluation.policies)
    status = int(refused)
    if judged is not None:
        decision, text, found = judged
        print(f"\n{text}")
        kept["gate"] = found
        status = int(decision.verdict != "promote")
    for path in (args.html, args.json):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if args.html is not None:
        args.html.write_text(evaluation_page(evaluation, decision=decision), encoding="utf-8")
        print(f"\nPage: {args.html}")
    if args.json is not None:
        write_json(args.json, kept)
    return status


def evaluate(args: argparse.Namespace, judge: Judge | None) -> Evaluation:
    """Everything that the arguments ask for, evaluated."""
    import numpy as np

    from homing.ope.artifacts import predictions, probabilities
    from homing.ope.deciding import Deciding
    from homing.ope.diagnostics import propensity_calibration
    from homing.ope.evaluate import evaluate_policy
    from homing.ope.evaluation import Evaluation
    from homing.ope.intervals import get_interval
    from homing.ope.messages import Messages
    from homing.ope.support_map import Segments, support_map
    from homing.policies import load_policy

    get_interval(args.interval)
    bounds = _bounds(args)
    dataset, directions = _read(args.log, args.objectives)
    q_hat = None if args.reward_model is None else predictions(dataset, load_policy(args.reward_model))
    messages = Messages.of(dataset)
    calibration = propensity_calibration(dataset, messages=messages)
    estimators = None if args.estimators is None else tuple(name.strip() for name in args.estimators.split(","))
    folders = [*args.policies, *([] if args.champion is None else [args.champion])]
    names = _names(args.policies, args.champion)
    rival = None if args.champion is None else probabilities(dataset, load_policy(args.champion))
    # A challenger knows the champion's probabilities: what a decision could weigh under both shortens their difference.
    against = {} if rival is None else {names[-1]: rival[0]}
    reports, maps = [], []
    for folder, name in zip(folders, names, strict=True):
        if rival is not None and folder is args.champion:
            probs, notes = rival
        else:
            probs, notes = probabilities(dataset, load_policy(folder))
        if args.segments is None:
            parts = Segments.telling(dataset, probs, messages)
        else:
            parts = Segments.of(dataset, args.segments)
        # The same draws for each, so that differences are paired.
        report = evaluate_policy(
            dataset, probs, q_hat=q_hat, estimators=estimators, level=args.level, interval=args.interval,
            bounds=bounds, policy=name, against=against, messages=messages, calibration=calibration,
            segments=parts.labels, rng=np.random.default_rng(args.seed),
        )  # fmt: skip
        reports.append(replace(report, notes=(*report.notes, *notes)))
        maps.append(support_map(dataset, probs, policy=name, messages=messages, segments=parts))
    champion = None if args.champion is None else reports.pop()
    if judge is None:
        deciding = Deciding.together(reports, champion, rng=np.random.default_rng(args.seed))
    else:
        deciding = judge.deciding(len(reports))
    return Evaluation(tuple(reports), champion, deciding, maps=tuple(maps), directions=directions)


def comparison_text(evaluation: Evaluation) -> str:
    """Each challenger against the champion or the log, on the intervals that decide, for a terminal."""
    from homing.pages import parts, percent, table

    deciding, several = evaluation.deciding, len(evaluation.challengers) > 1
    against = "the log itself" if evaluation.champion is None else evaluation.champion.policy
    levels = sorted({deciding.level_of(name) for name in evaluation.challengers[0].objectives})
    together = " (all hold together)" if several else ""
    lines = [
        f"Minus {against}, {deciding.estimator}, paired by user, {deciding.interval} intervals at "
        f"{' and '.join(percent(level) for level in levels)}{together}"
    ]
    rows = [["", "difference", "lower", "upper"]]
    for objective in evaluation.challengers[0].objectives:
        for policy, item in evaluation.values[objective].differences.items():
            shown = ("–",) * 3 if item is None else parts(item)  # where the log gives no estimate of both
            rows.append([f"{policy}  {objective}" if several else objective, *shown])
    return "\n".join([*lines, table(rows)])


def _without_rules(args: argparse.Namespace) -> None:
    """Nothing decides."""


def _read(path: Path, objectives: Path | None) -> tuple[LoggedDataset, dict[str, str]]:
    """The log, and which objectives are harms."""
    from homing.errors import InvalidInputError, describe
    from homing.log import LoggedDataset, Objectives, build_dataset, read_log, validate
    from homing.ope.artifacts import directions

    if not (path / "decisions").is_dir():
        if objectives is not None:
            step = "A saved data set has its own; leave --objectives out, or name a folder with decisions/."
            raise InvalidInputError(describe("--objectives", str(objectives), "is for a decision log", step))
        return LoggedDataset.load(path), directions(path.parent / "objectives.yaml")
    if objectives is None:
        raise InvalidInputError(
            describe("--objectives", None, "is needed for a decision log", "docs/guides/your-own-data.md shows one.")
        )
    goals, log = Objectives.from_yaml(objectives), read_log(path)
    found = validate(log)
    if not found.ok:
        first, count = found.examples[0], found.rejected_decisions + found.rejected_outcomes
        raise InvalidInputError(
            f"{first.file}, row {first.row} (id {first.id}): {first.message} In all {count:,} of "
            f"{found.n_decisions + found.n_outcomes:,} rows break the format; `homing log validate` lists them."
        )
    return build_dataset(log, goals), {name: item.direction for name, item in goals.items()}


def _names(policies: list[Path], champion: Path | None) -> list[str]:
    """A name for each artifact, the champion's last: its own, or its folder's where that says more or two are alike."""
    from homing.errors import InvalidInputError, describe
    from homing.policies import load_policy

    places = [folder.resolve() for folder in policies]
    for folder, place in zip(policies, places, strict=True):
        if places.count(place) > 1:
            raise InvalidInputError(describe("POLICY", str(folder), "must be given once", "Leave out the second one."))
    # A policy against itself gains nothing, but that is a fair question.
    itself = champion is not None and champion.resolve() in places
    folders = [*policies, *([] if champion is None or itself else [champion])]
    own = [load_policy(folder).name for folder in folders]
    names = [
        folder.resolve().name if name == "policy" or own.count(name) > 1 else name
        for folder, name in zip(folders, own, strict=True)
    ]
    names = [str(folder) if names.count(name) > 1 else name for folder, name in zip(folders, names, strict=True)]
    if champion is None or not itself:
        return names
    return [*names, f"{names[places.index(champion.resolve())]} (champion)"]


def _bounds(args: argparse.Namespace) -> Bounds:
    """What is declared of weights and rewards."""
    from homing.errors import InvalidInputError, describe
    from homing.ope.intervals import Bounds

    ranges = {}
    for text in args.reward_range:
        name, _, ends = text.partition("=")
        try:
            low, high = (float(end) for end in ends.split(":"))
        except ValueError as error:
            raise InvalidInputError(
                describe("--reward-range", text, "must be NAME=LOW:HIGH", "For example clicked=0:1.")
            ) from error
        ranges[name] = (low, high)
    return Bounds(max_weight=args.max_weight, reward=ranges)
