"""One simulated run of the whole system: from a seed to a verdict.

    seed --> world, workload, fate
         --> users, watchers, a collector of bills: the product's own code, taking turns
         --> every invariant after every event
         --> faults heal --> five rounds --> nothing is open --> the last bills --> the books say the truth

A run that breaks a promise stops there and says in one line how to see it again. The same settings give the same run, to
the byte of its event log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import CredentialsMissing, StoreError, Unavailable
from ..ids import new_install_id
from ..jobs.watch import NEWBORN
from ..ledger.book import Book
from ..store.database import Database
from ..store.journal import JournalStore
from ..store.migrate import open_store
from ..times import instant
from .chance import Stream
from .fate import Fate
from .faults import BREAKING_TIMERS
from .installation import Installation, submission
from .invariants import Violation
from .machines import Machine
from .market import Climate
from .processes import Host, Process, Processes, State
from .records import Expected
from .timeline import DAY, HOUR, SECOND, START, microseconds
from .work import Work
from .workload import ASK_TAG, Ask, LimitChange, Workload, draw
from .world import World

_TOLD = {"adopted": "adopted", "an orphan, told to end": "orphans", "is missing": "missed"}
_EVENTS = {
    "interrupted": "interrupted",
    "requeued": "relaunched",
    "extended": "extended",
    "stop_requested": "asked to end",
    "refused": "refused",
}
"""What is counted of a watcher's lines and of the jobs' stories."""

ROUNDS = 5
"""How many rounds of a watcher may pass after the last fault until everything is in order."""

ROUND_SECONDS = 61
"""Between two of them: an orphan is ended at the second sight, a minute after the first."""

_IDLE_SECONDS = 900
"""How long a watcher rests at least that saw nothing at all: watching an empty world proves nothing and takes long."""

_PATIENCE = microseconds(START + NEWBORN) - microseconds(START) + 600 * SECOND
"""After the last deadline: what a machine's end may take, and how late a cloud may show what it has made."""

_RETRIES = 3
_VERIFY_EVERY = 400
_SETTLING_DAYS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a run is made from.

    ``store``: ``:memory:``, ``file`` for a file of the run's own, or the URL of an empty store. ``strict`` None lets the seed
    decide whether the timers of machines work in this run. ``scheduler_dies_at``: so many seconds after the first machine was
    made every process dies and none starts again, until the world is healed. ``rates`` replace those that the seed draws
    for some faults, ``watchers`` how many look after the jobs at the same time.
    ``longest``: the longest estimate of a job, in seconds. ``collect_hours``: how often bills are asked for;
    ``watch_seconds``: how often a watcher passes, None to let the seed decide; ``verify_every``: after how many events the
    whole journal is recomputed.
    """

    seed: int
    jobs: int = 10
    hours: int = 18
    store: str = ":memory:"
    strict: bool | None = None
    scheduler_dies_at: int | None = None
    rates: Mapping[str, int] = field(default_factory=dict)
    watchers: int | None = None
    longest: int = 6 * 3600
    collect_hours: int = 12
    watch_seconds: int | None = None
    verify_every: int = _VERIFY_EVERY

    def replay(self, bug: str | None = None) -> str:
        """The command that carries out the same run."""
        plain = Settings(seed=self.seed)
        words = [f"tallygate simulate --seed {self.seed}"]
        if self.jobs != plain.jobs:
            words.append(f"--jobs {self.jobs}")
        if self.hours != plain.hours:
            words.append(f"--hours {self.hours}")
        if self.store == "file":
            words.append("--store file")
        if bug is not None:
            return " ".join([*words, f"--bug {bug}"])  # the bug brings the rest
        if self.strict is not None:
            words.append("--timers work" if self.strict else "--timers break")
        if self.scheduler_dies_at is not None:
            words.append(f"--scheduler-dies-at {self.scheduler_dies_at}")
        if self.watchers is not None:
            words.append(f"--watchers {self.watchers}")
        if self.longest != plain.longest:
            words.append(f"--longest {self.longest}")
        words += [f"--rate {name}={rate}" for name, rate in sorted(self.rates.items())]
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run. ``counts`` tell what happened in it, ``struck`` which faults."""

    settings: Settings
    violations: tuple[Violation, ...]
    digest: str
    events: int
    strict: bool
    counts: Counter[str]
    struck: Counter[str]

    @property
    def is_clean(self) -> bool:
        return not self.violations


