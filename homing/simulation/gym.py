"""A world as a Gymnasium vector environment: each user is an environment, all of them on one clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_count
from homing.errors import InvalidInputError, MissingDependencyError, describe
from homing.log import FeatureEncoder
from homing.simulation.encode import ObservationEncoder, plain_encoder
from homing.simulation.rollout import objective_weights, steps_of
from homing.simulation.world import FloatArray, Observation, World

try:
    from gymnasium import spaces
    from gymnasium.vector import AutoresetMode, VectorEnv
    from gymnasium.vector.utils import batch_space
except ImportError as error:  # pragma: no cover
    raise MissingDependencyError(
        "gymnasium == not installed, must be there for vector environments. Install it: "
        "pip install 'homing[simulation]'."
    ) from error

Shown = dict[str, NDArray[Any]]


class WorldVectorEnv(VectorEnv):  # type: ignore[misc]  # Gymnasium is not typed here
    """Steps all users of a world together; an episode is a horizon, after which all are truncated.

    An observation is a dictionary: `context` (d,), `candidates` (k, c), padded with zeros, and `eligible` (k,), the
    mask of actions; an action is a column, 0 is silence. A user who is not decided about in a step sees zeros and may
    only be silent. An action that is not eligible counts as silence, and `info["replaced"]` says so: agents that do not
    know masks can be trained, and learn what such actions bring.

    The reward is the weighted sum of the step's objectives, which stand in `info["objectives"]` (N, m) by themselves;
    `info["asked"]` (N,) says who was decided about. All users end at once; `terminated` is never true.

    Args:
        world: of which a copy is used.
        num_envs: number of users, N.
        horizon_days: length of an episode.
        encoder: of the features; `plain_encoder(world)` when not given. Networks want standardised numbers: fit one on
            a short log (`FeatureEncoder.fit`).
        weights: of each objective in the reward; the world's own when not given.
        autoreset_mode: what happens after an episode's end, as Gymnasium has it; each episode has a seed of its own.

    Example:
        >>> from homing.simulation import make_world
        >>> env = WorldVectorEnv(make_world("linkedin"), num_envs=4, horizon_days=1)
        >>> observation, info = env.reset(seed=0)
        >>> env.observation_space.contains(observation), env.single_action_space
        (True, Discrete(2))
        >>> _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        >>> reward.shape, info["objectives"].shape
        ((4,), (4, 2))

    References:
        Towers et al. (2024), "Gymnasium: A Standard Interface for Reinforcement Learning Environments",
        arXiv 2407.17032; its pages on vector environments and autoreset modes.
    """

    def __init__(
        self,
        world: World,
        *,
        num_envs: int,
        horizon_days: int,
        encoder: FeatureEncoder | None = None,
        weights: Mapping[str, float] | None = None,
        autoreset_mode: AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        self.num_envs = check_count("num_envs", num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode(autoreset_mode)}
        self._world = world.copy()
        self._steps = steps_of(world, check_count("horizon_days", horizon_days))
        self._encode = ObservationEncoder(encoder or plain_encoder(world), world)
        self._weights = objective_weights(world.objectives, world.weights if weights is None else weights)
        self._k = self._world.reset(self.num_envs, 0).eligible.shape[1]
        self._t = self._steps
        names = self._encode.encoder
        d, c = len(names.context_names), len(names.candidate_names)
        self.single_observation_space = spaces.Dict(
            {
                "context": spaces.Box(-np.inf, np.inf, (d,), np.float32),
                "candidates": spaces.Box(-np.inf, np.inf, (self._k, c), np.float32),
                "eligible": spaces.MultiBinary(self._k),
            }
        )
        self.single_action_space = spaces.Discrete(self._k)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Shown, dict[str, Any]]:
        """Begin an episode for all users.

        Args:
            seed: of users and chance; drawn from the environment's own generator when None.
            options: `reset_mask` (N,), as Gymnasium has it; it must name everybody.

        Raises:
            InvalidInputError: if the mask leaves somebody out.
        """
        super().reset(seed=seed)
        mask = (options or {}).get("reset_mask")
        if mask is not None and not np.all(mask):
            bound = "must be true for all users, who share a clock"
            raise InvalidInputError(describe("reset_mask", np.asarray(mask).tolist(), bound))
        self._t = 0
        seen = self._world.reset(self.num_envs, int(self.np_random.integers(2**31)) if seed is None else seed)
        return self._show(seen), self._info(np.zeros((self.num_envs, len(self._weights))), self._none(), seen)

    def step(
        self, actions: NDArray[np.integer]
    ) -> tuple[Shown, FloatArray, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Act for all users.

        Args:
            actions: (N,), columns; what is not eligible counts as silence.

        Returns:
            Observation, reward (N,), terminated (N,), truncated (N,), info.

        Raises:
            InvalidInputError: if actions are not N columns, or the episode is over and nothing resets it.
        """
        mode = self.metadata["autoreset_mode"]
        if self._t >= self._steps:
            if mode != AutoresetMode.NEXT_STEP:
                bound = f"must be < {self._steps}, the episode's length"
                raise InvalidInputError(describe("step", self._t, bound, "Call reset()."))
            shown, info = self.reset()
            return shown, np.zeros(self.num_envs), self._none(), self._none(), info
        seen = self._world.observation
        chosen, replaced = self._choose(np.asarray(actions), seen)
        objectives = self._world.step(chosen).reward
        self._t += 1
        truncated = np.full(self.num_envs, self._t == self._steps)
        seen = self._world.observation
        shown, info = self._show(seen), self._info(objectives, replaced, seen)
        if self._t == self._steps and mode == AutoresetMode.SAME_STEP:
            final, last = shown, info
            shown, info = self.reset()
            info |= {**_told("final_obs", _one_by_one(final)), **_told("final_info", last, self.num_envs)}
        return shown, objectives @ self._weights, self._none(), truncated, info

    def _choose(self, actions: NDArray[Any], seen: Observation) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        whole = np.issubdtype(actions.dtype, np.integer) and actions.shape == (self.num_envs,)
        if not whole or (actions < 0).any() or (actions >= self._k).any():
            bound = f"must be {self.num_envs} columns in [0, {self._k})"
            raise InvalidInputError(describe("actions", actions.tolist(), bound))
        wanted = actions[seen.user].astype(np.int64)
        allowed = seen.eligible[np.arange(len(seen)), wanted]
        replaced = actions != 0  # of those who are not asked
        replaced[seen.user] = ~allowed
        return np.where(allowed, wanted, 0), replaced

    def _show(self, seen: Observation) -> Shown:
        if seen.eligible.shape[1] != self._k:
            bound = f"must be {self._k}, as in the first observation"
            raise InvalidInputError(describe("candidates of an observation", seen.eligible.shape[1], bound))
        context, candidates = self._encode.context(seen), self._encode.candidates(seen)
        eligible = seen.eligible.astype(np.int8)
        if len(seen) < self.num_envs:
            context, candidates, eligible = (
                self._spread(seen, part) for part in (context, candidates, eligible)
            )  # fmt: skip
            eligible[:, 0] = 1
        return {"context": context, "candidates": candidates, "eligible": eligible}

    def _spread(self, seen: Observation, rows: NDArray[Any]) -> NDArray[Any]:
        out = np.zeros((self.num_envs, *rows.shape[1:]), dtype=rows.dtype)
        out[seen.user] = rows
        return out

    def _info(self, objectives: FloatArray, replaced: NDArray[np.bool_], seen: Observation) -> dict[str, Any]:
        asked = self._none()
        asked[seen.user] = True
        return {**_told("objectives", objectives), **_told("replaced", replaced), **_told("asked", asked)}

    def _none(self) -> NDArray[np.bool_]:
        return np.zeros(self.num_envs, dtype=np.bool_)


def _told(name: str, value: Any, n: int | None = None) -> dict[str, Any]:
    """An entry of a vector environment's info, with the mask that says for whom it is: everybody."""
    return {name: value, f"_{name}": np.ones(len(value) if n is None else n, dtype=np.bool_)}


def _one_by_one(shown: Shown) -> NDArray[Any]:
    """A dictionary for each user, as Gymnasium hands over final observations."""
    n = len(shown["eligible"])
    out = np.empty(n, dtype=object)
    for i in range(n):
        out[i] = {name: part[i] for name, part in shown.items()}
    return out
