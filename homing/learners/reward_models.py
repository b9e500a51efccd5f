"""Reward models per objective, calibrated on users that they were not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.bilinear_design import BilinearDesign
from homing.learners.calibration import Calibration, calibrate
from homing.learners.examples import Examples, links_of, validation_rows
from homing.learners.linear_fit import fit_path, outputs, parts, pointwise_loss
from homing.learners.neural_fit import fit_trunk
from homing.log import LoggedDataset
from homing.policies import LinearRewardModel, NeuralRewardModel

#: Strengths of the penalty that are tried, in observations.
PENALTIES = (10.0, 100.0, 1_000.0, 10_000.0)


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A reward model and how its fit went."""

    model: LinearRewardModel | NeuralRewardModel
    history: dict[str, list[float]] = field(default_factory=dict)
    calibration: dict[str, Calibration] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """Plain JSON."""
        calibration = {name: item.to_dict() for name, item in self.calibration.items()}
        return {"history": self.history, "calibration": calibration, "settings": self.settings}


def fit_linear(
    dataset: LoggedDataset,
    weights: NDArray[np.float64],
    *,
    penalties: Sequence[float] = PENALTIES,
    validation_share: float = 0.2,
    calibrate_on_held_out: bool = True,
    rng: np.random.Generator,
) -> FittedModel:
    """Fit the bilinear model; the penalty with the smallest loss on held-out users is taken.

    Args:
        dataset: n decisions of at least two users.
        weights: (m,), importance of each objective, kept in the model as its default.
        penalties: strengths to try, in observations.
        validation_share: of users held out for penalty and calibration.
        calibrate_on_held_out: whether to fit slope and offset there.
        rng: splits users.
    """
    if not penalties or min(penalties) <= 0:
        raise InvalidInputError(describe("penalties", tuple(penalties), "must be numbers > 0"))
    data, scale, links = _standardised(dataset)
    held = validation_rows(data.user, validation_share, rng)
    train, validation = data.rows(np.flatnonzero(~held)), data.rows(np.flatnonzero(held))
    tried = sorted(penalties, reverse=True)
    fits = fit_path(BilinearDesign.of(train), train.reward, links, tried)
    judged = BilinearDesign.of(validation)
    raws = [outputs(judged, theta) for theta in fits]
    losses = [float(pointwise_loss(raw, validation.reward, links).sum(axis=1).mean()) for raw in raws]
    best = int(np.argmin(losses))
    found = _calibrations(dataset, raws[best], data, held, links, scale, fit=calibrate_on_held_out)
    slope, offset = _outer(found, scale, dataset.objectives)
    model = LinearRewardModel(*parts(fits[best]), links, slope, offset, weights)
    return FittedModel(
        model, {"held-out loss by penalty": losses}, found, {"penalty": tried[best], "penalties": list(tried)}
    )


def fit_neural(
    dataset: LoggedDataset,
    weights: NDArray[np.float64],
    *,
    sizes: tuple[int, int] = (64, 32),
    weight_decay: float = 0.01,
    learning_rate: float = 2e-3,
    batch_rows: int = 512,
    max_epochs: int = 60,
    patience: int = 5,
    validation_share: float = 0.2,
    rng: np.random.Generator,
) -> FittedModel:
    """Fit the shared-trunk network; stopped early on held-out users, calibrated on them. Arguments as `fit_linear`."""
    data, scale, links = _standardised(dataset)
    held = validation_rows(data.user, validation_share, rng)
    net, history = fit_trunk(
        data,
        held,
        links,
        sizes=sizes,
        weight_decay=weight_decay,
        learning_rate=learning_rate,
        batch_rows=batch_rows,
        max_epochs=max_epochs,
        patience=patience,
        rng=rng,
    )
    rows = np.flatnonzero(held)
    with torch.no_grad():
        z = net(torch.from_numpy(data.context[rows]), torch.from_numpy(data.candidate(rows)))
    found = _calibrations(dataset, z.numpy().astype(np.float64), data, held, links, scale, fit=True)
    arrays = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
    slope, offset = _outer(found, scale, dataset.objectives)
    model = NeuralRewardModel(**arrays, links=links, slope=slope, offset=offset, weights=weights)
    return FittedModel(model, history, found, {"epochs": len(history["train loss"]), "sizes": list(sizes)})


def fit_reward_model(
    dataset: LoggedDataset, kind: str, weights: NDArray[np.float64], *, rng: np.random.Generator, **params: Any
) -> FittedModel:
    """`fit_linear` or `fit_neural` by name.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> seen = rng.integers(0, 2, 400)
        >>> data = LoggedDataset(
        ...     context=np.zeros((400, 1)), candidates=[np.eye(2)] * 400, eligible=np.ones((400, 2), bool),
        ...     action=seen, propensity=np.full(400, 0.5), reward=(rng.random(400) < 0.2 + 0.6 * seen)[:, None],
        ...     objectives=("clicked",), user=np.arange(400), time=np.zeros(400))
        >>> fitted = fit_reward_model(data, "linear", np.ones(1), rng=rng)
        >>> low, high = fitted.model.predict(np.zeros((1, 1)), np.eye(2)[None])[0, :, 0]
        >>> bool(abs(low - 0.2) < 0.1 and abs(high - 0.8) < 0.1)
        True
    """
    fits: dict[str, Any] = {"linear": fit_linear, "neural": fit_neural}
    if kind not in fits:
        raise InvalidInputError(describe("kind of reward model", kind, "must be 'linear' or 'neural'"))
    fitted: FittedModel = fits[kind](dataset, weights, rng=rng, **params)
    return fitted


def _standardised(dataset: LoggedDataset) -> tuple[Examples, NDArray[np.float64], tuple[str, ...]]:
    """Examples whose identity targets have mean 0 and deviation 1; and (mean, deviation) of each objective (m, 2)."""
    data = Examples.of(dataset)
    links = links_of(data.reward)
    scale = np.column_stack([data.reward.mean(axis=0), data.reward.std(axis=0)])
    scale[:, 1] = np.where(scale[:, 1] > 0, scale[:, 1], 1.0)
    for j, link in enumerate(links):
        if link == "logit":
            scale[j] = (0.0, 1.0)
    return replace(data, reward=(data.reward - scale[:, 0]) / scale[:, 1]), scale, links


def _calibrations(
    dataset: LoggedDataset,
    raw: NDArray[np.float64],
    data: Examples,
    held: NDArray[np.bool_],
    links: Sequence[str],
    scale: NDArray[np.float64],
    *,
    fit: bool,
) -> dict[str, Calibration]:
    """Calibration of each objective; errors and losses are in the reward's own units."""
    out = {}
    for j, name in enumerate(dataset.objectives):
        fitted = calibrate(raw[:, j], data.reward[held, j], links[j], float(data.reward[~held, j].mean()), fit=fit)
        unit = scale[j, 1]
        out[name] = replace(
            fitted,
            events=int(np.count_nonzero(dataset.reward[held, j])),
            error_before=fitted.error_before * unit,
            error_after=fitted.error_after * unit,
            loss=fitted.loss * unit**2,
            loss_of_mean=fitted.loss_of_mean * unit**2,
        )
    return out


def _outer(
    found: dict[str, Calibration], scale: NDArray[np.float64], objectives: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slope and offset that hold both the calibration and the way back to the reward's own units."""
    slope = np.array([found[name].slope for name in objectives]) * scale[:, 1]
    offset = np.array([found[name].offset for name in objectives]) * scale[:, 1] + scale[:, 0]
    return slope, offset
