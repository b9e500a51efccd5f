"""The training loop of every learner over transitions: tensors in memory, one step for all members at once."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.adamw import AdamW
from homing.learners.checkpoints import Checkpoints
from homing.learners.network import Form, Network
from homing.learners.threads import few_threads
from homing.learners.transitions import Batch, Transitions

logger = logging.getLogger(__name__)

#: Held-out transitions that a round is judged on, at most.
HELD_OUT_ROWS = 8_192
#: Hidden units of all members and rows that are evaluated at a time, at most.
EVALUATED_UNITS = 2**24
#: Progress is a held-out error that is smaller by more than this share; less is the trembling of stochastic steps.
MIN_GAIN = 1e-3
#: A round is a pass over the log, within these numbers of steps.
ROUND_STEPS = (100, 500)


@dataclass(frozen=True)
class Member:
    """What networks that are trained together may differ in.

    Attributes:
        seed: of the first parameters.
        sizes: of the hidden layers.
        learning_rate, weight_decay: of AdamW.
        target_steps: steps after which the target network is replaced.
    """

    seed: int
    sizes: tuple[int, int]
    learning_rate: float
    weight_decay: float
    target_steps: int


@dataclass(frozen=True)
class Loop:
    """What they share.

    Attributes:
        steps: of gradient, at most.
        batch_rows: transitions of a step, the same for all members.
        patience: rounds without progress on held-out users before a member stops.
        device: `cpu`, `cuda`, …
        checkpoint_dir: where the state is kept after every round; None for nowhere.
    """

    steps: int
    batch_rows: int
    patience: int
    device: str = "cpu"
    checkpoint_dir: Path | None = None

    def round_steps(self, rows: int) -> int:
        """Steps between two looks at held-out users."""
        return min(max(rows // self.batch_rows, ROUND_STEPS[0]), ROUND_STEPS[1])


class Problem(Protocol):
    """What is minimised, and what held-out users judge it by; e members, b transitions."""

    def loss(self, net: Network, target: Network, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """Mean loss of each member, (e,)."""
        ...

    def moments(self, net: Network, best: Network, batch: Batch) -> torch.Tensor:
        """Sums over held-out transitions, (s, e) in float64: the error of `net` and that of `best`, then others.

        Both errors are against what `net` now takes for right: targets move while values are learnt, and errors against
        different targets cannot be compared.
        """
        ...

    def quality(self, moments: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
        """How good `net` is, (e,), from the sums over `rows` transitions; for the report."""
        ...


@dataclass(frozen=True, eq=False)
class Fitted:
    """Networks after training.

    Attributes:
        net: each member as it was when it was best on held-out users.
        best_step: steps that it had taken then, (e,); 0 where none was better than none.
        steps: steps taken in all.
        history: `loss`, `held-out quality` and `held-out gain` by round, each (e,); None where it was not finite.
    """

    net: Network
    best_step: list[int]
    steps: int
    history: dict[str, list[list[float | None]]]

    def warnings(self, members: Sequence[int]) -> dict[str, str]:
        """Named warnings about some members, for the report."""
        if any(self.best_step[i] for i in members):
            return {}
        return {"no-progress": "Held-out users never saw any progress: the policy knows nothing and prefers nothing."}

    def of(self, members: Sequence[int]) -> dict[str, list[float]]:
        """Means of the history over some members, as far as they are finite."""
        out: dict[str, list[float]] = {}
        for name, rounds in self.history.items():
            finite = [[value for i in members if (value := each[i]) is not None] for each in rounds]
            out[name] = [sum(values) / len(values) for values in finite if values]
        return out


@dataclass
class _Progress:
    """What a checkpoint keeps besides tensors."""

    step: int
    best_step: list[int]
    since: list[int]
    history: dict[str, list[list[float | None]]] = field(
        default_factory=lambda: {"loss": [], "held-out quality": [], "held-out gain": []}
    )


def fit_members(
    problem: Problem,
    transitions: Transitions,
    form: Form,
    members: Sequence[Member],
    bias: NDArray[np.float64],
    *,
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
    loop: Loop,
    seed: int,
    key: Callable[[], dict[str, Any]],
) -> Fitted:
    """Train members on the same minibatches until held-out users see no more progress in any of them.

    A member is as it would be alone: it shares chance with the others (minibatches are drawn from `seed`, its first
    parameters from its own seed) and nothing else. It stops `loop.patience` rounds after its best one, which is what is
    returned.

    Args:
        problem: the loss and the criterion.
        transitions: of the log.
        form: the networks' sizes.
        members: their settings.
        bias: (e, v), where value heads start.
        train: rows to learn from; their next decision is known or does not exist.
        held_out: rows of other users to judge by.
        loop: steps, batch, patience, device, checkpoints.
        seed: of minibatches.
        key: what else tells this training from another, as JSON; asked for where checkpoints are kept.

    Raises:
        InvalidInputError: if a member diverged before its first round ended.
    """
    generator = torch.Generator().manual_seed(seed)
    held = torch.from_numpy(held_out)[torch.randperm(len(held_out), generator=generator)[:HELD_OUT_ROWS]]
    rows = torch.from_numpy(train)
    net = Network.new(form, [m.sizes for m in members], [m.seed for m in members], bias, loop.device)
    target, best = net.copy(), net.copy()
    rate, decay = net.spread([m.learning_rate for m in members]), net.spread([m.weight_decay for m in members])
    optimiser = AdamW(net.flat, net.gradient, rate, decay)
    state = {"net": net.flat, "target": target.flat, "best": best.flat}
    state |= {"first": optimiser.first, "second": optimiser.second}
    progress = _Progress(0, [0] * len(members), [0] * len(members))
    kept = _checkpoints(loop, form, members, seed, key)
    found = kept.load() if kept else None
    if found:
        tensors, numbers = found
        progress = _Progress(**numbers)
        optimiser.steps = progress.step
        generator.set_state(tensors["generator"])
        for name, tensor in state.items():
            tensor.copy_(tensors[name])
        logger.info("goes on from step %s of %s", f"{progress.step:,}", f"{loop.steps:,}")
    replaced: dict[int, list[int]] = defaultdict(list)
    for e, member in enumerate(members):
        replaced[member.target_steps].append(e)
    with few_threads():
        while progress.step < loop.steps and min(progress.since) < loop.patience:
            count = min(loop.round_steps(len(train)), loop.steps - progress.step)
            picks = torch.randint(len(rows), (count, loop.batch_rows), generator=generator)
            total = torch.zeros(len(members), device=loop.device)
            for pick in picks:
                net.gradient.zero_()
                loss = problem.loss(net, target, transitions.batch(rows[pick].to(loop.device)), generator)
                loss.sum().backward()
                optimiser.step()
                total += loss.detach()
                progress.step += 1
                for period, which in replaced.items():
                    if progress.step % period == 0:
                        target.take(net, which)
            gain, quality = _judge(problem, net, best, transitions, held.to(loop.device))
            _note(progress, gain, loop.patience, net, best)
            seen = {"loss": total.cpu().double().numpy() / count, "held-out quality": quality, "held-out gain": gain}
            for name, values in seen.items():
                progress.history[name].append([value if math.isfinite(value) else None for value in values.tolist()])
            if progress.step == count:
                _check_divergence(members, gain)
            logger.info(
                "step %s of %s: loss %.4g, held-out quality %.4g",
                f"{progress.step:,}", f"{loop.steps:,}", float(total.mean()) / count, float(quality.mean()),
            )  # fmt: skip
            if kept:
                kept.save({**state, "generator": generator.get_state()}, asdict(progress))
    return Fitted(best, progress.best_step, progress.step, progress.history)


def _note(progress: _Progress, gain: NDArray[np.float64], patience: int, net: Network, best: Network) -> None:
    """Keep what is best; members that have stopped stay as they are."""
    improved = []
    for e, value in enumerate(gain):
        if progress.since[e] >= patience:
            continue
        if value > MIN_GAIN:
            improved.append(e)
            progress.best_step[e], progress.since[e] = progress.step, 0
        else:
            progress.since[e] += 1
    if improved:
        best.take(net, improved)


def _judge(
    problem: Problem, net: Network, best: Network, transitions: Transitions, held: torch.Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """1 − error of `net` / error of `best`, and the quality of `net`; (e,) each."""
    size = max(EVALUATED_UNITS // (net.members * max(net.form.sizes)), 1)
    with torch.no_grad():
        parts = [problem.moments(net, best, transitions.batch(piece)) for piece in held.split(size)]
    moments = torch.stack(parts).sum(dim=0).cpu().numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1.0 - moments[0] / moments[1], problem.quality(moments, len(held))


def _check_divergence(members: Sequence[Member], gain: NDArray[np.float64]) -> None:
    for member, value in zip(members, gain.tolist(), strict=True):
        if math.isnan(value):
            bound = "must be smaller: values diverged in the first steps"
            raise InvalidInputError(describe("learning_rate", member.learning_rate, bound, "Divide it by ten."))


def _checkpoints(
    loop: Loop, form: Form, members: Sequence[Member], seed: int, key: Callable[[], dict[str, Any]]
) -> Checkpoints | None:
    if loop.checkpoint_dir is None:
        return None
    shared = {"batch_rows": loop.batch_rows, "patience": loop.patience, "steps": loop.steps, "seed": seed}
    what = {**key(), **shared, "form": asdict(form), "members": [asdict(member) for member in members]}
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return Checkpoints(loop.checkpoint_dir, digest)