def simulate(settings: Settings, *, log: Callable[[str], None] | None = None) -> Outcome:
    """Carry out one run. ``log`` is told every line of the event log."""
    memory = Path("/dev/shm")  # noqa: S108  only to be faster: a run leaves nothing behind
    with TemporaryDirectory(prefix="tallygate-sim-", dir=memory if memory.is_dir() else None) as folder:
        run = Simulation(settings, Path(folder), keep_log=log is not None)
        try:
            return run.run()
        finally:
            run.close()
            if log is not None:
                for line in run.world.log:
                    log(line)


class Simulation:
    """One run, from its settings to its outcome."""

    def __init__(self, settings: Settings, folder: Path, *, keep_log: bool = False) -> None:
        self.settings = settings
        self.world = World(settings.seed, climate=Climate(), keep_log=keep_log)
        chance = self.world.stream("simulation")
        self.strict = chance.chance(600_000) if settings.strict is None else settings.strict
        self.hosts = [
            Host(f"host-{number + 1}", self.world.new_clock()) for number in range(1 + chance.chance(400_000))
        ]
        self.world.faults.swarm(self.world.stream("swarm"), without=BREAKING_TIMERS if self.strict else frozenset())
        self.world.faults.set(settings.rates)
        self.fate = Fate(self.world.faults, self.world.stream("fate"), networked=len(self.hosts) > 1)
        self.processes = Processes(self.world, self.fate)
        store = str(folder / "cloud_jobs.db") if settings.store == "file" else settings.store
        self.database: Database = open_store(store, clock=self.world.clock)
        self.house = Installation(
            self.world,
            self.database,
            install_id=new_install_id(self.world.entropy("install")),
            folder=folder,
            strict=self.strict,
        )
        self.workload: Workload = draw(
            self.world.stream("workload"), jobs=settings.jobs, seconds=settings.hours * 3600, longest=settings.longest
        )
        self.counts: Counter[str] = Counter()
        self._chance = chance
        self._ended_seen = 0
        self._tries: Counter[str] = Counter()
        self._works: dict[str, Work] = {str(ask.number): ask.work for ask in self.workload.asks}
        drawn_interval = chance.pick((120, 180, 300, 600, 900))
        self._interval = drawn_interval if settings.watch_seconds is None else settings.watch_seconds
        drawn = 1 + chance.chance(400_000)
        self._watchers = drawn if settings.watchers is None else settings.watchers
        self._restarting = True
        self._doomed = False
        self.world.fleet.work_of = self._work_of
        self.processes.on_commit = self.house.invariants.committed
        self.world.after_event.append(self._after_event)

    def close(self) -> None:
        self.database.close()

    # --- the run

    def run(self) -> Outcome:
        """Everything, up to the first broken promise."""
        self._set_up()
        self._start()
        self._run_for(self.settings.hours * HOUR)
        if self.settings.scheduler_dies_at is not None and not self.is_broken:
            self.house.invariants.check_ends()
            self.house.invariants.verify()
        self._heal()
        self._converge()
        self._last_bills()
        self._end_processes()
        return Outcome(
            settings=self.settings,
            violations=tuple(self.house.invariants.violations),
            digest=self.world.digest(),
            events=self.world.events_done,
            strict=self.strict,
            counts=self._counted(),
            struck=Counter(self.world.faults.struck),
        )

    @property
    def is_broken(self) -> bool:
        return bool(self.house.invariants.violations)

    def _set_up(self) -> None:
        book = Book(
            JournalStore(self.database), clock=self.world.clock, entropy=self.world.entropy("set-up"), author="set-up"
        )
        for plan in self.workload.budgets:
            budget = book.add_budget(
                name=plan.name, limit=plan.limit, period=plan.period, zone=plan.zone, hard=plan.hard
            )
            changes = any(change.budget == plan.name for change in self.workload.limit_changes)
            self.house.invariants.records.budgets[budget.id] = Expected(
                budget.name, budget.scope, budget.hard, None if changes else plan.limit.nanos
            )

    def _start(self) -> None:
        for ask in self.workload.asks:
            self._ask(ask)
        for change in self.workload.limit_changes:
            self._later("admin", change.at, partial(self._change_limit, change))
        for number in range(self._watchers):
            self._later(f"watcher-{number + 1}", number * 7, self._watch)
        self._later("collector", 6 * 3600, self._collect)
        self._later_in_world(3600, self._step_clocks)

    def _run_for(self, microseconds_more: int) -> None:
        """Carry on for so long, or to the first broken promise."""
        until = self.world.now + microseconds_more
        while not self.is_broken:
            following = self.world.next_at()
            if following is None or following > until:
                break
            self.world.step()
        if not self.is_broken:
            self.world.run_until(until)

    # --- who does what

    def _later(self, role: str, seconds: int, work: Callable[[Process], None]) -> None:
        host = self.hosts[self._chance.below(len(self.hosts))]
        self.processes.start(role, host, work, after=seconds * SECOND)

    def _later_in_world(self, seconds: int, act: Callable[[], None]) -> None:
        self.world.after(seconds, act)

    def _ask(self, ask: Ask) -> None:
        for repeat in range(1 + ask.impatient):
            self._later(f"user {ask.number}", ask.at + repeat, partial(self._submit, ask))
        if ask.terminate_after is not None:
            self._later("user stops", ask.at + ask.terminate_after, partial(self._terminate, ask))
        if ask.extend_after is not None:
            self._later("user extends", ask.at + ask.extend_after, partial(self._extend, ask))

    def _submit(self, ask: Ask, process: Process) -> None:
        self.house.desk(process).submit(submission(ask))

    def _terminate(self, ask: Ask, process: Process) -> None:
        desk = self.house.desk(process)
        found = desk.jobs.by_request(ask.key)
        if found is not None:
            desk.terminate(found[0].id, reason="no longer needed")

    def _extend(self, ask: Ask, process: Process) -> None:
        desk = self.house.desk(process)
        found = desk.jobs.by_request(ask.key)
        if found is not None:
            desk.extend(found[0].id, hours=ask.extend_hours, key=f"extend-{ask.number}")

    def _change_limit(self, change: LimitChange, process: Process) -> None:
        book = self.house.desk(process).book
        first = next(each.limit for each in self.workload.budgets if each.name == change.budget)
        amount = type(first)(first.nanos * change.percent // 100, first.currency)
        if change.top_up:
            book.top_up(change.budget, amount, reason="more", key=f"at-{change.at}")
        else:
            book.set_limit(change.budget, amount, reason="changed")

    def _watch(self, process: Process) -> None:
        desk = self.house.desk(process)
        while True:
            report = desk.reconcile()
            for line in report.actions:
                for words, name in _TOLD.items():
                    self.counts[name] += words in line
            idle = not report.seen and not report.open_attempts
            process.sleep(max(self._interval, _IDLE_SECONDS) if idle else self._interval)

    def _collect(self, process: Process) -> None:
        desk = self.house.desk(process)
        while True:
            desk.collector().retrieve(jobs_max=1000, days_back=30)
            process.sleep(self.settings.collect_hours * 3600)

    # --- what the world does to processes

    def _after_event(self) -> None:
        self.house.invariants.after_event()
        if self.settings.scheduler_dies_at is not None and not self._doomed and self.world.machines:
            self._doomed = True
            self._later_in_world(self.settings.scheduler_dies_at, self._everything_dies)
        while self._ended_seen < len(self.processes.ended):
            self._ended(self.processes.ended[self._ended_seen])
            self._ended_seen += 1
        if self.world.events_done % self.settings.verify_every == 0:
            self.house.invariants.verify()

    def _ended(self, process: Process) -> None:
        self.house.invariants.checked_process(process)
        kind = process.role.partition(" ")[0].partition("-")[0]
        self.counts[f"{kind} {process.state}"] += 1
        if process.error is not None:
            self.counts[f"{kind}: {type(process.error).__name__}"] += 1
        if not self._restarting or process.state is State.ENDED:
            return
        again = _comes_back(process)
        if kind == "user" and again:
            self._tries[process.role] += 1
            again = self._tries[process.role] <= _RETRIES
        if again:
            pause = self.world.faults.crash.lasts() if self.world.faults.crash.rate else 5
            self.processes.start(process.role, process.host, process.work, after=pause * SECOND)

    def _step_clocks(self) -> None:
        if not self._restarting:
            return
        for host in self.hosts:
            if self.world.faults.clock_step.strikes():
                seconds = self.world.faults.clock_step.lasts()
                host.clock.step(seconds if self.world.faults.clock_step.pick(2) else -seconds)
        self._later_in_world(3600, self._step_clocks)

    def _everything_dies(self) -> None:
        self._restarting = False
        self._end_processes()

    def _end_processes(self) -> None:
        for process in self.processes.alive():
            self.processes.kill(process)
        while self._ended_seen < len(self.processes.ended):
            self._ended(self.processes.ended[self._ended_seen])
            self._ended_seen += 1

    # --- the end

    def _heal(self) -> None:
        """All trouble is over: what is broken stays as it is, and nothing more breaks."""
        self._restarting = False
        self._end_processes()
        self.world.faults.heal()
        self.fate.calm = True
        for host in self.hosts:
            host.clock.skew = 0
        self.world.record("healed")

    def _converge(self) -> None:
        """Rounds until nothing is open: after the last deadline has passed, five are enough."""
        self._rounds()
        for _ in range(4):  # an interrupted job may be launched again twice
            if self.is_broken:
                return
            open_attempts = self.house.invariants.records.open_attempts()
            if not open_attempts:
                break
            last = max(microseconds(instant(row["not_after"])) for row in open_attempts)  # type: ignore[arg-type]
            self._run_for(max(0, last - self.world.now) + _PATIENCE)
            self._rounds()
        if not self.is_broken:
            self._rounds()
            self.house.invariants.check_converged()
            self.house.invariants.check_ends()
            self.house.invariants.verify()

    def _rounds(self) -> None:
        def work(process: Process) -> None:
            desk = self.house.desk(process)
            for _ in range(ROUNDS):
                desk.reconcile()
                process.sleep(ROUND_SECONDS)

        self._carry_out("healer", work, ROUNDS * (ROUND_SECONDS + 400) * SECOND)

    def _last_bills(self) -> None:
        """Wait until every source calls its figures complete, ask, and compare the books with the truth."""
        if self.is_broken:
            return
        for days in (1, _SETTLING_DAYS, 1):
            self._run_for(days * DAY)
            self._carry_out("last collector", self._collect_once, HOUR)
        if not self.is_broken:
            self.house.invariants.verify()
            self.house.invariants.check_books()

    def _collect_once(self, process: Process) -> None:
        report = self.house.desk(process).collector().retrieve(jobs_max=1000, days_back=60)
        for problem in report.problems:
            self.counts["bill problems"] += 1
            self.world.record("bill problem", says=problem)

    def _carry_out(self, role: str, work: Callable[[Process], None], most: int) -> None:
        """Let a process do its work to the end, in calm. That it fails is an error that nobody foresaw."""
        if self.is_broken:
            return
        process = self.processes.start(role, self.hosts[0], work)
        until = self.world.now + most
        while not process.state.is_over and not self.is_broken and self.world.now < until:
            if not self.world.step():
                break
        if not self.is_broken and process.state is not State.ENDED:
            self.house.invariants.found("X1", f"the {role} is {process.state} in calm: {process.error}")

    # --- inside

    def _work_of(self, machine: Machine, chance: Stream) -> Work:
        ask = machine.build.tags.get(f"user-{ASK_TAG}")
        return self._works[ask] if ask is not None else Work(seconds=60)

    def _counted(self) -> Counter[str]:
        counts = Counter(self.counts)
        records = self.house.invariants.records
        for job in records.jobs.values():
            counts[f"job {job['status']}"] += 1
        for rows in records.attempts.values():
            counts["attempts"] += len(rows)
            counts["attempts void"] += sum(row["state"] == "void" for row in rows.values())
            for row in self.database.all("jobs.events", job_id=str(next(iter(rows.values()))["job_id"])):
                counts[_EVENTS.get(str(row["event"]), "events")] += 1
        counts["machines"] = len(self.world.machines)
        counts["late births"] = self.house.invariants.late_births
        counts["commits"] = self.processes.commits
        return counts


def _comes_back(process: Process) -> bool:
    """Whether somebody starts it again: what serves always, what a user asked for when it was no refusal."""
    if not process.role.startswith("user"):
        return process.role != "admin"
    return process.state is State.DIED or isinstance(process.error, (StoreError, Unavailable, CredentialsMissing))
