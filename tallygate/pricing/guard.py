"""What makes an offer or an observation unfit to decide on, one function a reason.

    Sheet --inspect--> the offers that are fit, and the others counted by reason
                  \\-> PriceRefused, when the sheet as a whole cannot be what it says

The name of a function is the reason that people are shown: ``price_is_zero`` counts rows under ``price is zero``. A row is
counted under the first reason that applies. What is unfit is left out and shown; it is never mended and never taken for free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from ..errors import PriceRefused
from ..money import Money
from .estimate import HOURLY_PRICE_MAX
from .offers import Offer, PurchaseOption
from .source import Observation, Sheet

CURRENCY = "USD"
"""The only currency that prices are compared in. Nothing is converted."""

VCPU_PRICE_MIN = Money.of("0.00005")
"""Below this a vCPU's hourly price is a mistake of unit: the cheapest of the three clouds costs ten times as much, and a
price of a second taken for one of an hour is 3,600 times too low."""

SPOT_ABOVE_ON_DEMAND_MAX = 10
"""No cloud has let a spot price pass ten times the on-demand price; a month taken for an hour is 730 times too dear."""

ON_DEMAND_ABOVE_SPOT_MAX = 1000
"""No discount is that deep; a second taken for an hour is 3,600 times too cheap."""

PRICE_AGE_MAX = timedelta(days=7)
"""An older price says nothing about what is sold now. Reference prices are dated figures and may be as old as they are."""

FUTURE_MAX = timedelta(minutes=5)
"""How far two machines' clocks may differ."""

VCPUS_MAX = 4096
MEMORY_GIB_MAX = Decimal(65_536)
MEMORY_GIB_PER_VCPU = (Decimal(1) / 32, Decimal(512))
"""The three clouds sell from a quarter GiB to some 120 GiB a vCPU; MiB taken for GiB is 1,024 times too much."""

GPUS_MAX = 64
GPU_MEMORY_GIB_MAX = Decimal(1024)
TEXT_LENGTH_MAX = 120

HALVED = 2
"""A market with fewer offers than the former's divided by this is more likely half read than half gone."""


