"""Effects on what is rare: a share of those on what is common, or of what it tells itself, as far as that is sure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.estimates import interval

FloatArray = NDArray[np.float64]


def sure_shares(
    gram: FloatArray, moment: FloatArray, others: FloatArray, level: float, inflation: float = 1.0
) -> FloatArray:
    """The end nearest to 0 of each share's interval, (m,); 0 where the interval holds 0.

    A share is the slope of an objective's effect on that of others, or on what it tells itself: Σ_p θ_pᵀ moment_p /
    Σ_p θ_pᵀ gram_p θ_p, a ratio of sums over parts of users, each with a θ that saw none of its users. Its interval is
    told by the parts (linearised, Student's t), so that rows of one user and uneven noise do not make it too short.

    A weight multiplies what is not true of a share as well as what is, and it may be large: half of an uncertain share
    would be a dial that turns the wrong way in half of the logs. So what is not sure counts nothing.

    Args:
        gram: Σ ω z zᵀ of each part, (p, f, f), see `homing.learners.action_centred`.
        moment: Σ ω z y of each part, (p, f, m).
        others: θ, the effect on what is common, or on the objective itself, told without each part's users, (p, f).
        level: of the intervals.
        inflation: times which their standard errors count.

    Example:
        Three parts in which the share is 2, 2.1 and 1.9 of an effect of 1; and another objective without any.

        >>> one, effect = np.ones((3, 1, 1)), np.ones((3, 1))
        >>> sure_shares(one, np.array([[[2.0, 0.3]], [[2.1, -0.5]], [[1.9, 0.1]]]), effect, 0.95).round(2).tolist()
        [1.75, 0.0]
    """
    each = np.einsum("pf,pfm->pm", others, moment)
    scale = np.einsum("pf,pfg,pg->p", others, gram, others)
    out = np.zeros(moment.shape[2])
    if scale.sum() <= 0.0:  # nothing is told of the others either
        return out
    share = each.sum(axis=0) / scale.sum()
    for i, psi in enumerate(((each - scale[:, None] * share) / scale.sum()).T):
        found = interval(float(share[i]), inflation * psi, level)
        out[i] = max(found.lower, 0.0) + min(found.upper, 0.0)
    return out
