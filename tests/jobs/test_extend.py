"""Extending a running job: nothing runs longer that was not paid for first, and the same key never extends twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tallygate.errors import BudgetExceeded, TransitionRefused, UsageError
from tallygate.jobs.extend import extend
from tallygate.money import Money


@pytest.fixture
def extending(house):
    """Extend the only job; what the machine was told."""
    told: list[tuple[datetime, int]] = []

    def tell(machine_id: str, *, not_after: datetime, run_seconds_max: int) -> None:
        told.append((not_after, run_seconds_max))

    house.cloud.extend = tell

    def act(hours: str, key: str = "first"):
        job = house.only_job()
        return extend(
            job,
            house.jobs.attempts(job.id)[-1],
            hours=Decimal(hours),
            key=key,
            terms=house.cloud.terms,
            provider=house.cloud,
            store=house.jobs,
            book=house.book,
            transaction=house.database.transaction,
            clock=house.clock,
            process=house.process,
        )

    act.told = told
    return act


def test_more_is_held_before_the_machine_hears_of_it(house, extending):
    job = house.submit()
    extended = extending("1")
    assert extended.hold == job.hold + Money.of("1")
    assert house.jars(job)[0] == extended.hold.shown(2)
    (attempt,) = house.jobs.attempts(job.id)
    assert extending.told == [(attempt.not_after, job.run_seconds_max + 3600)]
    assert attempt.not_after == house.clock.now() + timedelta(seconds=job.run_seconds_max + 3600)
    house.check()


def test_the_same_key_extends_once_and_tells_the_machine_again(house, extending):
    house.submit()
    first = extending("1")
    again = extending("1")
    assert (again.hold, again.run_seconds_max) == (first.hold, first.run_seconds_max)
    assert extending.told[0] == extending.told[1]
    house.check()


def test_an_extension_beyond_the_budget_changes_nothing(house, extending):
    job = house.submit(house.estimate(budget="4"))
    with pytest.raises(BudgetExceeded):
        extending("5")
    assert extending.told == []
    assert house.only_job().hold == job.hold
    assert house.jobs.attempts(job.id)[0].run_seconds_max == job.run_seconds_max
    house.check()


@pytest.mark.parametrize("hours", ["0", "-1", "NaN", "Infinity", "100000"])
def test_an_extension_that_cannot_be_is_refused(house, extending, hours):
    house.submit()
    with pytest.raises(UsageError):
        extending(hours)


def test_a_provider_that_cannot_extend_is_not_asked_for_money(house, extending):
    job = house.submit()
    del house.cloud.extend
    with pytest.raises(TransitionRefused):
        extending("1")
    assert house.only_job().hold == job.hold


def test_whoever_read_the_attempt_before_cannot_take_the_extension_back(house, extending):
    """A watcher that writes what it metered writes the end too; it must not write back the one it read."""
    job = house.submit()
    (read_before,) = house.jobs.attempts(job.id)
    extended = extending("1")
    assert not house.jobs.save_attempt(replace(read_before, metered_seconds=60), was=read_before)
    (attempt,) = house.jobs.attempts(job.id)
    assert attempt.run_seconds_max == extended.run_seconds_max
    house.check()


def test_nobody_extends_while_another_process_acts_on_the_attempt(house, extending):
    job = house.submit()
    (attempt,) = house.jobs.attempts(job.id)
    now = house.clock.now()
    assert house.jobs.lease(attempt, owner="host:boot:9:9", until=now + timedelta(seconds=120), now=now)
    with pytest.raises(TransitionRefused):
        extending("1")
    assert house.only_job().hold == job.hold
    house.clock.sleep(121)
    assert extending("1").hold == job.hold + Money.of("1")
    house.check()
