"""A provider with a memory whose answers can be bent, around the real ledger, launcher and watcher on real databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tallygate.errors import OutcomeUnknown, ProviderError, Unavailable
from tallygate.ids import new_id
from tallygate.jobs import agent
from tallygate.jobs.job import Attempt, Job, JobSpec
from tallygate.jobs.launch import Application, Launcher
from tallygate.jobs.milestones import Milestone
from tallygate.jobs.watch import Watcher, WatchPolicy
from tallygate.ledger.book import Book
from tallygate.money import Money
from tallygate.pricing.estimate import Estimate, Policy, estimate, within
from tallygate.pricing.offers import Offer, PurchaseOption, ResourceRequest
from tallygate.pricing.terms import Terms
from tallygate.providers.base import Launch, LaunchOrder, Listing, MachineState
from tallygate.store.database import Database
from tallygate.store.jobs import JobRepository
from tallygate.store.journal import JournalStore
from tallygate.times import Clock

INSTALL = "test0000"


class Died(BaseException):
    """The process ended here."""


@dataclass
class Machine:
    """One machine of the bendable provider."""

    launch: Launch
    order: LaunchOrder
    stubborn: bool = False


@dataclass
class Cloud:
    """A provider with a memory.

    ``fail_launch`` is raised by the next create call; ``after_making`` makes the machine all the same. ``hidden`` tokens do
    not show in listings, ``partial`` listings are incomplete. ``listing_seconds``: how long a listing takes.
    """

    clock: Clock
    name: str = "cloud"
    terms: Terms = field(
        default_factory=lambda: Terms(
            kill_seconds=60,
            has_price_ceiling=True,
            seconds_min=1,
            seconds_step=1,
            token_lasts=False,
            disk_gib_month=None,
            disk_gib_default=0,
            public_address_hour=None,
            egress_gib=None,
            source="a test",
            remembers_ended=True,
        )
    )
    machines: dict[str, Machine] = field(default_factory=dict)
    creates: list[str] = field(default_factory=list)
    terminated: list[str] = field(default_factory=list)
    fail_launch: list[ProviderError] = field(default_factory=list)
    fail_terminate: list[ProviderError] = field(default_factory=list)
    listing_seconds: int = 0
    after_making: bool = False
    hidden: set[str] = field(default_factory=set)
    partial: bool = False
    in_transaction: Callable[[], bool] = lambda: False

    def offers(self, request: ResourceRequest) -> Iterator[Offer]:
        yield offer(self.clock.now())

    def launch(self, order: LaunchOrder) -> Launch:
        assert not self.in_transaction(), "a cloud call inside a database transaction"
        assert order.tags["tallygate-token"] == order.token
        self.creates.append(order.token)
        for machine in self.machines.values():
            if machine.order.token == order.token:
                return machine.launch
        if self.fail_launch and not self.after_making:
            raise self.fail_launch.pop(0)
        launch = self.make(order)
        if self.fail_launch:
            raise self.fail_launch.pop(0)
        return launch

    def make(self, order: LaunchOrder) -> Launch:
        now = self.clock.now()
        launch = Launch(
            id=f"m-{len(self.machines) + 1}",
            provider=self.name,
            token=order.token,
            state=MachineState.RUNNING,
            region=order.offer.region,
            zone=order.offer.zone,
            instance_type=order.offer.instance_type,
            tags=order.tags,
            launched_at=now,
            started_at=now,
        )
        self.machines[launch.id] = Machine(launch, order)
        return launch

    def end(self, machine_id: str, *, exit_status: int | None = None, reason: str = "finished") -> None:
        machine = self.machines[machine_id]
        machine.launch = replace(
            machine.launch,
            state=MachineState.ENDED,
            ended_at=self.clock.now(),
            end_source="provider",
            end_reason=reason,
            exit_status=exit_status,
        )

    def describe(self, ids: Sequence[str] | None = None) -> Listing:
        assert not self.in_transaction(), "a cloud call inside a database transaction"
        shown = [
            machine.launch
            for machine in self.machines.values()
            if machine.order.token not in self.hidden and (ids is None or machine.launch.id in ids)
        ]
        if self.partial:
            return Listing(
                provider=self.name,
                began_at=self.clock.now(),
                complete=False,
                launches=(),
                problem="page 2 did not come",
            )
        began_at = self.clock.now()
        self.clock.sleep(self.listing_seconds)
        return Listing(
            provider=self.name,
            began_at=began_at,
            complete=True,
            launches=tuple(shown),
        )

    def terminate(self, machine_id: str) -> None:
        if self.fail_terminate:
            raise self.fail_terminate.pop(0)
        self.terminated.append(machine_id)
        machine = self.machines.get(machine_id)
        if machine is not None and not machine.stubborn and machine.launch.state is not MachineState.ENDED:
            self.end(machine_id, reason="terminated")


def offer(now: datetime, *, price: str = "1.00", instance_type: str = "m.large") -> Offer:
    return Offer(
        provider="cloud",
        region="here",
        zone="here-1",
        instance_type=instance_type,
        purchase_option=PurchaseOption.SPOT,
        vcpus=2,
        memory_gib=Decimal(8),
        hourly_price=Money.of(price),
        priced_at=now,
        price_source="a test",
    )


class NamedProcess:
    """A process identity that can be declared gone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.gone: set[str] = set()

    def is_gone(self, name: str) -> bool:
        return name in self.gone


