"""The rules of the ledger: three jars, and the moves between them, as pure functions.

        limit  <--fund-->  available  --authorize, extend-->  held  --capture-->  spent
                               ^  <--trim, release, expire---'                     |
                               |  --overrun (already spent, never refused)-------->|
                               '--<---------------------refund--------------------'

Every function takes what is and answers what moves; nothing is written here. ``book`` carries the moves out inside a
transaction. The one decision that must hold against other launchers, whether an ``authorize`` or ``extend`` fits, is not
taken here but by the conditional write in the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from ..errors import HoldClosed, UsageError
from ..money import Money
from ..times import Period


class Jar(StrEnum):
    """Where money is. ``LIMIT`` is the outside world that funds a budget."""

    LIMIT = "limit"
    AVAILABLE = "available"
    HELD = "held"
    SPENT = "spent"


class EntryKind(StrEnum):
    """Why money moved."""

    FUND = "fund"
    DEFUND = "defund"
    AUTHORIZE = "authorize"
    EXTEND = "extend"
    TRIM = "trim"
    CAPTURE = "capture"
    OVERRUN = "overrun"
    RELEASE = "release"
    EXPIRE = "expire"
    REFUND = "refund"


JARS: Mapping[EntryKind, tuple[Jar, Jar]] = {
    EntryKind.FUND: (Jar.LIMIT, Jar.AVAILABLE),
    EntryKind.DEFUND: (Jar.AVAILABLE, Jar.LIMIT),
    EntryKind.AUTHORIZE: (Jar.AVAILABLE, Jar.HELD),
    EntryKind.EXTEND: (Jar.AVAILABLE, Jar.HELD),
    EntryKind.TRIM: (Jar.HELD, Jar.AVAILABLE),
    EntryKind.CAPTURE: (Jar.HELD, Jar.SPENT),
    EntryKind.OVERRUN: (Jar.AVAILABLE, Jar.SPENT),
    EntryKind.RELEASE: (Jar.HELD, Jar.AVAILABLE),
    EntryKind.EXPIRE: (Jar.HELD, Jar.AVAILABLE),
    EntryKind.REFUND: (Jar.SPENT, Jar.AVAILABLE),
}
"""Source and target jar of every kind of entry. An entry's amount is always positive."""


class BudgetPeriod(StrEnum):
    """How often a budget renews, in the budget's own time zone."""

    NONE = "none"
    DAY = "day"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit on what may be held and spent within a scope and a period.

    ``scope`` is a path such as ``org/team/project/user``; a job charged to a path draws on every budget at that path and
    above it. ``hard`` budgets refuse; soft ones admit, and the excess is booked and shown.
    """

    id: str
    name: str
    scope: str
    limit: Money
    period: BudgetPeriod = BudgetPeriod.NONE
    zone: str = "UTC"
    hard: bool = True
    alert_percents: tuple[int, ...] = (50, 80, 100)
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The three jars of one budget in one of its periods, or of one job.

    ``excess`` is how far held and spent together go beyond the limit: through an overrun, a lowered limit or a soft
    budget. It is never raised by an admission to a hard account.
    """

    id: str
    budget_id: str | None
    job_id: str | None
    window: Period
    hard: bool
    limit: Money
    held: Money
    spent: Money
    excess: Money
    entries: int
    head: str

    @property
    def available(self) -> Money:
        """What may still be held. Negative when the account is over-committed."""
        return self.limit - self.held - self.spent


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One job's claim on one account.

    ``amount`` is what was authorized, extensions included; ``captured`` and ``released`` what has left the held jar;
    ``spent`` what the job has cost here so far, overruns and refunds included. ``revision`` counts its changes.
    """

    id: str
    account_id: str
    job_id: str
    amount: Money
    captured: Money
    released: Money
    spent: Money
    expires_at: datetime
    opened_at: datetime
    closed_at: datetime | None = None
    revision: int = 0

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    @property
    def remaining(self) -> Money:
        """What the hold still keeps in the held jar."""
        return self.amount - self.captured - self.released


@dataclass(frozen=True, slots=True)
class Move:
    """One entry to be: a kind and a positive amount."""

    kind: EntryKind
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One movement between two jars of one account. Never changed, never deleted.

    ``sequence`` counts from 1 within the account. ``key`` is unique within the account: a repeat of the same act is the same
    key. ``hash`` is the SHA-256 of the previous entry's hash, the sequence and this entry's fields.
    """

    id: str
    account_id: str
    sequence: int
    hold_id: str | None
    kind: EntryKind
    amount: Money
    key: str
    at: datetime
    author: str
    reason: str
    hash: str


def trim(hold: Hold, keep: Money) -> tuple[Hold, tuple[Move, ...]]:
    """Lower an open hold so that ``keep`` remains held. Keeping at least what remains moves nothing."""
    _open(hold)
    if keep.nanos < 0:
        raise UsageError(f"A hold cannot keep {keep}")
    surplus = hold.remaining - keep
    if surplus.nanos <= 0:
        return hold, ()
    return _revised(hold, released=hold.released + surplus), (Move(EntryKind.TRIM, surplus),)


def settle(hold: Hold, target: Money, *, final: bool, now: datetime) -> tuple[Hold, tuple[Move, ...]]:
    """Bring what the job has spent to ``target``, whatever it was before.

    More than before is captured from the hold and, beyond it, booked in full as an overrun; less is refunded. ``final``
    also releases what the hold still keeps and closes it. Settling a closed hold is how a late or restated bill
    arrives. The same target twice moves nothing the second time.
    """
    moves: list[Move] = []
    rise = target - hold.spent
    captured, released = hold.captured, hold.released
    if rise.nanos > 0:
        capture = min(rise, hold.remaining) if hold.is_open else Money.zero(rise.currency)
        if capture.nanos > 0:
            moves.append(Move(EntryKind.CAPTURE, capture))
            captured += capture
        if rise > capture:
            moves.append(Move(EntryKind.OVERRUN, rise - capture))
    elif rise.nanos < 0:
        moves.append(Move(EntryKind.REFUND, -rise))
    closed_at = hold.closed_at
    if final and hold.is_open:
        left = hold.amount - captured - released
        if left.nanos > 0:
            moves.append(Move(EntryKind.RELEASE, left))
            released += left
        closed_at = now
    if not moves and closed_at == hold.closed_at:
        return hold, ()
    return _revised(hold, captured=captured, released=released, spent=target, closed_at=closed_at), tuple(moves)


def expire(hold: Hold, *, now: datetime) -> tuple[Hold, tuple[Move, ...]]:
    """Give back what nobody came for. The caller must know that no machine of the job can still bill."""
    _open(hold)
    if now < hold.expires_at:
        raise UsageError("A hold cannot expire before its time")
    left = hold.remaining
    closed = _revised(hold, released=hold.released + left, closed_at=now)
    return closed, (Move(EntryKind.EXPIRE, left),) if left.nanos > 0 else ()


def _open(hold: Hold) -> None:
    if not hold.is_open:
        raise HoldClosed(f"The hold of job {hold.job_id} is closed with {hold.spent} spent")


def _revised(hold: Hold, **changes: object) -> Hold:
    return replace(hold, revision=hold.revision + 1, **changes)  # type: ignore[arg-type]
