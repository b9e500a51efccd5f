"""Biases that intervals do not cover: how large the log allows them to be, and when a report says so."""

from __future__ import annotations

from collections.abc import Mapping

from homing.ope.estimate import Clusters, Estimate, cluster_influence, interval
from homing.ope.estimators import RowEstimate
from homing.pages import number

#: A bias that an interval does not cover is named from half a standard error on, which costs a 95% interval 2%.
BIAS_ERRORS = 0.5


def possible_bias(result: RowEstimate, unbiased: RowEstimate, clusters: Clusters, level: float) -> float:
    """How far an estimate may be from what it would be without bias: the far end of their difference's interval."""
    psi = cluster_influence(result.influence - unbiased.influence, clusters)
    moved = interval(result.value - unbiased.value, psi, level)
    return max(abs(moved.lower), abs(moved.upper))


def bias_notes(bias: Mapping[tuple[str, str], float], estimates: Mapping[tuple[str, str], Estimate]) -> tuple[str, ...]:
    """A sentence on the biases that intervals do not cover and the log cannot exclude, if there are any."""
    found = [
        f"{number(size)} in {name} of {objective}"
        for (name, objective), size in bias.items()
        if (name, objective) in estimates and size > BIAS_ERRORS * estimates[name, objective].std_error
    ]
    if not found:
        return ()
    return (f"Caution: not covered by its interval is a possible bias of up to {', '.join(found)}.",)
