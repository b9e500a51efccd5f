"""`DecisionService`: mask → probabilities → draw → log → answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import EllipsisType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from homing.decisions.budgets import Account, Budgets
from homing.decisions.decision import Decision, GuardHit, Slice
from homing.decisions.guards import NO_CONSENT, Guard, HoldoutGuard
from homing.decisions.ledger import FeatureKind, Ledger, LedgerView, OutcomeCounts
from homing.decisions.model import Encoded, ServedPolicy, value_kind
from homing.decisions.requests import MAX_BATCH, SILENT, Consent, DecideRequest, Outcome, microseconds
from homing.decisions.slices import Slices
from homing.decisions.tally import Tally
from homing.errors import InvalidInputError, describe
from homing.log import new_ids
from homing.policies import PolicyArtifact, sample_actions

logger = logging.getLogger(__name__)

#: Channels that are counted by name; later ones count as "other".
MAX_CHANNELS = 100

Hits = tuple[tuple[GuardHit, ...], ...]
Weights = NDArray[np.float64] | None


class DecisionService:
    """Decides, and keeps what it decided; framework-free, safe for threads.

    The draw happens inside the ledger's transaction, after every guard: the logged propensity is the probability with
    which the logged action was drawn from what was left. Users are cut into fixed slices (see `Slices`), and the
    propensity is that of the user's slice. A model that fails, or answers with anything but probabilities over the
    eligible candidates, is replaced for that decision by silence with propensity 1 and policy `fallback@version`.

    Args:
        policy: the artifact to serve.
        guards: all of them are asked; each hit stands in the receipt.
        ledger: where decisions are committed before they are answered.
        version: the policy's version in the registry.
        budgets: population budgets with their prices; None for none.
        rng: draws the actions; a fresh one when None.
        uniform_share: share of users whose decisions are uniform-random among what is eligible.
        holdout_share: share of users who are never messaged.
        salt: of the slices.
        clock: the time now, UTC.
        max_clock_skew: how far a request's `decided_at` may be from the clock, and an event's time ahead of it.

    Example:
        >>> import tempfile
        >>> from homing.decisions import SqliteLedger
        >>> from homing.policies import UniformPolicy, load_policy, save_policy
        >>> folder = tempfile.mkdtemp()
        >>> digest = save_policy(UniformPolicy(), folder + "/policy", name="uniform")
        >>> ledger = SqliteLedger(folder + "/ledger.sqlite")
        >>> service = DecisionService(load_policy(folder + "/policy"), [], ledger, version="1")
        >>> decision = service.decide({"user_id": "u1", "candidates": [{"message_id": "m1", "channel": "push"}]})
        >>> decision.propensity, decision.policy, service.get(decision.decision_id) == decision
        (0.5, 'uniform@1', True)
    """

    def __init__(
        self,
        policy: PolicyArtifact,
        guards: Sequence[Guard],
        ledger: Ledger,
        *,
        version: str,
        budgets: Budgets | None = None,
        rng: np.random.Generator | None = None,
        uniform_share: float = 0.0,
        holdout_share: float = 0.0,
        salt: str = "homing",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        max_clock_skew: timedelta = timedelta(minutes=5),
    ) -> None:
        self.slices = Slices(uniform_share, holdout_share, salt)
        self.guards: tuple[Guard, ...] = (*([HoldoutGuard(self.slices)] if holdout_share > 0 else []), *guards)
        self.ledger = ledger
        self.tally = Tally()
        self._rng = np.random.default_rng() if rng is None else rng
        # Never seeded: a service that starts again with the same seed must not give the same ids again.
        self._id_rng = np.random.default_rng()
        self._clock = clock
        self._skew = max_clock_skew
        self._channels: set[str] = set()
        self._declared: dict[str, dict[str, FeatureKind]] = {"context": {}, "candidate": {}}
        self.replace_policy(policy, version, budgets=budgets)

    def replace_policy(
        self, policy: PolicyArtifact, version: str, *, budgets: Budgets | EllipsisType | None = ...
    ) -> None:
        """Serve another policy from the next decision on; decisions under way end with the one that they began with.

        Args:
            policy: the artifact.
            version: of the registry.
            budgets: to keep to from then on, None for none; those of before when left out.

        Raises:
            InvalidInputError: if its features clash with those already in the ledger, or the budgets' prices are not
                for this policy; the old policy goes on.
        """
        kept = self.budgets if isinstance(budgets, EllipsisType) else budgets
        if kept is not None:
            kept.check(policy)
        model = ServedPolicy.of(policy, version)
        context, candidate = model.feature_kinds()
        self._declare("context", context)
        self._declare("candidate", candidate)
        self._serving = (model, kept)

    def replace_budgets(self, budgets: Budgets | None) -> None:
        """Keep to other budgets and prices from the next decision on; None for none.

        What was used counts on where the horizon is the same.

        Raises:
            InvalidInputError: if the prices are not for the policy that is served; the old ones go on.
        """
        model = self.model
        if budgets is not None:
            budgets.check(model.artifact)
        self._serving = (model, budgets)

    @property
    def model(self) -> ServedPolicy:
        """The policy served now."""
        return self._serving[0]

    @property
    def budgets(self) -> Budgets | None:
        """The budgets kept to now."""
        return self._serving[1]

    # Deciding ------------------------------------------------------------------------------------------------------

    def decide(self, request: DecideRequest | Mapping[str, Any]) -> Decision:
        """Decide for one user, and commit the decision before it is returned.

        Raises:
            InvalidInputError: if the request breaks a bound; nothing is decided.
        """
        return self.decide_many([request])[0]

    def decide_many(self, requests: Sequence[DecideRequest | Mapping[str, Any]]) -> list[Decision]:
        """Decide for several users in one transaction: one wait for the disk instead of many.

        A user may occur several times; the later decisions count the earlier ones.
        """
        if not requests:
            return []
        checked = [r if isinstance(r, DecideRequest) else DecideRequest.from_dict(r) for r in requests]
        model, budgets = self._serving
        times = [self._time_of(request) for request in checked]
        weights = [model.weights(request.weights) for request in checked]
        if model.encoder is None:
            self._declare_found(checked)
        features = model.encode(checked, times)
        explained = _explain(model, features, weights)
        account = None
        if budgets is not None:
            account = Account(budgets, checked, times, [named for _, named in explained])
        decisions: list[Decision | None] = [None] * len(checked)
        with self.ledger.transaction() as tx:
            for rows in account.rounds(_rounds(checked), tx) if account is not None else _rounds(checked):
                hits = [self._mask(checked[i], times[i], tx) for i in rows]
                costs = None
                if account is not None:
                    hits = [account.mask(i, row) for i, row in zip(rows, hits, strict=True)]
                    costs = account.costs(rows, features.candidates.shape[1])
                drawn = self._draw(
                    model, features, rows, hits, [checked[i] for i in rows], [weights[i] for i in rows], explained,
                    costs,
                )  # fmt: skip
                ids = new_ids(np.array([microseconds(times[i]) for i in rows], dtype=np.int64), self._id_rng)
                for j, (i, (probs, action, label, failed)) in enumerate(zip(rows, drawn, strict=True)):
                    decision = _decision(checked[i], times[i], ids[j], hits[j], probs, action, label,
                                         self.slices.slice_of(checked[i].user_id), *explained[i])  # fmt: skip
                    if account is not None:
                        decision = account.charge(i, decision)
                    tx.add(decision)
                    decisions[i] = decision
                    if failed is not None:
                        self.tally.add("fallbacks", reason=failed)
                        logger.warning("policy %s failed (%s): silence", model.label, failed)
            if account is not None:
                account.close(tx)
        made = [decision for decision in decisions if decision is not None]
        for decision in made:
            self._count(decision)
        return made

    def get(self, decision_id: str) -> Decision | None:
        """A decision by id, as it was made; None if there is none."""
        return self.ledger.get(decision_id)

    def _mask(self, request: DecideRequest, now: datetime, ledger: LedgerView) -> Hits:
        found: list[list[GuardHit]] = [[] for _ in request.candidates]
        for guard in self.guards:
            reasons = guard.mask(request, request.candidates, ledger, now)
            for hits, reason in zip(found, reasons, strict=True):
                if reason is not None:
                    hits.append(GuardHit(guard.name, reason))
        return ((), *(tuple(hits) for hits in found))

    def _draw(
        self,
        model: ServedPolicy,
        features: Encoded,
        rows: list[int],
        hits: list[Hits],
        requests: list[DecideRequest],
        weights: list[Weights],
        explained: list[tuple[NDArray[np.float64] | None, dict[str, NDArray[np.float64]] | None]],
        costs: NDArray[np.float64] | None,
    ) -> list[tuple[NDArray[np.float64], int, str, str | None]]:
        """For each row: probabilities (k,), action, policy label, and why the fallback had to answer, if it had to."""
        k = features.candidates.shape[1]
        eligible = np.zeros((len(rows), k), dtype=bool)
        for j, row in enumerate(hits):
            eligible[j, : len(row)] = [not hit for hit in row]
        probs = np.zeros((len(rows), k))
        labels = [model.label] * len(rows)
        failed: list[str | None] = [None] * len(rows)
        asked: dict[bytes | None, list[int]] = {}
        for j, request in enumerate(requests):
            part = self.slices.slice_of(request.user_id)
            if part != "policy":
                labels[j] = f"{part}@1"
            if part == "uniform" or eligible[j].sum() == 1:
                probs[j] = eligible[j] / eligible[j].sum()
            else:
                given = weights[j]
                asked.setdefault(None if given is None else given.tobytes(), []).append(j)
        for group in asked.values():
            index = np.array([rows[j] for j in group], dtype=np.int64)
            answer, problems = model.probabilities(
                features, index, eligible[group], weights[group[0]], None if costs is None else costs[group]
            )
            for j, row, problem in zip(group, answer, problems, strict=True):
                scores = explained[rows[j]][0]
                if problem is None and scores is not None and not np.isfinite(scores[eligible[j, : len(scores)]]).all():
                    problem = "scores_not_finite"
                probs[j] = row if problem is None else np.eye(1, k)[0]
                if problem is not None:
                    failed[j], labels[j] = problem, f"fallback@{model.version}"
        actions, _ = sample_actions(probs, self._rng)
        return [(probs[j, : len(hits[j])], int(actions[j]), labels[j], failed[j]) for j in range(len(rows))]

    # Outcomes and consents -----------------------------------------------------------------------------------------

    def record_outcomes(self, outcomes: Sequence[Outcome | Mapping[str, Any]]) -> OutcomeCounts:
        """Keep outcomes, each once by its id; opt-outs among them take consent back at once.

        Raises:
            InvalidInputError, UnknownNameError: if one breaks a bound; nothing of the batch is kept.
        """
        checked = [
            item if isinstance(item, Outcome) else Outcome.from_dict(item, prefix=f"outcomes[{i}]")
            for i, item in enumerate(_batch("outcomes", outcomes))
        ]
        for i, item in enumerate(checked):
            self._not_ahead(f"outcomes[{i}].occurred_at", item.occurred_at)
        counts = self.ledger.record_outcomes(checked)
        self.tally.add("outcomes", counts.accepted, result="accepted")
        self.tally.add("outcomes", counts.duplicates, result="duplicate")
        self.tally.add("outcomes", len(counts.conflicts), result="conflict")
        return counts

    def record_consents(self, consents: Sequence[Consent | Mapping[str, Any]]) -> int:
        """Keep consents given and withdrawn; returns how many changed what is on record."""
        checked = [
            item if isinstance(item, Consent) else Consent.from_dict(item, prefix=f"consents[{i}]")
            for i, item in enumerate(_batch("consents", consents))
        ]
        now = self._now()
        for i, item in enumerate(checked):
            self._not_ahead(f"consents[{i}].changed_at", item.changed_at)
        # A consent from a clock that runs ahead must not outlive a withdrawal that follows it.
        return self.ledger.record_consents(
            [item if item.changed_at <= now else item.model_copy(update={"changed_at": now}) for item in checked]
        )

    # Time, features, counts ----------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC)

    def _time_of(self, request: DecideRequest) -> datetime:
        now = self._now()
        if request.decided_at is None:
            return now
        if abs(request.decided_at - now) > self._skew:
            bound = f"must be within {self._skew.total_seconds():g} s of the service's clock"
            step = "Leave it out; to replay old decisions, raise the service's max_clock_skew."
            raise InvalidInputError(describe("decided_at", request.decided_at.isoformat(), bound, step))
        return request.decided_at

    def _not_ahead(self, name: str, at: datetime) -> None:
        if at - self._now() > self._skew:
            raise InvalidInputError(
                describe(name, at.isoformat(), "must not be in the future", "Check the sender's clock.")
            )

    def _declare(self, scope: Literal["context", "candidate"], kinds: Mapping[str, FeatureKind]) -> None:
        known = self._declared[scope]
        if any(known.get(name) != kind for name, kind in kinds.items()):
            self.ledger.declare_features(scope, kinds)
            self._declared[scope] = {**known, **kinds}

    def _declare_found(self, requests: Sequence[DecideRequest]) -> None:
        """Without an encoder, any feature may come: its first value fixes its kind in the log."""
        for request in requests:
            self._declare("context", _found(request.context))
            for item in request.candidates:
                self._declare("candidate", _found(item.features))

    def _count(self, decision: Decision) -> None:
        channel = decision.candidate.channel
        if channel not in self._channels:
            # Callers name channels as they like, and metrics must stay few.
            if len(self._channels) < MAX_CHANNELS:
                self._channels.add(channel)
            else:
                channel = "other"
        self.tally.add("decisions", slice=decision.slice, policy=decision.policy, channel=channel)
        for row in decision.guards:
            for hit in row:
                self.tally.add("guard_hits", guard=hit.guard)


def _rounds(requests: Sequence[DecideRequest]) -> Iterator[list[int]]:
    """Rows in rounds: in each round a user occurs once at most, so that caps see the rounds before."""
    rounds: list[list[int]] = []
    seen: dict[str, int] = {}
    for i, request in enumerate(requests):
        turn = seen.get(request.user_id, 0)
        seen[request.user_id] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(i)
    yield from rounds


def _explain(
    model: ServedPolicy, features: Encoded, weights: Sequence[Weights]
) -> list[tuple[NDArray[np.float64] | None, dict[str, NDArray[np.float64]] | None]]:
    """Scores (k,) and values by objective (k,) of each request's real candidates."""
    out: list[tuple[NDArray[np.float64] | None, dict[str, NDArray[np.float64]] | None]] = []
    same = all(given is None for given in weights)
    whole = model.values(features, None) if same else None
    for i, count in enumerate(features.counts):
        if whole is None:
            one = Encoded(features.context[i : i + 1], features.candidates[i : i + 1], features.counts[i : i + 1])
            scores, values = model.values(one, weights[i])
            scores, values = None if scores is None else scores[0], None if values is None else values[0]
        else:
            scores, values = (None if array is None else array[i] for array in whole)
        named = (
            None if values is None else {name: values[:count, j] for j, name in enumerate(model.artifact.objectives)}
        )
        out.append((None if scores is None else scores[:count], named))
    return out


