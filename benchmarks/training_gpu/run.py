"""Claim: on a GPU learners decide as on a CPU, to the same bits each time, and large networks train far faster."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.measure import publish, table
from benchmarks.training_gpu.fits import Fit, apart, fit, last_bit_changed, speed
from benchmarks.training_gpu.inputs import DAYS, USERS, log
from homing.errors import describe
from homing.log import Batch, LoggedDataset

LEARNERS = ("behaviour-cloning", "double-dqn", "cql", "iql")
#: Steps of a learner's trainings: the few are taken off the many, which are less than a round.
FEW, MANY = 20, 300
#: Of larger networks, by settings: hidden units, rows of a step, members; steps on the GPU, and on the CPU.
LARGER = (((256, 256), 1_024, 1, (10, 100), (2, 20)), ((512, 512), 4_096, 4, (10, 100), (1, 5)))
ASKED = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--log", type=Path, help="folder of the log: made where there is none, or read")
    parser.add_argument("--steps", type=int, default=MANY)
    parser.add_argument("--device", default="cuda", help="with a CPU ('cpu:0') it is a rehearsal: nothing is published")
    args = parser.parse_args()
    try:
        torch.empty(0, device=args.device)
    except (RuntimeError, AssertionError):  # the latter where torch was built without
        step = "Run this on a machine with a GPU, and a PyTorch that is built for it."
        print(describe("device", args.device, "must be there", step), file=sys.stderr)
        raise SystemExit(2) from None
    with TemporaryDirectory() as scratch:
        data = log(args.log or Path(scratch) / "log", args.users)
    rows = np.sort(np.random.default_rng(1).choice(data.n, min(ASKED, data.n), replace=False))
    text = page(data, data.rows(rows), args.device, args.steps)
    if torch.device(args.device).type == "cpu":
        print(text)
    else:
        publish("training_gpu", text)


def page(data: LoggedDataset, asked: Batch, device: str, steps: int) -> str:
    """Speed and agreement on a device and one CPU thread."""
    fit("cql", {}, data, device, FEW)  # the device's start is not counted
    speeds, agreements = [], []
    for name in LEARNERS:
        there, here = ([fit(name, {}, data, where, steps) for _ in range(2)] for where in (device, "cpu"))
        with last_bit_changed():
            control = fit(name, {}, data, "cpu", steps)
        checked(name, *there, *here, control)
        few = [[fit(name, {}, data, where, FEW) for _ in range(2)] for where in (device, "cpu")]
        speeds.append(speeds_of(f"{name}, {shape({})}", (few[0], there), (few[1], [*here, control])))
        repeats = all(len({each.digest(data.objectives) for each in both}) == 1 for both in (there, here))
        found, least = (apart(each.policy, here[0].policy, asked) for each in (there[0], control))
        agreements.append(
            (name, f"{found[0]:.1%}", f"{least[0]:.1%}", f"{found[1]:.2g}", f"{least[1]:.2g}",
             "yes" if repeats else "**no**")
        )  # fmt: skip
        print(*speeds[-1], *agreements[-1][1:], sep=" · ", flush=True)
    for sizes, batch, members, gpu_steps, cpu_steps in LARGER:
        settings = {"sizes": sizes, "batch_rows": batch, "members": members}
        fit("cql", settings, data, device, gpu_steps[0])
        both = [
            [[fit("cql", settings, data, where, count)] for count in counts]
            for where, counts in ((device, gpu_steps), ("cpu", cpu_steps))
        ]
        speeds.append(speeds_of(f"cql, {shape(settings)}", (both[0][0], both[0][1]), (both[1][0], both[1][1])))
        print(*speeds[-1], sep=" · ", flush=True)
    seen = f"up to {data.candidates.shape[1]} candidates of {data.candidates.shape[2]} columns"
    columns = ("learner", "same likeliest candidate: GPU", "last bit", "mean distance: GPU", "last bit", "same digest")
    return (
        "## Training on a GPU\n\n"
        f"A log of `MessagingWorld`: {data.n:,} decisions of {data.n_users:,} users over {DAYS} days, {seen}. "
        f"{machine(device)}\n\n"
        + table(("training", "steps/s, GPU", "steps/s, one CPU thread", "×", "peak GPU memory, MiB"), speeds)
        + f"\n\nSteps a second are those from step {FEW} to {steps:,} (fewer of larger networks), of the fastest of "
        "two or three trainings each way; the log's way into tensors and looks at held-out users are not counted. "
        "Those of `iql` are of both of its networks.\n\n"
        "### Decisions\n\n"
        f"Policies after {steps:,} steps, on {len(asked.context):,} decisions: the GPU's against the CPU's of the same "
        "seed, and beside it the CPU's against itself where first parameters differ in their last bit, which is what "
        "another order of sums does at least. The distance of probabilities is half of Σ |p − q|. Each trained twice: "
        "whether both artifacts have the same digest, on the GPU and on the CPU.\n\n" + table(columns, agreements)
    )


def speeds_of(name: str, there: tuple[list[Fit], list[Fit]], here: tuple[list[Fit], list[Fit]]) -> tuple[str, ...]:
    """A line of the first table; (few, many) each."""
    gpu, cpu = (speed(*(min(fits, key=lambda each: each.seconds) for fits in side)) for side in (there, here))
    return name, f"{gpu:.0f}", f"{cpu:.3g}", f"{gpu / cpu:.1f}", f"{max(each.gpu_mib for each in there[1]):,.0f}"


def shape(settings: Mapping[str, Any]) -> str:
    """What a network's settings are, for people."""
    sizes, batch = settings.get("sizes", (128, 128)), settings.get("batch_rows", 256)
    members = settings.get("members", 1)
    return f"{sizes[0]}×{sizes[1]}, batch {batch:,}" + (f", {members} members" if members > 1 else "")


def checked(name: str, *fits: Fit) -> None:
    """Only what was learnt can be compared: without progress a learner returns what it started with."""
    if not all(each.learnt for each in fits):
        raise SystemExit(f"{name}: progress on held-out users == none, must be some. Take more --users or --steps.")


def machine(device: str) -> str:
    """What it ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    gpu = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "no GPU"
    return f"{gpu}; {cpu}, {os.cpu_count()} cores; PyTorch {torch.__version__}."


if __name__ == "__main__":
    main()
