"""`homing ope`: saved policies judged on a saved log, from the command line."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any


def add_commands(subparsers: Any) -> None:
    """Add `ope` to a parser's subcommands; it stores its function as `run`."""
    parser = subparsers.add_parser(
        "ope",
        help="estimate saved policies' values on a saved log",
        description="Estimate what saved policies would have earned on a log that another policy wrote. With several "
        "policies the first is compared with the second. The exit status is 1 where the log cannot judge the first.",
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET_DIR", help="a saved LoggedDataset")
    parser.add_argument("policies", type=Path, nargs="+", metavar="POLICY_DIR", help="a policy artifact")
    parser.add_argument(
        "--reward-model", type=Path, metavar="DIR", help="artifact of a policy over a reward model: adds DR and its kin"
    )
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals (default: %(default)s)")
    parser.add_argument(
        "--interval",
        choices=("cluster-t", "cressie-read", "bootstrap", "anytime"),
        default="cluster-t",
        help="how intervals are made; cressie-read for rare events (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap's draws (default: %(default)s)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the reports; 0 if the log can judge the first policy, 1 if not."""
    import numpy as np

    from homing.log.dataset import LoggedDataset
    from homing.ope.artifacts import predictions, probabilities
    from homing.ope.evaluate import evaluate_policy
    from homing.ope.html import report_page, shown_estimator
    from homing.ope.messages import Messages
    from homing.ope.report import compare
    from homing.ope.text import parts, percent, table
    from homing.policies import load_policy

    dataset = LoggedDataset.load(args.dataset)
    q_hat = None if args.reward_model is None else predictions(dataset, load_policy(args.reward_model))
    messages = Messages.of(dataset)
    reports = []
    for directory in args.policies:
        artifact = load_policy(directory)
        probs, notes = probabilities(dataset, artifact)
        name = artifact.name if artifact.name != "policy" else directory.name
        # The same draws for each, so that differences are paired.
        report = evaluate_policy(
            dataset, probs, q_hat=q_hat, level=args.level, interval=args.interval, policy=name, messages=messages,
            rng=np.random.default_rng(args.seed),
        )  # fmt: skip
        reports.append(replace(report, notes=(*report.notes, *notes)))
    print("\n\n".join(report.to_text() for report in reports))
    if len(reports) > 1:
        first, second = reports[:2]
        estimator = shown_estimator(first)
        print(f"\n{first.policy} minus {second.policy}, {estimator}, paired by user, {percent(args.level)} intervals")
        rows = [["", "difference", "lower", "upper"]]
        for objective in first.objectives:
            if all((estimator, objective) in report.estimates for report in (first, second)):
                rows.append([objective, *parts(compare(first, second, objective, estimator))])
        print(table(rows))
    if args.html is not None:
        args.html.parent.mkdir(parents=True, exist_ok=True)
        title = " against ".join(report.policy for report in reports[:2])
        args.html.write_text(report_page(reports, title=title), encoding="utf-8")
        print(f"\nPage: {args.html}")
    return int(reports[0].support.verdict == "refuse")
