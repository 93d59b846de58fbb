"""Honest models of how others keep to a budget, all over one launcher with books of its own.

The launcher is the strongest plausible one: it writes tags into the create call, repeats a call that was not answered under the
same token as an SDK does, clears what an unanswered call may have made before it goes to the next offer, sends the on-demand
price as its ceiling, lets a machine end itself when its work is done, and launches interrupted work again. Its books survive
crashes and are never slow. What differs is the gate, and what watches afterwards:

    NoGate          none
    CheckThenAct    estimate <= limit - recorded; the record is written when the machine exists
    CheckAtItsBest  the same with disks and addresses in it; machines have a time limit; those that no record knows are ended
    DelayedBill     estimate <= limit - billed, and every eight hours: billed >= limit ends everything
    SoftCap         metered < limit, and every five minutes: metered >= limit ends everything
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from tallygate.errors import (
    BudgetExceeded,
    CredentialsMissing,
    LaunchRefused,
    NoMatchingOffer,
    OutcomeUnknown,
    ProviderError,
    Unavailable,
)
from tallygate.ledger.holds import BudgetPeriod
from tallygate.money import Money
from tallygate.pricing.offers import Offer, PurchaseOption, ResourceRequest, rank
from tallygate.providers.base import Launch, LaunchOrder, Listing, MachineState
from tallygate.simcloud.bills import SimBill
from tallygate.simcloud.deliveries import PUNCTUAL
from tallygate.simcloud.dialects import DIALECTS
from tallygate.simcloud.processes import Process
from tallygate.simcloud.provider import SimProvider, sim_provider
from tallygate.simcloud.timeline import DAY, HOUR, SECOND, instant, microseconds
from tallygate.simcloud.workload import ASK_TAG, Ask, BudgetPlan
from tallygate.times import Period, text

from .stage import WATCH_SECONDS, Service, Stage

INSTALL = "rival001"

NO_END = timedelta(days=30)
"""The end sent with a launch that has none: far beyond every run."""

CREATE_TRIES = 3
"""How often a create call that was not answered is repeated under its token: the default of the SDKs' standard mode."""

MARGIN_PERCENT = 150
"""The longest a job may run in percent of its estimate, where there is such a limit: the margin that ours gives by default."""

OFFERS_TRIED = 5
ATTEMPTS_MAX = 3
"""How many offers a launch may fall back on and how many machines a job may use up: as many as ours may."""

ORPHAN_AGE = timedelta(seconds=300)
"""How old a machine that no record knows must be before those who look for such end it (AWS ParallelCluster's figure)."""

BILL_SECONDS = 8 * 3600
"""How often billing figures are refreshed: AWS says up to three times a day for its budgets."""

POLL_SECONDS = 300
"""How often the soft cap meters. Google names about ten minutes for its spend caps."""

Place = tuple[str, str | None, str, PurchaseOption]
Window = tuple[str, str]
"""A budget's name and the month that its money counts in, if it has months."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """A machine in the launcher's own books. ``cost``: the estimate, and once it has ended its time at the launch price."""

    ask: Ask
    attempt: int
    token: str
    machine_id: str
    offer: Offer
    cost: int
    launched_at: int
    open: bool = True
    missed: int = 0


