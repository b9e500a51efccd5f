"""Training of every learner over transitions: what is shared, what members differ in, and where the steps are taken."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from homing.engines import Engine, get_engine
from homing.errors import InvalidInputError, describe
from homing.learners.checkpoints import Checkpoints
from homing.learners.feeds import Feed
from homing.learners.network import Form, Network
from homing.learners.steps import take_steps
from homing.learners.transitions import Batch

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
        engine: where it is trained: `process`, `ray`, or an `Engine`.
        workers: processes that train together.
    """

    steps: int
    batch_rows: int
    patience: int
    device: str = "cpu"
    checkpoint_dir: Path | None = None
    engine: str | Engine = "process"
    workers: int = 1

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


def fit_members(
    problem: Problem,
    feed: Callable[[Path | None], Feed],
    form: Form,
    members: Sequence[Member],
    bias: NDArray[np.float64],
    *,
    loop: Loop,
    seed: int,
    key: Callable[[], dict[str, Any]],
) -> Fitted:
    """Train members on the same minibatches until held-out users see no more progress in any of them.

    A member is as it would be alone: it shares chance with the others (minibatches are drawn from `seed`, its first
    parameters from its own seed) and nothing else. It stops `loop.patience` rounds after its best one, which is what is
    returned. Where several processes train together, each step's transitions are drawn from users of theirs, as many
    in all as one process would take; a process that dies is started again, and all go on from the last round.

    Args:
        problem: the loss and the criterion, its tensors on the CPU.
        feed: gives the transitions; asked with a folder that all processes can read where they are trained elsewhere.
        form: the networks' sizes.
        members: their settings.
        bias: (e, v), where value heads start.
        loop: steps, batch, patience, device, checkpoints, engine.
        seed: of minibatches.
        key: what else tells this training from another, as JSON; asked for where checkpoints are kept.

    Raises:
        InvalidInputError: if a member diverged before its first round ended, or the device is not there.
    """
    engine = get_engine(loop.engine)
    if engine.here:
        _check_present(loop.device)
    with _folders(loop, here=engine.here) as (checkpoints, scratch):
        kept = Checkpoints(checkpoints, _digest(loop, form, members, seed, key)) if checkpoints else None
        work = partial(
            take_steps, problem, feed(scratch), form, tuple(members), bias, loop=replace(loop, engine="process"),
            seed=seed, kept=kept,
        )  # fmt: skip
        gpus = torch.device(loop.device).type != "cpu"
        best, progress = engine.together(work, workers=loop.workers, gpus=gpus, folder=scratch)
    return Fitted(Network(form, torch.from_numpy(best.copy())), progress.best_step, progress.step, progress.history)


def _check_present(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without
        step = f"Take 'cpu', or a machine that has it ({str(error).splitlines()[0]})"
        raise InvalidInputError(describe("device", device, "must be there", step)) from error


@contextmanager
def _folders(loop: Loop, *, here: bool) -> Iterator[tuple[Path | None, Path | None]]:
    """Where checkpoints are kept, and where data is left for processes elsewhere while they need it."""
    checkpoints = None if loop.checkpoint_dir is None else loop.checkpoint_dir.absolute()
    if here:
        yield checkpoints, None
        return
    if checkpoints:
        checkpoints.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="training-", dir=checkpoints) as name:
        yield checkpoints or Path(name) / "checkpoints", Path(name)


def _digest(loop: Loop, form: Form, members: Sequence[Member], seed: int, key: Callable[[], dict[str, Any]]) -> str:
    shared = {name: getattr(loop, name) for name in ("batch_rows", "patience", "steps", "workers")} | {"seed": seed}
    what = {**key(), **shared, "layers": form.layers(), "members": [asdict(member) for member in members]}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
