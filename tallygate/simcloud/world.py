"""One world from one seed: time, prices, machines, faults and the truth about money, put together.

world = World(7)
provider = SimProvider(world, "aws", install_id="abcd1234")
launch = provider.launch(order)
world.advance(3600)
world.truth.machine(launch.id)      nanos, as of now
world.digest()                      the same in every run of seed 7
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ..jobs.agent import Report
from ..jobs.job import Attempt, Job
from .cloud import Cloud
from .faults import Faults
from .machines import Fleet, Machine, Remains
from .market import Climate, Market, Pool
from .timeline import START, SimulationViolation, Timeline
from .truth import Truth
from .work import Work

__all__ = ["SimReports", "SimulationViolation", "World"]


class World(Timeline):
    """Three clouds in virtual time. See the module's example; ``Timeline`` has everything about time and the log.

    ``machines`` are all that were ever made, by id, oldest first. ``truth`` is what they have cost. ``faults`` are all off
    until set. ``violations`` are kept here too, in case whoever caused one swallowed it.
    """

    def __init__(
        self, seed: int, *, start: datetime = START, climate: Climate | None = None, keep_log: bool = False
    ) -> None:
        super().__init__(seed, start=start, keep_log=keep_log)
        self.faults = Faults(self)
        self.market = Market(self, climate)
        self.truth = Truth(self)
        self.fleet = Fleet(self, self.market, self.truth, self.faults)
        self.reports = SimReports(self)
        self.violations: list[str] = []
        self._clouds: dict[tuple[str, str], Cloud] = {}

    def cloud(self, dialect: str, account: str = "main") -> Cloud:
        """An account of a cloud, the same for everybody who uses it."""
        return self._clouds.setdefault((dialect, account), Cloud(self, dialect, account))

    @property
    def machines(self) -> dict[str, Machine]:
        return self.fleet.machines

    @property
    def remains(self) -> list[Remains]:
        """Side resources that bill without a machine, oldest first."""
        return list(self.fleet.remains.values())

    def alive(self) -> list[Machine]:
        """Machines whose own time bills, or soon will, oldest first."""
        return self.fleet.alive()

    def expect(self, job_id: str, work: Work) -> None:
        """Say what a job truly does before it is launched; otherwise it is drawn when its first machine boots."""
        self.fleet.works[job_id] = replace(work)

    def reprice(self, pool: Pool, nanos: int, *, at: int | None = None) -> None:
        """Make a spot price move at ``at`` (now): for scenarios. Machines above their ceilings are given notice."""
        self.fleet.reprice(pool, self.now if at is None else at, nanos)

    def take_back(self, machine: Machine, *, at: int | None = None) -> None:
        """Make the cloud want a spot machine back at ``at`` (now): for scenarios."""
        self.fleet.take_back(machine, self.now if at is None else at)

    def violate(self, what: str) -> SimulationViolation:
        """A violation to raise: ``raise world.violate("...")``."""
        self.record("violation", of=what)
        self.violations.append(what)
        return SimulationViolation(what)


class SimReports:
    """What the machines reported: the ``Reports`` that ``jobs.watch`` asks for."""

    def __init__(self, world: World) -> None:
        self._world = world

    def report(self, job: Job, attempt: Attempt) -> Report | None:
        said = self._world.fleet.said.get((job.id, attempt.number))
        return None if said is None else said.report()
