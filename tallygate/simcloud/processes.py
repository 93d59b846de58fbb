"""Simulated processes: real code that takes turns, can be held up anywhere between two acts, and can die there.

Each process runs unchanged production code in a greenlet. It gives way at milestones, at provider calls, at sleeps and
before every verb of the database that is a transaction of its own; never inside a transaction, where it can only die
(the transaction is then rolled back by the code that opened it, as it would be by the engine). Death is an exception
that no production code catches, thrown in at the point where the process stands.

    start --> waiting --> running --> waiting at a point --> running --> ended | failed | died
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from greenlet import getcurrent, greenlet

from ..errors import CommitUnknown, StoreBusy, StoreFull
from ..jobs.milestones import Milestone
from ..store.database import Database, Row
from .timeline import SECOND, SimClock, SimulationViolation, Timeline


class Death(BaseException):
    """The process ended here, between two instructions."""


class Mishap(StrEnum):
    """What can happen to a process at a point besides nothing."""

    DIES = "dies"
    BUSY = "finds the database locked"
    FULL = "finds the disk full"
    UNSURE = "loses the connection while committing"


@dataclass(frozen=True, slots=True)
class Turn:
    """What happens at a point: the process waits (None: it goes straight on), then ``mishap`` befalls it."""

    microseconds: int | None = None
    mishap: Mishap | None = None


GO_ON = Turn()


class Fate(Protocol):
    """Who decides what happens to a process at a point."""

    def at(self, process: Process, point: str) -> Turn:
        """Between two acts: it may go on, wait, or die."""
        ...

    def inside(self, process: Process, point: str) -> Mishap | None:
        """Inside a transaction: it may go on, die, or have the database fail."""
        ...


class Kindly:
    """The fate that lets everything happen as fast as it can and never interferes."""

    def at(self, process: Process, point: str) -> Turn:
        return GO_ON

    def inside(self, process: Process, point: str) -> Mishap | None:
        return None


class State(StrEnum):
    """Where a process stands."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"
    FAILED = "failed"
    DIED = "died"

    @property
    def is_over(self) -> bool:
        return self in (State.ENDED, State.FAILED, State.DIED)


Work = Callable[["Process"], None]

Write = tuple[str, Mapping[str, object]]
"""A named query that changed rows, and its values."""


@dataclass(slots=True)
class Host:
    """A machine that processes run on. All of them see its one clock, which may be wrong."""

    name: str
    clock: SimClock


