"""Until when each randomised user can be reached on each channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe, unknown_name
from homing.experiments.columns import Columns
from homing.experiments.metrics import Metric, Window

FloatArray = NDArray[np.float64]
#: The name that stands for being reachable on one channel at least.
ANY = "any"


@dataclass(frozen=True, eq=False)
class Reachability:
    """Reachable time of every randomised user on every channel.

    All users count who were randomised, those who were never reachable too, from exposure on. Whoever looks only at
    users who were sent something, or at those still reachable, compares survivors: the treatment chose them.

    A user is lost to a channel at the first opt-out after which it may not be used; coming back is not counted. To
    `any` it is lost with its last channel.

    Attributes:
        unit: (n,) ids.
        variant: (n,) index into `variants`.
        variants: names.
        channels: names; `any` is not among them.
        lost_day: float64 (n, c), days from exposure to the loss; infinite if none was seen, 0 if before exposure.
        followed_days: float64 (n,), days from exposure until the data end.
    """

    unit: NDArray[Any]
    variant: NDArray[np.int64]
    variants: tuple[str, ...]
    channels: tuple[str, ...]
    lost_day: FloatArray
    followed_days: FloatArray

    @classmethod
    def from_frames(
        cls,
        units: Any,
        losses: Any,
        *,
        channels: Sequence[str],
        as_of: Any,
        unit: str = "user_id",
        variant: str = "variant",
        exposed_at: str = "exposed_at",
        channel: str = "channel",
        lost_at: str = "lost_at",
    ) -> Reachability:
        """From the exposures and the opt-outs.

        Args:
            units: one row a randomised user: its id, variant and time of exposure.
            losses: one row an opt-out: id, channel, time; a user who never had a channel lost it before exposure. Rows
                of other users and later than `as_of` are ignored.
            channels: of the experiment.
            as_of: when the data end; a time like those of the tables, or a number of days where they hold numbers.
            unit: column of ids, in both tables.
            variant: column.
            exposed_at: column.
            channel: column.
            lost_at: column.

        Raises:
            InvalidInputError: a column is missing, a user is there twice, or was exposed after `as_of`.
            UnknownNameError: a loss has a channel that is not among `channels`.

        Example:
            >>> units = {"user_id": [1, 2], "variant": ["a", "b"], "exposed_at": [0.0, 5.0]}
            >>> losses = {"user_id": [1], "channel": ["push"], "lost_at": [3.0]}
            >>> found = Reachability.from_frames(units, losses, channels=["push", "email"], as_of=30.0)
            >>> found.lost_day.tolist(), found.followed_days.tolist()
            ([[3.0, inf], [inf, inf]], [30.0, 25.0])
        """
        names = tuple(channels)
        if not names or len(set(names)) < len(names) or ANY in names:
            raise InvalidInputError(describe("channels", names, f"must be different names, none of them {ANY!r}"))
        who = Columns(units, (unit, variant, exposed_at))
        ids, labels = who.codes(unit)
        if len(labels) < who.n:
            raise InvalidInputError(
                describe(f"units with the same {unit!r}", who.n - len(labels), "must be 0", "Keep the first exposure.")
            )
        codes, variants = who.codes(variant)
        exposed = who.days(exposed_at)
        end = float(Columns({"as_of": [as_of]}, ("as_of",)).days("as_of")[0])
        if exposed.max() > end:
            row = int(np.argmax(exposed))
            raise InvalidInputError(
                describe(f"{exposed_at}[{row}]", float(exposed[row]), f"must be at most as_of ({end:g}), in days")
            )
        lost_day = np.full((who.n, len(names)), np.inf)
        gone = Columns(losses, (unit, channel, lost_at), empty=True)
        if gone.n:
            row_of = dict(zip(labels, np.argsort(ids).tolist(), strict=True))
            _fill(lost_day, gone, (unit, channel, lost_at), row_of, names, exposed, end)
        return cls(np.asarray(labels)[ids], codes, variants, names, lost_day, end - exposed)

    def durations(self, channel: str) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Days until the loss, or until the data end, (n,), and whether it was lost, (n,).

        Raises:
            UnknownNameError: there is no such channel, and it is not `any`.
        """
        if channel == ANY:
            day = self.lost_day.max(axis=1)
        elif channel in self.channels:
            day = self.lost_day[:, self.channels.index(channel)]
        else:
            raise unknown_name("channel", channel, (*self.channels, ANY))
        lost = day <= self.followed_days
        return np.where(lost, day, self.followed_days), lost

    def columns(self, horizon_days: int) -> dict[str, NDArray[Any]]:
        """A plan's columns, for every channel and `any`: `reachable_CHANNEL_Hd` and `reachable_days_CHANNEL_Hd`.

        The first says whether a user is reachable H days after exposure, the second on how many of those days. They are
        final for users who were followed for H days, which is when a plan counts them (their metrics' window).
        """
        check_positive("horizon_days", horizon_days)
        out: dict[str, NDArray[Any]] = {}
        for name in (*self.channels, ANY):
            day, lost = self.durations(name)
            still = np.where(lost, day, np.inf)
            out[f"reachable_{name}_{horizon_days}d"] = (still > horizon_days).astype(np.float64)
            out[f"reachable_days_{name}_{horizon_days}d"] = np.minimum(still, horizon_days)
        return out


