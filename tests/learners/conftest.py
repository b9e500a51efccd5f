"""Worlds whose best policy is known: learners must find it from logs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from homing.log import LoggedDataset


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@dataclass(frozen=True)
class World:
    """k candidates (one-hot features), d numbers of context; P(reward m) = sigmoid(base + x·taste_a), linear in x."""

    taste: np.ndarray  # (m, k, d)
    own: np.ndarray  # (m, k)
    base: float = -1.0
    curved: bool = False  # the context enters through |x| - 0.8: no bilinear model can see it

    def chances(self, x: np.ndarray) -> np.ndarray:
        """True expected rewards (n, k, m)."""
        seen = np.abs(x) - 0.8 if self.curved else x
        return sigmoid(self.base + np.einsum("nd,mkd->nkm", seen, self.taste) + self.own.T)

    def arrays(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        k = self.own.shape[1]
        x = rng.normal(size=(n, self.taste.shape[2])).astype(np.float32)
        return x, np.broadcast_to(np.eye(k, dtype=np.float32), (n, k, k)).copy(), np.ones((n, k), bool)

    def log(self, n: int, rng: np.random.Generator, probs=None, users: int | None = None) -> LoggedDataset:
        """n decisions under `probs` (a function of x; uniform without), each of its own user unless told."""
        x, candidates, eligible = self.arrays(n, rng)
        k, m = self.own.shape[1], len(self.own)
        p = np.full((n, k), 1 / k) if probs is None else probs(x)
        action = (rng.random((n, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
        rows = np.arange(n)
        reward = (rng.random((n, m)) < self.chances(x)[rows, action]).astype(float)
        user = rows if users is None else rng.integers(0, users, n)
        return LoggedDataset(
            context=x, candidates=candidates, eligible=eligible, action=action, propensity=p[rows, action],
            reward=reward, objectives=tuple(f"r{j}" for j in range(m)), user=user, time=rows,
        )  # fmt: skip

    def value(self, policy, weights=None, n: int = 20_000) -> np.ndarray:
        """True mean of each objective (m,) under a policy, over fresh contexts, without sampling noise of rewards."""
        x, candidates, eligible = self.arrays(n, np.random.default_rng(99))
        probs = policy.action_probs(x, candidates, eligible, weights)
        return (probs[:, :, None] * self.chances(x)).sum(axis=1).mean(axis=0)

    def best(self, weights=(1.0,), n: int = 20_000) -> np.ndarray:
        """True mean of each objective (m,) under the policy that is best for the weights."""
        x, _, _ = self.arrays(n, np.random.default_rng(99))
        chances = self.chances(x)
        return chances[np.arange(n), np.argmax(chances @ np.asarray(weights), axis=1)].mean(axis=0)

    def uniform(self, n: int = 20_000) -> np.ndarray:
        x, _, _ = self.arrays(n, np.random.default_rng(99))
        return self.chances(x).mean(axis=(0, 1))


@pytest.fixture
def world() -> World:
    """One objective, 5 candidates, whose order turns around with the context."""
    rng = np.random.default_rng(5)
    return World(rng.normal(size=(1, 5, 4)) * 1.2, rng.normal(size=(1, 5)) * 0.2)


@pytest.fixture
def curved(world) -> World:
    return replace(world, taste=world.taste * 1.5, curved=True)


@pytest.fixture
def two_objectives() -> World:
    """Two objectives that want different candidates."""
    rng = np.random.default_rng(6)
    taste = rng.normal(size=(1, 4, 3))
    return World(np.concatenate([taste, -taste]), np.zeros((2, 4)))
