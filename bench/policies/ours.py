"""Tallygate itself on the same stage: its own classes, wired for each process as in its whole-system simulation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tallygate.errors import BudgetExceeded
from tallygate.ids import new_install_id
from tallygate.ledger.book import Book
from tallygate.money import Money
from tallygate.pricing.offers import PurchaseOption, ResourceRequest, rank
from tallygate.simcloud.dialects import DIALECTS
from tallygate.simcloud.installation import Installation, submission
from tallygate.simcloud.processes import Process
from tallygate.simcloud.records import Expected
from tallygate.simcloud.workload import Ask
from tallygate.store.jobs import JobRepository
from tallygate.store.journal import JournalStore
from tallygate.store.migrate import open_store

from .scenarios import CENT
from .stage import WATCH_SECONDS, Service, Stage

COLLECT_SECONDS = 12 * 3600

_OWN = "-own"
"""What ends the key of a job with a budget of its own."""


class Tallygate:
    """Holds the worst case before every launch, and nothing but the budgets of the plan is set: every default stands.

    The simulation's invariants watch it as they do there; ``broken`` is what they found.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        memory = Path("/dev/shm")
        self._folder = TemporaryDirectory(prefix="tallygate-bench-", dir=memory if memory.is_dir() else None)
        world = stage.world
        self._database = open_store(":memory:", clock=world.clock)
        self._house = Installation(
            world,
            self._database,
            install_id=new_install_id(world.entropy("install")),
            folder=Path(self._folder.name),
            strict=True,
        )
        stage.processes.on_commit = self._house.invariants.committed
        world.after_event.append(self._house.invariants.after_event)
        book = Book(JournalStore(self._database), clock=world.clock, entropy=world.entropy("set-up"), author="set-up")
        for plan in stage.plan.budgets:
            budget = book.add_budget(
                name=plan.name, limit=plan.limit, period=plan.period, zone=plan.zone, hard=plan.hard
            )
            self._house.invariants.records.budgets[budget.id] = Expected(budget.name, budget.scope, budget.hard)

    def submit(self, process: Process, ask: Ask) -> None:
        self._house.desk(process).submit(submission(ask))

    def services(self) -> list[Service]:
        return [
            Service(role="watcher", first=30, work=self._watch),
            Service(role="collector", first=COLLECT_SECONDS, work=self._collect),
        ]

    def broken(self) -> list[str]:
        self._house.invariants.check_ends()
        self._house.invariants.verify()
        # Whom the cloud has turned away asks again, and means to: one wish may be two requests here.
        return [str(each) for each in self._house.invariants.violations if each.invariant != "A26"]

    def close(self) -> None:
        self._database.close()
        self._folder.cleanup()

    def expected(self) -> dict[int, int]:
        jobs = JobRepository(self._database)
        found: dict[int, int] = {}
        for number in self._stage.asks:
            for key in self._stage.keys(number):
                known = jobs.by_request(key) or jobs.by_request(f"{key}{_OWN}")
                if known is not None:
                    found[number] = known[0].estimated_cost.nanos
        return found

    def _watch(self, process: Process) -> None:
        desk = self._house.desk(process)
        while True:
            desk.reconcile()
            process.sleep(WATCH_SECONDS)

    def _collect(self, process: Process) -> None:
        desk = self._house.desk(process)
        while True:
            desk.collector().retrieve(jobs_max=1000, days_back=30)
            process.sleep(COLLECT_SECONDS)


class WithJobBudgets(Tallygate):
    """The same, asked by users who first try with a budget for the job itself: twice its estimate, in whole cents.

    A job's own budget lowers its price ceiling and so what is held. Where that is refused they ask again without.
    """

    def submit(self, process: Process, ask: Ask) -> None:
        desk = self._house.desk(process)
        if desk.jobs.by_request(ask.key) is not None:
            return
        try:
            desk.submit(submission(replace(ask, budget=self._twice_the_estimate(ask), key=f"{ask.key}{_OWN}")))
        except BudgetExceeded:
            desk.submit(submission(ask))

    def _twice_the_estimate(self, ask: Ask) -> Money:
        options = PurchaseOption.ON_DEMAND if ask.on_demand else PurchaseOption.SPOT
        request = ResourceRequest(vcpus_min=ask.vcpus_min, provider=ask.provider, purchase_options=frozenset({options}))
        market = self._stage.world.market
        best = rank([offer for name in DIALECTS for offer in market.offers(name, name=name)], request)[0]
        wanted = best.hourly_price.times(ask.hours * 2, round_up=True).nanos
        return Money(-(-wanted // CENT) * CENT)
