"""Watching: what is seen in the cloud and what is on record end up the same, and the money follows the machine."""

from __future__ import annotations

import pytest

from tallygate.errors import Unavailable
from tallygate.jobs.job import AttemptState, CostState, JobState
from tallygate.jobs.milestones import Milestone
from tallygate.money import Money


def finish(house, job, *, after=3600, exit_status=0, reason="finished"):
    """The job's machine ends by itself after ``after`` seconds."""
    house.clock.sleep(after)
    if reason is not None:
        house.report(job, reason, exit_status)
    house.cloud.end(house.jobs.attempts(job.id)[-1].machine_id)


def test_a_finished_job_is_metered_settled_and_its_money_is_back(house):
    team = house.book.add_budget(name="team", limit=Money.of("10"))
    job = house.submit(budgets=[team], charged_to="team")
    finish(house, job, after=3600)
    house.reconcile()
    job = house.only_job()
    assert (job.state, job.cost_state) == (JobState.COMPLETED, CostState.METERED)
    assert job.metered_cost == Money.of("1")
    assert job.billed_cost is None
    account = house.book.account(team, house.clock.now())
    assert (account.held, account.spent) == (Money.of("0"), Money.of("1"))
    house.check()


@pytest.mark.parametrize(
    ("reason", "status", "state"),
    [
        ("finished", 0, JobState.COMPLETED),
        ("finished", 3, JobState.FAILED),
        ("deadline", None, JobState.TERMINATED),
        ("inputs", None, JobState.FAILED),
    ],
)
def test_the_agents_word_decides_how_a_job_ended(house, reason, status, state):
    job = house.submit()
    finish(house, job, after=60, exit_status=status, reason=reason)
    house.reconcile()
    assert house.only_job().state is state
    assert house.only_job().exit_status == status


def test_a_machine_that_says_it_was_its_deadline_is_believed_without_a_report(house):
    """Its clock and ours may differ by a moment, and the report may have had no time to be sent."""
    job = house.submit()
    house.clock.sleep(job.run_seconds_max - 1)
    house.cloud.end("m-1", reason="deadline")
    house.reconcile()
    assert house.only_job().state is JobState.TERMINATED
    assert house.jobs.attempts(job.id)[0].exit_status is None


def test_an_interrupted_job_is_launched_again_inside_the_same_hold(house):
    job = house.submit()
    finish(house, job, after=1800, reason=None)
    house.reconcile()
    job = house.only_job()
    first, second = house.jobs.attempts(job.id)
    assert (first.state, second.state) == (AttemptState.ENDED, AttemptState.LIVE)
    assert job.state is JobState.RUNNING
    assert house.jars(job) == ((job.hold - Money.of("0.5")).shown(2), "0.50")
    assert second.price_max.for_seconds(second.run_seconds_max + second.kill_seconds) <= job.hold - Money.of("0.5")
    house.check()
    house.clock.sleep(3600)
    house.report(job, "finished", 0, attempt=2)
    house.cloud.end("m-2")
    house.reconcile()
    assert house.only_job().metered_cost == Money.of("1.5")
    assert house.jars(job) == ("0.00", "1.50")
    house.check()


def test_a_job_interrupted_too_often_fails_and_frees_the_rest(house):
    job = house.submit()
    for _ in range(3):
        finish(house, job, after=60, reason=None)
        house.reconcile()
    assert house.only_job().state is JobState.FAILED
    assert len(house.jobs.attempts(job.id)) == 3
    assert house.jars(job) == ("0.00", "0.050000001")
    house.check()


def test_a_running_job_is_metered_and_told_of_every_threshold_once(house):
    job = house.submit()
    seconds = int(job.hold.nanos * 3600 / Money.of("1").nanos)
    house.reconcile(after=seconds * 0.55)
    house.reconcile()
    assert [row["event"] for row in house.jobs.events(job.id) if row["event"] == "tell"] == ["tell"]
    assert house.only_job().metered_cost > Money.of("1")
    assert house.only_job().cost_state is CostState.ESTIMATED


def test_a_machine_past_its_deadline_is_told_to_end_until_it_has(house):
    job = house.submit()
    house.cloud.machines["m-1"].stubborn = True
    house.reconcile(after=job.run_seconds_max + 1)
    house.reconcile(after=30)
    assert house.cloud.terminated == ["m-1", "m-1"]
    assert house.jobs.attempts(job.id)[0].state is AttemptState.TERMINATING
    assert house.only_job().state is JobState.RUNNING
    assert not all(hold.closed_at for hold in house.book.holds(job.id))


def test_terminated_is_an_observation_and_never_an_intention(house):
    job = house.submit()
    house.cloud.machines["m-1"].stubborn = True
    house.jobs.request_stop(job.id, reason="no longer needed", at=house.clock.now())
    house.reconcile()
    assert house.only_job().state is JobState.RUNNING
    house.cloud.end("m-1", reason="terminated")
    house.reconcile()
    assert house.only_job().state is JobState.TERMINATED
    assert house.only_job().reason == "no longer needed"
    house.check()


def test_stopping_twice_or_after_the_end_changes_nothing(house):
    job = house.submit()
    assert house.jobs.request_stop(job.id, reason="first", at=house.clock.now())
    assert not house.jobs.request_stop(job.id, reason="second", at=house.clock.now())
    house.reconcile()
    house.reconcile()
    assert house.only_job().reason == "first"
    assert not house.jobs.request_stop(job.id, reason="third", at=house.clock.now())


def test_missing_from_one_listing_is_not_an_end(house):
    job = house.submit()
    house.cloud.hidden.add(house.jobs.attempts(job.id)[0].token)
    house.reconcile(after=60)
    assert house.only_job().state is JobState.RUNNING
    house.cloud.hidden.clear()
    house.reconcile(after=600)
    assert house.jobs.attempts(job.id)[0].missing_since is None
    house.check()


