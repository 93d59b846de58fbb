"""Machines: they boot, work, save, and carry out their own end whether anybody watches or not.

    create --> pending --boot--> running --------------------------.
                                   | the work is done               |
                                   | its own timer: uptime, not_after
                                   | the provider's limit           |--> stopping --lag--> ended
                                   | taken back: notice, then end   |                 '--> stopped (its own end half done)
                                   '- told to end ------------------'

What was made with a machine (disk, address, interface) bills from the create call until it is deleted, which normally happens
with the machine's end. What stays behind is listed as ``Remains`` and bills on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..providers.base import MachineState
from .chance import MILLION, Stream
from .dialects import Dialect, Naming
from .faults import Faults
from .market import Market, Pool
from .timeline import DAY, SECOND, Event, Timeline
from .truth import Meter, Truth
from .work import Said, Work

FAR = 60 * DAY
"""Longer than anything is launched for: how far ahead a machine without any other end looks for one."""

_SETTING_UP = (2, 20)
_UPLOADING = (1, 15)
"""Seconds between a machine's boot and its command, and between its command's end and its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What a create call asks for. ``ceiling`` is None where the cloud knows none or the machine is not spot."""

    dialect: Dialect
    account: str
    token: str
    tags: Mapping[str, str]
    pool: Pool
    spot: bool
    ceiling: int | None
    run_seconds_max: int
    not_after: int
    disk_gib: int


@dataclass(slots=True, kw_only=True)
class Side:
    """Something made with a machine that bills on its own."""

    id: str
    kind: str
    meter: Meter

    @property
    def exists(self) -> bool:
        return self.meter.end is None


@dataclass(slots=True, kw_only=True)
class Remains:
    """Side resources without a machine: of a create that was refused half way, or of a delete that forgot them."""

    id: str
    build: Build
    made_at: int
    sides: list[Side]

    @property
    def exist(self) -> bool:
        return any(side.exists for side in self.sides)


@dataclass(slots=True, kw_only=True, eq=False)
class Machine:
    """One machine. Instants are the world's microseconds; ``started_at`` is when it began to bill.

    ``sound``: its own timers, its clock and its way to end itself all work, and nobody stopped it short of its end.
    ``end_cause``: ``finished``, ``deadline``, ``expired`` (its time had passed at boot), ``limit`` (the provider's),
    ``interrupted``, ``price``, ``terminated``.
    ``going``: notice was given, so it ends then and for that reason at the latest.
    """

    id: str
    build: Build
    created_at: int
    visible_from: int
    state: MachineState = MachineState.PENDING
    sides: list[Side] = field(default_factory=list)
    meter: Meter | None = None
    run_seconds_max: int = 0
    not_after: int = 0
    timer_works: bool = True
    clock_works: bool = True
    ends_fully: bool = True
    deallocated: bool = False
    leaving_fully: bool = True
    started_at: int | None = None
    limit_at: int | None = None
    stopping_at: int | None = None
    stopped_at: int | None = None
    ended_at: int | None = None
    end_cause: str | None = None
    exit_status: int | None = None
    work: Work | None = None
    worked_from: int = 0
    saved_before: int = 0
    taken_at: int | None = None
    going: tuple[int, str] | None = None
    planned: list[Event] = field(default_factory=list)

    @property
    def dialect(self) -> Dialect:
        return self.build.dialect

    @property
    def job_id(self) -> str | None:
        return self.build.tags.get("tallygate-job")

    @property
    def token(self) -> str:
        return self.build.token

    @property
    def is_alive(self) -> bool:
        """Whether it exists and its own time bills, or soon will. A stopped one is alive only where stopping changes nothing."""
        if self.state in (MachineState.ENDED, MachineState.STOPPED):
            return self.meter is not None and self.meter.end is None
        return True

    @property
    def bills(self) -> bool:
        """Whether anything of it still costs money."""
        machine_bills = self.meter is not None and self.meter.end is None
        return machine_bills or any(side.exists for side in self.sides)

    @property
    def sound(self) -> bool:
        return self.timer_works and self.clock_works and self.ends_fully and not self.deallocated

    @property
    def deadline(self) -> int:
        """When its own timer would end it: by uptime and by the clock, whichever comes first."""
        by_clock = self.not_after if self.clock_works else self.created_at + FAR
        by_uptime = (self.started_at or self.created_at) + self.run_seconds_max * SECOND
        return min(by_clock, by_uptime)

    def resource_ids(self) -> tuple[str, ...]:
        return (self.id, *(side.id for side in self.sides))


class Fleet:
    """Every machine there ever was, and what moves them."""

    def __init__(self, timeline: Timeline, market: Market, truth: Truth, faults: Faults) -> None:
        self._timeline = timeline
        self._market = market
        self._truth = truth
        self._faults = faults
        self.machines: dict[str, Machine] = {}
        self.made: list[Machine] = []
        """The same, oldest first."""
        self.remains: dict[str, Remains] = {}
        self.works: dict[str, Work] = {}
        self.said: dict[tuple[str, int], Said] = {}
        self.work_of: Callable[[Machine, Stream], Work] = usual_work
        self._alive: dict[str, Machine] = {}
        self._by_place: dict[tuple[str, str], list[Machine]] = {}
        self._by_token: dict[tuple[str, str, str], list[Machine]] = {}

    # --- looking

    def alive(self) -> list[Machine]:
        """Machines whose own time bills, or soon will, oldest first."""
        return list(self._alive.values())

    def of(self, dialect: str, account: str) -> list[Machine]:
        """Every machine an account of a cloud ever had, oldest first."""
        return self._by_place.get((dialect, account), [])

    def with_token(self, dialect: str, account: str, token: str) -> list[Machine]:
        return self._by_token.get((dialect, account, token), [])

    # --- making

    def create(self, build: Build) -> Machine:
        """Make a machine and everything beside it, now."""
        now = self._timeline.now
        chance = Stream(self._timeline.seed, f"machine/{build.dialect.name}/{build.token}/{len(self.machines)}")
        machine = Machine(
            id=self._machine_id(build),
            build=build,
            created_at=now,
            visible_from=now + self._faults.visibility(build.dialect, chance) * SECOND,
            run_seconds_max=build.run_seconds_max,
            not_after=build.not_after,
            timer_works=not self._faults.broken_timer.strikes(),
            clock_works=not self._faults.wrong_machine_clock.strikes(),
            ends_fully=not self._faults.half_end.strikes(),
        )
        if build.dialect.limit_lag is not None:
            machine.limit_at = build.not_after + chance.between(*build.dialect.limit_lag) * SECOND
        machine.sides = self.make_sides(build, machine.id)
        self.machines[machine.id] = self._alive[machine.id] = machine
        self.made.append(machine)
        self._by_place.setdefault((build.dialect.name, build.account), []).append(machine)
        self._by_token.setdefault((build.dialect.name, build.account, build.token), []).append(machine)
        self._timeline.record("created", machine=machine.id, pool=build.pool, token=build.token)
        boot = chance.between(*build.dialect.boot)
        machine.planned = [self._timeline.after(boot, lambda: self._boot(machine, chance), "boot")]
        return machine

    def make_sides(self, build: Build, machine_id: str | None, *, count: int = 3) -> list[Side]:
        """The first ``count`` of disk, address and interface, each with a meter of its own."""
        dialect = build.dialect
        kinds = [
            ("disk", dialect.disk_nanos_hour(build.disk_gib or dialect.terms.disk_gib_default)),
            ("address", dialect.address_nanos_hour),
            ("interface", 0),
        ]
        return [
            Side(id=side_id, kind=kind, meter=self._meter(build, side_id, kind, machine_id, rate=rate))
            for kind, rate in kinds[:count]
            for side_id in [self._side_id(build, kind)]
        ]

    def leave(self, build: Build, sides: list[Side]) -> Remains:
        """Put what has no machine on the list of remains."""
        remains = Remains(id=sides[0].id, build=build, made_at=self._timeline.now, sides=sides)
        self.remains[remains.id] = remains
        self._timeline.record("left behind", remains=remains.id, sides=len(sides), token=build.token)
        return remains

    # --- moving and ending

    def terminate(self, machine: Machine) -> None:
        """What a terminate call does when it does what it says."""
        if machine.state is MachineState.ENDED or (machine.state is MachineState.STOPPING and machine.leaving_fully):
            return
        self._begin_end(machine, "terminated", fully=True, lag=machine.dialect.kill_lag)

    def deallocate(self, machine: Machine) -> None:
        """Stop a machine without deleting it: its own time no longer bills, what was made with it does."""
        if machine.is_alive and machine.started_at is not None:
            self._begin_end(machine, "terminated", fully=False, lag=machine.dialect.kill_lag)
            machine.deallocated = True

    def clear(self, remains: Remains) -> None:
        """Delete what was left behind."""
        self._delete(remains.sides)
        self.remains.pop(remains.id, None)
        self._timeline.record("cleared", remains=remains.id)

    def extend(self, machine: Machine, *, not_after: int, run_seconds_max: int) -> None:
        """Give a machine a later end. What is already ending goes on ending."""
        machine.not_after = max(machine.not_after, not_after)
        machine.run_seconds_max = max(machine.run_seconds_max, run_seconds_max)
        if machine.state is MachineState.RUNNING:
            self._plan(machine)

    def take_back(self, machine: Machine, at: int) -> None:
        """Let the cloud take a spot machine back: notice at ``at``, then its end."""
        machine.taken_at = at
        if machine.state is MachineState.RUNNING:
            self._plan(machine)

    def reprice(self, pool: Pool, at: int, nanos: int) -> None:
        """Let a pool's price path go on from ``nanos`` at ``at``, now or later, with all that this means for its machines."""
        pool.set_price(at, nanos)
        for machine in self._alive.values():
            if machine.build.pool is pool and machine.meter is not None:
                machine.meter.forget()
                if machine.state is MachineState.RUNNING:
                    self._plan(machine)

    def save(self, machine: Machine) -> None:
        """Ask the job on a machine to save its work and go on."""
        if machine.state is MachineState.RUNNING and machine.work is not None:
            machine.work.save(self._progress(machine), asked=True)

    # --- a machine's life

    def _boot(self, machine: Machine, chance: Stream) -> None:
        build, now = machine.build, self._timeline.now
        machine.state = MachineState.RUNNING
        machine.started_at = now
        machine.meter = self._meter(
            build,
            machine.id,
            "machine",
            machine.id,
            rate=build.pool.on_demand,
            pool=build.pool if build.spot else None,
            ceiling=build.ceiling,
        )
        self._timeline.record("running", machine=machine.id)
        if machine.timer_works and machine.clock_works and now >= machine.not_after:
            self._begin_end(machine, "expired", fully=machine.ends_fully)
            return
        machine.work = self._work(machine, chance)
        machine.worked_from = now + chance.between(*_SETTING_UP) * SECOND
        machine.saved_before = 0 if machine.work is None else machine.work.saved
        if build.spot and machine.taken_at is None:
            machine.taken_at = self._taken_at(machine, chance)
        self._plan(machine)

    def _work(self, machine: Machine, chance: Stream) -> Work | None:
        if machine.job_id is None:
            return None
        work = self.works.get(machine.job_id)
        if work is None:
            work = self.works[machine.job_id] = self.work_of(machine, chance)
            if self._faults.hung_job.strikes():
                work.hangs = True
        work.attempts += 1
        return work

    def _taken_at(self, machine: Machine, chance: Stream) -> int | None:
        """When the cloud takes a spot machine back for its own reasons: at random, or when its pool runs dry."""
        now = self._timeline.now
        taken = chance.chance(self._market.climate.interrupt)
        after = chance.below(max(1, machine.run_seconds_max)) * SECOND
        with_its_pool = chance.chance(MILLION // 2)
        dry = machine.build.pool.first_empty(now, now + machine.run_seconds_max * SECOND) if with_its_pool else None
        if taken:
            return now + after if dry is None else min(dry, now + after)
        return dry

    def _plan(self, machine: Machine) -> None:
        """Find the first thing that will end a running machine, and plan only that."""
        for event in machine.planned:
            event.cancel()
        assert machine.started_at is not None
        now, dialect = self._timeline.now, machine.dialect
        ends: list[tuple[int, str]] = []
        if machine.work is not None and not machine.work.hangs:
            left = max(0, machine.work.seconds - machine.saved_before)
            uploading = _UPLOADING[0] + left % (_UPLOADING[1] - _UPLOADING[0] + 1)
            ends.append((machine.worked_from + (left + uploading) * SECOND, "finished"))
        if machine.timer_works:
            ends.append((machine.deadline, "deadline"))
        if machine.limit_at is not None:
            ends.append((machine.limit_at, "limit"))
        notice = dialect.notice_seconds * SECOND
        if machine.going is not None:
            ends.append(machine.going)
        elif machine.build.spot:
            if machine.taken_at is not None:
                ends.append((max(machine.taken_at, now) + notice, "interrupted"))
            horizon = min([now + FAR, *(at for at, _ in ends)])
            if machine.build.ceiling is not None:
                passed = machine.build.pool.first_above(machine.build.ceiling, now, horizon)
                if passed is not None:
                    ends.append((passed + notice, "price"))
        machine.planned = []
        if not ends:
            return
        at, cause = min(ends)
        if machine.going is None and cause in ("interrupted", "price"):
            machine.planned.append(self._timeline.at(at - notice, lambda: self._notice(machine, at, cause), "notice"))
        machine.planned.append(self._timeline.at(at, lambda: self._own_end(machine, cause), cause))

    def _notice(self, machine: Machine, at: int, cause: str) -> None:
        """The cloud says that it takes the machine back; the job has until then to save its work."""
        machine.going = (at, cause)
        self.save(machine)
        self._timeline.record("notice", machine=machine.id, cause=cause)

    def _own_end(self, machine: Machine, cause: str) -> None:
        taken = cause in ("interrupted", "price", "limit")
        self._begin_end(machine, cause, fully=taken or machine.ends_fully)

    def _begin_end(self, machine: Machine, cause: str, *, fully: bool, lag: tuple[int, int] | None = None) -> None:
        """From here on the machine does nothing any more; it bills until its end has taken effect."""
        for event in machine.planned:
            event.cancel()
        was = machine.state
        now = self._timeline.now
        if was is not MachineState.STOPPED:
            self._report(machine, cause)
        machine.state = MachineState.STOPPING
        machine.leaving_fully = fully
        machine.stopping_at = now
        machine.end_cause = machine.end_cause or cause
        self._timeline.record("ending", machine=machine.id, cause=cause)
        low, high = lag or machine.dialect.end_lag
        if cause in ("interrupted", "price"):
            low, high = 0, 0
        seconds = Stream(self._timeline.seed, f"end/{machine.id}/{now}").between(low, high)
        end = (lambda: self._end(machine)) if fully else (lambda: self._stop(machine))
        machine.planned = [self._timeline.after(seconds, end, "end")]

    def _stop(self, machine: Machine) -> None:
        """Its own end went only half way: the machine stands still and its side resources, or all of it, bill on."""
        machine.state = MachineState.STOPPED
        machine.stopped_at = self._timeline.now
        if machine.meter is not None and (machine.deallocated or not machine.dialect.stopped_bills):
            machine.meter.end = self._timeline.now if machine.meter.end is None else machine.meter.end
            self._alive.pop(machine.id, None)
        self._timeline.record("stopped", machine=machine.id)

    def _end(self, machine: Machine) -> None:
        now = self._timeline.now
        machine.state = MachineState.ENDED
        self._alive.pop(machine.id, None)
        machine.ended_at = now
        if machine.meter is not None and machine.meter.end is None:
            machine.meter.end = now
            free = machine.dialect.free_if_taken_within * SECOND
            taken = machine.end_cause in ("interrupted", "price")
            machine.meter.waived = taken and now - machine.meter.start < free
        kept = [side for side in machine.sides if side.exists and self._faults.leftover.strikes()]
        self._delete([side for side in machine.sides if side not in kept])
        self._timeline.record("ended", machine=machine.id, cause=machine.end_cause)
        if kept:
            self.leave(machine.build, kept)

    def _delete(self, sides: list[Side]) -> None:
        for side in sides:
            if side.exists:
                side.meter.end = self._timeline.now

    # --- what comes of the work

    def _progress(self, machine: Machine) -> int:
        ran = max(0, self._timeline.now - machine.worked_from) // SECOND
        return machine.saved_before + ran

    def _report(self, machine: Machine, cause: str) -> None:
        """Save what can be saved and write the machine's report, as the agent on it does."""
        work, job_id = machine.work, machine.job_id
        if cause == "finished" and work is not None:
            work.saved = work.seconds
            machine.exit_status = work.exit_status
        elif work is not None:
            work.save(self._progress(machine), asked=cause in ("deadline", "terminated"))
        if job_id is None or machine.started_at is None or not _speaks(cause) or self._faults.lost_report.strikes():
            return
        attempt = int(machine.build.tags.get("tallygate-attempt", "1"))
        self.said[job_id, attempt] = Said(
            job_id=job_id,
            attempt=attempt,
            reason=_REASONS[cause],
            exit_status=machine.exit_status,
            started_at=machine.started_at,
            ended_at=self._timeline.now,
            written_at=self._timeline.now,
        )

    # --- names and meters

    def _meter(
        self,
        build: Build,
        resource_id: str,
        kind: str,
        machine_id: str | None,
        *,
        rate: int,
        pool: Pool | None = None,
        ceiling: int | None = None,
    ) -> Meter:
        return self._truth.add(
            Meter(
                resource_id=resource_id,
                kind=kind,
                machine_id=machine_id,
                dialect=build.dialect,
                account=build.account,
                region=build.pool.region,
                zone=build.pool.zone,
                sku=build.pool.hardware.instance_type if kind == "machine" else kind,
                tags=build.tags,
                start=self._timeline.now,
                rate=rate,
                pool=pool,
                ceiling=ceiling,
            )
        )

    def _machine_id(self, build: Build) -> str:
        ids = self._timeline.stream(f"ids/{build.dialect.name}")
        if build.dialect.naming is Naming.BY_ZONE:
            return f"i-{ids.bytes(9).hex()[:17]}"
        if build.dialect.naming is Naming.BY_NAME:
            return str(ids.between(10**18, 9 * 10**18))
        made = f"{_group(build)}/providers/Microsoft.Compute/virtualMachines/{build.token}"
        times = len(self.with_token(build.dialect.name, build.account, build.token))
        return f"{made}-{times + 1}" if times else made

    def _side_id(self, build: Build, kind: str) -> str:
        ids = self._timeline.stream(f"ids/{build.dialect.name}")
        if build.dialect.naming is Naming.BY_ZONE:
            prefix = {"disk": "vol", "address": "eipalloc", "interface": "eni"}[kind]
            return f"{prefix}-{ids.bytes(9).hex()[:17]}"
        if build.dialect.naming is Naming.BY_NAME:
            return str(ids.between(10**18, 9 * 10**18))
        kinds = {
            "disk": "Microsoft.Compute/disks",
            "address": "Microsoft.Network/publicIPAddresses",
            "interface": "Microsoft.Network/networkInterfaces",
        }
        return f"{_group(build)}/providers/{kinds[kind]}/{build.token}-{ids.bytes(4).hex()}"


_REASONS = {
    "finished": "finished",
    "deadline": "deadline",
    "expired": "expired",
    "interrupted": "interrupted",
    "price": "interrupted",
    "terminated": "stopped",
}


def _speaks(cause: str) -> bool:
    """Whether the machine still has time to report: not when the provider's own limit cuts it off."""
    return cause in _REASONS


def _group(build: Build) -> str:
    return f"/subscriptions/{build.account}/resourceGroups/{build.token}"


def usual_work(machine: Machine, chance: Stream) -> Work:
    """A job nobody planned: from a minute to one and a half of its longest time; one in ten fails in the end."""
    return Work(
        seconds=chance.spread(60, max(61, machine.run_seconds_max * 3 // 2)),
        exit_status=1 if chance.chance(100_000) else 0,
        checkpoint_seconds=chance.pick((0, 30, 60, 300)),
    )
