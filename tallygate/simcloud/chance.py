"""Seeded randomness in streams by name, so that one draw more in one place shifts nothing in another.

Whole numbers only: the same seed gives the same draws on every machine and Python version.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TypeVar

_Any = TypeVar("_Any")

_MASK = 2**64 - 1
_STEP = 0x9E3779B97F4A7C15

MILLION = 1_000_000
"""Probabilities are whole numbers out of a million."""


class Stream:
    """One stream of random numbers: SplitMix64 (Steele, Lea and Flood, 2014), started from a seed and a name.

    It has the ``bytes`` that ``ids.Entropy`` asks for.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int, name: str) -> None:
        self._state = int.from_bytes(sha256(f"{seed}/{name}".encode()).digest()[:8], "big")

    def word(self) -> int:
        """64 random bits."""
        self._state = state = (self._state + _STEP) & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        return state ^ (state >> 31)

    def below(self, count: int) -> int:
        """A whole number from 0 to ``count - 1``."""
        return self.word() * count >> 64

    def between(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both possible."""
        return low + (self.word() * (high - low + 1) >> 64)

    def chance(self, per_million: int) -> bool:
        """True ``per_million`` times in a million. One draw, whatever the answer.

        The same as ``below``, written out: a simulated hour asks this thousands of times.
        """
        self._state = state = (self._state + _STEP) & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        return (state ^ (state >> 31)) * MILLION >> 64 < per_million

    def pick(self, choices: Sequence[_Any]) -> _Any:
        return choices[self.below(len(choices))]

    def spread(self, low: int, high: int) -> int:
        """A whole number from ``low`` (above 0) to ``high``, every doubling about equally likely: durations, sizes."""
        octaves = max(1, (high // low).bit_length())
        bottom = min(low << self.below(octaves), high)
        return self.between(bottom, min(bottom * 2, high))

    def bytes(self, count: int) -> bytes:
        words = -(-count // 8)
        return b"".join(self.word().to_bytes(8, "big") for _ in range(words))[:count]
