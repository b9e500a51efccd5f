"""Made-up populations to plan for, each hard in a way of its own.

Values are those of messages over silence. Limits are shares of what users would get if there were none, so that most of
them bind, whatever the family.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from homing.planning import Budget, Floor, PlanningProblem, UserOffsets

CHANNELS = ("push", "email", "in_app")
CAMPAIGNS = 50
HOURS = 24


def make(family: str, n_users: int, *, seed: int = 0, per_user: int = 20, **more: Any) -> PlanningProblem:
    """A population of one family."""
    return PlanningProblem(**(columns(family, n_users, seed=seed, per_user=per_user) | more))


def columns(family: str, n_users: int, *, seed: int = 0, per_user: int = 20) -> dict[str, Any]:
    """What `PlanningProblem` takes."""
    rng = np.random.default_rng([seed, sorted(FAMILIES).index(family)])
    return FAMILIES[family](rng, n_users, per_user)


def base(rng: np.random.Generator, n_users: int, per_user: int) -> dict[str, Any]:
    """Users differ in activity; three channels, fifty campaigns and expected opt-outs are limited."""
    return _limited(rng, _drawn(rng, np.full(n_users, per_user), lambda n: rng.standard_gamma(2.0, n, dtype="f4") / 2))


def heavy_tailed(rng: np.random.Generator, n_users: int, per_user: int) -> dict[str, Any]:
    """Few candidates are worth very much: Pareto with exponent 1.5, without a variance."""
    return _limited(
        rng, _drawn(rng, np.full(n_users, per_user), lambda n: (1 - rng.random(n, dtype="f4")) ** (-1 / 1.5) - 1)
    )


def skewed(rng: np.random.Generator, n_users: int, per_user: int) -> dict[str, Any]:
    """A few campaigns have nearly all candidates (Zipf)."""
    out = _drawn(rng, np.full(n_users, per_user), lambda n: rng.standard_gamma(2.0, n, dtype="f4") / 2)
    share = 1.0 / np.arange(1, CAMPAIGNS + 1)
    of = np.searchsorted(np.cumsum(share / share.sum()), rng.random(len(out["value"]))).clip(0, CAMPAIGNS - 1)
    out["codes"]["campaign"] = of.astype(np.uint16)
    return _limited(rng, out)


def sparse(rng: np.random.Generator, n_users: int, per_user: int) -> dict[str, Any]:
    """Most users have few candidates, many have none."""
    sizes = np.minimum(rng.geometric(0.25, n_users) - 1, per_user)
    return _limited(rng, _drawn(rng, sizes, lambda n: rng.standard_gamma(2.0, n, dtype="f4") / 2))


def tied(rng: np.random.Generator, n_users: int, per_user: int) -> dict[str, Any]:
    """Values come in ten steps and costs in three: a price that some want is one that thousands want."""
    out = _drawn(rng, np.full(n_users, per_user), lambda n: np.ones(n, dtype="f4"), spread=0.0)
    n = len(out["value"])
    out["value"] = (rng.integers(-3, 8, n) / 10).astype(np.float32)
    out["costs"]["opt_outs"] = (rng.integers(1, 4, n) / 256).astype(np.float32)
    return _limited(rng, out)


def floors(rng: np.random.Generator, n_users: int, per_user: int) -> dict[str, Any]:
    """Ten campaigns that are worth little have delivery guarantees."""
    out = base(rng, n_users, per_user)
    campaign = out["codes"]["campaign"]
    out["value"] = np.where(campaign < 10, out["value"] * np.float32(0.5), out["value"])
    guaranteed = [Floor(int(0.004 * n_users) + 1, {"campaign": c}) for c in range(10)]
    kept = [b for b in out["budgets"] if b.where.get("campaign", 10) >= 10]
    return out | {"budgets": kept, "floors": guaranteed}


def hourly(rng: np.random.Generator, n_users: int, per_user: int) -> dict[str, Any]:
    """Push has a limit for every hour of the day."""
    out = base(rng, n_users, per_user)
    unlimited = _best_use(out, lambda o: o["codes"]["channel"] * HOURS + o["codes"]["hour"], len(CHANNELS) * HOURS)
    slots = [Budget(float(int(0.5 * unlimited[h])), {"channel": 0, "hour": h}) for h in range(HOURS)]
    return out | {"budgets": [*out["budgets"], *slots]}


def two_each(rng: np.random.Generator, n_users: int, per_user: int) -> dict[str, Any]:
    """Up to two messages a user, four hours apart, never two of one campaign."""
    out = base(rng, n_users, per_user)
    return out | {"max_per_user": 2, "min_gap_hours": 4, "exclusive": ("campaign",)}


FAMILIES: dict[str, Callable[[np.random.Generator, int, int], dict[str, Any]]] = {
    "base": base,
    "heavy-tailed": heavy_tailed,
    "skewed": skewed,
    "sparse": sparse,
    "tied": tied,
    "floors": floors,
    "hourly": hourly,
    "two each": two_each,
}


def _drawn(rng: np.random.Generator, sizes: Any, worth: Callable[[int], Any], *, spread: float = 0.6) -> dict[str, Any]:
    n, users = int(sizes.sum()), len(sizes)
    activity = np.exp(spread * rng.standard_normal(users, dtype="f4"))
    value = (worth(n) - np.float32(0.3)) * np.repeat(activity, sizes)
    return {
        "user": UserOffsets(np.concatenate([[0], np.cumsum(sizes)])),
        "value": value.astype(np.float32),
        "codes": {
            "channel": rng.integers(0, len(CHANNELS), n, dtype=np.uint8),
            "campaign": rng.integers(0, CAMPAIGNS, n, dtype=np.uint16),
            "hour": rng.integers(0, HOURS, n, dtype=np.uint8),
        },
        "costs": {"opt_outs": rng.standard_gamma(0.5, n, dtype="f4") * np.float32(0.01)},
    }


def _limited(rng: np.random.Generator, out: dict[str, Any]) -> dict[str, Any]:
    by_channel = _best_use(out, lambda o: o["codes"]["channel"], len(CHANNELS))
    by_campaign = _best_use(out, lambda o: o["codes"]["campaign"], CAMPAIGNS)
    opt_outs = _best_use(out, lambda o: o["codes"]["channel"] * 0, 1, out["costs"]["opt_outs"])
    shares = rng.uniform(0.3, 0.9, len(CHANNELS)), rng.uniform(0.2, 1.2, CAMPAIGNS)
    budgets = [
        Budget(float(int(s * u)), {"channel": i}) for i, (s, u) in enumerate(zip(shares[0], by_channel, strict=True))
    ]
    budgets += [
        Budget(float(int(s * u)) + 1, {"campaign": i})
        for i, (s, u) in enumerate(zip(shares[1], by_campaign, strict=True))
    ]
    return out | {"budgets": [*budgets, Budget(float(0.3 * opt_outs[0]), cost="opt_outs")]}


def _best_use(out: dict[str, Any], key: Callable[[Any], Any], size: int, amount: Any = None) -> Any:
    """What is used by code if every user gets what is worth most."""
    offsets = out["user"].offsets
    some = np.flatnonzero(np.diff(offsets))
    best = np.maximum.reduceat(out["value"], offsets[some])
    sizes = np.diff(offsets)[some]
    is_best = (out["value"] == np.repeat(best, sizes)) & (out["value"] > 0)
    order = np.cumsum(is_best)
    first = is_best & (order - np.repeat(np.concatenate([[0], order[offsets[some][1:] - 1]]), sizes) == 1)
    return np.bincount(key(out)[first], weights=None if amount is None else amount[first], minlength=size)
