"""Claim: a fit takes about twice d3rlpy's gradient steps in a CPU second, and nine tenths of a bare PyTorch loop's."""

from __future__ import annotations

import argparse
import sys

from benchmarks.measure import PEERS, publish, run, table
from benchmarks.training_speed import inputs

SIDES = (
    ("Homing, fit", "ours", sys.executable),
    ("PyTorch, a bare loop", "bare", sys.executable),
    ("d3rlpy 2.8.1, fit", "peer", PEERS),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    args = parser.parse_args()
    lines = []
    for algorithm in inputs.CONSERVATISM:
        found = {name: run(f"benchmarks.training_speed.{side}", algorithm, args.steps, python=python)
                 for name, side, python in SIDES}  # fmt: skip
        speed = {name: args.steps / side.best_cpu_s for name, side in found.items()}
        _, bare, peer = speed.values()
        lines += [(f"{algorithm}: {name}", f"{each:.0f}", f"{each / bare:.2f}", f"{each / peer:.2f}")
                  for name, each in speed.items()]  # fmt: skip
    publish(
        "training_speed",
        f"## Gradient steps per CPU second\n\n"
        f"{inputs.USERS * inputs.LENGTH:,} decisions, {inputs.FEATURES} features, {inputs.ACTIONS} actions; layers of "
        f"{'×'.join(map(str, inputs.SIZES))}, batches of {inputs.BATCH}, {args.steps:,} steps, one thread; the best "
        "of three runs a side.\n\n"
        + table(("side", "steps a CPU second", "× bare loop", "× d3rlpy"), lines)
        + "\n\nHoming's `fit` includes the checks of the log, its way into tensors, the value head that d3rlpy's "
        "network lacks, and looks at held-out users.",
    )


if __name__ == "__main__":
    main()
