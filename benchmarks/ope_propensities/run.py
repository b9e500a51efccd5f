"""Claim: propensities that were logged wrongly are found in 95 % of logs of 10⁵ rows, and true ones raise no alarm.

Each log is drawn by a logging policy of its own kind, written down truly and in each wrong way, and judged by
`propensity_calibration`, which sees the log alone and no policy.
"""

from __future__ import annotations

import argparse
import resource
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from scipy.stats import binomtest

from benchmarks.measure import publish, table
from benchmarks.ope_propensities.worlds import BREAKS, Logging
from homing.ope.diagnostics import propensity_calibration
from homing.ope.diagnostics.propensity import CAUTION_P

#: Logging policies, from near uniform to near deterministic; candidates, silence included.
POLICIES = (
    Logging("softmax, near uniform, 2", 2, "softmax", 0.3),
    Logging("softmax, near uniform, 10", 10, "softmax", 0.3, True),
    Logging("softmax, 5", 5, "softmax", 1.0),
    Logging("softmax, 50", 50, "softmax", 1.0, True),
    Logging("softmax, peaked, 5", 5, "softmax", 3.0),
    Logging("softmax, peaked, 10", 10, "softmax", 3.0, True),
    Logging("softmax, very peaked, 10", 10, "softmax", 5.0),
    Logging("softmax, peaked, 50", 50, "softmax", 3.0),
    Logging("10% explored, 5", 5, "epsilon", 0.9, True),
    Logging("10% explored, 50", 50, "epsilon", 0.9),
    Logging("50% explored, 10", 10, "epsilon", 0.5),
    Logging("50% explored, 50", 50, "epsilon", 0.5, True),
    Logging("the same for everybody, 10", 10, "fixed", 1.0),
    Logging("half of decisions certain, 10", 10, "partly", 1.0, True),
    Logging("by candidate features, up to 10", 10, "candidates", 1.0),
)
SIZES = (10_000, 100_000)
TRUE = "true"


def study(policy: Logging, rows: int, logs: int, seed: int) -> Counter[str]:
    """Logs that raised an alarm, by how they were written down."""
    rng = np.random.default_rng([seed, rows])
    alarms: Counter[str] = Counter()
    for _ in range(logs):
        log = policy.draw(rows, rng)
        alarms[TRUE] += propensity_calibration(log).verdict != "fine"
        for name, wrong in BREAKS.items():
            alarms[name] += propensity_calibration(wrong(log, rng)).verdict != "fine"
    return alarms


def clean(policy: Logging, rows: int, logs: int, seed: int) -> int:
    """True logs that raised an alarm."""
    rng = np.random.default_rng([seed, rows, 1])
    return sum(propensity_calibration(policy.draw(rows, rng)).verdict != "fine" for _ in range(logs))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--logs", type=int, default=5, help="of each policy and size (default: %(default)s)")
    parser.add_argument("--clean", type=int, default=29, help="true logs beside, of each (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    args = parser.parse_args()
    cells = [(policy, rows, seed) for rows in SIZES for seed, policy in enumerate(POLICIES)]
    with ProcessPoolExecutor(args.workers) as pool:
        found = [pool.submit(study, policy, rows, args.logs, seed) for policy, rows, seed in cells]
        beside = [pool.submit(clean, policy, SIZES[-1], args.clean, seed) for seed, policy in enumerate(POLICIES)]
        alarms = {(policy.name, rows): item.result() for (policy, rows, _), item in zip(cells, found, strict=True)}
        more = sum(item.result() for item in beside)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    publish("ope_propensities", text(alarms, args.logs, more, args.clean, used.ru_utime + used.ru_stime))


def text(alarms: dict[tuple[str, int], Counter[str]], logs: int, more: int, clean_logs: int, cpu_s: float) -> str:
    """The result as Markdown."""
    total = logs * len(POLICIES)
    sums = {rows: Counter[str]() for rows in SIZES}
    for (_, rows), counts in alarms.items():
        sums[rows].update(counts)
    detected = [(name, *(_share(sums[rows][name], total) for rows in SIZES)) for name in BREAKS]
    by_policy = [
        (policy.name, *(f"{alarms[policy.name, SIZES[-1]][name]} of {logs}" for name in BREAKS)) for policy in POLICIES
    ]
    drawn, raised = total + clean_logs * len(POLICIES), sums[SIZES[-1]][TRUE] + more
    return "\n\n".join(
        [
            "## Wrong propensities found, without a policy to evaluate",
            f"{logs} logs of each of {len(POLICIES)} logging policies, drawn anew for each log; a third of them have "
            "users who come back. Only the chosen candidates' propensities are logged. Found: the verdict of "
            "`propensity_calibration` is not fine. In brackets, the exact 95% binomial interval.",
            table(("propensities logged", *(f"{rows:,} rows" for rows in SIZES)), detected),
            f"### By logging policy, {SIZES[-1]:,} rows",
            table(("policy, candidates", *BREAKS), by_policy),
            "### False alarms",
            f"Of true logs: {_share(raised, drawn)} of {drawn:,} at {SIZES[-1]:,} rows, "
            f"{_share(sums[SIZES[0]][TRUE], total)} of {total:,} at {SIZES[0]:,}. The nominal level of a caution is "
            f"{CAUTION_P:.1%}.",
            f"{cpu_s:.0f} CPU s.",
        ]
    )


def _share(count: int, total: int) -> str:
    """A share with its exact binomial interval (Clopper and Pearson, 1934)."""
    lower, upper = binomtest(count, total).proportion_ci(0.95)
    return f"{count / total:.1%} [{lower:.1%}, {upper:.1%}]"


if __name__ == "__main__":
    main()