def reachable_at(channel: str, horizon_days: int) -> Metric:
    """The share of all randomised users who are reachable on a channel (or `any`) H days after exposure.

    A guardrail of every experiment with messages; `break_even` says what margin it bears.

    >>> reachable_at("push", 28).numerator
    'reachable_push_28d'
    """
    name = f"reachable_{channel}_{horizon_days}d"
    return Metric(name, "proportion", name, window=Window(days=horizon_days))


def reachable_days(channel: str, horizon_days: int) -> Metric:
    """Mean days on which all randomised users are reachable on a channel (or `any`), of H after exposure.

    The restricted mean reachable time. It sees early losses as worse than late ones, and has less noise than
    `reachable_at` where losses are spread over the horizon.
    """
    name = f"reachable_days_{channel}_{horizon_days}d"
    return Metric(name, "mean", name, window=Window(days=horizon_days))


def per_send(name: str, events: str, sends: str, *, window: Window | None = None) -> Metric:
    """A rate per send, such as clicks or opens: a diagnostic, which plans refuse as a success or guardrail metric.

    Sends are an effect of the treatment, and so is who is left to get them: a treatment that drives the least
    interested users to opt out raises every rate per send, while all are worse off.

    Args:
        name: of the metric.
        events: column of counts of clicks, opens, …
        sends: column of counts of sends.
        window: as in `Metric`.
    """
    return Metric(name, "ratio", events, sends, window=window, diagnostic=True)


def losses_of(log: Any, channels: Mapping[str, str]) -> dict[str, Any]:
    """The opt-outs of a decision log, as `Reachability.from_frames` takes them.

    Args:
        log: a `homing.log.DecisionLog`.
        channels: which channel each kind of outcome ends, such as {"unsubscribed": "email", "disabled": "push"}.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = pa.array(list(channels), pa.string())
    parts = []
    for batch in log.outcome_batches(["user_id", "kind", "occurred_at"]):
        parts.append(pa.Table.from_batches([batch.filter(pc.is_in(batch["kind"], kinds))]))
    if not parts:
        return {"user_id": [], "channel": [], "lost_at": []}
    table = pa.concat_tables(parts).combine_chunks()
    channel = pa.array(list(channels.values()), pa.string()).take(pc.index_in(table["kind"], kinds).combine_chunks())
    return {"user_id": table["user_id"], "channel": channel, "lost_at": table["occurred_at"]}


def _fill(
    lost_day: FloatArray,
    losses: Columns,
    names: tuple[str, str, str],
    row_of: Mapping[str, int],
    channels: tuple[str, ...],
    exposed: FloatArray,
    end: float,
) -> None:
    unit, channel, lost_at = names
    codes, found = losses.codes(channel)
    for name in found:
        if name not in channels:
            raise unknown_name("channel of a loss", name, channels)
    column = np.array([channels.index(name) for name in found], dtype=np.int64)[codes]
    users, labels = losses.codes(unit)
    row = np.array([row_of.get(label, -1) for label in labels], dtype=np.int64)[users]
    day = losses.days(lost_at)
    known = (row >= 0) & (day <= end)
    row, column = row[known], column[known]
    np.minimum.at(lost_day, (row, column), np.maximum(day[known] - exposed[row], 0.0))
