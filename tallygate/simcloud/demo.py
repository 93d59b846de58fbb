"""A simulated month of a small team: the product's own code in a pretend world, told line by line as it happens.

    seed, last day --> world of three clouds --> people, watch, bills, each with its own troubles --> lines, one by one
                   --> every promise checked, every bill final, the books compared with the truth --> an ordinary database

The cast and its wishes are in ``demo_story``. The same seed and last day give the same month, to the byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from ..errors import CheckFailed, OutcomeUnknown, TallygateError
from ..jobs.milestones import Milestone
from ..jobs.submission import Submission
from ..ledger.book import Book
from ..money import Money
from ..pricing.offers import PurchaseOption, ResourceRequest
from ..reports.render import provider_name
from ..store.database import Database
from ..store.jobs import JobRepository
from ..store.journal import JournalStore
from ..store.migrate import install_id, open_store
from .chance import Stream
from .demo_story import BILLS_MISSING, BUDGETS, DAYS, LAB, SCHEDULER_DOWN, TOP_UPS, WISHES, TopUp, Trouble, Wish
from .demo_telling import Jars, Line, Telling, Told, Tone, money, short
from .faults import ALWAYS
from .installation import ACCOUNT, Installation
from .invariants import INVARIANTS, Violation
from .machines import Machine
from .market import Climate
from .processes import GO_ON, Host, Kindly, Mishap, Process, Processes, State, Turn, Write
from .records import Expected
from .timeline import DAY, HOUR, SECOND
from .work import Work
from .workload import ASK_TAG
from .world import World

SEED = 1
"""The month that is told unless another is asked for."""

DATABASE, STATE = "cloud_jobs.db", ".tallygate"
"""What a month leaves in its folder: the store, and beside it the bills that were kept."""

_WEATHER = Climate(jump=15_000, empty=0, interrupt=60_000)
"""Prices drift as ever; of the troubles most are the story's, and pools run dry in it alone."""

