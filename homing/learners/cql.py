"""Conservative Q-learning (Kumar, Zhou, Tucker & Levine 2020, NeurIPS) for candidates, on top of Double DQN."""

from __future__ import annotations

from dataclasses import dataclass

from homing.learners.q_learning import QLearner
from homing.learners.settings import not_negative


@dataclass
class CQL(QLearner):
    """Double DQN's loss + conservatism · (log Σ_a exp Q(s, a) − Q(s, a_logged)), the paper's CQL(H), equation 4.

    The sum is over what was eligible, and Q = Σ_m w_m Q_m in standard deviations of the log's weighted returns, so that
    one setting means the same in every log. V_m is in both terms and falls out: only what messages add to silence is
    pulled down. The first term is a soft maximum, so that candidates which the log tried less than their values call
    for lose; with enough conservatism what comes out is a lower bound on what the policy earns (theorem 3.2).

    Wrong to use where the log tried everything evenly: it then biases for nothing. With much conservatism the policy
    becomes a clone of what was logged most.

    Args:
        conservatism: α of the paper.

    Other settings are those of `QLearner` and `Optimised`.
    """

    conservatism: float = 0.1  # type: ignore[misc]  # a setting here, 0 for all others

    def __post_init__(self) -> None:
        super().__post_init__()
        self.conservatism = not_negative("conservatism", self.conservatism)
