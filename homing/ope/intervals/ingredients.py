"""What a report keeps beside its influences, so that any interval can be made of it later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from homing.errors import InvalidInputError, describe
from homing.ope.intervals.base import Bounds, Contributions, Extremes, FloatArray, Part
from homing.ope.intervals.paired import Form, Pairing

Key = tuple[str, str]
#: The share of a user in all decisions, and in all importance weight.
DECISIONS, WEIGHT = "decisions", "weight"


@dataclass(frozen=True, eq=False)
class Ingredients:
    """Normalisers by user, and what influences and values were possible.

    Attributes:
        shares: (G,) by name, each user's share of a normaliser: `decisions`, `weight`, or another estimator's weights.
        weighted: by (estimator, objective), the name of the share and the ψ (G,) of the term that it normalises; what
            is left of the influence is normalised by decisions.
        extremes: by (estimator, objective), least and greatest influence that one decision could have with the least
            reward, and with the greatest.
        limits: by objective, what its value cannot leave.
        bounded: objectives whose extremes follow from declared bounds alone.
        decisions: how many there are; None for one a user.
        forms: by (estimator, objective), how its influence follows from weights; only of those that can be paired.
        pairings: by the name of another policy, what decisions could weigh under both.
    """

    shares: Mapping[str, FloatArray] = field(default_factory=dict)
    weighted: Mapping[Key, tuple[str, FloatArray]] = field(default_factory=dict)
    extremes: Mapping[Key, Extremes] = field(default_factory=dict)
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    bounded: tuple[str, ...] = ()
    decisions: int | None = None
    forms: Mapping[Key, Form] = field(default_factory=dict)
    pairings: Mapping[str, Pairing] = field(default_factory=dict)

    def of(self, estimator: str, objective: str, value: float, psi: FloatArray) -> Contributions:
        """The contributions of one estimate from its value and influence."""
        key = (estimator, objective)
        parts: tuple[Part, ...] = ()
        longest = None
        if DECISIONS in self.shares:
            name, weighted = self.weighted.get(key, ("", None))
            if weighted is None:
                parts = (Part(psi, self.shares[DECISIONS]),)
            elif weighted is psi:
                parts = (Part(psi, self.shares[name], False),)
                if name == WEIGHT:  # which declared bounds bound
                    longest = len(psi) * float(self.shares[DECISIONS].max())
            else:
                parts = (Part(psi - weighted, self.shares[DECISIONS]), Part(weighted, self.shares[name], False))
        return Contributions(
            value,
            psi,
            parts,
            self.extremes.get(key),
            self.limits.get(objective),
            objective in self.bounded,
            self.decisions,
            longest=longest,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON; arrays are left out (see `tensors`)."""
        return {
            "extremes": [
                {
                    "estimator": estimator,
                    "objective": objective,
                    "at_least_reward": list(low),
                    "at_greatest_reward": list(high),
                }
                for (estimator, objective), (low, high) in self.extremes.items()
            ],
            "weighted": [
                {"estimator": estimator, "objective": objective, "share": share}
                for (estimator, objective), (share, _) in self.weighted.items()
            ],
            "limits": {name: list(ends) for name, ends in self.limits.items()},
            "bounded": list(self.bounded),
            "decisions": self.decisions,
            "forms": [
                {"estimator": estimator, "objective": objective, **form.to_dict()}
                for (estimator, objective), form in self.forms.items()
            ],
            "pairings": {name: pairing.to_dict() for name, pairing in self.pairings.items()},
        }

    def tensors(self, influence: Mapping[Key, FloatArray]) -> dict[str, FloatArray]:
        """Arrays to keep beside the influences; a term that is its whole influence is not written twice."""
        out = {f"{_SHARE}{name}": share for name, share in self.shares.items()}
        for key, (_, psi) in self.weighted.items():
            if psi is not influence[key]:
                out[f"{_WEIGHTED}{'/'.join(key)}"] = psi
        return out

    @classmethod
    def read(
        cls, data: Mapping[str, Any], tensors: Mapping[str, FloatArray], influence: Mapping[Key, FloatArray]
    ) -> Ingredients:
        """Read back what `to_dict` and `tensors` wrote."""
        weighted = {}
        for item in data["weighted"]:
            key = (item["estimator"], item["objective"])
            weighted[key] = (item["share"], tensors.get(f"{_WEIGHTED}{'/'.join(key)}", influence[key]))
        return cls(
            shares={name.removeprefix(_SHARE): array for name, array in tensors.items() if name.startswith(_SHARE)},
            weighted=weighted,
            extremes={
                (item["estimator"], item["objective"]): (
                    (item["at_least_reward"][0], item["at_least_reward"][1]),
                    (item["at_greatest_reward"][0], item["at_greatest_reward"][1]),
                )
                for item in data["extremes"]
            },
            limits={name: (ends[0], ends[1]) for name, ends in data["limits"].items()},
            bounded=tuple(data["bounded"]),
            decisions=data["decisions"],
            forms={(item["estimator"], item["objective"]): Form.from_dict(item) for item in data.get("forms", ())},
            pairings={name: Pairing.from_dict(item) for name, item in data.get("pairings", {}).items()},
        )


