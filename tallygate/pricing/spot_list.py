"""The documented ``spot_prices.json``: a list of offers that a search has saved, best first.

Each row is ``{"provider", "instance", "region", "price_hr", "vcpu", "ram_gb"}``; rows may also carry
``availability_zone``, ``price_per_core``, ``on_demand_hr``, ``priced_at``, ``currency`` and ``source``. A list
without times is as old as its file.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from .. import times
from ..errors import NoMatchingOffer, PriceRefused, UsageError
from ..money import Money, parse_decimal
from .offers import Offer, PurchaseOption

ROWS_MAX = 10_000
BYTES_MAX = 10_000_000

_NAMES = {"aws": "aws", "gcp": "gcp", "google": "gcp", "azure": "azure", "local": "local", "sim": "sim"}


def read(path: Path) -> list[Offer]:
    """The offers of a saved list, in its order.

    Raises ``UsageError`` when the file is missing or not such a list, and ``PriceRefused`` naming the first row whose
    price is missing, zero, negative, not a number or in another unit than text and digits can say.
    """
    try:
        if path.stat().st_size > BYTES_MAX:
            raise UsageError(f"{path} is larger than {BYTES_MAX // 1_000_000} MB, which no price list is")
        written_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        rows = json.loads(path.read_text(encoding="utf-8-sig"), parse_float=Decimal, parse_constant=_no_constant)
    except FileNotFoundError:
        raise UsageError(
            f"There is no price list at {path}", cure="Save one there, or leave out --from-spot-prices"
        ) from None
    except (OSError, UnicodeDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} is not a price list: {error}", cure="Make a new one") from error
    if not isinstance(rows, list) or len(rows) > ROWS_MAX:
        raise UsageError(f"{path} is not a list of at most {ROWS_MAX:,} offers", cure="Make a new one")
    return [_offer(row, f"{path.name} row {number}", written_at) for number, row in enumerate(rows)]


def pick(offers: list[Offer], index: int, path: Path) -> Offer:
    """Entry ``index``, counted from 0. Negative and out-of-range numbers are refused."""
    if not offers:
        raise NoMatchingOffer(f"{path} lists no offers", cure="Make a new list, or name a provider")
    if not 0 <= index < len(offers):
        raise UsageError(f"--index {index} is not in {path}", cure=f"Use 0 to {len(offers) - 1}")
    return offers[index]


def _offer(row: object, where: str, written_at: datetime) -> Offer:
    if not isinstance(row, dict):
        raise UsageError(f"{where} is not an offer")
    provider = _NAMES.get(_text(row, "provider", where).lower())
    if provider is None:
        raise UsageError(f"{where} names the unknown provider {row['provider']!r}")
    currency = str(row.get("currency", "USD"))
    on_demand = row.get("on_demand_hr")
    priced_at = row.get("priced_at")
    return Offer(
        provider=provider,
        region=_text(row, "region", where),
        zone=_text(row, "availability_zone", where) if row.get("availability_zone") else None,
        instance_type=_text(row, "instance", where),
        purchase_option=PurchaseOption.ON_DEMAND if provider == "local" else PurchaseOption.SPOT,
        vcpus=int(_number(row, "vcpu", where)),
        memory_gib=_number(row, "ram_gb", where),
        hourly_price=_price(row.get("price_hr"), currency, where),
        on_demand_price=None if on_demand is None else _price(on_demand, currency, where),
        priced_at=times.instant(str(priced_at)) if priced_at else written_at,
        price_source=str(row.get("source", where)),
    )


def _price(value: object, currency: str, where: str) -> Money:
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise PriceRefused(f"{where} has no price: price_hr is {value!r}")
    try:
        price = Money.of(parse_decimal(value) if isinstance(value, str) else value, currency)
    except UsageError as error:
        raise PriceRefused(f"{where} has no usable price: {error.message}") from error
    if price.nanos <= 0:
        raise PriceRefused(f"{where} has the price {value}, which is no price")
    return price


def _text(row: dict[str, object], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value or len(value) > 100 or not value.isprintable():
        raise UsageError(f"{where} has no usable {key}: {str(value)[:60]!r}")
    return value


def _number(row: dict[str, object], key: str, where: str) -> Decimal:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 < value < 1_000_000:
        raise UsageError(f"{where} has no usable {key}: {str(value)[:60]!r}")
    return Decimal(value)


def _no_constant(name: str) -> object:
    raise PriceRefused(f"The price list contains {name}, which is no number")
