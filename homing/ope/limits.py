"""Where the verdict on a log's support turns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SupportLimits:
    """Where `fine` ends and where nothing can be said. Rules of thumb, held against the coverage simulation in tests.

    Attributes:
        refuse_ess, caution_ess: effective sample size of the weights.
        refuse_users, caution_users: effective number of users, after weighting.
        caution_top_share, refuse_top_share: share of all weight that one user carries.
        caution_unsupported, refuse_unsupported: share of the policy's choices that the log never made.
        caution_events: effective number of users with events, for each objective; below, normal intervals are too
            narrow (measured coverage 66 % at a nominal 95 % for rates near 0.5 %).
        caution_skewness: of an objective's mean; beyond, normal intervals are too short on one side. 0.15 is a rate
            with about 45 events; with lognormal sums 10,000 decisions are beyond it, where t intervals cover 82 to
            88 %.
    """

    refuse_ess: float = 30.0
    caution_ess: float = 200.0
    refuse_users: float = 8.0
    caution_users: float = 50.0
    caution_top_share: float = 0.1
    refuse_top_share: float = 0.5
    caution_unsupported: float = 0.001
    refuse_unsupported: float = 0.05
    caution_events: float = 10.0
    caution_skewness: float = 0.15