class Priced(Protocol):
    """What an offer and an observation have in common."""

    @property
    def provider(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def zone(self) -> str | None: ...
    @property
    def instance_type(self) -> str: ...
    @property
    def purchase_option(self) -> PurchaseOption: ...
    @property
    def hourly_price(self) -> Money: ...


Place = tuple[str, str | None]
"""An instance type in a zone of the sheet's region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a row is judged against: whose prices these are said to be, the moment of judging, and the sheet's own prices.

    ``on_demand``: on-demand prices by place. ``spot``: the spot prices of an instance type, all zones.
    """

    provider: str
    region: str
    now: datetime
    on_demand: Mapping[Place, Money] = field(default_factory=dict)
    spot: Mapping[str, Sequence[Money]] = field(default_factory=dict)


# --- the price


def price_is_missing(row: Priced, reading: Reading) -> bool:
    return row.hourly_price is None


def price_is_not_an_exact_amount(row: Priced, reading: Reading) -> bool:
    """NaN, infinity, text or a float: nothing that ``Money`` would be made from."""
    return not isinstance(row.hourly_price, Money)


def currency_is_foreign(row: Priced, reading: Reading) -> bool:
    return row.hourly_price.currency != CURRENCY


def price_is_zero(row: Priced, reading: Reading) -> bool:
    return row.hourly_price.nanos == 0


def price_is_negative(row: Priced, reading: Reading) -> bool:
    return row.hourly_price.nanos < 0


def price_is_above_any_machine(row: Priced, reading: Reading) -> bool:
    return row.hourly_price.nanos > HOURLY_PRICE_MAX.nanos


def price_is_below_any_machine(row: Offer, reading: Reading) -> bool:
    return row.hourly_price.nanos < VCPU_PRICE_MIN.nanos * row.vcpus


def on_demand_price_is_unfit(row: Offer, reading: Reading) -> bool:
    """The price it is compared with is no exact amount above zero in our currency."""
    price = row.on_demand_price
    return price is not None and not (isinstance(price, Money) and price.currency == CURRENCY and price.nanos > 0)


def price_is_far_above_on_demand(row: Offer, reading: Reading) -> bool:
    known = _on_demand(row, reading)
    return known is not None and row.hourly_price.nanos > known.nanos * SPOT_ABOVE_ON_DEMAND_MAX


def price_is_far_below_on_demand(row: Offer, reading: Reading) -> bool:
    known = _on_demand(row, reading)
    return known is not None and row.hourly_price.nanos * ON_DEMAND_ABOVE_SPOT_MAX < known.nanos


def price_is_contradicted_by_spot(row: Offer, reading: Reading) -> bool:
    """An on-demand price from which every spot price of the type is impossibly far: one of the two has the wrong unit."""
    spot = reading.spot.get(row.instance_type)
    if row.purchase_option is not PurchaseOption.ON_DEMAND or not spot:
        return False
    known = row.hourly_price.nanos
    return all(
        price.nanos > known * SPOT_ABOVE_ON_DEMAND_MAX or price.nanos * ON_DEMAND_ABOVE_SPOT_MAX < known
        for price in spot
    )


def price_is_stale(row: Offer, reading: Reading) -> bool:
    return not row.is_reference and reading.now - row.priced_at > PRICE_AGE_MAX


def price_is_from_the_future(row: Offer, reading: Reading) -> bool:
    return row.priced_at - reading.now > FUTURE_MAX


# --- the machine


def vcpus_make_no_sense(row: Offer, reading: Reading) -> bool:
    return type(row.vcpus) is not int or not 1 <= row.vcpus <= VCPUS_MAX


def memory_makes_no_sense(row: Offer, reading: Reading) -> bool:
    if not _is_between(row.memory_gib, MEMORY_GIB_MAX):
        return True
    low, high = MEMORY_GIB_PER_VCPU
    return not low * row.vcpus <= row.memory_gib <= high * row.vcpus


def gpus_make_no_sense(row: Offer, reading: Reading) -> bool:
    if type(row.gpus) is not int or not 0 <= row.gpus <= GPUS_MAX:
        return True
    if row.gpus == 0:
        return row.gpu_model is not None or row.gpu_memory_gib is not None
    return row.gpu_memory_gib is not None and not _is_between(row.gpu_memory_gib, GPU_MEMORY_GIB_MAX)


# --- the names


def name_is_missing(row: Priced, reading: Reading) -> bool:
    return any(not isinstance(text, str) or not text.strip() for text in _names(row))


def name_is_unprintable(row: Priced, reading: Reading) -> bool:
    """Control characters, escape sequences, marks that turn the reading direction."""
    return not all(text.isprintable() for text in _names(row))


def name_is_too_long(row: Priced, reading: Reading) -> bool:
    return any(len(text) > TEXT_LENGTH_MAX for text in _names(row))


def provider_is_another(row: Priced, reading: Reading) -> bool:
    return row.provider != reading.provider


def region_is_another(row: Priced, reading: Reading) -> bool:
    return row.region != reading.region


# --- rows together


def same_row_twice(row: Offer, former: Offer) -> bool:
    """One of them is enough."""
    return replace(row, priced_at=former.priced_at, price_source=former.price_source) == former


def two_prices_for_one_thing(row: Offer, former: Offer) -> bool:
    """Nobody can say which one is meant, so neither is."""
    return not same_row_twice(row, former)


# --- the sheet


def sheet_is_from_the_future(sheet: Sheet, now: datetime, former: int) -> bool:
    return sheet.read_at - now > FUTURE_MAX


def market_is_empty(sheet: Sheet, now: datetime, former: int) -> bool:
    return not sheet.offers


def market_halved(sheet: Sheet, now: datetime, former: int) -> bool:
    return len(sheet.offers) * HALVED < former


ObservationCheck = Callable[[Observation, Reading], bool]
OfferCheck = Callable[[Offer, Reading], bool]
PairCheck = Callable[[Offer, Offer], bool]
SheetCheck = Callable[[Sheet, datetime, int], bool]

_ANY_ROW: tuple[Callable[[Priced, Reading], bool], ...] = (
    name_is_missing,
    name_is_unprintable,
    name_is_too_long,
    provider_is_another,
    region_is_another,
    price_is_missing,
    price_is_not_an_exact_amount,
    currency_is_foreign,
    price_is_zero,
    price_is_negative,
    price_is_above_any_machine,
)

OFFER_CHECKS: tuple[OfferCheck, ...] = (
    *_ANY_ROW,
    price_is_stale,
    price_is_from_the_future,
    vcpus_make_no_sense,
    memory_makes_no_sense,
    gpus_make_no_sense,
    price_is_below_any_machine,
    on_demand_price_is_unfit,
    price_is_far_above_on_demand,
    price_is_far_below_on_demand,
    price_is_contradicted_by_spot,
)
"""In this order: a check may rely on those before it."""


def observed_in_the_future(row: Observation, reading: Reading) -> bool:
    return row.at - reading.now > FUTURE_MAX


OBSERVATION_CHECKS: tuple[ObservationCheck, ...] = (*_ANY_ROW, observed_in_the_future)
PAIR_CHECKS: tuple[PairCheck, ...] = (same_row_twice, two_prices_for_one_thing)
SHEET_CHECKS: tuple[SheetCheck, ...] = (sheet_is_from_the_future, market_is_empty, market_halved)


def reason(check: Callable[..., bool]) -> str:
    """A check's name in words: what is shown."""
    return check.__name__.replace("_", " ")


def inspect(sheet: Sheet, *, now: datetime, former: int = 0, accept_smaller: bool = False) -> Sheet:
    """The sheet with the offers that are fit; the others are counted in ``refused``, beside what the source had refused.

    ``former``: how many offers the last version of this market had. ``accept_smaller`` takes the market's shrinking for true.
    Raises ``PriceRefused`` naming the market, the reason and the numbers.
    """
    refused = Counter(sheet.refused)
    on_demand, spot = _own_prices(sheet.offers)
    reading = Reading(provider=sheet.provider, region=sheet.region, now=now, on_demand=on_demand, spot=spot)
    kept: dict[object, Offer | None] = {}
    for offer in sheet.offers:
        unfit = next((check for check in OFFER_CHECKS if check(offer, reading)), None)
        if unfit is not None:
            refused[reason(unfit)] += 1
            continue
        key = (offer.instance_type, offer.zone, offer.purchase_option)
        if key not in kept:
            kept[key] = offer
        else:
            _two_of_a_kind(kept, key, offer, refused)
    fit = replace(sheet, offers=tuple(offer for offer in kept.values() if offer is not None), refused=dict(refused))
    for check in SHEET_CHECKS:
        if check(fit, now, 0 if accept_smaller else former):
            raise _refusal(fit, reason(check), former)
    return fit


def _two_of_a_kind(kept: dict[object, Offer | None], key: object, offer: Offer, refused: Counter[str]) -> None:
    former = kept[key]
    if former is None:  # two that differ were refused already; a third settles nothing
        refused[reason(two_prices_for_one_thing)] += 1
        return
    found = next((check for check in PAIR_CHECKS if check(offer, former)), None)
    if found is two_prices_for_one_thing:
        kept[key] = None
        refused[reason(found)] += 2
    elif found is not None:
        refused[reason(found)] += 1
    else:
        kept[(key, offer.hourly_price.nanos)] = offer


def fit_observations(
    observations: Iterable[Observation], *, provider: str, region: str, now: datetime, refused: Counter[str]
) -> Iterator[Observation]:
    """The observations that are fit; the others are counted in ``refused``."""
    reading = Reading(provider=provider, region=region, now=now)
    for each in observations:
        unfit = next((check for check in OBSERVATION_CHECKS if check(each, reading)), None)
        if unfit is None:
            yield each
        else:
            refused[reason(unfit)] += 1


def _refusal(sheet: Sheet, why: str, former: int) -> PriceRefused:
    unfit = sum(sheet.refused.values())
    numbers = f"{len(sheet.offers):,} offers fit and {unfit:,} not"
    cure = "The earlier prices stay. Try again later, and report it if it stays so"
    if former:
        numbers += f", {former:,} before"
        if sheet.offers:
            cure = "The earlier prices stay. If the market is really so small now, add --accept-smaller"
    return PriceRefused(f"{sheet.provider} {sheet.region}: {why} ({numbers})", cure=cure)


def _own_prices(offers: Iterable[Offer]) -> tuple[dict[Place, Money], dict[str, list[Money]]]:
    """What the sheet itself says of on-demand and of spot prices, as far as they are amounts."""
    on_demand: dict[Place, Money] = {}
    spot: dict[str, list[Money]] = {}
    for offer in offers:
        price = offer.hourly_price
        if not isinstance(price, Money) or price.currency != CURRENCY or price.nanos <= 0:
            continue
        if offer.purchase_option is PurchaseOption.ON_DEMAND:
            on_demand[offer.instance_type, offer.zone] = price
        else:
            spot.setdefault(offer.instance_type, []).append(price)
    return on_demand, spot


def _on_demand(row: Offer, reading: Reading) -> Money | None:
    if row.on_demand_price is not None:
        return row.on_demand_price
    found = reading.on_demand.get((row.instance_type, row.zone))
    return found if found is not None else reading.on_demand.get((row.instance_type, None))


def _is_between(value: object, highest: Decimal) -> bool:
    return isinstance(value, Decimal) and value.is_finite() and 0 < value <= highest


def _names(row: Priced) -> list[str]:
    names = [row.provider, row.region, row.instance_type]
    if row.zone is not None:
        names.append(row.zone)
    if isinstance(row, Offer):
        names.append(row.price_source)
        if row.architecture is not None:
            names.append(row.architecture)
        if row.gpu_model is not None:
            names.append(row.gpu_model)
    return names
