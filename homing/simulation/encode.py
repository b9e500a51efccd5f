"""From observations to the arrays that policies take: what a `FeatureEncoder` would make of the log, without the log.

The plan is worked out once for an encoder and a world; encoding is one compiled pass over the candidates then.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.log import FeatureEncoder
from homing.log.columns import MAX_HOURS, check_keys
from homing.log.features import HOURS, IS_SILENCE, MAX_DEVIATIONS, STANDARD_CATEGORIES, Field
from homing.simulation.compiled import compiled
from homing.simulation.world import PADDING, Feature, FloatArray, IntArray, Observation, World

HOUR_US = 3_600_000_000
#: Where a candidate's number comes from, beside the columns of `Observation.features`.
_ABSENT, _VALUE, _EXPIRES = -1, -2, -3


class ObservationEncoder:
    """Encodes a world's observations as an encoder encodes its log: the same float32 numbers, bit for bit.

    Args:
        encoder: fitted on a log, from a policy artifact, or `plain_encoder(world)`.
        world: whose observations are to be encoded.

    Raises:
        InvalidInputError: if the world has a feature that the encoder does not know, or one of another kind. A feature
            that the world lacks counts as missing.

    Example:
        >>> from homing.simulation import make_world, plain_encoder
        >>> world = make_world("linkedin")
        >>> encode = ObservationEncoder(plain_encoder(world), world)
        >>> observation = world.reset(100, seed=0)
        >>> context, candidates = encode.context(observation), encode.candidates(observation)
        >>> context.shape == (100, len(encode.encoder.context_names))
        True
        >>> candidates.shape == (*observation.message.shape, len(encode.encoder.candidate_names))
        True
    """

    def __init__(self, encoder: FeatureEncoder, world: World) -> None:
        self.encoder = encoder
        context = {feature.name: feature for feature in world.context_features}
        extra = {feature.name: feature for feature in world.candidate_features}
        check_keys("context", context, encoder.context_fields)
        check_keys("candidate", extra, encoder.candidate_fields)
        names = {name: i for i, name in enumerate(encoder.context_names)}
        order = {name: i for i, name in enumerate(context)}
        self._context = _Plan(encoder.context, context, order, names)
        names = {name: i for i, name in enumerate(encoder.candidate_names)}
        order = {**{name: i for i, name in enumerate(extra)}, "value": _VALUE, HOURS: _EXPIRES}
        numbers = {**extra, "value": Feature("value"), HOURS: Feature(HOURS)}
        own = [field for field in encoder.candidate if field.name not in STANDARD_CATEGORIES]
        self._candidate = _Plan(own, numbers, order, names)
        self._silence = names[IS_SILENCE]
        # Columns that a message lights up by itself, -1 where a level is not the encoder's: (M, blocks).
        blocks = [field for field in encoder.candidate if field.name in STANDARD_CATEGORIES and field.levels]
        self._lit = np.array(
            [[names.get(f"{block.name}={level}", -1) for level in getattr(world.catalogue, block.name)]
             for block in blocks], dtype=np.int64,
        ).reshape(len(blocks), len(world.catalogue)).T.copy()  # fmt: skip

    def context(self, observation: Observation) -> NDArray[np.float32]:
        """The context columns, (n, d)."""
        out = np.zeros((len(observation), len(self.encoder.context_names)), dtype=np.float32)
        _context(observation.context, *self._context.arrays, out)
        return out

    def candidates(self, observation: Observation) -> NDArray[np.float32]:
        """The candidate columns, (n, k, c); 0 on padding."""
        out = np.zeros((*observation.message.shape, len(self.encoder.candidate_names)), dtype=np.float32)
        _candidates(
            observation.message, observation.value, observation.expires_hours, observation.features,
            self._lit, self._silence, *self._candidate.arrays, out,
        )  # fmt: skip
        return out


def plain_encoder(world: World) -> FeatureEncoder:
    """An encoder that knows every level a world declares, and leaves numbers as they are; no log is needed.

    For tests and quick looks. Networks want standardised numbers: fit one on a short log,
    `FeatureEncoder.fit(log_decisions(world, UniformPolicy(), days=7, n_users=1000))`.

    Example:
        >>> from homing.simulation import make_world
        >>> "is_silence" in plain_encoder(make_world("linkedin")).candidate_names
        True
    """
    catalogue = world.catalogue
    named = []
    for name in STANDARD_CATEGORIES:
        levels = tuple(sorted(set(getattr(catalogue, name)[1:])))
        named.append(Field(name, "category", levels if len(levels) > 1 or name == "message_id" else ()))
    return FeatureEncoder(
        tuple(_plain(feature) for feature in world.context_features),
        (
            *named, Field("value", "number"), *(_plain(feature) for feature in world.candidate_features),
            Field(HOURS, "number", missing=True),
        ),
    )  # fmt: skip


def _plain(feature: Feature) -> Field:
    return Field(feature.name, feature.kind, tuple(sorted(feature.levels)))  # type: ignore[arg-type]


class _Plan:
    """What becomes of each raw column, as arrays; one entry a field of the encoder."""

    def __init__(
        self,
        fields: tuple[Field, ...] | list[Field],
        features: dict[str, Feature],
        order: dict[str, int],
        names: dict[str, int],
    ) -> None:
        source, column, missing, first = [], [], [], []
        mean, scale = [], []
        table: list[int] = []
        for field in fields:
            feature = features.get(field.name)
            if feature is not None and feature.kind != field.kind:
                bound = f"must be {field.kind}, as the encoder has it"
                raise InvalidInputError(describe(f"kind of feature {field.name!r}", feature.kind, bound))
            source.append(order.get(field.name, _ABSENT))
            missing.append(names.get(f"{field.name}__missing", -1) if field.missing else -1)
            mean.append(field.mean)
            scale.append(field.scale)
            if field.kind == "category":
                column.append(-1)
                first.append(len(table))
                levels = () if feature is None else feature.levels
                table += [names.get(f"{field.name}={level}", -1) if level in field.index else -1 for level in levels]
            else:
                column.append(names[field.name] if field.scale > 0 else -1)
                first.append(-1)
        #: source, column of a number, column of the indicator, mean, scale, start in the table of levels; that table.
        self.arrays = (
            np.array(source, dtype=np.int64), np.array(column, dtype=np.int64), np.array(missing, dtype=np.int64),
            np.array(mean, dtype=np.float64), np.array(scale, dtype=np.float64), np.array(first, dtype=np.int64),
            np.array(table, dtype=np.int64),
        )  # fmt: skip


@compiled
def _put(
    out: NDArray[np.float32],
    value: float,
    column: int,
    missing: int,
    mean: float,
    scale: float,
    first: int,
    table: IntArray,
) -> None:
    """One raw value into one row of columns."""
    if np.isnan(value):
        if missing >= 0:
            out[missing] = 1.0
    elif first >= 0:
        lit = table[first + int(value)]
        if lit >= 0:
            out[lit] = 1.0
    elif column >= 0:
        out[column] = min(max((value - mean) / scale, -MAX_DEVIATIONS), MAX_DEVIATIONS)


@compiled
def _context(
    raw: FloatArray,
    source: IntArray,
    column: IntArray,
    missing: IntArray,
    mean: FloatArray,
    scale: FloatArray,
    first: IntArray,
    table: IntArray,
    out: NDArray[np.float32],
) -> None:
    for i in range(raw.shape[0]):
        for f in range(len(source)):
            value = np.nan if source[f] == _ABSENT else raw[i, source[f]]
            _put(out[i], value, column[f], missing[f], mean[f], scale[f], first[f], table)


@compiled
def _candidates(
    message: IntArray,
    value: FloatArray,
    expires_hours: FloatArray,
    features: FloatArray,
    lit: IntArray,
    silence: int,
    source: IntArray,
    column: IntArray,
    missing: IntArray,
    mean: FloatArray,
    scale: FloatArray,
    first: IntArray,
    table: IntArray,
    out: NDArray[np.float32],
) -> None:
    for i in range(message.shape[0]):
        out[i, 0, silence] = 1.0
        for j in range(1, message.shape[1]):
            row = message[i, j]
            if row == PADDING:
                continue
            for b in range(lit.shape[1]):
                if lit[row, b] >= 0:
                    out[i, j, lit[row, b]] = 1.0
            for f in range(len(source)):
                s = source[f]
                if s == _ABSENT:
                    raw = np.nan
                elif s == _VALUE:
                    raw = value[i, j]
                elif s == _EXPIRES:
                    # The log keeps the moment in microseconds.
                    raw = np.rint(expires_hours[i, j] * HOUR_US) / HOUR_US
                    if not np.isnan(raw):
                        raw = min(max(raw, 0.0), MAX_HOURS)
                else:
                    raw = features[i, j, s]
                _put(out[i, j], raw, column[f], missing[f], mean[f], scale[f], first[f], table)
