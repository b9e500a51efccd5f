"""The vector environment as Gymnasium wants it, and the same rewards as a rollout."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_action_space, check_observation_space, data_equivalence
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from homing.errors import InvalidInputError
from homing.log import FeatureEncoder
from homing.policies import UniformPolicy, sample_actions, uniform_probs
from homing.simulation import ObservationEncoder, log_decisions, plain_encoder, simulate
from homing.simulation.acting import _ACTIONS
from homing.simulation.gym import WorldVectorEnv

N, DAYS, STEPS = 30, 2, 4


@pytest.fixture
def env(small_world) -> WorldVectorEnv:
    return WorldVectorEnv(small_world, num_envs=N, horizon_days=DAYS)


def draws(seed: int, step: int, mask: np.ndarray) -> np.ndarray:
    return sample_actions(uniform_probs(mask.astype(bool)), np.random.default_rng((seed, step, _ACTIONS)))[0]


def test_spaces_pass_gymnasiums_checks(env) -> None:
    check_observation_space(env.single_observation_space)
    check_observation_space(env.observation_space)
    check_action_space(env.single_action_space)
    check_action_space(env.action_space)
    assert env.metadata == {"autoreset_mode": AutoresetMode.NEXT_STEP}


def test_episodes_are_what_gymnasium_wants(env) -> None:
    """What `check_env` asks of single environments: spaces, types, seeds, and that returned data is not reused."""
    first, info = env.reset(seed=3)
    assert isinstance(info, dict)
    runs = []
    for _ in range(2):
        seen, _ = env.reset(seed=3)
        env.action_space.seed(5)
        run = [seen]
        for t in range(STEPS):
            shown, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert env.observation_space.contains(shown)
            assert reward.shape == terminated.shape == truncated.shape == (N,)
            assert reward.dtype == float and terminated.dtype == truncated.dtype == bool
            assert not terminated.any() and truncated.tolist() == [t == STEPS - 1] * N
            assert all(shown[name] is not run[-1][name] for name in shown)
            run.append(shown)
        runs.append(run)
    assert data_equivalence(first, runs[0][0])
    assert all(data_equivalence(a, b) for a, b in zip(*runs, strict=True))


def test_random_agent_earns_what_simulate_says(env, small_world) -> None:
    truth = simulate(small_world, UniformPolicy(), horizon_days=DAYS, n_users=N, seed=9)
    shown, info = env.reset(seed=9)
    total, objectives, asked = np.zeros(N), np.zeros((N, 3)), np.zeros(N)
    for step in range(STEPS):
        asked += info["asked"]
        shown, reward, _, _, info = env.step(draws(9, step, shown["eligible"]))
        total += reward
        objectives += info["objectives"]
        assert not info["replaced"].any()
    assert np.array_equal(objectives, truth.total)
    assert np.allclose(total, truth.total @ [1.0, 0.1, -1.0])
    assert np.array_equal(asked, truth.decisions)


def test_shows_what_policies_see(small_world) -> None:
    encoder = FeatureEncoder.fit(log_decisions(small_world, UniformPolicy(), days=1, n_users=20))
    env = WorldVectorEnv(small_world, num_envs=N, horizon_days=DAYS, encoder=encoder)
    env.reset(seed=1)
    shown, *_ = env.step(np.zeros(N, dtype=int))  # in odd steps, users 0, 3, … are not asked
    small_world.reset(N, 1)
    small_world.step(np.zeros(N, dtype=int))
    seen, encode = small_world.observation, ObservationEncoder(encoder, small_world)
    assert np.array_equal(shown["context"][seen.user], encode.context(seen))
    assert np.array_equal(shown["candidates"][seen.user], encode.candidates(seen))
    assert np.array_equal(shown["eligible"][seen.user], seen.eligible)
    left = np.setdiff1d(np.arange(N), seen.user)
    assert left.tolist() == list(range(0, N, 3))
    assert not shown["context"][left].any() and not shown["candidates"][left].any()
    assert shown["eligible"][left].tolist() == [[1, 0, 0, 0]] * len(left)


def test_what_is_not_eligible_is_silence(env) -> None:
    env.reset(seed=0)
    *_, info = env.step(np.full(N, 2))  # odd users have no offer
    assert info["replaced"].tolist() == [user % 2 == 1 for user in range(N)]
    assert info["objectives"][:, 2].tolist() == [0.0 if user % 2 else 0.5 for user in range(N)]
    *_, info = env.step(np.full(N, 2))  # nor is anybody sent two in a row, and some are not asked
    assert info["replaced"].all()


def play_on(env: WorldVectorEnv, steps: int):
    return [env.step(np.zeros(N, dtype=int)) for _ in range(steps)]


def test_autoreset_in_the_next_step(env) -> None:
    first, _ = env.reset(seed=0)
    *_, last, fresh, after = play_on(env, STEPS + 2)
    assert last[3].all() and not fresh[3].any()
    assert fresh[1].tolist() == [0.0] * N  # the action of the step that resets is not taken
    again, _ = env.reset(seed=0)
    assert data_equivalence(first, again)
    assert not after[3].any()


def test_autoreset_in_the_same_step(small_world) -> None:
    env = WorldVectorEnv(
        small_world, num_envs=N, horizon_days=DAYS, autoreset_mode=AutoresetMode.SAME_STEP
    )  # fmt: skip
    env.reset(seed=0)
    shown, reward, _, truncated, info = play_on(env, STEPS)[-1]
    assert truncated.all()
    assert set(info) >= {"final_obs", "_final_obs", "final_info", "_final_info"}
    other = WorldVectorEnv(small_world, num_envs=N, horizon_days=DAYS)
    other.reset(seed=0)
    final, same, _, _, last = play_on(other, STEPS)[-1]
    assert np.array_equal(reward, same)
    assert all(np.array_equal(info["final_obs"][3][name], final[name][3], equal_nan=True) for name in final)
    assert np.array_equal(info["final_info"]["objectives"], last["objectives"])
    assert env.observation_space.contains(shown)
    assert not env.step(np.zeros(N, dtype=int))[3].any()


def test_without_autoreset(small_world) -> None:
    env = WorldVectorEnv(small_world, num_envs=N, horizon_days=DAYS, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    play_on(env, STEPS)
    with pytest.raises(InvalidInputError, match=r"step == 4, must be < 4, the episode's length. Call reset\(\)"):
        env.step(np.zeros(N, dtype=int))
    with pytest.raises(InvalidInputError, match="must be true for all users"):
        env.reset(options={"reset_mask": np.arange(N) > 3})
    env.reset(options={"reset_mask": np.ones(N, dtype=bool)})
    play_on(env, 1)


def test_gymnasiums_wrappers_work(env) -> None:
    counted = RecordEpisodeStatistics(env)
    counted.reset(seed=2)
    rewards = np.zeros(N)
    for _ in range(STEPS):
        _, reward, _, _, info = counted.step(np.ones(N, dtype=int))
        rewards += reward
    assert np.allclose(info["episode"]["r"], rewards)
    assert info["episode"]["l"].tolist() == [STEPS] * N
    listed = DictInfoToList(env)
    listed.reset(seed=2)
    *_, infos = listed.step(np.ones(N, dtype=int))
    assert len(infos) == N and infos[5]["objectives"].shape == (3,)


def test_owner_chooses_the_reward(small_world) -> None:
    env = WorldVectorEnv(small_world, num_envs=N, horizon_days=DAYS, weights={"cost": 2.0})
    env.reset(seed=0)
    assert env.step(np.full(N, 2))[1].tolist() == [0.0, 1.0][::-1] * (N // 2)


@pytest.mark.parametrize("actions", [np.zeros(3, int), np.full(N, 4), np.full(N, -1), np.zeros(N)], ids=str)
def test_actions_must_be_columns(env, actions) -> None:
    env.reset(seed=0)
    with pytest.raises(InvalidInputError, match=r"must be 30 columns in \[0, 4\)"):
        env.step(actions)


def test_plain_features_are_the_default(env, small_world) -> None:
    assert env.single_observation_space["context"].shape == (len(plain_encoder(small_world).context_names),)
