"""Training in several workers and from parts on disk gives what one process gives from memory."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from homing.engines import InProcess
from homing.errors import InvalidInputError
from homing.learners import make
from homing.learners.checkpoints import Checkpoints
from homing.learners.feeds import InMemory, OnDisk, Stored
from homing.learners.network import Form
from homing.learners.prepared import Prepared
from homing.learners.steps import take_steps
from homing.learners.training import Loop, Member, fit_members
from homing.learners.transitions import Gaps
from homing.learners.workers import Workers
from homing.log import LoggedDataset
from homing.policies import save_policy

DAY = 86_400_000_000


def log(rng: np.random.Generator, users: int = 40, days: int = 8, n_messages: int = 2) -> LoggedDataset:
    """A decision a day of each user; some leave early. What is worth sending turns with the context."""
    stays = rng.integers(2, days + 1, users)
    user, day = np.nonzero(np.arange(days)[None] < stays[:, None])
    order = np.lexsort((user, day))
    user, day, n = user[order], day[order], len(order)
    context = rng.normal(size=(n, 3))
    action = rng.integers(0, n_messages, n)
    reward = 0.5 * context[:, 0] * action + 0.1 * rng.normal(size=n)
    return LoggedDataset(
        context=context, candidates=np.broadcast_to(np.eye(n_messages), (n, n_messages, n_messages)),
        eligible=np.ones((n, n_messages), bool), action=action, propensity=np.full(n, 1 / n_messages),
        reward=reward[:, None], objectives=("session",), user=user, time=day * DAY,
    )  # fmt: skip


@dataclass(frozen=True)
class Squares:
    """½ (V(x) − reward)², which is enough to follow gradients by."""

    def loss(self, net, target, batch, generator):
        return 0.5 * (net.heads(batch.now.context)[0][:, :, 0] - batch.reward[:, 0]).square().mean(dim=1)

    def moments(self, net, best, batch):
        errors = [(each.heads(batch.now.context)[0][:, :, 0] - batch.reward[:, 0]).double() for each in (net, best)]
        return torch.stack([error.square().sum(dim=1) for error in errors])

    def quality(self, moments, rows):
        return -moments[0] / rows


@dataclass(frozen=True)
class Threads(Workers):
    """Workers that are threads of this process, which add up as a process group does."""

    barrier: threading.Barrier = field(default=None, compare=False)
    left: dict = field(default_factory=dict, compare=False)

    def _every(self, tensor):
        self.left[self.rank] = tensor.clone()
        self.barrier.wait(60)
        found = [self.left[rank] for rank in range(self.size)]
        self.barrier.wait(60)
        return found

    def add(self, tensor):
        return tensor.copy_(sum(self._every(tensor)))

    def stack(self, tensor, device):
        return torch.stack(self._every(tensor))


def together(size: int, work, kind=Threads) -> list:
    """What `work` returns for each of several workers."""
    barrier, left, found = threading.Barrier(size), {}, [None] * size

    def run(rank: int) -> None:
        try:
            found[rank] = work(kind(rank, size, barrier, left))
        except BaseException as error:
            found[rank] = error
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


MEMBERS = (Member(3, (8, 8), 1e-2, 0.0, 50),)
LOOP = Loop(steps=240, batch_rows=32, patience=99)


def steps(feed, workers=None, loop: Loop = LOOP, kept=None, problem=None):
    form = Form(3, 2, 1, 1, 0, (8, 8))
    return take_steps(
        problem or Squares(), feed, form, MEMBERS, np.zeros((1, 1)), loop=loop, seed=5, kept=kept, workers=workers
    )


def stored(data: LoggedDataset, folder: Path, parts: int, held: int) -> OnDisk:
    """A log as parts, users dealt in turn; the last `held` parts are held out."""
    gaps, out = Gaps.of(data), []
    for number in range(parts):
        rows = np.flatnonzero(data.user % parts == number)
        data.take(rows).save(folder / str(number))
        out.append(Stored(folder / str(number), int((~gaps.truncated[rows]).sum())))
    return OnDisk(tuple(out[:-held]), tuple(out[-held:]), gaps.gone_after_days, int(data.time.max()), False, 7, "cpu")


def test_one_part_on_disk_is_the_log_in_memory(rng, tmp_path) -> None:
    data = log(rng)
    gaps = Gaps.of(data)
    disk = stored(data, tmp_path, 2, 1)
    begun = Prepared.of(data, None, rng, validation_share=0.5, gone_after_days=None, device="cpu")
    rows = [np.flatnonzero((data.user % 2 == side) & ~gaps.truncated) for side in (0, 1)]
    memory = InMemory(begun.transitions, rows[0], rows[1])
    assert disk.rows == memory.rows == len(rows[0])
    (one, told), (other, also) = steps(memory), steps(disk)
    np.testing.assert_array_equal(one, other)
    assert told.best_step == also.best_step
    for name, values in told.history.items():
        np.testing.assert_allclose(values, also.history[name], rtol=1e-9)
    # The held-out transitions too: each decision with the one that follows it.
    piece = disk.held_out(10**6, torch.Generator().manual_seed(0), Workers())[0]
    found, wanted = piece.transitions.batch(piece.rows), begun.transitions.batch(torch.from_numpy(rows[1]))
    order = [torch.from_numpy(np.lexsort(each.now.context.numpy().T)) for each in (found, wanted)]
    for name in ("reward", "days", "goes_on", "action"):
        assert torch.equal(getattr(found, name)[order[0]], getattr(wanted, name)[order[1]])
    assert torch.equal(found.later.context[order[0]], wanted.later.context[order[1]])


def test_workers_hold_the_same_networks_and_every_transition_counts_alike(rng, tmp_path) -> None:
    data = log(rng)
    feed = stored(data, tmp_path, 7, 2)
    found = together(2, lambda workers: steps(replace(feed), workers))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    # What workers hold out is disjoint, and together what one would.
    pieces = [[feed.held_out(10**6, torch.Generator().manual_seed(5), Workers(rank, size)) for rank in range(size)]
              for size in (1, 2)]  # fmt: skip
    seen = [sorted(float(x) for mine in each for piece in mine for x in piece.transitions.reward[piece.rows, 0])
            for each in pieces]  # fmt: skip
    assert seen[0] == seen[1] and len(seen[0]) == sum(part.rows for part in feed.held)
    # Over a turn through all parts, weight × share of the visits is the same for each transition: 1 / rows in all.
    for size in (1, 2):
        share = []
        for rank in range(size):
            workers = Workers(rank, size)
            own = feed.train[rank::size]
            for number, part in enumerate(own):
                piece = feed.piece(number, workers)
                assert len(piece.rows) == part.rows
                share.append(piece.weight / len(own) / part.rows)
        np.testing.assert_allclose(share, 1 / feed.rows, rtol=1e-12)


def test_two_workers_on_the_same_users_are_one_with_half_the_batch(rng, tmp_path) -> None:
    """Where all draw the same, the sum of weighted gradients is the gradient of one of them."""

    class Alike(Threads):
        def seed(self, seed: int) -> int:
            return seed

    data = log(rng)
    feed = stored(data, tmp_path, 2, 1)
    twice = replace(feed, train=feed.train * 2)

    class Same(OnDisk):
        def held_out(self, limit, generator, workers):
            out = super().held_out(limit, generator, Workers())
            generator.manual_seed(5)
            return out

    alone = steps(Same(**vars_of(feed)), loop=replace(LOOP, batch_rows=16))
    pair = together(2, lambda workers: steps(Same(**vars_of(twice)), workers), Alike)
    np.testing.assert_array_equal(alone[0], pair[0][0])
    np.testing.assert_allclose(alone[1].history["loss"], pair[1][1].history["loss"], rtol=1e-6)


def vars_of(feed: OnDisk) -> dict:
    return {
        name: getattr(feed, name) for name in ("train", "held", "gone_after_days", "ends_at", "every", "seed", "device")
    }


def test_visits_go_through_all_parts_in_turn(tmp_path) -> None:
    """Six parts of 320 rows in batches of 32: ten steps a pass, so that a round of 20 steps visits two."""
    parts = tuple(Stored(tmp_path / str(i), 320) for i in range(6))
    feed = OnDisk(parts, parts[:1], 1.0, 0, False, 3, "cpu")
    rounds = [feed.visits(number, 20, 20, 32, Workers()) for number in range(6)]
    assert [[visit.steps for visit in each] for each in rounds] == [[10, 10]] * 6
    order = [visit.piece for each in rounds for visit in each]
    assert sorted(order[:6]) == sorted(order[6:]) == list(range(6))
    assert order[:6] != order[6:]
    assert rounds[3] == feed.visits(3, 20, 20, 32, Workers())
    # Of two workers each has three parts and half of each batch: a pass takes 20 steps.
    for rank in range(2):
        assert [[v.steps for v in feed.visits(n, 20, 20, 32, Workers(rank, 2))] for n in range(3)] == [[20]] * 3
        assert {feed.visits(n, 20, 20, 32, Workers(rank, 2))[0].piece for n in range(3)} == {0, 1, 2}
    # What is left of the steps is shared as it stands.
    assert [visit.steps for visit in feed.visits(0, 7, 20, 32, Workers())] == [4, 3]
    with pytest.raises(InvalidInputError, match="workers == 7, must be <= 6, the parts to train on"):
        feed.visits(0, 20, 20, 32, Workers(0, 7))


def test_workers_that_were_stopped_go_on_to_the_same_bits(rng, tmp_path) -> None:
    @dataclass(frozen=True)
    class Failing(Squares):
        left: list = field(default_factory=lambda: [150])

        def loss(self, net, target, batch, generator):
            self.left[0] -= 1
            if not self.left[0]:
                raise RuntimeError("the power is gone")
            return super().loss(net, target, batch, generator)

    feed = stored(log(rng), tmp_path / "log", 5, 1)
    kept = Checkpoints(tmp_path / "kept", "a")
    failed = together(2, lambda workers: steps(replace(feed), workers, kept=kept, problem=Failing()))
    assert any(str(each) == "the power is gone" for each in failed)
    state = kept.load()
    assert state is not None and state[1]["step"] == 100
    resumed = together(2, lambda workers: steps(replace(feed), workers, kept=kept))
    straight = together(2, lambda workers: steps(replace(feed), workers))
    np.testing.assert_array_equal(resumed[0][0], straight[0][0])
    assert resumed[1][1] == straight[1][1]


@dataclass(frozen=True)
class Elsewhere:
    """An engine whose processes are threads: nothing in memory is shared but by folders."""

    here: bool = False

    def together(self, work, *, workers, gpus, folder):
        assert folder is not None and not gpus
        if workers == 1:
            return work()
        found = together(workers, lambda each: work(workers=each))
        for other in found[1:]:
            np.testing.assert_array_equal(found[0][0], other[0])
        return found[0]


def test_an_engine_elsewhere_gives_what_is_trained_here(rng, tmp_path) -> None:
    """One worker to the bits. Two draw other minibatches, of the same users, and come close.

    IQL trains twice: a clone on all decisions, and values on those whose future is known.
    """
    data = log(rng, users=150)
    asked = data.rows(np.arange(100))
    chances, digests = [], []
    for i, more in enumerate([{}, {"engine": Elsewhere(), "device": "cpu:0"}, {"engine": Elsewhere(), "workers": 2}]):
        learner = make("iql", steps=200, sizes=(12, 12), learning_rate=5e-3, batch_rows=64, epsilon=0.0, gamma=0.2,
                       checkpoint_dir=tmp_path / str(i), **more)  # fmt: skip
        policy = learner.fit(data, rng=np.random.default_rng(3))
        digests.append(save_policy(policy, tmp_path / f"policy-{i}", objectives=data.objectives))
        chances.append(policy.action_probs(asked.context, asked.candidates, asked.eligible)[:, 1])
        assert not list((tmp_path / str(i)).rglob("part-*"))  # what was left for others is gone
    assert digests[0] == digests[1] != digests[2]
    assert np.abs(chances[0] - chances[2]).mean() < 0.1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_worker_of_ray_that_dies_goes_on_to_the_same_bits(rng, tmp_path) -> None:
    """Two processes, of which the second dies in the middle, end where two threads do that nothing happens to."""
    import ray

    mark = tmp_path / "died"

    @dataclass(frozen=True)
    class Dying(Squares):
        left: list = field(default_factory=lambda: [150])

        def loss(self, net, target, batch, generator):
            self.left[0] -= 1
            if Workers.here().rank == 1 and not self.left[0] and not mark.exists():
                mark.touch()
                os._exit(1)
            return super().loss(net, target, batch, generator)

    feed = stored(log(rng), tmp_path / "log", 5, 1)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    folder = tempfile.mkdtemp(prefix="ray-")  # its sockets need a short path
    ray.init(
        address="local", _temp_dir=folder, num_cpus=2, include_dashboard=False, log_to_driver=False,
        object_store_memory=10**8,
    )  # fmt: skip
    try:
        fitted = fit_members(
            Dying(), lambda folder: feed, Form(3, 2, 1, 1, 0, (8, 8)), MEMBERS, np.zeros((1, 1)),
            loop=replace(LOOP, engine="ray", workers=2), seed=5, key=dict,
        )  # fmt: skip
    finally:
        ray.shutdown()
        gc.collect()
        shutil.rmtree(folder, ignore_errors=True)
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    assert mark.exists()
    wanted = together(2, lambda workers: steps(replace(feed), workers))[0]
    np.testing.assert_array_equal(fitted.net.flat.numpy(), wanted[0])
    assert fitted.history == wanted[1].history


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 2}, "workers == 2, must be 1 in one process. Take engine='ray'."),
        ({"workers": 0}, "workers == 0, must be a whole number >= 1"),
        ({"workers": 9, "batch_rows": 8, "engine": "ray"}, "workers == 9, must be <= 8, the batch_rows"),
        (
            {"engine": "ray", "device": "cuda:1"},
            "device == 'cuda:1', must be without a number on a cluster. Each worker",
        ),
        ({"engine": "rae"}, "engine == 'rae', must be one of 'process', 'ray'. Did you mean 'ray'"),
    ],
)
def test_wrong_settings_are_refused(settings, message) -> None:
    with pytest.raises((InvalidInputError, LookupError), match=message):
        make("cql", **settings)
    if settings == {"workers": 2}:
        with pytest.raises(InvalidInputError, match=message):
            InProcess().together(int, workers=2, gpus=False, folder=None)
