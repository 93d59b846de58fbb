"""The ordinary ``Provider`` over a simulated world, in the manner of one cloud.

A call takes time before and after it has its effect, and ``waiting`` decides what happens in that time: by default the
world goes on, in a simulation other processes run, and the calling one may die. What reaches the caller is what a real
adapter would make of the cloud's answer.

Stricter than any cloud: a create without our tags, with other parameters under a used token, without a committed intent, or any
call while a transaction is open raises ``SimulationViolation``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from ..errors import InsufficientCapacity, InvalidOrder, Unavailable
from ..pricing.offers import Offer, PurchaseOption, ResourceRequest
from ..pricing.terms import Terms
from ..providers.base import AGENT_TAGS, Launch, LaunchOrder, Listing, MachineState
from ..times import Clock
from .dialects import DIALECTS
from .machines import Build, Machine, Remains
from .timeline import SECOND, instant, microseconds
from .world import World


class SimProvider:
    """One installation's view of one account of one simulated cloud.

    ``dialect``: ``aws``, ``gcp`` or ``azure``; ``name`` is ``sim-aws`` and so on unless given. ``intents`` answers whether a
    committed intent holds a token, ``in_transaction`` whether the caller has a transaction open; without them nothing is
    checked. ``clock`` is the calling process's own.
    """

    def __init__(
        self,
        world: World,
        dialect: str,
        *,
        install_id: str,
        account: str = "main",
        name: str | None = None,
        clock: Clock | None = None,
        waiting: Callable[[float], None] | None = None,
        intents: Callable[[str], bool] | None = None,
        in_transaction: Callable[[], bool] | None = None,
    ) -> None:
        self._world = world
        self._dialect = DIALECTS[dialect]
        self._install_id = install_id
        self._account = account
        self._name = name or f"sim-{dialect}"
        self._clock = clock or world.clock
        self._waiting = waiting or world.advance
        self._intents = intents
        self._in_transaction = in_transaction
        self._chance = world.stream(f"calls/{dialect}/{account}")

    @property
    def name(self) -> str:
        return self._name

    @property
    def terms(self) -> Terms:
        return self._dialect.terms

    # --- the four calls

    def offers(self, request: ResourceRequest) -> Iterator[Offer]:
        self._check_no_transaction("offers")
        yield from self._world.market.offers(self._dialect.name, name=self._name)

    def launch(self, order: LaunchOrder) -> Launch:
        self._check_no_transaction("launch")
        build = self._build(order)
        self._check_order(order)
        machine = self._create(build)
        return self._shown(machine)

    def describe(self, ids: Sequence[str] | None = None) -> Listing:
        self._check_no_transaction("describe")
        began_at = self._clock.now()
        now = self._world.now
        dialect = self._dialect
        shown: list[Launch] = []
        for machine in self._world.fleet.of(dialect.name, self._account):
            if machine.build.tags.get("tallygate-install") != self._install_id or now < machine.visible_from:
                continue
            kept = dialect.shown_after_end if ids is None else dialect.known_after_end
            gone = machine.ended_at is not None and now > machine.ended_at + kept * SECOND
            if not gone and (ids is None or machine.id in ids):
                shown.append(self._shown(machine))
        for remains in self._world.remains:
            if ids is None or remains.id in ids:
                shown.append(self._shown_remains(remains))
        return Listing(provider=self._name, began_at=began_at, complete=True, launches=tuple(shown))

    def terminate(self, machine_id: str) -> None:
        self._check_no_transaction("terminate")
        fleet = self._world.fleet
        if (remains := fleet.remains.get(machine_id)) is not None:
            fleet.clear(remains)
        elif (machine := fleet.machines.get(machine_id)) is not None:
            fleet.terminate(machine)

    # --- abilities

    def extend(self, machine_id: str, *, not_after: datetime, run_seconds_max: int) -> None:
        self._check_no_transaction("extend")
        machine = self._world.machines.get(machine_id)
        if machine is None or not machine.is_alive:
            raise Unavailable(f"{machine_id} is gone")
        self._world.fleet.extend(machine, not_after=microseconds(not_after), run_seconds_max=run_seconds_max)

    def request_checkpoint(self, machine_id: str) -> None:
        self._check_no_transaction("request_checkpoint")
        machine = self._world.machines.get(machine_id)
        if machine is not None:
            self._world.fleet.save(machine)

    # --- strictness

    def _check_no_transaction(self, call: str) -> None:
        if self._in_transaction is not None and self._in_transaction():
            raise self._world.violate(f"{self._name}: a transaction is open during {call}")

    def _check_order(self, order: LaunchOrder) -> None:
        missing = [tag for tag in AGENT_TAGS if not order.tags.get(tag)]
        if missing:
            raise self._world.violate(f"{order.token}: a create without the tags {', '.join(missing)}")
        if self._intents is not None and not self._intents(order.token):
            raise self._world.violate(f"{order.token}: a create without a committed intent")

    # --- creating

    def _build(self, order: LaunchOrder) -> Build:
        offer = order.offer
        pool = self._world.market.pool(self._dialect.name, offer.zone or "", offer.instance_type)
        if pool is None:
            raise InvalidOrder(f"{self._name} has no {offer.instance_type} in {offer.zone or offer.region}")
        spot = offer.purchase_option is PurchaseOption.SPOT
        ceiling = self._dialect.shown_price(order.price_max.nanos) if spot and self.terms.has_price_ceiling else None
        return Build(
            dialect=self._dialect,
            account=self._account,
            token=order.token,
            tags=dict(order.tags),
            pool=pool,
            spot=spot,
            ceiling=ceiling,
            run_seconds_max=order.run_seconds_max,
            not_after=microseconds(order.not_after),
            disk_gib=order.disk_gib,
        )

    def _create(self, build: Build) -> Machine:
        fleet, now = self._world.fleet, self._world.now
        for machine in fleet.with_token(build.dialect.name, build.account, build.token):
            return machine
        if build.spot and build.pool.empty_at(now):
            raise InsufficientCapacity(f"{self._name} has no {build.pool} to give right now")
        if build.ceiling is not None and build.pool.price_at(now) > build.ceiling:
            raise InvalidOrder(f"The price of {build.pool} is above the ceiling of {build.ceiling / 10**9:.5f}")
        return fleet.create(build)

    # --- showing

    def _shown(self, machine: Machine) -> Launch:
        build = machine.build
        ended = machine.ended_at
        return Launch(
            id=machine.id,
            provider=self._name,
            token=build.token,
            state=machine.state,
            region=build.pool.region,
            zone=build.pool.zone,
            instance_type=build.pool.hardware.instance_type,
            tags=build.tags,
            resource_ids=machine.resource_ids(),
            launched_at=instant(machine.created_at),
            started_at=None if machine.started_at is None else instant(machine.started_at),
            ended_at=None if ended is None else instant(ended),
            end_source=None if ended is None else "provider",
            end_reason=None if ended is None else machine.end_cause,
        )

    def _shown_remains(self, remains: Remains) -> Launch:
        build = remains.build
        return Launch(
            id=remains.id,
            provider=self._name,
            token=build.token,
            state=MachineState.STOPPED,
            region=build.pool.region,
            zone=build.pool.zone,
            instance_type=build.pool.hardware.instance_type,
            tags=build.tags,
            resource_ids=tuple(side.id for side in remains.sides),
            launched_at=instant(remains.made_at),
            end_reason="left behind",
        )
