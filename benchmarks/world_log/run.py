"""Claim: logging and encoding a world costs little beside living in it; rows are never touched one by one."""

from __future__ import annotations

import argparse

from benchmarks.measure import publish, run, table
from benchmarks.world_log import inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--peer-users", type=int, default=2_000, help="of the peer, and of the check that both agree")
    args = parser.parse_args()
    _, steps = inputs.steps(args.users)
    _, few = inputs.steps(args.peer_users)
    lines = []
    for task, what in (("log", "decisions as Arrow rows"), ("encode", "features of policies")):
        ours = run("benchmarks.world_log.ours", task, args.users)
        small, peer = (run(f"benchmarks.world_log.{side}", task, args.peer_users) for side in ("ours", "peer"))
        if abs(small.answer - peer.answer) > 1e-6 * abs(peer.answer):
            raise SystemExit(f"{task} == {small.answer}, must be {peer.answer}.")
        costs = []
        for side, runs in ((ours, steps), (peer, few)):
            decisions = sum(len(step.observation) for step in runs)
            offered = sum(int((step.observation.message >= 0).sum()) for step in runs)
            costs.append((side.best_cpu_s / decisions, offered / side.best_cpu_s))
        (mine, rate), (theirs, _) = costs
        lines.append((what, f"{1 / mine:,.0f}", f"{rate:,.0f}", f"{1 / theirs:,.0f}", f"{theirs / mine:.0f}"))
    world, _ = inputs.steps(10)
    publish(
        "world_log",
        "## Logging and encoding a world\n\n"
        f"`MessagingWorld`, a day of {args.users:,} users under its behaviour policy, {len(world.context_features)} "
        f"context features, {offered / decisions:.1f} candidates a decision, one thread. The peer is a Python loop "
        f"over rows ({args.peer_users:,} users); both give the same rows and numbers.\n\n"
        + table(("", "decisions / CPU s", "candidates / CPU s", "peer, decisions / CPU s", "times the peer"), lines),
    )


if __name__ == "__main__":
    main()
