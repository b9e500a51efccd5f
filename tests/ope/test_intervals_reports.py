"""Kinds of intervals in reports: what they need is kept, on disk too; every estimator has them; so do pairs."""

import json
from dataclasses import replace

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.ope import ESTIMATORS, INTERVALS, Bounds, OPEReport, compare, compare_many, evaluate_policy
from homing.ope.intervals import Bootstrap, CressieRead

BOUNDS = Bounds(max_weight=2000.0, reward={"clicked": (-9.0, 9.0), "spend": (-9.0, 9.0)})
#: Those that need nothing but weights, rewards and a model.
PLAIN = sorted(name for name, make in ESTIMATORS.items() if not getattr(make(), "needs_ratio", None))


def test_the_default_is_the_t_interval(random_case):
    log, _, target, q_hat = random_case()
    report = evaluate_policy(log, target, q_hat=q_hat)
    assert report.interval == "cluster-t"
    item = report.estimate("clicked", "dr")
    assert report.estimate_at("clicked", "dr") == item and item.interval == "cluster-t"
    assert report.estimate_at("clicked", "dr", level=0.8) == item.at(0.8)


@pytest.mark.parametrize("kind", sorted(INTERVALS))
def test_every_estimator_has_every_interval(random_case, kind):
    """What adds a mean and a ratio has no Bernstein interval, and a note says so."""
    log, _, target, q_hat = random_case()
    rng = np.random.default_rng(0)
    report = evaluate_policy(log, target, q_hat=q_hat, estimators=PLAIN, interval=kind, bounds=BOUNDS, rng=rng)
    assert report.interval == kind
    plain = evaluate_policy(log, target, q_hat=q_hat, estimators=PLAIN)
    for (name, objective), item in plain.estimates.items():
        if kind == "bernstein" and name == "sndr":
            assert (name, objective) not in report.estimates and (name, objective) not in report.details
            assert f"{name} of {objective} is left out: interval == 'bernstein'" in " ".join(report.notes)
            continue
        found = report.estimate(objective, name)
        assert found.value == item.value and found.interval == kind
        assert found.lower <= found.value <= found.upper
        assert found.std_error == pytest.approx(item.std_error, rel=0.15)
    assert {item.interval for item in report.logged.values()} == {kind}
    report.to_text(), report.to_html()


def test_what_intervals_need_survives_the_disk(random_case, tmp_path):
    log, logging, target, q_hat = random_case()
    names = ("ips", "snips", "sndr", "dr")
    one, two = (
        evaluate_policy(log, probs, q_hat=q_hat, estimators=names, policy=name, bounds=BOUNDS)
        for probs, name in ((target, "a"), (logging, "b"))
    )
    one.save(tmp_path / "one"), two.save(tmp_path / "two")
    again, other = OPEReport.load(tmp_path / "one"), OPEReport.load(tmp_path / "two")
    assert again.to_dict() == one.to_dict() and set(again.influence) == set(one.influence)
    for kind in INTERVALS:
        for name in names if kind != "bernstein" else ("ips", "dr"):
            found, kept = (
                compare(a, b, "spend", name, interval=kind, rng=np.random.default_rng(1))
                for a, b in ((one, two), (again, other))
            )
            assert found == kept and found.interval == kind
    # SNIPS is one ratio: its term is not written twice.
    from safetensors.numpy import load_file

    kept = set(load_file(tmp_path / "one/influence.safetensors"))
    assert {name for name in kept if name.startswith("@")} == {
        "@share/decisions", "@share/weight", "@weighted/sndr/clicked", "@weighted/sndr/spend"
    }  # fmt: skip


def test_reports_of_earlier_versions_are_read(random_case, tmp_path):
    """They know no kinds and no ingredients: the most extreme user seen stands in for what was possible."""
    from homing.ope.storage import write_manifest

    log, _, target, _ = random_case()
    report = evaluate_policy(log, target)
    report.save(tmp_path)
    data = json.loads((tmp_path / "report.json").read_text())
    del data["interval"], data["ingredients"]
    for item in (*data["estimates"], *data["logged"].values()):
        del item["interval"]
    (tmp_path / "report.json").write_text(json.dumps(data))
    write_manifest(tmp_path, ("report.json", "influence.safetensors"))
    old = OPEReport.load(tmp_path)
    assert old.estimates == report.estimates
    assert old.estimate_at("clicked", "snips", interval="cressie-read").interval == "cressie-read"


