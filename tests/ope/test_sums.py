"""Sums over batches give what the whole log gives: another route to the same numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.log import LoggedDataset
from homing.ope import OPEReport, PolicySums, SumsSupport, compare, evaluate_policy
from homing.ope.estimators import DR, IPS, SNDR, SNIPS, DRos, SwitchDR

NAMES = ("clicked", "spend")
CHOSEN = (IPS(), SNIPS(), DR(), SNDR(), SwitchDR(tau=3.0), DRos(lam=5.0))
N, K, USERS = 3000, 4, 700


@pytest.fixture(scope="module")
def world() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    logging, mild, bold = (rng.dirichlet(np.full(K, a), N) for a in (3.0, 3.0, 0.8))
    action = (logging.cumsum(axis=1) < rng.random(N)[:, None]).sum(axis=1).clip(0, K - 1)
    user = rng.integers(0, USERS, N)
    keen = rng.random(USERS)[user]
    clicked = rng.random(N) < 0.1 + 0.3 * keen + 0.05 * action
    return {
        "mild": mild,
        "bold": bold,
        "action": action,
        "propensity": logging[np.arange(N), action],
        "user": user,
        "reward": np.column_stack([clicked, clicked * rng.gamma(2.0, 10.0, N)]),
        "q": np.stack([np.full((N, K), 0.3), rng.normal(5.0, 1.0, (N, K))], axis=2),
    }


def whole(world: dict[str, np.ndarray], policy: str, cluster: str = "user") -> OPEReport:
    order = np.argsort(world["user"], kind="stable")
    log = LoggedDataset(
        context=np.zeros((N, 1)),
        candidates=np.zeros((N, K, 1)),
        eligible=np.ones((N, K), bool),
        action=world["action"][order],
        propensity=world["propensity"][order],
        reward=world["reward"][order],
        objectives=NAMES,
        user=world["user"][order],
        time=np.arange(N),
    )
    return evaluate_policy(
        log, world[policy][order], q_hat=world["q"][order], estimators=CHOSEN, cluster=cluster, policy=policy
    )


def batches(world: dict[str, np.ndarray], rows: list[np.ndarray]) -> Iterator[dict[str, object]]:
    every = np.arange(N)
    for at in rows:
        yield {
            "user": world["user"][at],
            "reward": world["reward"][at],
            "weight": {p: (world[p][every, world["action"]] / world["propensity"])[at] for p in ("mild", "bold")},
            "q_logged": world["q"][every, world["action"]][at],
            "q_policy": {p: np.einsum("nk,nkm->nm", world[p], world["q"])[at] for p in ("mild", "bold")},
        }


def made(world: dict[str, np.ndarray], rows: list[np.ndarray], cluster: str = "user") -> PolicySums:
    sums = PolicySums(NAMES, policies=("mild", "bold"), estimators=CHOSEN, cluster=cluster)  # type: ignore[arg-type]
    for batch in batches(world, rows):
        sums.add(**batch)  # type: ignore[arg-type]
    return sums


def shuffled(parts: int) -> list[np.ndarray]:
    return np.array_split(np.random.default_rng(5).permutation(N), parts)


@pytest.mark.parametrize("cluster", ["user", "decision"])
def test_values_and_intervals_are_those_of_the_whole_log(world: dict[str, np.ndarray], cluster: str) -> None:
    report = made(world, shuffled(7), cluster).report()
    for policy in ("mild", "bold"):
        known = whole(world, policy, cluster)
        for (estimator, objective), wanted in known.estimates.items():
            found = report.estimate(objective, estimator, policy)
            assert (found.value, found.lower, found.upper) == pytest.approx(
                (wanted.value, wanted.lower, wanted.upper), rel=1e-9
            )
        logged = report.estimate("spend", "logged")
        assert logged.std_error == pytest.approx(known.logged["spend"].std_error, rel=1e-9)
        assert report.support[policy].ess == pytest.approx(known.support.ess, rel=1e-9)
        assert report.support[policy].weight_mean == pytest.approx(known.support.weight_mean, rel=1e-9)
        assert report.support[policy].max_weight == known.support.max_weight
        assert report.n_users == known.n_users


def test_differences_are_paired_by_user(world: dict[str, np.ndarray]) -> None:
    report = made(world, shuffled(3)).report()
    challenger, champion = whole(world, "bold"), whole(world, "mild")
    for estimator in ("snips", "dr", "sndr"):
        wanted = compare(challenger, champion, "spend", estimator)
        found = report.difference("bold", "mild", "spend", estimator)
        assert (found.value, found.std_error) == pytest.approx((wanted.value, wanted.std_error), rel=1e-8)


def test_weights_of_objectives_are_applied_afterwards(world: dict[str, np.ndarray]) -> None:
    report = made(world, shuffled(3)).report()
    known = whole(world, "bold")
    psi = np.stack([known.influence["dr", name] for name in NAMES])
    count = known.n_users
    assert report.covariance("dr", "bold") == pytest.approx(count / (count - 1) * psi @ psi.T, rel=1e-8)
    both = report.weighted({"clicked": 2.0, "spend": -0.1}, "dr", "bold")
    assert both.value == pytest.approx(
        2.0 * known.estimate("clicked", "dr").value - 0.1 * known.estimate("spend", "dr").value, rel=1e-9
    )
    combined = 2.0 * psi[0] - 0.1 * psi[1]
    assert both.std_error == pytest.approx(np.sqrt(count / (count - 1) * combined @ combined), rel=1e-8)
    assert both.interval == report.to_dict()["interval"] == "cluster-t"


def test_parts_merge_in_any_order(world: dict[str, np.ndarray]) -> None:
    parts = [made(world, [rows]) for rows in shuffled(4)]
    merged = PolicySums(NAMES, policies=("mild", "bold"), estimators=CHOSEN)
    for part in (parts[2], parts[0], parts[3], parts[1]):
        merged.merge(part)
    once = made(world, shuffled(1)).report().to_dict()
    again = merged.report().to_dict()
    assert again["n"] == once["n"] == N and again["n_users"] == once["n_users"]
    for found, wanted in zip(again["estimates"], once["estimates"], strict=True):
        assert found["policy"] == wanted["policy"]
        assert found["std_error"] == pytest.approx(wanted["std_error"], rel=1e-9)


@pytest.mark.parametrize("cluster", ["user", "whole-users"])
def test_verdicts_are_those_of_the_whole_log(
    world: dict[str, np.ndarray], cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rewards are mostly 0 here, so that an event is the same for both; of the largest weights few enough are kept that
    batches leave some out, and one more than the tail of 700 users takes (3 √700 = 79.4)."""
    monkeypatch.setattr("homing.ope.sums.moments.KEPT", 81)
    rows = [np.flatnonzero(world["user"] % 5 == part) for part in range(5)]
    report = made(world, rows, cluster).report()
    for policy in ("mild", "bold"):
        found, wanted = report.support[policy], whole(world, policy).support
        assert (found.verdict, found.reasons) == (wanted.verdict, wanted.reasons)
        for name in ("effective_users", "top_user_share", "weight_mean_error"):
            assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=1e-9), name
        assert found.tail.k == pytest.approx(wanted.tail.k, rel=1e-9)
        for objective in NAMES:
            mine, its = found.events[objective], wanted.events[objective]
            assert (mine.events, mine.verdict) == (its.events, its.verdict)
            assert mine.effective_events == pytest.approx(its.effective_events, rel=1e-9)
            assert mine.skewness == pytest.approx(its.skewness, rel=1e-6)


