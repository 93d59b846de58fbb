"""What finishing will cost, the most it can cost, and the gate in between.

With M today's machine price times the estimated runtime, B the job's budget, F disks, address and egress over the
machine's life, P the price ceiling per hour, D the machine's deadline and K the kill allowance:

    1. M > B is refused; equal passes, compared exactly.
    2. P * (D + K) + F <= B for everything that is launched. P starts at the provider's own ceiling and is lowered
       towards today's price when that buys a longer D; D is the longest runtime that fits B, at most a margin times the
       estimate. A D that covers too little of the estimate is refused.
    3. The hold is P * (D + K) + F, rounded up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal

from .. import times
from ..errors import BudgetExceeded, EstimateExceedsBudget, PriceRefused, UsageError
from ..money import Money
from .offers import Offer, PurchaseOption
from .terms import Terms

HOURLY_PRICE_MAX = Money.of(2_000)
"""Above this an hourly price is taken for a mistake of unit: the dearest machine of the three clouds costs some 100."""

RUN_SECONDS_MAX = 30 * 24 * 3600
"""No machine is launched for longer than 30 days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPart:
    """One line of an estimate: ``quantity`` of ``unit`` at ``unit_price``."""

    name: str
    quantity: Decimal
    unit: str
    unit_price: Money
    cost: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The gate's settings.

    ``runtime_margin``: how much longer than estimated a machine may run when the budget allows. ``runtime_cover_min``:
    the share of the estimated runtime that the deadline must cover. ``price_age_max``: how old a price may be.
    """

    runtime_margin: Decimal = Decimal("1.5")
    runtime_cover_min: Decimal = Decimal("0.9")
    price_age_max: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An offer, priced for one job and bounded.

    ``expected`` is M: the machine alone at today's price for the estimated runtime, the figure the documents compare
    with the budget. ``worst_case`` is the hold: what ``parts`` add up to, rounded up. ``run_seconds_max`` is D,
    ``kill_seconds`` K, ``price_max`` P. ``assumptions`` are the conditions under which nobody can pay more.
    """

    offer: Offer
    hours: Decimal
    budget: Money | None
    expected: Money
    price_max: Money
    run_seconds_max: int
    kill_seconds: int
    parts: tuple[CostPart, ...]
    worst_case: Money
    assumptions: tuple[str, ...]

    @property
    def estimated_seconds(self) -> int:
        return runtime_seconds(self.hours)

    @property
    def covers_estimate(self) -> bool:
        return self.run_seconds_max >= self.estimated_seconds

    @property
    def coverage(self) -> str | None:
        """What to say when the budget covers less than the estimated runtime; None when it covers all of it."""
        if self.covers_estimate:
            return None
        return (
            f"the budget covers {times.duration(self.run_seconds_max)}"
            f" of the estimated {times.duration(self.estimated_seconds)}"
        )


def estimate(
    offer: Offer,
    terms: Terms,
    *,
    hours: Decimal,
    budget: Money | None,
    policy: Policy,
    now: datetime,
    run_seconds_max: int | None = None,
    disk_gib: int = 0,
    egress_gib: int = 0,
    price_accepted: bool = False,
) -> Estimate:
    """Price and bound ``offer``, or refuse it.

    ``hours`` is the estimated runtime. ``run_seconds_max`` caps the deadline. ``price_accepted`` says that a person has
    stated this price, so its age is not questioned. Raises ``PriceRefused`` for a price unfit to decide on, and
    ``BudgetExceeded`` with the documented three lines, or with every part named, when the budget does not do.
    """
    _check_runtime(hours, run_seconds_max)
    check_price(offer, policy=policy, now=now, accepted=price_accepted)
    if budget is not None:
        _compare_with_budget(offer, hours, budget)

    wanted = _wanted_seconds(hours, run_seconds_max, policy)
    sides = Sides.of(offer, terms, disk_gib=disk_gib, egress_gib=egress_gib)
    price_max, seconds = _price_and_deadline(offer, terms, sides, wanted=wanted, budget=budget)
    parts = sides.parts(price_max, seconds, terms)
    worst_case = _sum(parts)
    found = Estimate(
        offer=offer,
        hours=hours,
        budget=budget,
        expected=offer.hourly_price.times(hours, round_up=True),
        price_max=price_max,
        run_seconds_max=seconds,
        kill_seconds=terms.kill_seconds,
        parts=parts,
        worst_case=worst_case,
        assumptions=_assumptions(offer, terms, price_max, seconds, egress_gib),
    )
    needed = min(runtime_seconds(hours), wanted)
    if seconds < Decimal(needed) * policy.runtime_cover_min:
        raise _too_short(found, terms, sides, needed, policy)
    return found


