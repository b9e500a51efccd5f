"""Users' contributions to a mean, as estimators hand them to intervals."""

import numpy as np

from homing.ope.intervals import Contributions, Part


def mean_of(x, extremes=None, limits=None, bounded=False, length=None):
    """Contributions of a mean over users' decisions: x are the users' sums, `length` their numbers of decisions."""
    x = np.asarray(x, dtype=float)
    length = np.ones(len(x)) if length is None else np.asarray(length, dtype=float)
    value = x.sum() / length.sum()
    psi = (x - value * length) / length.sum()
    if extremes is not None and np.ndim(extremes) == 1:  # the same at either end of the reward
        extremes = (extremes, extremes)
    parts = (Part(psi, length / length.sum()),)
    return Contributions(value, psi, parts, extremes, limits, bounded, int(length.sum()))