def test_extremes_are_what_one_more_decision_could_do(make_log):
    """By hand: weights 0 and 2, rewards 0 and 1, so IPS terms lie in [0, 2]; V = 1/2 is what four rows give."""
    log = make_log(action=[1, 1, 0, 0], propensity=0.5, reward=[1, 0, 1, 0])
    probs = np.tile([0.0, 1.0], (4, 1))
    q_hat = np.tile([0.25, 0.75], (4, 1))
    report = evaluate_policy(log, probs, q_hat=q_hat, estimators=("ips", "snips", "dr", "dm", "clipped-ips"))
    extremes = report.ingredients.extremes
    assert extremes["ips", "clicked"] == ((-0.5, -0.5), (-0.5, 1.5))
    assert extremes["snips", "clicked"] == ((-1.0, 0.0), (0.0, 1.0))  # 2 (r - 1/2) / 1
    assert extremes["logged", "clicked"] == ((-0.5, -0.5), (0.5, 0.5))
    # V = 0.5; q̂ in [1/4, 3/4] + 2 (r - q̂), which is in [-3/2, 0] for r = 0 and in [0, 3/2] for r = 1.
    assert report.estimate("clicked", "dr").value == 0.5
    assert extremes["dr", "clicked"] == ((0.25 - 1.5 - 0.5, 0.25), (-0.25, 0.75 + 1.5 - 0.5))
    assert extremes["dm", "clicked"] == ((0.25 - 0.75, 0.0), (0.25 - 0.75, 0.0))
    assert report.ingredients.limits == {"clicked": (0.0, 1.0)} and report.ingredients.bounded == ()
    declared = evaluate_policy(
        log, probs, estimators=("ips",), bounds=Bounds(max_weight=10.0, reward={"clicked": (0.0, 3.0)})
    )
    assert declared.ingredients.extremes["ips", "clicked"] == ((-0.5, -0.5), (-0.5, 29.5))
    assert declared.ingredients.bounded == ("clicked",)


@pytest.mark.parametrize(
    ("bounds", "error", "message"),
    [
        pytest.param(
            Bounds(max_weight=1.5), InvalidInputError,
            r"weight\[0\] == 2\.0, must be <= 1\.5, as bounds\.max_weight declares", id="weight",
        ),
        pytest.param(
            Bounds(reward={"clicked": (0.0, 0.5)}), InvalidInputError,
            r"reward\[0\] of clicked == 1\.0, must be in \[0, 0\.5\]", id="reward",
        ),
        pytest.param(
            Bounds(reward={"cliked": (0.0, 1.0)}), UnknownNameError,
            r"bounds: objective == 'cliked'.*Did you mean 'clicked'", id="objective",
        ),
    ],
)  # fmt: skip
def test_bounds_that_the_log_breaks(make_log, bounds, error, message):
    log = make_log(action=[1, 1, 0, 0], propensity=0.5, reward=[1, 0, 1, 0])
    with pytest.raises(error, match=message):
        evaluate_policy(log, np.tile([0.0, 1.0], (4, 1)), bounds=bounds)


def test_intervals_say_what_they_lack(random_case):
    log, _, target, _ = random_case()
    with pytest.raises(InvalidInputError, match=r"bounds == None, are needed by interval 'bernstein'"):
        evaluate_policy(log, target, interval="bernstein")
    with pytest.raises(InvalidInputError, match=r"rng == None, is needed by interval 'bootstrap'"):
        evaluate_policy(log, target, interval="bootstrap")
    with pytest.raises(UnknownNameError, match=r"interval == 'bootstap'.*Did you mean 'bootstrap'"):
        evaluate_policy(log, target, interval="bootstap")
    report = evaluate_policy(log, target, interval="cressie-read")
    with pytest.raises(InvalidInputError, match=r"interval == 'cressie-read', must be 'cluster-t' to change its level"):
        report.estimate("clicked", "ips").at(0.9)
    assert report.estimate_at("clicked", "ips", level=0.9).lower > report.estimate("clicked", "ips").lower


@pytest.mark.parametrize("estimator", ["ips", "snips", "sndr", "dr"])
def test_the_bootstrap_evaluates_logs_whose_users_are_drawn_again(random_case, estimator):
    """Another route: gather the rows of the drawn users and evaluate that log anew. Users have 1 to 12 decisions."""
    log, _, target, q_hat = random_case()
    report = evaluate_policy(log, target, q_hat=q_hat, estimators=(estimator,))
    kind = Bootstrap(replicates=3)
    moved = kind.replicate([report.contributions("spend", estimator)], np.random.default_rng(8))[:, 0]
    counts = kind._counts(3, report.n_users, np.random.default_rng(8)).astype(int)
    of = np.unique(log.user, return_inverse=True)[1]
    for change, count in zip(moved, counts, strict=True):
        rows = np.arange(log.n).repeat(count[of])
        drawn = evaluate_policy(log.take(rows), target[rows], q_hat=q_hat[rows], estimators=(estimator,))
        expected = drawn.estimate("spend", estimator).value
        assert report.estimate("spend", estimator).value + change == pytest.approx(expected, rel=1e-10)