RETRY_SECONDS_MIN = 10
"""An interrupted job is launched again only when its hold still pays for at least this long."""


def within(offer: Offer, terms: Terms, *, budget: Money, run_seconds_max: int, disk_gib: int = 0) -> Estimate:
    """The bounds of a further attempt that must live on what a hold still keeps.

    Raises ``BudgetExceeded`` when that pays for less than ``RETRY_SECONDS_MIN``.
    """
    sides = Sides.of(offer, terms, disk_gib=disk_gib, egress_gib=0)
    price_max, seconds = _price_and_deadline(offer, terms, sides, wanted=run_seconds_max, budget=budget)
    parts = sides.parts(price_max, seconds, terms)
    if seconds < RETRY_SECONDS_MIN or _sum(parts) > budget:
        raise BudgetExceeded(f"${budget.shown(4)} still held do not pay for another attempt on {offer}")
    hours = Decimal(seconds) / 3600
    return Estimate(
        offer=offer,
        hours=hours,
        budget=budget,
        expected=offer.hourly_price.for_seconds(seconds, round_up=True),
        price_max=price_max,
        run_seconds_max=seconds,
        kill_seconds=terms.kill_seconds,
        parts=parts,
        worst_case=_sum(parts),
        assumptions=_assumptions(offer, terms, price_max, seconds, 0),
    )


def held_to(planned: Estimate, offer: Offer, terms: Terms, *, disk_gib: int, egress_gib: int) -> Estimate:
    """What was planned, decided again with today's ``offer``: the same ceiling, the same end, the same hold.

    Raises ``EstimateExceedsBudget`` when today's price no longer fits the budget, and ``PriceRefused`` when it, or what the price
    may rise to, is above the planned ceiling, or when the planned hold no longer covers the worst case.
    """
    today, most_today = offer.hourly_price, offer.hourly_price if terms.has_price_ceiling else _ceiling(offer, terms)
    if planned.budget is not None:
        _compare_with_budget(offer, planned.hours, planned.budget)
    if most_today > planned.price_max:
        rises = "" if most_today == today else f" and may rise to ${most_today.shown(4)}"
        raise PriceRefused(
            f"The price of {offer} is ${today.shown(4)} an hour today{rises}, above the plan's ceiling of"
            f" ${planned.price_max.shown(4)}",
            cure="Make a new plan with today's prices",
        )
    sides = Sides.of(offer, terms, disk_gib=disk_gib, egress_gib=egress_gib)
    worst_case = sides.cost(planned.price_max, planned.run_seconds_max, terms)
    if worst_case > planned.worst_case:
        raise PriceRefused(
            f"{offer} can cost ${worst_case.shown(4)} by today's terms, more than the ${planned.worst_case.shown(4)} that the"
            " plan holds",
            cure="Make a new plan with today's prices",
        )
    return replace(planned, offer=offer, expected=today.times(planned.hours, round_up=True))


def added_cost(offer: Offer, terms: Terms, price_max: Money, *, seconds: int, more: int, disk_gib: int) -> Money:
    """What running ``more`` seconds beyond ``seconds`` adds to the worst case at ``price_max`` an hour."""
    sides = Sides.of(offer, terms, disk_gib=disk_gib, egress_gib=0)
    return sides.cost(price_max, seconds + more, terms) - sides.cost(price_max, seconds, terms)


