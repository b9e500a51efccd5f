"""Claim: a hundred million decisions are evaluated in one pass, in memory that does not grow with them.

A tenth of a million is also evaluated as a whole: sums must give the same values and intervals to 1e-9.
"""

from __future__ import annotations

import argparse

from benchmarks.measure import publish, run, table

CHECKED = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000_000, 100_000_000])
    args = parser.parse_args()
    sums, whole = (run(f"benchmarks.ope_streaming.{side}", CHECKED).answer for side in ("ours", "whole"))
    gap = max(abs(a / b - 1) for name in sums for a, b in zip(sums[name], whole[name], strict=True))
    if gap > 1e-9:
        raise SystemExit(f"relative difference to the whole log == {gap:.2g}, must be <= 1e-9.")
    lines = []
    for rows in args.rows:
        ours, least = (run(f"benchmarks.ope_streaming.{side}", rows) for side in ("ours", "nothing"))
        for name, side in (("Homing, IPS, SNIPS and DR with intervals", ours), ("NumPy, making the rows", least)):
            ratio = side.best_cpu_s / least.best_cpu_s
            lines.append((name, f"{rows:,}", f"{side.best_cpu_s:.1f}", f"{ratio:.1f}", f"{side.added_mib:.0f}"))
    publish(
        "ope_streaming",
        f"## Streaming evaluation against NumPy making the rows\n\n"
        f"Ten decisions a user, users as clusters, batches of 131,072 rows. Largest relative difference to "
        f"`evaluate_policy` on {CHECKED:,} rows: {gap:.0e}.\n\n"
        + table(("side", "decisions", "CPU s", "× NumPy", "memory added, MiB"), lines),
    )


if __name__ == "__main__":
    main()
