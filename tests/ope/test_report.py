"""Reports: kept, read back, refused when altered, shown to people."""

import json
import re

import numpy as np
import pytest

from homing.errors import ArtifactError, InvalidInputError, UnknownNameError
from homing.ope import Deciding, Evaluation, OPEReport, compare, evaluate_policy
from homing.ope.artifacts import references
from homing.ope.storage import strict_json
from homing.pages import ticks


@pytest.fixture
def report(random_case):
    log, _, target, q_hat = random_case()
    return evaluate_policy(log, target, q_hat=q_hat, policy="a <b> policy")


def test_a_report_survives_the_disk(report, tmp_path):
    report.save(tmp_path / "r")
    again = OPEReport.load(tmp_path / "r")
    assert again.to_dict() == report.to_dict()
    assert again.support == report.support
    for key, psi in report.influence.items():
        assert np.array_equal(again.influence[key], psi)
    assert compare(again, report, "clicked", "dr").std_error == 0.0


def test_json_is_strict(report, tmp_path):
    report.save(tmp_path)

    def refuse(name):
        raise AssertionError(name)

    json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    with pytest.raises(InvalidInputError, match="must hold finite numbers only"):
        strict_json({"value": float("inf")})


@pytest.mark.parametrize("name", ["report.json", "influence.safetensors"])
def test_an_altered_report_is_refused(report, tmp_path, name):
    report.save(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"sha256 of {re.escape(name)} == .*, as the manifest says"):
        OPEReport.load(tmp_path)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        pytest.param(lambda d: (d / "manifest.json").unlink(), r"must hold manifest\.json", id="no manifest"),
        pytest.param(lambda d: (d / "manifest.json").write_text("{"), "must be readable JSON", id="half a manifest"),
        pytest.param(lambda d: (d / "manifest.json").write_text('{"files": {}}'), "must be report.json", id="empty"),
        pytest.param(lambda d: (d / "report.json").unlink(), "must exist", id="no report"),
    ],
)
def test_an_incomplete_report_is_refused(report, tmp_path, break_it, message):
    report.save(tmp_path)
    break_it(tmp_path)
    with pytest.raises(ArtifactError, match=message):
        OPEReport.load(tmp_path)


def test_unknown_names_have_hints(report):
    with pytest.raises(UnknownNameError, match=r"objective == 'cliked'.*Did you mean 'clicked'"):
        report.estimate("cliked", "dr")
    with pytest.raises(UnknownNameError, match=r"estimator == 'drs'.*Did you mean 'dr"):
        report.estimate("clicked", "drs")


def test_text_has_verdict_and_numbers(report):
    text = report.to_text()
    assert text.splitlines()[0].startswith(f"a <b> policy: {report.support.verdict}, ")
    assert "clicked per decision, 95% intervals" in text
    for name in ("logged", "ips", "snips", "dr", "switch-dr", "dros"):
        assert re.search(rf"^ +{name} +-?\d", text, flags=re.MULTILINE)


def test_page_is_self_contained_and_escaped(report):
    html = report.to_html()
    assert "a &lt;b&gt; policy" in html and "<b> policy" not in html
    assert "<script" not in html and "<link" not in html
    assert re.findall(r"(?:src|href)=", html) == []
    assert re.findall(r"https?://[^\"']+", html.replace("http://www.w3.org/2000/svg", "")) == []


def test_evaluation_page_shows_everyone(random_case):
    log, logging, target, q_hat = random_case()
    one = evaluate_policy(log, target, q_hat=q_hat, policy="challenger")
    two = evaluate_policy(log, logging, q_hat=q_hat, policy="baseline")
    rows = references(log, q_hat)
    evaluation = Evaluation((one,), two, Deciding.of(one), rows, champion_is_baseline=True)
    html = evaluation.to_html()
    for name in ("challenger", "baseline", "the log itself", "uniform", "silence", "always candidate 1"):
        assert f">{name}</text>" in html
    # Values and differences by objective, pairs of objectives with regions and weights, two policies' weights.
    m = len(log.objectives)
    assert html.count('aria-label="challenger: histogram') == html.count('aria-label="baseline: histogram') == 1
    assert html.count("value and interval of each policy") == 2 * m
    assert html.count('aria-label="Differences to baseline.') == m - 1
    metrics = evaluation.to_dict()["metrics"]["challenger"]
    assert metrics["challenger.clicked.dr.lower"] == one.estimate("clicked", "dr").lower
    assert metrics["gain.spend.snips.value"] == compare(one, two, "spend", "snips").value
    strict_json(evaluation.to_dict())


def test_references_recover_each_arm_of_a_randomised_log(make_log, rng):
    """SNIPS of "always message j" under uniform logging is the mean reward of the rows that got j."""
    n = 3000
    action = rng.integers(0, 3, n)
    log = make_log(action=action, propensity=1 / 3, reward=rng.random(n) < 0.1 + 0.1 * action, k=3)
    arms = {report.policy: report for report in references(log, None)}
    assert list(arms)[:2] == ["uniform", "silence"]
    for j, name in enumerate(["silence", "always candidate 1", "always candidate 2"]):
        assert arms[name].estimate("clicked", "snips").value == pytest.approx(log.reward[action == j].mean(), abs=1e-12)


def test_a_fixed_message_falls_back_where_it_is_not_eligible(make_log):
    eligible = np.array([[True, True], [True, False], [True, True], [True, True]])
    log = make_log(action=[1, 0, 1, 0], propensity=0.5, reward=[1, 1, 0, 0], eligible=eligible)
    names = [report.policy for report in references(log, None)]
    assert names[-1] == "always candidate 1 (eligible in 75%)"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 0.012, [0.0, 0.0025, 0.005, 0.0075, 0.01]),
        (-3.0, 4.0, [-2.0, 0.0, 2.0, 4.0]),
        (0.9995, 1.0005, [0.9996, 0.9998, 1.0, 1.0002, 1.0004]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected, abs=1e-12)