class NoGate:
    """Launches everything. Its machines end when their work does."""

    sweeps = False
    """Whether machines that no record knows are looked for and ended."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.world = stage.world
        self._expected: dict[int, int] = {}
        self.books: list[Entry] = []
        self.barred: set[int] = set()
        self._attempts: dict[int, int] = {}
        self._tokens = 0
        self._calling: set[str] = set()

    # --- what differs

    def check(self, ask: Ask, expected: int) -> None:
        """The gate: ``BudgetExceeded`` is its no."""

    def run_at_most(self, ask: Ask) -> timedelta:
        """The end sent with a launch."""
        return NO_END

    def hourly(self, offer: Offer) -> Money:
        """What an hour is taken to cost, in estimates and records: the machine alone, as launchers do."""
        return offer.hourly_price

    def services(self) -> list[Service]:
        return [Service(role="watcher", first=30, work=self._watch)]

    def expected(self) -> dict[int, int]:
        return dict(self._expected)

    def broken(self) -> list[str]:
        return []

    def close(self) -> None:
        """Its books are gone with it."""

    # --- launching

    def submit(self, process: Process, ask: Ask) -> None:
        if any(entry.open and entry.ask.number == ask.number for entry in self.books):
            return  # it is on record, so it is running
        self._launch(process, ask)

    def _launch(self, process: Process, ask: Ask) -> None:
        offers = self._offers(process, ask)
        if not offers:
            raise NoMatchingOffer(f"There is nothing to be had for ask {ask.number}")
        expected = self.hourly(offers[0]).times(ask.hours, round_up=True).nanos
        self.check(ask, expected)
        self._expected.setdefault(ask.number, expected)
        self._attempts[ask.number] = attempt = self._attempts.get(ask.number, 0) + 1
        for offer in offers:
            launch, token = self._create(process, ask, offer, attempt)
            if launch is not None:
                cost = self.hourly(offer).times(ask.hours, round_up=True).nanos
                self.books.append(
                    Entry(
                        ask=ask,
                        attempt=attempt,
                        token=token,
                        machine_id=launch.id,
                        offer=offer,
                        cost=cost,
                        launched_at=self.world.now,
                    )
                )
                return
        raise NoMatchingOffer(f"Nobody launched ask {ask.number}")

    def _offers(self, process: Process, ask: Ask) -> list[Offer]:
        options = PurchaseOption.ON_DEMAND if ask.on_demand else PurchaseOption.SPOT
        request = ResourceRequest(vcpus_min=ask.vcpus_min, provider=ask.provider, purchase_options=frozenset({options}))
        names = DIALECTS if ask.provider is None else (ask.provider,)
        return rank([each for name in names for each in self.provider(process, name).offers(request)], request)[
            :OFFERS_TRIED
        ]

    def _create(self, process: Process, ask: Ask, offer: Offer, attempt: int) -> tuple[Launch | None, str]:
        """One offer: the machine, or None when it was refused or never answered."""
        provider = self.provider(process, offer.provider)
        order = self._order(process, ask, offer, attempt)
        self._calling.add(order.token)
        try:
            for _ in range(CREATE_TRIES):
                try:
                    return provider.launch(order), order.token
                except LaunchRefused:
                    return None, order.token
                except OutcomeUnknown:
                    continue
            self._clear(provider, order.token)
        finally:
            self._calling.discard(order.token)
        return None, order.token

    def _clear(self, provider: SimProvider, token: str) -> None:
        """End what an unanswered call may have made, as far as a listing shows it."""
        for launch in provider.describe().launches:
            if launch.token == token and launch.state is not MachineState.ENDED:
                self._terminate(provider, launch.id)

    def _order(self, process: Process, ask: Ask, offer: Offer, attempt: int) -> LaunchOrder:
        self._tokens += 1
        token = f"rival-{ask.number}-{self._tokens}"
        longest = self.run_at_most(ask)
        not_after = process.now() + longest
        ceiling = offer.hourly_price if offer.on_demand_price is None else offer.on_demand_price
        return LaunchOrder(
            token=token,
            offer=offer,
            price_max=max(ceiling, offer.hourly_price),
            tags={
                f"user-{ASK_TAG}": str(ask.number),
                "tallygate-install": INSTALL,
                "tallygate-job": f"job-{ask.number}",
                "tallygate-attempt": str(attempt),
                "tallygate-token": token,
                "tallygate-not-after": text(not_after),
            },
            agent_script="#!/bin/sh",
            agent_document="{}",
            run_seconds_max=int(longest.total_seconds()),
            not_after=not_after,
            disk_gib=ask.disk_gib,
        )

    def provider(self, process: Process, name: str) -> SimProvider:
        def waiting(seconds: float) -> None:
            process.family.wait(process, int(seconds * SECOND), "call")
            process.reach("call")

        return sim_provider(self.world, name, install_id=INSTALL, name=name, waiting=waiting, strict=False)

    def _terminate(self, provider: SimProvider, machine_id: str) -> None:
        try:
            provider.terminate(machine_id)
        except ProviderError:
            return  # it is tried again the next time round

    # --- watching

    def _watch(self, process: Process) -> None:
        while True:
            for name in DIALECTS:
                provider = self.provider(process, name)
                listing = provider.describe()
                for entry in [each for each in self.books if each.open and each.offer.provider == name]:
                    self._look_after(process, entry, listing)
                if self.sweeps and listing.complete:
                    self._sweep(provider, listing)
            process.sleep(WATCH_SECONDS)

    def _look_after(self, process: Process, entry: Entry, listing: Listing) -> None:
        """Close the entry of a machine that has ended or was missing twice; launch interrupted work again."""
        shown = next((each for each in listing.launches if each.id == entry.machine_id), None)
        if shown is not None and shown.state is not MachineState.ENDED:
            entry.missed = 0
            return
        said = self.world.fleet.said.get((f"job-{entry.ask.number}", entry.attempt))
        if shown is None and said is None:
            entry.missed += listing.complete
            if entry.missed < 2:
                return
        ended_at = self.world.now
        if said is not None:
            ended_at = said.ended_at
        elif shown is not None and shown.ended_at is not None:
            ended_at = microseconds(shown.ended_at)
        entry.open = False
        entry.cost = self.hourly(entry.offer).for_seconds(max(0, ended_at - entry.launched_at) // SECOND).nanos
        over = said is not None and said.reason != "interrupted"
        number = entry.ask.number
        if over or number in self.barred or self._attempts[number] >= ATTEMPTS_MAX:
            return
        try:
            self._launch(process, entry.ask)
        except (BudgetExceeded, NoMatchingOffer, Unavailable, CredentialsMissing):
            return

    def _sweep(self, provider: SimProvider, listing: Listing) -> None:
        known = {entry.machine_id for entry in self.books if entry.open}
        for launch in listing.launches:
            old = listing.began_at - launch.launched_at > ORPHAN_AGE
            if old and launch.id not in known and launch.token not in self._calling and _lives(launch):
                self._terminate(provider, launch.id)

    # --- for those who count

    def window(self, budget: BudgetPlan, at: int) -> Window:
        monthly = budget.period is BudgetPeriod.MONTH
        return budget.name, f"{instant(at):%Y-%m}" if monthly else ""

    def applying(self, number: int) -> list[BudgetPlan]:
        return self.stage.plan.applying(self.stage.asks[number].charge_to)

    def require_room(self, ask: Ask, amount: int, spent: Callable[[Window], int]) -> None:
        """Refuse when some budget's spend and ``amount`` together pass its limit."""
        for budget in self.applying(ask.number):
            used = spent(self.window(budget, self.world.now))
            if used + amount > budget.limit.nanos:
                raise BudgetExceeded(f"Budget {budget.name} has {budget.limit.nanos - used} nanos left")

    def end_all(self, process: Process, numbers: Iterable[int]) -> None:
        """End every machine of these asks that a listing shows, and launch none of them again."""
        wanted = set(numbers)
        self.barred |= wanted
        for name in DIALECTS:
            provider = self.provider(process, name)
            for launch in provider.describe().launches:
                if int(launch.tags[f"user-{ASK_TAG}"]) in wanted and _lives(launch):
                    self._terminate(provider, launch.id)


