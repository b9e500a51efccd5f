"""Behaviour cloning: a softmax policy that does what the log's policy was seen to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from homing.learners.network import Form, Network
from homing.learners.prepared import Prepared
from homing.learners.prepared_parts import PreparedParts
from homing.learners.settings import Optimised
from homing.learners.training import Fitted, fit_members
from homing.learners.transitions import Batch
from homing.log import LoggedDataset, PartedDataset
from homing.policies import ClonePolicy, EpsilonGreedyPolicy, Policy


@dataclass
class BehaviourCloning(Optimised):
    """Maximises Σ log π(a_logged | s) over eligible candidates; Σ_a p log π where the log has all probabilities p.

    What a policy must beat, and the reference that others stay close to. Wrong to use to improve on a log: it reads no
    rewards, and weights play no part in it. It stops when the log loss on held-out users no longer falls.

    Settings are those of `Optimised`; `gamma` and `target_steps` have no use here. `epsilon` is 0 unless told: what the
    log explored is cloned.
    """

    reads_rewards: ClassVar[bool] = False

    epsilon: float = 0.0

    def fit(
        self,
        dataset: LoggedDataset | PartedDataset,
        *,
        weights: Mapping[str, float] | None = None,
        rng: np.random.Generator,
    ) -> Policy:
        """Fit on a dataset of at least two users."""
        begun = self.begin(dataset, weights, rng)
        clone, fitted = fit_clone(self, begun)
        settings = {**begun.settings(), "steps": fitted.steps, "best steps": fitted.best_step}
        warnings = begun.warnings | fitted.warnings([0])
        self.report = {"history": fitted.of([0]), "calibration": {}, "settings": settings, "warnings": warnings}
        return EpsilonGreedyPolicy(clone, self.epsilon) if self.epsilon else clone


def fit_clone(settings: Optimised, begun: Prepared | PreparedParts, part: str = "") -> tuple[ClonePolicy, Fitted]:
    """The clone of a prepared log's policy; `part` as in `Optimised.loop`."""
    member, loop = settings.network(settings.member_seed), settings.loop(part)
    form = Form(*begun.form, 1, 0, settings.candidate_units, member.sizes)
    # Every decision shows what the policy did, the last of a user's too.
    fitted = fit_members(
        LogLoss(), begun.feed(loop, every=True), form, [member], np.zeros((1, 0)), loop=loop, seed=begun.seed,
        key=lambda: {**begun.key(), "learner": "clone"},
    )  # fmt: skip
    return ClonePolicy(fitted.net.towers([0], [member.sizes], np.ones(1))[0]), fitted


class LogLoss:
    """Cross-entropy of a softmax over eligible candidates with what was chosen, or with all logged probabilities."""

    def loss(self, net: Network, target: Network, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """See `Problem.loss`."""
        return self._each(net, batch).mean(dim=1)

    def moments(self, net: Network, best: Network, batch: Batch) -> torch.Tensor:
        """Sums of the log losses of both."""
        return torch.stack([self._each(each, batch).double().sum(dim=1) for each in (net, best)])

    def quality(self, moments: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
        """Minus the mean log loss."""
        out: NDArray[np.float64] = -moments[0] / rows
        return out

    def _each(self, net: Network, batch: Batch) -> torch.Tensor:
        _, taste = net.heads(batch.now.context)
        scores = net.advantages(taste, batch.now.candidates)[:, :, 0]
        total = batch.now.only_eligible(scores).logsumexp(dim=2)
        if batch.probs is None:
            chosen = scores.gather(2, batch.action.expand(len(scores), -1)[..., None])[..., 0]
        else:
            chosen = (scores * batch.probs).sum(dim=2)
        return total - chosen


def clone_report(fitted: Fitted) -> dict[str, Any]:
    """The history of a clone that serves another learner, under names of its own."""
    return {f"clone: {name}": values for name, values in fitted.of([0]).items()}
