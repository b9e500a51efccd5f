"""Random numbers by address: a draw is a function of (seed, user, step, stream), never of what was drawn before.

So a world is the same whatever the number of threads or the order of its users, and a user who gets another message
meets the same chance otherwise: the counterfactual twin.
"""

from __future__ import annotations

import math

import numpy as np

from homing.simulation.compiled import compiled_as

# Steele, Lea and Flood (2014), "Fast Splittable Pseudorandom Number Generators", OOPSLA, section 3: Weyl increment and
# the finaliser's multipliers (variant 13 of Stafford's mixers).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_TO_UNIT = 1.0 / 9007199254740992.0  # 2⁻⁵³
#: Beyond it exp(−mean) is no normal number, from which inversion could begin.
MOST_POISSON = 700.0


@compiled_as("uint64(uint64)")
def mix(h: np.uint64) -> np.uint64:
    """Scatter 64 bits: each bit of the result depends on all of `h`."""
    h = (h ^ (h >> _30)) * _MIX_1
    h = (h ^ (h >> _27)) * _MIX_2
    return h ^ (h >> _31)


@compiled_as("uint64(int64, int64, int64, int64)")
def bits(seed: int, user: int, step: int, stream: int) -> np.uint64:
    """64 random bits of an address."""
    h = mix(np.uint64(seed) + _GOLDEN)
    h = mix((h ^ np.uint64(user)) + _GOLDEN)
    h = mix((h ^ np.uint64(step)) + _GOLDEN)
    return mix((h ^ np.uint64(stream)) + _GOLDEN)


@compiled_as("float64(int64, int64, int64, int64)")
def uniform(seed: int, user: int, step: int, stream: int) -> float:
    """A number in [0, 1) with 53 random bits.

    Args:
        seed: of the world, >= 0.
        user: index of the user, >= 0.
        step: index of the step, >= 0.
        stream: what it is for, >= 0; each purpose has a number of its own.

    Example:
        >>> uniform(0, 1, 2, 3) == uniform(0, 1, 2, 3) != uniform(0, 1, 2, 4)
        True
    """
    return float(bits(seed, user, step, stream) >> _11) * _TO_UNIT


@compiled_as("float64(int64, int64, int64, int64)")
def normal(seed: int, user: int, step: int, stream: int) -> float:
    """A standard normal number (Box and Muller, 1958, "A Note on the Generation of Random Normal Deviates")."""
    h = bits(seed, user, step, stream)
    # 1 - u is in (0, 1]: its logarithm is finite.
    radius = math.sqrt(-2.0 * math.log(1.0 - float(h >> _11) * _TO_UNIT))
    return radius * math.cos(2.0 * math.pi * float(mix(h + _GOLDEN) >> _11) * _TO_UNIT)


@compiled_as("int64(float64, int64, int64, int64, int64)")
def poisson(mean: float, seed: int, user: int, step: int, stream: int) -> int:
    """A Poisson number by inversion, for means up to `MOST_POISSON` (Devroye, 1986, section X.3).

    Monotone in the mean for one address: more can only add.
    """
    u = uniform(seed, user, step, stream)
    term = math.exp(-mean)
    total = term
    count = 0
    while u >= total and term > 0.0:
        count += 1
        term *= mean / count
        total += term
    return count
