"""The decision transformer: actions cloned given the returns that followed them, returns by quantile regression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from homing.checks import check_count, check_positive, check_probability
from homing.errors import InvalidInputError, describe
from homing.learners.examples import Examples
from homing.learners.prepared import Prepared
from homing.learners.settings import not_negative
from homing.learners.threads import few_threads
from homing.log import LoggedDataset
from homing.policies import DecisionTransformerPolicy, EpsilonGreedyPolicy, History, Policy
from homing.policies.decision_transformer import EARLIER, HEADS
from homing.policies.wrappers import check_epsilon

#: Levels of the quantiles of returns.
LEVELS = (0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95)
MICROSECONDS_PER_DAY = 86_400e6


@dataclass
class DecisionTransformer:
    """Learns what the log's policy did, given what came of it; asked for good returns, it does what led to them.

    See `DecisionTransformerPolicy`. The present decision is seen with up to three before it; the number is drawn anew
    for each row of training, so that the policy also serves where no history is kept. Returns are discounted sums of
    each objective; their quantiles are fitted with the pinball loss at seven levels.

    Stable and steerable (`prompt`), and no estimate of effects: a policy that was lucky looks like one that was good.
    Wrong to use as the only challenger.

    Attributes:
        prompt: the quantile of returns that is asked for, in (0, 1).
        gamma: discount per day of the returns.
        units: h, hidden units; a multiple of 4.
        learning_rate, weight_decay: of AdamW.
        batch_rows: of a step.
        max_epochs: passes over the log, at most.
        patience: passes without progress on held-out users before it stops.
        validation_share: of users held out for stopping.
        gone_after_days: see `Optimised`.
        epsilon: share of uniform exploration over what is eligible.
        report: how the last fit went.
    """

    prompt: float = 0.8
    gamma: float = 0.9
    units: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    batch_rows: int = 512
    max_epochs: int = 20
    patience: int = 2
    validation_share: float = 0.2
    gone_after_days: float | None = None
    epsilon: float = 0.02
    report: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("prompt", "gamma", "validation_share"):
            setattr(self, name, check_probability(name, getattr(self, name)))
        for name in ("learning_rate", "weight_decay"):
            setattr(self, name, check_positive(name, getattr(self, name)))
        for name in ("units", "batch_rows", "max_epochs", "patience"):
            setattr(self, name, check_count(name, getattr(self, name)))
        if self.units % HEADS:
            raise InvalidInputError(describe("units", self.units, f"must be a multiple of {HEADS}"))
        if self.gone_after_days is not None:
            self.gone_after_days = not_negative("gone_after_days", self.gone_after_days)
        self.epsilon = check_epsilon(self.epsilon)

    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Fit on a dataset of at least two users."""
        begun = Prepared.of(
            dataset, weights, rng, validation_share=self.validation_share, gone_after_days=self.gone_after_days,
            device="cpu",
        )  # fmt: skip
        mean, unit = begun.scale(self.gamma)
        returns = (begun.gaps.returns(dataset.reward, self.gamma, dataset.user) - mean) / unit
        windows = _Windows(begun, dataset, returns.astype(np.float32))
        generator = torch.Generator().manual_seed(begun.seed)
        net = Transformer(dataset.context.shape[1], dataset.candidates.shape[2], len(unit), self.units, generator)
        history = self._train(net, windows, begun, generator)
        arrays = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
        policy: Policy = DecisionTransformerPolicy(
            **arrays, levels=np.array(LEVELS), unit=unit, weights=begun.weights, prompt=self.prompt
        )
        settings = {**begun.settings(), "epochs": len(history["train loss"]), "gamma": self.gamma}
        self.report = {"history": history, "calibration": {}, "settings": settings, "warnings": begun.warnings}
        return EpsilonGreedyPolicy(policy, self.epsilon) if self.epsilon else policy

    def _train(
        self, net: Transformer, windows: _Windows, begun: Prepared, generator: torch.Generator
    ) -> dict[str, list[float]]:
        """Until held-out users see no more progress; the best pass is kept."""
        optimiser = torch.optim.AdamW(net.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        train, held = torch.from_numpy(begun.train), torch.from_numpy(begun.held_out)
        history: dict[str, list[float]] = {"train loss": [], "held-out loss": []}
        best, least, since = net.copied(), np.inf, 0
        with few_threads():
            for _ in range(self.max_epochs):
                total = 0.0
                for rows in train[torch.randperm(len(train), generator=generator)].split(self.batch_rows):
                    optimiser.zero_grad()
                    loss = windows.loss(net, rows, generator)
                    loss.backward()
                    optimiser.step()
                    total += float(loss.detach()) * len(rows)
                with torch.no_grad():
                    # The same lengths of history at each look.
                    fixed = torch.Generator().manual_seed(begun.seed)
                    found = sum(float(windows.loss(net, rows, fixed)) * len(rows) for rows in held.split(8_192))
                history["train loss"].append(total / len(train))
                history["held-out loss"].append(found / len(held))
                if found < least:
                    best, least, since = net.copied(), found, 0
                elif (since := since + 1) >= self.patience:
                    break
        net.load_state_dict(best)
        return history


class Transformer(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
    """The network of `DecisionTransformerPolicy`, its parameters under the same names."""

    def __init__(self, d: int, c: int, m: int, units: int, generator: torch.Generator) -> None:
        super().__init__()
        h, levels = units, len(LEVELS)
        shapes = {
            "past": (d + c + 1, h), "now": (d + m, h), "query": (h, h), "key": (h, h), "value": (h, h), "out": (h, h),
            "up": (h, 2 * h), "down": (2 * h, h), "hidden": (d, h), "heads": (h, m * levels), "taste": (h, c),
        }  # fmt: skip
        for name, (rows, columns) in shapes.items():
            bound = (6.0 / max(rows + columns, 1)) ** 0.5
            start = (2 * torch.rand(rows, columns, generator=generator) - 1) * bound
            # Candidates start alike: what the log never showed stays as good as silence.
            setattr(self, name, torch.nn.Parameter(torch.zeros(rows, columns) if name == "taste" else start))
            if name not in ("query", "key", "value", "out"):
                setattr(self, f"{name}_bias", torch.nn.Parameter(torch.zeros(columns)))

    def forward(
        self, x: torch.Tensor, asked: torch.Tensor, told: torch.Tensor, known: torch.Tensor, candidates: torch.Tensor
    ) -> torch.Tensor:
        """Scores (b, k) for context (b, d), returns (b, m), earlier decisions (b, t, d + c + 1), candidates."""
        b, h = len(x), self.query.shape[0]
        current = torch.cat([x, asked], dim=1) @ self.now + self.now_bias
        tokens = torch.cat([told @ self.past + self.past_bias, current[:, None]], dim=1)
        query = (current @ self.query).view(b, HEADS, -1)
        key, value = ((tokens @ part).view(b, tokens.shape[1], HEADS, -1) for part in (self.key, self.value))
        match = torch.einsum("bhe,bthe->bht", query, key) / (h / HEADS) ** 0.5
        seen = torch.cat([known, torch.ones(b, 1, dtype=torch.bool)], dim=1)
        share = match.masked_fill(~seen[:, None], float("-inf")).softmax(dim=2)
        state = current + torch.einsum("bht,bthe->bhe", share, value).reshape(b, h) @ self.out
        state = state + torch.relu(state @ self.up + self.up_bias) @ self.down + self.down_bias
        taste = state @ self.taste + self.taste_bias
        return ((candidates - candidates[:, :1]) * taste[:, None]).sum(dim=2)

    def quantiles(self, x: torch.Tensor) -> torch.Tensor:
        """(b, m, l)."""
        out = torch.relu(x @ self.hidden + self.hidden_bias) @ self.heads + self.heads_bias
        return out.view(len(x), -1, len(LEVELS))

    def copied(self) -> dict[str, torch.Tensor]:
        """The parameters as they are now."""
        return {name: tensor.detach().clone() for name, tensor in self.state_dict().items()}


class _Windows:
    """Rows of a log with those before them."""

    def __init__(self, begun: Prepared, dataset: LoggedDataset, returns: NDArray[np.float32]) -> None:
        self._data, self._chosen = begun.transitions, Examples.of(dataset)
        self._returns = torch.from_numpy(returns)
        self._earlier = earlier_rows(dataset)
        self._time = dataset.time

    def loss(self, net: Transformer, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Cross-entropy of what was chosen, given the returns that came, plus the pinball loss of their quantiles."""
        now, returns = self._data.decisions(rows), self._returns[rows]
        past = history_of(self._earlier, self._data.context.numpy(), self._chosen, self._time, rows.numpy())
        # As many of them as a draw says: 0 to all.
        length = torch.randint(EARLIER + 1, (len(rows), 1), generator=generator)
        known = torch.from_numpy(past.known) & (torch.arange(EARLIER) < length)
        told = np.concatenate([past.context, past.chosen, np.log1p(past.days)[:, :, None]], axis=2)
        scores = net(now.context, returns, torch.from_numpy(told), known, now.candidates)
        scores = now.only_eligible(scores[None])[0]
        clone = torch.nn.functional.cross_entropy(scores, self._data.action[rows])
        return clone + pinball(net.quantiles(now.context), returns, torch.tensor(LEVELS)).mean()


def pinball(quantiles: torch.Tensor, target: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """max(τ e, (τ − 1) e) with e = target − quantile, summed over levels: (b, m) for (b, m, l) and (b, m).

    Example:
        >>> pinball(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[2.0]]), torch.tensor([0.25, 0.75])).tolist()
        [[2.0]]
    """
    error = target[..., None] - quantiles
    return torch.maximum(levels * error, (levels - 1) * error).sum(dim=-1)


def earlier_rows(dataset: LoggedDataset) -> NDArray[np.int64]:
    """Rows (n, 3) of each user's last decisions before each, the latest first; -1 where there is none.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((3, 1)), candidates=np.zeros((3, 2, 1)), eligible=np.ones((3, 2), bool),
        ...     action=[0, 1, 0], propensity=[0.5, 0.5, 0.5], reward=np.zeros((3, 1)), objectives=("clicked",),
        ...     user=[0, 1, 0], time=[0, 1, 2])
        >>> earlier_rows(data).tolist()
        [[-1, -1, -1], [-1, -1, -1], [0, -1, -1]]
    """
    assert dataset.next is not None  # the dataset computes it
    before = np.full(dataset.n + 1, -1, dtype=np.int64)  # the last entry answers for -1
    goes_on = np.flatnonzero(dataset.next >= 0)
    before[dataset.next[goes_on]] = goes_on
    out = [before[:-1]]
    for _ in range(EARLIER - 1):
        out.append(before[out[-1]])
    return np.stack(out, axis=1)


def history_of(
    earlier: NDArray[np.int64],
    context: NDArray[np.float32],
    chosen: Examples,
    time: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> History:
    """What came before some rows, from `earlier_rows`."""
    at = earlier[rows]
    known = at >= 0
    some = np.where(known, at, rows[:, None])
    columns = chosen.candidate(some.ravel()).reshape(*some.shape, -1)
    days = ((time[rows, None] - time[some]) / MICROSECONDS_PER_DAY).astype(np.float32)
    return History(context[some], columns, days, known)


def dataset_history(dataset: LoggedDataset, rows: NDArray[np.int64] | None = None) -> History:
    """The history of a dataset's rows (all without `rows`), for `DecisionTransformerPolicy.action_probs`."""
    rows = np.arange(dataset.n) if rows is None else rows
    return history_of(earlier_rows(dataset), dataset.context, Examples.of(dataset), dataset.time, rows)
