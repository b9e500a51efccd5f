"""Claim: the five basic off-policy estimators with intervals cost a fraction of Open Bandit Pipeline's with its own.

Both sides read the same arrays and run in processes of their own, one thread each. The peer's values without intervals
are measured too, so that the ratio does not hide behind its bootstrap. Values must agree to 1e-9. The first evaluation
of a log also takes its digest, by which reports of one log know each other; the others find it there.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.measure import PEERS, publish, run, table
from benchmarks.ope_basic import inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--actions", type=int, default=50)
    parser.add_argument("--replicates", type=int, default=1000, help="of the bootstrap")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.npz"
        size = inputs.write(path, rows=args.rows, actions=args.actions) / 2**20
        ours = run("benchmarks.ope_basic.ours", path, args.replicates)
        fast = run("benchmarks.ope_basic.ours", path, 0)
        once = run("benchmarks.ope_basic.once", path)
        values = run("benchmarks.ope_basic.peer", path, 0, python=PEERS)
        intervals = run("benchmarks.ope_basic.peer", path, args.replicates, python=PEERS)
    gap = max(abs(ours.answer[name][0] / found[0] - 1) for name, found in values.answer.items())
    if gap > 1e-9:
        raise SystemExit(f"relative difference of the values == {gap:.2g}, must be <= 1e-9.")
    with_bootstrap = f"values, {args.replicates:,} bootstrap replicates"
    sides = [
        (f"Homing: {with_bootstrap}, support diagnostics", ours.best_cpu_s, ours),
        ("Homing: the same, the first time on a log", ours.cpu_s[0], ours),
        ("Homing: values, cluster-robust intervals, support diagnostics", fast.best_cpu_s, fast),
        ("Open Bandit Pipeline: values alone", values.best_cpu_s, values),
        (f"Open Bandit Pipeline: {with_bootstrap}", intervals.best_cpu_s, intervals),
        ("NumPy: each array read once", once.best_cpu_s, once),
    ]
    rows = [
        (
            name,
            f"{cpu_s:.3f}",
            f"{cpu_s / ours.best_cpu_s:.1f}",
            f"{cpu_s / once.best_cpu_s:.1f}",
            f"{side.added_mib:.0f}",
        )
        for name, cpu_s, side in sides
    ]
    publish(
        "ope_basic",
        f"## Basic off-policy evaluation against Open Bandit Pipeline (sb-obp 0.5.10)\n\n"
        f"IPS, SNIPS, DR, Switch-DR and DRos on {args.rows:,} rows × {args.actions} actions ({size:.0f} MiB of "
        f"arrays). Largest relative difference of the values: {gap:.0e}.\n\n"
        + table(("side", "CPU s", "× ours", "× one read", "memory added, MiB"), rows),
    )


if __name__ == "__main__":
    main()
