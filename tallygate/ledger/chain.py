"""The chain that makes the journal tamper-evident, and the seal on each hold.

Every account starts from a hash of what it is (its opening) and every entry's hash covers the previous one:

    head 0      = sha256(opening)
    head n      = sha256(head n-1 | n | body of entry n)

The account row keeps the newest head. A changed byte anywhere breaks every hash from there on, and whoever kept an
older head elsewhere can tell that the past was rewritten. The store computes new heads in the same statement that moves
the money. The verifier has the database put the stored columns together into the same texts, exactly as they are stored.
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
    return digest(
        _BETWEEN.join(
            (
                account.id,
                _maybe(account.budget_id),
                _maybe(account.job_id),
                text(account.window.start),
                text(account.window.end),
                account.limit.currency,
                "1" if account.hard else "0",
            )
        )
    )


def body(posting: Posting) -> str:
    """The fields of an entry as one text, in the order of its columns."""
    source, target = JARS[posting.kind]
    return _BETWEEN.join(
        (
            posting.account_id,
            _maybe(posting.job_id),
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
    return digest(f"{head}|{sequence}|{body_text}")


def seal(hold: Hold) -> str:
    """A hash over every field of a hold, kept beside it: a flipped byte in the row no longer matches."""
    return digest(
        _BETWEEN.join(
            (
                hold.job_id,
                hold.account_id,
                str(hold.amount.nanos),
                str(hold.captured.nanos),
                str(hold.released.nanos),
                str(hold.spent.nanos),
                text(hold.expires_at),
                text(hold.opened_at),
                _maybe(None if hold.closed_at is None else text(hold.closed_at)),
                str(hold.revision),
            )
        )
    )


def digest(value: str) -> str:
    """SHA-256 in 64 hexadecimal digits."""
    return _sha256()(value.encode()).hexdigest()


def _maybe(value: str | None) -> str:
    """A field that may be missing, so that missing and empty differ."""
    return "" if value is None else f"={value}"


@cache
def _sha256() -> Callable[[bytes], _Hash]:
    from hashlib import sha256  # here, because it loads a library that commands which only read do not need

    return sha256