_ASK = f"user-{ASK_TAG}"
_WATCH_SECONDS = 600
_COLLECT_AT = 6 * HOUR + 30 * 60 * SECOND
_NEW_PRICE_PERCENT = 160
_DRY_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What a month came to. Amounts in nanos: what was truly used, what the ledger has spent, what bills leave to nobody."""

    seed: int
    first_day: date
    last_day: date
    jobs: Counter[str]
    refused: int
    machines: int
    interrupted: int
    final_jobs: int
    promises: int
    events: int
    used: int
    spent: int
    nobodys: int
    install_id: str
    digest: str
    resumed_job: str | None
    last_job: str

    @property
    def jobs_in_all(self) -> int:
        return sum(self.jobs.values())


class Month:
    """One month, from its seed to its books. ``tell`` it once, then read ``books``."""

    def __init__(self, folder: Path, *, seed: int = SEED, last_day: date) -> None:
        """``folder`` must exist; the month's database and state are made in it. ``last_day`` is the month's last, in UTC."""
        self.first_day = last_day - timedelta(days=DAYS - 1)
        self.last_day = last_day
        self.world = World(seed, start=datetime.combine(self.first_day, datetime.min.time(), UTC), climate=_WEATHER)
        self.processes = Processes(self.world, _Fate(self))
        self.database: Database = open_store(str(folder / DATABASE), clock=self.world.clock)
        self.house = Installation(
            self.world,
            self.database,
            install_id=install_id(self.database, self.world.clock, self.world.entropy("install")),
            folder=folder / STATE,
            strict=True,
        )
        self._host = Host("lab-server", self.world.new_clock())
        self._jobs = JobRepository(self.database)
        self._book = Book(JournalStore(self.database), clock=self.world.clock, entropy=self.world.entropy("telling"))
        self._telling = Telling(self.world, self._jobs, self._book)
        self._told: list[Told] = []
        self._wishes = dict(enumerate(WISHES, 1))
        self._struck: set[int] = set()
        self._refused = 0
        self._down = False
        self._ended_seen = 0
        self._machines_seen = 0
        self.books: Books | None = None
        self.world.fleet.work_of = self._work
        self.processes.on_commit = self._committed
        self.world.after_event.append(self._after_event)
        self._plan()

    def close(self) -> None:
        """Leave the database as a file that needs nothing else."""
        self.database.close()

    # --- telling

    def tell(self) -> Iterator[Told]:
        """The month, line by line as it happens. Raises ``CheckFailed`` where a promise is broken or the books do not close."""
        end = self.world.start + DAYS * DAY
        while (following := self.world.next_at()) is not None and following <= end:
            self.world.step()
            yield from self._take()
            self._check()
        self.world.run_until(end)
        self.house.invariants.check_converged()
        self.house.invariants.check_ends()
        self.house.invariants.verify()
        self.house.invariants.check_books()
        self._check()
        yield from self._take()
        self.books = self._closed()

    def _take(self) -> list[Told]:
        told, self._told = self._told, []
        return told

    def _say(self, who: str, job: str, says: str, tone: Tone = Tone.PLAIN, *, more: str = "") -> None:
        self._told.append(Line(at=self.world.instant(), who=who, job=job, says=says, more=more, tone=tone))

    def _check(self) -> None:
        broken: list[Violation] = self.house.invariants.violations
        if broken:
            raise CheckFailed(
                f"A promise was broken: {broken[0]}",
                cure=f"See it again with: tallygate demo --seed {self.world.seed} --until {self.last_day}",
            )

    # --- the plan of the month

    def _plan(self) -> None:
        self._at(0, "08:30", self._set_up)
        for number in self._wishes:
            self._plan_wish(number)
        for top_up in TOP_UPS:
            self._at(top_up.day, top_up.at, lambda top_up=top_up: self._top_up(top_up))  # type: ignore[misc]
        for day in range(1, DAYS):
            self.world.at(self.world.start + day * DAY + _COLLECT_AT, lambda day=day: self._morning(day))  # type: ignore[misc]
        (day, at), (day_after, at_after) = SCHEDULER_DOWN
        self._at(day, at, self._goes_down)
        self._at(day_after, at_after, self._comes_back)
        for week in range(1, DAYS // 7 + 1):
            self.world.at(self.world.start + week * 7 * DAY - SECOND, lambda week=week: self._week_ends(week))  # type: ignore[misc]

    def _at(self, day: int, at: str, act: Callable[[], None]) -> None:
        hours, minutes = at.split(":")
        self.world.at(self.world.start + day * DAY + int(hours) * HOUR + int(minutes) * 60 * SECOND, act)

    def _plan_wish(self, number: int) -> None:
        wish = self._wishes[number]
        asked = self.world.start + wish.seconds * SECOND
        for repeat in range(1 + wish.again):
            at = asked + repeat * 2 * SECOND
            self.world.at(at, lambda repeat=repeat: self._start_asking(number, repeat))  # type: ignore[misc]
        if wish.stop_after is not None:
            self.world.at(asked + wish.stop_after * 60 * SECOND, lambda: self._start(wish.who, self._stopping(number)))
        if wish.extend_after is not None:
            at = asked + wish.extend_after * 60 * SECOND
            self.world.at(at, lambda: self._start(wish.who, self._extending(number)))

    def _start(self, role: str, work: Callable[[Process], None]) -> None:
        self.processes.start(role, self._host, work)

    # --- what people do

    def _set_up(self) -> None:
        def work(process: Process) -> None:
            book = self.house.desk(process).book
            for plan in BUDGETS:
                budget = book.add_budget(name=plan.name, limit=plan.limit, period=plan.period, zone=plan.zone)
                self.house.invariants.records.budgets[budget.id] = Expected(budget.name, budget.scope, budget.hard)
                renews = "" if plan.period == "none" else f" every {plan.period}"
                self._say("esra", "", f"sets up budget {plan.name}: {money(plan.limit)}{renews}")

        self._start("esra", work)

    def _top_up(self, top_up: TopUp) -> None:
        def work(process: Process) -> None:
            book = self.house.desk(process).book
            book.top_up(top_up.budget, top_up.amount, reason=top_up.reason, key=f"day-{top_up.day}")
            limit = book.account(book.budget(top_up.budget), process.now()).limit
            says = f"gives {top_up.budget} {money(top_up.amount)} more, {money(limit)} in all"
            self._say(top_up.who, "", says, more=top_up.reason)

        self._start(top_up.who, work)

    def _start_asking(self, number: int, repeat: int) -> None:
        wish = self._wishes[number]
        self._start(f"{wish.who} {number}", lambda process: self._ask(process, number, repeat))
        self.world.after(90, self._ensure_watch)

    def _ask(self, process: Process, number: int, repeat: int) -> None:
        wish = self._wishes[number]
        try:
            known = self._jobs.by_request(_key(number))
            job = self.house.desk(process).submit(_submission(number, wish))
        except OutcomeUnknown:
            return  # the job's own story says so
        except TallygateError as error:
            self._refused += 1
            words = " ".join(error.message.splitlines()[:1])
            self._say(wish.who, wish.job, f"refused: {words}", Tone.REFUSED)
            return
        if repeat and known is not None and known[0].id == job.id:
            self._say(wish.who, wish.job, "sent once more, by mistake: it is the same job", more=f"job {job.id}")

    def _stopping(self, number: int) -> Callable[[Process], None]:
        def work(process: Process) -> None:
            desk = self.house.desk(process)
            found = desk.jobs.by_request(_key(number))
            if found is not None:
                desk.terminate(found[0].id, reason="wrong input")

        return work

    def _extending(self, number: int) -> Callable[[Process], None]:
        wish = self._wishes[number]

        def work(process: Process) -> None:
            desk = self.house.desk(process)
            found = desk.jobs.by_request(_key(number))
            if found is None:
                return
            try:
                desk.extend(found[0].id, hours=wish.extend_hours, key=f"longer-{number}")
            except TallygateError as error:
                self._say(wish.who, wish.job, f"not extended: {error.message}", Tone.REFUSED)

        return work

    # --- what goes on by itself

    def _ensure_watch(self) -> None:
        """Whoever launches leaves a watcher behind, as ``jobs watch --until-idle`` does; one is enough."""
        if not self._down and not any(each.role == "watch" for each in self.processes.alive()):
            self._start("watch", self._watch)

    def _watch(self, process: Process) -> None:
        desk = self.house.desk(process)
        while desk.reconcile().open_attempts:
            process.sleep(_WATCH_SECONDS)

    def _morning(self, day: int) -> None:
        """The two lines of the lab's timetable: reconcile once, then ask for bills."""

        def work(process: Process) -> None:
            desk = self.house.desk(process)
            desk.reconcile()
            before = self._telling.standings()
            report = desk.collector().retrieve(jobs_max=1000, days_back=30)
            if report.problems:
                count = f"{len(report.problems)} bill{'' if len(report.problems) == 1 else 's'}"
                says = f"{count} cannot be had, so nothing moves"
                self._say("bills", "", says, Tone.TROUBLE, more=report.problems[0])
            for says, more, tone in self._telling.bills(before, self._telling.standings()):
                self._say("bills", "", says, tone, more=more)

        if self._down:
            self.world.at(self.world.now + HOUR, lambda: self._morning(day))
            return
        self.world.faults.bill_outage.rate = ALWAYS if day == BILLS_MISSING else 0
        self._start("bills", work)

    def _goes_down(self) -> None:
        """The scheduler's machine loses power: every process of ours dies, whatever it was doing."""
        self._down = True
        for process in self.processes.alive():
            self.processes.kill(process)
        alive = self.world.alive()
        count = f"{len(alive)} machine{'' if len(alive) == 1 else 's'}"
        says = "the scheduler's own computer goes off, and its database with it"
        self._say("power", "", says, Tone.TROUBLE, more=f"{count} run on alone")

    def _comes_back(self) -> None:
        self._down = False
        alive = self.world.alive()
        left = "none of them is left" if not alive else f"{len(alive)} of them still run"
        says = "the scheduler is back; the machines have kept to their own ends"
        self._say("power", "", says, Tone.GOOD, more=left)
        self._ensure_watch()

    def _week_ends(self, week: int) -> None:
        now = self.world.instant()
        budgets = tuple(
            (budget.name, self._book.account(budget, now)) for budget in self._book.budgets() if budget.period == "none"
        )
        self._told.append(Jars(week=week, at=now, budgets=budgets))

    # --- what the product writes

    def _committed(self, process: Process, writes: Sequence[Write]) -> None:
        self.house.invariants.committed(process, writes)
        for query, values in writes:
            if query == "jobs.add_event":
                self._event(process, str(values["job_id"]), str(values["event"]), str(values["detail"]))

    def _event(self, process: Process, job_id: str, event: str, detail: str) -> None:
        who = "watch" if process.role in ("watch", "bills") else process.role.partition(" ")[0]
        told = self._telling.event(job_id, event, detail, who=who, at=self.world.instant())
        if told is not None:
            self._told.append(told)
        if event == "launched":
            self._launched(job_id)

    def _after_event(self) -> None:
        self.house.invariants.after_event()
        self._spare_new_machines()
        while self._ended_seen < len(self.processes.ended):
            process = self.processes.ended[self._ended_seen]
            self._ended_seen += 1
            self.house.invariants.checked_process(process)
            if process.state is State.FAILED and process.error is not None:
                self._say(process.role.partition(" ")[0], "", str(process.error), Tone.TROUBLE)

    # --- troubles

    def _launched(self, job_id: str) -> None:
        """A machine of a job is on record: whatever the story has in store for it is planned now."""
        job = self._jobs.get(job_id)
        number = int(job.tags[ASK_TAG])
        wish = self._wishes[number]
        if number in self._struck or wish.trouble not in (Trouble.TAKEN_BACK, Trouble.PRICE_JUMP):
            return
        self._struck.add(number)
        strike = self._take_back if wish.trouble is Trouble.TAKEN_BACK else self._raise_price
        self.world.after(wish.after * 60, lambda: strike(job_id))

    def _spare_new_machines(self) -> None:
        """Where the story has something in store for a job, the cloud does not take its machine back before that."""
        machines = self.world.machines
        if len(machines) == self._machines_seen:
            return
        for made in list(machines.values())[self._machines_seen :]:
            wish = self._wishes[int(made.build.tags[_ASK])]
            if wish.trouble is not None or wish.hangs or wish.extend_after is not None:
                self.world.take_back(made, at=self.world.start + 2 * DAYS * DAY)
        self._machines_seen = len(machines)

    def _machine_of(self, job_id: str) -> Machine | None:
        """The job's machine if it still runs."""
        attempts = self._jobs.attempts(job_id)
        found = self.world.machines.get(attempts[-1].machine_id or "")
        return found if found is not None and found.is_alive else None

    def _take_back(self, job_id: str) -> None:
        found = self._machine_of(job_id)
        if found is None:
            return
        notice = found.dialect.notice_seconds
        says = f"wants {short(found.id)} back: {notice} s notice"
        self._say(provider_name(found.dialect.name), self._jobs.get(job_id).name, says, Tone.TROUBLE)
        self.world.take_back(found)

    def _raise_price(self, job_id: str) -> None:
        found = self._machine_of(job_id)
        if found is None or found.build.ceiling is None:
            return
        pool, ceiling = found.build.pool, found.build.ceiling
        was, raised = pool.price_at(self.world.now), ceiling * _NEW_PRICE_PERCENT // 100
        says = f"price goes from {money(Money(was))} to {money(Money(raised))}/h"
        more = f"the launch was sent with a ceiling of {money(Money(ceiling))}/h"
        self._say(provider_name(found.dialect.name), self._jobs.get(job_id).name, says, Tone.TROUBLE, more=more)
        self.world.reprice(pool, raised)

    def strikes(self, process: Process, point: str) -> Turn:
        """What befalls a process at a point: only what the story has in store for that wish, and only once."""
        _, _, number_text = process.role.partition(" ")
        if not number_text.isdigit():
            return GO_ON
        number = int(number_text)
        trouble = self._wishes[number].trouble
        if trouble is Trouble.LOST_REPLY:
            if point == Milestone.CREATE_CALLED and number not in self._struck:
                self._struck.add(number)
                self.world.faults.lost_reply.rate = ALWAYS
            elif point == Milestone.UNKNOWN_COMMITTED:
                self.world.faults.lost_reply.rate = 0
        elif trouble is Trouble.LAUNCHER_DIES and point == Milestone.CREATE_ANSWERED and number not in self._struck:
            self._struck.add(number)
            wish = self._wishes[number]
            says = "the launching process dies: the cloud has answered,"
            self._say(wish.who, wish.job, says, Tone.TROUBLE, more="and nothing of it is on record")
            return Turn(mishap=Mishap.DIES)
        elif trouble is Trouble.NO_CAPACITY and point == Milestone.INTENT_COMMITTED and number not in self._struck:
            self._struck.add(number)
            self._dry_up(number)
        return GO_ON

    def _dry_up(self, number: int) -> None:
        found = self._jobs.by_request(_key(number))
        if found is None:
            return
        offer = found[0].offer
        pool = self.world.market.pool(offer.provider, offer.zone or "", offer.instance_type)
        if pool is not None:
            pool.set_empty(self.world.now, self.world.now + _DRY_SECONDS * SECOND)

    def _work(self, made: Machine, chance: Stream) -> Work:
        wish = self._wishes[int(made.build.tags[_ASK])]
        return Work(seconds=wish.minutes * 60, exit_status=wish.exit_status, checkpoint_seconds=300, hangs=wish.hangs)

    # --- the end

    def _closed(self) -> Books:
        rows = self._jobs.documented_rows(most=10_000)
        unfinal = [str(row["name"]) for row in rows if row["cost_state"] != "final"]
        lab = self._book.account(self._book.budget(LAB), self.world.instant())
        nobodys = sum(int(str(row["nanos"])) for row in self.database.all("checks.nobodys"))
        used = sum(meter.nanos(self.world.now) for meter in self.world.truth.of(account=ACCOUNT))
        if unfinal or lab.spent.nanos + nobodys != used:
            raise CheckFailed(
                f"The month does not close: {len(unfinal)} costs are not final, {used} nanos were used, "
                f"{lab.spent.nanos} are booked and {nobodys} are nobody's"
            )
        events = Counter(str(each["event"]) for row in rows for each in self._jobs.events(str(row["job_id"])))
        return Books(
            seed=self.world.seed,
            first_day=self.first_day,
            last_day=self.last_day,
            jobs=Counter(str(row["status"]) for row in rows),
            refused=self._refused,
            machines=len(self.world.machines),
            interrupted=events["interrupted"],
            final_jobs=len(rows) - len(unfinal),
            promises=len(INVARIANTS),
            events=self.world.events_done,
            used=used,
            spent=lab.spent.nanos,
            nobodys=nobodys,
            install_id=self.house.install_id,
            digest=self.world.digest(),
            resumed_job=self._resumed(),
            last_job=str(rows[0]["name"]),
        )

    def _resumed(self) -> str | None:
        """The name of a job that finished on its second machine, to look at afterwards."""
        for row in reversed(self._jobs.documented_rows(most=10_000)):
            machines = [each for each in self._jobs.attempts(str(row["job_id"])) if each.machine_id]
            if row["status"] == "completed" and len(machines) > 1:
                return str(row["name"])
        return None


class _Fate(Kindly):
    """Nothing befalls a process but what the story has in store."""

    def __init__(self, month: Month) -> None:
        self._month = month

    def at(self, process: Process, point: str) -> Turn:
        return self._month.strikes(process, point)


def _key(number: int) -> str:
    return f"wish-{number}"


def _submission(number: int, wish: Wish) -> Submission:
    """A wish in the words of the command line."""
    option = PurchaseOption.ON_DEMAND if wish.on_demand else PurchaseOption.SPOT
    return Submission(
        directory=Path("/home") / wish.who / wish.job,
        name=wish.job,
        command="./run.sh",
        request=ResourceRequest(
            vcpus_min=wish.vcpus,
            gpus_min=wish.gpus,
            provider=wish.provider,
            purchase_options=frozenset({option}),
        ),
        estimated_runtime_hours=Decimal(wish.hours),
        budget=None if wish.budget is None else Money.of(wish.budget),
        charge_to=wish.charge_to,
        tags={ASK_TAG: str(number), "who": wish.who},
        key=_key(number),
    )