def judged(weight: np.ndarray, reward: np.ndarray) -> SumsSupport:
    """Of decisions of as many users, in two parts."""
    parts = []
    for at in np.array_split(np.arange(len(weight)), 2):
        parts.append(PolicySums(("clicked",)))
        parts[-1].add(user=at, reward=reward[at, None], weight={"policy": weight[at]})
    parts[0].merge(parts[1])
    return parts[0].report().support["policy"]


def test_what_the_log_cannot_judge_is_refused() -> None:
    rng = np.random.default_rng(0)
    clicked = (rng.random(4000) < 0.3).astype(float)
    one = judged(np.r_[np.full(3990, 0.01), np.full(10, 396.0)], clicked)
    assert one.verdict == "refuse" and "effective sample size is 10 of 4,000" in one.reasons[0]
    # The policy does in a tenth of decisions what the log never does: the others' weights are what they should be.
    missing = judged(2.0 * (rng.random(4000) < 0.45), clicked)
    assert missing.verdict == "refuse" and "mean importance weight is 0.9" in " ".join(missing.reasons)
    fine = judged(2.0 * (rng.random(4000) < 0.5), clicked)
    assert (fine.verdict, fine.verdict_for("clicked"), fine.reasons_for("clicked")) == ("fine", "fine", ())


@pytest.mark.parametrize(
    ("reward", "verdict", "says"),
    [
        pytest.param(np.zeros(4000), "refuse", "clicked is 0 in all 4,000 decisions", id="never"),
        pytest.param(np.ones(4000), "refuse", "clicked is 1 in all 4,000 decisions", id="always"),
        pytest.param(np.arange(4000) % 500 == 0, "caution", "rests on effectively", id="rarely"),
        pytest.param(np.arange(4000) % 500 != 0, "caution", "is skewed by a few", id="rarely not"),
        pytest.param(np.arange(4000) == 1, "refuse", "None of the 1 events of clicked carries weight", id="unweighted"),
    ],
)
def test_rare_events_are_named(reward: np.ndarray, verdict: str, says: str) -> None:
    found = judged(2.0 * (np.arange(4000) % 2 == 0), reward.astype(float))
    assert (found.verdict, found.verdict_for("clicked")) == ("fine", verdict)
    assert says in found.reasons_for("clicked")[0]


