"""What interruptions cost in time: the work done twice, and getting going again.

A machine is taken back as a Poisson process does it, ``r`` times a second on average, however long it has been there. Work is
saved every ``c`` seconds of work; what was done since is done again, after ``R`` seconds of getting going, in which the next
machine may be taken back too. A stretch of ``s`` seconds between two savings then takes, on average,

    e^(rR) * (e^(rs) - 1) / r        (J. T. Daly, Future Generation Computer Systems 22, 2006)

and the work takes as many stretches as it has, the last one shorter. Work that is never saved is one stretch.
"""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from functools import lru_cache

from .spread import WEIGHT, Spread, mixed
from .student import MANY, student

_DIGITS = 50
_POINTS = 16
"""Into how many equally likely moments of interruption a stretch is cut."""

_EVEN = Decimal("0.02")
"""Where so few interruptions are to be expected, one is as likely at any moment as at any other."""

_KEPT = 40
"""How many values a sum of losses is kept in."""

_MANY = 40
"""Beyond so many interruptions they are no longer counted one by one."""

_SHARES = tuple((Decimal(i) + Decimal("0.5")) / _KEPT for i in range(_KEPT))

_NEGLIGIBLE = WEIGHT // 20_000
"""Weights below this are added to the case before."""


def expected_seconds(
    work_seconds: Decimal | int,
    per_hour: Decimal,
    checkpoint_seconds: Decimal | int | None,
    restart_seconds: Decimal | int,
) -> Decimal:
    """The machine seconds that ``work_seconds`` of work take on average, the first start not included.

    ``per_hour``: interruptions an hour. ``checkpoint_seconds``: seconds of work between two savings; None when nothing
    is saved. ``restart_seconds``: from one machine's end until the next one works, as far as it bills. Never less than
    the work.
    """
    work, restart = Decimal(work_seconds), Decimal(restart_seconds)
    if work < 0 or per_hour < 0 or restart < 0 or (checkpoint_seconds is not None and checkpoint_seconds <= 0):
        raise ValueError("Work, rate and restart must not be negative, and a checkpoint interval must be above zero")
    if per_hour == 0 or work == 0:
        return work
    with localcontext(Context(prec=_DIGITS)):
        rate = per_hour / 3600
        full, last = (Decimal(0), work) if checkpoint_seconds is None else divmod(work, Decimal(checkpoint_seconds))
        stretches = _on_average(rate, last)
        if full and checkpoint_seconds is not None:
            stretches += full * _on_average(rate, Decimal(checkpoint_seconds))
        found = max(work, (rate * restart).exp() * stretches)
    return +found


def _on_average(rate: Decimal, seconds: Decimal) -> Decimal:
    """What an unbroken stretch of ``seconds`` takes on average when trying again costs nothing."""
    return ((rate * seconds).exp() - 1) / rate


def lost_seconds(
    work_seconds: int, per_hour: Decimal, checkpoint_seconds: int | None, restart_seconds: int, *, at_most: int
) -> Spread:
    """The spread of the seconds beyond the work: lost work, and getting going again. What lies above ``at_most`` is there.

    The same process as ``expected_seconds``, cut into a few equally likely moments, so its mean is the same within a percent.
    """
    if per_hour == 0 or work_seconds <= 0:
        return Spread.certain(0)
    rate = per_hour / 3600
    step = work_seconds if checkpoint_seconds is None else min(checkpoint_seconds, work_seconds)
    broken = _broken_stretch(rate, step, restart_seconds, at_most)
    odds = 1 - (-rate * step).exp()
    stretches = Decimal(work_seconds) / step  # a last, shorter one counts as its part
    if stretches * odds > _MANY:
        return _very_many(broken, stretches, odds).at_most(at_most)
    none = (-rate * work_seconds).exp()
    cases: list[tuple[Spread, int]] = [(Spread.certain(0), int(none * WEIGHT))]
    left, chance, so_far = WEIGHT - cases[0][1], none, Spread.certain(0)
    for count in range(1, 10_000):
        if left <= _NEGLIGIBLE or so_far.values[0] >= at_most:
            break
        # The binomial chances of ``count`` broken stretches, one from the other.
        chance = chance * max(stretches - count + 1, Decimal(0)) * odds / (count * (1 - odds)) if odds < 1 else none
        so_far = so_far.plus(broken).at_most(at_most).thinned(_KEPT).scaled()
        weight = min(int(chance * WEIGHT), left) if stretches > count else left
        cases.append((so_far, weight))
        left -= weight
    if left > 0:
        cases.append((so_far, left))
    return mixed(cases)


@lru_cache(maxsize=64)
def _broken_stretch(rate: Decimal, step: int, restart: int, at_most: int) -> Spread:
    """The seconds lost in a stretch that is broken at least once, until it is done."""
    again = restart + step
    first = _moments(rate, step).shifted(restart)
    later = _moments(rate, again)
    breaks = 1 - (-rate * again).exp()
    cases: list[tuple[Spread, int]] = []
    left, chance, so_far = WEIGHT, 1 - breaks, first.at_most(at_most)
    while left > _NEGLIGIBLE and so_far.values[0] < at_most and len(cases) < _MANY:
        weight = min(int(chance * WEIGHT), left)
        cases.append((so_far, weight))
        left, chance = left - weight, chance * breaks
        so_far = so_far.plus(later).at_most(at_most).thinned(_KEPT).scaled()
    # Whoever was broken so often will be broken as often again as anybody: what is still to come forgets what was.
    mean = min(later.mean / (1 - breaks), Decimal(at_most)) if breaks < 1 else Decimal(at_most)
    to_come = Spread.of((int(-(1 - share).ln() * mean), 1) for share in _SHARES)
    cases.append((so_far.plus(to_come).at_most(at_most) if left > _NEGLIGIBLE else so_far, left))
    return mixed(cases).thinned(_KEPT).scaled()


def _very_many(broken: Spread, stretches: Decimal, odds: Decimal) -> Spread:
    """The sum of so many losses that it is a bell curve."""
    mean, count = broken.mean, stretches * odds
    spread = sum((weight * (value - mean) ** 2 for value, weight in broken.points), Decimal(0)) / sum(broken.weights)
    width = (count * (spread + (1 - odds) * mean**2)).sqrt()
    return Spread.of((max(0, int(count * mean + width * student(share, MANY))), 1) for share in _SHARES)


def _moments(rate: Decimal, within: int) -> Spread:
    """When an interruption comes that comes within so many seconds."""
    if rate * within < _EVEN:
        return Spread.of((within * (2 * i + 1) // (2 * _POINTS), 1) for i in range(_POINTS))
    odds = 1 - (-rate * within).exp()
    return Spread.of((int(-(1 - odds * (2 * i + 1) / (2 * _POINTS)).ln() / rate), 1) for i in range(_POINTS))
