"""Claim: a fit takes twice d3rlpy's gradient steps in a CPU second, and nine tenths of a bare PyTorch loop's."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.measure import PEERS, publish, run, table
from benchmarks.training_speed import inputs

SIDES = (
    ("Homing, fit", "ours", sys.executable),
    ("PyTorch, a bare loop", "bare", sys.executable),
    ("d3rlpy 2.8.1, fit", "peer", PEERS),
)


def measured(algorithm: str, steps: int, rounds: int) -> dict[str, list[float]]:
    """Steps a CPU second of each side by round; sides take turns, so that a busy minute slows all of them."""
    out: dict[str, list[float]] = {name: [] for name, _, _ in SIDES}
    for turn in range(rounds):
        for i in range(len(SIDES)):
            name, side, python = SIDES[(turn + i) % len(SIDES)]
            found = run(f"benchmarks.training_speed.{side}", algorithm, steps, python=python)
            out[name].append(steps / found.best_cpu_s)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder for what each algorithm took: a file that is there is read")
    parser.add_argument("--algorithms", nargs="+", choices=list(inputs.CONSERVATISM), default=list(inputs.CONSERVATISM))
    args = parser.parse_args()
    lines = []
    for algorithm in args.algorithms:
        file = args.keep / f"{algorithm}.json" if args.keep else None
        if file and file.is_file():
            speed = json.loads(file.read_text())
        else:
            speed = measured(algorithm, args.steps, args.rounds)
            if file:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(speed))
        others = [speed[name] for name, _, _ in SIDES[1:]]
        lines += [
            (f"{algorithm}: {name}", f"{max(each):.0f}", *(against(each, other) for other in others))
            for name, each in speed.items()
        ]
    publish(
        "training_speed",
        f"## Gradient steps per CPU second\n\n"
        f"{inputs.USERS * inputs.LENGTH:,} decisions, {inputs.FEATURES} features, {inputs.ACTIONS} actions; layers of "
        f"{'×'.join(map(str, inputs.SIZES))}, batches of {inputs.BATCH}, {args.steps:,} steps, one thread; sides take "
        f"turns {args.rounds} times, and the best of each counts. In brackets, the smallest and the largest ratio of "
        "a round.\n\n"
        + table(("side", "steps a CPU second", "× bare loop", "× d3rlpy"), lines)
        + "\n\nAll sides take the same minibatch, hidden layers, loss and targets. Homing's network has a value head "
        "more, and its `fit` includes the checks of the log, its way into tensors, and looks at held-out users, of "
        "which the bare loop has none.",
    )


def against(one: list[float], other: list[float]) -> str:
    """The ratio of the best rounds, and the range of the rounds' own."""
    ratios = [a / b for a, b in zip(one, other, strict=True)]
    best = f"{max(one) / max(other):.2f}"
    return best if one is other else f"{best} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
