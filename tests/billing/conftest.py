"""A billing office over the real store and ledger: jobs that ran, a bill that can be written and rewritten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import pytest

from tallygate.billing.charge import Charge
from tallygate.billing.collect import Collector
from tallygate.billing.snapshots import Snapshots
from tallygate.billing.versions import Band
from tallygate.ids import Entropy, launch_token, new_id
from tallygate.jobs.job import Attempt, AttemptState, CostState, Job, JobSpec, JobState
from tallygate.ledger.book import Book
from tallygate.money import Money
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.store.charges import ChargeRepository
from tallygate.store.database import Database
from tallygate.store.jobs import JobRepository
from tallygate.store.journal import JournalStore
from tallygate.times import Clock, Period

MARCH = Period.month(datetime(2026, 3, 1, tzinfo=UTC))


class MovableClock(Clock, Protocol):
    """The tests' clock."""

    def advance(self, seconds: float) -> None: ...


def charge(
    cost: str,
    *,
    resource: str | None = "i-1",
    start: datetime = MARCH.start,
    hours: int = 1,
    currency: str = "USD",
    service: str = "Virtual Machines",
    category: str = "Compute",
    tags: dict[str, str] | None = None,
    kind: str = "Usage",
) -> Charge:
    """A line of a bill; only what matters to a test is said."""
    amount = Money.of(cost, currency)
    return Charge(
        billing_account_id="acct-1",
        billing_period=Period.month(start),
        charge_period=Period(start, start + timedelta(hours=hours)),
        charge_category=kind,
        charge_description="a line",
        provider_name="aws",
        service_name=service,
        service_category=category,
        region_id="us-east-1",
        resource_id=resource,
        pricing_category="Dynamic" if category == "Compute" else None,
        list_cost=amount,
        contracted_cost=amount,
        effective_cost=amount,
        billed_cost=amount,
        tags=tags or {},
    )


@dataclass
class Bill:
    """A billing source in memory: what it charges and how far it is complete can be set."""

    name: str = "aws"
    lines: list[Charge] = field(default_factory=list)
    through: datetime = MARCH.start
    calls: int = 0
    call_price: Money = field(default_factory=lambda: Money.of("0.01"))
    asked: list[Period] = field(default_factory=list)

    def charges(self, period: Period) -> Iterator[Charge]:
        self.calls += 1
        self.asked.append(period)
        yield from (line for line in self.lines if line.charge_period.start in period)

    def complete_through(self) -> datetime:
        return self.through