#: Names of tensors that are not influences begin with this.
MARK = "@"
_SHARE, _WEIGHTED = f"{MARK}share/", f"{MARK}weighted/"


@dataclass(frozen=True)
class Possible:
    """What one decision could have held, for one objective: declared, or seen where nothing is declared.

    Attributes:
        weight: the largest importance weight.
        reward: least and greatest reward.
        predicted: least and greatest prediction of the reward model; (0, 0) without one.
        limits: what the value cannot leave: the reward's range where it is declared, or where all rewards are 0 or 1.
    """

    weight: float
    reward: tuple[float, float]
    predicted: tuple[float, float] = (0.0, 0.0)
    limits: tuple[float, float] | None = None

    @classmethod
    def of(
        cls, objective: str, weight: FloatArray, reward: FloatArray, q_hat: FloatArray | None, bounds: Bounds
    ) -> Possible:
        """Read it off a log and what is declared.

        Raises:
            InvalidInputError: if the log breaks what is declared.
        """
        top, ends = float(weight.max()), (float(reward.min()), float(reward.max()))
        if bounds.max_weight is not None:
            if top > bounds.max_weight * (1.0 + 1e-12):
                raise InvalidInputError(
                    describe(
                        f"weight[{int(np.argmax(weight))}]",
                        top,
                        f"must be <= {bounds.max_weight:g}, as bounds.max_weight declares",
                        "Declare what the logging policy's smallest propensity allows.",
                    )
                )
            top = bounds.max_weight
        limits = bounds.reward.get(objective)
        if limits is not None:
            if not limits[0] <= ends[0] <= ends[1] <= limits[1]:
                row = int(np.argmax((reward < limits[0]) | (reward > limits[1])))
                raise InvalidInputError(
                    describe(
                        f"reward[{row}] of {objective}",
                        float(reward[row]),
                        f"must be in [{limits[0]:g}, {limits[1]:g}], as bounds.reward declares",
                        "Declare the range that the reward's definition allows.",
                    )
                )
        elif bool(((reward == 0.0) | (reward == 1.0)).all()):
            limits = (0.0, 1.0)
        predicted = (0.0, 0.0) if q_hat is None else (float(q_hat.min()), float(q_hat.max()))
        return cls(top, limits or ends, predicted, limits)

    def form(self, value: float, modelled: bool, model_mean: float, normaliser: float | None) -> Form:
        """How the influence of such an estimator follows from a decision's weight; arguments as at `extremes`."""
        predicted = self.predicted if modelled else (0.0, 0.0)
        if normaliser is None:
            return Form(value, 0.0, 1.0, modelled, self.reward, predicted)
        return Form(model_mean, value - model_mean, normaliser, modelled, self.reward, predicted)

    def extremes(
        self, value: float, *, modelled: bool, model_mean: float, normaliser: float | None, max_weight: float | None
    ) -> Extremes:
        """Least and greatest influence of one decision, at either end of the reward.

        On V = mean(q̂_π) + mean(w (r - q̂)), or the same divided by the mean weight.

        Args:
            value: the estimate.
            modelled: whether the estimator uses the reward model's predictions.
            model_mean: mean of the model's predictions for the policy; 0 if not `modelled`.
            normaliser: mean weight of a self-normalised estimator, None of others.
            max_weight: the largest weight that the estimator uses where it clips or shrinks; None where it does not.
        """
        top = self.weight if max_weight is None else min(self.weight, max_weight)
        form = self.form(value, modelled, model_mean, normaliser)
        low_q, high_q = form.predicted
        low, high = (
            (
                low_q - form.centre + top * min(0.0, reward - high_q - form.shift) / form.scale,
                high_q - form.centre + top * max(0.0, reward - low_q - form.shift) / form.scale,
            )
            for reward in self.reward
        )
        return low, high
