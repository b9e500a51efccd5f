"""What the benchmark of training on a GPU measures, on a CPU: `benchmarks.training_gpu`."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from benchmarks.training_gpu import inputs, run
from benchmarks.training_gpu.fits import Fit, apart, fit, last_bit_changed, speed
from homing.learners.network import Form, Network
from homing.log import LoggedDataset
from homing.policies import UniformPolicy


def data(rng: np.random.Generator, users: int = 60, days: int = 10) -> LoggedDataset:
    n, k = users * days, 3
    context, action = rng.normal(size=(n, 4)), rng.integers(0, k, n)
    reward = np.stack([(action == 1) * context[:, 0], *rng.normal(size=(len(inputs.WEIGHTS) - 1, n))], axis=1)
    return LoggedDataset(
        context=context, candidates=np.broadcast_to(np.eye(k), (n, k, k)), eligible=np.ones((n, k), bool),
        action=action, propensity=np.full(n, 1 / k), reward=reward, objectives=tuple(inputs.WEIGHTS),
        user=np.arange(n) // days, time=(np.arange(n) % days) * 86_400_000_000,
    )  # fmt: skip


def test_the_clock_counts_the_steps_of_every_network(rng) -> None:
    log = data(rng)
    settings = {"sizes": (8, 8), "batch_rows": 32, "gone_after_days": 2.0}
    cloned, valued = (fit(name, settings, log, "cpu", 30) for name in ("behaviour-cloning", "iql"))
    assert (cloned.steps, valued.steps) == (30, 60)
    assert min(cloned.seconds, valued.seconds) > 0
    assert cloned.gpu_mib == 0


def test_speed_is_of_the_steps_that_were_more() -> None:
    few, many = (Fit(UniformPolicy(), steps, seconds, 0.0, True) for steps, seconds in ((20, 3.0), (320, 5.0)))
    assert speed(few, many) == 150.0


def test_the_last_bit_of_what_networks_start_with() -> None:
    def new() -> torch.Tensor:
        return Network.new(Form(3, 2, 1, 1, 2, (4, 4)), [(4, 4)], [1], np.array([[0.5]]), "cpu").flat

    plain = new()
    with last_bit_changed():
        changed = new()
    assert torch.equal(plain, new())
    assert torch.equal(plain == 0, changed == 0)
    ulp = np.spacing(np.abs(plain[plain != 0].numpy()))
    assert (np.abs((changed - plain)[plain != 0].numpy()) <= ulp).all()
    assert (changed != plain)[plain != 0].all()


def test_policies_are_apart_by_half_of_what_their_probabilities_differ_in(rng) -> None:
    log = data(rng)
    asked = log.rows(np.arange(2))

    class Says:
        def __init__(self, *rows: list[float]) -> None:
            self.rows = np.array(rows)

        def action_probs(self, *_: object) -> np.ndarray:
            return self.rows

    one, other = Says([0.5, 0.3, 0.2], [0.1, 0.8, 0.1]), Says([0.5, 0.2, 0.3], [0.5, 0.4, 0.1])
    same, distance = apart(one, other, asked)
    assert same == 0.5
    assert distance == pytest.approx((0.1 + 0.4) / 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["run"])
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "device == 'cuda', must be there. Run this on a machine with a GPU, and a PyTorch that is built for it."
    ]


def test_weights_are_the_worlds_own() -> None:
    from homing.simulation import make_world

    assert make_world("messaging").weights == inputs.WEIGHTS
