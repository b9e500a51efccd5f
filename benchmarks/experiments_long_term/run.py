"""Claim: what is read soon, under a shared budget or with noise in whom one reaches, is either right or refused.

Surrogates, budgets and four intervals in worlds with a known truth, beside what one would do without them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import binomtest

from benchmarks.experiments_long_term.worlds import Columns, Pressure, competing
from benchmarks.measure import publish, table
from homing.experiments import (
    EffectPrior,
    KaplanMeier,
    Metric,
    PastExperiment,
    SendCounts,
    SurrogateIndex,
    Window,
    complier_effect,
    decompose,
    progressive_effect,
    read_budget,
)

SURROGATES = {
    ("sessions during",): Window(14),
    ("sessions during", "reachable on day 14"): Window(14),
    ("sessions after", "reachable on day 21"): Window(7, 14),
    ("sessions after", "reachable on day 14"): Window(7, 14),
}
USERS = 20_000
BAR = 0.1


def main() -> None:
    began = time.process_time()
    rngs = iter(np.random.default_rng(20_260_102).spawn(6))
    parts = [
        "## Long-term effects, shared budgets, and intervals, in worlds with a known truth",
        "### A treatment that lifts sessions by 8 % for 14 days and doubles opt-outs, which cost 30 % of sessions",
        _surrogates(next(rngs)),
        "### One budget for both variants; the treatment scores everyone higher, and changes nothing if all have it",
        _budgets(next(rngs)),
        "### Coverage",
        table(("interval", "nominal", "found", "beside it"), list(_coverage(next(rngs)))),
        f"{time.process_time() - began:.0f} CPU s.",
    ]
    publish("experiments_long_term", "\n\n".join(parts))


def _surrogates(rng: np.random.Generator) -> str:
    world = Pressure()
    effects = world.effects(rng, 2_000_000)
    history, experiment = world.users(rng, 400_000, treated=False), world.experiment(rng, USERS)
    past = list(_past(rng))
    rows = []
    for names, window in SURROGATES.items():
        index = SurrogateIndex(names, "later", window).fit(history)
        found = index.estimate(experiment, treatment="treatment", control="control", treatment_days=14)
        expected = sum(index.weights[name] * effects[name] for name in names)
        bias = (expected - effects["later"]) / found.effect.std_error
        # An index of its own for the past experiments, where more people opt out.
        checked = SurrogateIndex(names, "later", window).fit(past[0].data).validate(past[1:])
        wrong = sum(call.opposite for call in checked.calls)
        verdict = "valid" if checked.valid else f"refused: {wrong} of {len(checked.calls)} called the wrong way"
        slope = "–" if checked.slope is None else str(checked.slope)
        rows.append((" + ".join(names), f"{expected:+.3f}", f"{bias:+.2f}", verdict, slope))
    return (
        f"True effect on sessions of days 21 to 63: {effects['later']:+.3f}. Bias in standard errors of an experiment "
        f"with {USERS:,} users a variant; the bar for the last row is {BAR}. Validation is on eight past experiments "
        "with treatments of the same kind, stronger and weaker, of 20,000 users a variant.\n\n"
        + table(("surrogates", "expected effect on the index", "bias / SE", "`validate`", "slope"), rows)
    )


def _past(rng: np.random.Generator) -> Iterator[PastExperiment]:
    """History, as if it were an experiment, and eight experiments."""
    quiet = Pressure(opt_outs=0.2)
    yield PastExperiment("history", quiet.users(rng, 40_000, treated=False), "", "", 14)
    designs = [(0.08, 2.0), (0.1, 2.5), (-0.04, 0.2), (0.05, 3.0), (-0.03, 0.3), (0.02, 1.0), (0.1, 1.5), (-0.02, 0.5)]
    for i, (lift, times) in enumerate(designs):
        data: Columns = Pressure(opt_outs=0.2, lift=lift, times=times).experiment(rng, USERS)
        yield PastExperiment(f"e{i}", data, "treatment", "control", 14)


def _budgets(rng: np.random.Generator) -> str:
    rows = []
    for split, bar in ((False, "> 30 % (shown)"), (True, "<= 5.65 %")):
        found = [competing(1000, 1200, 240, rng, split=split) for _ in range(10)]
        rejected = sum(int((p < 0.05).sum()) for p, _ in found)
        lift = float(np.mean([lift for _, lift in found]))
        name = "its own budget for each (`BudgetSplit`)" if split else "one budget, compared by users"
        rows.append((name, f"{lift:+.1%}", _share(rejected, 10_000), bar))
    counts = {"one cap of 500 a day, not known to the reader": 500, "none": None}
    seen = []
    for name, cap in counts.items():
        alarms = sum(read_budget(_sends(rng, cap)).shared for _ in range(1000))
        seen.append((name, _share(alarms, 1000)))
    return (
        table(("design", "lift shown", "rejects at 5 %, true effect 0", "bar"), rows)
        + "\n\nWhat `read_budget` says of twenty days of sends:\n\n"
        + table(("cap", "says that variants share one"), seen)
    )


def _sends(rng: np.random.Generator, cap: int | None) -> SendCounts:
    if cap is None:
        sends = rng.poisson(250.0, (20, 2)).astype(np.float64)
    else:
        part = rng.beta(60, 50, 20)
        sends = np.round(cap * np.column_stack([1 - part, part]))
    return SendCounts(("control", "treatment"), np.array([1000, 1000]), sends)


def _coverage(rng: np.random.Generator) -> Iterator[tuple[str, ...]]:
    def study(draw: Callable[[], tuple[bool, bool]], times: int) -> tuple[str, str]:
        hits = np.array([draw() for _ in range(times)])
        return _share(int(hits[:, 0].sum()), times), _share(int(hits[:, 1].sum()), times)

    def complier() -> tuple[bool, bool]:
        sent = np.repeat([0.0, 1.0], 150)
        eager = rng.normal(size=300)
        received = 2 + 0.1 * sent + eager
        found = complier_effect(sent, received, received + 2 * eager + rng.normal(size=300))
        return 1.0 in found.anderson_rubin, found.effect.lower <= 1.0 <= found.effect.upper

    def reachable() -> tuple[bool, bool]:
        loss, end = np.ceil(rng.exponential(25, 200)), rng.integers(10, 40, 200)
        time_, lost = np.minimum(loss, end), loss <= end
        truth = np.exp(-np.arange(28) / 25).sum()
        mean, variance = KaplanMeier.fit(time_, lost).restricted_mean(28)
        short = np.minimum(time_, 28)
        naive = abs(short.mean() - truth) <= 1.972 * short.std() / np.sqrt(200)
        return bool(abs(mean - truth) <= 1.972 * np.sqrt(variance)), bool(naive)

    days, fade = 60, np.exp(-np.arange(60) / 5)
    spread = 0.03**2 * np.ones((days, days)) + 0.05**2 * np.outer(fade, fade)
    prior = EffectPrior(np.zeros(days), spread, 0.15 * np.ones((days, days)) + 0.2 * np.eye(days))
    roots = [np.linalg.cholesky(each + 1e-12 * np.eye(days)) for each in (prior.covariance, prior.noise)]

    def early() -> tuple[bool, bool]:
        effect = roots[0] @ rng.normal(size=days)
        arms = [rng.normal(size=(300, days)) @ roots[1].T + shift for shift in (0.0, effect)]
        seen = np.where(np.arange(days) < rng.integers(6, 11, 300)[:, None], 0.0, np.nan)
        found = progressive_effect(arms[0] + seen, arms[1] + seen, prior).effect
        six = [6 * arm[:, :6].mean(axis=1) * 10 for arm in arms]
        gap, error = six[1].mean() - six[0].mean(), np.sqrt(sum(arm.var(ddof=1) / 300 for arm in six))
        return found.lower <= effect.sum() <= found.upper, bool(abs(gap - effect.sum()) <= 1.96 * error)

    orders = Metric("orders", "mean", "orders")

    def segments() -> tuple[bool, bool]:
        n = 1600
        rows = {
            "variant": np.array(["a", "b"])[rng.integers(0, 2, n)],
            "orders": rng.normal(2, 1, n),
            **{name: rng.integers(0, 4, n).astype(str) for name in ("country", "platform", "plan")},
        }
        by = ["country", "platform", "plan"]
        found = decompose(rows, orders, "segments", baseline="a", comparison="b", by=by, rng=rng)
        one = found.terms[0].name.split(" and ")
        inside = np.all([rows[part.split(" = ")[0]] == part.split(" = ")[1] for part in one], axis=0)
        # By eye: the segment that was found, tested on all units, those of the search among them.
        treated = rows["variant"] == "b"
        means, errors = [], 0.0
        for where in (inside, ~inside):
            arms = [rows["orders"][where & side] for side in (~treated, treated)]
            means.append(arms[1].mean() - arms[0].mean())
            errors += sum(arm.var(ddof=1) / len(arm) for arm in arms)
        by_eye = abs(means[0] - means[1]) > 1.96 * np.sqrt(errors)
        return all(item.p_value is None or item.p_value >= 0.05 for item in found.terms), not by_eye

    names = {
        "complier effect, a weak instrument (F about 2): Anderson–Rubin; t interval of the ratio": (
            complier,
            2000,
        ),
        "mean reachable days, a third censored: Kaplan–Meier; mean of what was seen": (reachable, 4000),
        "60-day effect on day 10: posterior; ten times the first six days": (early, 1000),
        "no segment's effect differs: tested on the other half; on all units": (segments, 400),
    }
    for name, (draw, times) in names.items():
        found, beside = study(draw, times)
        yield name, "95%", found, beside


def _share(hits: int, of: int) -> str:
    ends = binomtest(hits, of).proportion_ci(0.95)
    return f"{hits / of:.2%} [{ends.low:.2%}, {ends.high:.2%}]"


if __name__ == "__main__":
    main()
