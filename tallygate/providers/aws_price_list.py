"""AWS's price list: hourly prices without spot, of Linux machines shared with others, read from ``GetProducts``.

The service answers lists of JSON texts. A row is taken only when its own attributes say that it is the product that was
asked for: the same region, system, tenancy and licence, by the hour, in US dollars, in force.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal

from .. import times
from ..errors import Unavailable, UsageError
from ..money import Money
from ..pricing.price_text import hourly_price

SERVICE_CODE = "AmazonEC2"
ASKED_IN = "us-east-1"
"""One of the few regions that have this service; every one tells the prices of all."""

ATTRIBUTES = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "licenseModel": "No License required",
}

HOUR_UNITS = frozenset({"Hrs", "Hours", "hours"})

_LATER = "price is not in force yet"


def filters(region: str) -> list[dict[str, str]]:
    """What ``GetProducts`` is asked, for every machine type of a region at once."""
    wanted = {"regionCode": region, **ATTRIBUTES}
    return [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]


def read(products: Iterable[object], *, region: str, now: datetime, refused: Counter[str]) -> dict[str, Money]:
    """The hourly price by machine type. What cannot be used is counted in ``refused``.

    A type with two different prices has none. Raises ``Unavailable`` for a text that is not JSON.
    """
    found: dict[str, Money] = {}
    disputed: set[str] = set()
    for text in products:
        product = _json(text, region)
        name = _type_named(product, region)
        if name is None:
            refused["on-demand row is not the product asked for"] += 1
            continue
        price = _price(product, now)
        if isinstance(price, str):
            refused[f"on-demand {price}"] += 1
        elif found.setdefault(name, price) != price:
            disputed.add(name)
    for name in disputed:
        del found[name]
    if disputed:
        refused["on-demand type has two different prices"] += len(disputed)
    return found


def _json(text: object, region: str) -> Mapping[str, object]:
    try:
        found = json.loads(text, parse_float=Decimal) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unavailable(f"AWS GetProducts for {region} has no usable answer: a product is not a JSON object")
    return found


def _type_named(product: Mapping[str, object], region: str) -> str | None:
    """The machine type of a product that is what was asked for; None for any other product."""
    attributes = _mapping(_mapping(product, "product"), "attributes")
    wanted = {"regionCode": region, **ATTRIBUTES}
    name = attributes.get("instanceType")
    if not isinstance(name, str) or not name or any(attributes.get(field) != value for field, value in wanted.items()):
        return None
    # Rows of other markets, such as capacity blocks, say so in a field that older rows do not have.
    return name if attributes.get("marketoption", "OnDemand") == "OnDemand" else None


def _price(product: Mapping[str, object], now: datetime) -> Money | str:
    """The one hourly price of a product in force; else why there is none."""
    terms = _mapping(_mapping(product, "terms"), "OnDemand")
    prices: set[Money] = set()
    reasons: list[str] = []
    for term in terms.values():
        for price in _prices_of(term, now):
            if isinstance(price, str):
                reasons.append(price)
            else:
                prices.add(price)
    unfit = [reason for reason in reasons if not (prices and reason == _LATER)]
    if unfit:
        return unfit[0]
    if len(prices) == 1:
        return prices.pop()
    return "price is missing" if not prices else "product has several prices"


def _prices_of(term: object, now: datetime) -> Iterator[Money | str]:
    if not isinstance(term, dict):
        return
    try:
        effective = times.instant(str(term.get("effectiveDate")))
    except UsageError:
        yield "price has no usable date"
        return
    if effective > now:
        yield _LATER
        return
    for dimension in _mapping(term, "priceDimensions").values():
        if not isinstance(dimension, dict) or dimension.get("unit") not in HOUR_UNITS:
            yield "price is not by the hour"
            continue
        paid = _mapping(dimension, "pricePerUnit")
        yield hourly_price(paid["USD"]) if "USD" in paid else "price is not in US dollars"


def _mapping(of: object, key: str) -> Mapping[str, object]:
    found = of.get(key) if isinstance(of, Mapping) else None
    return found if isinstance(found, dict) else {}
