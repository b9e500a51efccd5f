"""The whole story with real processes: train, serve, decide over HTTP, watch for drift, retrain on what was served.

    python -m examples.closed_loop --out runs/loop

1. The training pipeline runs; a share of the users is held back and never seen by it.
2. Ray Serve serves the champion. Held-back users ask for decisions over HTTP; outcomes come from donors (see
   `examples.traffic`: semi-synthetic), shuffled, some of them twice.
3. A drift run compares the training log with what was served: nothing changed, so no alert.
4. The mix of users and the candidates' value signals change; the next drift run alerts and its trigger starts the
   retraining pipeline. A second one on the same episode starts nothing.
5. The retraining pipeline registers a new version from the serving log. What was decided is counted end to end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from examples.processes import StepError, Worker, end_group, free_port, run, service, stoppable
from examples.timeline import Step, page, table
from examples.traffic import HeldBack, Sent, send
from homing.errors import HomingError, InvalidInputError, describe
from homing.log import DecisionLog, FeatureEncoder, read_log

#: What a drift run imports, its command first: 15 s of processor time that need not be paid at each of three runs.
DRIFT = ("monitoring.drift", "monitoring.evidently_metrics", "evidently.ui.workspace", "mlflow")
#: Simulated: it has silence, three channels and opt-outs.
DEFAULT_DATASET = "simulated-messaging"
#: Files of one story, all under --out; a new story replaces them.
PARTS = ("runs", "serving", "drift", "retraining", "evidently", "logs", "mlflow.db", "mlartifacts", "episodes.db")


@dataclass
class Story:
    """Where the story's files are, and what has happened so far."""

    args: argparse.Namespace
    out: Path
    drift_worker: Worker
    steps: list[Step] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def registry(self) -> str:
        """URI of the story's own registry."""
        return self.args.registry or f"mlflow+sqlite:///{self.out / 'mlflow.db'}"

    @property
    def training(self) -> Path:
        """Folder of the training run's steps."""
        return self.out / "runs" / "training"

    @property
    def served(self) -> Path:
        """The log that the service exports to."""
        return self.out / "serving" / "log"

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Time a step and say what came of it."""
        print(f"● {title} …", flush=True)
        started = time.monotonic()
        now = Step(title, datetime.now(UTC).isoformat(timespec="seconds"))
        self.steps.append(now)
        yield now
        now.seconds = round(time.monotonic() - started, 1)
        for line in now.said:
            print(f"    {line}", flush=True)
        print(f"    {now.seconds:.0f} s", flush=True)


def tell(args: argparse.Namespace) -> dict[str, Any]:
    """Run the story; returns its facts, which are also written to OUT/loop.json and OUT/loop.html.

    Raises:
        HomingError: if a step fails, or a count does not add up.
    """
    out = args.out.resolve()
    _clear(out)
    with Worker(DRIFT, out / "logs" / "drift.log") as drift_worker:  # it imports while the first steps run
        return _tell(Story(args, out, drift_worker))


def _tell(story: Story) -> dict[str, Any]:
    args, out = story.args, story.out
    rng = np.random.default_rng(args.seed)
    train(story)
    held_back = HeldBack(read_log(story.training / "prepare" / "prepared" / "held_back"), encoder(story))
    rules = drift_rules(story, held_back)
    port, sent = free_port(), Sent()
    variables = {
        "HOMING_REGISTRY": story.registry,
        "HOMING_POLICY_NAME": args.dataset,
        "HOMING_LEDGER": str(out / "serving" / "ledger.db"),
        "HOMING_LOG_DIR": str(story.served),
        "HOMING_EXPORT_SECONDS": "1",
        "HOMING_REFRESH_SECONDS": "5",
        "HOMING_HOST": "127.0.0.1",
        "HOMING_PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}"
    try:
        with ExitStack() as serving:
            with story.step("Serve the champion with Ray Serve") as step:
                log = out / "logs" / "serving.log"
                serving.enter_context(service(["-m", "serving.ray_app"], variables, log, f"{url}/readyz"))
                step.said.append(f"{url}/v1/decide")
            _traffic(story, "Held-back users ask for decisions", url, held_back, rng, sent, shift=False)
            drift(story, "Drift run on what was served", "quiet", rules, expect=False)
            since = datetime.now(UTC)
            _traffic(story, "The users and the candidates' values change", url, held_back, rng, sent, shift=True)
            drift(story, "Drift run on the changed traffic", "shifted", rules, expect=True, since=since)
            drift(story, "The same drift run again", "again", rules, expect=True, since=since)
            with story.step("Stop the service") as step:
                serving.close()
                step.said.append("what was left is exported")
        retrained = wait_for_retraining(story)
    finally:
        for path in (out / "retraining").glob("*/pid"):
            if not path.with_name("done.json").exists():
                end_group(int(path.read_text()))
    count(story, sent, retrained)
    story.facts["steps"] = [step.to_dict() for step in story.steps]
    (out / "loop.json").write_text(json.dumps(story.facts, indent=1) + "\n", encoding="utf-8")
    (out / "loop.html").write_text(page(story.facts), encoding="utf-8")
    print(f"\n{table(story.facts)}\n\nTimeline  {out / 'loop.html'}")
    print(f"Evidently evidently ui --workspace {out / 'evidently'}")
    return story.facts


def train(story: Story) -> None:
    """The training pipeline, with a share of the users held back."""
    args = story.args
    options = {
        "--dataset": args.dataset,
        "--registry": story.registry,
        "--run-name": "training",
        "--out": story.out / "runs",
        "--seed": args.seed,
        "--hold-back-share": args.hold_back_share,
    }
    options |= {"--data": Path(args.data).resolve()} if args.data else {}
    options |= {"--learner": args.learner} if args.learner else {}
    command = ["-m", "pipelines.run", *_words(options)]
    with story.step("Train, with users held back") as step:
        run(command, story.out / "logs" / "training.log")
        made = _summary(story.out / "runs" / "training")
        step.said.append(registered(made))
    story.facts |= {"dataset": args.dataset, "seed": args.seed, "trained": made["registration"]}


def encoder(story: Story) -> FeatureEncoder:
    """The feature encoder of the trained policy."""
    policy = json.loads((story.training / "train" / "trained" / "reward_model" / "policy.json").read_text())
    return FeatureEncoder.from_dict(policy["features"])


def drift_rules(story: Story, held_back: HeldBack) -> Path:
    """The shipped rules; with a lower minimum of users where the data set has few."""
    from yaml import safe_dump

    users = held_back.users
    rules = {} if users >= 20 else {"minimum_users": max(2, users)}
    story.facts["held_back"] = {"users": users, "decisions": len(held_back.rows)}
    path = story.out / "drift" / "rules.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(safe_dump({"version": 1, **rules}), encoding="utf-8")
    return path


def _traffic(
    story: Story, title: str, url: str, held_back: HeldBack, rng: np.random.Generator, sent: Sent, *, shift: bool
) -> None:
    with story.step(title) as step:
        n, before, started = story.args.decisions, sent.decisions, time.monotonic()
        rows, how = held_back.shifted(n, rng) if shift else (held_back.sample(n, rng), "")
        asyncio.run(send(url, held_back, rows, rng, sent, value_added=1.0 if shift else 0.0))
        took = time.monotonic() - started
        wait_for_export(story, sent)
        made = sent.decisions - before
        step.said.append(
            f"{made:,} decisions over HTTP in {took:.0f} s; so far {sent.outcomes:,} outcomes from donors, "
            f"{sent.outcomes_sent_twice:,} sent twice, {sent.silences:,} times silence"
        )
        if shift:
            story.facts["shift"] = f"{how}; every candidate's value + 1"
            step.said.append(story.facts["shift"])


def wait_for_export(story: Story, sent: Sent) -> None:
    """Until every decision and every distinct outcome is in the log."""
    deadline = time.monotonic() + 60
    while True:
        decided, outcomes = _logged(story)
        if (decided, outcomes) == (sent.decisions, sent.outcomes):
            return
        if time.monotonic() > deadline:
            found = {"decisions": decided, "outcomes": outcomes}
            wanted = f"must be {sent.decisions} and {sent.outcomes}"
            raise StepError(describe("exported", found, wanted, f"See {story.out / 'logs' / 'serving.log'}."))
        time.sleep(0.3)


def drift(story: Story, title: str, name: str, rules: Path, *, expect: bool, since: datetime | None = None) -> None:
    """A drift run with its trigger; its verdict must be the expected one.

    Raises:
        StepError: if it alerts and should not, or the other way round.
    """
    out = story.out
    options = {
        "--reference": story.training / "prepare" / "prepared",
        "--current": story.served,
        "--registry": story.registry,
        "--name": story.args.dataset,
        "--reward-model": story.training / "train" / "trained" / "reward_model",
        "--rules": rules,
        "--seed": story.args.seed,
        "--out": out / "drift" / name,
        "--workspace": out / "evidently",
        "--trigger": "local",
        "--state": out / "episodes.db",
        "--runs": out / "retraining",
    } | ({"--since": since.isoformat()} if since else {})
    # What the trigger passes on to the retraining pipeline.
    retrain = {
        "--dataset": story.args.dataset,
        "--log": story.served,
        "--registry": story.registry,
        "--out": out / "runs",
        "--seed": story.args.seed,
        # What was served within minutes tells nothing of weeks: a learner of single decisions, unless told otherwise.
        "--learner": story.args.learner or "doubly-robust",
    }
    with story.step(title) as step:
        text = story.drift_worker.run([*_words(options), "--", *_words(retrain)])
        report = json.loads((out / "drift" / name / "drift.json").read_text())
        step.said.append("ALERT" if report["alert"] else "no alert")
        step.said += report["reasons"][:4]
        trigger = text.strip().splitlines()[-1].strip().replace(f"{out}/", "")
        step.said.append(trigger)
        if report["alert"] != expect:
            raise StepError(describe(f"alert of the {name} run", report["alert"], f"must be {expect}", text))
    story.facts[f"drift_{name}"] = {
        "alert": report["alert"],
        "columns": [column["name"] for column in report["columns"] if column["alerts"]],
        "reasons": report["reasons"],
        "rows": report["current"]["rows"],
        "trigger": trigger,
    }


def wait_for_retraining(story: Story) -> dict[str, Any]:
    """Until the run that the trigger started has ended; there must be exactly one."""
    with story.step("The retraining pipeline runs on the serving log") as step:
        folders = sorted((story.out / "retraining").iterdir())
        if len(folders) != 1:
            raise StepError(describe("retraining runs", [f.name for f in folders], "must be exactly one"))
        deadline = time.monotonic() + 600
        while not (folders[0] / "done.json").exists():
            if time.monotonic() > deadline:
                raise StepError(describe("retraining", "running", "must end within 10 minutes", f"See {folders[0]}."))
            time.sleep(0.5)
        if json.loads((folders[0] / "done.json").read_text())["exit_code"] != 0:
            tail = "\n".join((folders[0] / "log.txt").read_text(errors="replace").splitlines()[-15:])
            raise StepError(f"Retraining failed:\n{tail}")
        made = _summary(story.out / "runs" / folders[0].name)
        step.said.append(registered(made))
        story.facts["retrained"] = {"run_name": folders[0].name, "runs": len(folders), **made["registration"]}
        return made


def count(story: Story, sent: Sent, retrained: dict[str, Any]) -> None:
    """Hold the counts of every station against each other.

    Raises:
        StepError: if a decision was lost or came twice.
    """
    decided, (logged, outcomes) = sent.decisions, _logged(story)
    data = retrained["data"]
    prepared, rejected = data["accepted"]["decisions"], data["rejected"]["decisions"]
    story.facts["counts"] = {
        "decided": decided,
        "logged": logged,
        "prepared": prepared,
        "rejected": rejected,
        "outcomes": sent.outcomes,
        "outcomes_sent_twice": sent.outcomes_sent_twice,
        "outcomes_logged": outcomes,
        "silences": sent.silences,
        "without_donor": sent.without_donor,
        "messages": dict(sent.messages.most_common(5)),
    }
    if not decided == logged == prepared + rejected or outcomes != sent.outcomes:
        raise StepError(
            describe("counts", story.facts["counts"], "must satisfy decided == logged == prepared + rejected")
        )


def registered(summary: dict[str, Any]) -> str:
    """A pipeline run's result in a sentence."""
    made = summary["registration"]
    verdict = f"verdict {summary['verdict']}"
    return f"version {made['version']} registered, {verdict}; champion is version {made['champion_version']}"


