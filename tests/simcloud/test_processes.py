"""Simulated processes take turns only where real ones could be held up, and die without leaving half an act behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from tallygate.errors import CommitUnknown, StoreBusy, StoreFull
from tallygate.jobs.milestones import Milestone
from tallygate.simcloud.processes import GO_ON, Host, Mishap, Process, Processes, Session, State, Turn
from tallygate.simcloud.timeline import SECOND, SimulationViolation, Timeline
from tallygate.store.database import Database
from tallygate.store.migrate import open_store


class Fate:
    """Does at each point what it was told, once."""

    def __init__(self) -> None:
        self.told: dict[str, Turn] = {}
        self.told_inside: dict[str, Mishap] = {}
        self.seen: list[str] = []

    def at(self, process: Process, point: str) -> Turn:
        self.seen.append(point)
        return self.told.pop(point, GO_ON)

    def inside(self, process: Process, point: str) -> Mishap | None:
        self.seen.append(f"inside {point}")
        return self.told_inside.pop(point, None)


@pytest.fixture
def timeline() -> Timeline:
    return Timeline(1, keep_log=True)


@pytest.fixture
def fate() -> Fate:
    return Fate()


@pytest.fixture
def family(timeline: Timeline, fate: Fate) -> Processes:
    return Processes(timeline, fate)


@pytest.fixture
def host(timeline: Timeline) -> Host:
    return Host("here", timeline.new_clock())


@pytest.fixture
def store(timeline: Timeline) -> Iterator[Database]:
    database = open_store(":memory:", clock=timeline.clock)
    yield database
    database.close()


def run(timeline: Timeline) -> None:
    while timeline.step():
        pass


def write(session: Session, number: int) -> None:
    at = datetime.fromisoformat("2026-03-02T08:00:00+00:00")
    session.run("jobs.mark_orphan", provider="aws", machine_id=f"i-{number}", token="t", at=at)


def orphans(store: Database) -> int:
    return sum(store.one("jobs.orphan", provider="aws", machine_id=f"i-{number}") is not None for number in range(10))


def test_processes_take_turns_at_sleeps_and_milestones(
    timeline: Timeline, family: Processes, host: Host, fate: Fate
) -> None:
    order: list[str] = []

    def first(process: Process) -> None:
        order.append("first begins")
        process.sleep(10)
        order.append(f"first at {(timeline.now - timeline.start) // SECOND}")

    def second(process: Process) -> None:
        fate.told["intent_committed"] = Turn(microseconds=20 * SECOND)
        order.append("second begins")
        process.passing(Milestone.INTENT_COMMITTED)
        order.append(f"second at {(timeline.now - timeline.start) // SECOND}")

    family.start("one", host, first)
    family.start("two", host, second)
    run(timeline)
    assert order == ["first begins", "second begins", "first at 10", "second at 20"]
    assert family.alive() == []


def test_a_process_that_dies_between_two_acts_does_nothing_more(
    timeline: Timeline, family: Processes, host: Host, fate: Fate
) -> None:
    done: list[str] = []

    def work(process: Process) -> None:
        done.append("before")
        process.passing(Milestone.CREATE_CALLED)
        done.append("after")

    fate.told["create_called"] = Turn(mishap=Mishap.DIES)
    process = family.start("launcher", host, work)
    run(timeline)
    assert done == ["before"]
    assert (process.state, process.error) == (State.DIED, None)


@pytest.mark.parametrize("mishap", [Mishap.DIES, Mishap.FULL])
def test_what_ends_a_process_inside_a_transaction_leaves_nothing_of_it(
    timeline: Timeline, family: Processes, host: Host, fate: Fate, store: Database, mishap: Mishap
) -> None:
    def work(process: Process) -> None:
        session = Session(store, process)
        with session.transaction():
            write(session, 1)
            write(session, 2)

    for where in ("jobs.mark_orphan", "commit"):
        fate.told_inside[where] = mishap
        process = family.start("writer", host, work)
        run(timeline)
        assert process.state is (State.DIED if mishap is Mishap.DIES else State.FAILED)
        assert orphans(store) == 0
        assert not store.in_transaction
    assert family.commits == 0


def test_many_rows_at_once_are_one_point_and_are_told_one_by_one(
    timeline: Timeline, family: Processes, host: Host, fate: Fate, store: Database
) -> None:
    told: list[int] = []
    family.on_commit = lambda process, writes: told.append(len(writes))
    rows = [
        {"provider": "aws", "machine_id": f"i-{number}", "token": "t", "at": timeline.instant()} for number in range(3)
    ]

    def work(process: Process) -> None:
        Session(store, process).run_each("jobs.mark_orphan", rows)

    fate.told_inside["jobs.mark_orphan"] = Mishap.DIES
    assert family.start("writer", host, work).state is State.WAITING
    run(timeline)
    assert (orphans(store), told) == (0, [])
    fate.told_inside.clear()
    family.start("writer", host, work)
    run(timeline)
    assert (orphans(store), told) == (3, [3])


def test_a_process_killed_from_outside_ends_where_it_waits(
    timeline: Timeline, family: Processes, host: Host, store: Database
) -> None:
    unwound: list[str] = []

    def work(process: Process) -> None:
        try:
            process.sleep(100)
        finally:
            unwound.append("finally")

    sleeper = family.start("sleeper", host, work)
    unborn = family.start("unborn", host, work, after=50 * SECOND)
    timeline.run_until(timeline.now + 10 * SECOND)
    family.kill(sleeper)
    family.kill(unborn)
    run(timeline)
    assert unwound == ["finally"]
    assert [sleeper.state, unborn.state] == [State.DIED, State.DIED]
    assert (timeline.now - timeline.start) // SECOND == 100, "the wake-up of a dead process wakes nobody"


def test_nobody_gives_way_inside_a_transaction(
    timeline: Timeline, family: Processes, host: Host, store: Database
) -> None:
    def work(process: Process) -> None:
        session = Session(store, process)
        with session.transaction():
            write(session, 1)
            process.sleep(1)

    process = family.start("writer", host, work)
    run(timeline)
    assert process.state is State.FAILED
    assert isinstance(process.error, SimulationViolation)


def test_a_lost_connection_at_the_commit_has_committed(
    timeline: Timeline, family: Processes, host: Host, fate: Fate, store: Database
) -> None:
    fate.told_inside["commit"] = Mishap.UNSURE
    process = family.start("writer", host, lambda process: write(Session(store, process), 1))
    run(timeline)
    assert isinstance(process.error, CommitUnknown)
    assert orphans(store) == 1


@pytest.mark.parametrize(("mishap", "error"), [(Mishap.BUSY, StoreBusy), (Mishap.FULL, StoreFull)])
def test_a_database_that_refuses_to_begin_changes_nothing(
    timeline: Timeline,
    family: Processes,
    host: Host,
    fate: Fate,
    store: Database,
    mishap: Mishap,
    error: type[Exception],
) -> None:
    fate.told["begin"] = Turn(mishap=mishap)
    process = family.start("writer", host, lambda process: write(Session(store, process), 1))
    run(timeline)
    assert isinstance(process.error, error)
    assert orphans(store) == 0


def test_only_the_end_of_a_process_of_the_same_host_is_certain(
    timeline: Timeline, family: Processes, host: Host
) -> None:
    there = Host("there", timeline.new_clock())
    gone = family.start("gone", host, lambda process: None)
    gone_there = family.start("gone", there, lambda process: None)
    asker = family.start("asker", host, lambda process: process.sleep(1000))
    timeline.run_until(timeline.now + 1)
    assert asker.is_gone(gone.name)
    assert not asker.is_gone(gone_there.name)
    assert not asker.is_gone(asker.name)
    assert not asker.is_gone("never heard of")


def test_processes_of_a_host_share_its_wrong_clock(timeline: Timeline, family: Processes, host: Host) -> None:
    host.clock.step(3600)
    seen: list[datetime] = []
    family.start("one", host, lambda process: seen.append(process.now()))
    family.start("two", host, lambda process: seen.append(process.now()))
    run(timeline)
    assert seen[0] == seen[1]
    assert (seen[0] - timeline.instant()).total_seconds() == 3600


@pytest.mark.parametrize("act", [lambda process: process.sleep(1), lambda process: process.reach("somewhere")])
def test_the_world_itself_never_waits(
    timeline: Timeline, family: Processes, host: Host, act: Callable[[Process], Any]
) -> None:
    """Checks and healing use the same code from outside any process; there no point means anything."""
    process = family.start("idle", host, lambda process: None, after=SECOND)
    act(process)
    assert timeline.events_done == 0


def test_the_same_run_has_the_same_log(host: Host) -> None:
    def digest() -> str:
        timeline = Timeline(5)
        fate = Fate()
        family = Processes(timeline, fate)
        place = Host("here", timeline.new_clock())
        fate.told["begin"] = Turn(microseconds=3, mishap=Mishap.DIES)
        for number in range(5):
            family.start(f"p{number}", place, lambda process: process.reach("begin"), after=number)
        run(timeline)
        return timeline.digest()

    assert digest() == digest()
