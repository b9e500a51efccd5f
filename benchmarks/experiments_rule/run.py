"""Claim: the decision rule ships what it should not in at most 5 % of experiments, and what it should in 80 %.

Experiments are drawn with a known truth and decided by the plan's own bounds and rule, at every look, until the first
decision. The table is also that of the guide.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.experiments_rule.studies import Line, margins, one_metric, sample_ratios, users, whole_rule
from benchmarks.measure import HERE, publish, table

GUIDE = HERE.parent / "docs" / "guides" / "experiments.md"
BEGIN, END = "<!-- written by benchmarks/experiments_rule -->", "<!-- end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--experiments", type=int, default=10_000, help="in each row (default: %(default)s)")
    parser.add_argument("--users", type=int, default=300, help="of users one by one (default: %(default)s)")
    args = parser.parse_args()
    began = time.process_time()
    n = args.experiments
    rngs = iter(np.random.default_rng(20_260_101).spawn(5))
    studies = {
        "metric": list(one_metric(n, next(rngs))),
        "rule": list(whole_rule(n, next(rngs))),
        "margin": list(margins(n, next(rngs))),
        "ratio": list(sample_ratios(n, next(rngs))),
        "users": list(users(args.users, next(rngs))),
    }
    shown = text(studies, n, args.users)
    publish(
        "experiments_rule",
        f"## What plans do in experiments with a known truth\n\n{shown}\n\n{time.process_time() - began:.0f} CPU s.",
    )
    if GUIDE.is_file() and BEGIN in (page := GUIDE.read_text(encoding="utf-8")):
        before, rest = page.split(BEGIN)
        GUIDE.write_text(f"{before}{BEGIN}\n\n{shown}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


def text(studies: dict[str, list[Line]], n: int, n_users: int) -> str:
    """The result as Markdown."""
    missed = [line for lines in studies.values() for line in lines if not line.holds]
    named = "\n".join(f"- {', '.join(line.name)}: {_told(line)}, {line.bar}." for line in missed)
    return "\n\n".join(
        [
            f"{n:,} experiments a row, seeded; in brackets 95 % intervals (Clopper–Pearson). Bars are three standard "
            "errors of 10,000 experiments beyond what is promised: 5 % false ships, 80 % power.",
            "### One metric, two-sided 5 %, looked at on thirty days",
            table(("design", "", "found", "bar"), _rows(studies["metric"])),
            "### The whole rule: 5 success metrics, 5 guardrails, 2 more that must not fall, 2 quality tests",
            "How often the treatment ships: where nothing changes, where one success metric gains its minimum "
            "detectable effect, and where all five do. Each test is planned just at its power, the hardest case.",
            _rule(studies["rule"]),
            "### Treatments that gain, and lie at a guardrail's margin",
            "How often any of them ships; `alpha` is what each non-inferiority test would have if it were not divided.",
            table(("treatments", "looks", "level of guardrails", "ships", "bar"), _rows(studies["margin"])),
            "### Sample ratio: halves, 12,000 users in 30 days, watched daily",
            table(("test", "truth", "alarms", "bar"), _rows(studies["ratio"])),
            "### Users one by one",
            f"{n_users:,} experiments a row: a share and a skewed mean (winsorised, with a covariate) as success "
            "metrics, a share and a ratio as guardrails, size planned from a history of 50,000 users, ten looks, from "
            "users to sums, scorecards and the rule. The bar is that the 95 % interval reaches what is promised.",
            table(("plan", "truth", "ships", "bar"), _rows(studies["users"])),
            "### Against the claim",
            f"Rows beyond their bar:\n\n{named}" if named else "Every row with a bar is within it.",
        ]
    )


def _rows(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    return [(*line.name, _told(line), _bar(line)) for line in lines]


def _rule(lines: Sequence[Line]) -> str:
    """One row for each design and structure, the three truths beside each other."""
    rows: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        mark = "" if line.holds else " (!)"
        rows.setdefault((line.name[0], line.name[1]), []).append(f"{line.found.value:.1%}{mark}")
    header = ("design", "metrics", "nothing changes", "one gains", "all gain")
    bars = ("**bar** for corrected designs", "", "at most 5.65%", "at least 78.8%", "at least 78.8%")
    return table(header, [*((*key, *cells) for key, cells in rows.items()), bars])


def _told(line: Line) -> str:
    return f"{line.found.value:.2%} [{line.found.lower:.2%}, {line.found.upper:.2%}]"


def _bar(line: Line) -> str:
    return "–" if (line.least, line.most) == (0.0, 1.0) else line.bar


if __name__ == "__main__":
    main()
