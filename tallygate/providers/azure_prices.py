"""Azure's prices: sizes from the Resource SKUs of a subscription, prices from the public Retail Prices.

    Resource SKUs (location filter)    --> cores, memory, GPUs, zones, restrictions   1 request a region
    Retail Prices (region filter)      --> price an hour, on demand and as spot        some 10 requests a region
    Resource Graph, eviction rates     --> how often spot machines are taken back      1 or 2 requests a region
    Resource Graph, spot price history --> past prices of 90 days                      1 or 2 requests a region

Azure's prices are the same in all zones of a region, so there is an offer for every zone that the subscription may use, named
``<region>-<number>``. Permissions: role Reader on the subscription. The Retail Prices ask for none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..errors import CredentialsMissing, Unavailable, UsageError
from ..ids import Entropy
from ..money import Money
from ..pricing.interruptions import Band
from ..pricing.offers import Offer, PurchaseOption
from ..pricing.source import Observation, Sheet
from ..times import Clock, instant
from .azure_calls import AzureCalls
from .azure_rows import RetailPrices
from .azure_shapes import LeftOut, Shape, shape_of
from .past_prices import changes
from .retry import naming

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

PROVIDER = "azure"
SOURCE = "Azure Retail Prices"

_NAME = re.compile(r"[a-z][a-z0-9-]{1,40}")
_RATE = re.compile(r"(\d{1,3})(?:-(\d{1,3})|\+)")


class AzurePrices:
    """List prices of Linux machines in USD, for the sizes that a subscription may use.

    ``subscription``: its id. ``credential``: of azure-core; None for the default chain of azure-identity.
    ``certificates``: a file of those to trust instead of the usual ones, such as a company proxy's.

    The Retail Prices are public, but do not say how many cores or how much memory a size has. Without a subscription and
    credentials there is therefore nothing to offer, and every call raises ``CredentialsMissing`` that names what is missing.
    """

    provider = PROVIDER

    def __init__(
        self,
        *,
        clock: Clock,
        entropy: Entropy,
        subscription: str | None,
        credential: TokenCredential | None = None,
        management_url: str = "https://management.azure.com",
        prices_url: str = "https://prices.azure.com",
        certificates: str | None = None,
    ) -> None:
        self._clock = clock
        self._calls = AzureCalls(
            clock=clock,
            entropy=entropy,
            subscription=subscription,
            credential=credential,
            management_url=management_url,
            prices_url=prices_url,
            certificates=certificates,
        )

    def regions(self) -> Sequence[str]:
        """Every physical region of the subscription, in order. Raises ``Unavailable`` or ``CredentialsMissing``."""
        found = set()
        with naming("Azure"):
            for row in self._calls.locations():
                name, about = row.get("name"), row.get("metadata")
                if isinstance(name, str) and isinstance(about, dict) and about.get("regionType") == "Physical":
                    found.add(name)
            if not found:
                raise Unavailable("no regions were told")
        return sorted(found)

    def read(self, region: str) -> Sheet:
        """The whole sheet of a region. Raises ``Unavailable``, or ``CredentialsMissing`` naming the permission."""
        with naming(f"Azure {region[:40]}"):
            refused: Counter[str] = Counter()
            shapes = self._shapes(region, refused)
            now = self._clock.now()
            prices = RetailPrices(self._calls.retail_prices(region), region=region, now=now)
            if not prices.sizes():
                raise Unavailable("the Retail Prices told none of a Linux machine")
            bands, notes = self._bands(region)
            offers = _offers(region, shapes, prices, bands, now, refused)
            notes += _left_out(shapes, prices)
            return Sheet(
                provider=self.provider,
                region=region,
                read_at=self._clock.now(),
                source=SOURCE,
                offers=tuple(offers),
                refused=dict(sorted(refused.items())),
                notes=tuple(notes),
            )

    def history(self, region: str, *, since: datetime) -> Iterator[Observation]:
        """Every change of the Linux spot prices of a region since then, and the price in force at that moment.

        Azure keeps 90 days. Needs the Resource Graph. Entries that are no price are left out.
        """
        with naming(f"Azure {region[:40]}"):
            names = {name.casefold(): name for name in self._shapes(region, Counter())}
            query = (
                "SpotResources | where type =~ 'microsoft.compute/skuspotpricehistory/ostype/location'"
                f" | where properties.osType =~ 'linux' | where location =~ '{region}'"
                " | project skuName = tostring(sku.name), spotPrices = properties.spotPrices | order by skuName asc"
            )
            seen: set[str] = set()
            for row in self._calls.graph(query, "the history of spot prices"):
                name = names.get(str(row.get("skuName")).casefold())
                if name is None:
                    continue
                if name in seen:
                    raise Unavailable(f"the history of spot prices tells {name} twice")
                seen.add(name)
                yield from _observations(region, name, row.get("spotPrices"), since)

    def _shapes(self, region: str, refused: Counter[str]) -> dict[str, Shape]:
        if not _NAME.fullmatch(region):
            raise UsageError(f"{region[:40]!r} is not the name of a region")
        found: dict[str, Shape] = {}
        two_shapes: set[str] = set()
        machines = 0
        for sku in self._calls.skus(region):
            try:
                shape = shape_of(sku, region)
            except LeftOut as reason:
                machines += 1
                refused[str(reason)] += 1
                continue
            if shape is None:
                continue
            machines += 1
            if found.setdefault(shape.name, shape) != shape:
                two_shapes.add(shape.name)
        for name in two_shapes:
            del found[name]
            refused["two shapes under one name"] += 1
        if not machines:
            raise Unavailable("the Resource SKUs told no virtual machines")
        return found

    def _bands(self, region: str) -> tuple[Mapping[str, Band], list[str]]:
        """How often each size is taken back, by its name in lower case. What could not be read is a note."""
        query = (
            "SpotResources | where type =~ 'microsoft.compute/skuspotevictionrate/location'"
            f" | where location =~ '{region}'"
            " | project skuName = tostring(sku.name), evictionRate = tostring(properties.evictionRate)"
            " | order by skuName asc"
        )
        try:
            rows = list(self._calls.graph(query, "the eviction rates"))
        except (Unavailable, CredentialsMissing) as error:
            return {}, [f"eviction rates could not be read: {error.message}"]
        found: dict[str, Band] = {}
        for row in rows:
            band = _band(row.get("evictionRate"))
            if band is not None:
                found[str(row.get("skuName")).casefold()] = band
        return found, []


def _offers(
    region: str,
    shapes: Mapping[str, Shape],
    prices: RetailPrices,
    bands: Mapping[str, Band],
    now: datetime,
    refused: Counter[str],
) -> list[Offer]:
    """An offer for every zone, size and way of buying that has a price; the others counted by reason."""
    offers = []
    for shape in shapes.values():
        on_demand = prices.price(shape.name, PurchaseOption.ON_DEMAND)
        for option in PurchaseOption:
            is_spot = option is PurchaseOption.SPOT
            if is_spot and not shape.has_spot:
                if prices.has(shape.name, option):
                    refused["not offered as spot"] += 1
                continue
            price = prices.price(shape.name, option)
            if isinstance(price, str):
                refused[price] += 1
                continue
            offers += [
                Offer(
                    provider=PROVIDER,
                    region=region,
                    zone=f"{region}-{zone}" if zone else None,
                    instance_type=shape.name,
                    purchase_option=option,
                    vcpus=shape.vcpus,
                    memory_gib=shape.memory_gib,
                    architecture=shape.architecture,
                    gpus=shape.gpus,
                    gpu_model=shape.gpu_model,
                    gpu_memory_gib=shape.gpu_memory_gib,
                    hourly_price=price,
                    on_demand_price=on_demand if isinstance(on_demand, Money) else None,
                    priced_at=now,
                    price_source=SOURCE,
                    interruptions=bands.get(shape.name.casefold()) if is_spot else None,
                )
                for zone in shape.zones or ("",)
            ]
    return offers


def _left_out(shapes: Mapping[str, Shape], prices: RetailPrices) -> list[str]:
    """What else the price list had, in a sentence each."""
    notes = []
    if prices.others:
        counted = ", ".join(f"{count:,} {kind}" for kind, count in sorted(prices.others.items()))
        notes.append(f"prices of other things than Linux machines were not read: {counted}")
    unlisted = prices.sizes() - {name.casefold() for name in shapes}
    if unlisted:
        notes.append(f"{len(unlisted):,} sizes have a price and are not offered to the subscription")
    return notes


def _band(text: object) -> Band | None:
    """A range of percent an hour, such as ``5-10`` or ``20+``; None for anything else."""
    found = _RATE.fullmatch(str(text))
    if found is None:
        return None
    low, high = Decimal(found[1]) / 100, Decimal(found[2]) / 100 if found[2] else None
    if low > 1 or (high is not None and not low <= high <= 1):
        return None
    return Band(low=low, high=high, hours=1)


def _observations(region: str, name: str, told: object, since: datetime) -> Iterator[Observation]:
    """The price in force at ``since`` and every change after it, oldest first."""
    found: dict[datetime, Money] = {}
    for entry in told if isinstance(told, list) else []:
        at, price = _past_price(entry)
        if at is not None and price is not None:
            found[at] = price
    for at, money in changes(found, since):
        yield Observation(
            provider=PROVIDER,
            region=region,
            zone=None,
            instance_type=name,
            purchase_option=PurchaseOption.SPOT,
            at=at,
            hourly_price=money,
        )


def _past_price(entry: Any) -> tuple[datetime | None, Money | None]:
    price = entry.get("priceUSD") if isinstance(entry, dict) else None
    if isinstance(price, bool) or not isinstance(price, int | Decimal):
        return None, None
    try:
        money = Money.of(price)
        return instant(str(entry.get("effectiveDate"))), money if money.nanos > 0 else None
    except UsageError:
        return None, None
