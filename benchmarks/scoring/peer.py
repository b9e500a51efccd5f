"""PyTorch's side: the same network as a module in eager mode, all candidates as rows of one batch."""

from __future__ import annotations

import sys

import torch

from benchmarks.measure import report
from benchmarks.scoring.inputs import features, weights

decisions, candidates, calls = (int(word) for word in sys.argv[1:4])
torch.set_num_threads(1)
part = {name: torch.from_numpy(array) for name, array in weights().items()}


class Network(torch.nn.Module):
    """relu(x A + c B + p), relu(· H + q), · V + c D + v, then the objectives' probabilities summed."""

    def forward(self, context: torch.Tensor, offered: torch.Tensor) -> torch.Tensor:
        first = offered @ part["candidate"] + (context @ part["context"] + part["trunk_bias"])[:, None, :]
        second = torch.relu(torch.relu(first) @ part["hidden"] + part["hidden_bias"])
        return torch.sigmoid(second @ part["heads"] + offered @ part["direct"] + part["heads_bias"]).sum(dim=2)


context, offered = map(torch.from_numpy, features(decisions, candidates))
network = Network().eval()


@torch.inference_mode()
def work() -> float:
    for _ in range(calls):
        scores = network(context, offered)
    return float(scores.sum(dtype=torch.float64))


work()
report(work)
