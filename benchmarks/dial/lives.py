"""Policies whose weights are dialled at run time, and users who live with them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.dial.expected import DIALLED, FloatArray, Life, live
from benchmarks.long_term.run import logged
from homing.learners import make
from homing.log import LoggedDataset
from homing.log.parted import concat
from homing.policies import PolicyArtifact, load_policy, save_policy
from homing.simulation.messaging import MessagingParameters, MessagingWorld

FACTORS = (0.0, 1.0, 4.0, 16.0)
LIVED_DAYS = 90
#: Users of a log that are simulated at once.
POPULATION = 20_000
#: Decisions by whose scores it is told whether a weight matters to a policy.
ASKED = 10_000


@dataclass(frozen=True)
class Product:
    """A messaging world: what is other than in `MessagingWorld`, and its owner's weights.

    Attributes:
        title: for people.
        parameters: of the world.
        weights: by objective, where they are not the world's own.
        users: of each log.
        judged: others, who live with what is learnt.
        seeds: of logs.
    """

    title: str
    parameters: MessagingParameters = field(default_factory=MessagingParameters)
    weights: Mapping[str, float] = field(default_factory=dict)
    users: int = 20_000
    judged: int = 4_000
    seeds: tuple[int, ...] = ()

    @property
    def world(self) -> MessagingWorld:
        """A world of it."""
        return MessagingWorld(self.parameters)

    def weighted(self, factors: Mapping[str, float]) -> dict[str, float]:
        """The owner's weights, some of them times a factor."""
        own = MessagingWorld.weights | dict(self.weights)
        return {name: weight * factors.get(name, 1.0) for name, weight in own.items()}

    def importance(self, factors: Mapping[str, float]) -> FloatArray:
        """The same, (m,), as the policy takes them."""
        weights = self.weighted(factors)
        return np.array([weights[name] for name in MessagingWorld.objectives])


@dataclass(frozen=True)
class Study:
    """Logs of one product, what is learnt of them, and users who live with it.

    Attributes:
        product: whose users these are.
        learner: by name.
        logs: folder to keep logs in, a folder each; None to make them anew.
        keep: folder of what is done.
    """

    product: Product
    learner: str
    logs: Path | None
    keep: Path

    def learnt(self, seed: int) -> PolicyArtifact:
        """From one log, of users who have lived with the behaviour policy before; read from the folder if it is done.

        With it is kept what the learner says it cannot tell, and the objectives whose weight changes no decision of
        some thousands.
        """
        folder = self.keep / str(seed) / "policy"
        if not (folder / "manifest.json").exists():
            data = self._log(seed)
            assert data.encoder is not None
            maker = make(self.learner)
            policy = maker.fit(data, weights=self.product.weighted({}), rng=np.random.default_rng(seed))
            some = data.rows(np.arange(min(ASKED, data.n)))

            def asked(factors: Mapping[str, float]) -> FloatArray:
                w = self.product.importance(factors)
                return policy.action_probs(some.context, some.candidates, some.eligible, w)

            still = [name for name in DIALLED if _same(asked({name: f}) for f in FACTORS)]
            told = {"untold": maker.report["warnings"].get("effects-not-told", ""), "still": still}
            save_policy(policy, folder, name="dialled", features=data.encoder.to_dict(), trained=told)
            tell(f"trained on log {seed}")
        return load_policy(folder)

    def _log(self, seed: int) -> LoggedDataset:
        """Of one population, or of several with the features of the first."""
        parts: list[LoggedDataset] = []
        for at in range(0, self.product.users, POPULATION):
            number = seed + 1_000 * len(parts)
            folder = None if self.logs is None else self.logs / str(number) / "log"
            encoder = parts[0].encoder if parts else None
            parts.append(logged(min(POPULATION, self.product.users - at), number, folder, self.product.world, encoder))
        return replace(concat(parts), encoder=parts[0].encoder)

    def lived(self, seed: int) -> dict[str, list[Life]]:
        """Lives under each factor of each objective's weight; read from the folder as far as they are done."""
        policy = self.learnt(seed)
        base = self._life(policy, seed, {})
        return {
            name: [
                base if factor == 1.0 or name in policy.trained["still"] else self._life(policy, seed, {name: factor})
                for factor in FACTORS
            ]
            for name in DIALLED
        }

    def _life(self, policy: PolicyArtifact, seed: int, factors: Mapping[str, float]) -> Life:
        setting = "-".join(f"{name}-{factor:g}" for name, factor in factors.items()) or "owner"
        file = self.keep / str(seed) / f"{setting}.npz"
        if not file.exists():
            life = live(
                policy, self.product.importance(factors), days=LIVED_DAYS, n_users=self.product.judged,
                seed=1_000_000 + seed, parameters=self.product.parameters,
            )  # fmt: skip
            part = file.with_suffix(".part.npz")
            np.savez(part, total=life.total, sends=life.sends)
            part.rename(file)
            tell(f"log {seed}, {setting}: {life.total.mean(axis=0).round(5).tolist()}")
        with np.load(file) as kept:
            return Life(kept["total"], kept["sends"])


def _same(tables: Iterable[FloatArray]) -> bool:
    first, *rest = tables
    return all(np.array_equal(first, table) for table in rest)


def tell(what: str) -> None:
    """Where a long run stands."""
    print(f"{time.process_time():.0f} CPU s: {what}", file=sys.stderr, flush=True)