def _decision(
    request: DecideRequest,
    at: datetime,
    decision_id: str,
    hits: Hits,
    probs: NDArray[np.float64],
    action: int,
    label: str,
    part: Slice,
    scores: NDArray[np.float64] | None,
    values: dict[str, NDArray[np.float64]] | None,
) -> Decision:
    finite = scores is not None and bool(np.isfinite(scores).all())
    shown = values is not None and all(bool(np.isfinite(column).all()) for column in values.values())
    eligible = tuple(not row for row in hits)
    return Decision(
        decision_id=decision_id,
        user_id=request.user_id,
        decided_at=at,
        policy=label,
        slice=part,
        action=action,
        candidates=(SILENT, *request.candidates),
        eligible=eligible,
        propensities=tuple(probs.tolist()),
        explored=sum(eligible) > 1 if part == "uniform" else bool(probs[action] < probs.max()),
        guards=hits,
        context=dict(request.context),
        scores=tuple(scores.tolist()) if scores is not None and finite else None,
        values={name: tuple(column.tolist()) for name, column in values.items()}
        if values is not None and shown
        else None,
        notes=_notes(hits, label),
    )


def _notes(hits: Hits, label: str) -> tuple[str, ...]:
    notes = []
    if any(hit.guard == "consent" and hit.reason.startswith(NO_CONSENT) for row in hits for hit in row):
        notes.append("No consent is known for some channels. Send it as `consent` with the request, or record it once.")
    if all(hits[1:]):
        guards = sorted({hit.guard for row in hits for hit in row})
        notes.append(f"Every candidate is masked ({', '.join(guards)}), so silence was certain.")
    if label.startswith("fallback@"):
        notes.append("The policy could not answer, so silence was certain. See the service's log.")
    return tuple(notes)


def _found(values: Mapping[str, Any]) -> dict[str, FeatureKind]:
    kinds = {name: value_kind(value) for name, value in values.items()}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _batch(name: str, items: Sequence[Any]) -> Sequence[Any]:
    if not 0 < len(items) <= MAX_BATCH:
        raise InvalidInputError(
            describe(f"len({name})", len(items), f"must be 1 to {MAX_BATCH}", "Send several calls.")
        )
    return items
