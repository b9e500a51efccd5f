"""Claim: at a plan's prices, one by one, requests earn nearly all that hindsight could have had, within budgets.

A population is drawn, its first part is the forecast: it is planned for and its prices are published. The rest comes as
a stream of requests. The best plan for that stream, made with full knowledge of it, is what is compared with.

Fewer requests than forecast all day and requests that come later than forecast look alike until noon. What a pacer may
reach on both is therefore bounded: `ToldAtNoon` has prices of its choice until noon, one for both days, and knows all
that is to come from noon on.

Which kind of days there are, past ones tell: counts of their requests are drawn, `estimate_returns` learns from them,
and shifted days are replayed with what it learnt.

The pacer was made with the populations 0, 700 and 701, and what to believe of past days (`Returns.believed`) with 20 to
22; both are judged on others.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import publish as publish_result
from benchmarks.measure import table
from benchmarks.planning.instances import FAMILIES, columns
from homing.planning import (
    FixedPrices,
    MirrorDescent,
    Pacer,
    Plan,
    PlanningProblem,
    Prices,
    RemainingRatio,
    Replay,
    UserOffsets,
    estimate_returns,
    publish,
    replay,
    solve,
)
from homing.planning.pacing import RETURNS

FloatArray = NDArray[np.float64]
START = datetime(2026, 11, 23, tzinfo=UTC)
#: A plan that is further from its bound than this is made again with another seed, so often at most.
CLOSE, SEEDS = 1e-3, 4
#: One message a request: what is planned for several at once is for plans, not for requests.
NOT_SERVED = "two each"
PLANNED = tuple(name for name in FAMILIES if name != NOT_SERVED)
#: Requests between two looks at the prices. The service looks at each; with a hundred between them, as `replay` has for
#: so many requests if nothing is said, tied values lose up to 0.4 % in the last hundredth of the day.
LOOK = 10
#: The first population that is judged.
FIRST = 40
OURS = "remaining ratio"
#: Beside the default, by what one believes of how days differ.
BELIEFS = {value: f"remaining ratio, returns {value:g}" for value in (0.0, 0.15, 0.5, 0.8)} | {RETURNS: OURS}
PACERS: dict[str, Pacer] = {
    **{name: RemainingRatio(returns=value) for value, name in sorted(BELIEFS.items())},
    "mirror descent": MirrorDescent(20.0),
    "fixed prices": FixedPrices(),
}


@dataclass(frozen=True)
class Day:
    """How a day differs from its forecast.

    Attributes:
        requests: times those of the forecast.
        share: share of the requests that come in the first half of the day's clock.
        values: those of the second half of the requests, times this.
        bar: least share of hindsight that is claimed, on all families; None where nothing is.
    """

    requests: float = 1.0
    share: float = 0.5
    values: float = 1.0
    bar: float | None = None


DAYS = {
    "as forecast": Day(bar=0.998),
    "30 % more requests": Day(requests=1.3, bar=0.99),
    "30 % fewer requests": Day(requests=0.7, bar=0.99),
    "30 % of the morning comes in the evening": Day(share=0.35, bar=0.99),
    "30 % of the evening comes in the morning": Day(share=0.65, bar=0.99),
    "values 30 % higher from noon on": Day(values=1.3),
}
#: Those by whose size the claim is, and those by whose shape it is.
SIZES = tuple(name for name, day in DAYS.items() if day.requests != 1.0)
TIMES = tuple(name for name, day in DAYS.items() if day.share != 0.5)
#: Kinds of past days, and the days that one who has these in mind may meet.
KINDS = {
    "size": ("as forecast", *SIZES),
    "times": ("as forecast", *TIMES),
    "both": ("as forecast", *SIZES, *TIMES),
}
#: Past days that are counted, hour by hour, by how much they differ at most, and histories of them a population.
PAST_DAYS, DIFFER, HISTORIES = 28, 0.3, 5
#: Of a day's requests, those of each hour: few at night, as many before noon as after.
HOURLY = (1.2 - np.cos(2 * np.pi * (np.arange(24) + 0.5) / 24)) / (1.2 * 24)
#: Days that look alike until noon, and what morning prices are tried for, as factors of the forecast's traffic.
ALIKE = {
    ("30 % fewer requests", "30 % of the morning comes in the evening"): (0.76, 0.79, 0.82, 0.85),
    ("30 % more requests", "30 % of the evening comes in the morning"): (1.08, 1.11, 1.14, 1.17),
    ("as forecast", "values 30 % higher from noon on"): (1.0, 1.05, 1.1, 1.15),
}


@dataclass(frozen=True)
class ToldAtNoon(RemainingRatio):
    """Prices for `morning` times the forecast's requests until noon, and from then on for as many as truly come, at
    their true `values`."""

    common: float = 1.0
    morning: float = 1.0
    day: float = 1.0
    values: float = 1.0

    def still_to_come(self, forecast: float, *, elapsed: float, requests: float, recent: float | None = None) -> float:
        """From what is known."""
        return max((self.morning if elapsed < 0.5 else self.day) - requests / forecast, 0.0)

    def signed(self, prices: Prices, *, elapsed: float, requests: FloatArray, used: FloatArray) -> FloatArray:
        """From what is known."""
        price = super().signed(prices, elapsed=elapsed, requests=requests, used=used)
        return price if elapsed < 0.5 else price * self.values


@dataclass(frozen=True)
class Found:
    """Shares of hindsight by day and pacer of one family and seed, the least share of two days that look alike until
    noon by the second of them, floors' least delivery, broken budgets, and replays.

    `learnt` is by kind of past days: what each history says is to be believed, and by day the least share of hindsight
    over histories.
    """

    family: str
    shares: dict[str, float]
    told: dict[str, float]
    delivered: dict[str, float]
    learnt: dict[str, tuple[list[float], dict[str, float]]]
    broken: int
    replays: int
    requests_per_s: float
    retried: int


def study(family: str, requests: int, seed: int, look: int) -> Found:
    """One population, every day, every pacer."""
    most = max(day.requests for day in DAYS.values())
    whole = columns(family, int((1 + most) * requests) + 1, seed=seed)
    share = requests / (len(whole["user"].offsets) - 1)
    limits = {
        kind: [replace(limit, limit=max(1.0, float(int(limit.limit * share)))) for limit in whole.get(kind, ())]
        for kind in ("budgets", "floors")
    }
    forecast = part(whole, 0, requests, limits)
    plan, retried = certified(forecast)
    prices = publish(forecast, plan, start=START)
    shares, delivered, broken, replays, seconds, served = {}, {}, 0, 0, 0.0, 0
    streams: dict[str, Callable[[Pacer], Replay]] = {}
    best: dict[tuple[int, float], float] = {}
    for name, day in DAYS.items():
        n = int(day.requests * requests)
        stream = part(whole, requests, requests + n, limits)
        if day.values != 1.0:
            later = stream.user_of(np.arange(stream.n_candidates)) >= n // 2
            stream = replace(
                stream, user=UserOffsets(stream.offsets), value=stream.value * np.where(later, day.values, 1.0)
            )
        if (n, day.values) not in best:
            found, again = certified(stream)
            best[n, day.values], retried = found.upper_bound, retried + again
        early = int(day.share * n)
        clock = np.concatenate([np.arange(early) / early / 2, 0.5 + np.arange(n - early) / (n - early) / 2])
        hindsight = best[n, day.values]
        streams[name] = partial(replay, stream, prices, elapsed=clock, hindsight=hindsight, block=look)
        for pace, pacer in PACERS.items():
            began = time.process_time()
            done = streams[name](pacer)
            seconds, served = seconds + time.process_time() - began, served + n
            shares[f"{name}: {pace}"] = done.share
            broken, replays = broken + exceeded(done, prices), replays + 1
            reached = [done.used[limit.label] / limit.limit for limit in stream.floors]
            delivered[f"{name}: {pace}"] = min(reached, default=1.0)
    learnt = {}
    for number, (kind, days) in enumerate(KINDS.items()):
        values, least_of = [], dict.fromkeys(days, np.inf)
        for history in range(HISTORIES):
            rng = np.random.default_rng([seed, PLANNED.index(family), number, history])
            values.append(estimate_returns(past_days(kind, requests, rng)).believed)
        for name in days:
            for value in sorted(set(values)):
                done = streams[name](RemainingRatio(returns=value))
                least_of[name] = min(least_of[name], done.share)
                broken += exceeded(done, prices)
                replays += 1
        learnt[kind] = values, least_of
    told = {
        days[1]: max(
            min(
                streams[name](ToldAtNoon(morning=x, day=DAYS[name].requests, values=DAYS[name].values)).share
                for name in days
            )
            for x in mornings
        )
        for days, mornings in ALIKE.items()
    }
    return Found(family, shares, told, delivered, learnt, broken, replays, served / seconds, retried)


def exceeded(done: Replay, prices: Prices) -> int:
    """Budgets of which more was used than their limit."""
    return sum(done.used[item.name] > item.limit for item in prices.budgets if not item.floor)


def past_days(kind: str, requests: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Requests (days, hours) of past days that differ by a share drawn evenly from ±`DIFFER`.

    By it all hours of a day are larger, or those before noon are and those after it as much smaller; of `both`, each
    day is of one of these kinds, with even chances.
    """
    off = rng.uniform(-DIFFER, DIFFER, (PAST_DAYS, 1))
    moved = rng.random((PAST_DAYS, 1)) < {"size": 0.0, "times": 1.0, "both": 0.5}[kind]
    after = np.where(moved, -off, off)
    return rng.poisson(requests * HOURLY * (1.0 + np.where(np.arange(24) < 12, off, after)))


