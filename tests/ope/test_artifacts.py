"""From artifacts on disk to reports, page, metrics and verdict."""

import json
import re

import numpy as np
import pytest

from homing.errors import ArtifactError, InvalidInputError
from homing.ope import OPEReport, compare, evaluate_artifacts, evaluate_policy
from homing.ope.artifacts import exploration_notes
from homing.policies import EpsilonGreedyPolicy, load_policy, save_policy


def evaluate(world, out, **changes):
    arguments = {
        "challengers": {"challenger": world / "policy"},
        "baseline": world / "baseline",
        "reward_model": world / "reward_model",
    }
    return evaluate_artifacts(world / "evaluation", out, **(arguments | changes))


def test_evaluation_without_a_champion_uses_the_baseline(world, tmp_path):
    metrics = evaluate(world, tmp_path, seed=3)
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == metrics
    assert metrics["champion_is_baseline"] is True and metrics["seed"] == 3
    challenger, baseline = OPEReport.load(tmp_path / "challengers/challenger"), OPEReport.load(tmp_path / "champion")
    assert (challenger.policy, baseline.policy) == ("challenger", "baseline (message-shares)")
    # The baseline is what wrote the log: its IPS value is the log's mean.
    assert baseline.estimate("clicked", "ips").value == pytest.approx(baseline.logged["clicked"].value, rel=1e-6)
    assert compare(challenger, baseline, "clicked", "dr").lower > 0
    references = [item["policy"] for item in metrics["references"]]
    assert references[:2] == ["uniform", "silence"] and set(references[2:]) == {"always hello", "always offer"}
    html = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert "Challenger against baseline" in html and "rare" not in html


def test_what_exploration_costs_is_said(world, tmp_path):
    """V(ε) = (1 - ε) V(0) + ε V(uniform): all three stand in the metrics, and a sentence with the report."""
    artifact = load_policy(world / "policy")
    save_policy(
        EpsilonGreedyPolicy(artifact.policy, 0.2), tmp_path / "exploring", features=artifact.features,
        objectives=artifact.objectives,
    )  # fmt: skip
    metrics = evaluate(world, tmp_path / "out", challengers={"challenger": tmp_path / "exploring"})

    def value(policy):
        (found,) = [e["value"] for e in policy["estimates"] if (e["estimator"], e["objective"]) == ("dr", "clicked")]
        return found

    bare, uniform = metrics["references"][:2]
    assert (bare["policy"], uniform["policy"]) == ("challenger without exploration", "uniform")
    mine = value(metrics["policies"]["challenger"])
    assert mine == pytest.approx(0.8 * value(bare) + 0.2 * value(uniform), rel=1e-9)
    (note,) = metrics["policies"]["challenger"]["notes"]  # one sentence, however many objectives
    assert note.startswith("20% of the choices are drawn uniformly, to learn from;")
    assert f"clicked {mine:.4f} instead of {value(bare):.4f}" in note and "unsubscribed " in note
    assert note in (tmp_path / "out/evaluation.html").read_text(encoding="utf-8")


def test_what_exploration_costs_names_the_clearest_objectives(make_log, rng):
    """Of three objectives the second moves most clearly, the first next, the third not at all."""
    n = 2000
    action = rng.integers(0, 2, n)
    reward = np.stack([action + rng.normal(0, 1, n), action + rng.normal(0, 0.1, n), rng.normal(0, 1, n)], axis=1)
    log = make_log(action=action, propensity=np.full(n, 0.5), reward=reward)
    q = np.zeros((n, 2, 3))
    explored, bare = (evaluate_policy(log, np.tile([p, 1 - p], (n, 1)), q_hat=q) for p in (0.1, 0.0))
    (note,) = exploration_notes(explored, bare, 0.2)
    assert re.match(r"20% of the choices .* at 95%: spend 0\.\S+ instead of 1\.\S+ \(difference -.*\), clicked ", note)
    assert "sessions" not in note and note.endswith(" (the 2 of 3 objectives that move most clearly).")


def test_the_reward_models_objectives_are_matched_by_name(world, tmp_path):
    """Its columns are (unsubscribed, clicked): swapped predictions would make DR noisier than IPS, not better."""
    evaluate(world, tmp_path)
    report = OPEReport.load(tmp_path / "challengers/challenger")
    assert report.estimate("clicked", "dr").std_error < 0.95 * report.estimate("clicked", "ips").std_error


