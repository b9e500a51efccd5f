"""Rules: what they accept, and what they say to what they refuse."""

import pytest
import yaml

from homing.errors import InvalidInputError, UnknownNameError
from homing.promotion import PromotionRules

GOOD = {
    "version": 1,
    "estimator": "snips",
    "objectives": {
        "conversion": {"rule": "superiority"},
        "unsubscribed": {"rule": "non_inferiority", "margin": 0.1, "direction": "minimize"},
    },
    "guardrails": {"unsubscribed": {"limit": 0.02}},
}


def test_rules_survive_yaml(tmp_path):
    path = tmp_path / "promotion.yaml"
    path.write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    rules = PromotionRules.from_yaml(path)
    assert rules == PromotionRules.from_dict(GOOD)
    assert PromotionRules.from_dict(rules.to_dict()) == rules
    assert rules.guardrails["unsubscribed"].direction == "minimize"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        pytest.param(
            "objective: {}", UnknownNameError,
            r"^rules\.yaml: key == 'objective', .*Did you mean 'objectives'\?$", id="key",
        ),
        pytest.param(
            "objectives: {a: {rule: superiority, margn: 1}}", UnknownNameError,
            r"rules\.yaml: key of 'objectives\.a' == 'margn'.*Did you mean 'margin'", id="key of an objective",
        ),
        pytest.param(
            "{objectives: {a: {rule: superiority}}, guardrails: {a: {limt: 1}}}", UnknownNameError,
            r"key of 'guardrails\.a' == 'limt'.*Did you mean 'limit'", id="key of a guardrail",
        ),
        pytest.param(
            "objectives: {a: {rule: better}}", InvalidInputError,
            r"objectives\.a\.rule == 'better', input should be 'superiority'", id="rule",
        ),
        pytest.param("objectives: {a: {rule: report}}", InvalidInputError, "at least one .*superiority", id="none"),
        pytest.param("objectives: {}", InvalidInputError, r"rules\.yaml: objectives == {}", id="empty"),
        pytest.param(
            "objectives: {a: {rule: superiority}, b: {rule: non_inferiority}}", InvalidInputError,
            r"objectives\.b == .*needs a margin > 0", id="no margin",
        ),
        pytest.param(
            "objectives: {a: {rule: superiority, margin: -0.1}}", InvalidInputError,
            r"objectives\.a\.margin == -0\.1", id="negative margin",
        ),
        pytest.param(
            "{level: 95, objectives: {a: {rule: superiority}}}", InvalidInputError, r"level == 95", id="level"
        ),
        pytest.param("version: 2", InvalidInputError, r"version == 2", id="version"),
        pytest.param("- a", InvalidInputError, "must be a mapping", id="a list"),
        pytest.param("a: [", InvalidInputError, "must be YAML", id="not yaml"),
        pytest.param("version: 1\nversion: 2", InvalidInputError, "the key 'version' is there twice", id="twice"),
    ],
)  # fmt: skip
def test_wrong_rules(tmp_path, text, error, message):
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message) as caught:
        PromotionRules.from_yaml(path)
    assert "pydantic" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(InvalidInputError, match="must be a readable file"):
        PromotionRules.from_yaml(tmp_path / "none.yaml")


def test_levels_share_the_error_over_challengers_and_over_ways_to_win():
    """5 % over two challengers is 2.5 % each, of which either of two superiority objectives may spend half."""
    rules = PromotionRules.from_dict({
        "objectives": {
            "conversion": {"rule": "superiority"},
            "visits": {"rule": "superiority"},
            "opt_out": {"rule": "non_inferiority", "direction": "minimize", "margin": 0.1},
        },
        "guardrails": {"complaints": {"limit": 0.01}},
    })  # fmt: skip
    deciding = rules.deciding(2)
    assert deciding.level_of("conversion") == deciding.level_of("visits") == pytest.approx(1 - 0.05 / 4)
    assert deciding.level_of("opt_out") == deciding.level_of("complaints") == pytest.approx(1 - 0.05 / 2)
    assert (deciding.estimator, deciding.interval) == ("dr", "cressie-read")
    assert rules.shared(1) == rules and rules.deciding().level_of("opt_out") == 0.95
    assert deciding.directions == {
        "conversion": "maximize", "visits": "maximize", "opt_out": "minimize", "complaints": "minimize"
    }  # fmt: skip