def test_a_paired_difference_under_every_kind(random_case):
    """What both policies share cancels under each kind: the difference is narrower than two independent intervals."""
    log, logging, target, q_hat = random_case()
    near = 0.9 * logging + 0.1 * target
    reports = [
        evaluate_policy(log, probs, q_hat=q_hat, estimators=("ips",), policy=name, bounds=BOUNDS)
        for probs, name in ((near, "near"), (logging, "champion"))
    ]
    for kind in ("cluster-t", "bootstrap"):
        difference = compare(*reports, "spend", "ips", interval=kind, rng=np.random.default_rng(0))
        apart = [item.estimate_at("spend", "ips", interval=kind, rng=np.random.default_rng(0)) for item in reports]
        assert difference.upper - difference.lower < 0.5 * sum(item.upper - item.lower for item in apart)
    # The others grant the unseen user the worst of both.
    difference = reports[0].contributions("spend", "ips").minus(reports[1].contributions("spend", "ips"))
    assert difference.reach == pytest.approx((-18000 - difference.value, 18000 - difference.value))
    for kind in ("cressie-read", "anytime", "bernstein"):
        found = compare(*reports, "spend", "ips", interval=kind)
        assert (found.lower, found.upper) == (-18.0, 18.0)  # rewards in [-9, 9]: nothing is known beyond


def test_many_challengers_pay_for_the_choice(random_case):
    log, logging, target, q_hat = random_case()
    champion = evaluate_policy(log, logging, q_hat=q_hat, policy="champion")
    several = [
        evaluate_policy(log, (1 - share) * logging + share * target, q_hat=q_hat, policy=f"share {share}")
        for share in (0.25, 0.5, 1.0)
    ]
    found = compare_many(several, champion, rng=np.random.default_rng(0))
    assert set(found) == {(report.policy, name) for report in several for name in log.objectives}
    (level,) = {item.level for item in found.values()}
    assert 0.95 < level < 0.975  # the three differences are one, scaled: hardly more than two objectives
    for (policy, objective), item in found.items():
        one = next(report for report in several if report.policy == policy)
        assert item == compare(one, champion, objective, "dr", level=level)
    kinds = compare_many(several, champion, "snips", objectives=("spend",), method="sidak", interval=CressieRead())
    assert {item.interval for item in kinds.values()} == {"cressie-read"}
    assert {round(item.level, 6) for item in kinds.values()} == {round(0.95 ** (1 / 3), 6)}
    with pytest.raises(InvalidInputError, match=r"challengers == \['a', 'a'\], must have distinct names"):
        compare_many([replace(champion, policy="a")] * 2, champion)
    with pytest.raises(InvalidInputError, match=r"challengers == \[\]"):
        compare_many([], champion)


@pytest.mark.slow
def test_simultaneous_intervals_hold_together():
    """1,000 logs, 6 challengers that are no different: all six differences hold 0 in 95 %, ± 3.6 standard errors of
    0.69 %; with intervals that do not pay for the choice at most 90 %."""
    from homing.ope.intervals import Contributions, Part, get_interval, simultaneous_level

    rng = np.random.default_rng(6)
    together = alone = 0
    for _ in range(1000):
        users = 400
        reward = rng.gamma(0.5, 2.0, users)
        weights = rng.choice([0.5, 2.0], (7, users), p=[2 / 3, 1 / 3])
        x = weights * reward - weights[0] * reward
        share = np.full(users, 1 / users)
        items = [
            Contributions(float(row.mean()), (row - row.mean()) / users, (Part((row - row.mean()) / users, share),))
            for row in x[1:]
        ]
        kind = get_interval("cluster-t")
        level = simultaneous_level([item.psi for item in items], 0.95, rng=rng, draws=4000)
        together += all(item.lower <= 0 <= item.upper for item in kind(items, level))
        alone += all(item.lower <= 0 <= item.upper for item in kind(items, 0.95))
    assert 0.925 <= together / 1000 <= 0.975
    assert alone / 1000 < 0.9
