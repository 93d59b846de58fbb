"""A quote: what a job will cost on an offer, item by item, and how far that may be off.

    run times  ----.
    interruptions --+--> seconds the machine is there ---.
    boot, teardown -'                                     +--> cost: expected, p5, p50, p90, p95
    prices seen  --> mean price over so many seconds -----'
    estimate     --> the most it can cost: nothing above it counts, because the machine ends itself before

Expected is the mean: the mean run time, with what interruptions add by ``rework.expected_seconds``, at the mean price.
The others come from every combination of a run time, what is lost and a way of the price, each with its weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from .. import times
from ..money import Money, total
from .estimate import CostPart, Estimate, Sides, over
from .finish import ASSUMED, Usual, usual
from .interruptions import Band
from .offers import Offer, PurchaseOption
from .paths import PricePath, StandingPrice, coming, days, passes_per_hour
from .rework import expected_seconds, lost_seconds
from .runtimes import Runtimes
from .spread import WEIGHT, Spread, mixed
from .terms import Terms

_LENGTHS = 60
_LENGTHS_PRICED = 40
_PRICES = 48
_WORK_GROUPS = 6
_RARE = Decimal("0.02")
"""Where so few interruptions are to be expected, they are looked at less closely: they move none of the quantiles shown."""

_LOW, _MIDDLE, _P90, _HIGH = Decimal("0.05"), Decimal("0.5"), Decimal("0.9"), Decimal("0.95")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What finishing a job on an offer costs.

    ``parts`` add up to ``expected``. ``low`` to ``high`` is the range in which nine of ten finished jobs end up (p5 to
    p95). ``worst_case`` is the gate's, and no figure is above it. ``in_time`` is the share of cases in which the work
    is done before the machine ends itself. ``interruptions_per_hour`` is the rate reckoned with. ``on_demand`` is the
    expected cost of the same machine without spot, when its price is known. ``basis`` says in sentences what all this
    rests on.
    """

    parts: tuple[CostPart, ...]
    expected: Money
    low: Money
    p50: Money
    p90: Money
    high: Money
    worst_case: Money
    in_time: Decimal
    runs: int
    price_days: Decimal
    interruptions_per_hour: Decimal
    on_demand: Money | None
    basis: tuple[str, ...]

    def facts(self) -> dict[str, object]:
        """The figures for programs: amounts as ``Money``, shares as ``Decimal``, sentences as text."""
        return {
            "expected": self.expected,
            "p5": self.low,
            "p50": self.p50,
            "p90": self.p90,
            "p95": self.high,
            "worst_case": self.worst_case,
            "in_time": self.in_time,
            "runs": self.runs,
            "price_days": self.price_days,
            "interruptions_per_hour": self.interruptions_per_hour.quantize(Decimal("0.000001")),
            "on_demand": self.on_demand,
            "parts": [
                {"name": part.name, "quantity": part.quantity, "unit": part.unit, "cost": part.cost}
                for part in self.parts
            ],
            "basis": list(self.basis),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a quote is made from beside the bounded offer.

    ``prices`` None: today's price is all that is known. ``checkpoint_seconds``: how often the job saves its work, None
    for never.
    """

    runtimes: Runtimes
    prices: PricePath | None = None
    checkpoint_seconds: int | None = None
    disk_gib: int = 0
    egress_gib: int = 0


def quote(estimate: Estimate, terms: Terms, known: Circumstances) -> Quote:
    """The quote for a bounded offer. The same facts give the same quote."""
    offer = estimate.offer
    extra = usual(offer.provider)
    terms = extra.terms(terms)
    path = known.prices or StandingPrice(offer.hourly_price, offer.priced_at)
    rate = interruptions_per_hour(offer, path, estimate.price_max)
    sides = Sides.of(offer, terms, disk_gib=known.disk_gib, egress_gib=known.egress_gib)
    room = _Room.of(estimate, sides)
    lengths = _lengths(known, _rates(offer, path, estimate.price_max), extra, room)
    priced = _priced(lengths, offer, path, estimate.price_max)
    costs = Spread.of(
        (min(_cost(Money(price, sides.currency), sides, terms, seconds), estimate.worst_case.nanos), weight)
        for seconds, prices, share in priced
        for price, weight in ((price, weight * share // sum(prices.weights)) for price, weight in prices.points)
    )
    parts = _expected_parts(estimate, terms, sides, known, priced, rate=rate, extra=extra, room=room)
    expected = min(total((part.cost for part in parts), sides.currency), estimate.worst_case)

    def at(share: Decimal) -> Money:
        return Money(costs.quantile(share), sides.currency)

    return Quote(
        parts=parts,
        expected=expected,
        low=at(_LOW),
        p50=at(_MIDDLE),
        p90=at(_P90),
        high=at(_HIGH),
        worst_case=estimate.worst_case,
        in_time=_in_time(known, rate, extra, costs, estimate).quantize(Decimal("0.001")),
        runs=known.runtimes.runs,
        price_days=days(path),
        interruptions_per_hour=rate,
        on_demand=_on_demand(offer, terms, sides, known, extra),
        basis=_basis(offer, known, path, rate, extra),
    )


def interruptions_per_hour(offer: Offer, path: PricePath, ceiling: Money) -> Decimal:
    """How often an hour a machine is taken back: for the cloud's own reasons, and because its price passed the ceiling."""
    if offer.purchase_option is PurchaseOption.ON_DEMAND:
        return Decimal(0)
    return (offer.interruptions or ASSUMED).per_hour + passes_per_hour(path, ceiling)


def _rates(offer: Offer, path: PricePath, ceiling: Money) -> tuple[Decimal, ...]:
    """Equally likely rates: three from all over the band, because a band says that the rate is anywhere in it."""
    highest, band = interruptions_per_hour(offer, path, ceiling), offer.interruptions or ASSUMED
    if not highest or band.share == band.low:
        return (highest,)
    lowest = Band(low=band.low, high=band.low, hours=band.hours).per_hour
    by_price, width = highest - band.per_hour, band.per_hour - lowest
    return tuple(by_price + lowest + width * sixth / 6 for sixth in (1, 3, 5))


# --- seconds and prices


@dataclass(frozen=True, slots=True)
class _Room:
    """How long machines can be there: ``one``, until it ends itself, and ``all`` that the held money pays for together."""

    one: int
    all: int

    @classmethod
    def of(cls, estimate: Estimate, sides: Sides) -> _Room:
        one = estimate.run_seconds_max + estimate.kill_seconds
        hour = estimate.offer.hourly_price + sides.disk_hour + sides.address_hour
        return cls(one, max(one, (estimate.worst_case - sides.egress).nanos * 3600 // hour.nanos) + 1)


def _lengths(known: Circumstances, rates: Sequence[Decimal], extra: Usual, room: _Room) -> Spread:
    """The seconds for which machines are there, over all attempts."""
    work = known.runtimes.spread().at_most(max(1, room.one - extra.seconds))
    longest = 2 * room.all  # the price may fall; the hold itself caps the cost
    if not any(rates):
        return work.shifted(extra.seconds)
    if max(rates) * work.values[-1] < _RARE * 3600:
        rates, groups = rates[-1:], work.thinned(1)
    else:
        groups = work.thinned(_WORK_GROUPS)
    losses = [_losses(each, rates, known.checkpoint_seconds, extra.seconds, longest) for each in groups.values]

    def nearest(seconds: int) -> Spread:
        return losses[min(range(len(losses)), key=lambda i: abs(groups.values[i] - seconds))]

    every = mixed((nearest(seconds).shifted(seconds + extra.seconds).at_most(longest), weight * 10**9)
                  for seconds, weight in work.points)  # fmt: skip
    return every.thinned(_LENGTHS)


def _losses(work: int, rates: Sequence[Decimal], checkpoint: int | None, restart: int, longest: int) -> Spread:
    spreads = [lost_seconds(work, rate, checkpoint, restart, at_most=longest).thinned(_LENGTHS) for rate in rates]
    return mixed((spread, WEIGHT) for spread in spreads).thinned(_LENGTHS).scaled()


def _in_time(known: Circumstances, rate: Decimal, extra: Usual, costs: Spread, estimate: Estimate) -> Decimal:
    """The share of cases in which neither the machine's own end comes first nor, after interruptions, that of the held money."""
    short_enough = known.runtimes.spread().share_up_to(estimate.run_seconds_max - extra.seconds)
    return short_enough * costs.share_up_to(estimate.worst_case.nanos - 1) if rate else short_enough


def _priced(lengths: Spread, offer: Offer, path: PricePath, ceiling: Money) -> list[tuple[int, Spread, int]]:
    """For every length its prices and its weight."""
    if path.observed.seconds:
        lengths = lengths.thinned(_LENGTHS_PRICED)  # the many ways of the price fill what is left out between
    whole = sum(lengths.weights)
    return [
        (seconds, coming(path, offer.hourly_price, seconds, at_most=ceiling).thinned(_PRICES), weight * 10**12 // whole)
        for seconds, weight in lengths.points
    ]


def _billed(seconds: Decimal, terms: Terms) -> int:
    return terms.billed_seconds(int(seconds.to_integral_value(ROUND_CEILING)))


def _cost(price: Money, sides: Sides, terms: Terms, seconds: int) -> int:
    """Nanos of a machine of that price that is there for so long, with everything beside it."""
    life = terms.billed_seconds(seconds)
    beside = sides.disk_hour.nanos + sides.address_hour.nanos
    return -(-(price.nanos + beside) * life // 3600) + sides.egress.nanos


# --- what is expected, item by item


def _expected_parts(
    estimate: Estimate,
    terms: Terms,
    sides: Sides,
    known: Circumstances,
    priced: list[tuple[int, Spread, int]],
    *,
    rate: Decimal,
    extra: Usual,
    room: _Room,
) -> tuple[CostPart, ...]:
    price = _mean_price(priced, sides.currency)
    samples = known.runtimes.seconds
    longest, most = Decimal(max(1, room.one - extra.seconds)), Decimal(max(1, room.all - extra.seconds))
    cut = [min(Decimal(each), longest) for each in samples]
    work = sum(cut, Decimal(0)) / len(cut)
    worked = (expected_seconds(each, rate, known.checkpoint_seconds, extra.seconds) for each in cut)
    again = sum((min(each, most) for each in worked), Decimal(0)) / len(cut) - work
    spans = (
        ("machine at work", work),
        ("boot and teardown", Decimal(_billed(work + extra.seconds, terms)) - work),
        ("rework after interruptions", again),
    )
    parts = [_part(name, seconds, price) for name, seconds in spans if seconds > 0]
    life = work + again + extra.seconds
    if sides.disk_hour.nanos:
        parts.append(_part(f"disk, {sides.disk_gib} GiB", life, sides.disk_hour))
    if sides.address_hour.nanos:
        parts.append(_part("public address", life, sides.address_hour))
    if sides.egress.nanos:
        gib = Decimal(sides.egress_gib)
        unit = sides.egress.times(1 / gib)
        parts.append(CostPart(name="egress", quantity=gib, unit="GiB", unit_price=unit, cost=sides.egress))
    return tuple(parts)


def _part(name: str, seconds: Decimal, price: Money) -> CostPart:
    hours = seconds / 3600
    return CostPart(
        name=name,
        quantity=hours.quantize(Decimal("0.0001")),
        unit="hours",
        unit_price=price,
        cost=price.times(hours, round_up=True),
    )


def _mean_price(priced: list[tuple[int, Spread, int]], currency: str) -> Money:
    """The mean price of a second, so that long runs count for as much as they take."""
    weighed = [(seconds * weight, prices.mean) for seconds, prices, weight in priced]
    mean = sum((mean * weight for weight, mean in weighed), Decimal(0)) / sum(weight for weight, _ in weighed)
    return Money(int(mean.to_integral_value(ROUND_CEILING)), currency)


def _on_demand(offer: Offer, terms: Terms, sides: Sides, known: Circumstances, extra: Usual) -> Money | None:
    """The expected cost of the same machine without spot: no interruptions, a price that stands."""
    if offer.on_demand_price is None or offer.purchase_option is PurchaseOption.ON_DEMAND:
        return None
    life = _billed(known.runtimes.mean + extra.seconds, terms)
    return (
        over(offer.on_demand_price, life) + over(sides.disk_hour, life) + over(sides.address_hour, life) + sides.egress
    )


# --- what it rests on


def _basis(offer: Offer, known: Circumstances, path: PricePath, rate: Decimal, extra: Usual) -> tuple[str, ...]:
    runtimes = known.runtimes
    runtime = f"run time: {runtimes.says}"
    if runtimes.has_spread:
        p50, p90 = (times.duration(runtimes.quantile(share)) for share in (_MIDDLE, _P90))
        runtime = f"run time: {p50} p50, {p90} p90, by {runtimes.says}"
    else:
        runtime += "; from one number nothing is known of how far it may be off"
    found = [runtime]
    if offer.purchase_option is PurchaseOption.ON_DEMAND:
        found.append("price: on demand, which stands still; such machines are not taken back")
    else:
        behind = days(path)
        found.append(
            f"price: {behind.normalize():f} days of prices"
            if behind
            else "price: today's alone; without a history nothing is known of how it moves"
        )
        found.append(_interruptions_say(offer, known, rate))
    if extra.seconds:
        found.append(f"boot {extra.boot_seconds} s and teardown {extra.teardown_seconds} s: {extra.source}")
    return tuple(found)


def _interruptions_say(offer: Offer, known: Circumstances, rate: Decimal) -> str:
    band = offer.interruptions or ASSUMED
    parts = [f"{band} of such machines are taken back, reckoned at the upper end"]
    if offer.interruptions is None:
        parts = [f"not published for such machines; {band} are assumed to be taken back"]
    if rate > band.per_hour:
        parts.append("as often as the price passed the ceiling")
    saved = (
        f"work saved every {times.duration(known.checkpoint_seconds)}"
        if known.checkpoint_seconds is not None
        else "nothing saved, so an interrupted job begins again"
    )
    return f"interruptions: {' and '.join(parts)}; {saved}"
