"""`homing ope`: what it prints, writes and answers with, for logs of both kinds, one policy and several."""

import json

import numpy as np
import pyarrow as pa
import pytest

from homing.cli import main
from homing.log import OUTCOMES_SCHEMA, DecisionLog, decisions_schema, write_log
from homing.ope import INTERVALS, compare_many, evaluate_policy
from homing.policies import FixedCandidatePolicy, SilencePolicy, UniformPolicy, dataset_probs, load_policy, save_policy

RULES = """
objectives:
  clicked: {rule: superiority}
  unsubscribed: {rule: non_inferiority, direction: minimize, margin: 0.02, margin_kind: absolute}
"""


def call(world, *words):
    return main(["ope", str(world / "evaluation"), *map(str, words)])


def test_one_policy_against_the_log_itself(world, tmp_path, capsys):
    page = tmp_path / "pages/report.html"
    status = call(world, world / "policy", "--reward-model", world / "reward_model", "--html", page, "--level", "0.9")
    out = capsys.readouterr().out
    assert status == 0
    assert out.startswith("policy: fine, the log supports these estimates")
    assert "Minus the log itself, dr, paired by user, cluster-t intervals at 90%\n" in out
    html = page.read_text(encoding="utf-8")
    assert "</span>&nbsp; policy: the log supports these estimates" in html and "<script" not in html


def test_several_policies_hold_together(world, tmp_path, capsys):
    """Levels and ends are those of `compare_many` with the same draws."""
    path = tmp_path / "found.json"
    assert call(world, world / "policy", world / "reward_model", "--champion", world / "baseline", "--json", path) == 0
    assert "(all hold together)" in capsys.readouterr().out
    found = json.loads(path.read_text(encoding="utf-8"))
    from homing.log.dataset import LoggedDataset

    log = LoggedDataset.load(world / "evaluation")
    one, two, champion = (
        evaluate_policy(log, dataset_probs(load_policy(world / name), log), policy=name)
        for name in ("policy", "reward_model", "baseline")
    )
    asked = compare_many([one, two], champion, "snips", rng=np.random.default_rng(0))
    for item in found["values"]:
        for name in ("policy", "reward_model"):
            expected = asked[name, item["objective"]]
            shown = item["challengers"][name]["difference"]
            assert (shown["lower"], shown["upper"]) == pytest.approx((expected.lower, expected.upper), rel=1e-12)
            assert item["level"] == expected.level > 0.95


@pytest.mark.parametrize(("promoted", "status"), [(True, 0), (False, 1)], ids=["promote", "hold"])
def test_rules_decide(world, tmp_path, capsys, promoted, status):
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    champion = world / ("baseline" if promoted else "older")
    words = ["--champion", champion, "--rules", tmp_path / "rules.yaml", "--reward-model", world / "reward_model"]
    words += ["--html", tmp_path / "page.html", "--json", tmp_path / "found.json"]
    assert call(world, world / "policy", *words) == status
    verdict = "promote" if promoted else "hold"
    assert f"\n{verdict.capitalize()}: " in capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["gate"]["verdict"] == verdict
    (decision,) = found["gate"]["decisions"]
    for item in decision["comparisons"]:
        (shown,) = [v for v in found["values"] if v["objective"] == item["objective"]]
        assert shown["challengers"]["policy"]["difference"] == item["difference"]
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f'<span class="badge {verdict}">{verdict}</span>' in html and "what the rules ask of the log" in html


def test_a_refusal_says_no(world, tmp_path, capsys):
    rules = tmp_path / "rules.yaml"
    rules.write_text("estimator: snips\nobjectives: {clicked: {rule: superiority}}\nmin_users: 100000\n")
    words = [world / "policy", world / "reward_model", "--champion", world / "baseline", "--rules", rules]
    assert call(world, *words) == 1
    assert "\nRefuse: " in capsys.readouterr().out