def certified(problem: PlanningProblem) -> tuple[Plan, int]:
    """A plan within `CLOSE` of its upper bound, the best of some seeds; and how many had to be tried again."""
    found = []
    for seed in range(SEEDS):
        found.append(solve(problem, threads=1, seed=seed))
        if found[-1].gap <= CLOSE:
            break
    return min(found, key=lambda plan: plan.gap), len(found) - 1


def part(whole: dict[str, object], first: int, last: int, limits: dict[str, list[object]]) -> PlanningProblem:
    """Users `first` to `last` of a population, with the day's limits."""
    offsets = whole["user"].offsets[first : last + 1]  # type: ignore[attr-defined]
    rows = slice(int(offsets[0]), int(offsets[-1]))
    pick: Callable[[str], dict[str, object]] = lambda key: {  # noqa: E731
        name: column[rows]
        for name, column in whole.get(key, {}).items()  # type: ignore[attr-defined]
    }
    return PlanningProblem(
        UserOffsets(offsets - offsets[0]),
        whole["value"][rows],
        pick("codes"),
        pick("costs"),
        **limits,  # type: ignore[index, arg-type]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000, help="of the forecast (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="populations a family (default: %(default)s)")
    parser.add_argument("--families", nargs="*", default=PLANNED, help="to judge (default: all)")
    parser.add_argument("--first", type=int, default=FIRST, help="the first population (default: %(default)s)")
    parser.add_argument(
        "--look", type=int, default=LOOK, help="requests between two looks at prices (default: %(default)s)"
    )
    parser.add_argument("--keep", type=Path, default=Path("planning-online"), help="folder of what is done")
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    found = []
    for family in args.families:
        for seed in range(args.first, args.first + args.seeds):
            file = args.keep / f"{family}-{args.requests}-{seed}-{args.look}.json"
            if not file.is_file():
                file.write_text(json.dumps(asdict(study(family, args.requests, seed, args.look))))
            found.append(Found(**json.loads(file.read_text())))
    result = text(found, args.requests, args.look)
    if (args.first, args.look) == (FIRST, LOOK):
        publish_result("planning_online", result)
    else:  # other populations, or other looks, are no page
        print(result)


def text(found: list[Found], requests: int, look: int) -> str:
    """The result as Markdown."""
    families = {name: sum(one.family == name for one in found) for name in PLANNED}
    families = {name: populations for name, populations in families.items() if populations}
    head = ("", *(f"{name} ({populations})" for name, populations in families.items()))
    missing = [name for name in PLANNED if name not in families]
    parts = [
        "## Prices that serve",
        f"{requests:,} requests of 20 candidates are forecast and planned for; prices are published; then a day's "
        f"requests come one by one, prices looked at every {look} of them. Least share of the hindsight optimum's "
        "upper bound over the populations of a family (how many stands beside it), none of which the pacer was made "
        "with, hard stops on. Budgets exceeded in "
        f"all {sum(one.replays for one in found):,} replays: **{sum(one.broken for one in found)}**. "
        f"{np.mean([one.requests_per_s for one in found]):,.0f} requests are replayed a CPU second. "
        f"{sum(one.retried for one in found)} of the plans ended more than {100 * CLOSE:g} % "
        "below their own upper bound, and were made again with another seed."
        + (f" **Not judged in this run:** {', '.join(missing)}." if missing else ""),
    ]
    for name, day in DAYS.items():
        rows = [(pace, *least(found, lambda one, key=f"{name}: {pace}": one.shares[key])) for pace in PACERS]
        claim = ""
        if day.bar is not None:
            ours = min(one.shares[f"{name}: {OURS}"] for one in found)
            claim = f" Claimed: at least {100 * day.bar:g} %; least found with the remaining ratio {100 * ours:.2f} %."
            claim += "" if ours >= day.bar else " **Not held.**"
        parts += [f"### {name[0].upper()}{name[1:]}", f"% of hindsight.{claim}", table(head, rows)]
    both = [
        (
            f"{days[0]} / {days[1]}: {which}",
            *least(found, lambda one, days=days, of=of: of(one, days)),
        )
        for days in ALIKE
        for which, of in (
            ("told at noon", lambda one, days: one.told[days[1]]),
            ("remaining ratio", lambda one, days: min(one.shares[f"{name}: {OURS}"] for name in days)),
        )
    ]
    parts += [
        "### Days that look alike until noon",
        "% of hindsight, the lesser of both days. *Told at noon*: the morning's prices are the best compromise between "
        "the two days, chosen afterwards, and from noon on all that is to come is known. No pacer that does not know "
        "in the morning which day it is comes much above that on both.",
        table(head, both),
    ]
    worst = {
        name: [min(one.shares[f"{day}: {name}"] for one in found for day in days) for days in (SIZES, TIMES)]
        for name in BELIEFS.values()
    }
    parts += [
        "### What to believe of tomorrow",
        "% of hindsight, least over all families and populations, by `returns`: the chance that requests that are "
        f"missing in the morning come later. Where nobody knows, it is {RETURNS:g}.",
        table(
            ("returns", "30 % more or fewer requests", "30 % of half a day moved"),
            [
                (f"{value:g}", *(f"{100 * share:.2f}" for share in worst[name]))
                for value, name in sorted(BELIEFS.items())
            ],
        ),
    ]
    parts += learnt_text(found, head)
    floors = {name: min(one.delivered[f"{name}: {OURS}"] for one in found) for name in DAYS}
    parts.append(
        "Floors, least share of a guarantee delivered over ten of them (remaining ratio; prices do not promise what a "
        "plan does): " + "; ".join(f"{name} {100 * share:.1f} %" for name, share in floors.items()) + "."
    )
    return "\n\n".join(parts)


def learnt_text(found: list[Found], head: tuple[str, ...]) -> list[str]:
    """What past days taught, and what that earned."""
    rows, claims = [], []
    for kind, days in KINDS.items():
        values = [value for one in found for value in one.learnt[kind][0]]
        worst = {name: min(one.learnt[kind][1][name] for one in found) for name in days}
        default = min(one.shares[f"{name}: {OURS}"] for one in found for name in days[1:])
        missed = [name for name in days if worst[name] < (DAYS[name].bar or 0.0)]
        claims.append(
            f"- *{kind}*: believed {min(values):.3f} to {max(values):.3f}, {np.mean(values):.3f} on average (the "
            f"default of {RETURNS:g} in {values.count(RETURNS)} of {len(values)} histories). Least found "
            f"{100 * worst['as forecast']:.2f} % on days as forecast and "
            f"{100 * min(worst[name] for name in days[1:]):.2f} % on shifted ones (with the default on all "
            f"{100 * default:.2f} %). " + (f"**Not held:** {'; '.join(missed)}." if missed else "Held.")
        )
        rows += [
            (f"{kind}: {name}", *least(found, lambda one, kind=kind, name=name: one.learnt[kind][1][name]))
            for name in days
        ]
    first = next(iter(ALIKE))
    bound = min(one.told[first[1]] for one in found)
    return [
        "### Learnt from past days",
        f"{PAST_DAYS} past days are drawn, as counts of their requests in each hour and nothing else (Poisson around "
        "their profile). `estimate_returns` says from them what to believe, as it does with `history` in a problem's "
        "file: of its interval, what is nearest to the default. Days differ by up to "
        f"{100 * DIFFER:g} %, drawn evenly: of *size*, all of a day's requests are more or fewer; of *times*, so many "
        "of one half of the day come in the other; of *both*, each day is of one of these kinds, with even chances. "
        f"{len(found) * HISTORIES} histories of each kind, {HISTORIES} a population. % of hindsight, least over "
        "populations and histories, on days of the kind that the history is of.",
        "Claimed: at least 99.8 % on days as forecast and 99 % on shifted ones.\n\n" + "\n".join(claims),
        table(head, rows),
        "Where days are of both kinds, no history says of which the next one is: *told at noon*, which knows more than "
        f"any pacer, has {100 * bound:.2f} % at its least on both of *{first[0]}* and *{first[1]}*.",
    ]


def least(found: list[Found], of: Callable[[Found], float]) -> list[str]:
    """By family, the least over its populations, in %."""
    families = [name for name in PLANNED if any(one.family == name for one in found)]
    return [f"{100 * min(of(one) for one in found if one.family == family):.2f}" for family in families]


if __name__ == "__main__":
    main()