class CheckThenAct(NoGate):
    """Compares the estimate with what its records leave of the limit, then launches, then writes the record.

    A record counts its estimate while its machine runs and its metered time afterwards.
    """

    def check(self, ask: Ask, expected: int) -> None:
        spent: dict[Window, int] = {}
        for entry in self.books:
            for budget in self.applying(entry.ask.number):
                window = self.window(budget, entry.launched_at)
                spent[window] = spent.get(window, 0) + entry.cost
        self.require_room(ask, expected, lambda window: spent.get(window, 0))


class CheckAtItsBest(CheckThenAct):
    """The same with all that could be added without holding money.

    A time limit that the cloud enforces, as AWS Batch and Google's run durations do, at our own margin; disks and addresses in
    estimates and records; and an end for machines that no record knows.
    """

    sweeps = True

    def run_at_most(self, ask: Ask) -> timedelta:
        return timedelta(seconds=int(ask.hours * 3600) * MARGIN_PERCENT // 100)

    def hourly(self, offer: Offer) -> Money:
        return offer.hourly_price + Money(_beside(offer.provider))


class DelayedBill(NoGate):
    """Compares the estimate with what the last look at the bill leaves of the limit; an action at the cloud ends the rest.

    The bill is punctual, faultless and split by budget; it is as late as its cloud's usually is.
    """

    sweeps = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._bills = {name: SimBill(self.world, name, name=name, habits=PUNCTUAL) for name in DIALECTS}
        self._billed: dict[Window, int] = {}

    def check(self, ask: Ask, expected: int) -> None:
        self.require_room(ask, expected, lambda window: self._billed.get(window, 0))

    def services(self) -> list[Service]:
        bills = Service(role="budget action", first=BILL_SECONDS, work=self._refresh, cloud_side=True)
        return [*super().services(), bills]

    def _refresh(self, process: Process) -> None:
        while True:
            self._read_bills()
            over = {
                ask.number
                for ask in self.stage.plan.asks
                for budget in self.applying(ask.number)
                if self._billed.get(self.window(budget, self.world.now), 0) >= budget.limit.nanos
            }
            if over:
                self.end_all(process, over)
            process.sleep(BILL_SECONDS)

    def _read_bills(self) -> None:
        period = Period(instant(self.world.start - DAY), instant(self.world.now + HOUR))
        billed: dict[Window, int] = {}
        for bill in self._bills.values():
            for charge in bill.charges(period):
                number = next(int(value) for key, value in charge.tags.items() if key.endswith(f"user-{ASK_TAG}"))
                for budget in self.applying(number):
                    window = self.window(budget, microseconds(charge.charge_period.start))
                    billed[window] = billed.get(window, 0) + charge.billed_cost.nanos
        self._billed = billed


@dataclass(slots=True)
class _Meter:
    """One machine as the soft cap meters it. ``place`` is where its live price is looked up."""

    number: int
    place: Place
    since: int
    rate: int
    lives: bool = True


class SoftCap(NoGate):
    """Meters everything with its tags at live prices, disks and addresses included; above the limit it denies and ends.

    While a listing is incomplete, what ran before is taken to run on.
    """

    sweeps = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._meters: dict[str, _Meter] = {}
        self._spent: dict[Window, int] = {}
        self._prices: dict[Place, int] = {}

    def check(self, ask: Ask, expected: int) -> None:
        self.require_room(ask, 1, lambda window: self._spent.get(window, 0))

    def services(self) -> list[Service]:
        return [*super().services(), Service(role="meter", first=60, work=self._poll)]

    def _poll(self, process: Process) -> None:
        while True:
            for name in DIALECTS:
                provider = self.provider(process, name)
                self._note_prices(provider, name)
                self._read(name, provider.describe())
            over = {
                meter.number
                for meter in self._meters.values()
                if meter.lives
                for budget in self.applying(meter.number)
                if self._spent.get(self.window(budget, self.world.now), 0) >= budget.limit.nanos
            }
            if over:
                self.end_all(process, over)
            process.sleep(POLL_SECONDS)

    def _note_prices(self, provider: SimProvider, name: str) -> None:
        try:
            offers = list(provider.offers(ResourceRequest(provider=name)))
        except ProviderError:
            return  # the last prices known go on
        for offer in offers:
            self._prices[name, offer.zone, offer.instance_type, offer.purchase_option] = offer.hourly_price.nanos

    def _read(self, name: str, listing: Listing) -> None:
        shown = {each.id: each for each in listing.launches}
        for launch in listing.launches:
            if launch.id not in self._meters:
                number = int(launch.tags[f"user-{ASK_TAG}"])
                option = PurchaseOption.ON_DEMAND if self.stage.asks[number].on_demand else PurchaseOption.SPOT
                place = (name, launch.zone, launch.instance_type, option)
                since = microseconds(launch.started_at or launch.launched_at)
                self._meters[launch.id] = _Meter(number, place, since, self._rate(place))
        for machine_id, meter in self._meters.items():
            if not meter.lives or meter.place[0] != name:
                continue
            seen = shown.get(machine_id)
            meter.lives = _lives(seen) if seen is not None else not listing.complete
            until = self.world.now
            if seen is not None and seen.ended_at is not None:
                until = min(until, microseconds(seen.ended_at))
            self._count(meter, until)

    def _count(self, meter: _Meter, until: int) -> None:
        """Add what passed since the last look, at the price of now."""
        meter.rate = self._rate(meter.place) or meter.rate
        nanos = meter.rate * max(0, until - meter.since) // HOUR
        for budget in self.applying(meter.number):
            window = self.window(budget, until)
            self._spent[window] = self._spent.get(window, 0) + nanos
        meter.since = max(meter.since, until)

    def _rate(self, place: Place) -> int:
        """Nanos an hour of a machine there, with its disk and its address."""
        price = self._prices.get(place, 0)
        return price + _beside(place[0]) if price else 0


def _beside(provider: str) -> int:
    """Nanos an hour of a usual disk and an address, from the price list."""
    dialect = DIALECTS[provider]
    return dialect.disk_nanos_hour(dialect.terms.disk_gib_default) + dialect.address_nanos_hour


def _lives(launch: Launch) -> bool:
    return launch.state is not MachineState.ENDED
