"""`python -m monitoring.drift`: compare the training window with the recent log, report, and trigger retraining.

Writes OUT/drift.json (the exporter reads it), OUT/drift.html, OUT/drift.prom (node exporter's textfile collector), and
a run in the Evidently workspace. Exit code 0; 1 for wrong input; 3 on an alert with --fail-on-alert.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from homing.errors import HomingError, InvalidInputError, describe
from homing.log import DecisionLog, Objectives, read_log
from monitoring.compare import Comparison, compare
from monitoring.prometheus import write_textfile
from monitoring.rendering import render
from monitoring.report import DriftReport, WindowSummary, digest
from monitoring.rules import DEFAULT_RULES, DriftRules
from monitoring.scoring import Scores, score
from monitoring.starters import RETRAIN, LocalStarter, finished
from monitoring.statistics import calibration
from monitoring.trigger import Episodes, trigger
from monitoring.windows import Window, read_window

if TYPE_CHECKING:
    from homing.policies import PolicyArtifact


def run_drift(
    reference: DecisionLog,
    current: DecisionLog,
    *,
    out: Path,
    rules: DriftRules,
    rng: np.random.Generator,
    objectives: Objectives | None = None,
    policy: PolicyArtifact | None = None,
    reward_model: PolicyArtifact | None = None,
    workspace: Path | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    now: datetime | None = None,
) -> DriftReport:
    """Compare two logs and write the report's files.

    Args:
        reference: the log that the champion was trained on.
        current: the recent log.
        out: gets drift.json, drift.html and drift.prom.
        rules: thresholds.
        rng: samples rows and candidates.
        objectives: for rewards and calibration; None leaves them out.
        policy: the champion; its importance weights are checked.
        reward_model: predicts rewards; None leaves calibration out.
        workspace: Evidently workspace; None adds no run.
        since: leaves out current decisions before this time: the recent window's start.
        until: decisions whose outcome window is open at this time have no reward yet; None takes all as closed.
        now: the run's time; None for the clock.

    Returns:
        The report. What it says is in the files too.
    """
    started, now = time.monotonic(), now or datetime.now(UTC)
    starts = ((reference, None), (current, since))
    windows = [read_window(log, maximum_rows=rules.maximum_rows, rng=rng, since=start) for log, start in starts]
    scores = [score(w, objectives, policy=policy, reward_model=reward_model, until=until) for w in windows]
    pair, scored = (windows[0], windows[1]), (scores[0], scores[1])
    comparison = compare(pair[0], pair[1], scored, rules)
    report = _report(pair, scored, comparison, policy, rules, now)
    render(report, comparison, pair, scored, html_path=out / "drift.html", workspace=workspace)
    report = replace(report, seconds=round(time.monotonic() - started, 2))
    report.save(out / "drift.json")
    write_textfile(report, out / "drift.prom")
    return report


def _report(
    windows: tuple[Window, Window],
    scores: tuple[Scores, Scores],
    comparison: Comparison,
    policy: PolicyArtifact | None,
    rules: DriftRules,
    now: datetime,
) -> DriftReport:
    name = "none given" if policy is None else f"{policy.name} ({policy.digest[:12]})"
    created = now.isoformat(timespec="seconds")
    return DriftReport(
        run_id=digest(created, windows[0].digest, windows[1].digest, name, rules.digest),
        created_at=created,
        policy=name,
        reference=_summary(windows[0], scores[0]),
        current=_summary(windows[1], scores[1]),
        reference_digest=windows[0].digest,
        rules_digest=rules.digest,
        columns=comparison.columns,
        alert=comparison.alert,
        reasons=comparison.reasons,
        seconds=0.0,
    )


def _summary(window: Window, scores: Scores) -> WindowSummary:
    means = {name: float(np.nanmean(values)) for name, values in scores.reward.items() if not np.isnan(values).all()}
    errors = {}
    for name, predicted in scores.predicted.items():
        known = ~np.isnan(predicted) & ~np.isnan(scores.reward[name])
        if known.any():
            errors[name] = calibration(predicted[known], scores.reward[name][known]).error
    weight = None if np.isnan(scores.weight).all() else float(np.nanmean(scores.weight))
    return WindowSummary(
        window.rows,
        window.rows_total,
        window.users,
        window.first_at,
        window.last_at,
        window.policies,
        means,
        errors,
        weight,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; prints the report as text."""
    args = _parser().parse_args(argv)
    os.environ.setdefault("DO_NOT_TRACK", "true")
    try:
        report = _run(args)
    except HomingError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    return 3 if report.alert and args.fail_on_alert else 0


