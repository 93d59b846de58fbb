"""What a price did, and what that says of the hours to come.

observed    0.31 ---.   .---.        the same stretch of time, begun at many past moments at which the price stood
                     '-'     '--     about where it stands now: each is one way in which it may go on from here
standing    0.31 -------------       one price and nothing behind it: it is taken to stand still, and that is said
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Protocol

from ..money import Money
from ..times import Period
from .history import Path
from .source import Observation
from .spread import Spread

_BEGINNINGS = 48
"""From how many past moments the way on is read off."""

_NEAR_PERCENT = 4
"""A past price so many percent from today's counts half as much as one that equals it; one farther off, less."""

_SECOND = timedelta(seconds=1)


class PricePath(Protocol):
    """The hourly price of one pool over the time in which it was observed."""

    @property
    def observed(self) -> Period:
        """From the first observation to the last moment for which the price is known. Empty for a single price."""
        ...

    def price_at(self, at: datetime) -> Money:
        """The price in force at a moment of ``observed``."""
        ...

    def average(self, start: datetime, seconds: int, *, at_most: Money) -> Money:
        """The mean price over ``seconds`` from ``start``, or as far as it is known; above ``at_most`` it counts as that."""
        ...

    def passes(self, ceiling: Money) -> int:
        """How often the price rose from ``ceiling`` or below to above it."""
        ...


@dataclass(frozen=True, slots=True)
class StandingPrice:
    """A single price, of a moment."""

    price: Money
    at: datetime

    @property
    def observed(self) -> Period:
        return Period(self.at, self.at)

    def price_at(self, at: datetime) -> Money:
        return self.price

    def average(self, start: datetime, seconds: int, *, at_most: Money) -> Money:
        return min(self.price, at_most)

    def passes(self, ceiling: Money) -> int:
        return 0


class ObservedPrices:
    """A path of steps, each in force until the next. ``until``: how far the last one is known to have stood."""

    def __init__(self, steps: Sequence[tuple[datetime, Money]], *, until: datetime) -> None:
        ordered = sorted(steps, key=lambda step: step[0])
        if not ordered or until < ordered[-1][0]:
            raise ValueError("A price path needs a step, and an end that is not before its last one")
        self._currency = ordered[0][1].currency
        self._start = ordered[0][0]
        self._at = [(at - self._start) // _SECOND for at, _ in ordered]
        self._nanos = [price.nanos for _, price in ordered]
        self._end = (until - self._start) // _SECOND
        self._sums: dict[int, tuple[list[int], list[int]]] = {}

    @classmethod
    def of(cls, observations: Sequence[Observation], *, until: datetime) -> ObservedPrices:
        """From the observations of one pool."""
        return cls([(each.at, each.hourly_price) for each in observations], until=until)

    @classmethod
    def along(cls, path: Path) -> ObservedPrices | None:
        """From a path of the price history; where it is unknown the price before stands. None when all of it is unknown."""
        last = path.last
        steps = [(span.start, span.price) for span in path.spans if span.price is not None]
        return None if last is None else cls(steps, until=last.end)

    @property
    def observed(self) -> Period:
        return Period(self._start, self._start + timedelta(seconds=self._end))

    def price_at(self, at: datetime) -> Money:
        return Money(self._nanos[self._step(self._second(at))], self._currency)

    def average(self, start: datetime, seconds: int, *, at_most: Money) -> Money:
        begin = self._second(start)
        end = min(begin + max(seconds, 1), max(self._end, begin + 1))
        total = self._up_to(end, at_most.nanos) - self._up_to(begin, at_most.nanos)
        length = end - begin
        return Money((total + length // 2) // length, self._currency)

    def passes(self, ceiling: Money) -> int:
        return sum(before <= ceiling.nanos < after for before, after in pairwise(self._nanos))

    def _second(self, at: datetime) -> int:
        return max(0, (at - self._start) // _SECOND)

    def _step(self, second: int) -> int:
        return max(0, bisect_right(self._at, second) - 1)

    def _up_to(self, second: int, most: int) -> int:
        """The sum of the price of every second up to one, in nanos an hour."""
        found = self._sums.get(most)
        if found is None:
            capped, sums, total = [min(each, most) for each in self._nanos], [0], 0
            for price, (since, upto) in zip(capped, pairwise(self._at), strict=False):
                total += price * (upto - since)
                sums.append(total)
            found = self._sums[most] = capped, sums
        capped, sums = found
        step = self._step(second)
        return sums[step] + capped[step] * (second - self._at[step])


def coming(path: PricePath, today: Money, seconds: int, *, at_most: Money) -> Spread:
    """The mean hourly price over the coming ``seconds``, in nanos, as the past of the pool has it.

    Every past beginning tells by what factor the price moved from where it stood; the factor is applied to today's price.
    """
    period = path.observed
    length = (period.end - period.start) // _SECOND
    if length < 2:
        return Spread.certain(min(today, at_most).nanos)
    last = max(1, length - min(seconds, length // 2))
    points = []
    for i in range(_BEGINNINGS):
        start = period.start + timedelta(seconds=last * i // _BEGINNINGS)
        stood = path.price_at(start)
        off = Decimal(abs(stood.nanos - today.nanos)) / today.nanos * 100 / _NEAR_PERCENT
        weight = int(1_000_000 / (1 + off * off)) + 1
        # What stood above the ceiling then is no beginning for a machine that runs below it.
        ceiling = Money(at_most.nanos * stood.nanos // today.nanos, stood.currency)
        mean = path.average(start, seconds, at_most=max(ceiling, stood))
        points.append((min(mean.nanos * today.nanos // stood.nanos, at_most.nanos), weight))
    return Spread.of(points)


def passes_per_hour(path: PricePath, ceiling: Money) -> Decimal:
    """How often an hour the price rose above ``ceiling`` and the machine would have been taken back for it."""
    period = path.observed
    hours = Decimal((period.end - period.start) // _SECOND) / 3600
    return Decimal(path.passes(ceiling)) / hours if hours > 0 else Decimal(0)


def days(path: PricePath) -> Decimal:
    """How many days of prices are behind it, to a tenth."""
    period = path.observed
    return (Decimal((period.end - period.start) // _SECOND) / 86_400).quantize(Decimal("0.1"))
