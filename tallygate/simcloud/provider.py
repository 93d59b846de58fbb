"""The ordinary ``Provider`` over a simulated world, in the manner of one cloud.

    call --checks--> request --waiting--> it takes effect, or not --waiting--> reply, or none

A call takes time before and after it has its effect, and ``waiting`` decides what happens in that time: by default the
world goes on, in a simulation other processes run, and the calling one may die. What reaches the caller is what a real
adapter would make of the cloud's answer.

Stricter than any cloud: a create without our tags, with other parameters under a used token, without a committed intent, or any
call while a transaction is open raises ``SimulationViolation``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

from ..errors import (
    CredentialsMissing,
    InvalidOrder,
    LaunchRefused,
    OutcomeUnknown,
    PermissionDenied,
    ProviderError,
    Throttled,
    Unavailable,
)
from ..pricing.offers import Offer, PurchaseOption, ResourceRequest
from ..pricing.terms import Terms
from ..providers.base import AGENT_TAGS, Launch, LaunchOrder, Listing, MachineState
from .dialects import DIALECTS
from .machines import Build, Machine, Remains
from .timeline import SECOND, instant, microseconds
from .world import World

TIMEOUT_SECONDS = 30
"""How long an adapter waits for an answer that does not come."""

_MILLISECONDS = (40, 400)
"""How long an ordinary request or reply is on its way."""

_END_WORDS = {
    "finished": "the machine shut itself down",
    "deadline": "the machine shut itself down",
    "expired": "the machine shut itself down",
    "limit": "the provider ended it at its limit",
    "interrupted": "the provider took it back",
    "price": "its price passed the ceiling",
    "terminated": "a terminate call",
}


class SimProvider:
    """One installation's view of one account of one simulated cloud; ``sim_provider`` makes the right kind.

    ``name`` is ``sim-aws`` and so on unless given. ``intents`` answers whether a committed intent holds a token,
    ``in_transaction`` whether the caller has a transaction open; without them nothing is checked. ``strict=False`` leaves
    out the checks that no cloud makes, for policies that are not ours. ``calls`` counts what was asked.
    """

    def __init__(
        self,
        world: World,
        dialect: str,
        *,
        install_id: str,
        account: str = "main",
        name: str | None = None,
        waiting: Callable[[float], None] | None = None,
        intents: Callable[[str], bool] | None = None,
        in_transaction: Callable[[], bool] | None = None,
        strict: bool = True,
    ) -> None:
        self._world = world
        self._cloud = world.cloud(dialect, account)
        self._dialect = DIALECTS[dialect]
        self._install_id = install_id
        self._name = name or f"sim-{dialect}"
        self._waiting = waiting or world.advance
        self._intents = intents
        self._in_transaction = in_transaction
        self._strict = strict
        self._place = f"{dialect}/{account}"
        self._chance = world.stream(f"calls/{self._place}")
        self.calls: Counter[str] = Counter()

    @property
    def name(self) -> str:
        return self._name

    @property
    def terms(self) -> Terms:
        return self._dialect.terms

    # --- the four calls

    def offers(self, request: ResourceRequest) -> Iterator[Offer]:
        self._ask("offers")
        return self._world.market.offers(self._dialect.name, name=self._name)

    def launch(self, order: LaunchOrder) -> Launch:
        self._begin("launch")
        build = self._build(order)
        same = self._check_order(order)
        self._send_create(build)
        if not same:
            raise OutcomeUnknown(f"{order.token} was used before with other parameters")
        made = self._cloud.create(build)
        self._lose_answer(f"the create call of {order.token}")
        self._waiting(self._chance.between(*self._dialect.create_waits))
        if isinstance(made, LaunchRefused):
            raise made
        return self._shown(made)

    def describe(self, ids: Sequence[str] | None = None) -> Listing:
        self._begin("describe")
        began_at = self._world.instant()
        launches: list[Launch] = []
        problem: str | None = None
        try:
            if ids is None:
                self._page_through(launches)
            else:
                self._arrive("describe")
                launches += [self._shown_row(row) for row in self._cloud.by_id(ids)]
        except ProviderError as error:
            problem = error.message
        return Listing(
            provider=self._name,
            began_at=began_at,
            complete=problem is None,
            launches=tuple(launches),
            problem=problem,
        )

    def terminate(self, machine_id: str) -> None:
        self._begin("terminate")
        faults = self._world.faults
        self._arrive("terminate")
        if faults.denied_terminate.strikes():
            raise Unavailable(f"{self._name} does not allow this account to end {machine_id}")
        machine, remains = self._cloud.machine(machine_id), self._cloud.remains(machine_id)
        if machine is not None and not self._cloud.is_visible(machine):
            raise Unavailable(f"{self._name} does not know {machine_id} yet")
        lies = faults.lying_terminate.strikes()
        if machine is not None and not lies:
            self._world.fleet.terminate(machine)
        elif machine is not None and self._dialect.stopped_bills:
            self._world.fleet.deallocate(machine)  # where stopping and deleting are two things, it did the lesser
        elif remains is not None and not lies:
            self._world.fleet.clear(remains)
        self._lose_reply("terminate")

    def request_checkpoint(self, machine_id: str) -> None:
        """Ask the job on a machine to save its work and go on."""
        self._ask("request_checkpoint")
        machine = self._cloud.machine(machine_id)
        if machine is not None:
            self._world.fleet.save(machine)

    # --- before a call

    def _begin(self, call: str) -> None:
        if self._in_transaction is not None and self._in_transaction():
            raise self._world.violate(f"{self._name}: a transaction is open during {call}")
        self.calls[call] += 1

    def _check_order(self, order: LaunchOrder) -> bool:
        """Whether the token is new, or used for exactly the same before. Raises what no launcher of ours may do."""
        missing = [tag for tag in AGENT_TAGS if not order.tags.get(tag)]
        if self._strict and missing:
            raise self._world.violate(f"{order.token}: a create without the tags {', '.join(missing)}")
        if self._strict and order.tags["tallygate-token"] != order.token:
            raise self._world.violate(f"{order.token}: a create tagged with another token")
        if self._intents is not None and not self._intents(order.token):
            raise self._world.violate(f"{order.token}: a create without a committed intent")
        same = self._cloud.same_request(order.token, _fingerprint(order))
        if self._strict and not same:
            raise self._world.violate(f"{order.token}: other parameters under a used token")
        return same

    def _build(self, order: LaunchOrder) -> Build:
        offer = order.offer
        pool = self._world.market.pool(self._dialect.name, offer.zone or "", offer.instance_type)
        if pool is None:
            raise InvalidOrder(f"{self._name} has no {offer.instance_type} in {offer.zone or offer.region}")
        spot = offer.purchase_option is PurchaseOption.SPOT
        ceiling = self._dialect.shown_price(order.price_max.nanos) if spot and self.terms.has_price_ceiling else None
        return Build(
            dialect=self._dialect,
            account=self._cloud.account,
            token=order.token,
            tags=dict(order.tags),
            pool=pool,
            spot=spot,
            ceiling=ceiling,
            run_seconds_max=order.run_seconds_max,
            not_after=microseconds(order.not_after),
            disk_gib=order.disk_gib,
        )

    # --- on the way

    def _ask(self, call: str) -> None:
        """A call whose answer may come or not, and nothing more."""
        self._begin(call)
        self._arrive(call)

    def _arrive(self, call: str) -> None:
        """The way to the cloud of a call that may safely be repeated. Raises when it does not get there."""
        faults = self._world.faults
        self._travel()
        if faults.outage.is_on(self._place) or faults.lost_request.strikes():
            self._waiting(TIMEOUT_SECONDS)
            raise Unavailable(f"{self._name} did not answer {call} within {TIMEOUT_SECONDS} s")
        if faults.expired_credentials.is_on(self._place):
            raise CredentialsMissing(f"{self._name}: the credentials have expired")
        if not self._cloud.bucket.take(self._world.now, storm=faults.throttling.is_on(self._place)):
            raise Unavailable(f"{self._name}: too many calls, {call} was not carried out")
        if faults.server_error.strikes():
            raise Unavailable(f"{self._name} answered {call} with 503")

    def _send_create(self, build: Build) -> None:
        """The way to the cloud of a create call, which nobody may repeat lightly."""
        faults, what = self._world.faults, f"the create call of {build.token}"
        self._travel()
        if faults.late_execution.strikes():
            self._world.after(faults.late_execution.lasts(), lambda: self._carry_out_late(build), "late create")
            self._waiting(TIMEOUT_SECONDS)
            raise OutcomeUnknown(f"{self._name} did not answer {what} within {TIMEOUT_SECONDS} s")
        if faults.outage.is_on(self._place) or faults.lost_request.strikes():
            self._waiting(TIMEOUT_SECONDS)
            raise OutcomeUnknown(f"{self._name} did not answer {what} within {TIMEOUT_SECONDS} s")
        if faults.expired_credentials.is_on(self._place):
            raise PermissionDenied(f"{self._name}: the credentials have expired")
        if not self._cloud.bucket.take(self._world.now, storm=faults.throttling.is_on(self._place)):
            raise Throttled(f"{self._name}: too many calls, {what} was not carried out")
        if faults.server_error.strikes():
            if faults.server_error.pick(2):
                self._cloud.create(build)
            raise OutcomeUnknown(f"{self._name} answered {what} with 500")

    def _carry_out_late(self, build: Build) -> None:
        self._world.record("late", token=build.token)
        self._cloud.create(build)

    def _lose_answer(self, what: str) -> None:
        """The way back of a create call that has had its effect."""
        faults = self._world.faults
        if faults.lost_reply.strikes():
            self._waiting(TIMEOUT_SECONDS)
            raise OutcomeUnknown(f"{self._name} did not answer {what} within {TIMEOUT_SECONDS} s")
        if faults.odd_body.strikes():
            raise OutcomeUnknown(f"{self._name} answered {what} with something that is no answer")

    def _lose_reply(self, call: str) -> None:
        """The way back of a call that may safely be repeated."""
        if self._world.faults.lost_reply.strikes():
            self._waiting(TIMEOUT_SECONDS)
            raise Unavailable(f"{self._name} did not answer {call} within {TIMEOUT_SECONDS} s")

    def _travel(self) -> None:
        slow = self._world.faults.slow_call
        milliseconds = self._chance.between(*_MILLISECONDS)
        self._waiting(slow.lasts() if slow.strikes() else milliseconds / 1000)

    # --- listing

    def _page_through(self, launches: list[Launch]) -> None:
        """Append page after page. Raises where a page does not come; what came before stays."""
        faults = self._world.faults
        shown: set[str] = set()
        page = 0
        while True:
            self._arrive(f"page {page + 1} of describe")
            if faults.partial_page.strikes():
                raise Unavailable(f"{self._name}: page {page + 1} of describe did not come")
            following = [row for row in self._cloud.rows(self._install_id) if row.id not in shown]
            for row in following[: self._dialect.page_size]:
                shown.add(row.id)
                launches.append(self._shown_row(row))
                if faults.repeated_row.strikes():
                    launches.append(launches[-1])
            if len(following) <= self._dialect.page_size:
                return
            page += 1

    def _shown_row(self, row: Machine | Remains) -> Launch:
        return self._shown(row) if isinstance(row, Machine) else self._shown_remains(row)

    def _shown(self, machine: Machine) -> Launch:
        build, ended = machine.build, machine.ended_at
        launch = Launch(
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
            end_reason=None if ended is None or machine.end_cause is None else _END_WORDS[machine.end_cause],
        )
        if ended is None and self._world.faults.unrecognised_state.strikes():
            return replace(launch, state=MachineState.UNRECOGNISED)
        return launch

    def _shown_remains(self, remains: Remains) -> Launch:
        """What is left of a machine, or of the attempt to make one: no machine, but it bills."""
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
            resource_ids=tuple(side.id for side in remains.sides if side.exists),
            launched_at=instant(remains.made_at),
            end_reason="left behind",
        )


class ExtendingSimProvider(SimProvider):
    """A provider whose machines can be given a later end: no limit of the provider's own stands against it."""

    def extend(self, machine_id: str, *, not_after: datetime, run_seconds_max: int) -> None:
        self._ask("extend")
        machine = self._cloud.machine(machine_id)
        if machine is None or not machine.is_alive:
            raise Unavailable(f"{machine_id} is gone")
        self._world.fleet.extend(machine, not_after=microseconds(not_after), run_seconds_max=run_seconds_max)
        self._lose_reply("extend")


