"""Claim: plans under budgets are certified to 1e-5, at a small multiple of reading the candidates."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.measure import PEERS, publish, run, table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--peer-users", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=3, help="of each family at 10,000 users")
    args = parser.parse_args()
    here = "benchmarks.planning."

    few = run(here + "quality", 10_000, args.seeds)
    many = run(here + "quality", args.users, 1)
    gaps = [
        (
            family,
            f"{max(gap for gap, _, _ in few.answer[family]):.1e}",
            f"{many.answer[family][0][0]:.1e}",
            f"{sum(broken for _, broken, _ in few.answer[family] + many.answer[family])}",
            f"{many.answer[family][0][2]}",
        )
        for family in many.answer
    ]

    ours = run(here + "ours", "base", args.peer_users, 0, 1)
    bound = ours.answer["upper_bound"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instance.npz"
        run(here + "export", "base", args.peer_users, 0, path)
        pdlp = run(here + "pdlp", path, python=PEERS)
    dualip = run(here + "dualip", "base", args.peer_users, 0, 1e-4, bound)
    highs = run(here + "highs", "base", args.peer_users, 0)
    naive = run(here + "naive", "base", args.peer_users, 0)
    sides = {
        f"Homing (gap {ours.answer['gap']:.0e})": ours,
        f"DuaLip's algorithm in PyTorch (to {dualip.answer['gap']:.0e})": dualip,
        f"OR-tools PDLP (1e-4{'' if pdlp.answer['done'] else ', not reached'})": pdlp,
        "HiGHS interior point": highs,
    }
    peers = [
        (
            name,
            f"{side.best_cpu_s:.3g}",
            f"{side.best_cpu_s / ours.best_cpu_s:,.0f}",
            f"{side.added_mib / max(ours.added_mib, 1.0):.1f}",
        )
        for name, side in sides.items()
    ]

    big = run(here + "ours", "base", args.users, 0, 1)
    warm = run(here + "ours", "base", args.users, 0, 1, "warm")
    read = run(here + "bandwidth", "base", args.users, 0, 1)
    read_s = read.answer["wall_s"]
    agreement = abs(highs.answer["value"] / bound - 1)
    worse = ", ".join(f"{name} loses {1 - value / bound:.1%}" for name, value in naive.answer.items()).capitalize()
    publish(
        "planning",
        "## Planning under budgets\n\n"
        "### How good\n\n"
        f"The gap between a plan and what any plan could be worth: the worst of {args.seeds} seeds at 10,000 users, "
        f"and at {args.users:,}, with up to 20 candidates each. Broken caps, budgets and floors are counted over the "
        "columns.\n\n"
        + table(("instances", "gap, 10,000 users", f"gap, {args.users:,} users", "broken", "limits with a price"), gaps)
        + "\n\n### Against solvers\n\n"
        f"{args.peer_users:,} users, 20 candidates each, 54 budgets; one thread. HiGHS's optimum is Homing's upper "
        f"bound up to {agreement:.0e}. DuaLip's algorithm is told the optimum and stops at the gap that is named. "
        f"{worse}.\n\n"
        + table(("side", "CPU s", "× Homing's CPU time", "× Homing's memory"), peers)
        + "\n\n### Against the limit\n\n"
        f"{args.users:,} users, one thread: building, checking and solving the problem {big.best_cpu_s:.3f} CPU s, "
        f"{big.best_cpu_s / read_s:.0f} × one read of its {read.answer['bytes'] / 2**20:,.0f} MiB of columns "
        f"({read_s * 1e3:.1f} ms). From yesterday's prices, with values moved by 5%: {warm.best_cpu_s:.3f} CPU s, "
        f"{warm.best_cpu_s / big.best_cpu_s:.2f} of that. Compiling, once for each installation, is not in these.",
    )


if __name__ == "__main__":
    main()
