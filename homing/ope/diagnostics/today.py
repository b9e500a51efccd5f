"""Today's decisions, which have neither actions nor rewards yet, beside a log."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_shape
from homing.errors import InvalidInputError, describe
from homing.log.candidates import CandidateStore
from homing.log.dataset import LoggedDataset
from homing.ope.estimate import Clusters
from homing.ope.messages import Messages

FloatArray = NDArray[np.float64]
#: Messages whose eligibility is compared one by one, those most often eligible first.
MAX_MESSAGES = 50
#: The feature that is how much choice a decision leaves, among messages that both know.
CHOICES = "eligible candidates"


@dataclass(frozen=True, eq=False)
class Today:
    """What is to be decided: in the log's own columns.

    Attributes:
        context: (n, d).
        candidates: (n, k, c) or a `CandidateStore`, encoded as the log's.
        eligible: bool (n, k).
        user: (n,), the log's user ids (or codes where it has no ids); None where nobody can be told to be in both.
    """

    context: ArrayLike
    candidates: CandidateStore | ArrayLike
    eligible: ArrayLike
    user: ArrayLike | None = None

    def as_log(self, log: LoggedDataset) -> LoggedDataset:
        """These decisions in the form of a log, each taking its first eligible candidate for a reward of 0.

        Raises:
            InvalidInputError: if they have other columns than the log, or a decision has no eligible candidate.
        """
        eligible = np.asarray(self.eligible, dtype=bool)
        n = len(eligible)
        check_shape("today.context", self.context, (n, log.context.shape[1]), next_step="Encode it as the log's.")
        if n == 0 or not eligible.any(axis=1).all():
            row = int(np.argmin(eligible.any(axis=1))) if n else 0
            raise InvalidInputError(
                describe(f"today.eligible[{row}]", "none", "must hold a candidate", "Silence is one, if nothing else.")
            )
        return replace(
            log,
            context=np.asarray(self.context, dtype=np.float32),
            candidates=self.candidates,  # type: ignore[arg-type]  # coerced, as the log's own
            eligible=eligible,
            action=eligible.argmax(axis=1),
            propensity=np.ones(n),
            reward=np.zeros((n, len(log.objectives))),
            user=np.arange(n),
            time=np.arange(n),
            next=None,
            user_ids=None,
            probs=None,
        )

    def clusters(self, log: LoggedDataset) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Clusters of the log's rows and of these, numbered together: a user who is in both is one."""
        own = Clusters.of(log.user)
        if self.user is None:
            n = len(np.asarray(self.eligible))
            return own.code, own.count + np.arange(n), own.count + n
        theirs = check_shape("today.user", self.user, (len(np.asarray(self.eligible)),))
        mine = log.user if log.user_ids is None else log.user_ids[log.user]
        both = Clusters.of(np.concatenate([mine.astype(str), theirs.astype(str)]))
        return both.code[: log.n], both.code[log.n :], both.count


def shared_features(
    log: LoggedDataset, today: LoggedDataset
) -> tuple[tuple[str, ...], FloatArray, FloatArray, dict[str, tuple[float, float]]]:
    """What log and today are compared by: names, values of the log (n, F) and of today (m, F), and messages.

    The context's columns, the number of eligible candidates, and whether each message is eligible, where that varies
    in either; messages that are new or gone count nowhere, as nothing could be alike then. Messages: the share of
    decisions in which each is eligible, in the log and today.
    """
    names = log.encoder.context_names if log.encoder is not None else ()
    if len(names) != log.context.shape[1]:
        names = tuple(f"context[{i}]" for i in range(log.context.shape[1]))
    counts = [_eligible(data) for data in (log, today)]
    shares = {}
    for name in sorted({*counts[0], *counts[1]}):
        then, now = (float((table[name] > 0).mean()) if name in table else 0.0 for table in counts)
        if max(then, now) > 0.0:
            shares[name] = then, now
    both = [name for name, (then, now) in shares.items() if then > 0 and now > 0]
    common = sorted((name for name in both if min(shares[name]) < 1), key=lambda name: -sum(shares[name]))
    columns = []
    for data, table in zip((log, today), counts, strict=True):
        choices = np.sum([table[name] for name in both], axis=0, dtype=np.float64) * np.ones(data.n)
        chosen = [(table[name] > 0).astype(np.float64) for name in common[:MAX_MESSAGES]]
        columns.append(np.column_stack([data.context.astype(np.float64), choices, *chosen]))
    labels = (*names, CHOICES, *(f"{name} is eligible" for name in common[:MAX_MESSAGES]))
    varies = np.maximum(columns[0].max(axis=0), columns[1].max(axis=0)) > np.minimum(
        columns[0].min(axis=0), columns[1].min(axis=0)
    )
    kept = tuple(label for label, keep in zip(labels, varies, strict=True) if keep)
    return kept, columns[0][:, varies], columns[1][:, varies], shares


def _eligible(data: LoggedDataset) -> dict[str, NDArray[np.int64]]:
    """How many eligible candidates of each decision are each message, (n,) by name."""
    messages = Messages.of(data)
    n, width = data.n, len(messages.names) + 1
    cell = np.where(data.eligible, messages.code + 1, 0) + (np.arange(n) * width)[:, None]
    counts = np.bincount(cell.reshape(-1), minlength=n * width).reshape(n, width)
    return {name: counts[:, i + 1] for i, name in enumerate(messages.names)}
