"""The least that PyTorch needs: modules, a fused optimiser, and a loop over tensors that lie in memory."""

from __future__ import annotations

import copy
import sys

import torch
from torch import nn

from benchmarks.measure import report
from benchmarks.training_speed import inputs

algorithm, steps = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
data = inputs.log()
context, action, reward = (torch.from_numpy(data[name]) for name in ("context", "action", "reward"))
known = torch.arange(len(action)).view(inputs.USERS, inputs.LENGTH)[:, :-1].reshape(-1)  # the last has no next one
conservatism = inputs.CONSERVATISM[algorithm]


def network() -> nn.Sequential:
    first, second = inputs.SIZES
    return nn.Sequential(
        nn.Linear(inputs.FEATURES, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(),
        nn.Linear(second, inputs.ACTIONS),
    )  # fmt: skip


def fit(steps: int) -> int:
    torch.manual_seed(0)
    online = network()
    target = copy.deepcopy(online)
    optimiser = torch.optim.Adam(online.parameters(), lr=inputs.LEARNING_RATE, fused=True)
    for step in range(1, steps + 1):
        rows = known[torch.randint(len(known), (inputs.BATCH,))]
        later, chosen = context[rows + 1], action[rows, None]
        with torch.no_grad():
            best = online(later).argmax(dim=1, keepdim=True)
            wanted = reward[rows] + inputs.GAMMA * target(later).gather(1, best)[:, 0]
        values = online(context[rows])
        found = values.gather(1, chosen)[:, 0]
        loss = 0.5 * (found - wanted).square().mean()
        if conservatism:
            loss = loss + conservatism * (values.logsumexp(dim=1) - found).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % inputs.TARGET_STEPS == 0:
            target.load_state_dict(online.state_dict())
    return steps


fit(20)
report(lambda: fit(steps), repeats=1)