def test_gone_twice_in_complete_listings_is_an_end_at_the_last_sight(house):
    job = house.submit()
    house.cloud.hidden.add(house.jobs.attempts(job.id)[0].token)
    house.reconcile(after=1200)
    house.reconcile(after=600)
    first = house.jobs.attempts(job.id)[0]
    assert (first.state, first.end_source, first.metered_seconds) == (AttemptState.ENDED, "last_seen", 1200)


def test_a_newborn_machine_that_is_not_shown_yet_is_not_gone(house):  # type: ignore[no-untyped-def]
    job = house.submit()
    house.cloud.hidden.add(house.jobs.attempts(job.id)[0].token)
    for _ in range(7):
        house.reconcile(after=120)
    first = house.jobs.attempts(job.id)[0]
    assert (first.state, first.missing_since) == (AttemptState.LIVE, None)
    house.check()


def test_a_machine_that_reported_its_end_and_is_gone_need_not_be_waited_for(house):  # type: ignore[no-untyped-def]
    job = house.submit()
    house.clock.sleep(120)
    house.report(job, "finished", 0)
    house.cloud.end("m-1")
    house.cloud.hidden.add(house.jobs.attempts(job.id)[0].token)
    house.reconcile(after=61)
    house.reconcile(after=61)
    assert house.only_job().state is JobState.COMPLETED
    house.check()


def test_nothing_is_concluded_from_an_incomplete_listing(house):
    job = house.submit()
    house.cloud.partial = True
    for _ in range(5):
        assert house.reconcile(after=3600)
    assert house.jobs.attempts(job.id)[0].state is AttemptState.LIVE
    assert house.only_job().state is JobState.RUNNING


def test_an_orphan_is_marked_first_and_ended_later(house):
    job = house.submit()
    order = house.cloud.machines["m-1"].order
    finish(house, job)
    house.reconcile()
    house.cloud.make(order)  # the request of a closed attempt, carried out late
    house.reconcile()
    assert house.cloud.terminated == []
    house.reconcile(after=61)
    assert house.cloud.terminated == ["m-2"]


def test_an_orphan_that_cannot_be_told_to_end_does_not_stop_the_others(house):
    job = house.submit()
    order = house.cloud.machines["m-1"].order
    finish(house, job)
    house.reconcile()
    house.cloud.make(order)
    house.cloud.make(order)
    house.reconcile()
    house.cloud.fail_terminate = [Unavailable("503")]
    assert any("could not be told" in line for line in house.reconcile(after=61))
    assert house.cloud.terminated == ["m-3"]


def test_a_machine_of_another_installation_is_never_touched(house):
    from dataclasses import replace

    job = house.submit()
    order = house.cloud.machines["m-1"].order
    foreign = replace(order, token="tg-other-1", tags={**order.tags, "tallygate-install": "other000"})
    house.cloud.make(foreign)
    finish(house, job)
    for _ in range(4):
        house.reconcile(after=600)
    assert house.cloud.terminated == []


def test_a_machine_with_our_tags_and_an_unknown_token_is_reported_not_ended(house):
    from dataclasses import replace

    job = house.submit()
    order = house.cloud.machines["m-1"].order
    house.cloud.make(replace(order, token="tg-test0000-restored-1"))
    finish(house, job, after=60)
    house.reconcile()
    assert any("not on record" in line for line in house.reconcile(after=600))
    assert house.cloud.terminated == []


def test_too_many_orphans_at_once_look_like_our_own_mistake(house):
    job = house.submit()
    order = house.cloud.machines["m-1"].order
    finish(house, job)
    house.reconcile()
    for _ in range(10):
        house.cloud.make(order)
    house.reconcile()
    lines = house.reconcile(after=61)
    assert len(house.cloud.terminated) == 3
    assert sum("too many" in line for line in lines) == 7


def test_a_second_machine_of_the_same_attempt_is_ended(house):
    house.submit()
    house.cloud.make(house.cloud.machines["m-1"].order)
    house.reconcile()
    assert house.cloud.terminated == ["m-2"]
    assert house.jobs.attempts(house.only_job().id)[0].machine_id == "m-1"


@pytest.mark.parametrize(
    "milestone",
    [Milestone.END_OBSERVED, Milestone.END_WRITTEN, Milestone.SETTLEMENT_WRITTEN, Milestone.END_COMMITTED],
)
@pytest.mark.parametrize("interrupted", [False, True])
def test_a_watcher_that_dies_over_an_end_is_repeated_with_the_same_outcome(house, milestone, interrupted):
    job = house.submit()
    finish(house, job, after=1800, reason=None if interrupted else "finished")
    house.die_at = milestone
    house.dies(house.reconcile)
    house.restart()
    house.cloud.terms = house.cloud.terms
    house.reconcile(after=200)
    job = house.only_job()
    first = house.jobs.attempts(job.id)[0]
    assert (first.state, first.metered_seconds) == (AttemptState.ENDED, 1800)
    if not interrupted:
        assert job.state is JobState.COMPLETED
        assert house.jars(job) == ("0.00", "0.50")
    house.check()


@pytest.mark.parametrize("milestone", [Milestone.TERMINATE_CALLED, Milestone.TERMINATE_ANSWERED])
def test_a_watcher_that_dies_over_a_stop_repeats_it(house, milestone):
    job = house.submit()
    house.jobs.request_stop(job.id, reason="enough", at=house.clock.now())
    house.die_at = milestone
    house.dies(house.reconcile)
    house.restart()
    house.reconcile(after=10)
    house.reconcile(after=10)
    assert house.only_job().state is JobState.TERMINATED
    house.check()
