"""What is wrong with a log, or odd about it, before a policy is learnt from its sequences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.transitions import Gaps
from homing.log import LoggedDataset

#: In days.
SECOND = 1.0 / 86_400


def findings(dataset: LoggedDataset, weights: NDArray[np.float64], gaps: Gaps) -> dict[str, str]:
    """Named warnings for the report: sentences that say what was found and what follows from it.

    Args:
        dataset: the log.
        weights: (m,).
        gaps: of the log.

    Raises:
        InvalidInputError: if nothing can be learnt: no decision had a choice, or no weighted objective ever varies.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((2, 1)), candidates=np.zeros((2, 2, 1)), eligible=np.ones((2, 2), bool), action=[0, 1],
        ...     propensity=[0.5, 0.5], reward=[[0.0], [1.0]], objectives=("clicked",), user=[0, 1], time=[0, 1])
        >>> sorted(findings(data, np.ones(1), Gaps.of(data)))
        ['candidates-alike', 'constant-features', 'contextual-bandit']
    """
    choices = dataset.eligible.sum(axis=1)
    if choices.max(initial=0) < 2:
        raise InvalidInputError(
            describe(
                "eligible candidates of a decision",
                int(choices.max(initial=0)),
                "must be >= 2 somewhere",
                "Log decisions between a message and silence: where there is no choice there is nothing to learn.",
            )
        )
    constant = dataset.reward.min(axis=0) == dataset.reward.max(axis=0)
    names = np.array(dataset.objectives)
    if constant[weights != 0].all():
        raise InvalidInputError(
            describe(
                "rewards",
                dict(zip(names.tolist(), dataset.reward[0].tolist(), strict=True)),
                "must vary",
                "The objectives that count are the same in every row: look at their kinds and windows.",
            )
        )
    out: dict[str, str] = {}
    if constant.any():
        out["constant-rewards"] = (
            f"{', '.join(names[constant])}: the same in every row, so that nothing is learnt of it."
        )
    if abs(weights.sum()) < 1e-9 * np.abs(weights).sum():
        out["weights-sum-to-zero"] = (
            f"The weights {weights.tolist()} sum to 0: the objectives are traded against each other, and what moves "
            "all of them alike counts nothing."
        )
    if (gaps.next == np.arange(dataset.n)).all():
        out["contextual-bandit"] = (
            "No user decided twice: there are no sequences, and only what a decision itself brings is learnt."
        )
    elif gaps.days.max() < SECOND:
        out["no-time-between-decisions"] = (
            "A user's decisions lie less than a second apart: nothing is discounted, and values grow with each."
        )
    flat = dataset.context.min(axis=0) == dataset.context.max(axis=0) if dataset.n else np.zeros(0, dtype=bool)
    if flat.any():
        out["constant-features"] = f"{int(flat.sum())} of {len(flat)} context columns never vary, and tell nothing."
    out |= _messages(dataset)
    return out


def _messages(dataset: LoggedDataset) -> dict[str, str]:
    """Whether candidates differ from each other, and whether more than one kind was ever sent."""
    store = dataset.candidates
    alike = (store.codes == store.codes[:1]).all() and (store.numeric == store.numeric[:1]).all()
    if alike:
        return {"candidates-alike": "All candidates have the same features: no message can be told from silence."}
    chosen = store.offsets[:-1] + dataset.action
    codes, numeric = store.codes[chosen], store.numeric[chosen]
    if (codes == codes[:1]).all() and (numeric == numeric[:1]).all():
        return {
            "one-action": "The log always chose the same candidate: what others would have brought is extrapolated."
        }
    return {}
