"""A log made ready for learners over transitions: checked, split by user, on its device."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.examples import seed_of, validation_rows
from homing.learners.findings import findings
from homing.learners.learner import objective_weights
from homing.learners.transitions import Gaps, Transitions
from homing.log import LoggedDataset

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A log ready for learners over transitions.

    Attributes:
        transitions: its tensors.
        gaps: where journeys go on and end.
        train, held_out: rows whose future is known, of different users.
        weights: (m,).
        warnings: named, for the report.
        seed: of minibatches, drawn once.
        key: what tells this log and split from others, for checkpoints; costs a pass over the data.
    """

    transitions: Transitions
    gaps: Gaps
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    weights: FloatArray
    warnings: dict[str, str]
    seed: int
    key: Callable[[], dict[str, Any]]

    @classmethod
    def of(
        cls,
        dataset: LoggedDataset,
        weights: Mapping[str, float] | None,
        rng: np.random.Generator,
        *,
        validation_share: float,
        gone_after_days: float | None,
        device: str,
    ) -> Prepared:
        """Look at the log, split its users, and move it to the device."""
        importance = objective_weights(dataset, weights)
        gaps = Gaps.of(dataset, gone_after_days)
        warnings = findings(dataset, importance, gaps)
        for name, text in warnings.items():
            logger.warning("%s: %s", name, text)
        held = validation_rows(dataset.user, validation_share, rng)
        train, held_out = np.flatnonzero(~held & ~gaps.truncated), np.flatnonzero(held & ~gaps.truncated)
        for name, rows in (("training", train), ("held-out", held_out)):
            if not len(rows):
                raise InvalidInputError(
                    describe(
                        f"{name} decisions with a known future",
                        0,
                        "must be >= 1",
                        "Gather a longer log, or pass gone_after_days where users have left.",
                    )
                )
        transitions = Transitions.of(dataset, gaps, torch.device(device))
        seed = seed_of(rng)

        def key() -> dict[str, Any]:
            split = hashlib.sha256(held.tobytes()).hexdigest()
            log = {"data": dataset.fingerprint, "split": split, "gone_after_days": gaps.gone_after_days}
            return {**log, "weights": importance.tolist()}

        return cls(transitions, gaps, train, held_out, importance, warnings, seed, key)

    def scale(self, gamma: float, dataset: LoggedDataset) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation (m,) of the log's discounted returns: where values start, and their unit."""
        returns = self.gaps.returns(dataset.reward, gamma, dataset.user)[self.train]
        deviation = returns.std(axis=0)
        return returns.mean(axis=0), np.where(deviation > 0, deviation, 1.0)

    def settings(self) -> dict[str, Any]:
        """What was found in the log, for the report."""
        return {
            "transitions": len(self.train),
            "held-out transitions": len(self.held_out),
            "terminal": int(self.gaps.terminal.sum()),
            "truncated": int(self.gaps.truncated.sum()),
            "gone_after_days": self.gaps.gone_after_days,
        }
