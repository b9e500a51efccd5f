"""The pages and numbers that the prepare and train steps show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from components.page import curve, heading, page, paragraph, table


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
    rejected = done["reasons"].items()
    first, last = done["window"]
    return page(
        f"Data: {source}",
        paragraph(f"Decisions from {first} to {last}. Fingerprint {done['fingerprint'][:16]}."),
        heading("Rows"),
        table(("", *tables), [(what.replace("_", " "), *numbers) for what, *numbers in counts]),
        heading("Refused, with reasons"),
        table(("reason", "rows"), rejected) if rejected else paragraph("Nothing was refused."),
        heading("How outcomes met decisions"),
        table(("", "count"), _scalars(done["join"])),
        paragraph(
            f"{done['censored']:,} decisions were left out because their outcome window was still open.", note=True
        ),
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
    curves = [curve(values, name) for name, values in _lists(done["history"])]
    return page(
        f"Training: {done['learner']}",
        paragraph(
            f"{done['rows']:,} decisions of {done['users']:,} users, {done['seconds']:.1f} s, seed {done['seed']}. "
            f"Fingerprint {done['fingerprint'][:16]}."
        ),
        heading("Objectives: weight, and how well the reward model that evaluation uses is calibrated"),
        table(("objective", "weight", *(name.replace("_", " ") for name in columns)), rows),
        paragraph("Measured on users held out inside the training set. A slope of 1 needs no correction.", note=True),
        heading("Settings"),
        table(("", "value"), [*_scalars(done["params"]), *_scalars(done["settings"])]),
        *([heading("Histories"), *curves] if any(curves) else []),
        heading("Artifacts"),
        table(("artifact", "SHA-256"), _scalars(done["digests"])),
    )


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
