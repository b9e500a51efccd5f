"""From artifacts on disk to reports, page, metrics and verdict; and the command lines over them."""

import json

import numpy as np
import pytest

from homing.errors import ArtifactError
from homing.log.dataset import LoggedDataset
from homing.log.features import FeatureEncoder, Field
from homing.ope import OPEReport, compare, evaluate_artifacts
from homing.policies import (
    EpsilonGreedyPolicy,
    GreedyPolicy,
    LinearRewardModel,
    MessageSharesPolicy,
    SoftmaxPolicy,
    UniformPolicy,
    save_policy,
)

OBJECTIVES = ("clicked", "unsubscribed")
ENCODER = FeatureEncoder(
    context=(Field("age", "number", mean=40.0, scale=10.0),),
    candidate=(Field("message_id", "category", ("hello", "offer", "rare")),),
)
#: What an earlier month's policy was trained with: another scale, the messages in another order.
OLDER = FeatureEncoder(
    context=(Field("age", "number", mean=20.0, scale=20.0),),
    candidate=(Field("message_id", "category", ("another", "hello", "offer")),),
)
N = 6000


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A log in which older users prefer offers, and three artifacts trained for it."""
    rng = np.random.default_rng(11)
    age = rng.normal(40.0, 10.0, N)
    message = np.array(["silence", "hello", "offer"])
    lists = [[{"message_id": name} for name in message]] * N
    action = rng.integers(0, 3, N)
    lift = np.array([0.0, 0.1, 0.1])[action] + np.where(action == 2, 0.08, 0.0) * (age - 40.0) / 10.0
    log = LoggedDataset(
        context=ENCODER.encode_context([{"age": float(a)} for a in age]),
        candidates=ENCODER.encode_candidates(lists, 0),
        eligible=np.ones((N, 3), bool),
        action=action,
        propensity=np.full(N, 1 / 3),
        reward=np.stack([rng.random(N) < 0.2 + lift, rng.random(N) < 0.01 + 0.01 * (action > 0)], axis=1).astype(float),
        objectives=OBJECTIVES,
        user=np.repeat(np.arange(N // 2), 2),
        time=np.arange(N),
        encoder=ENCODER,
    )
    root = tmp_path_factory.mktemp("world")
    log.save(root / "evaluation")
    # Columns: message_id=hello, =offer, =rare, is_silence. The reward model has the objectives the other way round.
    cross = np.zeros((2, 4, 1), np.float32)
    cross[1, 1, 0] = 0.08
    model = LinearRewardModel(
        links=("identity", "identity"), slope=np.ones(2), offset=np.zeros(2), weights=np.array([0.0, 1.0]),
        interaction=cross, candidate=np.array([[0.01, 0.01, 0, 0], [0.1, 0.1, 0, 0]], np.float32),
        context=np.zeros((2, 1), np.float32), intercept=np.array([0.01, 0.2], np.float32),
    )  # fmt: skip
    common = {"features": ENCODER.to_dict(), "objectives": OBJECTIVES[::-1]}
    save_policy(GreedyPolicy(model), root / "reward_model", **common)
    save_policy(SoftmaxPolicy(model, temperature=0.05), root / "policy", **common)
    shares = MessageSharesPolicy(shares=np.ones(2), columns=np.arange(2), silence=1.0)
    save_policy(shares, root / "baseline", features=ENCODER.to_dict(), name="message-shares")
    # The same softmax policy, in the older encoder's columns: z = 2 (age - 40) / 10 ... = 2 · old - 2 on its scale.
    older = np.zeros((2, 4, 1), np.float32)
    older[1, 2, 0] = 0.16
    old_model = LinearRewardModel(
        links=("identity", "identity"), slope=np.ones(2), offset=np.zeros(2), weights=np.array([0.0, 1.0]),
        interaction=older, candidate=np.array([[0, 0.01, 0.01, 0], [0, 0.1, 0.1 - 0.16, 0]], np.float32),
        context=np.zeros((2, 1), np.float32), intercept=np.array([0.01, 0.2], np.float32),
    )  # fmt: skip
    save_policy(
        SoftmaxPolicy(old_model, temperature=0.05),
        root / "older",
        features=OLDER.to_dict(),
        objectives=OBJECTIVES[::-1],
    )
    return root


def evaluate(world, out, **changes):
    arguments = {
        "challenger": world / "policy", "baseline": world / "baseline", "reward_model": world / "reward_model"
    }  # fmt: skip
    return evaluate_artifacts(world / "evaluation", out, **(arguments | changes))


def test_evaluation_without_a_champion_uses_the_baseline(world, tmp_path):
    metrics = evaluate(world, tmp_path, seed=3)
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == metrics
    assert metrics["champion_is_baseline"] is True and metrics["seed"] == 3
    challenger, baseline = OPEReport.load(tmp_path / "challenger"), OPEReport.load(tmp_path / "champion")
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
    from homing.policies import load_policy

    artifact = load_policy(world / "policy")
    save_policy(
        EpsilonGreedyPolicy(artifact.policy, 0.2), tmp_path / "exploring", features=artifact.features,
        objectives=artifact.objectives,
    )  # fmt: skip
    metrics = evaluate(world, tmp_path / "out", challenger=tmp_path / "exploring")

    def value(policy):
        (found,) = [e["value"] for e in policy["estimates"] if (e["estimator"], e["objective"]) == ("dr", "clicked")]
        return found

    bare, uniform = metrics["references"][:2]
    assert (bare["policy"], uniform["policy"]) == ("challenger without exploration", "uniform")
    mine = value(metrics["policies"]["challenger"])
    assert mine == pytest.approx(0.8 * value(bare) + 0.2 * value(uniform), rel=1e-9)
    note = metrics["policies"]["challenger"]["notes"][0]
    assert note.startswith(f"20% of the choices are drawn uniformly, to learn from: clicked is {mine:.4f}")
    assert f"without this exploration it is {value(bare):.4f}" in note
    assert note in (tmp_path / "out/evaluation.html").read_text(encoding="utf-8")


def test_the_reward_models_objectives_are_matched_by_name(world, tmp_path):
    """Its columns are (unsubscribed, clicked): swapped predictions would make DR noisier than IPS, not better."""
    evaluate(world, tmp_path)
    report = OPEReport.load(tmp_path / "challenger")
    assert report.estimate("clicked", "dr").std_error < 0.95 * report.estimate("clicked", "ips").std_error


def test_a_champion_of_another_encoder_is_shown_its_own_columns(world, tmp_path):
    """It is the challenger written in other columns, so nothing may differ; untranslated, much would."""
    evaluate(world, tmp_path, champion=world / "older")
    challenger, champion = OPEReport.load(tmp_path / "challenger"), OPEReport.load(tmp_path / "champion")
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
    save_policy(UniformPolicy(), tmp_path / "uniform")
    from homing.policies import load_policy

    scorer = load_policy(world / "reward_model").policy
    save_policy(scorer, tmp_path / "other", features=ENCODER.to_dict(), objectives=("unsubscribed", "opened"))
    with pytest.raises(ArtifactError, match="must hold clicked"):
        evaluate(world, tmp_path / "out", reward_model=tmp_path / "other")


def test_an_altered_policy_is_refused(world, tmp_path):
    import shutil

    shutil.copytree(world / "policy", tmp_path / "policy")
    data = bytearray((tmp_path / "policy/weights.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "policy/weights.safetensors").write_bytes(data)
    with pytest.raises(ArtifactError, match="sha256"):
        evaluate(world, tmp_path / "out", challenger=tmp_path / "policy")


def test_command_line_of_evaluation(world, tmp_path, capsys):
    from homing.cli import main

    page = tmp_path / "pages/report.html"
    status = main([
        "ope", str(world / "evaluation"), str(world / "policy"), str(world / "baseline"),
        "--reward-model", str(world / "reward_model"), "--html", str(page), "--level", "0.9",
    ])  # fmt: skip
    out = capsys.readouterr().out
    assert status == 0
    assert out.startswith("policy: fine, the log supports these estimates")
    assert "policy minus message-shares, dr, paired by user, 90% intervals" in out
    assert "Policy: the log supports these estimates" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("interval", ["cressie-read", "bootstrap"])
def test_command_line_makes_the_intervals_that_are_asked_for(world, tmp_path, capsys, interval):
    from homing.cli import main

    call = ["ope", str(world / "evaluation"), str(world / "policy"), str(world / "baseline"), "--interval", interval]
    found = []
    for _ in range(2):
        assert main([*call, "--seed", "3", "--html", str(tmp_path / "page.html")]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]
    assert f"clicked per decision, 95% intervals ({interval})" in found[0]


def test_command_line_names_what_is_wrong(world, tmp_path, capsys):
    from homing.cli import main

    assert main(["ope", str(world / "evaluation"), str(tmp_path)]) == 2
    assert "homing: " in capsys.readouterr().err
    assert main(["ope", str(world / "evaluation"), str(world / "policy"), "--level", "95"]) == 2
    assert "level == 95.0, must be in (0, 1)" in capsys.readouterr().err
