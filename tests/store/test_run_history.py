"""What the store knows of how long jobs of a name take, on both engines."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from tallygate.ids import new_id
from tallygate.jobs.job import Attempt, AttemptState, CostState, Job, JobSpec, JobState
from tallygate.money import Money
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.pricing.runtimes import RUNS_MAX, Run
from tallygate.store.database import Database
from tallygate.store.jobs import JobRepository
from tallygate.store.migrate import known_plan_key, plan_key
from tallygate.times import Clock


class Past:
    """Jobs that are over, written as the launch protocol writes them."""

    def __init__(self, database: Database, clock: Clock, entropy: object) -> None:
        self.jobs = JobRepository(database)
        self.clock = clock
        self.entropy = entropy

    def job(
        self,
        *seconds: int | None,
        name: str = "nightly",
        state: JobState = JobState.COMPLETED,
        machine: str = "m.large",
        void_first: bool = False,
    ) -> None:
        """A job whose machines lived so many seconds; None: it was never seen to begin."""
        now = self.clock.now()
        offer = Offer(
            provider="cloud",
            region="here",
            zone=None,
            instance_type=machine,
            purchase_option=PurchaseOption.SPOT,
            vcpus=2,
            memory_gib=Decimal(8),
            hourly_price=Money.of(1),
            priced_at=now,
            price_source="a test",
        )
        job = Job(
            id=new_id(self.clock, self.entropy),
            name=name,
            state=JobState.LAUNCHING,
            cost_state=CostState.ESTIMATED,
            spec=JobSpec(command="true", inputs="file:///i", inputs_digest="0" * 64, outputs="file:///o"),
            offer=offer,
            estimated_runtime_seconds=3600,
            run_seconds_max=5400,
            budget_limit=None,
            estimated_cost=Money.of(1),
            hold=Money.of(2),
            submitted_at=now,
        )
        self.jobs.add(job)
        for number, lived in enumerate((None, *seconds) if void_first else seconds, start=1):
            void = void_first and number == 1
            self._attempt(job, offer, number, now, lived, void=void)
        if state is not JobState.LAUNCHING:
            assert self.jobs.save_job(replace(job, state=state, ended_at=now), was=job)
        self.clock.sleep(60)

    def _attempt(self, job: Job, offer: Offer, number: int, now: datetime, lived: int | None, *, void: bool) -> None:
        attempt = Attempt(
            id=new_id(self.clock, self.entropy),
            job_id=job.id,
            number=number,
            token=f"{job.id}-{number}",
            state=AttemptState.INTENT,
            offer=offer,
            price_max=Money.of(1),
            run_seconds_max=5400,
            kill_seconds=60,
            not_after=now + timedelta(hours=2),
            created_at=now,
            metered_cost=Money.zero(),
        )
        self.jobs.add_attempt(attempt)
        ended = replace(
            attempt,
            state=AttemptState.VOID if void else AttemptState.ENDED,
            started_at=None if lived is None else now,
            ended_at=now + timedelta(seconds=lived or 0, microseconds=1),
            end_source="provider",
        )
        assert self.jobs.save_attempt(ended, was=attempt)


def run(seconds: int, *, last: int | None = None, attempts: int = 1, machine: str = "m.large") -> Run:
    return Run(
        seconds=seconds,
        last_seconds=seconds if last is None else last,
        attempts=attempts,
        provider="cloud",
        instance_type=machine,
        vcpus=2,
    )


def test_finished_runs_of_a_name_newest_first_with_all_their_machines(
    database: Database, clock: Clock, entropy: object
) -> None:
    past = Past(database, clock, entropy)
    past.job(99, name="other")
    past.job(599)
    past.job(199, 399, machine="m.small", void_first=True)
    past.job(899, state=JobState.FAILED)
    past.job(899, state=JobState.TERMINATED)
    past.job(state=JobState.LAUNCHING)
    history = past.jobs.history("nightly")
    # Every begun second counts, as it does on a meter.
    assert history.runs == (run(600, last=400, attempts=2, machine="m.small"), run(600))
    assert (history.name, history.left_out) == ("nightly", 2)


def test_a_run_whose_machine_was_never_seen_to_begin_says_nothing(
    database: Database, clock: Clock, entropy: object
) -> None:
    past = Past(database, clock, entropy)
    past.job(None)
    past.job(300, None)
    assert past.jobs.history("nightly").runs == ()


def test_a_name_that_never_ran_has_no_runs(database: Database) -> None:
    history = JobRepository(database).history("never")
    assert (history.runs, history.left_out) == ((), 0)


def test_only_so_many_of_the_newest_runs_are_looked_at(database: Database, clock: Clock, entropy: object) -> None:
    past = Past(database, clock, entropy)
    with database.transaction():
        for number in range(RUNS_MAX + 3):
            past.job(number)
    runs = past.jobs.history("nightly").runs
    assert [each.seconds for each in runs] == [number + 1 for number in range(RUNS_MAX + 2, 2, -1)]


# --- the key that plans are sealed with


def test_the_key_of_plans_is_made_once_and_never_by_looking(database: Database, clock: Clock, entropy: object) -> None:
    assert known_plan_key(database) is None
    made = plan_key(database, clock, entropy)
    assert len(made) == 32
    assert known_plan_key(database) == plan_key(database, clock, entropy) == made