def sim_provider(
    world: World,
    dialect: str,
    *,
    install_id: str,
    account: str = "main",
    name: str | None = None,
    waiting: Callable[[float], None] | None = None,
    intents: Callable[[str], bool] | None = None,
    in_transaction: Callable[[], bool] | None = None,
    strict: bool = True,
) -> SimProvider:
    """A provider over ``world`` with the abilities that its cloud has. See ``SimProvider``."""
    kind = ExtendingSimProvider if DIALECTS[dialect].extends else SimProvider
    return kind(
        world,
        dialect,
        install_id=install_id,
        account=account,
        name=name,
        waiting=waiting,
        intents=intents,
        in_transaction=in_transaction,
        strict=strict,
    )


def _fingerprint(order: LaunchOrder) -> str:
    """Everything that must be the same when a token is used again."""
    offer = order.offer
    parts = (
        offer.region,
        offer.zone,
        offer.instance_type,
        offer.purchase_option,
        order.price_max.nanos,
        sorted(order.tags.items()),
        sha256(order.agent_script.encode()).hexdigest(),
        sha256(order.agent_document.encode()).hexdigest(),
        order.run_seconds_max,
        microseconds(order.not_after) // SECOND,
        order.disk_gib,
    )
    return sha256(repr(parts).encode()).hexdigest()
