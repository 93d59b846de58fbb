"""A spread: whole numbers that could be, each with a weight. What probability is computed with here.

No random numbers: two quotes of the same facts are the same quote.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from itertools import accumulate
from typing import Self

WEIGHT = 10**12
"""What the weights of a share of 1 come to. A spread's own weights may come to anything above zero."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Values in ascending order and their weights, all above zero."""

    values: tuple[int, ...]
    weights: tuple[int, ...]

    @classmethod
    def of(cls, points: Iterable[tuple[int, int]]) -> Self:
        """From values and weights in any order; equal values become one, and weights of zero are left out."""
        gathered: dict[int, int] = {}
        for value, weight in points:
            gathered[value] = gathered.get(value, 0) + weight
        ordered = sorted((value, weight) for value, weight in gathered.items() if weight > 0)
        if not ordered:
            raise ValueError("A spread needs at least one value with a weight")
        return cls(tuple(value for value, _ in ordered), tuple(weight for _, weight in ordered))

    @classmethod
    def certain(cls, value: int) -> Self:
        return cls((value,), (WEIGHT,))

    @property
    def points(self) -> Iterable[tuple[int, int]]:
        return zip(self.values, self.weights, strict=True)

    @property
    def mean(self) -> Decimal:
        return Decimal(sum(value * weight for value, weight in self.points)) / sum(self.weights)

    def quantile(self, share: Decimal) -> int:
        """The smallest value that at least ``share`` of the weight does not exceed."""
        sums = list(accumulate(self.weights))
        wanted = int((share * sums[-1]).to_integral_value(ROUND_CEILING))
        return self.values[min(bisect_left(sums, wanted), len(sums) - 1)]

    def share_up_to(self, most: int) -> Decimal:
        """The share of the weight that lies at ``most`` or below."""
        return Decimal(sum(self.weights[: bisect_right(self.values, most)])) / sum(self.weights)

    def shifted(self, by: int) -> Self:
        return type(self)(tuple(value + by for value in self.values), self.weights)

    def at_most(self, most: int) -> Self:
        """What lies above ``most`` is moved there."""
        return self if self.values[-1] <= most else self.of((min(value, most), weight) for value, weight in self.points)

    def plus(self, other: Self) -> Self:
        """The spread of the sum of two values that know nothing of each other."""
        return self.of((a + b, v * w) for a, v in self.points for b, w in other.points)

    def thinned(self, most: int) -> Self:
        """About the same with at most ``most`` values: neighbours become one at their mean, so that the mean stays."""
        if len(self.values) <= most:
            return self
        share = -(-sum(self.weights) // most)
        points: list[tuple[int, int]] = []
        total = weight = 0
        for value, own in self.points:
            if weight and weight + own > share:
                points.append(_mean(total, weight))
                total = weight = 0
            total, weight = total + value * own, weight + own
        points.append(_mean(total, weight))
        if len(points) <= most:
            return self.of(points)
        return self.of(points).thinned_by_pairs(most)

    def thinned_by_pairs(self, most: int) -> Self:
        """Neighbours two by two, until there are few enough."""
        spread = self
        while len(spread.values) > most:
            pairs = list(spread.points)
            joined = [
                _mean(sum(v * w for v, w in pairs[i : i + 2]), sum(w for _, w in pairs[i : i + 2]))
                for i in range(0, len(pairs), 2)
            ]
            spread = self.of(joined)
        return spread

    def scaled(self, to: int = WEIGHT) -> Self:
        """The same with weights that come to about ``to``: sums of products grow otherwise. No value is lost."""
        whole = sum(self.weights)
        return self.of((value, max(1, weight * to // whole)) for value, weight in self.points)


def mixed(parts: Iterable[tuple[Spread, int]]) -> Spread:
    """One of several spreads, each with its weight."""
    return Spread.of(
        (value, weight * share // sum(spread.weights)) for spread, share in parts for value, weight in spread.points
    )


def _mean(total: int, weight: int) -> tuple[int, int]:
    return (total + weight // 2) // weight, weight
