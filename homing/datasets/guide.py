"""The data-set guide, written by a command: `homing datasets guide --path NAME=PATH … > docs/guides/datasets.md`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from homing.datasets.describing import Counts, Description, describe
from homing.datasets.registry import card, names, simulated

_HEAD = """\
# Data sets

Real data as decision logs in format 1, with the probability of every logged action. Homing ships none of it: each
section says where it comes from. One, `simulated-messaging`, is simulated, and says so in its name. Load one with

```python
from homing import datasets

log = datasets.load("hillstrom", path="hillstrom.csv")
```

or describe your copy with `homing datasets describe hillstrom --path hillstrom.csv`.

This page is written by `homing datasets guide --path NAME=PATH … > docs/guides/datasets.md`; the counts are those of
the copies that it was given.
"""


def guide(paths: Mapping[str, Path]) -> str:
    """The whole page in Markdown; data sets without a path, not fetchable or simulated, come without counts."""
    sections = [section(describe(name, paths.get(name), counted=simulated(name) is None)) for name in names()]
    return "\n".join([_HEAD, *sections])


def section(description: Description) -> str:
    """One data set's section: its card, then the counts of a copy where one was read."""
    about = card(description.name)
    lines = [static_part(description.name)]
    if description.counts is not None:
        lines += ["### One copy's counts", "", *_counts(description.counts), ""]
    elif about.needs_path:
        lines += ["No copy was read for this page.", ""]
    return "\n".join(lines)


def static_part(name: str) -> str:
    """What the page says of a data set whatever copy was read."""
    about = card(name)
    return "\n".join(
        [
            f"## {name}",
            "",
            f"{about.title}.",
            "",
            f"- **Source.** {about.source}",
            f"- **Licence.** {about.licence}.",
            f"- **`path`.** {about.files}.",
            f"- **Randomisation.** {about.randomisation}",
            "- **Caveats.**",
            *(f"  - {caveat}" for caveat in about.caveats),
            "",
        ]
    )


def _counts(counts: Counts) -> list[str]:
    chosen = ", ".join(f"{name} {n:,}" for name, n in list(counts.chosen.items())[:12])
    more = f", and {len(counts.chosen) - 12} more" if len(counts.chosen) > 12 else ""
    kinds = ", ".join(f"{name} {n:,}" for name, n in counts.outcomes_by_kind.items())
    low, high = counts.min_propensity, counts.max_propensity
    return [
        "| | |",
        "|---|---|",
        f"| decisions | {counts.decisions:,}, {counts.choices:,} of them with a choice |",
        f"| users | {counts.users:,} |",
        f"| candidates | at most {counts.max_candidates}, silence included |",
        f"| time | {counts.first} to {counts.last} |",
        f"| propensity of what was chosen | {low:.4g} to {high:.4g} |" if low is not None and high is not None else "",
        f"| chosen | {chosen}{more} |",
        f"| outcomes | {kinds} |",
    ]
