"""How a search answers: the table, the three-way choice, and what to relax when nothing fits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from ..errors import NoMatchingOffer
from ..money import Money
from ..pricing.offers import Offer, PurchaseOption, ResourceRequest
from ..pricing.spot_list import spelled
from ..reports.render import amount, clean
from .output import note, show_columns

if TYPE_CHECKING:
    from ..pricing.market import Market, Relaxation

Total = Callable[[Offer], Money]

CSV_COLUMNS = (
    "provider", "instance", "region", "availability_zone", "purchase_option", "vcpu", "ram_gb", "architecture", "gpus",
    "gpu_model", "price_hr", "price_per_core", "expected_total", "on_demand_hr", "currency", "priced_at", "source",
    "is_reference",
)  # fmt: skip


def show_offers(offers: Sequence[Offer], total: Total, *, now: datetime) -> None:
    """The table, and a line about prices that are only references."""
    rows: list[tuple[object, ...]] = []
    for offer in offers:
        rows.append(
            (
                spelled(offer.provider),
                offer.instance_type,
                offer.zone or offer.region,
                "spot" if offer.purchase_option is PurchaseOption.SPOT else "on demand",
                offer.vcpus,
                _short(offer.memory_gib),
                _gpus(offer),
                _price(offer.hourly_price),
                _price(offer.hourly_price_per_vcpu),
                _price(total(offer)),
                _interruptions(offer),
                _priced(offer, now),
            )
        )
    headers = [
        "PROVIDER",
        "TYPE",
        "PLACE",
        "BOUGHT",
        "VCPU",
        "GIB",
        "GPU",
        "$/H",
        "$/CORE-H",
        "TOTAL",
        "TAKEN BACK",
        "PRICED",
    ]
    if all(row[6] is None for row in rows):
        rows = [(*row[:6], *row[7:]) for row in rows]
        headers.remove("GPU")
    expendable = [name for name in ("TAKEN BACK", "$/CORE-H", "BOUGHT", "GPU", "PRICED") if name in headers]
    show_columns(rows, headers, expendable=expendable)
    if any(offer.is_reference for offer in offers):
        note("* A reference price of a public table: to compare and plan, and no launch is decided on it.")


def _short(number: Decimal) -> Decimal:
    """At most two places, without the zeros: 3.75, 64."""
    rounded = number.quantize(Decimal("0.01"))
    return rounded.quantize(Decimal(1)) if rounded == rounded.to_integral_value() else rounded.normalize()


def _price(money: Money) -> Decimal | str:
    if money.currency != "USD":
        return amount(money)
    rounded = money.decimal.quantize(Decimal("0.0001"))
    return money.shown() if rounded.is_zero() else rounded  # as everywhere, unless that would hide it


def _gpus(offer: Offer) -> str | None:
    if not offer.gpus:
        return None
    model = offer.gpu_model or "GPU"
    return model if offer.gpus == 1 else f"{offer.gpus} {model}"


def _interruptions(offer: Offer) -> str | None:
    if offer.purchase_option is not PurchaseOption.SPOT:
        return "never" if offer.provider == "local" else None
    return "unknown" if offer.interruptions is None else str(offer.interruptions)


def _priced(offer: Offer, now: datetime) -> str:
    if offer.is_reference:
        return f"{offer.priced_at:%Y-%m-%d}*"
    seconds = max(0, int((now - offer.priced_at).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return "now"


# --- the choice


def ask(market: Market, request: ResourceRequest, total: Total) -> Offer | None:
    """Which offer comes first: cheapest per core, cheapest overall, or more memory for little; None to leave the order."""
    choices = _choices(market, request)
    note("\nWhich one first?")
    for number, (says, offer) in enumerate(choices, start=1):
        note(
            f"  {number}  {says}: {clean(_named(offer))}, {offer.vcpus} vCPU, {_short(offer.memory_gib)} GiB,"
            f" {amount(offer.hourly_price)}/hour, {amount(total(offer))} in all"
        )
    while True:
        numbers = "1" if len(choices) == 1 else f"1 to {len(choices)}"
        sys.stderr.write(f"{numbers}, or Enter to leave the order: ")
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer.strip():
            if not answer:
                note("")
            return None
        if answer.strip().isascii() and answer.strip().isdigit() and 1 <= int(answer) <= len(choices):
            return choices[int(answer) - 1][1]
        note(f"{clean(answer.strip())[:40]!r} is none of them.")


def _choices(market: Market, request: ResourceRequest) -> list[tuple[str, Offer]]:
    from ..pricing.catalog import Per

    (per_core,) = market.cheapest(request, limit=1, per=Per.VCPU)
    (overall,) = market.cheapest(request, limit=1)
    found = [("cheapest per core", per_core), ("cheapest overall", overall)]
    if per_core == overall:
        found = [("cheapest per core and overall", per_core)]
    roomy = market.more_memory(request, per_core)
    if roomy is not None:
        found.append(("more memory within 20 % of the best price per core", roomy))
    return found


def _named(offer: Offer) -> str:
    return f"{spelled(offer.provider)} {offer.instance_type} in {offer.zone or offer.region}"


# --- nothing fits

_FLAGS = {
    "vcpus_min": "--min-vcpu",
    "vcpus_max": "--max-vcpu",
    "memory_gib_min": "--min-ram",
    "memory_gib_max": "--max-ram",
    "architecture": "--arch",
    "provider": "--provider",
    "region": "--region",
}


def nothing_fits(
    market: Market, request: ResourceRequest, *, budget: Money | None, hours: Decimal, price_max: Money | None
) -> NoMatchingOffer:
    """The refusal: which bound to relax, by how much, and what that would bring. Sentences of the flags that were given."""
    lines = [
        f"{_advice(found, budget, hours, price_max)} gives {clean(_named(found.offer))}"
        f" at {amount(found.offer.hourly_price)}/hour"
        for found in market.relaxations(request)
    ]
    if not lines:
        return NoMatchingOffer(
            "No offer fits, and relaxing any one bound is not enough", cure="Relax more than one of them"
        )
    return NoMatchingOffer("No offer fits. Relax one bound:\n" + "\n".join(lines), cure="Or refresh the prices")


def _advice(found: Relaxation, budget: Money | None, hours: Decimal, price_max: Money | None) -> str:
    offer = found.offer
    if found.bound == "hourly_price_max":
        needed = offer.hourly_price.times(hours, round_up=True)
        parts = []
        if price_max is not None and offer.hourly_price > price_max:
            parts.append(f"--max-price-per-hour {offer.hourly_price.shown(4)}")
        if budget is not None and needed > budget:
            parts.append(f"--budget {needed.decimal.quantize(Decimal('0.01'), rounding=ROUND_CEILING)}")
        return " with ".join(parts) or f"a higher aws.max_price, {offer.hourly_price.shown(4)},"
    if found.bound in ("gpus_min", "gpu_model"):
        return f"--gpu {offer.gpu_model or 'MODEL'}:{offer.gpus}" if offer.gpus else "leaving out --gpu"
    if found.bound == "purchase_options":
        return "leaving out --spot" if offer.purchase_option is PurchaseOption.ON_DEMAND else "leaving out --on-demand"
    if found.value is None:
        return f"leaving out {_FLAGS[found.bound]}"
    value = _short(found.value) if isinstance(found.value, Decimal) else found.value
    return f"{_FLAGS[found.bound]} {spelled(str(value)) if found.bound == 'provider' else value}"
