"""Claim: ten million users are planned for part by part, in memory that does not grow with them, and linear time.

What a population's plan took is kept in the folder, so that a run that was stopped goes on, and the result is written
after each; `--keep` leaves the candidates there, too.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.measure import HERE, Side, publish, run, table
from benchmarks.planning_scale.population import problem

NAME = "benchmarks.planning_scale."


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    parser.add_argument("--ray-users", type=int, default=1_000_000)
    parser.add_argument("--part-rows", type=int, default=5_000_000)
    parser.add_argument("--sample-rows", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=HERE.parent / "runs" / "planning_scale")
    parser.add_argument("--keep", action="store_true", help="leave the candidates (2 GB at ten million users)")
    args = parser.parse_args()
    population, sizes = args.folder / "population", (args.part_rows, args.sample_rows)
    if not (args.folder / "written").is_file():
        run(NAME + "population", population, max(*args.users, args.ray_users), args.seed)
        (args.folder / "written").touch()

    lines: list[tuple[str, ...]] = []
    for users in args.users:
        path = problem(population, args.folder / str(users), users, args.seed)
        out = path.parent / "out"
        if not (path.parent / "ours.json").is_file():  # what a stopped run's parts answered would be free
            shutil.rmtree(out, ignore_errors=True)
        ours = kept(path.parent / "ours.json", NAME + "ours", path, out, *sizes)
        read = kept(path.parent / "reading.json", NAME + "reading", path)
        broken = kept(path.parent / "checking.json", NAME + "checking", path, out).answer
        assert ours.answer["n_users"] == users and read.answer == users * 20
        lines.append(
            (
                f"{users:,}",
                f"{ours.best_cpu_s:.1f}",
                f"{ours.best_cpu_s / users * 1e6:.1f}",
                f"{ours.best_cpu_s / read.best_cpu_s:.1f}",
                f"{ours.added_mib:,.0f}",
                f"{ours.answer['gap']:.1e}",
                f"{broken}",
                f"{ours.answer['passes']}",
            )
        )
        told(lines, sizes, "")
    path = problem(population, args.folder / "ray", args.ray_users, args.seed)
    ray = kept(path.parent / "on_ray.json", NAME + "on_ray", path, path.parent / "out", *sizes).answer
    apart = ", ".join(f"{gap:.0e} with {name}" for name, gap in ray.items())
    told(
        lines,
        sizes,
        f"\n\nOn a Ray cluster, {args.ray_users:,} users: plans equal to the row, prices to the bit; value and bound, "
        f"relative difference to one process: {apart} worker(s).",
    )
    if not args.keep:
        shutil.rmtree(args.folder)


def told(lines: Sequence[Sequence[str]], sizes: tuple[int, int], on_ray: str) -> None:
    publish(
        "planning_scale",
        "## Planning for populations larger than memory\n\n"
        f"20 candidates a user in Parquet, 54 budgets, parts of {sizes[0]:,} candidates and a sample of {sizes[1]:,}; "
        "one process, one thread. What is broken (caps, budgets, rows that are not the candidates') is counted over "
        "the candidates' files.\n\n"
        + table(
            ("users", "CPU s", "a million users", "× one read", "memory added, MiB", "gap", "broken", "passes"), lines
        )
        + "\n\nOne read is that of the same columns by PyArrow, with nothing done to them. The memory is the most that "
        f"was resident beyond what stood when planning began.{on_ray}",
    )


def kept(file: Path, module: str, *words: Any) -> Side:
    """A side's result, from its file where it was run before."""
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
        return Side(tuple(found["cpu_s"]), found["added_mib"], found["answer"])
    side = run(module, *words)
    file.write_text(json.dumps(asdict(side)), encoding="utf-8")
    return side


if __name__ == "__main__":
    main()
