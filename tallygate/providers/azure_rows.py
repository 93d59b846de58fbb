"""Which row of Azure's retail prices is the price of a Linux machine, on demand or as spot.

    rows of a region --> Linux machines by the hour --> by size and way of buying --> the newest in force --> price, or why none

The list mixes Windows, retired low-priority machines, cloud services and dedicated hosts into one service, and repeats sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..errors import UsageError
from ..money import Money
from ..pricing.offers import PurchaseOption
from ..times import instant

SERVICE = "Virtual Machines"
UNIT = "1 Hour"

Key = tuple[str, PurchaseOption]
"""A size in lower case, because Azure's services do not agree on its case, and how it is bought."""


@dataclass(frozen=True, slots=True)
class _Row:
    since: datetime
    price: Money | None
    fault: str = ""


class RetailPrices:
    """The rows of one region, sorted out at ``now``. ``others`` counts the rows for something else than a Linux machine."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], *, region: str, now: datetime) -> None:
        self.others: Counter[str] = Counter()
        self.read = 0
        primary: dict[Key, list[_Row]] = {}
        secondary: dict[Key, list[_Row]] = {}
        for told in rows:
            self.read += 1
            kind = _kind(told, region)
            if isinstance(kind, str):
                self.others[kind] += 1
                continue
            row = _row(told, now)
            if row is not None:
                chosen = secondary if told.get("isPrimaryMeterRegion") is False else primary
                chosen.setdefault(kind, []).append(row)
        # A meter may be listed for a region that it does not belong to; such rows only speak where no other does.
        self._rows = {**secondary, **primary}

    def sizes(self) -> set[str]:
        """Every size that some row prices, in lower case."""
        return {size for size, _ in self._rows}

    def has(self, size: str, option: PurchaseOption) -> bool:
        return (size.casefold(), option) in self._rows

    def price(self, size: str, option: PurchaseOption) -> Money | str:
        """The price per hour, or why there is none. The newest row in force counts; a faulty one is not passed over."""
        kind = "spot price" if option is PurchaseOption.SPOT else "price"
        rows = self._rows.get((size.casefold(), option))
        if rows is None:
            return f"no {kind}"
        newest = max(row.since for row in rows)
        found = {row for row in rows if row.since == newest}
        if len(found) > 1:
            return f"{kind}: two at a time"
        (row,) = found
        return row.price if row.price is not None else f"{kind}: {row.fault}"


def _kind(told: Mapping[str, Any], region: str) -> Key | str:
    """The size and way of buying that a row prices, or a word for what else it prices."""
    size, product = told.get("armSkuName"), str(told.get("productName", ""))
    names = (str(told.get("meterName", "")), str(told.get("skuName", "")))
    if told.get("serviceName") != SERVICE or told.get("type", "Consumption") != "Consumption":
        return "other services and commitments"
    if told.get("armRegionName") != region:
        return "other regions"
    if "windows" in product.casefold():
        return "Windows"
    if any("low priority" in name.casefold() for name in names):
        return "low priority"
    if "cloudservices" in product.replace(" ", "").casefold():
        return "cloud services"
    if "dedicated" in product.casefold() or any("dedicated" in name.casefold() for name in names):
        return "dedicated hosts"
    if not isinstance(size, str) or not size:
        return "rows without a size"
    spot = any(name.endswith(" Spot") for name in names)
    if not spot and any("spot" in name.casefold() for name in names):
        return "unknown kinds of spot"
    return size.casefold(), PurchaseOption.SPOT if spot else PurchaseOption.ON_DEMAND


def _row(told: Mapping[str, Any], now: datetime) -> _Row | None:
    """The row with its price or its fault; None when it is not in force, or only from some amount on."""
    try:
        since = instant(str(told.get("effectiveStartDate")))
        until = told.get("effectiveEndDate")
        if since > now or (until is not None and instant(str(until)) <= now):
            return None
    except UsageError:
        return _Row(now, None, "no date")
    if told.get("tierMinimumUnits", 0) not in (0, Decimal(0)):
        return None
    price = told.get("retailPrice")
    if told.get("unitOfMeasure") != UNIT:
        return _Row(since, None, "unknown unit")
    if told.get("currencyCode") != "USD":
        return _Row(since, None, "not in USD")
    if isinstance(price, bool) or not isinstance(price, int | Decimal) or not Decimal(price).is_finite():
        return _Row(since, None, "not a number")
    if price < 0:
        return _Row(since, None, "below zero")
    try:
        found = Money.of(price)
    except UsageError:
        return _Row(since, None, "absurd")
    return _Row(since, found) if found.nanos > 0 else _Row(since, None, "zero")
