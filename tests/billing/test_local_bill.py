"""The local bill behaves as a cloud's does: exact, by day, late if asked, and never zero for what it does not know yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.billing.local import LocalBill, _days
from tallygate.billing.source import BillingSource
from tallygate.money import Money, total
from tallygate.times import ALWAYS, Clock, Period
from tests.billing.contract import BillingSourceContract

EVENING = datetime(2026, 3, 31, 22, tzinfo=UTC)


class MovableClock(Clock, Protocol):
    def advance(self, seconds: float) -> None: ...


@dataclass
class Meter:
    seconds: int
    started_at: datetime = EVENING
    ended_at: datetime | None = None
    machine_id: str = "m-1"
    token: str = "tg-1"
    instance_type: str = "local.2"
    hourly_price: Money = field(default_factory=lambda: Money.of("0.36"))
    tags: Mapping[str, str] = field(default_factory=lambda: {"tallygate-job": "j1"})


def ended(seconds: int, start: datetime = EVENING) -> Meter:
    return Meter(seconds, start, start + timedelta(seconds=seconds))


def at(clock: MovableClock, moment: datetime) -> MovableClock:
    clock.advance((moment - clock.now()).total_seconds())
    return clock


def test_a_job_over_midnight_is_one_line_a_day(clock: MovableClock) -> None:
    bill = LocalBill(lambda: [ended(5 * 3600)], clock=at(clock, EVENING + timedelta(days=1)))
    lines = list(bill.charges(ALWAYS))
    assert [(line.charge_period.start.day, line.consumed_quantity, line.billed_cost) for line in lines] == [
        (31, 7200, Money.of("0.72")),
        (1, 10800, Money.of("1.08")),
    ]
    assert [line.billing_period.start.month for line in lines] == [3, 4]


def test_each_line_is_in_one_month_only(clock: MovableClock) -> None:
    bill = LocalBill(lambda: [ended(5 * 3600)], clock=at(clock, EVENING + timedelta(days=1)))
    march, april = Period.month(EVENING), Period.month(EVENING + timedelta(days=1))
    assert [len(list(bill.charges(month))) for month in (march, april)] == [1, 1]


def test_a_delayed_bill_does_not_show_the_last_hours(clock: MovableClock) -> None:
    """What is late is not there; it is not there as zero."""
    bill = LocalBill(lambda: [ended(3600)], clock=at(clock, EVENING), delay=timedelta(hours=2))
    seen = []
    for _ in range(5):
        seen.append([line.billed_cost for line in bill.charges(ALWAYS)])
        clock.advance(1800)
    for _ in range(2):
        seen.append([line.billed_cost for line in bill.charges(ALWAYS)])
        clock.advance(1800)
    assert seen == [[], [], [], [], [], [Money.of("0.18")], [Money.of("0.36")]]
    assert bill.complete_through() == clock.now() - timedelta(hours=2)


def test_a_running_machine_is_billed_for_what_its_meter_shows_and_never_as_zero(clock: MovableClock) -> None:
    meter = Meter(0)
    bill = LocalBill(lambda: [meter], clock=at(clock, EVENING))
    assert list(bill.charges(ALWAYS)) == []
    clock.advance(60)
    meter.seconds = 50
    assert [line.billed_cost for line in bill.charges(ALWAYS)] == [Money.of("0.005")]


def test_a_machine_that_lived_no_second_is_on_the_bill_with_a_real_zero(clock: MovableClock) -> None:
    bill = LocalBill(lambda: [ended(0)], clock=at(clock, EVENING))
    (line,) = bill.charges(ALWAYS)
    assert (line.billed_cost, line.resource_id) == (Money.zero(), "m-1")


def test_asking_is_counted_and_free(clock: MovableClock) -> None:
    bill = LocalBill(list, clock=clock)
    list(bill.charges(ALWAYS))
    list(bill.charges(ALWAYS))
    assert (bill.calls, bill.call_price) == (2, Money.zero())


@given(st.integers(0, 10**6), st.integers(0, 86_400 * 3), st.integers(1, 10**13))
def test_days_make_up_the_meter_exactly(offset: int, seconds: int, nanos: int) -> None:
    meter = Meter(seconds, EVENING + timedelta(seconds=offset), hourly_price=Money(nanos))
    days = list(_days(meter, seconds))
    assert total(cost for _, _, cost in days) == Money(nanos).for_seconds(seconds)
    assert sum(part for _, part, _ in days) == seconds
    assert all(span.start.date() == (span.end - timedelta(microseconds=1)).date() for span, part, _ in days if part)


@given(st.integers(0, 86_400 * 2), st.integers(0, 86_400), st.integers(1, 10**13))
def test_a_past_day_never_moves_while_the_machine_runs_on(seconds: int, more: int, nanos: int) -> None:
    before = list(_days(Meter(seconds, hourly_price=Money(nanos)), seconds))
    after = list(_days(Meter(seconds + more, hourly_price=Money(nanos)), seconds + more))
    assert before[:-1] == after[: len(before) - 1]


def test_lines_come_in_a_stable_order(clock: MovableClock) -> None:
    meters = [ended(60), Meter(30, EVENING - timedelta(hours=1), EVENING, machine_id="m-0")]
    bill = LocalBill(lambda: meters, clock=at(clock, EVENING + timedelta(hours=1)))
    first = list(bill.charges(ALWAYS))
    meters.reverse()
    assert list(bill.charges(ALWAYS)) == first


class TestLocalBill(BillingSourceContract):
    """The local bill keeps what every source promises."""

    @pytest.fixture
    def source(self, clock: MovableClock) -> BillingSource:
        starts = [datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 14, 23, tzinfo=UTC), EVENING]
        meters = [ended(7200, start) for start in starts]
        return LocalBill(lambda: meters, clock=at(clock, EVENING + timedelta(days=2)))