def _words(options: Mapping[str, object]) -> list[str]:
    return [str(word) for pair in options.items() for word in pair]


def _logged(story: Story) -> tuple[int, int]:
    if not (story.served / "decisions").is_dir():
        return 0, 0
    log: DecisionLog = read_log(story.served)
    return log.n_decisions, log.n_outcomes


def _summary(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "summary.json").read_text()))


def _clear(out: Path) -> None:
    """Make room for a new story: its own files of last time go, nothing else."""
    out.mkdir(parents=True, exist_ok=True)
    strangers = [path.name for path in out.iterdir() if path.name not in (*PARTS, "loop.json", "loop.html")]
    if strangers:
        raise InvalidInputError(
            describe("--out", str(out), f"must be empty or an earlier story's (it holds {strangers[0]!r})")
        )
    for path in out.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m examples.closed_loop", description=(__doc__ or "").splitlines()[0])
    made.add_argument("--dataset", default=DEFAULT_DATASET)
    made.add_argument("--data", help="the data set's files, where it is not installed with the project")
    made.add_argument("--out", type=Path, required=True, help="folder of the story; replaced by the next one")
    made.add_argument("--registry", help="default: MLflow on SQLite in the story's folder")
    made.add_argument("--learner", default="", help="default: the data set's, and doubly-robust on what was served")
    made.add_argument("--decisions", type=int, default=1200, help="decisions before and after the change, each")
    made.add_argument("--hold-back-share", type=float, default=0.3, help="share of users that training never sees")
    made.add_argument("--seed", type=int, default=0)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The command line's entry point."""
    try:
        with stoppable():
            tell(parser().parse_args(argv))
    except KeyboardInterrupt:
        print("stopped; what was started is ended", file=sys.stderr)
        return 130
    except HomingError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
