"""Claim: scoring a policy with NumPy costs no more than with eager PyTorch, which serving then need not install."""

from __future__ import annotations

import argparse

from benchmarks.measure import publish, run, table
from benchmarks.scoring import inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--calls", type=int, default=4000, help="with one decision a call; fewer with more")
    args = parser.parse_args()
    lines = []
    for decisions in (1, 16, 256):
        calls = max(args.calls // decisions, 1)
        words = (decisions, args.candidates, calls)
        ours, peer = run("benchmarks.scoring.ours", *words), run("benchmarks.scoring.peer", *words)
        if abs(ours.answer - peer.answer) > 1e-4 * abs(peer.answer):
            raise SystemExit(f"sum of scores == {ours.answer}, must be {peer.answer}.")
        for name, side in (("Homing, NumPy", ours), ("PyTorch, eager", peer)):
            cost = side.best_cpu_s / calls / decisions * 1e6
            lines.append((name, str(decisions), f"{cost:.1f}", f"{side.best_cpu_s / peer.best_cpu_s:.2f}"))
    publish(
        "scoring",
        f"## Scoring against eager PyTorch\n\n"
        f"A network of {'×'.join(map(str, inputs.SIZES))} units on {inputs.CONTEXT} context and {inputs.CANDIDATE} "
        f"candidate features, {args.candidates} candidates a decision, one thread.\n\n"
        + table(("side", "decisions a call", "CPU µs a decision", "× PyTorch"), lines),
    )


if __name__ == "__main__":
    main()
