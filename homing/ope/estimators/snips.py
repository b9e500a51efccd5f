"""Self-normalised inverse propensity scoring."""

from __future__ import annotations

from dataclasses import dataclass, replace

from homing.ope.estimators.base import RowEstimate, Rows, self_normalised


@dataclass(frozen=True)
class SNIPS:
    """V = mean(w r) / mean(w). Consistent, invariant to a shift of the reward, and always inside its range.

    The interval is the delta method's: φ_i = w_i (r_i - V) / mean(w). The normaliser is random and treated so; holding
    it fixed is three times too wide for rewards near 1, and too narrow elsewhere.

    Wrong to use as proof of support: it hides that mean(w) is far from 1. Look at `Support.weight_mean`.

    References:
        Swaminathan and Joachims (2015), "The Self-Normalized Estimator for Counterfactual Learning";
        Owen (2013), "Monte Carlo theory, methods and examples", equation 9.8.

    Example:
        >>> import numpy as np
        >>> SNIPS()(Rows(weight=np.array([2.0, 1.0]), reward=np.array([1.0, 0.0]))).value
        0.6666666666666666
    """

    name: str = "snips"
    needs_q_hat: bool = False

    def __call__(self, rows: Rows) -> RowEstimate:
        return replace(self_normalised(rows.weight, rows.reward), plain=True)
