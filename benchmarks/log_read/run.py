"""Claim: a log that is read, checksummed and held to every rule costs a small multiple of Polars' unchecked read.

Polars loads the whole table; Homing streams over it, so that its memory does not grow with the log.
"""

from __future__ import annotations

import argparse
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks.log_read import inputs
from benchmarks.measure import publish, run, table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[140_000, 700_000])
    parser.add_argument("--candidates", type=int, default=8)
    args = parser.parse_args()
    lines = []
    for rows in args.rows:
        with tempfile.TemporaryDirectory() as folder:
            size = inputs.write(Path(folder), rows=rows, candidates=args.candidates) / 2**20
            ours, peer = run("benchmarks.log_read.ours", folder), run("benchmarks.log_read.peer", folder)
        if ours.answer != peer.answer:
            raise SystemExit(f"decisions read == {ours.answer}, must be {peer.answer}.")
        for name, side in (("Homing, validated", ours), ("Polars, unchecked", peer)):
            ratio = side.best_cpu_s / peer.best_cpu_s
            lines.append(
                (name, f"{rows:,}", f"{size:.0f}", f"{side.best_cpu_s:.2f}", f"{ratio:.1f}", f"{side.added_mib:.0f}")
            )
    publish(
        "log_read",
        f"## Reading a decision log against Polars {version('polars')}\n\n"
        f"{args.candidates} candidates a decision. Homing verifies page checksums and every rule of format 1, "
        f"duplicate ids included; Polars reads the columns and checks nothing.\n\n"
        + table(("side", "decisions", "files, MiB", "CPU s", "× Polars", "memory added, MiB"), lines),
    )


if __name__ == "__main__":
    main()
