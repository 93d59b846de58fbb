"""The documented ``spot_prices.json``: a list of offers that a search has saved, best first.

Each row is ``{"provider", "instance", "region", "price_hr", "vcpu", "ram_gb"}``; rows may also carry
``availability_zone``, ``price_per_core``, ``on_demand_hr``, ``priced_at``, ``currency``, ``source``, ``purchase_option``,
``is_reference``, ``architecture``, ``gpus``, ``gpu_model``, ``gpu_memory_gb`` and ``interruptions``. What a search writes
is read back without loss. A list without times is as old as its file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeGuard

from .. import times
from ..errors import NoMatchingOffer, PriceRefused, UsageError
from ..money import Money, parse_decimal
from .interruptions import Band
from .offers import Offer, PurchaseOption

ROWS_MAX = 10_000
BYTES_MAX = 10_000_000

_SPELLED = {"aws": "AWS", "gcp": "GCP", "azure": "Azure"}
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
            f"There is no price list at {path}",
            cure="Make one with: python find_cheapest_instance.py --no-interactive, or leave out --from-spot-prices",
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


def write(path: Path, offers: Iterable[Offer]) -> None:
    """Save a list in one step: at any moment ``path`` holds the whole old one or the whole new one.

    Raises ``OSError`` when it cannot be written; the old list is still there then.
    """
    place = os.path.realpath(path)
    beside = f"{place}.{os.getpid()}.next"
    lines = ",\n".join(f"  {_json(row(offer))}" for offer in offers)
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(f"[\n{lines}\n]\n" if lines else "[]\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, place)
    except OSError as error:
        _drop(beside)
        raise type(error)(error.errno, error.strerror, str(path)) from error  # the name that was asked for
    except BaseException:
        _drop(beside)
        raise


def _drop(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)


def row(offer: Offer) -> dict[str, object]:
    """An offer as the list has it: documented keys first, what is not known left out, amounts as exact ``Decimal``."""
    band = offer.interruptions
    known: dict[str, object] = {
        "provider": spelled(offer.provider),
        "instance": offer.instance_type,
        "region": offer.region,
        "price_hr": _exact(offer.hourly_price),
        "vcpu": offer.vcpus,
        "ram_gb": offer.memory_gib,
        "availability_zone": offer.zone,
        "price_per_core": _exact(offer.hourly_price_per_vcpu),
        "on_demand_hr": None if offer.on_demand_price is None else _exact(offer.on_demand_price),
        "priced_at": times.text(offer.priced_at),
        "currency": offer.hourly_price.currency,
        "source": offer.price_source,
        "purchase_option": str(offer.purchase_option),
        "is_reference": offer.is_reference,
        "architecture": offer.architecture,
        "gpus": offer.gpus or None,
        "gpu_model": offer.gpu_model,
        "gpu_memory_gb": offer.gpu_memory_gib,
        "interruptions": None if band is None else {"low": band.low, "high": band.high, "hours": band.hours},
    }
    return {key: value for key, value in known.items() if value is not None}


def spelled(provider: str) -> str:
    """A provider as the list and the documents spell it: ``AWS``, ``GCP``, ``Azure``."""
    return _SPELLED.get(provider, provider)


def _exact(money: Money) -> Decimal:
    return Decimal(money.shown())


def _json(value: object) -> str:
    """JSON with the exact digits of every number, which the standard library would make a float of."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)}: {_json(one)}" for key, one in value.items()) + "}"
    return f"{value:f}" if isinstance(value, Decimal) else json.dumps(value)


def _offer(row: object, where: str, written_at: datetime) -> Offer:
    if not isinstance(row, dict):
        raise UsageError(f"{where} is not an offer")
    provider = _NAMES.get(_text(row, "provider", where).lower())
    if provider is None:
        raise UsageError(f"{where} names the unknown provider {row['provider']!r}")
    currency = str(row.get("currency", "USD"))
    on_demand = row.get("on_demand_hr")
    priced_at = row.get("priced_at")
    gpu_memory = row.get("gpu_memory_gb")
    return Offer(
        provider=provider,
        region=_text(row, "region", where),
        zone=_text(row, "availability_zone", where) if row.get("availability_zone") else None,
        instance_type=_text(row, "instance", where),
        purchase_option=_option(row, provider, where),
        vcpus=int(_number(row, "vcpu", where)),
        memory_gib=_number(row, "ram_gb", where),
        architecture=_text(row, "architecture", where) if row.get("architecture") else None,
        gpus=int(_number(row, "gpus", where)) if row.get("gpus") else 0,
        gpu_model=_text(row, "gpu_model", where) if row.get("gpu_model") else None,
        gpu_memory_gib=None if gpu_memory is None else _number(row, "gpu_memory_gb", where),
        hourly_price=_price(row.get("price_hr"), currency, where),
        on_demand_price=None if on_demand is None else _price(on_demand, currency, where),
        priced_at=times.instant(str(priced_at)) if priced_at else written_at,
        price_source=str(row.get("source", where)),
        interruptions=_band(row.get("interruptions"), where),
        is_reference=_is_reference(row, where),
    )


def _option(row: dict[str, object], provider: str, where: str) -> PurchaseOption:
    given = row.get("purchase_option", "on_demand" if provider == "local" else "spot")
    try:
        return PurchaseOption(str(given))
    except ValueError:
        raise UsageError(f"{where} has no usable purchase_option: {str(given)[:60]!r}") from None


def _is_reference(row: dict[str, object], where: str) -> bool:
    given = row.get("is_reference", False)
    if not isinstance(given, bool):
        raise UsageError(f"{where} has no usable is_reference: {str(given)[:60]!r}")
    return given


def _band(given: object, where: str) -> Band | None:
    if given is None:
        return None
    if isinstance(given, dict):
        low, high, hours = (given.get(key) for key in ("low", "high", "hours"))
        if _is_share(low) and (high is None or _is_share(high)) and type(hours) is int and 0 < hours < 100_000:
            return Band(low=Decimal(low), high=None if high is None else Decimal(high), hours=hours)
    raise UsageError(f"{where} has no usable interruptions: {str(given)[:60]!r}")


def _is_share(value: object) -> TypeGuard[Decimal | int]:
    return isinstance(value, Decimal | int) and not isinstance(value, bool) and 0 <= value <= 1


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
