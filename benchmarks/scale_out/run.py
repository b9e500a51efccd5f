"""Claim: a log ten times the memory that training may use trains within it, and two workers train as one does."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.measure import HERE, publish, run, table
from benchmarks.scale_out.workers import DAYS, JUDGED_USERS, SETTINGS, USERS

#: What training may hold beyond an interpreter with PyTorch, MiB; and users whose log takes more than ten times as much
#: where it is trained on in memory.
MEMORY_MIB, LOG_USERS = 192.0, 56_000
STEPS = 1_500


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=LOG_USERS, help="of the log that is larger than memory")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--keep", type=Path, help="folder for intermediate results; a run that was stopped goes on")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        publish("scale_out", "\n\n".join((memory(folder, args.users), workers(folder, args.seeds))))


def memory(folder: Path, users: int) -> str:
    """Peak memory of preparation and training on a log that does not fit."""
    found = folder / "memory.json"
    if not found.is_file():
        log, parts = folder / "log", folder / "parts"
        bare = run("benchmarks.scale_out.bare").answer
        run_log = [sys.executable, "-m", "benchmarks.scale_out.inputs", str(log), str(users)]
        subprocess.run(run_log, check=True, cwd=HERE.parent, capture_output=True)
        sides = {"prepare": run("benchmarks.scale_out.prepare", log, parts, MEMORY_MIB)}
        sides |= {how: run("benchmarks.scale_out.train", parts, how, STEPS) for how in ("parts", "memory")}
        answers = {name: side.answer | {"cpu_s": side.best_cpu_s} for name, side in sides.items()}
        found.write_text(json.dumps({"bare": bare} | answers))
    sides = json.loads(found.read_text())
    prepared, base = sides["prepare"], sides["bare"]["peak_mib"]
    names = {
        "prepare": "`write_parts`: the log becomes parts",
        "parts": f"Double DQN on parts, {STEPS:,} steps",
        "memory": "the same with all parts in memory",
    }
    lines = []
    for name, text in names.items():
        beyond = sides[name]["peak_mib"] - base
        quality = f"{sides[name]['first']:.2f} → {sides[name]['last']:.2f}" if "first" in sides[name] else ""
        lines.append((text, f"{beyond:,.0f}", f"{beyond / MEMORY_MIB:.2f}", f"{sides[name]['cpu_s']:.0f}", quality))
    beyond = {name: sides[name]["peak_mib"] - base for name in names}
    times = beyond["memory"] / MEMORY_MIB
    kept = "stays within the budget" if beyond["parts"] <= MEMORY_MIB else "**exceeds the budget**"
    wrote = "stays within it" if beyond["prepare"] <= MEMORY_MIB else "**exceeds it**"
    return (
        "## A log larger than memory, and data-parallel training\n\n"
        f"A log of `MessagingWorld`: {prepared['decisions']:,} decisions of {prepared['users']:,} users, which take "
        f"{times:.1f} times the budget of {MEMORY_MIB:.0f} MiB in memory, and {prepared['stored_mib']:,.0f} "
        f"MiB on disk in {prepared['parts']} parts. Each side is a process of its own; memory is the peak of its "
        f"resident set less the {base:.0f} MiB of an interpreter that has imported PyTorch, so that Arrow, Homing and "
        f"the network count. Training on parts {kept}; making the parts {wrote}.\n\n"
        + table(("side", "peak memory, MiB", "× budget", "CPU s", "held-out quality, first → last round"), lines)
    )


def workers(folder: Path, seeds: int) -> str:
    """True values of policies that one worker and two have trained."""
    words = ["--seeds", str(seeds), "--folder", str(folder / "seeds")]
    command = [sys.executable, "-m", "benchmarks.scale_out.workers", *words]
    done = subprocess.run(command, check=True, cwd=HERE.parent, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    column = {name: np.array([row[name] for row in rows]) for name in ("behaviour", "1", "2")}
    pairs = {
        "one worker less the policy that logged": column["1"] - column["behaviour"],
        "two workers less the policy that logged": column["2"] - column["behaviour"],
        "two workers less one": column["2"] - column["1"],
    }
    gain = column["1"].mean() - column["behaviour"].mean()
    lines = []
    for text, values in pairs.items():
        half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        low, high = values.mean() - half, values.mean() + half
        lines.append(
            (text, f"{values.mean():,.0f}", f"[{low:,.0f}, {high:,.0f}]", f"{values.mean() / gain:.1%}",
             f"[{low / gain:.1%}, {high / gain:.1%}]", f"{values.std(ddof=1) / gain:.1%}")
        )  # fmt: skip
    return (
        f"Double DQN in the step-count world, {len(rows)} logs of {USERS} users over {DAYS} days of uniform choices; "
        f"each policy's true steps a user over as many days, on the same {JUDGED_USERS:,} fresh users and chance. "
        f"Batches of {SETTINGS['batch_rows']} transitions: all of one worker, half of each of two. Workers are threads "
        "here; a test holds that Ray's give the same bits.\n\n"
        + table(("difference, by log", "mean", "95 %", "of the gain", "95 %", "deviation"), lines)
    )


if __name__ == "__main__":
    main()
