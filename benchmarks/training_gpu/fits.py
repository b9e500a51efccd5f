"""One training: what it learnt, how long its steps took, and the GPU memory that it held."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.training_gpu.inputs import WEIGHTS
from homing.engines import InProcess
from homing.learners import make
from homing.learners.network import Network
from homing.log import Batch, LoggedDataset
from homing.policies import Policy, save_policy

SEED = 8


@dataclass(frozen=True)
class Clocked(InProcess):
    """Trains here, and takes the time of each network's training loop: (steps, seconds)."""

    taken: list[tuple[int, float]] = field(default_factory=list)

    def together(self, work: Callable[[], Any], *, workers: int, gpus: bool, folder: Path | None) -> Any:
        """See `Engine.together`."""
        began = time.perf_counter()
        found = super().together(work, workers=workers, gpus=gpus, folder=folder)
        # The parameters have come back to the host by now: nothing that a GPU was asked for is still to be done.
        self.taken.append((found[1].step, time.perf_counter() - began))
        return found


@dataclass(frozen=True)
class Fit:
    """A policy, and what its training cost.

    Attributes:
        policy: what was learnt.
        steps: of all its networks.
        seconds: of the training loops, looks at held-out users included.
        gpu_mib: the most GPU memory that tensors took; 0 on a CPU.
        learnt: whether held-out users saw progress.
    """

    policy: Policy
    steps: int
    seconds: float
    gpu_mib: float
    learnt: bool

    def digest(self, objectives: tuple[str, ...]) -> str:
        """Of its artifact."""
        with TemporaryDirectory() as name:
            return save_policy(self.policy, Path(name) / "policy", objectives=objectives)


def fit(name: str, settings: Mapping[str, Any], data: LoggedDataset, device: str, steps: int) -> Fit:
    """Train once."""
    gpu = torch.device(device).type == "cuda"
    if gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    clock = Clocked()
    learner: Any = make(name, steps=steps, patience=steps, device=device, engine=clock, **settings)
    policy = learner.fit(data, weights=WEIGHTS, rng=np.random.default_rng(SEED))
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if gpu else 0.0
    taken, seconds = (sum(values) for values in zip(*clock.taken, strict=True))
    return Fit(policy, int(taken), seconds, peak, "no-progress" not in learner.report["warnings"])


def speed(few: Fit, many: Fit) -> float:
    """Steps a second: those that one training took beyond another. What both did once, such as looks, falls out."""
    return (many.steps - few.steps) / (many.seconds - few.seconds)


@contextmanager
def last_bit_changed() -> Iterator[None]:
    """Meanwhile, what networks start with is off by its last bit: the least that another order of sums does."""
    new = Network.new

    def changed(*args: Any) -> Network:
        net = new(*args)
        return Network(net.form, torch.nextafter(net.flat, torch.full_like(net.flat, torch.inf)) * (net.flat != 0))

    with mock.patch.object(Network, "new", changed):
        yield


def apart(one: Policy, other: Policy, asked: Batch) -> tuple[float, float]:
    """Of decisions, the share whose likeliest candidate is the same; and half the mean of Σ |p − q| over candidates."""
    p, q = (each.action_probs(asked.context, asked.candidates, asked.eligible) for each in (one, other))
    same = (p.argmax(axis=1) == q.argmax(axis=1)).mean()
    return float(same), float(np.abs(p - q).sum(axis=1).mean() / 2)
