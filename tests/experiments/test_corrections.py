"""How error rates are divided: hand-worked numbers, the bounds that the docstring proves, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.experiments.corrections import correct


def test_one_treatment_is_the_papers_split():
    found = correct(success=5, guardrail=5, deterioration=2, quality=2, alpha_deterioration=0.05, alpha_quality=0.05)
    assert found.alpha_success == pytest.approx(0.05 / 5, rel=1e-15)
    assert found.alpha_guardrail == pytest.approx(0.05, rel=1e-15)
    assert found.alpha_deterioration == pytest.approx(0.05 / 14, rel=1e-15)
    assert found.alpha_quality == pytest.approx(0.05 / 14, rel=1e-15)
    assert found.beta == pytest.approx((0.2 - 0.05) / 6, rel=1e-15)
    assert found.power == pytest.approx(1 - 0.025, rel=1e-15)


def test_several_treatments_share_both_alphas():
    found = correct(success=2, guardrail=3, quality=1, treatments=4)
    assert found.alpha_success == pytest.approx(0.05 / 8)
    assert found.alpha_guardrail == pytest.approx(0.05 / 4)
    assert found.alpha_deterioration == pytest.approx(0.01 / (4 * 5 + 1))


def test_one_look_frees_what_one_tail_already_holds():
    """Only 4 other success metrics, 2 deterioration metrics and 2 quality tests can veto beyond the tests that fail."""
    found = correct(
        success=5, guardrail=5, deterioration=2, quality=2, alpha_deterioration=0.05, alpha_quality=0.05, looks=1
    )
    assert found.beta == pytest.approx((0.2 - 8 * 0.05 / 14) / 6, rel=1e-14)
    assert found.beta > (0.2 - 0.05) / 6


@pytest.mark.parametrize("looks", [1, None], ids=["one look", "many looks"])
def test_roll_outs_and_plans_without_guardrails(looks):
    harmless = correct(success=0, guardrail=2, looks=looks)
    assert harmless.alpha_success is None and harmless.alpha_guardrail == 0.05
    assert harmless.beta == pytest.approx(0.2 / 2 if looks == 1 else (0.2 - 0.01) / 2)
    gain = correct(success=3, guardrail=0, looks=looks)
    assert gain.alpha_guardrail is None and gain.alpha_quality is None
    assert gain.beta == pytest.approx(0.2 - 2 * 0.01 / 3 if looks == 1 else 0.19)


def test_quality_is_never_more_than_its_share():
    assert correct(success=1, guardrail=1, quality=1).alpha_quality == 0.001
    assert correct(success=9, guardrail=9, quality=2).alpha_quality == pytest.approx(0.01 / 20)


@pytest.mark.parametrize("seed", range(3))
def test_budgets_add_up(seed):
    """False ships of C treatments, vetoes and missed ships, each by Boole's inequality, stay within what was asked."""
    rng = np.random.default_rng(seed)
    for _ in range(200):
        s, g, d, q, c = (
            int(x) for x in (rng.integers(0, 9), rng.integers(0, 9), *rng.integers(0, 6, 2), rng.integers(1, 6))
        )
        if s + g == 0:
            continue
        looks = (1, None)[int(rng.integers(2))]
        a, veto = float(rng.uniform(0.01, 0.1)), float(rng.uniform(0.001, 0.19))
        found = correct(
            success=s,
            guardrail=g,
            deterioration=d,
            quality=q,
            treatments=c,
            alpha=a,
            alpha_deterioration=veto,
            looks=looks,
        )
        each = found.alpha_deterioration
        assert c * s * (found.alpha_success or 0) <= a * (1 + 1e-12)
        assert c * (found.alpha_guardrail or 0) <= a * (1 + 1e-12)
        assert c * (s + g + d) * each + q * (found.alpha_quality or 0) <= veto * (1 + 1e-12)
        components = g + min(s, 1)
        others = (max(s - 1, 0) + d) * each + q * (found.alpha_quality or 0)
        missed = components * found.beta + (
            others if looks == 1 else (s + g + d) * each + q * (found.alpha_quality or 0)
        )
        assert missed <= 0.2 * (1 + 1e-12)
        # At one look a guardrail holds back with the larger of the two: its veto lies within its failure.
        assert looks is None or each <= found.beta


def test_every_adjustment_is_told():
    found = correct(success=2, guardrail=1, deterioration=1, quality=1, treatments=3)
    assert [item.name for item in found.adjustments] == [
        "alpha_success",
        "alpha_guardrail",
        "alpha_deterioration",
        "alpha_quality",
        "beta",
    ]
    assert found.adjustments[2].sentence == (
        "alpha_deterioration 0.01 is divided by 13 tests that can veto (3 treatments x 4 metrics, 1 quality test): "
        "each inferiority test is one-sided at 0.0007692."
    )
    assert found.adjustments[4].sentence == (
        "beta 0.2, less 0.01 for vetoes, is divided by 2 (1 guardrail + 1 for the success metrics): each "
        "test is planned at a power of 0.905."
    )
    assert found.to_dict()["adjustments"][0]["applied"] == found.alpha_success


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"success": 0, "guardrail": 0}, r"success \+ guardrail == 0, must be >= 1\. Name a success metric"),
        ({"success": -1, "guardrail": 1}, "success == -1, must be >= 0"),
        ({"success": 1, "guardrail": 1, "treatments": 0}, "treatments == 0, must be >= 1"),
        ({"success": 1, "guardrail": 1, "power": 1.0}, r"power == 1\.0, must be in \(0, 1\)"),
        (
            {"success": 1, "guardrail": 1, "alpha_deterioration": 0.2},
            r"alpha_deterioration == 0\.2, must be < 1 - power == 0\.2\. Vetoes where nothing is wrong",
        ),
    ],
    ids=["nothing decides", "negative", "no treatment", "power", "vetoes cost all"],
)
def test_refuses(given, message):
    with pytest.raises(InvalidInputError, match=message):
        correct(**given)
