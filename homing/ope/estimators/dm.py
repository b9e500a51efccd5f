"""The direct method: what the reward model says."""

from __future__ import annotations

from dataclasses import dataclass

from homing.ope.estimators.base import RowEstimate, Rows, linear, model_terms


@dataclass(frozen=True)
class DM:
    """V = mean(Σ_a π(a|x) q̂(x,a)): the model's opinion, with no correction by the log.

    Its interval covers which users came, given the model; that the model may be wrong is not in it. So it is as narrow
    for a bad model as for a good one, and wrong to decide on: read it beside `dr`, whose distance from it shows the
    model's error.

    References:
        Dudík, Erhan, Langford and Li (2014), "Doubly Robust Policy Evaluation and Optimization", section 2.

    Example:
        >>> import numpy as np
        >>> rows = Rows(np.ones(2), np.ones(2), q_logged=np.zeros(2), q_policy=np.array([0.25, 0.75]))
        >>> DM()(rows).value
        0.5
    """

    name: str = "dm"
    needs_q_hat: bool = True

    def __call__(self, rows: Rows) -> RowEstimate:
        predicted, residual = model_terms(rows)
        return linear(predicted, max_weight=0.0, unbiased=linear(predicted + rows.weight * residual))
