"""Inverse propensity scoring."""

from __future__ import annotations

from dataclasses import dataclass

from homing.ope.estimators.base import RowEstimate, Rows, linear


@dataclass(frozen=True)
class IPS:
    """V = mean(w r). Unbiased under full support; its variance grows with the weights, and with a shift of the reward.

    Wrong to use where the policy does what the log never did: that mass silently counts as reward 0.

    References:
        Horvitz and Thompson (1952); Dudík, Erhan, Langford and Li (2014), "Doubly Robust Policy Evaluation and
        Optimization", section 2.

    Example:
        >>> import numpy as np
        >>> IPS()(Rows(weight=np.array([2.0, 0.0]), reward=np.array([1.0, 1.0]))).value
        1.0
    """

    name: str = "ips"
    needs_q_hat: bool = False

    def __call__(self, rows: Rows) -> RowEstimate:
        return linear(rows.weight * rows.reward, plain=True)
