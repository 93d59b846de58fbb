"""Versions of a bill, and which of them counts.

A delivery is one source's bill for one period as it stood at one moment. Every delivery is kept as a version. Which one is
current does not depend on the order in which they came: they are put in the order in which they were issued, each is
checked against the last good one before it, and the last good one of all is current.

    issued   1 Mar        2 Mar          3 Mar         4 Mar
             good    -->  good      -->  half missing   good
             superseded   superseded     quarantined    current
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from ..money import Money
from ..times import Period


class VersionState(StrEnum):
    """Whether a version counts. ``QUARANTINED``: it failed a check and nobody has accepted it."""

    CURRENT = "current"
    SUPERSEDED = "superseded"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class DayTotal:
    """What a version comes to on one day in one currency, and over how many lines."""

    day: date
    lines: int
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One kept delivery.

    ``issued_at`` is when the source stood behind it and ``complete_through`` how far it called its figures complete.
    ``digest`` is a fingerprint of the rows whatever their order. ``path`` and ``file_sha256`` are of the file they are in.
    ``accepted``: a person wants it to count whatever the checks say. ``flaw`` is what is wrong with it by itself (fewer
    rows came than were announced), empty when nothing is; ``note`` is why it is quarantined.
    """

    id: str
    source: str
    period: Period
    number: int
    state: VersionState
    row_count: int
    digest: str
    path: str
    file_sha256: str
    issued_at: datetime
    complete_through: datetime
    retrieved_at: datetime
    accepted: bool = False
    flaw: str = ""
    note: str = ""
    days: tuple[DayTotal, ...] = field(default=(), repr=False)

    def totals(self) -> dict[str, Money]:
        """The control total of each currency."""
        found: dict[str, Money] = {}
        for day in self.days:
            currency = day.amount.currency
            found[currency] = found.get(currency, Money.zero(currency)) + day.amount
        return found


@dataclass(frozen=True, slots=True)
class Band:
    """How far the complete days of a bill may move at once before a person has to look.

    A change counts as odd when it is more than ``percent`` of what was known and more than ``amount_min`` (in whole
    units of any currency, so that cents do not stop a bill).
    """

    percent: Decimal = Decimal(50)
    amount_min: Decimal = Decimal(1)


def judge(versions: Iterable[Version], band: Band) -> list[Version]:
    """The versions of one period of one source with the states they should have, in the order they were issued."""
    ordered = sorted(versions, key=issue_order)
    judged: list[Version] = []
    current: int | None = None
    for version in ordered:
        problem = "" if version.accepted else _problem(version, None if current is None else judged[current], band)
        if problem:
            judged.append(replace(version, state=VersionState.QUARANTINED, note=problem))
            continue
        if current is not None:
            judged[current] = replace(judged[current], state=VersionState.SUPERSEDED)
        current = len(judged)
        judged.append(replace(version, state=VersionState.CURRENT, note=""))
    return judged


def issue_order(version: Version) -> tuple[datetime, datetime, str, str]:
    """Sorts versions as they were issued, and by what is in them where that does not tell: never as they came."""
    return version.issued_at, version.complete_through, version.digest, version.flaw


def _problem(version: Version, before: Version | None, band: Band) -> str:
    """Why ``version`` must not count after ``before``; empty when it may."""
    if version.flaw or before is None or version.digest == before.digest:
        return version.flaw
    missing = {day.day for day in before.days} - {day.day for day in version.days}
    if missing:
        return f"it is shorter than before: {len(missing)} days are gone, the first is {min(missing)}"
    then, now = _complete(before, before.complete_through), _complete(version, before.complete_through)
    for currency in sorted({*then, *now}):
        old, new = then.get(currency, Decimal(0)), now.get(currency, Decimal(0))
        change = abs(new - old)
        if change > band.amount_min and change * 100 > abs(old) * band.percent:
            return (
                f"days that were complete went from {old:f} to {new:f} {currency}, "
                f"more than {band.percent:f} percent of what was known"
            )
    return ""


def _complete(version: Version, through: datetime) -> Mapping[str, Decimal]:
    """What the days that had ended by ``through`` come to, by currency."""
    found: dict[str, Decimal] = {}
    for day in version.days:
        if Period.day(day.day).end <= through:
            found[day.amount.currency] = found.get(day.amount.currency, Decimal(0)) + day.amount.decimal
    return found


def current(versions: Sequence[Version]) -> Version | None:
    """The version that counts, if any does."""
    return next((each for each in versions if each.state is VersionState.CURRENT), None)
