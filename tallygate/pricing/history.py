"""What prices have been: the path of a pool over a window, and what can be said about it.

    observations   0.31       0.34    none      0.30
                   |----------|-------|---------|--------
    readings       *===*==*=====*===*           *===*        each vouches for a day, or back to where it reaches
    path           0.31       0.34  ?            0.30 ?

A price counts only where a reading of its market vouches for it. Where nobody looked for more than a day the path is unknown,
and it is unknown while a pool was not for sale. Everything here is computed in whole nanos and microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from ..money import Money
from ..times import Period
from .offers import PurchaseOption

VOUCHED = timedelta(hours=24)
"""How long a reading vouches for the prices it saw. The default age at which the gate refuses a price is the same."""

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Pool:
    """One machine type in one place, bought in one way: what has a price. ``zone`` is empty where the region has one price."""

    provider: str
    region: str
    zone: str
    instance_type: str
    purchase_option: PurchaseOption

    def __str__(self) -> str:
        return f"{self.provider} {self.zone or self.region} {self.purchase_option.value}"


@dataclass(frozen=True, slots=True)
class Change:
    """From ``at`` on the price is this; None: there is none."""

    at: datetime
    price: Money | None


@dataclass(frozen=True, slots=True)
class Vouched:
    """A reading at ``at`` that says what prices were from ``since`` on; a mere look at the market has both the same."""

    since: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a path, half-open, with one price, or with none known."""

    start: datetime
    end: datetime
    price: Money | None

    @property
    def microseconds(self) -> int:
        return (self.end - self.start) // _MICROSECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The price of a pool over a window: spans without gap or overlap. ``confirmed_at``: when its market was last read."""

    pool: Pool
    window: Period
    spans: tuple[Span, ...]
    confirmed_at: datetime | None

    def price_at(self, at: datetime) -> Money | None:
        """The price at an instant of the window; None when unknown."""
        return next((span.price for span in self.spans if span.start <= at < span.end), None)

    @property
    def last(self) -> Span | None:
        """The last span with a known price."""
        return next((span for span in reversed(self.spans) if span.price is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What a path says. Shares are of the time that is known, except ``coverage``, which is the known share of the window.

    ``p50`` and ``p95``: the lowest price that was not passed for that share of the time. ``below``: the share of time at less
    than the threshold; None without one. ``changes``: how often the price moved from one known value to another.

    ``volatility``: the mean over neighbouring days of |today - yesterday| / the larger of the two, where a day's price is the one
    at its end (UTC). It lies between 0 and 1. Chosen over the deviation of logarithms because there one jump tenfold outweighs a
    hundred quiet days by its square; here it counts as one move of 90 %, up and down alike, and it needs no rounding. None when
    no two neighbouring days are known.
    """

    p50: Money | None
    p95: Money | None
    low: Money | None
    high: Money | None
    below: Fraction | None
    volatility: Fraction | None
    changes: int
    coverage: Fraction


def path(pool: Pool, changes: Iterable[Change], readings: Sequence[Vouched], window: Period) -> Path:
    """The path that ``changes``, in order of time, describe, as far as ``readings`` vouch for them."""
    vouched = _together(readings, window)
    spans: list[Span] = []
    for span in _in_force(changes, window):
        _add_known(spans, span, vouched)
    confirmed = max((each.at for each in readings), default=None)
    return Path(pool=pool, window=window, spans=tuple(_without_gaps(spans, window)), confirmed_at=confirmed)


def statistics(path: Path, *, below: Money | None = None) -> Statistics:
    """The statistics of a path, the time below ``below`` included when it is given."""
    known = [span for span in path.spans if span.price is not None]
    time_at: dict[int, int] = {}
    for span in known:
        assert span.price is not None
        time_at[span.price.nanos] = time_at.get(span.price.nanos, 0) + span.microseconds
    whole = sum(time_at.values())
    wanted = (path.window.end - path.window.start) // _MICROSECOND
    currency = known[0].price.currency if known and known[0].price is not None else "USD"
    share = None
    if below is not None and whole:
        share = Fraction(sum(time for nanos, time in time_at.items() if Money(nanos, currency) < below), whole)
    return Statistics(
        p50=_quantile(time_at, 50, currency),
        p95=_quantile(time_at, 95, currency),
        low=Money(min(time_at), currency) if time_at else None,
        high=Money(max(time_at), currency) if time_at else None,
        below=share,
        volatility=volatility(path),
        changes=_moves(known),
        coverage=Fraction(whole, wanted) if wanted else Fraction(0),
    )


def volatility(path: Path) -> Fraction | None:
    """See ``Statistics``."""
    prices = _daily(path)
    moves = [
        Fraction(abs(today - yesterday), max(today, yesterday))
        for yesterday, today in pairwise(prices)
        if yesterday is not None and today is not None
    ]
    return sum(moves, Fraction(0)) / len(moves) if moves else None


def percent(share: Fraction | None, places: int = 1) -> Decimal | None:
    """A share in percent, rounded half to even."""
    if share is None:
        return None
    unit = 10**places
    return Decimal(round(share * 100 * unit)).scaleb(-places)


# --- inside


def _in_force(changes: Iterable[Change], window: Period) -> list[Span]:
    """The priced spans within the window, whoever vouches."""
    ordered = list(changes)
    spans = []
    for place, change in enumerate(ordered):
        end = ordered[place + 1].at if place + 1 < len(ordered) else window.end
        start, end = max(change.at, window.start), min(end, window.end)
        if change.price is not None and start < end:
            spans.append(Span(start, end, change.price))
    return spans


def _together(readings: Sequence[Vouched], window: Period) -> list[tuple[datetime, datetime]]:
    """The parts of the window that readings vouch for, overlapping ones made one."""
    joined: list[tuple[datetime, datetime]] = []
    for since, end in sorted((each.since, each.at + VOUCHED) for each in readings):
        start, end = max(since, window.start), min(end, window.end)
        if start >= end:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _add_known(spans: list[Span], span: Span, vouched: Iterable[tuple[datetime, datetime]]) -> None:
    for start, end in vouched:
        start, end = max(start, span.start), min(end, span.end)
        if start >= end:
            continue
        if spans and spans[-1].end == start and spans[-1].price == span.price:
            spans[-1] = Span(spans[-1].start, end, span.price)
        else:
            spans.append(Span(start, end, span.price))


def _without_gaps(spans: Iterable[Span], window: Period) -> list[Span]:
    filled: list[Span] = []
    upto = window.start
    for span in spans:
        if upto < span.start:
            filled.append(Span(upto, span.start, None))
        filled.append(span)
        upto = span.end
    if upto < window.end:
        filled.append(Span(upto, window.end, None))
    return filled


def _quantile(time_at: dict[int, int], percent: int, currency: str) -> Money | None:
    """The lowest price at or below which at least ``percent`` of the known time was spent."""
    whole, passed = sum(time_at.values()), 0
    for nanos in sorted(time_at):
        passed += time_at[nanos]
        if passed * 100 >= whole * percent:
            return Money(nanos, currency)
    return None


def _moves(known: Sequence[Span]) -> int:
    return sum(former.price != latter.price for former, latter in pairwise(known))


def _daily(path: Path) -> list[int | None]:
    """The price at the end of every UTC day of the window, the last day's at the window's end."""
    found: list[int | None] = []
    day = path.window.start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    spans, place = path.spans, 0
    while day < path.window.end:
        day += timedelta(days=1)
        moment = min(day, path.window.end) - _MICROSECOND
        while place < len(spans) and spans[place].end <= moment:
            place += 1
        price = spans[place].price if place < len(spans) else None
        found.append(None if price is None else price.nanos)
    return found