def most(offer: Offer, terms: Terms, price_max: Money, *, seconds: int, disk_gib: int, egress_gib: int = 0) -> Money:
    """The most that a machine which was there for ``seconds`` can be billed, with everything beside it.

    Rounded as a meter rounds, so that a machine of one certain price and nothing beside it comes to exactly what was metered.
    """
    sides = Sides.of(offer, terms, disk_gib=disk_gib, egress_gib=egress_gib)
    life = terms.billed_seconds(seconds)
    beside = over(sides.disk_hour, life) + over(sides.address_hour, life) + sides.egress
    return price_max.for_seconds(life) + beside


def runtime_seconds(hours: Decimal) -> int:
    """Whole seconds of ``hours``, rounded up."""
    return int((hours * 3600).to_integral_value(rounding=ROUND_CEILING))


def check_price(offer: Offer, *, policy: Policy, now: datetime, accepted: bool = False) -> None:
    """Refuse a price that is no ground for a decision: not above zero, absurd, from the future, a reference, or too old."""
    price = offer.hourly_price
    if price.nanos <= 0:
        raise PriceRefused(f"The price of {offer} is ${price.shown(4)} an hour, which is no price")
    if price.nanos > HOURLY_PRICE_MAX.nanos:
        raise PriceRefused(
            f"The price of {offer} is ${price:.4f} an hour, above the largest believable, ${HOURLY_PRICE_MAX:.0f}"
        )
    refusal = None if accepted else unfit_to_launch(offer, policy=policy, now=now)
    if refusal is not None:
        raise refusal


def unfit_to_launch(offer: Offer, *, policy: Policy, now: datetime) -> PriceRefused | None:
    """Why a believable price serves to plan with and not to launch at: a reference, too old, or from the future."""
    price = offer.hourly_price
    if offer.is_reference:
        return PriceRefused(
            f"The price of {offer} is a reference of {offer.priced_at:%Y-%m-%d} ({offer.price_source}), to plan with and not"
            " to launch at",
            cure=f"Refresh the prices, or state today's price: --accept-price {price.shown(4)}",
        )
    age = now - offer.priced_at
    if age > policy.price_age_max:
        return PriceRefused(
            f"The price of {offer} is {times.duration(int(age.total_seconds()))} old ({offer.price_source}),"
            f" older than the allowed {times.duration(int(policy.price_age_max.total_seconds()))}",
            cure=f"Refresh the prices, or state today's price: --accept-price {price.shown(4)}",
        )
    if age < -timedelta(minutes=5):
        return PriceRefused(
            f"The price of {offer} is dated {times.shown(offer.priced_at)}, in the future",
            cure="Set this machine's clock, or state the price with --accept-price",
        )
    return None


def _check_runtime(hours: Decimal, run_seconds_max: int | None) -> None:
    if not hours.is_finite() or hours <= 0:
        raise UsageError(f"An estimated runtime of {hours} hours makes no sense", cure="Use a number above zero")
    if runtime_seconds(hours) > RUN_SECONDS_MAX:
        raise UsageError(
            f"An estimated runtime of {hours} hours is beyond the longest allowed, {RUN_SECONDS_MAX // 3600} hours",
            cure="Split the job, or let it checkpoint and resume",
        )
    if run_seconds_max is not None and not 0 < run_seconds_max <= RUN_SECONDS_MAX:
        raise UsageError(f"A longest runtime of {run_seconds_max} seconds makes no sense", cure="Use 1 s to 30 days")


