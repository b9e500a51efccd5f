"""`homing experiment plan | status | analyze | decide | decompose` on a plan in YAML."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homing.experiments.baseline import Baseline
    from homing.experiments.plan import ExperimentPlan


def add_commands(subparsers: Any) -> None:
    """Add `experiment` to a parser's subcommands; each of its own stores its function as `run`."""
    parser = subparsers.add_parser("experiment", help="plan, analyse and decide experiments")
    commands = parser.add_subparsers(dest="experiment_command", required=True, metavar="COMMAND")
    plan = commands.add_parser(
        "plan",
        help="what a plan tests, and how many units it needs",
        description="Print what a plan tests and at which levels; with a baseline also the size at which the whole "
        "decision rule has its power. --freeze writes the plan with that size, to be run.",
    )
    plan.add_argument("plan", type=Path, metavar="PLAN_YAML")
    known = plan.add_mutually_exclusive_group()
    known.add_argument(
        "--history", type=Path, metavar="FILE", help="units without treatment (Parquet or CSV), one row each"
    )
    known.add_argument("--baseline", type=Path, metavar="YAML", help="mean and variance of each metric")
    plan.add_argument("--units-per-day", type=float, metavar="N", help="newly exposed, in all variants: gives days")
    plan.add_argument("--looks", type=int, metavar="N", help="of a design that looks daily, where days are not known")
    plan.add_argument("--freeze", type=Path, metavar="FILE", help="write the plan with its planned size")
    plan.set_defaults(run=_plan)

    _on_data(
        commands,
        "status",
        _status,
        "how far it is, and whether it can be trusted",
        "Sample progress and the tests of quality, without effects. Exit status 1 where a quality test rejects.",
    )
    _on_data(
        commands,
        "analyze",
        _analyze,
        "every comparison, with its tests",
        "All metrics of all treatments against the control, with the bounds that monitoring asks for.",
    )
    _on_data(
        commands,
        "decide",
        _decide,
        "ship, continue, stop or invalid, with reasons",
        "Apply the decision rule. Exit status: 0 where a treatment ships, 1 where none does (yet), 2 for a mistake in "
        "the call or its input.",
    )
    why = _on_data(
        commands,
        "decompose",
        _decompose,
        "why a metric moved",
        "Terms that add up to the difference between a treatment and the control, each with its interval.",
    )
    why.add_argument("--metric", required=True, metavar="NAME", help="of the plan")
    why.add_argument("--how", required=True, choices=("funnel", "mix_rate", "parts", "segments"))
    why.add_argument("--treatment", metavar="NAME", help="of the plan (default: its only one)")
    why.add_argument("--stages", metavar="A,B", help="funnel: columns from the first step to the metric's numerator")
    why.add_argument("--by", metavar="A,B", help="columns of segments, known before exposure")
    why.add_argument("--seed", type=int, default=0, help="segments: which half is searched (default: %(default)s)")


def _on_data(commands: Any, name: str, run: Any, short: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=short, description=description)
    parser.add_argument("plan", type=Path, metavar="PLAN_YAML")
    parser.add_argument("data", type=Path, metavar="DATA", help="one row a unit: a .parquet or .csv file, or a folder")
    parser.add_argument("--exposures", type=Path, metavar="FILE", help="exposure log, where DATA holds outcomes alone")
    if name != "decompose":
        parser.add_argument("--aggregates", action="store_true", help="DATA holds sums by variant and day")
        parser.add_argument("--as-of", metavar="DAY", help="until when outcomes are complete (default: last exposure)")
    if name in ("analyze", "decide"):
        parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    parser.set_defaults(run=run)
    return parser


def _plan(args: argparse.Namespace) -> int:
    from homing.experiments.plan import ExperimentPlan
    from homing.experiments.report import frozen_text, plan_text, size_text

    plan = ExperimentPlan.from_yaml(args.plan)
    baseline = _baseline(args, plan)
    size = None if baseline is None else plan.sample_size(baseline, looks=args.looks)
    print(plan_text(plan))
    if size is not None:
        print(f"\n{size_text(size)}")
        if plan.planned_size is not None:
            print(f"\n{frozen_text(plan.planned_size, size.n_total)}")
        plan = plan.sized(size.n_total)
    if args.freeze is not None:
        plan.to_yaml(args.freeze)
        print(f"\nFrozen plan: {args.freeze}, digest {plan.digest[:16]}…")
    return 0


