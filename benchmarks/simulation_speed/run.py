"""Claim: the compiled messaging world lives through hundreds of user-days in the time of one in a Python loop."""

from __future__ import annotations

import argparse

from benchmarks.measure import publish, run, table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--peer-users", type=int, default=200, help="of the Python loop")
    parser.add_argument("--peer-days", type=int, default=7)
    args = parser.parse_args()
    few = (args.peer_users, args.peer_days)
    peers = {
        "Python, an object of plain numbers a user": run("benchmarks.simulation_speed.plain", *few),
        "Python, the same functions on the same arrays": run("benchmarks.simulation_speed.peer", *few),
    }
    check = run("benchmarks.simulation_speed.ours", *few)
    for name, peer in peers.items():
        if check.answer != peer.answer:
            raise SystemExit(
                f"sessions of {name!r} == {peer.answer}, must be {check.answer}: they live the same lives."
            )
    ours = run("benchmarks.simulation_speed.ours", args.users, args.days)
    speed = args.users * args.days / ours.best_cpu_s
    rows = [("Homing, compiled", f"{args.users:,} users, {args.days} days", f"{speed:,.0f}", "1")]
    for name, peer in peers.items():
        slow = few[0] * few[1] / peer.best_cpu_s
        rows.append((name, f"{few[0]:,} users, {few[1]} days", f"{slow:,.0f}", f"{speed / slow:,.0f}"))
    publish(
        "simulation_speed",
        "## The messaging world against Python loops over users\n\n"
        "Four steps a day, observations built in each, a message to everybody who may get one; one thread. "
        f"All sides live the same lives: {check.answer:,.0f} sessions of the few users. Both loops "
        "draw their random numbers with compiled functions.\n\n"
        + table(("side", "size", "user-days a CPU second", "Homing is × as fast"), rows),
    )


if __name__ == "__main__":
    main()
