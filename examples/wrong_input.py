"""What a user sees for each mistake: logs that break the contract, requests that cannot be decided (`make docs`).

    python -m examples.wrong_input --write docs/wrong-input.md

Every mistake is made on a real log (Open Bandit, from its package) or sent to a real server.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from examples.processes import ROOT, free_port, service
from homing import datasets
from homing.learners import make
from homing.log import build_dataset, write_log
from homing.policies import FixedCandidatePolicy, UniformPolicy, save_policy

Change = Callable[[pl.DataFrame], pl.DataFrame]
SHOWN_LINES = 6


def wrong_logs(folder: Path) -> Iterator[str]:
    """`homing log validate` on logs with one mistake each."""
    good = folder / "good"
    write_log(datasets.load("open-bandit"), good)
    decisions, outcomes = (next((good / table).rglob("*.parquet")) for table in ("decisions", "outcomes"))
    first = pl.int_range(pl.len()) == 0

    def put(column: str, value: object) -> Change:
        return lambda table: table.with_columns(
            pl.when(first).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
        )

    def of_eligible(column: str, change: Callable[[pl.Expr], pl.Expr]) -> Change:
        return lambda table: table.with_columns(
            pl.when(first).then(change(pl.col("eligible"))).otherwise(pl.col(column)).alias(column)
        )

    cases: tuple[tuple[str, Path | None, Change | int], ...] = (
        ("propensity 0", decisions, put("propensity", 0.0)),
        ("NaN as a propensity", decisions, put("propensity", float("nan"))),
        (
            "probabilities that do not sum to 1",
            decisions,
            of_eligible("propensities", lambda mask: mask.list.eval(pl.element() * 0.02)),
        ),
        (
            "an action that was not eligible",
            decisions,
            of_eligible("eligible", lambda mask: mask.list.eval(pl.lit(False))),
        ),
        (
            "masks for fewer candidates than there are",
            decisions,
            of_eligible("eligible", lambda mask: mask.list.head(3)),
        ),
        ("NaN as an outcome's value", outcomes, put("value", float("nan"))),
        ("an unknown outcome kind", outcomes, put("kind", "clikced")),
        ("a missing column", decisions, lambda table: table.drop("propensity")),
        ("a truncated Parquet file", decisions, 5000),
        ("an empty folder", None, 0),
    )
    yield "## Logs\n\n`homing log validate LOG`, for a log with that one mistake (first lines).\n"
    for title, file, change in cases:
        target = folder / "LOG"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir() if file is None else shutil.copytree(good, target)
        if file is not None:
            _spoil(target / file.relative_to(good), change)
        yield _said(title, ["-m", "homing.cli", "log", "validate", str(target)], folder)
    objectives = folder / "objectives.yaml"
    objectives.write_text("version: 1\nobjectives:\n  clicks: {kinds: [clicked], window_hour: 24, aggregate: any}\n")
    own = ["--dataset", "open-bandit", "--objectives", str(objectives), "--out", str(folder / "runs")]
    yield "## Runs\n\n`make run`, or `python -m pipelines.run`.\n"
    yield _said("an objectives file with an unknown key", ["-m", "pipelines.run", *own], folder)
    yield _said("a data set that is misspelt", ["-m", "pipelines.run", "--dataset", "hilstrom"], folder)
    missing = ["-m", "pipelines.run", "--dataset", "hillstrom", "--data", str(folder / "nowhere.csv")]
    yield _said("data that are not there", [*missing, "--out", str(folder / "runs")], folder)


def wrong_evaluations(folder: Path) -> Iterator[str]:
    """`homing ope` on what it must refuse: logs with a mistake, policies that the log cannot judge."""
    good, log = folder / "good", folder / "LOG"
    (folder / "objectives.yaml").write_text(datasets.objectives_path("open-bandit").read_text(encoding="utf-8"))
    (folder / "rules.yaml").write_text("objectives: {click: {rule: superiority}}\n")
    save_policy(UniformPolicy(), folder / "uniform")
    save_policy(FixedCandidatePolicy(1), folder / "always")
    first = pl.int_range(pl.len()) == 0
    position = pl.col("context").struct.field("position")

    def judged(title: str, policy: str, *words: str, change: Change | None = None) -> str:
        shutil.rmtree(log, ignore_errors=True)
        shutil.copytree(good, log)
        if change is not None:
            for file in (log / "decisions").rglob("*.parquet"):
                _spoil(file, change)
        call = ["-m", "homing.cli", "ope", str(log), str(folder / policy)]
        return _said(title, [*call, *(word.format(folder=folder) for word in words)], folder)

    goals = ("--objectives", "{folder}/objectives.yaml")
    yield "## Evaluations\n\n`homing ope LOG POLICY --objectives objectives.yaml` (first lines).\n"
    yield judged("no objectives", "uniform")
    wrong = pl.when(first).then(1.5).otherwise(pl.col("propensity")).alias("propensity")
    yield judged("propensity 1.5", "uniform", *goals, change=lambda table: table.with_columns(wrong))
    title = "a policy that does what the log never did"
    yield judged(title, "always", *goals, change=lambda table: table.filter(pl.col("action") != 1))
    title = "a policy that does in one segment what the log never did there"
    kept = (position != "position-1") | (pl.col("action") <= 17)
    yield judged(title, "uniform", *goals, change=lambda table: table.filter(kept))
    decided = ("--champion", "{folder}/always", "--rules", "{folder}/rules.yaml")
    yield judged("rules that need a reward model", "uniform", *goals, *decided)
    yield judged("no artifact", "LOG", *goals)


def wrong_requests(folder: Path) -> Iterator[str]:
    """Requests to a decision service that serves a policy of Open Bandit."""
    data = build_dataset(datasets.load("open-bandit"), datasets.objectives("open-bandit"))
    assert data.encoder is not None
    policy = make("message-shares").fit(data, rng=np.random.default_rng(0))
    save_policy(policy, folder / "policy", name="baseline", features=data.encoder.to_dict(), objectives=data.objectives)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {
        "HOMING_REGISTRY": f"policy:{folder / 'policy'}",
        "HOMING_LEDGER": str(folder / "ledger.db"),
        "HOMING_LOG_DIR": str(folder / "log"),
        "HOMING_PORT": str(port),
    }
    offer = {"message_id": "item-01", "channel": "in_app"}
    plain = {"user_id": "u1", "consent": {"in_app": True}, "candidates": [offer]}
    expired = {**offer, "expires_at": "2020-01-01T00:00:00Z"}
    cases: tuple[tuple[str, object], ...] = (
        ("no candidates", {**plain, "candidates": []}),
        ("a malformed body", b'{"user_id": "u1", "candidates": ['),
        ("10 MB of JSON", {**plain, "context": {"note": "x" * 10_000_000}}),
        ("a feature that the policy does not know", {**plain, "context": {"age": 30}}),
        ("a number that is none", b'{"user_id": "u1", "candidates": [{"message_id": "m", "value": NaN}]}'),
        ("a user whom nobody knows is no mistake", {**plain, "user_id": "never-seen-before"}),
        ("nor is a user without consent", {"user_id": "u1", "candidates": [offer]}),
        ("nor is an offer that has expired", {**plain, "candidates": [expired]}),
    )
    yield "## Requests\n\n`POST /v1/decide`. Nothing of a refused request is decided or logged.\n"
    with service(["-m", "serving.ray_app"], variables, folder / "serving.log", f"{url}/readyz"):
        for title, body in cases:
            sent = body if isinstance(body, bytes) else json.dumps(body).encode()
            status, answer = _post(f"{url}/v1/decide", sent)
            yield f"**{title}** (HTTP {status})\n\n```json\n{_shown(answer)}\n```\n"


def _spoil(file: Path, change: Change | int) -> None:
    if isinstance(change, int):
        file.write_bytes(file.read_bytes()[:change])
        return
    schema = pq.read_schema(file)
    changed = change(pl.read_parquet(file, hive_partitioning=False))
    like = pa.schema([schema.field(name) for name in changed.columns], metadata=schema.metadata)
    pq.write_table(changed.to_arrow().cast(like), file, write_page_checksum=True)


def _said(title: str, command: list[str], folder: Path) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT)
    said = (done.stdout + done.stderr).replace(f"{folder}/", "")
    said = re.sub(r"part-[0-9a-f-]{36}", "part-…", said)
    lines = [line for line in said.splitlines() if line.strip()][:SHOWN_LINES]
    return "\n".join([f"**{title}** (exit status {done.returncode})\n", "```text", *lines, "```\n"])


def _post(url: str, body: bytes) -> tuple[int, dict[str, object]]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def _shown(answer: dict[str, object]) -> str:
    """The parts of a receipt that matter here; errors whole."""
    kept = ("action", "propensity", "policy", "slice", "notes", "error")
    return json.dumps({key: value for key, value in answer.items() if key in kept}, indent=2, ensure_ascii=False)


def main() -> int:
    """The command line's entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", type=Path, help="also write it to this file")
    args = parser.parse_args()
    parts = ["# What a user sees for a mistake\n\nWritten by `make docs`.\n"]
    with tempfile.TemporaryDirectory() as folder:
        for story in (wrong_logs, wrong_evaluations, wrong_requests):
            for part in story(Path(folder)):
                parts.append(part)
                print(part, flush=True)
    if args.write:
        args.write.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
