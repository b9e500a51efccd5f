"""The policy as the service uses it: features in, probabilities out, or a reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.decisions.ledger import FeatureKind
from homing.decisions.requests import CANDIDATE_COLUMNS, SILENT, DecideRequest, FeatureValue, microseconds
from homing.errors import InvalidInputError, describe, unknown_name
from homing.log import FeatureEncoder
from homing.policies import PolicyArtifact
from homing.policies.priced import priced

#: A row of probabilities may miss 1 by this much; it is then normalised.
TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Encoded:
    """Features of n decisions: context (n, d), candidates (n, k, c), counts (n,) of real candidates."""

    context: NDArray[np.float32]
    candidates: NDArray[np.float32]
    counts: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ServedPolicy:
    """A policy artifact with its version and encoder; replaced as a whole when the champion changes.

    Attributes:
        artifact: as loaded by `homing.policies.load_policy`.
        version: of the registry.
        encoder: from raw features to columns; None when the policy looks at none.
        scorer: what values candidates, found through the policy's wrappers; None when there is none.
        own: (m,) weights that count where a request has none; 0 where the policy does not say.
    """

    artifact: PolicyArtifact
    version: str
    encoder: FeatureEncoder | None
    scorer: Any
    own: NDArray[np.float64]

    @classmethod
    def of(cls, artifact: PolicyArtifact, version: str) -> ServedPolicy:
        """Wrap an artifact."""
        features = artifact.features
        return cls(
            artifact,
            version,
            None if features is None else FeatureEncoder.from_dict(features),
            _layer(artifact.policy, "scores", "predict"),
            _own_weights(artifact),
        )

    @property
    def label(self) -> str:
        """`name@version`, as it stands in the log."""
        return f"{self.artifact.name}@{self.version}"

    def feature_kinds(self) -> tuple[dict[str, FeatureKind], dict[str, FeatureKind]]:
        """Kinds of the context's and of the candidates' features that the policy was trained with."""
        if self.encoder is None:
            return {}, {}
        extra = {name: kind for name, kind in self.encoder.candidate_fields.items() if name not in CANDIDATE_COLUMNS}
        return _kinds(self.encoder.context_fields), _kinds(extra)

    def encode(self, requests: Sequence[DecideRequest], times: Sequence[datetime]) -> Encoded:
        """Features of some requests, silence first.

        Raises:
            InvalidInputError: on a feature that the policy does not know, with the nearest name.
        """
        counts = np.array([len(request.candidates) + 1 for request in requests], dtype=np.int64)
        if self.encoder is None:
            n, k = len(requests), int(counts.max())
            return Encoded(np.zeros((n, 0), np.float32), np.zeros((n, k, 0), np.float32), counts)
        context = self.encoder.encode_context([request.context for request in requests])
        rows = [[item.row() for item in (SILENT, *request.candidates)] for request in requests]
        micros = np.array([microseconds(at) for at in times], dtype=np.int64)
        store = self.encoder.encode_candidates(rows, micros)
        return Encoded(context, store[np.arange(len(requests))], counts)

    def weights(self, given: Mapping[str, float] | None) -> NDArray[np.float64] | None:
        """The request's weights in the order of the policy's objectives.

        Raises:
            InvalidInputError: if an objective is left out, all weights are 0, or one has the sign that the policy's own
                has not: a harm would count as a benefit.
            UnknownNameError: if one is none of the policy's.
        """
        if given is None:
            return None
        names = tuple(self.artifact.objectives)
        for name in given:
            if name not in names:
                raise unknown_name("weights", name, names, "Name the policy's own objectives.")
        left_out = [name for name in names if name not in given]
        if left_out:
            bound = "must name every objective of the policy"
            raise InvalidInputError(describe("weights", dict(given), bound, f"Add {', '.join(left_out)}."))
        if not any(given.values()):
            raise InvalidInputError(
                describe("weights", dict(given), "must not all be 0", "Leave weights out for the policy's own.")
            )
        out = np.array([given[name] for name in names], dtype=np.float64)
        for i in np.flatnonzero(out * self.own < 0.0):
            harm = self.own[i] < 0.0
            bound = f"must be {'<=' if harm else '>='} 0, as the policy's own ({self.own[i]:g})"
            step = "The more a harm counts, the farther below 0 is its weight." if harm else "It is no harm."
            raise InvalidInputError(describe(f"weights.{names[i]}", float(out[i]), bound, step))
        return out

    def probabilities(
        self,
        features: Encoded,
        rows: NDArray[np.int64],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None,
        costs: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], list[str | None]]:
        """Probabilities (len(rows), k) normalised, and for each row why they cannot be used, or None.

        `costs` (len(rows), k) are taken off the scores that the policy decides on; see `homing.policies.priced`.
        """
        try:
            artifact = self.artifact
            if costs is not None:
                artifact = replace(artifact, policy=priced(artifact.policy, costs))
            given = artifact.action_probs(features.context[rows], features.candidates[rows], eligible, weights)
            probs = np.array(given, dtype=np.float64)
            if probs.shape != eligible.shape:
                raise ValueError("wrong shape")
        except Exception as error:  # any failure of a model ends in the fallback, never in a lost decision
            if len(rows) == 1:
                return np.zeros(eligible.shape), [type(error).__name__]
            single = [
                self.probabilities(
                    features, rows[i : i + 1], eligible[i : i + 1], weights, None if costs is None else costs[i : i + 1]
                )
                for i in range(len(rows))
            ]
            return np.concatenate([probs for probs, _ in single]), [reasons[0] for _, reasons in single]
        problems: list[str | None] = []
        for i, row in enumerate(probs):
            problems.append(_problem(row, eligible[i]))
            probs[i] = row / row.sum() if problems[-1] is None else 0.0
        return probs, problems

    def values(
        self, features: Encoded, weights: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """Scores (n, k) and values (n, k, m) of all candidates; None without a scorer, or when it fails."""
        if self.scorer is None:
            return None, None
        try:
            scores = np.asarray(self.scorer.scores(features.context, features.candidates, weights), dtype=np.float64)
            values = np.asarray(self.scorer.predict(features.context, features.candidates), dtype=np.float64)
        except Exception:  # the receipt goes without; the draw has its own check
            return None, None
        n, k = features.candidates.shape[:2]
        right = scores.shape == (n, k) and values.shape == (n, k, len(self.artifact.objectives))
        return (scores, values) if right else (scores if scores.shape == (n, k) else None, None)


def value_kind(value: FeatureValue) -> FeatureKind | None:
    """The kind of a raw value; None for a missing one.

    >>> value_kind(3), value_kind("a"), value_kind(True), value_kind(None)
    ('number', 'category', 'flag', None)
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "flag"
    return "category" if isinstance(value, str) else "number"


def _kinds(fields: Mapping[str, str]) -> dict[str, FeatureKind]:
    return {
        name: "flag" if kind == "flag" else "category" if kind == "category" else "number"
        for name, kind in fields.items()
    }


def _problem(row: NDArray[np.float64], eligible: NDArray[np.bool_]) -> str | None:
    if not np.isfinite(row).all():
        return "not_finite"
    if (row < 0).any() or abs(row.sum() - 1.0) > TOLERANCE:
        return "not_probabilities"
    return "mass_on_ineligible" if row[~eligible].any() else None


def _own_weights(artifact: PolicyArtifact) -> NDArray[np.float64]:
    given: Any = artifact.weights
    if given is None:
        given = getattr(_layer(artifact.policy, "weights"), "weights", None)
    m = len(artifact.objectives)
    return np.zeros(m) if np.shape(given) != (m,) else np.asarray(given, dtype=np.float64)


def _layer(policy: Any, *names: str) -> Any:
    # Policies wrap policies (ε-greedy over softmax over a scorer); the first layer that has these, from outside.
    for _ in range(10):
        if policy is None or all(hasattr(policy, name) for name in names):
            return policy
        policy = getattr(policy, "scorer", None) or getattr(policy, "base", None)
    return None
