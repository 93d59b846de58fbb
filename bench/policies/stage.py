"""One run of one policy: a world from the seed, users who ask, launchers that die, and what became of every ask.

plan --> world, users --> policy.submit        refused | launched | tried again | given up
                      --> policy.services      watchers and the like, each a process that is started again when it fails
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from tallygate.errors import BudgetExceeded, CredentialsMissing, NoMatchingOffer, OutcomeUnknown, Unavailable
from tallygate.simcloud.chance import Stream
from tallygate.simcloud.faults import ALWAYS
from tallygate.simcloud.machines import Machine
from tallygate.simcloud.processes import GO_ON, Host, Mishap, Process, Processes, State, Turn
from tallygate.simcloud.timeline import SECOND
from tallygate.simcloud.work import Work
from tallygate.simcloud.workload import ASK_TAG, Ask
from tallygate.simcloud.world import World

from .scenarios import Plan, Window

COMES_BACK = 60
TRIES_AGAIN = 300
"""Seconds until a user whose launcher died starts it again, and one whom the cloud turned away."""

TRIES_MAX = 6

WATCH_SECONDS = 300
"""How often every policy looks after its machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Something that goes on by itself. ``cloud_side``: it runs at the cloud and survives our scheduler."""

    role: str
    first: int
    work: Callable[[Process], None]
    cloud_side: bool = False


class Policy(Protocol):
    """A way to launch under a budget. Made for one stage, closed after its run."""

    def expected(self) -> dict[int, int]:
        """What each launched ask was expected to cost, in nanos, by its number."""
        ...

    def submit(self, process: Process, ask: Ask) -> None:
        """Launch what was asked for. ``BudgetExceeded`` is its no; ``ask.key`` is new for every new wish of the user."""
        ...

    def services(self) -> list[Service]: ...

    def broken(self) -> list[str]:
        """What the policy's own promises say went wrong; of the policies of others nothing."""
        ...

    def close(self) -> None: ...


class _Deaths:
    """The fate that kills a doomed user's launcher once, at the first moment after its machine has been made."""

    def __init__(self, stage: Stage, doomed: frozenset[int]) -> None:
        self._stage = stage
        self._roles = {f"user {number}": number for number in doomed}

    def at(self, process: Process, point: str) -> Turn:
        number = self._roles.get(process.role)
        if number is None or point != "call" or not self._stage.machines_of(number):
            return GO_ON
        del self._roles[process.role]
        return Turn(mishap=Mishap.DIES)

    def inside(self, process: Process, point: str) -> Mishap | None:
        return None