def test_whole_users_are_forgotten_batch_by_batch(world: dict[str, np.ndarray]) -> None:
    parted = [np.flatnonzero(world["user"] % 5 == part) for part in range(5)]
    streamed = made(world, parted, "whole-users")
    assert len(streamed._users.all()[0]) == 0
    found, wanted = streamed.report(), made(world, shuffled(2)).report()
    assert found.n_users == wanted.n_users
    assert found.covariances == pytest.approx(wanted.covariances, rel=1e-7, abs=1e-15)


def test_a_batch_without_weight_counts(world: dict[str, np.ndarray]) -> None:
    sums = PolicySums(("clicked",), estimators=(SNIPS(), SNDR()), cluster="decision")
    sent = np.array([0.0, 0.0, 2.0, 2.0])
    reward, q = np.array([[1.0], [0.0], [1.0], [0.0]]), np.array([[0.5], [0.25], [0.5], [0.25]])
    for at in (slice(0, 2), slice(2, 4)):
        sums.add(reward=reward[at], weight={"policy": sent[at]}, q_logged=q[at], q_policy={"policy": q[at]})
    report = sums.report()
    assert report.estimate("clicked", "snips").value == 0.5  # (2 · 1 + 2 · 0) / 4
    assert report.estimate("clicked", "sndr").value == 0.5  # mean q̂ = 0.375, Σ w (r - q̂) / Σ w = (1 - 0.5) / 4


def test_pareto_leaves_out_what_is_beaten() -> None:
    sums = PolicySums(("visit", "opt_out"), policies=("a", "b", "c"), estimators=("ips",), cluster="decision")
    reward = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    sums.add(reward=reward, weight={"a": np.array([1, 0, 0]), "b": np.array([1, 1, 0]), "c": np.array([0, 0, 1])})
    report = sums.report()
    # (visit, opt_out) · 3: a (1, 0), b (1, 1), c (1, 1): with opt-outs to be few, a beats both.
    assert report.pareto("ips", {"opt_out": "minimize"}) == ("a",)
    assert report.pareto("ips") == ("b", "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"weight": {}}, r"weight == \[\], must hold 'policy'", id="no weight"),
        pytest.param({"weight": {"policy": [1.0, -2.0]}}, r"weight\['policy'\]\[1\] == -2.0, must be", id="negative"),
        pytest.param({"reward": [[1.0], [np.nan]]}, r"reward\[1, 0\] == nan", id="nan"),
        pytest.param({"user": None}, r"user == None, must be given", id="no user"),
        pytest.param({"user": [0.5, 1.5]}, r"user == dtype\('float64'\), must be integers", id="user"),
    ],
)  # fmt: skip
def test_a_bad_batch_adds_nothing(change: dict[str, object], message: str) -> None:
    good = {"user": [0, 1], "reward": [[1.0], [0.0]], "weight": {"policy": [1.0, 1.0]}}
    sums = PolicySums(("clicked",))
    with pytest.raises(InvalidInputError, match=message):
        sums.add(**{**good, **change})  # type: ignore[arg-type]
    sums.add(**good)  # type: ignore[arg-type]
    assert (sums.n, sums.report().estimate("clicked", "ips").value) == (2, 0.5)


def test_settings_are_checked() -> None:
    with pytest.raises(InvalidInputError, match=r"tau of 'switch-dr' == None, must be a number\. .* SwitchDR\(tau=…\)"):
        PolicySums(("clicked",), estimators=("switch-dr",))
    with pytest.raises(UnknownNameError, match="Did you mean 'user'"):
        PolicySums(("clicked",), cluster="users")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"other\.objectives"):
        PolicySums(("clicked",)).merge(PolicySums(("spend",)))
    empty = PolicySums(("clicked",))
    with pytest.raises(SupportError, match="number of clusters == 0, must be >= 2"):
        empty.report()
    empty.add(user=[0, 1], reward=[[1.0], [0.0]], weight={"policy": [0.0, 0.0]})
    with pytest.raises(SupportError, match=r"sum of the weights of 'policy' == 0\.0, must be > 0"):
        empty.report()
    some = PolicySums(("clicked",))
    some.add(user=[0, 1], reward=[[1.0], [0.0]], weight={"policy": [1.0, 1.0]})
    with pytest.raises(UnknownNameError, match=r"estimator == 'logged', .* The log's own mean is of no policy"):
        some.report().pareto("logged")
