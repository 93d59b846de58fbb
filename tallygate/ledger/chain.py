"""The chain that makes the journal tamper-evident, and the seal on each hold.

Every account starts from a hash of what it is (its opening) and every entry's hash covers the previous one:

    head 0      = sha256(opening)
    head n      = sha256(head n-1 | n | body of entry n)

The account row keeps the newest head. A changed byte anywhere breaks every hash from there on, and whoever kept an
older head elsewhere can tell that the past was rewritten. The store computes new heads in the same statement that moves
the money; the verifier computes them again here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from ..times import text
from .holds import JARS, Account, Hold, Posting

if TYPE_CHECKING:
    from hashlib import _Hash

_BETWEEN = "\n"
"""Stands between the fields of a body; no field may contain it."""


def opening(account: Account) -> str:
    """The head of an account without entries: a hash over everything about it that never changes."""
    return _digest(
        _BETWEEN.join(
            (
                account.id,
                f"job {account.job_id}"
                if account.budget_id is None
                else f"budget {account.budget_id} {account.job_id}",
                text(account.window.start),
                text(account.window.end),
                account.limit.currency,
                "hard" if account.hard else "soft",
            )
        )
    )


def body(posting: Posting) -> str:
    """The fields of an entry as one text, in the order of its columns."""
    source, target = JARS[posting.kind]
    return _BETWEEN.join(
        (
            posting.account_id,
            posting.job_id or "",
            posting.kind,
            str(posting.amount.nanos),
            source,
            target,
            posting.key,
            text(posting.at),
            posting.author,
            posting.reason,
        )
    )


def link(head: str, sequence: int, body_text: str) -> str:
    """The head after entry number ``sequence``, given the head before it."""
    return _digest(f"{head}|{sequence}|{body_text}")


def seal(hold: Hold) -> str:
    """A hash over every field of a hold, kept beside it: a flipped byte in the row no longer matches."""
    return _digest(
        _BETWEEN.join(
            (
                hold.account_id,
                hold.job_id,
                hold.amount.currency,
                f"{hold.amount.nanos} {hold.captured.nanos} {hold.released.nanos} {hold.spent.nanos} {hold.revision}",
                text(hold.expires_at),
                text(hold.opened_at),
                text(hold.closed_at) if hold.closed_at else "",
            )
        )
    )


def _digest(value: str) -> str:
    return _sha256()(value.encode()).hexdigest()


@cache
def _sha256() -> Callable[[bytes], _Hash]:
    from hashlib import sha256  # here, because it loads a library that commands which only read do not need

    return sha256