class Stage:
    """One plan's world with its users. ``run`` carries out everything under one policy.

    ``refused`` and ``given_up``: when (the world's microseconds) an ask was refused for want of money, and when its user gave
    up on a cloud that did not launch it.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.world = World(plan.seed, start=plan.start, climate=plan.climate)
        self.host = Host("host-1", self.world.new_clock())
        self.processes = Processes(self.world, _Deaths(self, plan.launchers_die))
        self.refused: dict[int, int] = {}
        self.given_up: dict[int, int] = {}
        self.asks = {each.number: each for each in plan.asks}
        self._works: dict[int, Work] = {number: replace(each.work) for number, each in self.asks.items()}
        self._of_ask: dict[int, list[Machine]] = {}
        self._seen = 0
        self._ended_seen = 0
        self._tries: dict[int, int] = {}
        self._waiting = set(self.asks)
        self._services: dict[str, Service] = {}
        self._dead = False
        self.world.fleet.work_of = self._work_of

    def machines_of(self, number: int) -> list[Machine]:
        """Every machine that was made for an ask, oldest first."""
        self._look_at_machines()
        return self._of_ask.get(number, [])

    def keys(self, number: int) -> list[str]:
        """Under which keys an ask was sent: a new one for every time its user tried again."""
        return [f"{self.asks[number].key}-{tried}" for tried in range(self._tries.get(number, 0) + 1)]

    @property
    def end(self) -> int:
        """When the run ends, in the world's microseconds."""
        return self.world.start + self.plan.hours * 3600 * SECOND

    def run(self, policy: Policy) -> None:
        """Everything, to the end of the plan."""
        self._set_the_world()
        self.world.after_event.append(self._after_event)
        for ask in self.plan.asks:
            self._ask(policy, ask, ask.at)
        for service in policy.services():
            self._services[service.role] = service
            self._serve(service, service.first)
        if self.plan.scheduler_dies_at is not None:
            self.world.after(self.plan.scheduler_dies_at, self._scheduler_dies, "the scheduler dies")
        while not self._is_still():
            following = self.world.next_at()
            if following is None or following > self.end:
                break
            self.world.step()
        for process in self.processes.alive():
            self.processes.kill(process)
        self.world.now = max(self.world.now, self.end)

    def _is_still(self) -> bool:
        """Nothing bills, nobody waits: from here on nothing costs anything."""
        return not self._waiting and not self.world.fleet.alive() and not self.world.remains and not self._open_asks()

    def _open_asks(self) -> bool:
        """Whether an interrupted ask may yet be launched again: some looks of a watcher after its last machine's end."""
        quiet = self.world.now - 8 * WATCH_SECONDS * SECOND
        return any((machine.ended_at or 0) > quiet for machines in self._of_ask.values() for machine in machines[-1:])

    # --- users

    def _ask(self, policy: Policy, ask: Ask, after: int) -> None:
        tried = self._tries.get(ask.number, 0)
        wish = replace(ask, key=f"{ask.key}-{tried}")
        self.processes.start(f"user {ask.number}", self.host, partial(self._submit, policy, wish), after=after * SECOND)

    def _submit(self, policy: Policy, ask: Ask, process: Process) -> None:
        """What the user does: asks, hears a no, tries again when the cloud was at fault."""
        self._waiting.add(ask.number)
        try:
            policy.submit(process, ask)
        except NoMatchingOffer:
            pass
        except BudgetExceeded:
            self.refused[ask.number] = self.world.now
            self._waiting.discard(ask.number)
            return
        except OutcomeUnknown:  # the launcher says that it will find out
            self._waiting.discard(ask.number)
            return
        except (Unavailable, CredentialsMissing):
            pass
        else:
            self._waiting.discard(ask.number)
            return
        self._tries[ask.number] = tried = self._tries.get(ask.number, 0) + 1
        if tried < TRIES_MAX:
            self._ask(policy, self.asks[ask.number], TRIES_AGAIN)
        else:
            self.given_up[ask.number] = self.world.now
            self._waiting.discard(ask.number)

    # --- processes that end

    def _after_event(self) -> None:
        self._look_at_machines()
        while self._ended_seen < len(self.processes.ended):
            self._ended(self.processes.ended[self._ended_seen])
            self._ended_seen += 1

    def _ended(self, process: Process) -> None:
        if process.state is State.ENDED:
            return
        if process.error is not None and not isinstance(process.error, (Unavailable, CredentialsMissing)):
            raise process.error  # of a policy nothing else is foreseen: the measurement itself is wrong
        service = self._services.get(process.role)
        if self._dead and (service is None or not service.cloud_side):
            return
        if service is not None:
            self._serve(service, COMES_BACK)
        elif process.state is State.DIED:
            self.processes.start(process.role, process.host, process.work, after=COMES_BACK * SECOND)

    def _serve(self, service: Service, after: int) -> None:
        self.processes.start(service.role, self.host, service.work, after=after * SECOND)

    def _scheduler_dies(self) -> None:
        self._dead = True
        self._waiting.clear()
        for process in self.processes.alive():
            service = self._services.get(process.role)
            if service is None or not service.cloud_side:
                self.processes.kill(process)

    # --- what the world does

    def _set_the_world(self) -> None:
        for window in self.plan.windows:
            self._open(window)
        if self.plan.prices_jump_at is not None:
            self.world.after(self.plan.prices_jump_at, self._jump, "prices jump")

    def _open(self, window: Window) -> None:
        fault = self.world.faults[window.fault]
        usual = fault.seconds

        def begin() -> None:
            fault.rate, fault.seconds = ALWAYS, (1, 1)

        def finish() -> None:
            fault.rate, fault.seconds = 0, usual

        self.world.after(window.at, begin, "trouble")
        self.world.after(window.at + window.seconds, finish, "trouble is over")

    def _jump(self) -> None:
        """Every spot price moves at once; where a cloud never sells above on demand, it stops there."""
        for name in ("aws", "gcp", "azure"):
            for pool in self.world.market.pools(name):
                chance = Stream(self.plan.seed, f"enforcement/jump/{pool}")
                percent = chance.between(*self.plan.jump_percent)
                if not pool.dialect.price_spikes:
                    percent = min(percent, 100)
                self.world.reprice(pool, pool.on_demand * percent // 100)

    def _look_at_machines(self) -> None:
        machines = self.world.machines
        if len(machines) == self._seen:
            return
        for machine in list(machines.values())[self._seen :]:
            number = int(machine.build.tags[f"user-{ASK_TAG}"])
            self._of_ask.setdefault(number, []).append(machine)
            self._take_back(machine, number)
        self._seen = len(machines)

    def _take_back(self, machine: Machine, number: int) -> None:
        attempt = machine.build.tags["tallygate-attempt"]
        chance = Stream(self.plan.seed, f"enforcement/taken/{number}/{attempt}")
        if chance.below(100) < self.plan.taken_percent:
            after = self._works[number].seconds * chance.between(10, 90) // 100
            self.world.take_back(machine, at=self.world.now + after * SECOND)

    def _work_of(self, machine: Machine, chance: Stream) -> Work:
        return self._works[int(machine.build.tags[f"user-{ASK_TAG}"])]
