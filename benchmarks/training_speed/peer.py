"""d3rlpy's side: its `fit` on its own dataset."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import d3rlpy
import numpy as np
import torch

from benchmarks.measure import report
from benchmarks.training_speed import inputs

algorithm, steps = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
data = inputs.log()
ends = np.zeros(len(data["action"]), dtype=np.float32)
ends[inputs.LENGTH - 1 :: inputs.LENGTH] = 1.0
with Path(os.devnull).open("w") as quiet, contextlib.redirect_stdout(quiet):
    dataset = d3rlpy.dataset.MDPDataset(
        data["context"], data["action"][:, None], data["reward"][:, None], np.zeros_like(ends), timeouts=ends
    )


def fit(steps: int) -> int:
    settings = {
        "batch_size": inputs.BATCH,
        "learning_rate": inputs.LEARNING_RATE,
        "gamma": inputs.GAMMA,
        "target_update_interval": inputs.TARGET_STEPS,
        "encoder_factory": d3rlpy.models.VectorEncoderFactory(hidden_units=list(inputs.SIZES)),
    }
    if algorithm == "cql":
        config = d3rlpy.algos.DiscreteCQLConfig(alpha=inputs.CONSERVATISM[algorithm], **settings)
    else:
        config = d3rlpy.algos.DoubleDQNConfig(**settings)
    learner = config.create(device=False)
    with Path(os.devnull).open("w") as quiet, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        learner.fit(
            dataset,
            n_steps=steps,
            n_steps_per_epoch=steps,
            show_progress=False,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        )
    return steps


fit(20)
report(lambda: fit(steps), repeats=1)