def test_what_the_log_says_nothing_of_is_refused_beside_the_others(tmp_path, capsys):
    """The log only ever was silent: of a policy that always writes SNIPS has no estimate, as challenger or champion."""
    log, goals = decision_log(tmp_path / "log", quiet_from=0), tmp_path / "objectives.yaml"
    goals.write_text(GOALS)
    save_policy(FixedCandidatePolicy(1), tmp_path / "always"), save_policy(SilencePolicy(), tmp_path / "quiet")
    rules = tmp_path / "rules.yaml"
    rules.write_text("estimator: snips\nobjectives: {click: {rule: superiority}}\n")
    words = ["ope", str(log), "--objectives", str(goals), "--html", str(tmp_path / "page.html")]
    always, quiet = str(tmp_path / "always"), str(tmp_path / "quiet")
    assert main([*words, quiet, always]) == 1
    assert "  always  click           –" in capsys.readouterr().out
    assert main([*words, quiet, "--champion", always]) == 1
    assert main([*words, always, "--champion", quiet, "--rules", str(rules)]) == 1
    assert "\nRefuse: " in capsys.readouterr().out


def test_a_policy_against_itself(world, capsys):
    assert call(world, world / "policy", "--champion", world / "policy") == 0
    assert "Minus policy (champion), snips" in capsys.readouterr().out
    assert call(world, world / "policy", world / "policy") == 2
    assert "policy', must be given once" in capsys.readouterr().err


@pytest.mark.parametrize("interval", INTERVALS)
def test_every_kind_of_interval(world, tmp_path, capsys, interval):
    words = [world / "policy", "--champion", world / "baseline", "--interval", interval, "--estimators", "ips,snips"]
    words += ["--max-weight", "3", "--reward-range", "clicked=0:1", "--reward-range", "unsubscribed=0:1"]
    found = []
    for _ in range(2 if interval == "bootstrap" else 1):
        assert call(world, *words, "--seed", "3", "--html", tmp_path / "page.html") == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[-1]
    shown = "" if interval == "cluster-t" else f" ({interval})"
    assert f"clicked per decision, 95% intervals{shown}\n" in found[0]


GOALS = "version: 1\nobjectives:\n  click: {kinds: [clicked], window_hours: 24, aggregate: any}\n"


def decision_log(folder, n=300, quiet_from=100, first=0.5):
    """Silence or a push, each with 1/2; half of the pushes are clicked. From an age on, silence for sure."""
    names = ("message_id", "campaign", "domain", "channel", "slot")
    menu = [{**dict.fromkeys(names, name), "value": 0.0, "expires_at": None} for name in ("silence", "push")]
    decisions = [
        {"decision_id": f"d{i}", "user_id": f"u{i}", "decided_at": 60_000_000 * i, "policy": "coin@1",
         "context": {"age": float(i % 50)}, "candidates": menu, "eligible": [True, True],
         "action": i % 2 * (i % 50 < quiet_from), "propensity": (0.5 if i else first) if i % 50 < quiet_from else 1.0,
         "propensities": None, "explored": True, "slice": "uniform"}
        for i in range(n)
    ]  # fmt: skip
    outcomes = [
        {"outcome_id": f"o{i}", "decision_id": f"d{i}", "user_id": f"u{i}", "kind": "clicked",
         "occurred_at": 60_000_000 * i + 1, "value": 1.0}
        for i in range(1, n, 4)
        if i % 50 < quiet_from
    ]  # fmt: skip
    schema = decisions_schema({"age": pa.float64()})
    tables = pa.Table.from_pylist(decisions, schema=schema), pa.Table.from_pylist(outcomes, schema=OUTCOMES_SCHEMA)
    write_log(DecisionLog.from_tables(*tables), folder)
    return folder


