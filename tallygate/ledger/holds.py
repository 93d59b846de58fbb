"""The rules of the ledger: three jars, and the moves between them, as pure functions.

        limit  --fund-->    available  --authorize, extend------>  held  --capture-->  spent
               <--defund--     ^       <--trim, release, expire--        <--reverse--    |
                               |  --overrun (already spent, never refused)-------------->|
                               '--<-------------------------refund-----------------------'

Every function takes what is and answers what moves; nothing is written here. ``book`` carries the moves out inside a
transaction. The one decision that must hold against other launchers, whether an ``authorize`` or ``extend`` fits, is
not taken here but by the conditional write in the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from ..errors import HoldClosed, UsageError
from ..money import NANOS_MAX, Money
from ..times import Period, shown


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
    REVERSE = "reverse"


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
    EntryKind.REVERSE: (Jar.SPENT, Jar.HELD),
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

    ``scope`` is a path such as ``org/team/project/user``; a job charged to a path draws on every budget at that path
    and above it. ``hard`` budgets refuse; soft ones admit, and the excess is booked and shown.
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
    """One job's claim on one account; a job has at most one there.

    ``amount`` is what was authorized, extensions included; ``captured`` and ``released`` what has left the held jar for
    good, to be spent and to be available again; ``spent`` what the job has cost here so far, overruns and refunds
    included. ``revision`` counts its changes.
    """

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
class Posting:
    """An entry that has no place in the journal yet.

    ``job_id`` says whose hold it belongs to; None when only the limit moves. ``key`` is unique within the account: a
    repeat of the same act is the same key, and that of a hold's entry begins with its job's id and a colon. ``reason``
    is a sentence for people, empty where the kind says it all.
    """

    account_id: str
    job_id: str | None
    kind: EntryKind
    amount: Money
    key: str
    at: datetime
    author: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Posting):
    """One movement between two jars of one account. Never changed, never deleted.

    Account and sequence name it; ``sequence`` counts from 1. ``hash`` covers the previous entry's hash, the sequence and every
    field (see ``chain``).
    """

    sequence: int
    hash: str


def change(kind: EntryKind, amount: Money) -> tuple[int, int, int]:
    """What an entry adds to the limit, to the held and to the spent jar, in nano-units; available is the rest."""
    source, target = JARS[kind]
    limit, held, spent = ((target is jar) - (source is jar) for jar in (Jar.LIMIT, Jar.HELD, Jar.SPENT))
    return -limit * amount.nanos, held * amount.nanos, spent * amount.nanos


def missing(account: Account, amount: Money) -> Money:
    """How much room ``amount`` lacks on the account; zero when it fits, as it always does on a soft one."""
    lack = amount - account.available
    return Money.zero(amount.currency) if lack.nanos < 0 or not account.hard else lack


def extend(hold: Hold, amount: Money, *, expires_at: datetime | None) -> tuple[Hold, tuple[Move, ...]]:
    """Hold ``amount`` more for an open hold, and longer if a later ``expires_at`` is given.

    Whether the account has room is decided by the store.
    """
    _open(hold)
    _above_zero(amount)
    later = hold.expires_at if expires_at is None else max(hold.expires_at, expires_at)
    grown = _within_bounds(hold.amount + amount)
    return _revised(hold, amount=grown, expires_at=later), (Move(EntryKind.EXTEND, amount),)


def trim(hold: Hold, keep: Money) -> tuple[Hold, tuple[Move, ...]]:
    """Lower an open hold so that ``keep`` remains held. Keeping at least what remains moves nothing."""
    _open(hold)
    if keep.nanos < 0:
        raise UsageError(f"A hold cannot keep {keep.shown()} {keep.currency}", cure="Keep zero or more")
    surplus = hold.remaining - keep
    if surplus.nanos <= 0:
        return hold, ()
    return _revised(hold, released=hold.released + surplus), (Move(EntryKind.TRIM, surplus),)


def settle(hold: Hold, target: Money, *, final: bool, now: datetime) -> tuple[Hold, tuple[Move, ...]]:
    """Bring what the job has spent to ``target``, whatever it was before. The same target twice moves nothing more.

    More than before is captured from the hold and, beyond it, booked in full as an overrun. Less is given back: while
    the hold stays open, captured money goes back into the hold, because the job may still spend it; everything else is
    refunded. ``final`` also releases what the hold still keeps and closes it. Settling a closed hold is how a late or
    restated bill arrives.
    """
    _within_bounds(target)
    moves: list[Move] = []
    captured, released = hold.captured, hold.released
    stays_open = hold.is_open and not final
    if target > hold.spent:
        rise = target - hold.spent
        capture = min(rise, hold.remaining)
        captured += capture
        moves += _moves((EntryKind.CAPTURE, capture), (EntryKind.OVERRUN, rise - capture))
    elif target < hold.spent:
        fall = hold.spent - target
        # What was spent beyond the hold came out of the available jar and returns there first.
        beyond = _between(hold.spent - captured, fall) if stays_open else fall
        reverse = _between(captured, fall - beyond)
        captured -= reverse
        moves += _moves((EntryKind.REFUND, fall - reverse), (EntryKind.REVERSE, reverse))
    closed_at = hold.closed_at
    if final and hold.is_open:
        left = hold.amount - captured - released
        released += left
        moves += _moves((EntryKind.RELEASE, left))
        closed_at = now
    if not moves and closed_at == hold.closed_at:
        return hold, ()
    return _revised(hold, captured=captured, released=released, spent=target, closed_at=closed_at), tuple(moves)


def expire(hold: Hold, *, now: datetime) -> tuple[Hold, tuple[Move, ...]]:
    """Give back what nobody came for. The caller must know that no machine of the job can still bill."""
    _open(hold)
    if now < hold.expires_at:
        raise UsageError(
            f"The hold of job {hold.job_id} runs until {shown(hold.expires_at)} and cannot expire before",
            cure="Settle the job instead: that gives back what it did not use",
        )
    left = hold.remaining
    return _revised(hold, released=hold.released + left, closed_at=now), _moves((EntryKind.EXPIRE, left))


def checked_amount(amount: Money) -> Money:
    """``amount`` if it can be held: above zero and within the bounds of one row. Unknown is not zero."""
    _above_zero(amount)
    return _within_bounds(amount)


def _open(hold: Hold) -> None:
    if not hold.is_open:
        raise HoldClosed(f"The hold of job {hold.job_id} is closed with {hold.spent.shown()} spent")


def _above_zero(amount: Money) -> None:
    if amount.nanos <= 0:
        raise UsageError(f"{amount.shown()} {amount.currency} cannot be held", cure="State an amount above zero")


def _within_bounds(amount: Money) -> Money:
    if abs(amount.nanos) > NANOS_MAX:
        raise UsageError(f"{amount.shown()} {amount.currency} is beyond what one row of the journal can carry")
    return amount


def _between(amount: Money, most: Money) -> Money:
    """``amount``, but not below zero and not above ``most``."""
    return max(Money.zero(amount.currency), min(amount, most))


def _moves(*parts: tuple[EntryKind, Money]) -> tuple[Move, ...]:
    return tuple(Move(kind, amount) for kind, amount in parts if amount.nanos > 0)


def _revised(hold: Hold, **changes: object) -> Hold:
    return replace(hold, revision=hold.revision + 1, **changes)  # type: ignore[arg-type]
