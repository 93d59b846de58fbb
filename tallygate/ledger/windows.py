"""The windows of a budget that renews: days, months, quarters and years of its own time zone.

A window runs from one local midnight up to, not including, a later one, and is kept as UTC instants. A day is therefore
23 or 25 hours long when clocks change, and every instant lies in exactly one window of a kind.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache

from ..errors import ConfigError, UsageError
from ..times import ALWAYS, YEAR_MAX, YEAR_MIN, Period
from .holds import BudgetPeriod

_QUARTER_MONTHS = 3
_YEAR_MONTHS = 12
_MONTHS = {BudgetPeriod.MONTH: 1, BudgetPeriod.QUARTER: _QUARTER_MONTHS, BudgetPeriod.YEAR: _YEAR_MONTHS}


def window(period: BudgetPeriod, zone: str, at: datetime) -> Period:
    """The window of ``period`` in ``zone`` that contains ``at``. Raises ``ConfigError`` for a zone nobody knows."""
    if period is BudgetPeriod.NONE:
        return ALWAYS
    if not YEAR_MIN < at.year < YEAR_MAX:
        raise UsageError(f"No budget has a window in the year {at.year}")
    local = zone_named(zone)
    first = _first_day(period, at.astimezone(local).date())
    start, end = _midnight(first, local), _midnight(_next(period, first), local)
    # Where clocks go back across midnight, the local date of an instant can belong to a window that is already over.
    while at >= end:
        first = _next(period, first)
        start, end = end, _midnight(_next(period, first), local)
    return Period(start, end)


def label(period: BudgetPeriod, zone: str, start: datetime) -> str:
    """What people call a window: ``2026-03-01``, ``2026-03``, ``2026-Q1``, ``2026``; nothing for one without end."""
    if period is BudgetPeriod.NONE:
        return ""
    # Noon of the first day: midnight itself may be skipped by the clocks.
    day = (start + timedelta(hours=12)).astimezone(zone_named(zone)).date()
    if period is BudgetPeriod.DAY:
        return day.isoformat()
    if period is BudgetPeriod.MONTH:
        return f"{day:%Y-%m}"
    if period is BudgetPeriod.QUARTER:
        return f"{day.year}-Q{(day.month - 1) // _QUARTER_MONTHS + 1}"
    return str(day.year)


@lru_cache(maxsize=64)
def zone_named(name: str) -> tzinfo:
    """The time zone called ``name``, such as ``Europe/Berlin``. Raises ``ConfigError``."""
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # here, because it reads files and most commands need only UTC

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigError(
            f"{name[:60]!r} is not a time zone", cure="Use a name from the tz database, such as Europe/Berlin, or UTC"
        ) from None


def _first_day(period: BudgetPeriod, day: date) -> date:
    if period is BudgetPeriod.DAY:
        return day
    months = _MONTHS[period]
    return date(day.year, (day.month - 1) // months * months + 1, 1)


def _next(period: BudgetPeriod, first: date) -> date:
    if period is BudgetPeriod.DAY:
        return first + timedelta(days=1)
    months = first.month - 1 + _MONTHS[period]
    return date(first.year + months // _YEAR_MONTHS, months % _YEAR_MONTHS + 1, 1)


def _midnight(day: date, zone: tzinfo) -> datetime:
    # Of a midnight that comes twice this is the first; of one that the clocks skip, the moment of the skip.
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