def test_a_decision_log_needs_objectives_and_nothing_else(tmp_path, capsys):
    log = decision_log(tmp_path / "log")
    save_policy(UniformPolicy(), tmp_path / "uniform"), save_policy(SilencePolicy(), tmp_path / "quiet")
    assert main(["ope", str(log), str(tmp_path / "uniform")]) == 2
    assert "--objectives == None, is needed for a decision log." in capsys.readouterr().err
    goals = tmp_path / "objectives.yaml"
    goals.write_text(GOALS)
    words = [log, tmp_path / "uniform", "--objectives", goals, "--champion", tmp_path / "quiet"]
    assert main(["ope", *map(str, words), "--json", str(tmp_path / "found.json")]) == 0
    (value,) = json.loads((tmp_path / "found.json").read_text())["values"]
    # 75 clicks in 300 decisions, each of weight 1; silence earns none.
    assert value["challengers"]["uniform"]["value"]["value"] == 0.25
    assert value["champion"]["value"] == 0.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{world}"], "has no file manifest.json"),
        (["{world}/policy", "--level", "95"], "level == 95.0, must be in (0, 1)"),
        (["{world}/policy", "--interval", "creesie-read"], "Did you mean 'cressie-read'?"),
        (["{world}/policy", "--estimators", "ips,sips"], "estimator == 'sips', must be one of"),
        (["{world}/policy", "--estimators", "dr"], "q_hat == None, is needed by dr"),
        (["{world}/policy", "--interval", "bernstein"], "bounds"),
        (["{world}/policy", "--reward-range", "clicked=1"], "--reward-range == 'clicked=1', must be NAME=LOW:HIGH"),
        (["{world}/policy", "--segments", "agee"], "Did you mean 'age'?"),
        (["{world}/policy", "--objectives", "o.yaml"], "--objectives == 'o.yaml', is for a decision log"),
        (["{world}/policy", "--rules", "r.yaml"], "--champion == None, is needed with --rules"),
        (["{world}/policy", "--champion", "{world}/baseline", "--rules", "none.yaml"], "must be a readable file"),
        (["{world}/policy", "--champion", "nowhere"], "nowhere"),
    ],
    ids=["artifact", "level", "interval", "estimator", "model", "bounds", "range", "segments", "objectives", "champion",
         "rules", "no champion"],
)  # fmt: skip
def test_mistakes_are_one_line(world, capsys, words, message):
    assert call(world, *(word.format(world=world) for word in words)) == 2
    error = capsys.readouterr().err
    assert error.startswith("homing: ") and message in error
    assert len(error.splitlines()) == 1


def test_a_segment_that_was_never_sent_what_the_policy_sends_is_named(tmp_path, capsys):
    """Users of 30 and more were always left alone; the policy writes to everyone. Nobody named the feature."""
    log = decision_log(tmp_path / "log", n=4000, quiet_from=30)
    (tmp_path / "objectives.yaml").write_text(GOALS)
    save_policy(FixedCandidatePolicy(1), tmp_path / "always")
    words = [log, tmp_path / "always", "--objectives", tmp_path / "objectives.yaml", "--json", tmp_path / "found.json"]
    assert main(["ope", *map(str, words)]) == 1
    assert "In age in (" in capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    refused = [cell for cell in found["support_maps"][0]["cells"] if cell["verdict"] == "refuse"]
    assert refused and {cell["message"] for cell in refused} == {"push"}


def test_a_row_that_breaks_the_format_is_named(tmp_path, capsys):
    log = decision_log(tmp_path / "log", first=1.5)
    (tmp_path / "objectives.yaml").write_text(GOALS)
    save_policy(UniformPolicy(), tmp_path / "uniform")
    assert main(["ope", str(log), str(tmp_path / "uniform"), "--objectives", str(tmp_path / "objectives.yaml")]) == 2
    error = capsys.readouterr().err
    assert "row 0 (id d0): propensity == 1.5, must be in (0, 1]." in error and len(error.splitlines()) == 1
    assert "In all 1 of 375 rows break the format" in error