def _compare_with_budget(offer: Offer, hours: Decimal, budget: Money) -> None:
    if budget.currency != offer.hourly_price.currency:
        raise UsageError(
            f"The budget is in {budget.currency} and {offer} is priced in {offer.hourly_price.currency}",
            cure="State the budget in the price's currency",
        )
    if Decimal(offer.hourly_price.nanos) * hours > budget.nanos:
        raise EstimateExceedsBudget(
            f"Estimated cost ${offer.hourly_price.times(hours, round_up=True):.4f} exceeds budget ${budget:.2f}\n"
            f"Instance: {offer.instance_type} @ ${offer.hourly_price:.4f}/hour for {_shown_hours(hours)} hours\n"
            "Use --estimated-runtime to adjust runtime estimate or increase --budget"
        )


def _shown_hours(hours: Decimal) -> str:
    text = f"{hours.normalize():f}"
    return text if "." in text else f"{text}.0"


def _wanted_seconds(hours: Decimal, run_seconds_max: int | None, policy: Policy) -> int:
    longest = min(runtime_seconds(hours * policy.runtime_margin), RUN_SECONDS_MAX)
    return longest if run_seconds_max is None else min(run_seconds_max, RUN_SECONDS_MAX)


@dataclass(frozen=True, slots=True)
class Sides:
    """What bills beside the machine: by the hour while it lives, and once."""

    disk_gib: int
    disk_hour: Money
    address_hour: Money
    egress_gib: int
    egress: Money

    @property
    def currency(self) -> str:
        return self.disk_hour.currency

    @classmethod
    def of(cls, offer: Offer, terms: Terms, *, disk_gib: int, egress_gib: int) -> Sides:
        currency = offer.hourly_price.currency
        nothing = Money.zero(currency)
        disk = disk_gib or terms.disk_gib_default
        if egress_gib and terms.egress_gib is None:
            raise PriceRefused(f"No price is known for {egress_gib} GiB of egress from {offer.provider}")
        sides = cls(
            disk,
            terms.disk_gib_month.times(Decimal(disk) / times.HOURS_PER_MONTH, round_up=True)
            if terms.disk_gib_month is not None
            else nothing,
            terms.public_address_hour if terms.public_address_hour is not None else nothing,
            egress_gib,
            terms.egress_gib.times(egress_gib, round_up=True) if terms.egress_gib is not None else nothing,
        )
        if {sides.disk_hour.currency, sides.address_hour.currency, sides.egress.currency} != {currency}:
            raise PriceRefused(f"{offer} is priced in {currency}, but its disk, address or egress is not")
        return sides

    def cost(self, price: Money, seconds: int, terms: Terms) -> Money:
        """The most that ``seconds`` of running can cost at ``price`` an hour, the kill allowance included."""
        return _sum(self.parts(price, seconds, terms))

    def parts(self, price: Money, seconds: int, terms: Terms) -> tuple[CostPart, ...]:
        life = terms.billed_seconds(seconds + terms.kill_seconds)
        hours = Decimal(life) / 3600
        parts = [CostPart(name="machine", quantity=hours, unit="hours", unit_price=price, cost=over(price, life))]
        if self.disk_hour.nanos:
            parts.append(
                CostPart(
                    name=f"disk, {self.disk_gib} GiB",
                    quantity=hours,
                    unit="hours",
                    unit_price=self.disk_hour,
                    cost=over(self.disk_hour, life),
                )
            )
        if self.address_hour.nanos:
            parts.append(
                CostPart(
                    name="public address",
                    quantity=hours,
                    unit="hours",
                    unit_price=self.address_hour,
                    cost=over(self.address_hour, life),
                )
            )
        if self.egress.nanos:
            parts.append(
                CostPart(
                    name="egress",
                    quantity=Decimal(self.egress_gib),
                    unit="GiB",
                    unit_price=self.egress.times(Decimal(1) / self.egress_gib),
                    cost=self.egress,
                )
            )
        return tuple(parts)


def over(price: Money, seconds: int) -> Money:
    """An hourly price over so many seconds, rounded up."""
    return price.for_seconds(seconds, round_up=True)


def _sum(parts: tuple[CostPart, ...]) -> Money:
    result = parts[0].cost
    for part in parts[1:]:
        result += part.cost
    return result


