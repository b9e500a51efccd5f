"""Learners on logs in parts: what is asked of the whole log is what one finds in memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml

from homing.errors import InvalidInputError
from homing.learners import make, objective_weights, train
from homing.learners.findings import findings
from homing.learners.prepared import Prepared
from homing.learners.prepared_parts import PreparedParts
from homing.learners.transitions import Gaps
from homing.log import build_dataset, write_parts
from homing.policies import dataset_probs, load_policy
from homing.simulation import log_decisions, make_world


@pytest.mark.parametrize("name", ["double-dqn", "iql"])
def test_learners_take_a_log_in_parts(tmp_path, name) -> None:
    """What is asked of the whole log is what one would find in memory; the policy then comes close to that one's."""
    world = make_world("step-count")
    logged = log_decisions(world, world.behaviour_policy(), days=12, n_users=120, seed=1)
    parts = write_parts(logged, world.log_objectives, tmp_path / "parts")
    whole = build_dataset(logged, world.log_objectives)
    settings = {"steps": 300, "sizes": (16, 16), "learning_rate": 5e-3, "batch_rows": 64, "gamma": 0.5, "epsilon": 0.0}
    learners = [make(name, **settings) for _ in range(2)]
    policies = [
        each.fit(data, weights={"steps": 1.0}, rng=np.random.default_rng(0))
        for each, data in zip(learners, (parts, whole), strict=True)
    ]
    one, other = (learner.report["settings"] for learner in learners)
    assert (one["parts"], one["held-out parts"]) == (8, 2)
    for key in ("terminal", "truncated", "gone_after_days"):
        assert one[key] == pytest.approx(other[key], rel=1e-12)
    assert one["transitions"] + one["held-out transitions"] == other["transitions"] + other["held-out transitions"]
    assert learners[0].report["warnings"] == learners[1].report["warnings"]
    found, wanted = (dataset_probs(policy, whole) for policy in policies)
    assert np.abs(found - wanted).sum(axis=1).mean() / 2 < 0.25


def test_scales_and_quantiles_of_parts_are_those_of_the_log(tmp_path) -> None:
    world = make_world("duolingo")
    logged = log_decisions(world, world.behaviour_policy(), days=20, n_users=300, seed=4)
    parts = write_parts(logged, world.log_objectives, tmp_path)
    whole = parts.sample(parts.n)
    gaps = Gaps.of(whole)
    begun = PreparedParts.of(parts, None, np.random.default_rng(0), validation_share=0.2, gone_after_days=None)
    assert begun.gone_after_days == pytest.approx(gaps.gone_after_days, rel=1e-12)
    assert sum(begun.truncated) == gaps.truncated.sum() > 0
    np.testing.assert_allclose(begun.weights, objective_weights(whole, None), rtol=1e-9)
    assert begun.warnings == findings(whole, begun.weights, gaps)
    everyone = replace(begun, train=list(range(len(parts.parts))))
    # Journeys that the log's end cuts are closed by averages of a part there, of the whole log here.
    for found, wanted in zip(everyone.scale(0.8), Prepared.of(
        whole, None, np.random.default_rng(0), validation_share=0.01, gone_after_days=None, device="cpu"
    ).scale(0.8), strict=True):  # fmt: skip
        np.testing.assert_allclose(found, wanted, rtol=0.05)


def test_training_from_a_folder_of_parts(tmp_path) -> None:
    world = make_world("step-count")
    logged = log_decisions(world, world.behaviour_policy(), days=6, n_users=80, seed=1)
    write_parts(logged, world.log_objectives, tmp_path / "data" / "train")
    (tmp_path / "data" / "objectives.yaml").write_text(yaml.safe_dump(world.log_objectives.to_dict()))
    report = train(tmp_path / "data" / "train", tmp_path / "out", learner="cql", params={"steps": 50, "sizes": (4, 4)})
    assert report.rows == logged.n_decisions and report.weights["steps"] > 0 > report.weights["disengaged"]
    for name in ("policies/cql", "baseline", "reward_model"):
        artifact = load_policy(tmp_path / "out" / name, digest=report.digests[name])
        assert artifact.trained["fingerprint"] == report.fingerprint
    with pytest.raises(InvalidInputError, match="learner == 'linear', must learn from parts"):
        train(tmp_path / "data" / "train", tmp_path / "other", learner="linear")
