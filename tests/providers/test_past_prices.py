"""However a cloud tells its past prices, what comes out is the price in force and every change after it, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tallygate.money import Money
from tallygate.providers.past_prices import changes

START = datetime(2026, 1, 1, tzinfo=UTC)

MOMENTS = st.integers(0, 60).map(lambda hours: START + timedelta(hours=hours))
TOLD = st.dictionaries(MOMENTS, st.integers(1, 3).map(Money), max_size=12)


def in_force(told: dict[datetime, Money], at: datetime) -> Money | None:
    """The price that held at a moment, looked up the slow way."""
    known = [moment for moment in told if moment <= at]
    return told[max(known)] if known else None


@given(TOLD, MOMENTS)
def test_changes_say_the_price_of_every_later_moment_and_nothing_twice(
    told: dict[datetime, Money], since: datetime
) -> None:
    found = list(changes(told, since))
    moments = [at for at, _ in found]
    assert moments == sorted(set(moments))
    assert all(one[1] != next_one[1] for one, next_one in pairwise(found))
    assert sum(at <= since for at in moments) <= 1
    for hours in range(62):
        at = START + timedelta(hours=hours)
        if at >= since:
            assert in_force(dict(found), at) == in_force(told, at)