def _status(args: argparse.Namespace) -> int:
    from homing.experiments.analysis import analyze
    from homing.experiments.artifacts import statistics_of, write_json
    from homing.experiments.plan import ExperimentPlan
    from homing.experiments.report import status_text

    plan = ExperimentPlan.from_yaml(args.plan)
    statistics = statistics_of(plan, args.data, exposures=args.exposures, aggregates=args.aggregates)
    card = analyze(statistics, plan, as_of=args.as_of)
    print(status_text(card, plan))
    if args.json is not None:
        quality = [item.to_dict() for item in card.quality]
        write_json(args.json, {"as_of": card.as_of, "look": card.look, "n": dict(card.n), "quality": quality})
    return int(any(item.rejected for item in card.quality))


def _analyze(args: argparse.Namespace) -> int:
    from homing.experiments.report import scorecard_text

    found = _read_out(args)
    print(scorecard_text(found.scorecard, found.plan))
    _write(args, found)
    return 0


def _decide(args: argparse.Namespace) -> int:
    from homing.experiments.report import decision_text

    found = _read_out(args)
    print(decision_text(found.decision, found.plan))
    _write(args, found)
    return int(found.decision.verdict != "ship")


def _decompose(args: argparse.Namespace) -> int:
    import numpy as np

    from homing.checks import check_one_of
    from homing.errors import InvalidInputError, describe
    from homing.experiments.artifacts import exposures_of, read_table, readable, write_json
    from homing.experiments.decomposition import decompose
    from homing.experiments.plan import ExperimentPlan
    from homing.experiments.statistics.checking import joined
    from homing.experiments.statistics.frames import as_lazy

    plan = ExperimentPlan.from_yaml(args.plan)
    if args.treatment is None and len(plan.treatments) > 1:
        bound = f"must be one of {', '.join(plan.treatments)}"
        raise InvalidInputError(describe("--treatment", None, bound, "Several are compared one by one."))
    treatment = check_one_of("--treatment", args.treatment or plan.treatments[0], plan.treatments)
    metric = plan.metric(args.metric)
    columns = {
        name: [] if value is None else value.split(",") for name, value in (("stages", args.stages), ("by", args.by))
    }
    with readable(args.data):
        rows = read_table(args.data)
        if args.exposures is not None:
            rows = joined(rows, as_lazy(exposures_of(plan, args.exposures)), plan)
        found = decompose(
            rows, metric, args.how, baseline=plan.control, comparison=treatment,
            stages=columns["stages"], by=columns["by"], rng=np.random.default_rng(args.seed),
        )  # fmt: skip
    print(found.to_text())
    if args.json is not None:
        write_json(args.json, found.to_dict())
    return 0


def _read_out(args: argparse.Namespace) -> Any:
    from homing.experiments.artifacts import read_out

    return read_out(args.plan, args.data, exposures=args.exposures, aggregates=args.aggregates, as_of=args.as_of)


def _write(args: argparse.Namespace, found: Any) -> None:
    from homing.experiments.artifacts import write_json
    from homing.experiments.report import experiment_page

    for path in (args.html, args.json):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if args.html is not None:
        args.html.write_text(experiment_page(found.scorecard, found.plan, found.decision), encoding="utf-8")
        print(f"\nPage: {args.html}")
    if args.json is not None:
        write_json(args.json, found.to_dict())


def _baseline(args: argparse.Namespace, plan: ExperimentPlan) -> Baseline | None:
    """What is known before the start, from a history or as it was written down."""
    from homing.experiments.artifacts import read_table, readable
    from homing.experiments.baseline import Baseline, MetricBaseline
    from homing.experiments.plain import build, check_keys, read_yaml

    if args.history is not None:
        with readable(args.history):
            return Baseline.from_history(read_table(args.history), plan, units_per_day=args.units_per_day)
    if args.baseline is None:
        return None
    where = args.baseline.name
    given = check_keys(where, read_yaml(args.baseline, "baseline"), ["metrics", "units_per_day"], ["metrics"])
    metrics = check_keys(f"{where}.metrics", given["metrics"], [metric.name for metric in plan.metrics], [])
    known = {name: build(MetricBaseline, item, f"{where}.metrics.{name}") for name, item in metrics.items()}
    return Baseline(known, args.units_per_day or given.get("units_per_day"))