def _price_and_deadline(
    offer: Offer, terms: Terms, sides: Sides, *, wanted: int, budget: Money | None
) -> tuple[Money, int]:
    """P and D. Without a budget P is the provider's ceiling and D what is wanted."""
    today, ceiling = offer.hourly_price, _ceiling(offer, terms)
    if budget is None or sides.cost(ceiling, wanted, terms) <= budget:
        return ceiling, wanted
    if terms.has_price_ceiling and sides.cost(today, wanted, terms) <= budget:
        return _highest_price(today, ceiling, lambda price: sides.cost(price, wanted, terms) <= budget), wanted
    price = today if terms.has_price_ceiling else ceiling
    return price, _longest(wanted, lambda seconds: sides.cost(price, seconds, terms) <= budget)


def _ceiling(offer: Offer, terms: Terms) -> Money:
    """The highest hourly price the machine can reach before the provider takes it away."""
    if offer.purchase_option is PurchaseOption.ON_DEMAND:
        return offer.hourly_price
    if offer.on_demand_price is not None:
        return max(offer.on_demand_price, offer.hourly_price)
    if terms.has_price_ceiling:
        return offer.hourly_price
    raise PriceRefused(
        f"{offer} has no price ceiling and its on-demand price is not known, so its cost has no bound",
        cure="Name an offer whose on-demand price is known, or another provider",
    )


def _highest_price(low: Money, high: Money, fits: Callable[[Money], bool]) -> Money:
    """The highest price between ``low`` (which fits) and ``high`` (which does not), to the nano."""
    below, above = low.nanos, high.nanos
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if fits(Money(middle, low.currency)) else (below, middle)
    return Money(below, low.currency)


def _longest(wanted: int, fits: Callable[[int], bool]) -> int:
    """The longest runtime up to ``wanted`` that fits; zero when none does."""
    below, above = 0, wanted
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if fits(middle) else (below, middle)
    return below


def _assumptions(offer: Offer, terms: Terms, price_max: Money, seconds: int, egress_gib: int) -> tuple[str, ...]:
    ends = f"the machine ends itself after {times.duration(seconds)}, at most {terms.kill_seconds} s late"
    if offer.purchase_option is PurchaseOption.ON_DEMAND:
        price = f"the price stays at ${price_max.shown(4)} an hour"
    elif terms.has_price_ceiling:
        price = f"{offer.provider} takes the machine back when its price passes ${price_max.shown(4)} an hour"
    else:
        price = f"the spot price does not pass the on-demand price, ${price_max.shown(4)} an hour"
    sides = (
        f"no more than {egress_gib} GiB leave the cloud" if terms.egress_gib is not None else "nothing else is billed"
    )
    return ends, price, sides


def _too_short(found: Estimate, terms: Terms, sides: Sides, needed: int, policy: Policy) -> BudgetExceeded:
    budget = found.budget
    assert budget is not None  # without a budget the deadline is what was wanted
    price = found.offer.hourly_price if terms.has_price_ceiling else found.price_max
    parts = sides.parts(price, needed, terms)
    named = ", ".join(f"{part.name} ${part.cost:.4f}" for part in parts)
    percent = (policy.runtime_cover_min * 100).normalize()
    return BudgetExceeded(
        f"Budget ${budget:.2f} covers only {times.duration(found.run_seconds_max)} of the estimated"
        f" {times.duration(needed)}, less than {percent:f}%\n"
        f"Instance: {found.offer.instance_type} @ ${price:.4f}/hour at most; {times.duration(needed)} and"
        f" {terms.kill_seconds} s to end it cost up to ${_sum(parts):.4f}: {named}",
        cure=f"Use --budget {_cents_up(_sum(parts))} or more, or lower --estimated-runtime",
    )


def _cents_up(amount: Money) -> str:
    return f"{amount.decimal.quantize(Decimal('0.01'), rounding=ROUND_CEILING)}"
