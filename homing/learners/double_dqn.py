"""Double DQN (van Hasselt, Guez & Silver 2016) on a log, with a dueling head an objective."""

from __future__ import annotations

from dataclasses import dataclass

from homing.learners.q_learning import QLearner


@dataclass
class DoubleDQN(QLearner):
    """Minimises (Q_m(s, a) − r_m − γ^Δt Q'_m(s', a*))² for every objective m, a* = argmax_a Σ_m w_m Q_m(s', a).

    The best next candidate is chosen by the network and valued by a copy of it that is renewed now and then (equation 4
    of the paper), among what is eligible there. Q_m = V_m + A_m with silence's A at 0 (a dueling network, Wang et al.
    2016): V is what a user brings without a message.

    Wrong to trust alone: nothing keeps it from preferring what the log hardly ever tried, and of many such policies
    from one log only some beat the policy that logged it (Yuan et al. 2022, arXiv 2202.03867, found 38 of 128). Choose
    among them by off-policy evaluation; `CQL`, or members with caution, stay closer to what was tried.

    Settings are those of `QLearner` and `Optimised`.
    """
