"""A process that is held up between reading and writing decides on what is so, not on what it has read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tallygate.errors import InsufficientCapacity, NoMatchingOffer, OutcomeUnknown
from tallygate.jobs.job import AttemptState, JobState
from tallygate.jobs.milestones import Milestone

House = Any


def asked_to_end(house: House) -> None:
    job = house.only_job()
    assert house.jobs.request_stop(job.id, reason="enough", at=house.clock.now())


def test_a_wish_to_end_is_heard_while_an_interrupted_job_is_about_to_be_launched_again(house: House) -> None:
    job = house.submit()
    house.clock.sleep(600)
    house.cloud.end("m-1", reason="the provider took it back")
    house.meanwhile[Milestone.END_OBSERVED] = lambda: asked_to_end(house)
    house.reconcile()
    ended = house.only_job()
    assert (ended.state, ended.reason) == (JobState.TERMINATED, "enough")
    assert [each.state for each in house.jobs.attempts(job.id)] == [AttemptState.ENDED]
    assert len(house.cloud.creates) == 1
    assert house.jars(job)[0] == "0.00"
    house.check()


def test_a_wish_to_end_is_heard_before_the_next_offer_is_tried(house: House) -> None:
    house.cloud.fail_launch = [InsufficientCapacity("none left")]
    house.meanwhile[Milestone.CREATE_CALLED] = lambda: asked_to_end(house)
    with pytest.raises(NoMatchingOffer):
        house.submit(house.estimate(), house.estimate(instance_type="m.other"))
    job = house.only_job()
    assert (job.state, job.reason) == (JobState.TERMINATED, "enough")
    assert len(house.jobs.attempts(job.id)) == 1
    assert house.jars(job) == ("0.00", "0.00")
    house.check()


def test_a_lease_answers_with_the_row_as_it_is(house: House) -> None:
    """Another had finished with it since it was read: its fence stands as before, and it says more."""
    job = house.submit()
    (attempt,) = house.jobs.attempts(job.id)
    now = house.clock.now()
    written = replace(attempt, metered_seconds=60, warned_percent=50)
    assert house.jobs.save_attempt(written, was=attempt)
    leased = house.jobs.lease(attempt, owner="somebody", until=now + timedelta(seconds=120), now=now)
    assert leased is not None
    assert (leased.metered_seconds, leased.warned_percent) == (60, 50)
    assert (leased.fence, leased.lease_owner) == (attempt.fence + 1, "somebody")


def test_what_has_moved_on_is_not_leased(house: House) -> None:
    job = house.submit()
    (attempt,) = house.jobs.attempts(job.id)
    now = house.clock.now()
    assert house.jobs.save_attempt(replace(attempt, state=AttemptState.TERMINATING), was=attempt)
    assert house.jobs.lease(attempt, owner="somebody", until=now + timedelta(seconds=120), now=now) is None
    (current,) = house.jobs.attempts(job.id)
    assert current.lease_owner is None


def test_whoever_adopts_a_machine_judges_it_under_a_lease_of_its_own(house: House) -> None:
    """Another watcher has taken the attempt as soon as the adoption was written: the machine is that one's to meter."""
    house.cloud.fail_launch, house.cloud.after_making = [OutcomeUnknown("502")], True
    with pytest.raises(OutcomeUnknown):
        house.submit()
    job = house.only_job()

    def another_takes_it() -> None:
        (attempt,) = house.jobs.attempts(job.id)
        now = house.clock.now()
        assert house.jobs.lease(attempt, owner="another", until=now + timedelta(seconds=120), now=now) is not None

    house.meanwhile[Milestone.LIVE_COMMITTED] = another_takes_it
    house.reconcile(after=30)
    (attempt,) = house.jobs.attempts(job.id)
    assert (attempt.state, attempt.lease_owner, attempt.metered_seconds) == (AttemptState.LIVE, "another", 0)
    house.check()


def test_an_end_that_nobody_saw_is_not_dated_before_the_look_that_missed_it(house: House) -> None:
    job = house.submit()
    house.cloud.hidden.add(house.jobs.attempts(job.id)[0].token)
    house.clock.sleep(1200)
    house.cloud.listing_seconds = 300
    house.reconcile()
    house.cloud.listing_seconds = 0
    house.reconcile(after=600)
    first = house.jobs.attempts(job.id)[0]
    assert (first.state, first.end_source, first.metered_seconds) == (AttemptState.ENDED, "last_seen", 1500)