@dataclass(slots=True, eq=False)
class Process:
    """One process: an identity, a clock, and work that runs until it ends, fails or dies.

    It is what production code is handed as ``ProcessIdentity``, ``Clock`` and ``Passing``. ``error`` is what the work
    ended with, when it was not its own end.
    """

    name: str
    host: Host
    role: str
    family: Processes = field(repr=False)
    work: Work = field(repr=False)
    state: State = State.WAITING
    error: BaseException | None = None
    point: str = "start"
    resumes: int = 0
    in_transaction: bool = False
    body: greenlet | None = field(default=None, repr=False)

    # --- identity

    def is_gone(self, name: str) -> bool:
        """True only of a process of the same host that certainly no longer runs: of others nobody can know."""
        other = self.family.known.get(name)
        return other is not None and other.host is self.host and other.state.is_over

    # --- clock

    def now(self) -> datetime:
        return self.host.clock.now()

    def sleep(self, seconds: float) -> None:
        self.family.wait(self, max(0, -int(-seconds * SECOND // 1)), "sleep")

    # --- points

    def passing(self, milestone: Milestone) -> None:
        """A milestone of production code is a point like any other."""
        self.reach(milestone.value)

    def reach(self, point: str) -> None:
        """Stand at a point: whatever fate decides happens here."""
        self.family.reach(self, point)


class Processes:
    """All processes of one run. Exactly one of them, or the world, is running at any moment."""

    def __init__(self, timeline: Timeline, fate: Fate) -> None:
        self.timeline = timeline
        self.fate: Fate = fate
        self.running: Process | None = None
        self.known: dict[str, Process] = {}
        self.commits = 0
        self.on_commit: Callable[[Process, Sequence[Write]], None] | None = None
        """Told of every committed transaction: by whom, and which named queries changed rows with which values."""
        self.ended: list[Process] = []
        self._world = getcurrent()
        self._started = 0
        self._alive: dict[str, Process] = {}

    def start(self, role: str, host: Host, work: Work, *, after: int = 0) -> Process:
        """Start a process in ``after`` microseconds; its name is never used again."""
        self._started += 1
        process = Process(f"{host.name}:{self._started}", host, role, self, work)
        process.body = greenlet(lambda: self._run(process), parent=self._world)
        self.known[process.name] = self._alive[process.name] = process
        self._resume_in(process, after, "start")
        return process

    def alive(self) -> list[Process]:
        """Processes that have not ended, in the order of their start."""
        return list(self._alive.values())

    def kill(self, process: Process) -> None:
        """End a waiting process where it stands."""
        if process.state.is_over or process is self.running:
            return
        self.timeline.record("killed", process=process.name, role=process.role, point=process.point)
        self._switch(process, Death())

    # --- points

    def reach(self, process: Process, point: str) -> None:
        if process is not self.running:
            return  # the world itself uses the same code while it checks or heals
        process.point = point
        if process.in_transaction:
            mishap = self.fate.inside(process, point)
            if mishap is not None:
                self._befall(process, point, mishap)
            return
        turn = self.fate.at(process, point)
        if turn.microseconds is not None:
            self.wait(process, turn.microseconds, point)
        if turn.mishap is not None:
            self._befall(process, point, turn.mishap)

    def wait(self, process: Process, microseconds: int, point: str) -> None:
        """Let others run and go on so much later."""
        if process is not self.running:
            return
        if process.in_transaction:
            raise SimulationViolation(f"{process.name} would give way inside a transaction, at {point}")
        process.point = point
        self._resume_in(process, microseconds, point)
        process.state = State.WAITING
        self._world.switch()

    def _befall(self, process: Process, point: str, mishap: Mishap) -> None:
        self.timeline.record("mishap", process=process.name, role=process.role, kind=mishap, point=point)
        if mishap is Mishap.DIES:
            raise Death
        if mishap is Mishap.BUSY:
            raise StoreBusy("Another process holds the database")
        if mishap is Mishap.FULL:
            raise StoreFull("The disk is full")
        raise CommitUnknown("The connection was lost while committing")

    # --- switching

    def _resume_in(self, process: Process, microseconds: int, point: str) -> None:
        process.resumes += 1
        number = process.resumes

        def resume() -> None:
            if not process.state.is_over and process.resumes == number:
                self._switch(process, None)

        self.timeline.at(self.timeline.now + microseconds, resume, point)

    def _switch(self, process: Process, death: Death | None) -> None:
        assert self.running is None, "one at a time"
        assert process.body is not None
        self.running = process
        if death is not None and not process.body:  # it has not begun: nothing to unwind
            self._over(process, State.DIED, None)
            process.body = None
            self.running = None
            return
        process.state = State.RUNNING
        try:
            if death is None:
                process.body.switch()
            else:
                process.body.throw(death)
        finally:
            self.running = None
            if process.state.is_over:
                process.body = None  # its stack is not needed any more, and a long run starts thousands

    def _run(self, process: Process) -> None:
        try:
            process.work(process)
        except Death:
            self._over(process, State.DIED, None)
        except Exception as error:  # noqa: BLE001  the boundary of a process: the owner of the run decides what it means
            self._over(process, State.FAILED, error)
        else:
            self._over(process, State.ENDED, None)

    def _over(self, process: Process, state: State, error: Exception | None) -> None:
        process.state, process.error, process.in_transaction = state, error, False
        how = {"error": type(error).__name__} if error is not None else {}
        self.timeline.record(state.value, process=process.name, role=process.role, **how)
        if error is not None:
            error.__traceback__ = None  # or every frame that it came through is kept with it
        self.ended.append(process)
        del self._alive[process.name]


class Session:
    """One process's connection to the store. Every verb outside a transaction is a point; inside, every verb that writes.

    Implements ``store.database.Database`` around a real one, which processes may share: no process gives way while its
    transaction is open.
    """

    def __init__(self, database: Database, process: Process) -> None:
        self._database = database
        self._process = process
        self._family = process.family
        self._written: list[Write] = []

    @property
    def engine(self) -> str:
        return self._database.engine

    @property
    def in_transaction(self) -> bool:
        return self._database.in_transaction

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._process.reach("begin")
        unsure: Mishap | None = None
        with self._database.transaction():
            self._process.in_transaction = True
            self._written = []
            try:
                yield
                unsure = self._before_commit()
            finally:
                self._process.in_transaction = False
        self._family.commits += 1
        if self._family.on_commit is not None:
            self._family.on_commit(self._process, self._written)
        if unsure is not None:
            self._family._befall(self._process, "commit", unsure)

    def _before_commit(self) -> Mishap | None:
        """What goes wrong at the commit. Losing the connection there is decided before and told after."""
        if self._process is not self._family.running:
            return None
        mishap = self._family.fate.inside(self._process, "commit")
        if mishap is None or mishap is Mishap.UNSURE:
            return mishap
        self._family._befall(self._process, "commit", mishap)
        return None

    def run(self, query: str, /, **values: object) -> int:
        if self._database.in_transaction:
            self._process.reach(query)
            return self._run(query, values)
        with self.transaction():
            return self._run(query, values)

    def run_each(self, query: str, rows: Sequence[Mapping[str, object]], /) -> None:
        if not self._database.in_transaction:
            with self.transaction():
                self.run_each(query, rows)
        elif rows:
            self._process.reach(query)
            self._database.run_each(query, rows)
            self._written += [(query, values) for values in rows]

    def _run(self, query: str, values: Mapping[str, object]) -> int:
        changed = self._database.run(query, **values)
        if changed:
            self._written.append((query, values))
        return changed

    def one(self, query: str, /, **values: object) -> Row | None:
        self._read(query)
        return self._database.one(query, **values)

    def all(self, query: str, /, **values: object) -> Sequence[Row]:
        self._read(query)
        return self._database.all(query, **values)

    def _read(self, query: str) -> None:
        if not self._database.in_transaction:
            self._process.reach(query)

    def problems(self) -> list[str]:
        return self._database.problems()

    def close(self) -> None:
        """The database belongs to the run and outlives its processes."""