def _run(args: argparse.Namespace) -> DriftReport:
    rules = DriftRules.from_yaml(args.rules)
    # Before the work, so that what is wrong with these shows at once.
    retrain = [] if args.trigger == "none" else _retrain(args)
    for folder in filter(None, (args.out, args.workspace)):
        _make(folder)
    folder, objectives = _reference(args.reference, args.objectives)
    until = args.until or datetime.now(UTC)
    policy = _policy(args)
    beside = args.policy.parent / "reward_model" if args.policy else None
    model = args.reward_model or (beside if beside and beside.is_dir() else None)
    report = run_drift(
        read_log(folder),
        read_log(args.current),
        out=args.out,
        rules=rules,
        rng=np.random.default_rng(args.seed),
        objectives=objectives,
        policy=policy,
        reward_model=_load(model) if model else None,
        workspace=args.workspace,
        since=args.since if args.last_days is None else until - timedelta(days=args.last_days),
        until=until,
    )
    print(report.to_text())
    print(
        f"\n  {args.out / 'drift.html'}" + (f"   evidently ui --workspace {args.workspace}" if args.workspace else "")
    )
    if args.trigger != "none":
        # One start per episode: in the background on this machine, or a submission to Kubeflow Pipelines.
        runs = args.runs or args.out / "retraining"
        starter = LocalStarter((*RETRAIN, *retrain), runs, wait=args.trigger == "kfp")
        episodes = Episodes(args.state or args.out / "episodes.db")
        done = trigger(report, episodes, starter, champion=policy.digest if policy else "none")
        if done.action == "already started" and finished(runs / done.run_name):
            print(f"  It failed: see {runs / done.run_name / 'log.txt'}, and start it by hand once that is mended.")
        print(f"  {done.to_text()}")
    return report


def _retrain(args: argparse.Namespace) -> list[str]:
    """The retraining pipeline's arguments: those given after --, and what this run knows."""
    words = list(args.retrain)

    def given(option: str) -> bool:
        return any(word == option or word.startswith(f"{option}=") for word in words)

    if not given("--dataset") and not (given("--objectives") and given("--rules")):
        words += ["--dataset", _dataset(args.reference, words)]
    for option, value in (("--log", args.current), ("--registry", args.registry), ("--name", args.name)):
        if value and not given(option):
            words += [option, str(value)]
    if args.trigger == "kfp":
        if not args.host:
            raise InvalidInputError(describe("host", args.host, "is needed to trigger on Kubeflow", "Pass --host URL."))
        words += ["--host", args.host]
    return words


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InvalidInputError(describe("folder", str(folder), f"cannot be made ({e.strerror})")) from e


def _dataset(reference: Path, words: Sequence[str]) -> str:
    """The data set that the reference was prepared from: its objectives and promotion rules hold for retraining too."""
    path = reference / "prepare.json"
    name = json.loads(path.read_text(encoding="utf-8")).get("dataset") if path.is_file() else None
    if not name:
        step = "Pass -- --objectives YAML --rules YAML, or -- --dataset NAME to take that data set's."
        bound = "must say by which objectives and promotion rules to retrain"
        raise InvalidInputError(describe("retraining's arguments", list(words), bound, step))
    return str(name)


def _reference(path: Path, objectives: Path | None) -> tuple[Path, Objectives | None]:
    """The log's folder and the objectives: `path` is a log, or a prepared folder that holds one with its objectives."""
    folder = path / "log" if (path / "log" / "decisions").is_dir() else path
    beside = [item for item in (path / "objectives.yaml", path.parent / "objectives.yaml") if item.exists()]
    chosen = objectives or (beside[0] if beside else None)
    return folder, None if chosen is None else Objectives.from_yaml(chosen)


def _policy(args: argparse.Namespace) -> PolicyArtifact | None:
    if args.policy:
        return _load(args.policy)
    if not args.registry:
        return None
    from homing.registry import open_registry

    return _load(open_registry(args.registry, args.name).resolve(args.alias))


def _load(folder: Path) -> PolicyArtifact:
    from homing.policies import load_policy

    return load_policy(folder)


def _time(text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(describe("time", text, "must be an ISO time", "Say 2026-01-31T08:00.")) from e
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _days(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 36_600:
            return float(text)
    raise argparse.ArgumentTypeError(describe("days", text, "must be a number in (0, 36600)"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m monitoring.drift", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--reference", type=Path, required=True, help="log of the training window, or the prepared folder that holds it"
    )
    add("--current", type=Path, required=True, help="recent decision log")
    add("--policy", type=Path, help="the champion's artifact")
    add("--registry", help="or the registry to take it from: folder:PATH, mlflow+sqlite:///PATH, mlflow+http://HOST")
    add("--name", default="", help="the policy's name in the registry (default: the only one)")
    add("--alias", default="champion")
    add("--reward-model", type=Path, help="artifact that predicts rewards (default: reward_model beside --policy)")
    add("--objectives", type=Path, help="objectives.yaml (default: the one beside the reference)")
    add("--rules", type=Path, default=DEFAULT_RULES, help="alert rules")
    add("--workspace", type=Path, help="Evidently workspace to add the run to")
    add("--out", type=Path, required=True, help="gets drift.json, drift.html and drift.prom")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--since", type=_time, help="ISO time; the current window begins here (default: the whole log)")
    start.add_argument("--last-days", type=_days, help="or so many days before --until")
    add(
        "--until",
        type=_time,
        help="ISO time; a decision whose outcome window is open then has no reward (default: now)",
    )
    add("--seed", type=int, default=0)
    add("--fail-on-alert", action="store_true", help="exit with 3 on an alert")
    add("--trigger", choices=("none", "local", "kfp"), default="none", help="start retraining on an alert")
    add("--state", type=Path, help="SQLite file of drift episodes (default: OUT/episodes.db)")
    add("--runs", type=Path, help="folder of retraining runs (default: OUT/retraining)")
    add("--host", default="", help="Kubeflow Pipelines server, with --trigger kfp")
    add("retrain", nargs="*", help="after --: arguments of `python -m pipelines.run --retrain`")
    return parser


if __name__ == "__main__":
    sys.exit(main())
