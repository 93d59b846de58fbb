"""AWS's prices: what each machine type costs in each zone of a region, as spot and without.

    DescribeInstanceTypes            what a machine is
    DescribeInstanceTypeOfferings    in which zones it is sold
    DescribeSpotPriceHistory         today's spot price by type and zone
    GetProducts                      the price without spot, by type
    Spot Instance Advisor            how often such machines are taken back; a note when it cannot be read

Needs ``ec2:DescribeRegions``, ``ec2:DescribeInstanceTypes``, ``ec2:DescribeInstanceTypeOfferings``,
``ec2:DescribeSpotPriceHistory`` and ``pricing:GetProducts``. None of them costs anything.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from .. import times
from ..errors import Unavailable, UsageError
from ..money import Money
from ..pricing import spot_advisor
from ..pricing.offers import Offer, PurchaseOption
from ..pricing.price_text import hourly_price
from ..pricing.source import Observation, Sheet
from ..pricing.spot_advisor import Advisor
from ..times import Clock
from . import aws_price_list
from .aws_advisor import AdvisorReader, Fetch
from .aws_calls import AwsCalls
from .aws_machines import Machine, machine

HOME_REGION = "us-east-1"
"""Where the list of regions is asked for; every account has it."""

PAGES_MAX = 500
"""A sheet of the largest region has some 30 pages."""

HISTORY_PAGES_MAX = 20_000
HISTORY_KEPT = timedelta(days=90)
"""The service tells nothing older."""

LINUX = "Linux/UNIX"
_LINUX_ROWS = frozenset({LINUX, "Linux/UNIX (Amazon VPC)"})
"""What answers call it; the second is from the days of networks that were no VPC."""

OPTED_IN = ("opt-in-not-required", "opted-in")

_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")

_SPOT_SOURCE = "AWS DescribeSpotPriceHistory"
_LIST_SOURCE = "AWS Price List"

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

Pool = tuple[str, str]
"""Machine type and zone: what has one spot price."""


class AwsPrices:
    """A ``PriceSource`` and ``HistorySource``. Asks nobody before it is read; safe to be used from several threads.

    ``fetch`` reads the advisor's document at ``advisor_url``; without either, offers carry no interruption rates.
    """

    provider = "aws"

    def __init__(
        self,
        *,
        clock: Clock,
        calls: AwsCalls | None = None,
        fetch: Fetch | None = None,
        advisor_url: str | None = spot_advisor.URL,
        pages_max: int = PAGES_MAX,
        history_pages_max: int = HISTORY_PAGES_MAX,
    ) -> None:
        self._clock = clock
        self._calls = calls or AwsCalls()
        self._advisor = AdvisorReader(clock, fetch, advisor_url)
        self._pages_max = pages_max
        self._history_pages_max = history_pages_max

    def regions(self) -> Sequence[str]:
        """The regions that the account may use, in order. Raises ``Unavailable`` or ``CredentialsMissing``."""
        wanted = [{"Name": "opt-in-status", "Values": list(OPTED_IN)}]
        answer = self._calls.call("ec2", "DescribeRegions", region=HOME_REGION, Filters=wanted)
        found = {
            str(row.get("RegionName"))
            for row in answer.get("Regions", [])
            if row.get("RegionName") and row.get("OptInStatus", OPTED_IN[0]) in OPTED_IN
        }
        if not found:
            raise Unavailable(f"AWS DescribeRegions for {HOME_REGION} names no region")
        return sorted(found)

    def read(self, region: str) -> Sheet:
        """The whole sheet of a region. Raises ``Unavailable`` or ``CredentialsMissing``, naming the region and the call."""
        _check(region)
        now = self._clock.now()
        refused: Counter[str] = Counter()
        machines = self._machines(region, refused)
        zones = self._zones(region)
        spot = self._spot_prices(region, now, refused)
        on_demand = self._on_demand_prices(region, now, refused)
        advisor, note = self._advisor.read(region)
        offers = [
            *_on_demand_offers(region, now, machines, zones, on_demand, refused),
            *_spot_offers(region, now, machines, zones, spot, on_demand, advisor, refused),
        ]
        if not offers:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in sorted(refused.items()))
            raise Unavailable(f"AWS has no usable price in {region}: {reasons}")
        return Sheet(
            provider=self.provider,
            region=region,
            read_at=now,
            source="AWS EC2 and Price List",
            offers=tuple(offers),
            refused=dict(refused),
            notes=(note,) if note else (),
        )

    def history(self, region: str, *, since: datetime, refused: Counter[str] | None = None) -> Iterator[Observation]:
        """Every change of a Linux spot price since then, and the price in force at that moment, in the service's order.

        Reaches back 90 days at most. Rows without a usable price are left out, and counted in ``refused`` when that is given.
        Raises ``Unavailable`` or ``CredentialsMissing``, possibly after a part has been told.
        """
        _check(region)
        now = self._clock.now()
        start = max(times.instant(since), now - HISTORY_KEPT)
        if start > now:
            raise UsageError(f"Prices since {times.shown(since)} lie in the future")
        counted: Counter[str] = Counter() if refused is None else refused
        for row in self._spot_rows(region, start, self._history_pages_max):
            pool, at = _pool(row, counted), row.get("Timestamp")
            if pool is None or not isinstance(at, datetime):
                continue
            price = hourly_price(row.get("SpotPrice"))
            if isinstance(price, str):
                counted[f"spot {price}"] += 1
            elif at > now:
                counted["spot price lies in the future"] += 1
            else:
                yield Observation(
                    provider=self.provider,
                    region=region,
                    zone=pool[1],
                    instance_type=pool[0],
                    purchase_option=PurchaseOption.SPOT,
                    at=times.instant(at),
                    hourly_price=price,
                )

    # --- the five answers a sheet is made of

    def _machines(self, region: str, refused: Counter[str]) -> dict[str, Machine]:
        found: dict[str, Machine] = {}
        rows = 0
        for page in self._pages("DescribeInstanceTypes", region, MaxResults=100):
            for row in page.get("InstanceTypes", []):
                rows += 1
                one = machine(row)
                if one is None:
                    refused["machine without a name, vCPUs or memory"] += 1
                else:
                    found[one.name] = one
        return _some(found, "DescribeInstanceTypes", region, f"machine types ({rows} rows)")

    def _zones(self, region: str) -> dict[str, set[str]]:
        """The zones in which each type is sold."""
        found: dict[str, set[str]] = {}
        pages = self._pages("DescribeInstanceTypeOfferings", region, LocationType="availability-zone", MaxResults=1000)
        for page in pages:
            for row in page.get("InstanceTypeOfferings", []):
                if row.get("InstanceType") and row.get("Location"):
                    found.setdefault(row["InstanceType"], set()).add(row["Location"])
        return _some(found, "DescribeInstanceTypeOfferings", region, "machines for sale")

    def _spot_prices(self, region: str, now: datetime, refused: Counter[str]) -> dict[Pool, _InForce]:
        rows = self._spot_rows(region, now, self._pages_max)
        return _some(_in_force(rows, now, refused), "DescribeSpotPriceHistory", region, "spot prices")

    def _spot_rows(self, region: str, start: datetime, pages_max: int) -> Iterator[Mapping[str, Any]]:
        """With a start, the answer also has the last change before it: the price in force at that moment."""
        pages = self._calls.pages(
            "ec2",
            "DescribeSpotPriceHistory",
            region=region,
            pages_max=pages_max,
            StartTime=start,
            ProductDescriptions=[LINUX],
            MaxResults=1000,
        )
        for page in pages:
            yield from page.get("SpotPriceHistory", [])

    def _on_demand_prices(self, region: str, now: datetime, refused: Counter[str]) -> dict[str, Money]:
        pages = self._calls.pages(
            "pricing",
            "GetProducts",
            region=region,
            asked_in=aws_price_list.ASKED_IN,
            pages_max=self._pages_max,
            ServiceCode=aws_price_list.SERVICE_CODE,
            Filters=aws_price_list.filters(region),
            FormatVersion="aws_v1",
            MaxResults=100,
        )
        products = (product for page in pages for product in page.get("PriceList", []))
        found = aws_price_list.read(products, region=region, now=now, refused=refused)
        return _some(found, "GetProducts", region, "prices without spot")

    def _pages(self, operation: str, region: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        return self._calls.pages("ec2", operation, region=region, pages_max=self._pages_max, **parameters)


def _check(region: str) -> None:
    if not _REGION.fullmatch(region):
        raise UsageError(f"{region[:40]!r} is not a region of AWS", cure="Name one like eu-west-1")


def _some(found: dict[_Key, _Value], operation: str, region: str, what: str) -> dict[_Key, _Value]:
    """``found`` unless it is empty: a region that sells nothing is one that was not read."""
    if not found:
        raise Unavailable(f"AWS {operation} for {region} has no usable {what}")
    return found


# --- prices


@dataclass(frozen=True, slots=True)
class _InForce:
    since: datetime
    price: Money


def _pool(row: Mapping[str, Any], refused: Counter[str]) -> Pool | None:
    """Whose price a row tells; None, counted, when it is not about Linux or does not say."""
    if row.get("ProductDescription") not in _LINUX_ROWS:
        refused["spot row is not about Linux"] += 1
        return None
    name, zone = row.get("InstanceType"), row.get("AvailabilityZone")
    if not name or not zone or row.get("Timestamp") is None:
        refused["spot row without machine, zone or time"] += 1
        return None
    return name, zone


def _in_force(rows: Iterable[Mapping[str, Any]], now: datetime, refused: Counter[str]) -> dict[Pool, _InForce]:
    """The price of each pool at ``now``: the newest that is not later.

    Where that one is unusable the pool has no price: an older one is not in force any more.
    """
    newest: dict[Pool, tuple[datetime, Money | str]] = {}
    later: set[Pool] = set()
    for row in rows:
        pool = _pool(row, refused)
        if pool is None:
            continue
        at = row["Timestamp"]
        if at > now:
            later.add(pool)
            continue
        price = hourly_price(row.get("SpotPrice"))
        known = newest.get(pool)
        if known is None or at > known[0]:
            newest[pool] = (at, price)
        elif at == known[0] and price != known[1]:
            newest[pool] = (at, "price is told twice and differs")
    found: dict[Pool, _InForce] = {}
    for pool, (at, price) in newest.items():
        if isinstance(price, str):
            refused[f"spot {price}"] += 1
        else:
            found[pool] = _InForce(at, price)
    if unborn := len(later - newest.keys()):
        refused["spot price lies in the future"] += unborn
    return found


def _on_demand_offers(
    region: str,
    now: datetime,
    machines: Mapping[str, Machine],
    zones: Mapping[str, set[str]],
    prices: Mapping[str, Money],
    refused: Counter[str],
) -> Iterator[Offer]:
    for name, price in prices.items():
        machine = machines.get(name)
        if machine is None:
            refused["on-demand price of a machine that is not described"] += 1
        elif not zones.get(name):
            refused["on-demand price of a machine that no zone offers"] += 1
        else:
            yield _offer(machine, region, None, PurchaseOption.ON_DEMAND, price, price, now, _LIST_SOURCE)


def _spot_offers(
    region: str,
    now: datetime,
    machines: Mapping[str, Machine],
    zones: Mapping[str, set[str]],
    prices: Mapping[Pool, _InForce],
    on_demand: Mapping[str, Money],
    advisor: Advisor | None,
    refused: Counter[str],
) -> Iterator[Offer]:
    for (name, zone), paid in prices.items():
        machine = machines.get(name)
        if machine is None:
            refused["spot price of a machine that is not described"] += 1
        elif not machine.is_sold_as_spot:
            refused["spot price of a machine that is not sold as spot"] += 1
        elif zone not in zones.get(name, ()):
            refused["spot price in a zone that does not offer the machine"] += 1
        else:
            # A price stays in force until it changes, so it is as fresh as this answer. One from before the time that the
            # service keeps cannot be in force by its own rules: it is dated as it dates itself, and its age refuses it.
            dated = now if now - paid.since <= HISTORY_KEPT else times.instant(paid.since)
            band = advisor.band(region, name) if advisor else None
            yield _offer(
                machine,
                region,
                zone,
                PurchaseOption.SPOT,
                paid.price,
                on_demand.get(name),
                dated,
                _SPOT_SOURCE,
                interruptions=band,
            )


def _offer(
    machine: Machine,
    region: str,
    zone: str | None,
    option: PurchaseOption,
    price: Money,
    on_demand: Money | None,
    priced_at: datetime,
    source: str,
    **further: Any,
) -> Offer:
    return Offer(
        provider="aws",
        region=region,
        zone=zone,
        instance_type=machine.name,
        purchase_option=option,
        vcpus=machine.vcpus,
        memory_gib=machine.memory_gib,
        architecture=machine.architecture,
        gpus=machine.gpus,
        gpu_model=machine.gpu_model,
        gpu_memory_gib=machine.gpu_memory_gib,
        hourly_price=price,
        on_demand_price=on_demand,
        priced_at=priced_at,
        price_source=source,
        **further,
    )