@dataclass
class Office:
    """Everything around a bill."""

    database: Database
    clock: MovableClock
    entropy: Entropy
    folder: Path

    def __post_init__(self) -> None:
        self.bill = Bill()
        self.jobs = JobRepository(self.database)
        self.charges = ChargeRepository(self.database)
        self.book = Book(JournalStore(self.database), clock=self.clock, entropy=self.entropy)
        self.snapshots = Snapshots(self.folder / "charges", self.entropy)
        self.collector = self.collector_over({"aws": self.bill})

    def collector_over(self, sources: dict[str, Bill], band: Band | None = None) -> Collector:
        return Collector(
            store=self.charges,
            sources=sources,
            snapshots=self.snapshots,
            book=self.book,
            clock=self.clock,
            entropy=self.entropy,
            band=band,
        )

    def job(
        self,
        machine: str | None = "i-1",
        *,
        name: str = "test",
        start: datetime | None = None,
        seconds: int = 3600,
        price: str = "0.80",
        hold: str = "10",
        budget: str | None = None,
        budgets: tuple[str, ...] = (),
        provider: str = "aws",
        ended: bool = True,
        state: JobState = JobState.COMPLETED,
        option: PurchaseOption = PurchaseOption.SPOT,
        vcpus: int = 4,
    ) -> Job:
        """A job that ran for ``seconds`` from ``start`` (until now if not given) and was settled to what was metered."""
        start = start or self.clock.now() - timedelta(seconds=seconds)
        offer = Offer(
            provider=provider,
            region="us-east-1",
            zone=None,
            instance_type="r5.4xlarge",
            purchase_option=option,
            vcpus=vcpus,
            memory_gib=Decimal(16),
            hourly_price=Money.of(price),
            priced_at=start,
            price_source="a test",
        )
        job = Job(
            id=new_id(self.clock, self.entropy),
            name=name,
            state=JobState.RUNNING,
            cost_state=CostState.ESTIMATED,
            spec=JobSpec(command="true", inputs="file:///in", inputs_digest="0" * 64, outputs="file:///out"),
            offer=offer,
            estimated_runtime_seconds=seconds,
            run_seconds_max=seconds * 2,
            budget_limit=None if budget is None else Money.of(budget),
            estimated_cost=offer.hourly_price.for_seconds(seconds),
            hold=Money.of(hold),
            charged_to=budgets[-1] if budgets else None,
            tags={},
            submitted_at=start,
            updated_at=start,
            started_at=start,
        )
        self.book.authorize(
            job_id=job.id,
            budgets=[self.book.budget(each) for each in budgets],
            job_limit=None,
            amount=job.hold,
            expires_at=start + timedelta(days=1),
        )
        self.jobs.add(job)
        self.jobs.save_job(job, was=job)
        self.attempt(job, machine, number=1, start=start, seconds=seconds if ended else None)
        return self.finish(job, start + timedelta(seconds=seconds), state) if ended else job

    def attempt(self, job: Job, machine: str | None, *, number: int, start: datetime, seconds: int | None) -> Attempt:
        """One machine of a job; still running when ``seconds`` is None, never made when ``machine`` is."""
        attempt = Attempt(
            id=new_id(self.clock, self.entropy),
            job_id=job.id,
            number=number,
            token=launch_token("test0000", job.id, number),
            state=AttemptState.INTENT,
            offer=job.offer,
            price_max=job.offer.hourly_price,
            run_seconds_max=job.run_seconds_max,
            kill_seconds=60,
            not_after=start + timedelta(days=1),
            created_at=start,
            metered_cost=Money.zero(),
        )
        self.jobs.add_attempt(attempt)
        if machine is None:
            void = replace(attempt, state=AttemptState.VOID)
            assert self.jobs.save_attempt(void, was=attempt)
            return void
        live = replace(attempt, state=AttemptState.LIVE, machine_id=machine, launched_at=start, started_at=start)
        assert self.jobs.save_attempt(live, was=attempt)
        return live if seconds is None else self.end(live, seconds)

    def end(self, live: Attempt, seconds: int) -> Attempt:
        ended = replace(
            live,
            state=AttemptState.ENDED,
            ended_at=live.created_at + timedelta(seconds=seconds),
            end_source="provider",
            metered_seconds=seconds,
            metered_cost=live.offer.hourly_price.for_seconds(seconds),
        )
        assert self.jobs.save_attempt(ended, was=live)
        return ended

    def finish(self, job: Job, at: datetime, state: JobState = JobState.COMPLETED) -> Job:
        """What the watcher writes when it has seen the end."""
        metered = Money(sum(each.metered_cost.nanos for each in self.jobs.attempts(job.id)))
        self.book.settle(job_id=job.id, target=metered, final=True)
        over = replace(job, state=state, cost_state=CostState.METERED, metered_cost=metered, ended_at=at, updated_at=at)
        assert self.jobs.save_job(over, was=job)
        return over

    def spent(self, job: Job) -> Money:
        account = self.book.job_account(job.id)
        assert account is not None
        return account.spent

    def view(self, jobs: Sequence[Job] = (), source: str = "aws") -> dict[str, object]:
        """Everything that a bill has an effect on, without the moments and ids of how it came about.

        ``jobs`` are named by their place in the list; all of the store's when there are none.
        """
        jobs = jobs or [self.jobs.get(str(row["job_id"])) for row in self.jobs.rows(most=1000)]
        place = {job.id: number for number, job in enumerate(jobs)}
        facts = [self.charges.facts(job.id) for job in jobs]
        of_march = {"source": source, "period_start": MARCH.start}
        rows = {
            query: self.database.all(f"charges.period_{query}", **of_march)
            for query in ("days", "unattributed", "accounts")
        }
        versions = self.charges.versions(source, MARCH)
        return {
            "jobs": [(each.cost_state, each.billed_cost, each.final_cost) for each in facts],
            "rows": [sorted((row.billed.nanos, row.resources) for row in each.rows) for each in facts],
            "spent": [self.spent(job).nanos for job in jobs],
            "days": sorted((place[str(r["job_id"])], str(r["usage_date"]), r["billed_nanos"]) for r in rows["days"]),
            "nobodys": sorted(
                (str(r["usage_date"]), str(r["reason"]), r["amount_nanos"]) for r in rows["unattributed"]
            ),
            "accounts": sorted(
                (str(r["usage_date"]), str(r["service_name"]), r["cost_nanos"]) for r in rows["accounts"]
            ),
            "versions": sorted((each.issued_at, each.digest, each.state, each.note) for each in versions),
        }


@pytest.fixture(scope="session")
def line() -> Callable[..., Charge]:
    """Makes a line of a bill; only what matters to a test is said."""
    return charge


@pytest.fixture(scope="session")
def march() -> Period:
    return MARCH


@pytest.fixture
def office(database: Database, clock: MovableClock, entropy: Entropy, tmp_path: Path) -> Office:
    return Office(database, clock, entropy, tmp_path)
