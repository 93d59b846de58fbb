"""Jobs in the state their bills have left them in, on real databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tallygate.billing.settle import JobBill
from tallygate.billing.versions import Version, VersionState
from tallygate.ids import Entropy, new_id
from tallygate.jobs.job import Attempt, AttemptState, CostState, Job, JobSpec, JobState
from tallygate.ledger.book import Book
from tallygate.money import Money
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.store.charges import ChargeRepository
from tallygate.store.database import Database
from tallygate.store.jobs import JobRepository
from tallygate.store.journal import JournalStore
from tallygate.times import Clock, Period


@dataclass
class Records:
    """A store with jobs in it."""

    database: Database
    clock: Clock
    entropy: Entropy

    def __post_init__(self) -> None:
        self.jobs = JobRepository(self.database)
        self.charges = ChargeRepository(self.database)
        self.book = Book(JournalStore(self.database), clock=self.clock, entropy=self.entropy)
        self._versions: dict[tuple[str, datetime], str] = {}

    def job(
        self,
        *,
        name: str = "test",
        provider: str = "aws",
        state: JobState = JobState.COMPLETED,
        ended: datetime | None = None,
        seconds: int = 3600,
        vcpus: int = 4,
        price: str = "1",
        estimated: str = "1",
        budget: str | None = None,
        billed: str | None = None,
        final: bool = True,
        days: dict[str, str] | None = None,
        currency: str = "USD",
        metered: bool = True,
        budgets: tuple[str, ...] = (),
    ) -> Job:
        """A job that ended at ``ended``; ``days`` is what it was billed on each day, else all on the day it began."""
        ended = ended or self.clock.now()
        start = ended - timedelta(seconds=seconds)
        offer = Offer(
            provider=provider,
            region="us-east-1",
            zone="us-east-1a",
            instance_type="r5.4xlarge",
            purchase_option=PurchaseOption.SPOT,
            vcpus=vcpus,
            memory_gib=Decimal(16),
            hourly_price=Money.of(price, currency),
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
            estimated_runtime_seconds=3600,
            run_seconds_max=7200,
            budget_limit=None if budget is None else Money.of(budget, currency),
            estimated_cost=Money.of(estimated, currency),
            hold=Money.of("20", currency),
            charged_to=budgets[-1] if budgets else None,
            submitted_at=start,
            updated_at=start,
            started_at=start,
        )
        if currency == "USD":
            self.book.authorize(
                job_id=job.id,
                budgets=[self.book.budget(each) for each in budgets],
                job_limit=None,
                amount=job.hold,
                expires_at=ended + timedelta(days=1),
            )
        self.jobs.add(job)
        attempt = Attempt(
            id=new_id(self.clock, self.entropy),
            job_id=job.id,
            number=1,
            token=f"tg-{job.id}",
            state=AttemptState.INTENT,
            offer=offer,
            price_max=offer.hourly_price,
            run_seconds_max=7200,
            kill_seconds=60,
            not_after=ended + timedelta(days=1),
            created_at=start,
            metered_cost=Money.zero(currency),
        )
        self.jobs.add_attempt(attempt)
        live = replace(attempt, state=AttemptState.LIVE, machine_id=f"i-{job.id}", launched_at=start, started_at=start)
        self.jobs.save_attempt(live, was=attempt)
        if not state.is_over:
            self.jobs.save_job(job, was=job)
            return job
        cost = offer.hourly_price.for_seconds(seconds)
        over = replace(
            live,
            state=AttemptState.ENDED,
            ended_at=ended,
            end_source="provider",
            metered_seconds=seconds,
            metered_cost=cost,
        )
        self.jobs.save_attempt(over, was=live)
        finished = replace(
            job,
            state=state,
            cost_state=CostState.METERED if metered else CostState.ESTIMATED,
            metered_cost=cost if metered else None,
            ended_at=ended,
        )
        self.jobs.save_job(finished, was=job)
        if billed is not None:
            self.bill(finished, billed, days or {start.date().isoformat(): billed}, final=final)
        return self.jobs.get(job.id)

    def bill(self, job: Job, billed: str, days: dict[str, str], *, final: bool) -> None:
        amount = Money.of(billed, job.estimated_cost.currency)
        provider = job.offer.provider
        for day, cost in days.items():
            period = Period.month(datetime.fromisoformat(day).replace(tzinfo=UTC))
            self.database.run(
                "charges.add_daily",
                job_id=job.id,
                usage_date=day,
                source=provider,
                provider=provider,
                currency=amount.currency,
                period_start=period.start,
                billed_nanos=Money.of(cost).nanos,
                version_id=self._version(provider, period),
            )
        state = CostState.FINAL if final else CostState.BILLED
        bill = JobBill(cost_state=state, billed=amount, final=amount if final else None, target=amount, is_over=True)
        self.charges.save_bill(job.id, bill, at=self.clock.now())

    def _version(self, source: str, period: Period) -> str:
        if (source, period.start) not in self._versions:
            version = Version(
                id=new_id(self.clock, self.entropy),
                source=source,
                period=period,
                number=1,
                state=VersionState.CURRENT,
                row_count=0,
                digest="0" * 64,
                path="none",
                file_sha256="0" * 64,
                issued_at=period.end,
                complete_through=period.end,
                retrieved_at=period.end,
            )
            self.charges.add_version(version)
            self._versions[source, period.start] = version.id
        return self._versions[source, period.start]


@pytest.fixture
def records(database: Database, clock: Clock, entropy: Entropy) -> Records:
    return Records(database, clock, entropy)


@pytest.fixture
def now(clock: Clock) -> Callable[[], datetime]:
    return clock.now
