"""Windows of budgets: local midnights, half-open, through clock changes and leap years."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.errors import ConfigError, UsageError
from tallygate.ledger.holds import BudgetPeriod
from tallygate.ledger.windows import label, window
from tallygate.times import ALWAYS, Period, instant

CASES = """
day     UTC               2026-03-01T12:00:00Z  2026-03-01T00:00:00Z  2026-03-02T00:00:00Z  24  2026-03-01
day     UTC               2026-03-02T00:00:00Z  2026-03-02T00:00:00Z  2026-03-03T00:00:00Z  24  2026-03-02
day     Europe/Berlin     2026-03-29T12:00:00Z  2026-03-28T23:00:00Z  2026-03-29T22:00:00Z  23  2026-03-29
day     Europe/Berlin     2026-10-25T12:00:00Z  2026-10-24T22:00:00Z  2026-10-25T23:00:00Z  25  2026-10-25
day     America/New_York  2026-11-01T12:00:00Z  2026-11-01T04:00:00Z  2026-11-02T05:00:00Z  25  2026-11-01
day     Asia/Kolkata      2026-05-01T18:30:00Z  2026-05-01T18:30:00Z  2026-05-02T18:30:00Z  24  2026-05-02
day     Australia/Lord_Howe 2026-10-03T20:00:00Z 2026-10-03T13:30:00Z 2026-10-04T13:00:00Z  23.5  2026-10-04
day     America/Havana    2026-03-08T12:00:00Z  2026-03-08T05:00:00Z  2026-03-09T04:00:00Z  23  2026-03-08
day     America/Havana    2026-11-01T12:00:00Z  2026-11-01T04:00:00Z  2026-11-02T05:00:00Z  25  2026-11-01
day     America/St_Johns  2010-11-07T02:00:00Z  2010-11-06T02:30:00Z  2010-11-07T02:30:00Z  24  2010-11-06
day     America/St_Johns  2010-11-07T02:45:00Z  2010-11-07T02:30:00Z  2010-11-08T03:30:00Z  25  2010-11-07
day     Pacific/Apia      2011-12-30T09:59:00Z  2011-12-29T10:00:00Z  2011-12-30T10:00:00Z  24  2011-12-29
day     Pacific/Apia      2011-12-30T10:00:00Z  2011-12-30T10:00:00Z  2011-12-31T10:00:00Z  24  2011-12-31
month   UTC               2028-02-29T12:00:00Z  2028-02-01T00:00:00Z  2028-03-01T00:00:00Z  696 2028-02
month   UTC               2100-02-28T12:00:00Z  2100-02-01T00:00:00Z  2100-03-01T00:00:00Z  672 2100-02
month   Europe/Berlin     2026-03-31T22:00:00Z  2026-03-31T22:00:00Z  2026-04-30T22:00:00Z  720 2026-04
month   Europe/Berlin     2026-03-31T21:59:59Z  2026-02-28T23:00:00Z  2026-03-31T22:00:00Z  743 2026-03
month   Pacific/Kiritimati 2026-12-31T10:00:00Z 2026-12-31T10:00:00Z  2027-01-31T10:00:00Z  744 2027-01
quarter UTC               2026-03-31T23:59:59Z  2026-01-01T00:00:00Z  2026-04-01T00:00:00Z  2160 2026-Q1
quarter Europe/Berlin     2026-12-31T23:00:00Z  2026-12-31T23:00:00Z  2027-03-31T22:00:00Z  2159 2027-Q1
year    UTC               2028-12-31T23:59:59Z  2028-01-01T00:00:00Z  2029-01-01T00:00:00Z  8784 2028
year    America/New_York  2027-01-01T04:59:59Z  2026-01-01T05:00:00Z  2027-01-01T05:00:00Z  8760 2026
"""


@pytest.mark.parametrize("case", CASES.strip().splitlines(), ids=lambda case: " ".join(case.split()[:3]))
def test_window(case: str) -> None:
    """Period, zone and moment; then start, end, hours inside, and name."""
    period, zone, at, start, end, hours, name = case.split()
    found = window(BudgetPeriod(period), zone, instant(at))
    assert Period(instant(start), instant(end)) == found
    assert timedelta(hours=float(hours)) == found.end - found.start
    assert name == label(BudgetPeriod(period), zone, found.start)


ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Havana",
    "Asia/Kolkata",
    "Asia/Beirut",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)
RENEWING = [period for period in BudgetPeriod if period is not BudgetPeriod.NONE]


@given(
    period=st.sampled_from(RENEWING),
    zone=st.sampled_from(ZONES),
    at=st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_every_instant_lies_in_exactly_one_window(period: BudgetPeriod, zone: str, at: datetime) -> None:
    """Windows meet without gap or overlap, and every instant of a window names that window."""
    found = window(period, zone, at)
    assert at in found
    assert found == window(period, zone, found.start)
    assert found == window(period, zone, found.end - timedelta(microseconds=1))
    assert found.end == window(period, zone, found.end).start


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Havana", "Pacific/Apia"])
def test_four_years_hour_by_hour_lose_no_second(zone: str) -> None:
    """2026 to 2029 with 29 February 2028: days, months, quarters and years each add up to the whole."""
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    for period in RENEWING:
        windows = []
        at = start
        while at < end:
            found = window(period, zone, at)
            if not windows or windows[-1] != found:
                assert not windows or windows[-1].end == found.start
                windows.append(found)
            at += timedelta(hours=1)
        expected = {"day": 4 * 365 + 1, "month": 48, "quarter": 16, "year": 4}[period]
        assert len(windows) in (expected, expected + 1)  # the zone's own year begins before or after that of UTC


def test_a_budget_that_never_renews_has_one_window_and_no_name() -> None:
    assert window(BudgetPeriod.NONE, "Europe/Berlin", datetime(2026, 1, 1, tzinfo=UTC)) == ALWAYS
    assert label(BudgetPeriod.NONE, "Europe/Berlin", ALWAYS.start) == ""


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../../etc/passwd", "europe/berlin\0", "UTC+25", "Europe"])
def test_a_zone_that_nobody_knows_is_refused(zone: str) -> None:
    with pytest.raises(ConfigError, match="not a time zone"):
        window(BudgetPeriod.DAY, zone, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("year", [1, 1970, 9998, 9999])
def test_a_year_at_the_edge_of_time_is_refused(year: int) -> None:
    with pytest.raises(UsageError, match="year"):
        window(BudgetPeriod.MONTH, "Europe/Berlin", datetime(year, 6, 1, tzinfo=UTC))
