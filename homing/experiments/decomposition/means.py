"""Means of two groups with the covariance of all of them: what every decomposition is a function of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import SupportError, describe

FloatArray = NDArray[np.float64]
#: Terms (…, K) of means (…, 2, p); analytic, so that it also takes complex means.
Terms = Callable[[NDArray[np.inexact]], NDArray[np.inexact]]
_STEP = 1e-100


@dataclass(frozen=True, eq=False)
class PairedMeans:
    """Means of p quantities per unit in a baseline and in a comparison group.

    Attributes:
        mean: float64 (2, p), baseline first.
        covariance: float64 (2p, 2p), of `mean` as one row after the other.
        n: units of each group, (2,).
        df: degrees of freedom, independent units minus one.
    """

    mean: FloatArray
    covariance: FloatArray
    n: tuple[int, int]
    df: int

    @classmethod
    def of_rows(
        cls,
        compared: NDArray[np.bool_],
        units: NDArray[np.int64] | None,
        places: NDArray[np.int64],
        values: FloatArray,
        size: int,
    ) -> PairedMeans:
        """Means per unit of sums over its rows.

        Each row adds `values` to the quantities at `places` of its unit; what a row does not name is 0. Units are what
        is independent: one that is in both groups (two periods of the same users) brings their covariance with it
        (Liang and Zeger, 1986, Biometrika 73). With one row a unit this is the sample covariance over n in each group.

        Args:
            compared: (n,), whether a row belongs to the comparison group.
            units: (n,), from 0; None where every row is a unit of its own.
            places: (n, c), which quantities, from 0.
            values: (n, c).
            size: p.

        Raises:
            SupportError: if a group has fewer than two units.
        """
        from scipy.sparse import csr_array

        group = compared.astype(np.int64)
        unit = np.arange(len(group)) if units is None else units
        present = np.unique(2 * unit + group)
        count = np.bincount(present % 2, minlength=2)
        for name, n in zip(("baseline", "comparison"), count.tolist(), strict=True):
            if n < 2:
                raise SupportError(describe(f"units of the {name} group", n, "must be >= 2", "Look at its name."))
        total = int(unit.max()) + 1
        width = places.shape[1]
        entries = (np.repeat(unit, width), (group[:, None] * size + places).reshape(-1))
        weights = (values / count[group][:, None]).reshape(-1)
        table = csr_array((weights, entries), shape=(total, 2 * size))  # entries of one place add up
        there = csr_array((1.0 / count[present % 2], (present // 2, present % 2)), shape=(total, 2))
        mean = np.asarray(table.sum(axis=0)).reshape(2, size)
        spread = np.zeros((2, 2 * size))
        spread[0, :size], spread[1, size:] = mean
        crossed = (table.T @ there).toarray() @ spread
        covariance = (table.T @ table).toarray() - crossed - crossed.T + spread.T @ (there.T @ there).toarray() @ spread
        unbiased = np.repeat(np.sqrt(count / (count - 1.0)), size)
        independent = len(np.unique(present // 2))
        df = independent - 2 if independent == len(present) else independent - 1
        return cls(mean, covariance * unbiased * unbiased[:, None], (int(count[0]), int(count[1])), df)

    def through(self, terms: Terms) -> tuple[FloatArray, FloatArray]:
        """Terms (K,) of the means, and their covariance (K, K) by the delta method.

        The derivative is the imaginary part of the terms at means moved by a tiny imaginary step, which has no
        cancellation and so is exact to rounding (Squire and Trapp, 1998, SIAM Review 40).
        """
        size = self.mean.size
        moved = self.mean.reshape(-1) + 1j * _STEP * np.eye(size)
        jacobian = np.imag(terms(moved.reshape(size, *self.mean.shape))).T / _STEP
        value = np.real(terms(self.mean)).astype(np.float64)
        return value, jacobian @ self.covariance @ jacobian.T
