"""The pages and numbers that the prepare and train steps show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from components.page import curve, heading, page, paragraph, show, table

#: Lists up to this length are shown number by number, longer ones as a curve.
SHORT = 8


#: What became of an outcome or a decision at the join, in words; the sums stand first.
OUTCOMES = {
    "outcomes": "outcomes read",
    "joined": "counted for an objective",
    "attributed": "of these, without a decision id, attributed to the user's last decision",
    "late": "too late: after the objective's window",
    "before_decision": "before the decision that they name",
    "after_until": "after the end of the data",
    "censored": "of a decision whose window is still open",
    "duplicates": "further copies of an outcome",
    "orphans": "of a decision that is not in the log",
    "wrong_user": "of another user than the decision",
    "unlinked": "without a decision that they could belong to",
    "other_kinds": "of a kind that no objective counts",
}
DECISIONS = {
    "decisions": "decisions read",
    "rows": "used",
    "censored_decisions": "left out: their outcome window is still open",
    "duplicate_decisions": "further copies of a decision",
}


def data_page(done: Mapping[str, Any]) -> str:
    """What `homing.datasets.prepare` read, refused and wrote, from its report as a dictionary."""
    source = " and ".join([*([done["dataset"]] if done["dataset"] else []), *done["logs"]])
    tables = ("decisions", "outcomes")
    counts = [(what, *(done[what][name] for name in tables)) for what in ("read", "accepted", "rejected", "held_back")]
    parts = [
        (
            part,
            done["rows"][part],
            done["users"][part],
            *(done["mean_reward"][part][name] for name in done["objectives"]),
        )
        for part in ("train", "evaluation")
    ]
    rejected, join = done["reasons"].items(), done["join"]
    first, last = (_minute(time) for time in done["window"])
    return page(
        f"Data: {source}",
        paragraph(f"Decisions from {first} to {last} UTC. Fingerprint {done['fingerprint'][:16]}."),
        heading("Rows"),
        table(("", *tables), [(what.replace("_", " "), *numbers) for what, *numbers in counts]),
        heading("Refused, with reasons"),
        table(("reason", "rows"), rejected) if rejected else paragraph("Nothing was refused."),
        heading("How outcomes met decisions"),
        *(
            table((named[total], show(join[total])), [(named[key], join[key]) for key in keys if join[key]])
            for named in (OUTCOMES, DECISIONS)
            for total, *keys in [tuple(named)]
        ),
        paragraph("Where nothing is listed, nothing was left out.", note=True),
        table(("objective", "decisions with an outcome"), join["rows_with_outcome"].items()),
        heading("Split by user"),
        table(("part", "decisions", "users", *(f"mean {name}" for name in done["objectives"])), parts),
        paragraph(
            "No user stands in both parts, in this run or any other: the split is a hash of the user's id. "
            f"At most {done['shape']['k']} candidates a decision, {done['shape']['d']} context and "
            f"{done['shape']['c']} candidate features.",
            note=True,
        ),
    )


def training_page(done: Mapping[str, Any]) -> str:
    """How training went, from `homing.learners.train`'s report as a dictionary."""
    calibration = done["calibration"]
    columns = list(dict.fromkeys(name for item in calibration.values() for name in item))
    rows = [
        (objective, weight, *(calibration.get(objective, {}).get(name) for name in columns))
        for objective, weight in done["weights"].items()
    ]
    lists = _lists(done["history"])
    short = [(name, *values) for name, values in lists if len(values) <= SHORT]
    width = max((len(row) for row in short), default=0)
    curves = [curve(values, name) for name, values in lists if len(values) > SHORT]
    warnings = _scalars(done["warnings"])
    settings = [*_scalars(done["params"]), *_scalars(done["settings"])]
    settings += [(name, ", ".join(map(show, values))) for name, values in _lists(done["settings"])]
    return page(
        f"Training: {', '.join(done['learners'])}",
        paragraph(
            f"{done['rows']:,} decisions of {done['users']:,} users, {done['seconds']:.1f} s, seed {done['seed']}. "
            f"Fingerprint {done['fingerprint'][:16]}."
        ),
        heading("Objectives: weight, and how well the reward model that evaluation uses is calibrated"),
        table(("objective", "weight", *(name.replace("_", " ") for name in columns)), rows),
        paragraph(
            "Measured on users held out inside the training set. A slope of 1 needs no correction. The error is the "
            "mean gap between predicted and observed in ten bins, before and after calibration. The loss should be "
            "below the loss of the mean, which predicts the same for everybody.",
            note=True,
        ),
        *([heading("Warnings"), table(("warning", "what it means"), warnings)] if warnings else []),
        heading("Settings"),
        table(("setting", "value"), settings),
        *([heading("History")] if lists else []),
        *([table(("", *map(str, range(1, width))), [(*r, *[""] * (width - len(r))) for r in short])] if short else []),
        *curves,
        heading("Artifacts"),
        table(("artifact", "SHA-256"), _scalars(done["digests"])),
    )


def _minute(time: str | None) -> str:
    return "–" if time is None else datetime.fromisoformat(time).strftime("%Y-%m-%d %H:%M")


def log_plan(metrics: Any, report: Mapping[str, Any]) -> None:
    """Log a planning report's certificate, and what alternatives are worth; limits by name."""
    plan = dict(report["plan"])
    limits = {item["name"]: {key: value for key, value in item.items() if key != "name"} for item in plan["limits"]}
    log_numbers(metrics, {**plan, "limits": limits, "alternatives": report["alternatives"]})


def log_numbers(metrics: Any, numbers: Mapping[str, Any]) -> None:
    """Log the finite numbers of a nested mapping into a Metrics artifact, keys joined with "."."""
    for name, value in _scalars(numbers):
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            metrics.log_metric(name, float(value))


def _scalars(nested: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for name, value in nested.items():
        if isinstance(value, Mapping):
            out += _scalars(value, f"{prefix}{name}.")
        elif not isinstance(value, list | tuple):
            out.append((f"{prefix}{name}", value))
    return out


def _lists(nested: Mapping[str, Any], prefix: str = "") -> list[tuple[str, list[float]]]:
    out: list[tuple[str, list[float]]] = []
    for name, value in nested.items():
        if isinstance(value, Mapping):
            out += _lists(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and all(isinstance(v, int | float) and math.isfinite(v) for v in value):
            out.append((f"{prefix}{name}", value))
    return out