@dataclass
class Reports:
    """What agents reported, by attempt number."""

    by_attempt: dict[tuple[str, int], agent.Report] = field(default_factory=dict)

    def report(self, job: Job, attempt: Attempt) -> agent.Report | None:
        return self.by_attempt.get((job.id, attempt.number))


class House:
    """Everything a launch needs, wired as in production, around the bendable cloud."""

    def __init__(self, database: Database, clock: Clock, entropy: object) -> None:
        self.database = database
        self.clock = clock
        self.entropy = entropy
        self.cloud = Cloud(clock, in_transaction=lambda: self.database.in_transaction)
        self.reports = Reports()
        self.process = NamedProcess("host:boot:1:1")
        self.die_at: Milestone | None = None
        self.meanwhile: dict[Milestone, Callable[[], object]] = {}
        """What others do while this process is held up at a milestone, once."""
        self.jobs = JobRepository(database)
        self.book = Book(JournalStore(database), clock=clock, entropy=entropy)

    def passing(self, milestone: Milestone) -> None:
        if milestone is self.die_at:
            self.die_at = None
            raise Died(milestone)
        act = self.meanwhile.pop(milestone, None)
        if act is not None:
            act()

    def provider(self, name: str) -> Cloud:
        if name != self.cloud.name:
            raise Unavailable(f"{name} does not answer")
        return self.cloud

    @property
    def launcher(self) -> Launcher:
        return Launcher(
            store=self.jobs,
            book=self.book,
            transaction=self.database.transaction,
            providers=self.provider,
            clock=self.clock,
            entropy=self.entropy,
            process=self.process,
            install_id=INSTALL,
            agent_settings=agent.Settings(),
            passing=self.passing,
        )

    @property
    def watcher(self) -> Watcher:
        return Watcher(
            launcher=self.launcher,
            store=self.jobs,
            book=self.book,
            transaction=self.database.transaction,
            providers=self.provider,
            reports=self.reports,
            reestimate=lambda job, attempt, left: within(
                attempt.offer, self.cloud.terms, budget=left, run_seconds_max=job.run_seconds_max
            ),
            clock=self.clock,
            process=self.process,
            install_id=INSTALL,
            policy=WatchPolicy(),
            passing=self.passing,
        )

    def estimate(self, *, budget: str | None = "10", price: str = "1.00", instance_type: str = "m.large") -> Estimate:
        now = self.clock.now()
        return estimate(
            offer(now, price=price, instance_type=instance_type),
            self.cloud.terms,
            hours=Decimal(2),
            budget=None if budget is None else Money.of(budget),
            policy=Policy(),
            now=now,
        )

    def submit(self, *estimates: Estimate, **more: object) -> Job:
        spec = JobSpec(
            command="./run.sh", inputs="file:///inputs.tar.gz", inputs_digest="0" * 64, outputs="file:///outputs"
        )
        application = Application(
            name="a-job",
            spec=spec,
            estimates=estimates or (self.estimate(),),
            **more,
        )
        return self.launcher.submit(application, job_id=new_id(self.clock, self.entropy))

    def reconcile(self, *, after: float = 0) -> list[str]:
        self.clock.sleep(after)
        report = self.watcher.reconcile(["cloud"])
        return report.actions + report.problems

    def dies(self, act: Callable[[], object]) -> None:
        """Carry out ``act``, which must die at the milestone set."""
        with pytest.raises(Died):
            act()

    def restart(self) -> None:
        """Another process goes on; the one before it is known to be gone."""
        before = self.process
        self.process = NamedProcess(f"{before.name}+")
        self.process.gone = {*before.gone, before.name}

    def only_job(self) -> Job:
        (row,) = self.jobs.rows()
        return self.jobs.get(str(row["job_id"]))

    def report(self, job: Job, reason: str, exit_status: int | None, *, attempt: int = 1) -> None:
        self.reports.by_attempt[job.id, attempt] = agent.Report(
            job_id=job.id,
            attempt=attempt,
            reason=reason,
            detail="as told",
            exit_status=exit_status,
            started_at=None,
            ended_at=self.clock.now(),
            seconds=0,
            outputs="none",
            checkpoint="none",
            image=None,
        )

    def jars(self, job: Job) -> tuple[str, str]:
        """Held and spent of the job's own account."""
        account = self.book.job_account(job.id)
        assert account is not None
        return account.held.shown(2), account.spent.shown(2)

    def check(self) -> None:
        """Every invariant that can be seen from here."""
        verified = self.book.verify()
        assert verified.problem is None, verified.problem
        for job_row in self.jobs.rows(most=1000):
            job = self.jobs.get(str(job_row["job_id"]))
            alive = [
                machine
                for machine in self.cloud.machines.values()
                if machine.launch.state is not MachineState.ENDED
                and machine.order.tags["tallygate-job"] == job.id
                and self.clock.now() < machine.order.not_after
            ]
            assert len(alive) <= 1, "two live machines of one job"
            if alive:
                assert any(hold.is_open for hold in self.book.holds(job.id)), "a live machine without an open hold"
            if job.state.is_over:
                assert all(not hold.is_open for hold in self.book.holds(job.id)), "a finished job still holds money"


@pytest.fixture
def house(database: Database, clock: Clock, entropy: object) -> House:
    return House(database, clock, entropy)


@pytest.fixture
def hour() -> timedelta:
    return timedelta(hours=1)


__all__ = ["Cloud", "Died", "House", "OutcomeUnknown", "offer"]
