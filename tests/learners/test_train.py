"""`train`: what it writes, from what stands beside the training set."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.learners import train
from homing.policies import dataset_probs, dataset_values, load_policy

OBJECTIVES = """
objectives:
  r0: {kinds: [clicked], window_hours: 24, aggregate: any}
  r1: {kinds: [unsubscribed], window_hours: 24, aggregate: any, direction: minimize}
"""


@pytest.fixture
def folder(two_objectives, rng, tmp_path) -> Path:
    two_objectives.log(600, rng, users=200).save(tmp_path / "prepared" / "train")
    return tmp_path / "prepared" / "train"


def test_artifacts_and_report(folder, tmp_path, two_objectives, rng) -> None:
    lines: list[str] = []
    report = train(folder, tmp_path / "out", learner="linear", params={"epsilon": 0.3}, seed=4, progress=lines.append)
    assert json.loads((tmp_path / "out" / "train.json").read_text()) == report.to_dict()
    assert lines[0].startswith("training linear on 600 decisions of ")
    assert set(report.calibration) == {"r0", "r1"}
    data = two_objectives.log(100, rng)
    for name in ("policies/linear", "baseline", "reward_model"):
        artifact = load_policy(tmp_path / "out" / name, digest=report.digests[name])
        assert artifact.objectives == ("r0", "r1")
        assert artifact.trained["fingerprint"] == report.fingerprint
        np.testing.assert_allclose(dataset_probs(artifact, data).sum(axis=1), 1.0)
    values = dataset_values(artifact.policy.scorer, data)
    assert values.shape == (100, 4, 2)
    assert 0 < values.min() < values.max() < 1
    assert load_policy(tmp_path / "out" / "policies/linear").policy.epsilon == 0.3


@pytest.mark.parametrize("learner", ["doubly-robust", "linear"])
def test_a_seed_gives_the_same_artifacts(folder, tmp_path, learner) -> None:
    digests = [train(folder, tmp_path / name, learner=learner, seed=seed).digests
               for name, seed in (("a", 1), ("b", 1), ("c", 2))]  # fmt: skip
    assert digests[0] == digests[1]
    assert digests[0][f"policies/{learner}"] != digests[2][f"policies/{learner}"]


def test_several_learners_share_all_but_their_policies(folder, tmp_path) -> None:
    """Each policy is what its learner makes alone, and baseline and reward model do not depend on who is trained."""
    settings = {"linear": {"epsilon": 0.3}}
    both = train(folder, tmp_path / "both", learner=["message-shares", "linear"], params=settings, seed=2)
    one = train(folder, tmp_path / "one", learner="linear", params=settings["linear"], seed=2)
    other = train(folder, tmp_path / "other", learner="message-shares", seed=2)
    assert both.learners == ("message-shares", "linear")
    assert both.digests == {**other.digests, **one.digests}
    assert both.params == {"message-shares": {}, "linear": {"epsilon": 0.3}}
    assert set(both.history) == {"reward model", "message-shares", "linear"}


@pytest.mark.parametrize(
    ("learner", "params", "message"),
    [
        (["linear", "linear"], {}, r"learner == \['linear', 'linear'\], must be distinct names, at least one"),
        ([], {}, r"learner == \[\], must be distinct names"),
        (["linear"], {"epsilon": 0.3}, "learner of params == 'epsilon', must be one of 'linear'"),
        (["linear"], {"linear": 3}, "params of linear == 3, must be a mapping of settings"),
    ],
    ids=["twice", "none", "settings of no learner", "settings that are none"],
)
def test_mistakes_in_several_learners(folder, tmp_path, learner, params, message) -> None:
    with pytest.raises((InvalidInputError, UnknownNameError), match=message):
        train(folder, tmp_path / "out", learner=learner, params=params)
    assert not (tmp_path / "out").exists()


def test_directions_come_from_the_objectives_beside(folder, tmp_path) -> None:
    (folder.parent / "objectives.yaml").write_text(OBJECTIVES)
    report = train(folder, tmp_path / "out", learner="linear")
    assert report.weights["r0"] > 0 > report.weights["r1"]
    again = train(folder, tmp_path / "out", learner="linear", weights={"r1": 2.0})
    assert again.weights == {"r0": 0.0, "r1": 2.0}


def test_unknown_names_are_refused_before_anything_is_written(folder, tmp_path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'doubly-robust'"):
        train(folder, tmp_path / "out", learner="doubly_robust")
    with pytest.raises(UnknownNameError, match="weight of objective == 'r2'"):
        train(folder, tmp_path / "out", weights={"r2": 1.0})
    assert not (tmp_path / "out").exists()


def test_the_reward_model_is_fitted_on_some_users_of_a_large_log(folder, tmp_path, monkeypatch) -> None:
    whole = train(folder, tmp_path / "whole", learner="message-shares")
    parameters = 2 * 4 * 3  # objectives × candidate × context columns
    monkeypatch.setattr(sys.modules["homing.learners.train"], "REWARD_MODEL_SIZE", parameters * 150)
    part = train(folder, tmp_path / "part", learner="message-shares")
    assert part.digests["policies/message-shares"] == whole.digests["policies/message-shares"]
    assert part.digests["reward_model"] != whole.digests["reward_model"]
    # A fifth of the users calibrates it: of 150 decisions instead of 600.
    assert 0 < part.calibration["r0"]["events"] < 0.5 * whole.calibration["r0"]["events"]


def test_candidates_without_columns_can_be_trained_on(two_objectives, rng, tmp_path) -> None:
    """They are told apart by position alone, and the reward model knows the context alone."""
    data = two_objectives.log(200, rng, users=50)
    bare = replace(data, candidates=np.zeros((data.n, data.k, 0), dtype=np.float32))
    bare.save(tmp_path / "train")
    train(tmp_path / "train", tmp_path / "out", learner="message-shares")
    values = dataset_values(load_policy(tmp_path / "out" / "reward_model").policy.scorer, bare)
    assert np.isfinite(values).all() and (values == values[:, :1]).all()
