"""Claim: of many Double DQN policies from one log some beat the policy that logged it, and OPE tells which.

Yuan et al. (CIKM 2022) in their notification-spacing simulator: a week's log, Double DQN policies that differ in their
hyper-parameters, off-policy evaluation by weights of trajectories, of single steps, and of states; then what is chosen
by it against the survival rule that was in production, with its threshold tuned in the simulator itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.linkedin_offline_rl.judging import ACTIVE_BINS, BINS, LEAST_SHARE, TRUSTED, WAYS
from benchmarks.linkedin_offline_rl.oracle import FloatArray, Plan
from benchmarks.linkedin_offline_rl.policies import (
    DAYS,
    EARLIER_USERS,
    EPSILON,
    RULE_USERS,
    Always,
    behaviour_policy,
    settled,
    survival_rules,
)  # fmt: skip
from benchmarks.linkedin_offline_rl.seed import best, live, run_seed
from benchmarks.measure import publish, table
from homing.estimates import interval
from homing.policies import PolicyArtifact, SilencePolicy
from homing.simulation import AnyPolicy
from homing.simulation.linkedin import LiftRule, LinkedInParameters

#: Users and seed of what rules are tuned on, and of what is told of policies that no log teaches.
TUNING_USERS, TUNING_SEED = 8_000, 5_000
#: τ of the rule that knows true probabilities.
TRUE_THRESHOLDS = (0.3, 0.4, 0.5, 0.6)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(21, 41)], help="of logs (default: 21 to 40)")
    parser.add_argument("--policies", type=int, default=128, help="from each log (default: %(default)s)")
    parser.add_argument("--users", type=int, default=8000, help="of a log; half train, half judge")
    parser.add_argument("--steps", type=int, default=1000, help="of gradient (default: %(default)s)")
    parser.add_argument("--judged-users", type=int, default=2000, help="of the truth (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=Path("linkedin"), help="folder of what is done")
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)

    def kept(name: str, make: Callable[[], Any]) -> Any:
        file = args.keep / f"{name}.json"
        if not file.exists():
            file.write_text(json.dumps(make()), encoding="utf-8")
        return json.loads(file.read_text(encoding="utf-8"))

    behaviour = cache(behaviour_policy)
    rules = cache(lambda: survival_rules(behaviour()))
    known = kept("known", lambda: ladder(behaviour(), rules()))
    sizes = {name: getattr(args, name) for name in ("users", "policies", "steps", "judged_users")}

    def one(seed: int) -> dict[str, Any]:
        tuned = {horizon: rules()[horizon][threshold] for horizon, threshold in known["tuned"].items()}
        return run_seed(behaviour(), tuned, seed, **sizes)

    found = [kept(f"seed-{seed}", partial(one, seed)) for seed in args.seeds]
    publish("linkedin_offline_rl", text(known["rows"], [arrays(each) for each in found], args))


def arrays(one: dict[str, Any]) -> dict[str, Any]:
    """A seed's result with arrays for lists."""
    return {name: np.array(value) if isinstance(value, list) else value for name, value in one.items()}


def ladder(behaviour: AnyPolicy, rules: dict[str, dict[str, PolicyArtifact]]) -> dict[str, Any]:
    """A table of what policies are worth that no log teaches, and the survival rule's best threshold by horizon."""
    parameters = LinkedInParameters()
    base = live(behaviour, TUNING_USERS, TUNING_SEED)
    rows = []

    def worth(name: str, policies: dict[str, AnyPolicy]) -> str:
        """Add the best of some policies as a row, and return which it is."""
        runs = {key: live(policy, TUNING_USERS, TUNING_SEED) for key, policy in policies.items()}
        which = max(runs, key=lambda key: runs[key].value("visits").value)
        gain, sends = (runs[which].minus(base, objective) for objective in ("visits", "sends"))
        rows.append((name.format(which), f"{runs[which].value('visits').value:.3f}", str(gain), f"{sends.value:+.2f}"))
        return which

    worth("never send", {"": SilencePolicy()})
    worth("always send", {"": Always()})
    worth("behaviour", {"": behaviour})
    tuned = {
        horizon: worth(f"survival rule, {horizon}, best τ = {{}}", dict(each)) for horizon, each in rules.items()
    }  # fmt: skip
    true = {f"{threshold:g}": LiftRule(parameters, threshold, EPSILON) for threshold in TRUE_THRESHOLDS}
    worth("the same form with true probabilities, best τ = {}", dict(true))
    worth("oracle: dynamic programming with the world's numbers", {"": Plan.of(parameters, EPSILON)})
    return {"rows": rows, "tuned": tuned}


