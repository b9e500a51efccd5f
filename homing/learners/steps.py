"""The steps of training: the same loop whether transitions lie in memory or on disk, in one process or in several."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.adamw import AdamW
from homing.learners.checkpoints import Checkpoints
from homing.learners.feeds import Feed, Piece
from homing.learners.network import Form, Network
from homing.learners.threads import few_threads
from homing.learners.workers import Workers

if TYPE_CHECKING:
    from homing.learners.training import Loop, Member, Problem

logger = logging.getLogger(__name__)

#: Held-out transitions that a round is judged on, at most.
HELD_OUT_ROWS = 8_192
#: Of these, how many are looked at together, at most, and hidden units of all members and rows.
EVALUATED_ROWS, EVALUATED_UNITS = 1_024, 2**24
#: Progress is a held-out error that is smaller by more than this share; less is the trembling of stochastic steps.
MIN_GAIN = 1e-3


@dataclass
class Progress:
    """How far training has come: what a checkpoint keeps besides tensors.

    Attributes:
        step: steps taken.
        best_step: steps that each member had taken when it was best on held-out users, (e,); 0 for never.
        since: rounds since then, (e,).
        history: by round, see `Fitted.history`.
    """

    step: int
    best_step: list[int]
    since: list[int]
    history: dict[str, list[list[float | None]]] = field(
        default_factory=lambda: {"loss": [], "held-out quality": [], "held-out gain": []}
    )


def take_steps(
    problem: Problem,
    feed: Feed,
    form: Form,
    members: Sequence[Member],
    bias: NDArray[np.float64],
    *,
    loop: Loop,
    seed: int,
    kept: Checkpoints | None,
    workers: Workers | None = None,
) -> tuple[NDArray[np.float32], Progress]:
    """Train until held-out users see no more progress in any member, or no step is left.

    Each of several workers draws its share of a step's transitions from users of its own; gradients, losses and what
    held-out users say are summed over workers, so that all hold the same networks. The first one writes checkpoints,
    from which all go on.

    Args:
        problem, form, members, bias, loop, seed: as for `fit_members`.
        feed: of transitions.
        kept: where the state is kept after every round; None for nowhere.
        workers: who trains; None for those that this process was joined with.

    Returns:
        Parameters of the best networks (e · p,), and how training went.

    Raises:
        InvalidInputError: if a member diverged before its first round ended.
    """
    workers = workers or Workers.here()
    problem = _on(problem, loop.device)
    generator = torch.Generator().manual_seed(seed)
    held = feed.held_out(HELD_OUT_ROWS, generator, workers)
    if workers.rank:
        generator.manual_seed(workers.seed(seed))
    net = Network.new(form, [m.sizes for m in members], [m.seed for m in members], bias, loop.device)
    target, best = net.copy(), net.copy()
    rate, decay = net.spread([m.learning_rate for m in members]), net.spread([m.weight_decay for m in members])
    optimiser = AdamW(net.flat, net.gradient, rate, decay)
    state = {"net": net.flat, "target": target.flat, "best": best.flat}
    state |= {"first": optimiser.first, "second": optimiser.second}
    progress = Progress(0, [0] * len(members), [0] * len(members))
    found = kept.load() if kept else None
    if found:
        tensors, numbers = found
        progress = Progress(**numbers)
        optimiser.steps = progress.step
        # A copy: torch reads a state from where the tensor's memory begins, not from where the row does.
        generator.set_state(tensors["generators"][workers.rank].clone())
        for name, tensor in state.items():
            tensor.copy_(tensors[name])
        logger.info("goes on from step %s of %s", f"{progress.step:,}", f"{loop.steps:,}")
    replaced: dict[int, list[int]] = defaultdict(list)
    for e, member in enumerate(members):
        replaced[member.target_steps].append(e)
    length, own = loop.round_steps(feed.rows), workers.share(loop.batch_rows)

    def visit(piece: Piece, steps: int, total: torch.Tensor) -> None:
        for rows in piece.rows[torch.randint(len(piece.rows), (steps, own), generator=generator)].to(loop.device):
            net.gradient.zero_()
            loss = problem.loss(net, target, piece.transitions.batch(rows), generator)
            loss.sum().backward()
            if piece.weight != 1.0:
                net.gradient.mul_(piece.weight)
            workers.add(net.gradient)
            optimiser.step()
            total.add_(loss.detach(), alpha=piece.weight)
            progress.step += 1
            for period, which in replaced.items():
                if progress.step % period == 0:
                    target.take(net, which)

    with few_threads():
        while progress.step < loop.steps and min(progress.since) < loop.patience:
            number, count = len(progress.history["loss"]), min(length, loop.steps - progress.step)
            total = torch.zeros(len(members), device=loop.device)
            for each in feed.visits(number, count, length, loop.batch_rows, workers):
                visit(feed.piece(each.piece, workers), each.steps, total)
            losses = workers.add(total).cpu().double().numpy() / count
            gain, quality = _judge(problem, net, best, held, workers, loop.device)
            _note(progress, gain, loop.patience, net, best)
            for name, values in zip(progress.history, (losses, quality, gain), strict=True):
                progress.history[name].append([value if math.isfinite(value) else None for value in values.tolist()])
            if not number:
                _check_divergence(members, gain)
            logger.info(
                "step %s of %s: loss %.4g, held-out quality %.4g",
                f"{progress.step:,}", f"{loop.steps:,}", float(losses.mean()), float(quality.mean()),
            )  # fmt: skip
            if kept:
                generators = workers.stack(generator.get_state(), loop.device)
                if not workers.rank:
                    kept.save({**state, "generators": generators}, asdict(progress))
    parameters: NDArray[np.float32] = best.flat.cpu().numpy()
    return parameters, progress


def _on(problem: Any, device: str) -> Any:
    """The problem with its tensors, if it has any, on a device."""
    if not is_dataclass(problem):
        return problem
    values = {item.name: getattr(problem, item.name) for item in fields(problem)}
    return replace(problem, **{n: v.to(device) for n, v in values.items() if isinstance(v, torch.Tensor)})  # type: ignore[type-var]


def _note(progress: Progress, gain: NDArray[np.float64], patience: int, net: Network, best: Network) -> None:
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
    problem: Problem, net: Network, best: Network, held: Sequence[Piece], workers: Workers, device: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """1 − error of `net` / error of `best`, and the quality of `net`; (e,) each."""
    size = max(min(EVALUATED_UNITS // (net.members * max(net.form.sizes)), EVALUATED_ROWS), 1)
    with torch.no_grad():
        parts = [
            problem.moments(net, best, piece.transitions.batch(rows.to(device)))
            for piece in held
            for rows in piece.rows.split(size)
        ]
    moments = workers.add(torch.stack(parts).sum(dim=0)).cpu().numpy()
    rows = workers.add(torch.tensor(float(sum(len(piece.rows) for piece in held)), device=device))
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1.0 - moments[0] / moments[1], problem.quality(moments, int(rows))


def _check_divergence(members: Sequence[Member], gain: NDArray[np.float64]) -> None:
    for member, value in zip(members, gain.tolist(), strict=True):
        if math.isnan(value):
            bound = "must be smaller: values diverged in the first steps"
            raise InvalidInputError(describe("learning_rate", member.learning_rate, bound, "Divide it by ten."))
