"""The launch protocol: money first, intent second, call third; whatever fails in between, nothing is lost and nothing
doubled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tallygate.errors import BudgetExceeded, InsufficientCapacity, NoMatchingOffer, OutcomeUnknown, QuotaExceeded
from tallygate.jobs.job import AttemptState, JobState
from tallygate.jobs.milestones import Milestone
from tallygate.money import Money


def test_a_launch_holds_the_worst_case_and_ends_up_live(house):
    job = house.submit()
    assert job.state is JobState.RUNNING
    assert house.jars(job) == (job.hold.shown(2), "0.00")
    (attempt,) = house.jobs.attempts(job.id)
    assert (attempt.state, attempt.machine_id) == (AttemptState.LIVE, "m-1")
    assert attempt.token in house.cloud.machines["m-1"].order.tags.values()
    house.check()


def test_a_refusal_by_the_ledger_writes_nothing_and_calls_nobody(house):
    team = house.book.add_budget(name="team", limit=Money.of("1"))
    with pytest.raises(BudgetExceeded):
        house.submit(budgets=[team], charged_to="team")
    assert house.jobs.rows() == []
    assert house.cloud.creates == []
    assert house.book.account(team, house.clock.now()).held == Money.of("0")


def test_every_named_budget_is_held_on_or_none(house):
    team = house.book.add_budget(name="org", limit=Money.of("100"))
    project = house.book.add_budget(name="org/project", limit=Money.of("1"))
    with pytest.raises(BudgetExceeded):
        house.submit(budgets=[team, project], charged_to="org/project")
    assert house.book.account(team, house.clock.now()).held == Money.of("0")
    house.check()


def test_no_capacity_moves_on_to_the_next_offer_with_a_new_token(house):
    house.cloud.fail_launch = [InsufficientCapacity("none left")]
    job = house.submit(house.estimate(instance_type="m.large"), house.estimate(instance_type="m.other"))
    first, second = house.jobs.attempts(job.id)
    assert (first.state, second.state) == (AttemptState.VOID, AttemptState.LIVE)
    assert first.token != second.token
    assert job.offer.instance_type == "m.other"
    house.check()


def test_refused_everywhere_ends_the_job_and_frees_its_money(house):
    house.cloud.fail_launch = [InsufficientCapacity("none left"), QuotaExceeded("0 of 0 vCPU")]
    with pytest.raises(NoMatchingOffer, match="0 of 0 vCPU"):
        house.submit(house.estimate(), house.estimate(instance_type="m.other"))
    job = house.only_job()
    assert job.state is JobState.FAILED
    assert house.jars(job) == ("0.00", "0.00")
    house.check()


def test_a_lost_reply_keeps_the_money_held_and_tries_no_other_offer(house):
    house.cloud.fail_launch = [OutcomeUnknown("the connection was reset")]
    with pytest.raises(OutcomeUnknown):
        house.submit(house.estimate(), house.estimate(instance_type="m.other"))
    job = house.only_job()
    (attempt,) = house.jobs.attempts(job.id)
    assert attempt.state is AttemptState.UNKNOWN
    assert house.jars(job) == (job.hold.shown(2), "0.00")
    assert len(house.cloud.creates) == 1


def test_a_machine_whose_reply_was_lost_is_adopted(house):
    house.cloud.fail_launch, house.cloud.after_making = [OutcomeUnknown("502")], True
    with pytest.raises(OutcomeUnknown):
        house.submit()
    house.reconcile()
    (attempt,) = house.jobs.attempts(house.only_job().id)
    assert (attempt.state, attempt.machine_id) == (AttemptState.LIVE, "m-1")
    house.check()


def test_an_unknown_launch_is_void_only_once_its_time_has_surely_passed(house):
    house.cloud.fail_launch = [OutcomeUnknown("timeout")]
    with pytest.raises(OutcomeUnknown):
        house.submit()
    job = house.only_job()
    house.reconcile(after=job.run_seconds_max - 1)
    assert house.jobs.attempts(job.id)[0].state is AttemptState.UNKNOWN
    house.cloud.partial = True
    house.reconcile(after=3600)
    assert house.jobs.attempts(job.id)[0].state is AttemptState.UNKNOWN
    house.cloud.partial = False
    house.reconcile()
    assert house.jobs.attempts(job.id)[0].state is AttemptState.VOID
    assert house.only_job().state is JobState.FAILED
    assert house.jars(job) == ("0.00", "0.00")
    house.check()


def test_a_launcher_that_slept_past_its_lease_does_not_call_any_more(house):
    passing = house.passing

    def slept(milestone: Milestone) -> None:
        passing(milestone)
        if milestone is Milestone.INTENT_COMMITTED:
            house.clock.sleep(3600)

    house.passing = slept
    with pytest.raises(NoMatchingOffer, match="held up"):
        house.submit()
    assert house.cloud.creates == []
    assert house.jars(house.only_job()) == ("0.00", "0.00")


BEFORE_THE_CALL = [Milestone.INTENT_WRITTEN, Milestone.INTENT_COMMITTED, Milestone.CREATE_CALLED]
AFTER_THE_CALL = [Milestone.CREATE_ANSWERED, Milestone.LIVE_WRITTEN, Milestone.LIVE_COMMITTED]


@pytest.mark.parametrize("milestone", BEFORE_THE_CALL + AFTER_THE_CALL)
@pytest.mark.parametrize("token_lasts", [True, False])
def test_a_launcher_that_dies_anywhere_leaves_nothing_stuck(house, milestone, token_lasts):
    from dataclasses import replace

    house.cloud.terms = replace(house.cloud.terms, token_lasts=token_lasts)
    house.die_at = milestone
    house.dies(house.submit)
    house.restart()
    house.reconcile()
    house.check()
    if milestone is Milestone.INTENT_WRITTEN:
        assert house.jobs.rows() == []
        return
    job = house.only_job()
    if milestone in AFTER_THE_CALL or token_lasts:
        assert job.state is JobState.RUNNING
        assert len(house.cloud.machines) == 1
    else:
        assert house.jars(job) == (job.hold.shown(2), "0.00")
        house.reconcile(after=job.run_seconds_max + 1000)
        assert house.only_job().state is JobState.FAILED
        assert house.jars(job) == ("0.00", "0.00")
    house.check()


@pytest.mark.parametrize(
    "milestone", [Milestone.REFUSAL_WRITTEN, Milestone.REFUSAL_COMMITTED, Milestone.UNKNOWN_COMMITTED]
)
def test_a_launcher_that_dies_over_a_bad_answer_leaves_nothing_stuck(house, milestone):

    house.cloud.fail_launch = [
        OutcomeUnknown("reset") if milestone is Milestone.UNKNOWN_COMMITTED else InsufficientCapacity("none left")
    ]
    house.die_at = milestone
    house.dies(house.submit)
    house.restart()
    job = house.only_job()
    house.reconcile(after=job.run_seconds_max + 1000)
    assert house.only_job().state is JobState.FAILED
    assert house.jars(job) == ("0.00", "0.00")
    house.check()


def test_another_launcher_cannot_take_over_while_the_first_one_lives(house):

    house.die_at = Milestone.CREATE_CALLED
    house.dies(house.submit)
    house.process = type(house.process)("host:boot:2:2")  # another process; the first one is not known to be gone
    assert house.reconcile() == []
    assert house.jobs.attempts(house.only_job().id)[0].lease_owner == "host:boot:1:1"


def test_a_cloud_that_forgets_may_have_had_a_machine_so_the_money_stays_held(house):
    """A machine can have lived, ended and vanished from listings while nobody looked; only the bill can tell."""
    house.cloud.terms = replace(house.cloud.terms, remembers_ended=False)
    house.cloud.fail_launch.append(OutcomeUnknown("no answer"))
    with pytest.raises(OutcomeUnknown):
        house.submit()
    job = house.only_job()
    house.reconcile(after=job.run_seconds_max + 600)
    assert house.only_job().state is JobState.LAUNCHING, "a cloud may show it yet"
    house.reconcile(after=600)
    job = house.only_job()
    assert job.state is JobState.FAILED
    assert house.jobs.attempts(job.id)[0].state is AttemptState.VOID
    assert house.jars(job) == (job.hold.shown(2), "0.00")
    assert house.book.verify().is_clean