def test_a_champion_of_another_encoder_is_shown_its_own_columns(world, tmp_path):
    """It is the challenger written in other columns, so nothing may differ; untranslated, much would."""
    evaluate(world, tmp_path, champion=world / "older")
    challenger, champion = OPEReport.load(tmp_path / "challengers/challenger"), OPEReport.load(tmp_path / "champion")
    difference = compare(challenger, champion, "clicked", "dr")
    assert abs(difference.value) < 1e-4 and difference.std_error < 1e-4
    assert champion.notes[0].startswith("The policy was trained with another encoder")
    assert challenger.notes == ()


def test_evaluation_is_deterministic(world, tmp_path):
    evaluate(world, tmp_path / "a"), evaluate(world, tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 8
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_policy_without_a_model_is_no_reward_model(world, tmp_path):
    with pytest.raises(ArtifactError, match=r"reward model == 'MessageSharesPolicy', must be a policy over a scorer"):
        evaluate(world, tmp_path, reward_model=world / "baseline")


def test_a_reward_model_of_other_objectives(world, tmp_path):
    model = load_policy(world / "reward_model")
    save_policy(model.policy, tmp_path / "other", features=model.features, objectives=("unsubscribed", "opened"))
    with pytest.raises(ArtifactError, match="must hold clicked"):
        evaluate(world, tmp_path / "out", reward_model=tmp_path / "other")


def test_an_altered_policy_is_refused(world, tmp_path):
    import shutil

    shutil.copytree(world / "policy", tmp_path / "policy")
    data = bytearray((tmp_path / "policy/weights.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "policy/weights.safetensors").write_bytes(data)
    with pytest.raises(ArtifactError, match="sha256"):
        evaluate(world, tmp_path / "out", challengers={"challenger": tmp_path / "policy"})


def test_several_challengers_stand_side_by_side(world, tmp_path):
    """Each has its reports, metrics, map and differences; the champion is judged once."""
    both = {"soft": world / "policy", "older": world / "older"}
    metrics = evaluate(world, tmp_path, challengers=both)
    assert metrics["challengers"] == ["soft", "older"] and set(metrics["metrics"]) == {"soft", "older"}
    assert set(metrics["policies"]) == {"soft", "older", "champion"}
    alone = evaluate(world, tmp_path / "alone", challengers={"soft": world / "policy"})
    assert alone["metrics"]["soft"] == metrics["metrics"]["soft"]
    assert [item["policy"] for item in metrics["support_maps"]] == ["soft", "older", "baseline (message-shares)"]
    # Written in other columns, it is the same policy: the same map, up to rounding.
    one, two = (item["cells"] for item in metrics["support_maps"][:2])
    for mine, other in zip(one, two, strict=True):
        assert mine["policy_share"] == pytest.approx(other["policy_share"], abs=1e-5)
    html = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert "2 challengers against baseline" in html
    for name in ("soft", "older"):
        assert html.count(f">{name}</text>") >= 2 * 2  # in values and in differences of two objectives
        assert f'Where the log can answer <span class="soft">{name}</span>' in html


def test_the_intervals_that_decide_stand_first(world, tmp_path):
    """What the page, the metrics and the gate say of a difference are the same three numbers."""
    from homing.pages import parts
    from homing.promotion import PromotionRules, gate_reports

    rules = PromotionRules.from_dict({
        "objectives": {
            "clicked": {"rule": "superiority"},
            "unsubscribed": {"rule": "non_inferiority", "direction": "minimize", "margin": 0.5},
        }
    })  # fmt: skip
    both = {"older": world / "older", "soft": world / "policy"}
    metrics = evaluate(world, tmp_path, challengers=both, deciding=rules.deciding(2))
    decided = gate_reports(tmp_path, rules)
    html = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    for item in metrics["values"]:
        assert item["level"] == pytest.approx(0.975)
        for decision in decided.decisions:
            (asked,) = [c for c in decision.comparisons if c.objective == item["objective"]]
            shown = item["challengers"][decision.challenger]
            assert shown["difference"] == asked.difference.to_dict() and shown["value"] == asked.challenger.to_dict()
            value, lower, upper = parts(asked.difference)
            assert f"{value} [{lower}, {upper}]" in html
    assert "cressie-read intervals at 97.5%: those that decide" in html
    assert "with cluster-t intervals at 95%, which do not decide" in html


@pytest.mark.parametrize("name", ["champion", "../up", ""])
def test_a_challengers_name_must_be_one_for_a_folder(world, tmp_path, name):
    with pytest.raises(InvalidInputError, match=r"challenger == .*, must be letters, digits"):
        evaluate(world, tmp_path, challengers={name: world / "policy"})
    with pytest.raises(InvalidInputError, match=r"challengers == \{\}, must name at least one policy"):
        evaluate(world, tmp_path, challengers={})
