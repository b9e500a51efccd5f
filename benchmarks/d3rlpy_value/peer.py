"""d3rlpy's side: trains on an exported log for so many CPU seconds or steps, and leaves its network as plain arrays."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path

import d3rlpy
import numpy as np
import torch
from d3rlpy.dataset import BasicTransitionPicker, Episode, InfiniteBuffer, ReplayBuffer, Transition

from benchmarks.measure import report

#: Steps of gradient between two looks at the clock.
LOOK_STEPS = 50


@dataclasses.dataclass(frozen=True)
class Timed(Episode):
    """One user's decisions, with the days from each to the next."""

    days: np.ndarray


class SemiMarkov(BasicTransitionPicker):
    """d3rlpy discounts by γ to the power of a transition's interval: here that is the time that passed."""

    def __call__(self, episode: Timed, index: int) -> Transition:
        return dataclasses.replace(super().__call__(episode, index), interval=float(episode.days[index]))


def read(file: Path) -> tuple[ReplayBuffer, dict[str, np.ndarray]]:
    """The replay buffer of an exported log; users with no transition are left out, as they would teach nothing."""
    with np.load(file) as held:
        data = {name: held[name] for name in held.files}
    bounds = np.append(np.flatnonzero(np.diff(data["user"], prepend=-1)), len(data["user"]))
    episodes = []
    for begin, end in pairwise(bounds):
        gone = bool(data["gone"][end - 1])
        if end - begin > 1 or gone:
            part = slice(begin, end)
            episodes.append(
                Timed(data["observation"][part], data["action"][part, None], data["reward"][part, None], gone,
                      data["days"][part])
            )  # fmt: skip
    buffer = ReplayBuffer(
        InfiniteBuffer(),
        transition_picker=SemiMarkov(),
        episodes=episodes,
        action_space=d3rlpy.ActionSpace.DISCRETE,
        action_size=int(data["action"].max()) + 1,
    )
    return buffer, data


def arrays(learner: d3rlpy.algos.DoubleDQN, mean: np.ndarray, deviation: np.ndarray) -> dict[str, np.ndarray]:
    """Weights and biases of its layers; the first takes observations as they are."""
    held = [value.detach().cpu().double().numpy() for value in learner.impl.q_function[0].state_dict().values()]
    weight, bias = held[0] / deviation, held[1] - (held[0] / deviation) @ mean
    held[:2] = [weight, bias]
    named = {f"{('weight', 'bias')[i % 2]}{i // 2}": each.astype(np.float32) for i, each in enumerate(held)}
    return named


def forward(layers: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    for i in range(len(layers) // 2):
        x = (np.maximum(x, 0.0) if i else x) @ layers[f"weight{i}"].T + layers[f"bias{i}"]
    return x


def main() -> None:
    algorithm, log, seed, seconds, settings, out = sys.argv[1:]
    told = json.loads(settings)
    torch.set_num_threads(1)
    d3rlpy.seed(int(seed))
    with Path(os.devnull).open("w") as quiet, contextlib.redirect_stdout(quiet):
        buffer, data = read(Path(log))
    mean, deviation = data["observation"].mean(axis=0), data["observation"].std(axis=0) + 1e-3
    shared = {
        "batch_size": told["batch_size"],
        "learning_rate": told["learning_rate"],
        "gamma": told["gamma"],
        "target_update_interval": told["target_update_interval"],
        "observation_scaler": d3rlpy.preprocessing.StandardObservationScaler(mean=mean, std=deviation, eps=0.0),
        "reward_scaler": d3rlpy.preprocessing.MultiplyRewardScaler(1.0 / float(data["reward"].std())),
    }
    if algorithm == "cql":
        config = d3rlpy.algos.DiscreteCQLConfig(alpha=told["alpha"], **shared)
    else:
        config = d3rlpy.algos.DoubleDQNConfig(**shared)
    learner = config.create(device=False)

    def fit() -> dict[str, int]:
        end = time.process_time() + float(seconds)
        with Path(os.devnull).open("w") as quiet, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            rounds = learner.fitter(
                buffer, n_steps=int(told.get("steps", 10**9)), n_steps_per_epoch=LOOK_STEPS, show_progress=False,
                logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
            )  # fmt: skip
            for number, _ in rounds:  # noqa: B007 - the last is asked for
                if time.process_time() >= end:
                    break
        return {"steps": number * LOOK_STEPS}

    def checked() -> dict[str, int]:
        found = fit()
        layers = arrays(learner, mean, deviation)
        some = data["observation"][:256]
        own = np.stack([learner.predict_value(some, np.full(256, a)) for a in range(layers["bias2"].size)], axis=1)
        gap = float(np.abs(forward(layers, some) - own).max())
        if not gap < 1e-3 * (1.0 + float(np.abs(own).max())):
            raise SystemExit(f"the exported network differs by {gap:g}")
        np.savez(out, **layers)
        return found

    report(checked, repeats=1)


if __name__ == "__main__":
    main()
