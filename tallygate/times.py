"""Time: UTC instants, half-open periods, and the clock that everything else is handed.

This is the only module that asks the wall clock. Stored text has a fixed width, so that instants sort as text.
"""

from __future__ import annotations

import time as _wall
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Protocol

from .errors import UsageError

YEAR_MIN, YEAR_MAX = 1970, 9998
"""Instants outside these years are refused: nothing we schedule or bill lies there, a corrupt file's dates do."""

HOURS_PER_MONTH = 730
"""The month that cloud price lists divide by."""


class Clock(Protocol):
    """Where time comes from. Tests and simulations bring their own."""

    def now(self) -> datetime:
        """This instant, in UTC, with its zone."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait. A simulated clock moves instead."""
        ...


class SystemClock:
    """The wall clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        _wall.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open span of UTC time: ``start`` is inside, ``end`` is not."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise UsageError("A period needs instants with a zone")
        if self.end < self.start:
            raise UsageError(f"A period cannot end ({text(self.end)}) before it starts ({text(self.start)})")

    @classmethod
    def last_days(cls, days: int, *, now: datetime) -> Period:
        """The ``days`` days up to ``now``, starting at a UTC midnight, today included."""
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(midnight - timedelta(days=days - 1), now)

    @classmethod
    def day(cls, day: date) -> Period:
        """The 24 hours of a UTC day."""
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return cls(start, start + timedelta(days=1))

    @classmethod
    def month(cls, at: datetime) -> Period:
        """The calendar month, in UTC, that ``at`` lies in."""
        start = at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return cls(start, (start + timedelta(days=31)).replace(day=1))

    @property
    def seconds(self) -> int:
        """Whole seconds inside, rounded up."""
        return -int((self.start - self.end) // timedelta(seconds=1))

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def months(self) -> list[Period]:
        """The calendar months, in UTC, that have time in it; the month of ``start`` when it is empty."""
        found = [Period.month(self.start)]
        while found[-1].end < self.end:
            found.append(Period.month(found[-1].end))
        return found

    def overlap(self, other: Period) -> Period | None:
        """The time in both, or None."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Period(start, end) if start < end else None


ALWAYS = Period(datetime(YEAR_MIN, 1, 1, tzinfo=UTC), datetime(YEAR_MAX + 1, 1, 1, tzinfo=UTC))
"""The period of a budget that never renews."""


@lru_cache(maxsize=64)  # one act writes the same few instants into several rows
def text(instant: datetime) -> str:
    """An instant as stored and shown to programs: ``2026-11-21T09:30:00.000000Z``, always 27 characters."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def shown(instant: datetime | None) -> str:
    """An instant for people: ``2026-11-21 09:30:00Z``; a dash when there is none."""
    return "-" if instant is None else instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def instant(value: str | datetime) -> datetime:
    """An instant from stored or foreign data: ISO 8601 text with a zone, or a ``datetime`` with one.

    Raises ``UsageError`` for text without a zone, other text, or a year outside ``YEAR_MIN``..``YEAR_MAX + 1``.
    """
    return _read(value) if isinstance(value, str) else _in_utc(value)


@lru_cache(maxsize=4096)  # rows that are read again and again hold the same few instants
def _read(value: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise UsageError(f"{value[:60]!r} is not a moment in time", cure="Write 2026-11-21T09:30:00Z") from None
    return _in_utc(found, value)


def _in_utc(found: datetime, value: str | datetime = "") -> datetime:
    value = value or found
    if found.tzinfo is None:
        raise UsageError(f"{value} names no time zone", cure="End it with Z for UTC")
    if not YEAR_MIN <= found.year <= YEAR_MAX + 1:
        raise UsageError(f"The year of {value} is outside {YEAR_MIN} to {YEAR_MAX}")
    return found.astimezone(UTC)


def maybe_instant(value: object) -> datetime | None:
    """``instant`` for a column that may be empty."""
    return None if value is None else instant(value)  # type: ignore[arg-type]


def duration(seconds: int) -> str:
    """Seconds for people: ``45 s``, ``12 min``, ``9 h 44 min``, ``3 d 4 h``; rounded down to what is shown."""
    if seconds < 60:
        return f"{seconds} s"
    minutes, _ = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    while parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count or (unit == "min" and len(parts) == 1))
