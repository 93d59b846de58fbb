"""Past prices as clouds tell them, in any order and with repeats, made into changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from ..money import Money


def changes(told: Mapping[datetime, Money], since: datetime) -> Iterator[tuple[datetime, Money]]:
    """The price in force at ``since``, with the moment it came into force, and every change after it, oldest first."""
    before: tuple[datetime, Money] | None = None
    for at in sorted(told):
        price = told[at]
        if before is not None and price == before[1]:
            continue  # the same price told again is no change
        if at > since:
            if before is not None and before[0] <= since:
                yield before
            yield at, price
        before = (at, price)
    if before is not None and before[0] <= since:
        yield before