def text(known: list[list[str]], found: list[dict[str, Any]], args: argparse.Namespace) -> str:
    """The result as Markdown."""
    beat = np.array([(one["visits"] > 0).sum() for one in found])
    surely = np.array([(one["visits"] > 1.96 * one["errors"]).sum() for one in found])
    top = np.array([one["visits"].max() for one in found])
    rows = []
    for way in WAYS:
        loose = np.array([taken(one, way, 0.0)["visits"] for one in found])
        gain, told = (np.array([taken(one, way)[key] for one in found]) for key in ("visits", "told"))
        error = np.concatenate([one["told"][:, WAYS.index(way), 0] - one["visits"] for one in found])
        rows.append(
            (way, wins(loose)[0], *wins(gain), mean(gain), mean(top - gain), mean(told - gain), f"{rms(error):.3f}")
        )  # fmt: skip
    random = np.array([one["visits"].mean() for one in found])
    rows.append(
        ("any one, at random", f"{(beat / args.policies).mean():.0%}", "", "", mean(random), mean(top - random), "", "")
    )
    against = []
    held = {
        "one configuration": [one["settled"] for one in found],
        "chosen by OPE": [taken(one, TRUSTED) for one in found],
    }
    for name in found[0]["rules"]:
        for who, ours in held.items():
            visits, sends = (
                np.array([mine[key] - one["rules"][name][key] for mine, one in zip(ours, found, strict=True)])
                for key in ("visits", "sends")
            )
            both = int(((visits > 0) & (sends <= 0)).sum())
            against.append((f"{who}, against {name}", mean(visits), mean(sends), f"{both} of {len(found)}"))
    return "\n\n".join([
        "## Many Double DQN policies from one log of the notification-spacing world",
        f"{args.users:,} users, {DAYS} days of a survival rule that was fitted on {EARLIER_USERS} users of random "
        "decisions, its threshold too, and that nobody has tuned online. Half of a log's users train, half judge. All "
        f"policies explore with ε = {EPSILON:g}, so that none gains by exploring less, and see what the paper's state "
        "holds: badge, queue, time of the week, activeness. What policies are worth without a log, visits a user and "
        f"week ({TUNING_USERS:,} users, the same users and chance for all; 95 % intervals):",
        table(("policy", "visits", "more than behaviour", "sends more"), known),
        f"**{args.policies} policies with different hyper-parameters from one log**, trained as one batched network in "
        f"{np.median([one['train_s'] for one in found]):.0f} CPU s (median). In {len(found)} logs (seeds "
        f"{', '.join(map(str, args.seeds))}) "
        f"**{beat.mean():.0f} of {args.policies} beat behaviour** ({beat.min()} to {beat.max()}; the paper has 38 of "
        f"128 in one log), {surely.mean():.0f} of them by more than 1.96 standard errors ({surely.min()} to "
        f"{surely.max()}). Truth: {args.judged_users:,} fresh users, the same users and chance for all. The best "
        f"policy of a log gains {mean(top)} visits a user and week.",
        "**Selection by off-policy evaluation** on the other half of the users, by the highest lower bound (one-sided "
        f"95 %): of all policies, and of those whose weights leave at least {LEAST_SHARE:.0%} of the log's decisions "
        "in effect (Kish's size; by trajectories, of users), where the behaviour policy stays if there is none. That "
        "share, states and bound were fixed on logs of other seeds. Columns from the third on are of the second rule. "
        f"Means over logs with 95 % t intervals; badge and queue in up to {BINS} bins, activeness in {ACTIVE_BINS}:",
        table(
            ("weights by", "choice of all beats behaviour", "choice beats behaviour", "95 % interval", "its gain",
             "lost to the best", "told too much", "error of all, RMS"), rows,
        ),
        "Error of what is told, by how much a policy differs from the log: "
        + "; ".join(flattered(found, way) for way in WAYS[2:])
        + ". Policies that hold messages back are told too good: what a log of prompt sends shows of them is little.",
        "**Against the survival rule** whose threshold is tuned in the simulator itself on visits, fitted on "
        f"{RULE_USERS:,} users of random decisions, as many as train; for the horizon T of its chance of a visit, the "
        "usual 24 hours and the 4 of a step. Held against it: Double DQN of one configuration that was fixed on logs "
        f"of other seeds (an ensemble of {settled().members}), from the same half of the log, and what is chosen by "
        f"`{TRUSTED}`. Means over logs with 95 % t intervals, a user and week:",
        table(("policies", "visits more", "sends more", "logs with more visits at no more sends"), against),
    ])  # fmt: skip


def flattered(found: list[dict[str, Any]], way: str) -> str:
    """Mean error of estimates, of policies that send much less than behaviour and of others."""
    error = np.concatenate([one["told"][:, WAYS.index(way), 0] - one["visits"] for one in found])
    fewer = np.concatenate([one["sends"] for one in found]) < -1.0
    return (
        f"by {way}, {error[fewer].mean():+.2f} visits where it sends at least one message a week less, "
        f"{error[~fewer].mean():+.2f} elsewhere"
    )


def taken(one: dict[str, Any], way: str, least: float = LEAST_SHARE) -> dict[str, float]:
    """Visits and sends of what is chosen, above the behaviour policy's, and what was told; 0 where that one stays."""
    which = best(one["told"], way, least)
    if which is None:
        return {"visits": 0.0, "sends": 0.0, "told": 0.0}
    return {
        "visits": float(one["visits"][which]),
        "sends": float(one["sends"][which]),
        "told": float(one["told"][which, WAYS.index(way), 0]),
    }


def wins(gains: FloatArray) -> tuple[str, str]:
    """How often a selection beats behaviour, with the exact binomial interval."""
    count = int((gains > 0).sum())
    ends = stats.binomtest(count, len(gains)).proportion_ci(0.95, "exact")
    return f"{count} of {len(gains)}", f"{ends.low:.0%} to {ends.high:.0%}"


def rms(values: FloatArray) -> float:
    """Root mean square."""
    return float(np.sqrt((values**2).mean()))


def mean(values: FloatArray) -> str:
    """Mean over logs with its t interval."""
    found = interval(float(values.mean()), (values - values.mean()) / len(values), 0.95)
    return f"{found.value:+.3f} [{found.lower:+.3f}, {found.upper:+.3f}]"


if __name__ == "__main__":
    main()
