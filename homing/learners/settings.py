"""Settings that learners over transitions share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from homing.checks import check_count, check_positive, check_probability
from homing.engines import Engine, get_engine
from homing.errors import InvalidInputError, describe
from homing.learners.learner import two_layers
from homing.learners.prepared import Prepared
from homing.learners.prepared_parts import PreparedParts
from homing.learners.training import Loop, Member
from homing.log import LoggedDataset, PartedDataset
from homing.policies.wrappers import check_epsilon


@dataclass
class Optimised:
    """How the networks of a learner are trained.

    Attributes:
        gamma: discount per day, in (0, 1): 0.95 looks about three weeks ahead.
        epsilon: share of uniform exploration over what is eligible.
        sizes: of the two hidden layers.
        candidate_units: nonlinear units over candidate features; 0 takes them as they are.
        learning_rate, weight_decay: of AdamW.
        target_steps: steps between two copies to the target network.
        batch_rows: transitions of a step.
        steps: at most.
        patience: rounds without progress on held-out users before it stops; a round is a pass over the log, of 100
            steps at least and 500 at most.
        validation_share: of users held out for stopping.
        gone_after_days: a user who was silent for longer when the log ended has left, and earns nothing more; None
            takes it from the log (see `Gaps.of`).
        member_seed: of the (first) member's parameters.
        device: `cpu`, `cuda`, … With `cuda:1`, that GPU of this machine; on a cluster each worker is given one.
        checkpoint_dir: keeps the state after every round; the same fit goes on from there, to the same bits. With
            processes on several machines it must be a folder that all can reach.
        engine: where networks are trained: `process`, here; `ray`, in processes of a Ray cluster; or an `Engine`.
        workers: processes that train together, each on users of its own. A step has `batch_rows` transitions in all.
        report: how the last fit went.
    """

    #: Whether rewards are learnt from: without, a log whose rewards never vary is as good as any.
    reads_rewards: ClassVar[bool] = True

    gamma: float = 0.95
    epsilon: float = 0.1
    sizes: Sequence[int] = (128, 128)
    candidate_units: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    target_steps: int = 50
    batch_rows: int = 256
    steps: int = 20_000
    patience: int = 15
    validation_share: float = 0.2
    gone_after_days: float | None = None
    member_seed: int = 0
    device: str = "cpu"
    checkpoint_dir: str | Path | None = None
    engine: str | Engine = "process"
    workers: int = 1
    report: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.gamma = check_probability("gamma", self.gamma)
        self.epsilon = check_epsilon(self.epsilon)
        self.sizes = two_layers("sizes", self.sizes)
        self.candidate_units = check_count("candidate_units", self.candidate_units, least=0)
        self.learning_rate = check_positive("learning_rate", self.learning_rate)
        self.weight_decay = not_negative("weight_decay", self.weight_decay)
        for name in ("target_steps", "batch_rows", "steps", "patience"):
            setattr(self, name, check_count(name, getattr(self, name)))
        self.validation_share = check_probability("validation_share", self.validation_share)
        if self.gone_after_days is not None:
            self.gone_after_days = not_negative("gone_after_days", self.gone_after_days)
        self.member_seed = check_count("member_seed", self.member_seed, least=0)
        check_device(self.device)
        self.workers = check_count("workers", self.workers)
        if self.workers > self.batch_rows:
            raise InvalidInputError(describe("workers", self.workers, f"must be <= {self.batch_rows}, the batch_rows"))
        if not isinstance(self.engine, str) and not hasattr(self.engine, "here"):
            raise InvalidInputError(describe("engine", self.engine, "must be 'process', 'ray' or an Engine"))
        here = get_engine(self.engine).here
        if here and self.workers > 1:
            raise InvalidInputError(describe("workers", self.workers, "must be 1 in one process", "Take engine='ray'."))
        place = torch.device(self.device)
        if not here and place.type != "cpu" and place.index is not None:
            step = f"Each worker is given one of its own: take {place.type!r}."
            raise InvalidInputError(describe("device", self.device, "must be without a number on a cluster", step))

    def begin(
        self, dataset: LoggedDataset | PartedDataset, weights: Mapping[str, float] | None, rng: np.random.Generator
    ) -> Prepared | PreparedParts:
        """The log, looked at and split by user."""
        if isinstance(dataset, PartedDataset):
            return PreparedParts.of(
                dataset, weights, rng, validation_share=self.validation_share, gone_after_days=self.gone_after_days,
                rewards=self.reads_rewards,
            )  # fmt: skip
        return Prepared.of(
            dataset, weights, rng, validation_share=self.validation_share, gone_after_days=self.gone_after_days,
            device=self.device, rewards=self.reads_rewards,
        )  # fmt: skip

    def network(self, seed: int) -> Member:
        """One network with parameters of its own."""
        first, second = self.sizes
        return Member(seed, (first, second), self.learning_rate, self.weight_decay, self.target_steps)

    def loop(self, part: str = "") -> Loop:
        """The training loop; `part` names a folder of its own for checkpoints where several networks are trained."""
        folder = None if self.checkpoint_dir is None else Path(self.checkpoint_dir) / part
        return Loop(self.steps, self.batch_rows, self.patience, self.device, folder, self.engine, self.workers)


def not_negative(name: str, value: object) -> float:
    """Return a setting as a float.

    Raises:
        InvalidInputError: if it is not a finite number >= 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InvalidInputError(describe(name, value, "must be a number >= 0"))
    return float(value)


def check_device(device: object) -> None:
    """Check that it is the name of a kind of device that torch knows; whether there is one shows when it is used.

    Raises:
        InvalidInputError: if it is not.
    """
    try:
        torch.device(str(device))
    except RuntimeError as error:
        bound = "must be a device of torch: 'cpu', 'cuda', 'cuda:1', …"
        raise InvalidInputError(describe("device", device, bound)) from error
