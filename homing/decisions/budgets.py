"""Population budgets in the service: prices that lower scores, hard stops that mask, use that the ledger counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from homing.decisions.decision import Decision, GuardHit
from homing.decisions.ledger import LedgerTransaction, LedgerView
from homing.decisions.requests import DecideRequest
from homing.errors import InvalidInputError, describe
from homing.planning.pacing import SLICES, Pacer, RemainingRatio, slice_of
from homing.planning.prices import Prices, uses_of
from homing.planning.prices_file import load_prices
from homing.policies import PolicyArtifact
from homing.policies.priced import can_be_priced

#: Stands in receipts and metrics as the guard of a hard stop.
GUARD = "budget"
#: Under these names the ledger counts the requests of each slice of the horizon; no budget has such a name.
REQUESTS = tuple(f" {number}" for number in range(SLICES))


@dataclass(frozen=True, eq=False)
class Budgets:
    """A plan's prices and budgets, as `DecisionService` keeps to them.

    Prices act on scores, so that the draw's probabilities, and with them the logged propensities, are those of the
    priced policy (`homing.policies.priced`). A budget that has no room for what a candidate would use *masks* it, for
    the uniform slice too: a hard stop. Both follow from what the ledger has counted, inside the transaction in which
    the decision is written, so no budget is ever exceeded, however many processes decide.

    Weights that come with a request change its scores and not the prices: they are in the unit of the plan's values.

    Attributes:
        prices: of one horizon; it repeats itself until others come.
        pacer: how prices follow use; None for hard stops alone.

    Example:
        >>> from homing.planning import PricedBudget
        >>> push = PricedBudget("push", 2, 0.5, {"channel": "push"})
        >>> budgets = Budgets(Prices((push,), start=datetime(2026, 1, 1, tzinfo=UTC)))
        >>> request = DecideRequest.from_dict({"user_id": "u", "candidates": [{"message_id": "m", "channel": "push"}]})
        >>> budgets.uses(request, datetime(2026, 1, 1, tzinfo=UTC), None).tolist()  # silence uses nothing
        [[0.0], [1.0]]
    """

    prices: Prices
    pacer: Pacer | None = field(default_factory=RemainingRatio)

    @classmethod
    def from_file(cls, path: str | Path, *, digest: str | None = None) -> Budgets:
        """Published prices, followed by the default pacer.

        Args:
            path: what `homing plan`, or a pipeline's `publish_to`, wrote.
            digest: that they must have; None for whatever is published.

        Raises:
            ArtifactError: if the file is missing, damaged, of another format or not the one that is asked for.
        """
        return cls(load_prices(path, digest=digest))

    def check(self, artifact: PolicyArtifact) -> None:
        """Refuse a policy that the prices do not fit.

        Raises:
            InvalidInputError: if the plan took its values from another policy, or this one has no scores to price.
        """
        want = self.prices.policy
        if self.pacer is None:
            return
        if want is not None and artifact.digest != want:
            bound = f"must be {want}, whose scores the prices {self.prices.version} were made with"
            step = "Publish prices for this policy and replace both together, or pass pacer=None for hard stops alone."
            raise InvalidInputError(describe("digest of the policy", artifact.digest, bound, step))
        if not can_be_priced(artifact.policy):
            bound = "has no scores that prices could be taken off"
            step = "Serve a policy over a scorer, or pass pacer=None for hard stops alone."
            raise InvalidInputError(describe("policy", artifact.name, bound, step))

    def uses(
        self, request: DecideRequest, now: datetime, values: Mapping[str, NDArray[np.float64]] | None
    ) -> NDArray[np.float64]:
        """Units of each budget that silence and each candidate would use (k, b).

        Args:
            request: its candidates.
            now: of the decision.
            values: objective → (k,), what the policy expects, silence first; None where it expects nothing.

        Raises:
            InvalidInputError: if an amount that a budget counts is neither in the request nor expected by the policy.
        """
        user = {f"context.{name}": _label(value) for name, value in request.context.items()}
        hour = str(now.astimezone(UTC).hour)
        labels, amounts = [], []
        for i, item in enumerate(request.candidates):
            labels.append(
                {"message_id": item.message_id, "campaign": item.campaign, "domain": item.domain,
                 "channel": item.channel, "slot": item.slot, "hour": hour, **user}
            )  # fmt: skip
            numbers = {
                f"feature.{name}": float(value)
                for name, value in item.features.items()
                if isinstance(value, float | int) and not isinstance(value, bool)
            }
            for name, column in (values or {}).items():
                numbers[f"objective.{name}"] = float(column[i + 1] - column[0])
            amounts.append(numbers)
        return np.concatenate([np.zeros((1, len(self.prices.budgets))), uses_of(self.prices, labels, amounts)])


class Account:
    """What one batch of decisions uses of the budgets: read in its transaction, counted there, written at its end.

    Args:
        budgets: prices and limits.
        requests: of the batch.
        times: of the decisions.
        values: objective → (k,) of each request, or None; see `Budgets.uses`.

    Raises:
        InvalidInputError: if an amount that a budget counts is missing.
    """

    def __init__(
        self,
        budgets: Budgets,
        requests: Sequence[DecideRequest],
        times: Sequence[datetime],
        values: Sequence[Mapping[str, NDArray[np.float64]] | None],
    ) -> None:
        self._budgets = budgets
        self._times = times
        self._periods = [budgets.prices.period(at) for at in times]
        self._uses = [budgets.uses(*row) for row in zip(requests, times, values, strict=True)]
        self._signed: dict[int, NDArray[np.float64]] = {}
        self._used: dict[str, NDArray[np.float64]] = {}
        self._slices = [slice_of(budgets.prices.elapsed(at)) for at in times]
        self._requests: dict[str, NDArray[np.float64]] = {}
        self._new: dict[str, NDArray[np.float64]] = {}

    def rounds(self, rounds: Iterable[list[int]], ledger: LedgerView) -> Iterator[list[int]]:
        """Rows to be drawn at once: a round, or one row after the other where a budget may not have room for all.

        That must be known before anything is drawn: to draw again what did not fit would change the propensities.
        """
        names = [item.name for item in self._budgets.prices.budgets]
        for period in dict.fromkeys(self._periods):
            known = ledger.used(period)
            self._used[period] = np.array([known.get(name, 0.0) for name in names])
            self._requests[period] = np.array([known.get(name, 0.0) for name in REQUESTS])
            self._new[period] = np.zeros(len(names) + SLICES)
        for rows in rounds:
            if len(rows) == 1 or self._room_for_all(rows):
                yield rows
            else:
                yield from ([row] for row in rows)

    def _room_for_all(self, rows: list[int]) -> bool:
        used = np.max([self._used[period] for period in {self._periods[i] for i in rows}], axis=0)
        most = np.sum([self._uses[i].max(axis=0) for i in rows], axis=0)
        return bool((used + most <= self._budgets.prices.limits).all())

    def mask(self, row: int, hits: tuple[tuple[GuardHit, ...], ...]) -> tuple[tuple[GuardHit, ...], ...]:
        """What guards said of silence and the candidates, and the budgets that have no room for them."""
        uses, used = self._uses[row], self._used[self._periods[row]]
        found = [list(item) for item in hits]
        for i, b in np.argwhere((uses > 0) & (used + uses > self._budgets.prices.limits)):
            budget = self._budgets.prices.budgets[b]
            left = max(0.0, budget.limit - used[b])
            found[i].append(GuardHit(GUARD, f"{budget.name}: {left:g} of {budget.limit:g} left, {uses[i, b]:g} needed"))
        return tuple(tuple(item) for item in found)

    def costs(self, rows: list[int], width: int) -> NDArray[np.float64] | None:
        """What prices take off the scores (len(rows), width); None for hard stops alone."""
        pacer, prices = self._budgets.pacer, self._budgets.prices
        if pacer is None:
            return None
        out = np.zeros((len(rows), width))
        for j, i in enumerate(rows):
            period = self._periods[i]
            signed = pacer.signed(
                prices,
                elapsed=prices.elapsed(self._times[i]),
                requests=self._requests[period],
                used=self._used[period],
            )
            self._signed[i] = signed
            out[j, : len(self._uses[i])] = self._uses[i] @ signed
        return out

    def charge(self, row: int, decision: Decision) -> Decision:
        """Count a decision; returns it with the prices that it was made at."""
        period = self._periods[row]
        uses = self._uses[row][decision.action]
        self._used[period] = self._used[period] + uses
        self._requests[period][self._slices[row]] += 1.0
        self._new[period][: len(uses)] += uses
        self._new[period][len(uses) + self._slices[row]] += 1.0
        signed = self._signed.get(row)
        if signed is None or decision.slice != "policy":
            return decision
        touched = np.flatnonzero((self._uses[row] > 0).any(axis=0))
        prices = {self._budgets.prices.budgets[b].name: float(signed[b]) for b in touched}
        return replace(decision, prices=prices, costs=tuple((self._uses[row] @ signed).tolist()))

    def close(self, ledger: LedgerTransaction) -> None:
        """Write what was used."""
        names = [*(item.name for item in self._budgets.prices.budgets), *REQUESTS]
        for period, units in self._new.items():
            ledger.use(period, dict(zip(names, units.tolist(), strict=True)))


def _label(value: object) -> str:
    """A feature's value as budgets name it.

    >>> _label(True), _label(3.0), _label("gold")
    ('true', '3', 'gold')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float | int) else str(value)
