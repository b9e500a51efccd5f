"""Point estimates: by hand, by property, and against Open Bandit Pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.ope import ESTIMATORS, Rows, evaluate_policy
from homing.ope.estimators import (
    DM,
    DR,
    IPS,
    MIPS,
    MRDR,
    SNDR,
    SNIPS,
    SNMIPS,
    BalancedIPS,
    ClippedIPS,
    DRos,
    DRps,
    SubGaussianDR,
    SubGaussianIPS,
    SwitchDR,
    get_estimator,
    marginal_weights,
)
from homing.ope.evaluate import DEFAULT_ESTIMATORS

ALL = tuple(ESTIMATORS)
#: w, r, q̂(logged), Σ π q̂, and w(x, e): small enough to work out on paper.
FOUR_ROWS = Rows(
    weight=np.array([2.0, 0.5, 0.0, 1.0]),
    reward=np.array([1.0, 0.0, 1.0, 2.0]),
    q_logged=np.array([0.5, 0.5, 1.0, 1.0]),
    q_policy=np.array([0.5, 0.25, 1.0, 1.5]),
    ratios={
        "message": np.array([1.5, 0.5, 0.5, 1.0]),
        "campaign": np.array([1.0, 0.5, 0.5, 1.5]),
        "balanced": np.array([1.0, 2.0, 1.0, 1.0]),
    },
)


@pytest.mark.parametrize(
    ("estimator", "value"),
    [
        pytest.param(IPS(), (2 + 0 + 0 + 2) / 4, id="ips"),
        pytest.param(SNIPS(), 4 / 3.5, id="snips"),
        pytest.param(DR(), (1.5 + 0.0 + 1.0 + 2.5) / 4, id="dr"),
        pytest.param(SwitchDR(tau=1.0), (0.5 + 0.0 + 1.0 + 2.5) / 4, id="switch-dr keeps weights up to tau"),
        # ŵ = 4 w / (w² + 4) is 1, 8/17, 0 and 4/5.
        pytest.param(DRos(lam=4.0), (1.0 + (0.25 - 4 / 17) + 1.0 + 2.3) / 4, id="dros"),
        pytest.param(DRos(lam=0.0), (0.5 + 0.25 + 1.0 + 1.5) / 4, id="dros with lambda 0 is the model alone"),
        pytest.param(ClippedIPS(tau=1.0), (1 + 0 + 0 + 2) / 4, id="clipped-ips"),
        pytest.param(DM(), (0.5 + 0.25 + 1.0 + 1.5) / 4, id="dm"),
        # The correction is (2 · 0.5 - 0.5 · 0.5 + 0 + 1) / 3.5.
        pytest.param(SNDR(), 3.25 / 4 + 1.75 / 3.5, id="sndr"),
        pytest.param(DRps(tau=1.0), ((0.5 + 0.5) + (0.25 - 0.25) + 1.0 + 2.5) / 4, id="drps"),
        # w / (0.5 + 0.5 w) is 4/3, 2/3, 0 and 1.
        pytest.param(SubGaussianIPS(lam=0.5), (4 / 3 + 0 + 0 + 2) / 4, id="sg-ips"),
        pytest.param(SubGaussianIPS(lam=1.0), (1 + 0 + 1 + 2) / 4, id="sg-ips with lambda 1 is the logged mean"),
        pytest.param(SubGaussianDR(lam=0.5), ((0.5 + 2 / 3) + (0.25 - 1 / 3) + 1.0 + 2.5) / 4, id="sg-dr"),
        pytest.param(MIPS(), (1.5 + 0 + 0.5 + 2) / 4, id="mips by message"),
        pytest.param(MIPS("campaign"), (1 + 0 + 0.5 + 3) / 4, id="mips by campaign"),
        pytest.param(SNMIPS(), 4 / 3.5, id="snmips"),
        pytest.param(BalancedIPS(), (1 + 0 + 1 + 2) / 5, id="balanced-ips"),
        # y = (2, 0, 0, 2) on the controls (1, -½, -1, 0) and (½, 0, -1, -½): their sums of squares and products around
        # the means -1/8 and -1/4 are 35/16, 11/8 and 5/4, those with y 5/2 and 1, so b = (56, -40) / 27.
        pytest.param(MRDR(), 1.0 + 56 / 27 / 8 - 40 / 27 / 4, id="mrdr"),
    ],
)
def test_four_rows_worked_by_hand(estimator, value):
    assert estimator(FOUR_ROWS).value == pytest.approx(value, abs=1e-15)


@pytest.mark.parametrize("name", ALL)
def test_contract_of_every_estimator(name):
    estimator = get_estimator(name)
    result = estimator(FOUR_ROWS)
    assert estimator.name == name
    assert np.isfinite(result.value)
    assert result.influence.shape == (4,) and result.influence.dtype == np.float64
    assert abs(result.influence.mean()) < 1e-12
    # The influence is the derivative with respect to each row's mass: move a little mass and look.
    for row in range(4):
        mass, step = np.ones(4) / 4, 1e-6
        moved = (1 - step) * mass + step * np.eye(4)[row]
        slope = (_weighted(name, FOUR_ROWS, moved) - _weighted(name, FOUR_ROWS, mass)) / step
        assert result.influence[row] == pytest.approx(slope, abs=1e-4)


def _weighted(name, rows, mass):
    """The estimand under a distribution over rows, written out again from the definitions."""
    w, r, predicted = rows.weight, rows.reward, rows.q_policy
    residual = r - rows.q_logged
    if name.startswith(("mips", "snmips")):
        w = rows.ratios[name.split("-")[1]]
    if name == "balanced-ips":
        w = rows.ratios["balanced"]
    if name in ("snips", "snmips-message", "balanced-ips"):
        return (mass * w * r).sum() / (mass * w).sum()
    if name == "sndr":
        return (mass * predicted).sum() + (mass * w * residual).sum() / (mass * w).sum()
    if name == "mrdr":  # the intercept of the weighted regression of w r on the control variates
        design = np.stack([np.ones(len(w)), w - 1.0, w * rows.q_logged - predicted], axis=1)
        return np.linalg.lstsq(np.sqrt(mass)[:, None] * design, np.sqrt(mass) * w * r, rcond=None)[0][0]
    # Three of four rows have weight, fewer than the subgaussian choice needs: η is 1, λ is 4^(-1/4).
    lam = 4**-0.25
    used = {
        "dm": 0.0 * w,
        "switch-dr": np.where(w <= 2.0, w, 0.0),
        "dros": 4 * w / (w**2 + 4),
        "clipped-ips": np.minimum(w, 2.0),
        "drps": np.minimum(w, 2.0),
        "sg-ips": w / (1 - lam + lam * w),
        "sg-dr": w / (1 - lam + lam * w),
    }.get(name, w)
    return (mass * used * r).sum() if "ips" in name else (mass * (predicted + used * residual)).sum()


def test_ips_of_the_logging_policy_is_the_mean_reward_exactly(random_case):
    log, logging, _, _ = random_case()
    report = evaluate_policy(log, logging)
    for j, objective in enumerate(log.objectives):
        assert report.estimate(objective, "ips").value == log.reward[:, j].mean()
        assert report.estimate(objective, "snips").value == pytest.approx(log.reward[:, j].mean(), abs=1e-15)
        assert report.estimate(objective, "ips") == report.logged[objective]


def test_dr_without_a_model_is_ips(random_case):
    log, _, target, q_hat = random_case()
    report = evaluate_policy(log, target, q_hat=np.zeros_like(q_hat))
    for objective in log.objectives:
        assert report.estimate(objective, "dr") == report.estimate(objective, "ips")


def test_dr_with_a_perfect_model_has_no_weight_noise(make_log, rng):
    action = rng.integers(0, 2, 300)
    log = make_log(action=action, propensity=0.5, reward=1.0 + action)
    report = evaluate_policy(log, np.tile([0.25, 0.75], (300, 1)), q_hat=np.tile([1.0, 2.0], (300, 1)))
    assert report.estimate("clicked", "dr").value == pytest.approx(1.75, abs=1e-12)
    assert report.estimate("clicked", "dr").std_error < 1e-12 < report.estimate("clicked", "ips").std_error


def test_snips_moves_with_a_shift_of_the_reward(random_case, make_log):
    log, _, target, _ = random_case(m=1)
    shifted = make_log(action=log.action, propensity=log.propensity, reward=log.reward + 100.0, user=log.user, k=log.k)
    before, after = (evaluate_policy(item, target).estimate("clicked", "snips") for item in (log, shifted))
    assert after.value - before.value == pytest.approx(100.0, abs=1e-10)
    assert after.std_error == pytest.approx(before.std_error, rel=1e-9)


def test_row_order_does_not_matter(random_case, rng):
    log, _, target, q_hat = random_case()
    order = rng.permutation(log.n)
    # Users' rows must stay in time order: sort the shuffled rows by time within each user.
    order = order[np.argsort(rng.permutation(200)[log.user[order]] * 10_000 + log.time[order], kind="stable")]
    one = evaluate_policy(log, target, q_hat=q_hat)
    two = evaluate_policy(log.take(order), target[order], q_hat=q_hat[order])
    for key, item in one.estimates.items():
        assert two.estimates[key].value == pytest.approx(item.value, rel=1e-12)
        assert two.estimates[key].std_error == pytest.approx(item.std_error, rel=1e-10)


def test_objectives_do_not_mix(random_case, make_log):
    log, _, target, q_hat = random_case()
    both = evaluate_policy(log, target, q_hat=q_hat)
    alone = make_log(
        action=log.action, propensity=log.propensity, reward=log.reward[:, 1], user=log.user, k=log.k,
        objectives=("spend",),
    )  # fmt: skip
    single = evaluate_policy(alone, target, q_hat=q_hat[:, :, 1])
    for estimator in DEFAULT_ESTIMATORS:
        assert single.estimate("spend", estimator) == both.estimate("spend", estimator)


PEER = json.loads((Path(__file__).parent / "peer_reference.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [name for name in ALL if name in PEER["values"]])
def test_equals_open_bandit_pipeline(name, make_log):
    data = {key: np.array(value) for key, value in PEER["inputs"].items()}
    log = make_log(
        action=data["action"], propensity=data["propensity"], reward=data["reward"], k=4, probs=data["logging"]
    )
    setting = PEER["settings"].get(name, {})
    chosen = type(get_estimator(name))(**setting)
    ratios = {
        "message": marginal_weights(log, data["target"], np.tile(data["embedding"], (log.n, 1))),
        "balanced": data["classifier_ratio"],
    }
    report = evaluate_policy(log, data["target"], q_hat=data["q_hat"], estimators=(chosen,), ratios=ratios)
    assert report.estimate("clicked", name).value == pytest.approx(PEER["values"][name], rel=1e-9), PEER["peer"]


@pytest.mark.parametrize("name", ["ips", "snips"])
def test_equals_vw_estimators(name, make_log):
    data = {key: np.array(value) for key, value in PEER["inputs"].items()}
    log = make_log(action=data["action"], propensity=data["propensity"], reward=data["reward"], k=4)
    found = evaluate_policy(log, data["target"], estimators=(name,)).estimate("clicked", name)
    assert found.value == pytest.approx(PEER["vw"][name], rel=1e-9)


def test_every_single_step_estimator_of_the_peer_is_compared():
    assert set(PEER["values"]) - set(ALL) == set()


def test_estimators_that_need_a_model_are_left_out_with_a_note(random_case):
    log, _, target, _ = random_case()
    report = evaluate_policy(log, target)
    assert report.estimators == ("ips", "snips")
    assert report.notes == ("No reward model was given: dr, switch-dr, dros are left out.",)


def test_naming_one_without_a_model_is_an_error(random_case):
    log, _, target, _ = random_case()
    with pytest.raises(InvalidInputError, match=r"q_hat == None, is needed by dr\. Pass a reward model's predictions"):
        evaluate_policy(log, target, estimators=("ips", "dr"))


@pytest.mark.parametrize(
    ("estimators", "error", "message"),
    [
        pytest.param(("snisp",), UnknownNameError, "Did you mean 'snips'", id="unknown"),
        pytest.param((), InvalidInputError, "must be distinct names, at least one", id="none"),
        pytest.param(("ips", "ips"), InvalidInputError, "must be distinct names", id="twice"),
        pytest.param("ips", InvalidInputError, r"Write \(name,\)", id="a string"),
    ],
)
def test_wrong_estimators(random_case, estimators, error, message):
    log, _, target, _ = random_case()
    with pytest.raises(error, match=message):
        evaluate_policy(log, target, estimators=estimators)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda p: p[:, :3], r"action_probs\.shape == \(400, 3\), must be \(400, 4\)", id="shape"),
        pytest.param(lambda p: p * 0.9, r"action_probs\[0\]\.sum\(\) == 0\.[89].*must be 1", id="sum"),
        pytest.param(lambda p: np.where(p > 0.9, np.nan, p) * np.nan, "must be finite", id="nan"),
        pytest.param(
            lambda p: np.tile([1.5, -0.5, 0.0, 0.0], (400, 1)), r"\[0, 1\] == -0\.5, must be >= 0", id="negative"
        ),
    ],
)
def test_wrong_probabilities(random_case, change, message):
    log, _, target, _ = random_case()
    with pytest.raises(InvalidInputError, match=message):
        evaluate_policy(log, change(target))


def test_probability_on_what_is_not_eligible(make_log):
    eligible = np.array([[True, True], [True, False], [True, True]])
    log = make_log(action=[0, 0, 1], propensity=0.5, reward=[0, 1, 0], eligible=eligible)
    with pytest.raises(InvalidInputError, match=r"action_probs\[1, 1\] == 0\.5, must be 0 where .* not eligible"):
        evaluate_policy(log, np.full((3, 2), 0.5))


def test_predictions_must_fit(random_case):
    log, _, target, q_hat = random_case()
    with pytest.raises(InvalidInputError, match=r"q_hat\.shape == \(400, 4, 1\), must be \(400, 4, 2\)"):
        evaluate_policy(log, target, q_hat=q_hat[:, :, :1])
    q_hat[3, 1, 0] = np.inf
    with pytest.raises(InvalidInputError, match=r"q_hat\[3, 1, 0\] == inf, must be finite"):
        evaluate_policy(log, target, q_hat=q_hat)


@pytest.mark.parametrize("estimator", [SwitchDR, DRos], ids=["switch-dr", "dros"])
def test_settings_must_be_positive(estimator):
    with pytest.raises(InvalidInputError, match="must be a finite number > 0"):
        estimator(-1.0)


def test_snips_needs_some_weight():
    with pytest.raises(SupportError, match=r"mean importance weight == 0\.0, must be > 0"):
        SNIPS()(Rows(weight=np.zeros(3), reward=np.ones(3)))


def test_switching_and_shrinking_fade_as_the_log_grows(rng):
    """The default thresholds √n and n leave weights alone that are small beside √n: both tend to DR."""
    n = 40_000
    rows = Rows(rng.choice([0.5, 1.5], n), rng.random(n), rng.random(n), rng.random(n))
    assert SwitchDR()(rows).value == DR()(rows).value
    # ŵ - w = -w³ / (w² + n): at most 1.5³ / n here.
    assert DRos()(rows).value == pytest.approx(DR()(rows).value, abs=1.5**3 / n)


def test_the_guide_has_a_row_for_every_estimator():
    guide = (Path(__file__).resolve().parents[2] / "docs/guides/evaluation.md").read_text(encoding="utf-8")
    section = guide.split("\n## Which estimator\n")[1].split("\n## ")[0]
    assert [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")] == [*ALL]
