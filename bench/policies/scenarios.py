"""The ten scenarios: what people ask for, under which budgets, and what the world does meanwhile.

Everything is drawn from the seed before any policy runs: asks, what they truly take, limits, windows of time in which calls
fail, whose launcher dies, which attempt of which ask is taken back. So every policy meets the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

from tallygate.ledger.holds import BudgetPeriod
from tallygate.money import Money
from tallygate.pricing.offers import Offer, PurchaseOption, ResourceRequest, rank
from tallygate.simcloud.chance import Stream
from tallygate.simcloud.dialects import DIALECTS
from tallygate.simcloud.market import CALM, Climate
from tallygate.simcloud.timeline import START
from tallygate.simcloud.work import Work
from tallygate.simcloud.workload import Ask, BudgetPlan
from tallygate.simcloud.world import World

MINUTE, HOUR = 60, 3600
"""Seconds."""

CENT = 10_000_000
"""Nanos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time in which one kind of call fault strikes whoever calls. Seconds from the start."""

    fault: str
    at: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One scenario drawn for one seed.

    ``launchers_die``: the asks whose launcher dies when its machine has been made and the answer has not arrived.
    ``scheduler_dies_at``: when everything that runs on our side ends for good. ``prices_jump_at``: when every spot price goes
    to the percentage of its on-demand price that ``jump_percent`` draws. ``taken_percent``: how many of a hundred
    attempts are taken back, at a moment that depends on the ask and the number of the attempt.
    """

    seed: int
    budgets: tuple[BudgetPlan, ...]
    asks: tuple[Ask, ...]
    hours: int
    start: datetime = START
    climate: Climate = CALM
    windows: tuple[Window, ...] = ()
    launchers_die: frozenset[int] = frozenset()
    scheduler_dies_at: int | None = None
    prices_jump_at: int | None = None
    jump_percent: tuple[int, int] = (85, 130)
    taken_percent: int = 0

    def applying(self, charge_to: str | None) -> list[BudgetPlan]:
        """The budgets that an ask draws on: the one it names and every one above it."""
        named = charge_to or ""
        return [each for each in self.budgets if named == each.name or named.startswith(f"{each.name}/")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A name, why it is here, and how it is drawn from a seed."""

    name: str
    why: str
    draw: Callable[[int, Stream], Plan] = field(repr=False)

    def plan(self, seed: int) -> Plan:
        return self.draw(seed, Stream(seed, f"enforcement/{self.name}"))


# --- drawing


def ask(
    chance: Stream,
    number: int,
    *,
    at: int,
    minutes: tuple[int, int] = (20, 120),
    truth: tuple[int, int] = (80, 120),
    charge_to: str = "lab",
    checkpoint_seconds: int = 60,
    hangs: bool = False,
) -> Ask:
    """One wish: an estimate of so many minutes, and a truth of so many percent of it."""
    estimated = chance.between(minutes[0] * MINUTE, minutes[1] * MINUTE)
    return Ask(
        number=number,
        user=f"user{number % 5}",
        at=at,
        provider=chance.pick(tuple(DIALECTS)),
        vcpus_min=chance.pick((2, 4, 4, 16)),
        hours=Decimal(estimated) / HOUR,
        run_seconds_max=None,
        budget=None,
        charge_to=charge_to,
        disk_gib=0,
        on_demand=False,
        work=Work(
            seconds=estimated * chance.between(*truth) // 100, checkpoint_seconds=checkpoint_seconds, hangs=hangs
        ),
        key=f"ask-{number}",
    )


def spread(chance: Stream, count: int, within: int, **kind: object) -> tuple[Ask, ...]:
    """``count`` asks at moments within so many seconds, oldest first."""
    moments = sorted(chance.below(within) for _ in range(count))
    return tuple(ask(chance, number, at=at, **kind) for number, at in enumerate(moments))  # type: ignore[arg-type]


def estimated_cost(seed: int, asks: tuple[Ask, ...], *, start: datetime = START, truly: bool = True) -> int:
    """Nanos for all ``asks`` on today's cheapest machines: for the time they truly take, or are estimated to."""
    world = World(seed, start=start, climate=CALM)
    offers = [offer for name in DIALECTS for offer in world.market.offers(name, name=name)]
    return sum(
        _cheapest(offers, each).hourly_price.nanos * (each.work.seconds if truly else int(each.hours * HOUR)) // HOUR
        for each in asks
    )


def _cheapest(offers: list[Offer], wish: Ask) -> Offer:
    request = ResourceRequest(
        vcpus_min=wish.vcpus_min, provider=wish.provider, purchase_options=frozenset({PurchaseOption.SPOT})
    )
    return rank(offers, request)[0]


def limit(nanos: int, percent: int) -> Money:
    """A percentage of a cost, in whole cents, at least one."""
    return Money(max(1, nanos * percent // 100 // CENT) * CENT)


def lab(seed: int, asks: tuple[Ask, ...], percent: int, *, truly: bool = True) -> tuple[BudgetPlan, ...]:
    """One budget that all draw on: a percentage of what they cost together at today's prices."""
    return (BudgetPlan(name="lab", limit=limit(estimated_cost(seed, asks, truly=truly), percent)),)


# --- the ten


def _calm(seed: int, chance: Stream) -> Plan:
    asks = spread(chance, 12, 8 * HOUR)
    return Plan(seed=seed, asks=asks, budgets=lab(seed, asks, 150), hours=16)


def _burst(seed: int, chance: Stream) -> Plan:
    asks = spread(chance, 50, 2, minutes=(30, 90))
    return Plan(seed=seed, asks=asks, budgets=lab(seed, asks, 20), hours=6)


def _crashes(seed: int, chance: Stream) -> Plan:
    asks = spread(chance, 12, 4 * HOUR)
    return Plan(
        seed=seed,
        asks=asks,
        budgets=lab(seed, asks, 110),
        hours=12,
        launchers_die=frozenset(each.number for each in asks if chance.below(100) < 40),
        windows=tuple(Window(fault="lost_reply", at=chance.below(4 * HOUR), seconds=600) for _ in range(2)),
    )


def _dead(seed: int, chance: Stream) -> Plan:
    asks = tuple(
        replace(each, work=replace(each.work, hangs=chance.below(4) == 0)) for each in spread(chance, 12, 1200)
    )
    budgets = lab(seed, asks, 120)
    return Plan(seed=seed, asks=asks, budgets=budgets, hours=48, scheduler_dies_at=1800)


def _low(seed: int, chance: Stream) -> Plan:
    asks = tuple(
        replace(each, work=replace(each.work, seconds=each.work.seconds * (3 if chance.below(2) else 1)))
        for each in spread(chance, 12, 6 * HOUR)
    )
    return Plan(seed=seed, asks=asks, budgets=lab(seed, asks, 100, truly=False), hours=20)


def _jump(seed: int, chance: Stream) -> Plan:
    asks = spread(chance, 12, 3 * HOUR, minutes=(60, 180))
    jump_at = chance.between(HOUR, 2 * HOUR)
    return Plan(seed=seed, asks=asks, budgets=lab(seed, asks, 120), hours=14, prices_jump_at=jump_at)


def _late(seed: int, chance: Stream) -> Plan:
    asks = spread(chance, 24, 72 * HOUR, minutes=(180, 360))
    return Plan(seed=seed, asks=asks, budgets=lab(seed, asks, 50), hours=96)


_MONTH_START = datetime(2026, 3, 30, 20, tzinfo=UTC)


def _month(seed: int, chance: Stream) -> Plan:
    homes = ("lab", "lab/physics", "lab/physics/anna", "lab/physics/anna", "lab/biology")
    asks = tuple(
        replace(each, charge_to=chance.pick(homes)) for each in spread(chance, 20, 56 * HOUR, minutes=(60, 300))
    )
    whole = estimated_cost(seed, asks, start=_MONTH_START)
    budgets = (
        BudgetPlan(name="lab", limit=limit(whole, 40), period=BudgetPeriod.MONTH),
        BudgetPlan(name="lab/physics", limit=limit(whole, 45)),
        BudgetPlan(name="lab/physics/anna", limit=limit(whole, 20), period=BudgetPeriod.MONTH),
        BudgetPlan(name="lab/biology", limit=limit(whole, 20)),
    )
    return Plan(seed=seed, asks=asks, budgets=budgets, hours=72, start=_MONTH_START)


def _taken(seed: int, chance: Stream) -> Plan:
    asks = tuple(
        replace(each, work=replace(each.work, checkpoint_seconds=chance.pick((0, 0, 300))))
        for each in spread(chance, 12, 6 * HOUR, minutes=(90, 240))
    )
    return Plan(seed=seed, asks=asks, budgets=lab(seed, asks, 100), hours=30, taken_percent=60)


def _blind(seed: int, chance: Stream) -> Plan:
    asks = spread(chance, 14, 6 * HOUR, minutes=(60, 180))
    lengths = {"partial_page": 7200, "throttling": 3600, "expired_credentials": 2400, "outage": 2400}
    windows = tuple(
        Window(fault=fault, at=chance.below(6 * HOUR), seconds=seconds) for fault, seconds in lengths.items()
    )
    return Plan(seed=seed, asks=asks, budgets=lab(seed, asks, 60), hours=16, windows=windows)


SCENARIOS: Mapping[str, Scenario] = {
    each.name: each
    for each in (
        Scenario(
            name="calm",
            why="Nothing goes wrong and the budget pays for everything half over again: what a gate costs when none is needed.",
            draw=_calm,
        ),
        Scenario(
            name="burst",
            why="Fifty launchers ask within two seconds for five times what one budget has: checks that race.",
            draw=_burst,
        ),
        Scenario(
            name="crashes",
            why="Four launchers in ten die between the machine and its record, and replies get lost: machines nobody knows.",
            draw=_crashes,
        ),
        Scenario(
            name="dead scheduler",
            why="After half an hour all of the scheduler is dead for two days, and a quarter of the jobs hang.",
            draw=_dead,
        ),
        Scenario(
            name="low estimates",
            why="Half of the jobs take three times what was estimated, under a budget made from the estimates.",
            draw=_low,
        ),
        Scenario(
            name="price jump",
            why="Within the second hour every spot price jumps to between 85 and 130 % of on demand.",
            draw=_jump,
        ),
        Scenario(
            name="late bills",
            why="Three days of jobs under a budget that pays for half of them, while bills are hours to a day late.",
            draw=_late,
        ),
        Scenario(
            name="nested months",
            why="Four budgets inside each other, two of them monthly, and jobs that run across the turn of the month.",
            draw=_month,
        ),
        Scenario(
            name="interruptions",
            why="Six attempts in ten are taken back and launched again, and two of three jobs never save their work.",
            draw=_taken,
        ),
        Scenario(
            name="blind",
            why="For hours listings are partial, calls throttled, credentials expired, a cloud silent; the budget is short.",
            draw=_blind,
        ),
    )
}
