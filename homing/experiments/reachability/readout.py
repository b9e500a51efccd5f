"""What a treatment does to reachability, with everyone counted who was randomised, followed for long or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homing.checks import check_positive, check_probability
from homing.errors import SupportError, describe, unknown_name
from homing.estimates import Estimate
from homing.experiments.intervals import satterthwaite, with_t
from homing.experiments.reachability.states import ANY, Reachability
from homing.experiments.reachability.survival import KaplanMeier


@dataclass(frozen=True)
class ReachableTime:
    """Reachability of one variant on one channel.

    Attributes:
        channel: name, or `any`.
        variant: name.
        n: users.
        still: share reachable at the horizon (Kaplan–Meier).
        days: mean reachable days up to the horizon (area under the curve).
        still_difference: of `still` to the control; None for the control.
        days_difference: of `days` to the control; None for the control.
    """

    channel: str
    variant: str
    n: int
    still: Estimate
    days: Estimate
    still_difference: Estimate | None
    days_difference: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        out: dict[str, Any] = {"channel": self.channel, "variant": self.variant, "n": self.n}
        for name in ("still", "days", "still_difference", "days_difference"):
            value = getattr(self, name)
            out[name] = None if value is None else value.to_dict()
        return out


@dataclass(frozen=True)
class ReachabilityReadout:
    """Reachability by channel and variant.

    Attributes:
        horizon_days: of every number.
        control: name of the variant that others are compared with.
        rows: one for each channel (and `any`) and variant.
    """

    horizon_days: float
    control: str
    rows: tuple[ReachableTime, ...]

    def of(self, channel: str, variant: str) -> ReachableTime:
        """One row.

        Raises:
            UnknownNameError: there is no such channel or variant.
        """
        for row in self.rows:
            if (row.channel, row.variant) == (channel, variant):
                return row
        known = [f"{row.channel}, {row.variant}" for row in self.rows]
        raise unknown_name("channel, variant", f"{channel}, {variant}", known)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "horizon_days": self.horizon_days,
            "control": self.control,
            "rows": [row.to_dict() for row in self.rows],
        }


def read_reachability(
    reachability: Reachability, *, horizon_days: float, control: str, level: float = 0.95
) -> ReachabilityReadout:
    """Share still reachable at a horizon and mean reachable days up to it, by Kaplan–Meier, and effects on both.

    Users who were followed for less than the horizon count for as long as they were followed. A plan's metrics
    (`reachable_at`, `reachable_days`) count only those who were followed for all of it: the same numbers later, from
    sums; this is the earlier and the fuller look.

    Args:
        reachability: of all randomised users.
        horizon_days: at most the longest follow-up of every variant.
        control: name of the control.
        level: of the intervals.

    Raises:
        SupportError: no unit of a variant was followed for so long.
        UnknownNameError: there is no variant of the control's name.

    Example:
        >>> units = {"user_id": range(6), "variant": list("aaabbb"), "exposed_at": [0.0] * 6}
        >>> losses = {"user_id": [0, 3, 4], "channel": ["push"] * 3, "lost_at": [5.0, 2.0, 8.0]}
        >>> states = Reachability.from_frames(units, losses, channels=["push"], as_of=10.0)
        >>> row = read_reachability(states, horizon_days=10, control="a").of("push", "b")
        >>> round(row.still.value, 3), round(row.days.value, 3), round(row.days_difference.value, 3)
        (0.333, 6.667, -1.667)
    """
    check_positive("horizon_days", horizon_days)
    check_probability("level", level)
    if control not in reachability.variants:
        raise unknown_name("control", control, reachability.variants)
    rows = []
    order = [control, *(name for name in reachability.variants if name != control)]
    for channel in (*reachability.channels, ANY):
        duration, lost = reachability.durations(channel)
        curves = {}
        for name in order:
            own = reachability.variant == reachability.variants.index(name)
            if own.sum() < 2:
                raise SupportError(describe(f"units of variant {name!r}", int(own.sum()), "must be >= 2"))
            curves[name] = KaplanMeier.fit(duration[own], lost[own])
        rows += [_row(channel, name, curves, control, horizon_days, level) for name in order]
    return ReachabilityReadout(horizon_days, control, tuple(rows))


def _row(
    channel: str, name: str, curves: dict[str, KaplanMeier], control: str, horizon_days: float, level: float
) -> ReachableTime:
    own, base = curves[name], curves[control]
    dfs = [base.n - 1, own.n - 1]
    estimates: list[Estimate] = []
    differences: list[Estimate | None] = []
    for measure in (KaplanMeier.at, KaplanMeier.restricted_mean):
        (value, variance), (value0, variance0) = measure(own, horizon_days), measure(base, horizon_days)
        estimates.append(with_t(value, variance, own.n - 1, level))
        difference = None if name == control else satterthwaite(value - value0, [variance0, variance], dfs, level)
        differences.append(difference)
    return ReachableTime(channel, name, own.n, *estimates, *differences)
