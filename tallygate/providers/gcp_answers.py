"""What the answers of Google's price list and of its Compute API mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ..errors import UsageError
from ..money import Money
from ..pricing.interruptions import Band
from ..pricing.offers import Offer, PurchaseOption
from ..pricing.source import Observation
from ..times import instant
from . import gcp_families as families
from .gcp_skus import OLDEST, Dated, Machine, Rates, Sku, UnitPrice, Unpriced, sustained_vcpus
from .past_prices import changes

PROVIDER = "gcp"
SOURCE = "Google Cloud Billing Catalog"

_WITHDRAWN = {"DEPRECATED", "OBSOLETE", "DELETED"}
_ARCHITECTURES = {"X86_64": "x86_64", "ARM64": "arm64"}


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of parts, and when they were read."""

    rates: Rates
    read_at: datetime


def sku(told: Any) -> Sku:
    return Sku(
        id=told.sku_id,
        description=told.description,
        usage=told.category.usage_type,
        regions=tuple(told.service_regions),
        prices=tuple(
            Dated(
                effective=info.effective_time.ToDatetime(UTC) if info.HasField("effective_time") else OLDEST,
                unit=info.pricing_expression.usage_unit,
                steps=tuple(
                    UnitPrice(
                        currency=tier.unit_price.currency_code,
                        units=tier.unit_price.units,
                        nanos=tier.unit_price.nanos,
                    )
                    for tier in info.pricing_expression.tiered_rates
                ),
            )
            for info in told.pricing_info
        ),
    )


def machine(row: Mapping[str, Any]) -> Machine:
    """A machine type from its row. Raises ``Unpriced`` for one that is withdrawn or does not say what it is."""
    name, vcpus, megabytes = row.get("name"), row.get("guestCpus"), row.get("memoryMb")
    if not isinstance(name, str) or type(vcpus) is not int or type(megabytes) is not int or vcpus < 1 or megabytes < 1:
        raise Unpriced("cores or memory are not stated")
    deprecated = row.get("deprecated")
    if isinstance(deprecated, dict) and deprecated.get("state") in _WITHDRAWN:
        raise Unpriced("withdrawn by Google")
    gpu: str | None = None
    gpus = 0
    accelerators = row.get("accelerators") or []
    if accelerators:
        first = accelerators[0] if isinstance(accelerators, list) and len(accelerators) == 1 else {}
        kind, count = first.get("guestAcceleratorType"), first.get("guestAcceleratorCount")
        if not isinstance(kind, str) or type(count) is not int or count < 1:
            raise Unpriced("GPUs are not stated")
        gpu, gpus = kind.rpartition("/")[2], count
    disks = row.get("bundledLocalSsds")
    partitions = disks.get("partitionCount") if isinstance(disks, dict) else None
    series = families.series_of(name)
    return Machine(
        name=name,
        vcpus=vcpus,
        memory_gib=Decimal(megabytes) / 1024,
        architecture=_ARCHITECTURES.get(str(row.get("architecture"))) or (series.architecture if series else None),
        gpu=gpu,
        gpus=gpus,
        local_ssd_partitions=partitions if type(partitions) is int and partitions >= 0 else None,
    )


def offers(
    region: str, machines: Mapping[str, Sequence[Machine]], price_list: PriceList, refused: Counter[str]
) -> list[Offer]:
    """An offer for every zone, type and way of buying that has a price; the others counted by reason."""
    known: dict[tuple[Machine, PurchaseOption], Money | str] = {}

    def price(machine: Machine, option: PurchaseOption) -> Money | str:
        if (machine, option) not in known:
            try:
                known[machine, option] = price_list.rates.price(machine, region, option)
            except Unpriced as reason:
                known[machine, option] = str(reason)
        return known[machine, option]

    offers = []
    for zone, types in machines.items():
        for machine in types:
            on_demand = price(machine, PurchaseOption.ON_DEMAND)
            gpu = families.GPUS.get(machine.gpu) if machine.gpu is not None else None
            for option in PurchaseOption:
                if option is PurchaseOption.ON_DEMAND and machine.name in families.SPOT_ONLY:
                    continue  # not sold that way; its parts' prices still bound its spot price
                found = price(machine, option)
                if isinstance(found, str):
                    refused[found] += 1
                    continue
                offers.append(
                    Offer(
                        provider=PROVIDER,
                        region=region,
                        zone=zone,
                        instance_type=machine.name,
                        purchase_option=option,
                        vcpus=sustained_vcpus(machine),
                        memory_gib=machine.memory_gib,
                        architecture=machine.architecture,
                        gpus=machine.gpus,
                        gpu_model=gpu.model if gpu else None,
                        gpu_memory_gib=Decimal(gpu.memory_gib) if gpu else None,
                        hourly_price=found,
                        on_demand_price=on_demand if isinstance(on_demand, Money) else None,
                        priced_at=price_list.read_at,
                        price_source=SOURCE,
                    )
                )
    return offers


def band(days: object) -> Band | None:
    """The mean share of machines preempted a day, over the days told; None when none is told."""
    shares = [day.get("preemptionRate") for day in days if isinstance(day, dict)] if isinstance(days, list) else []
    usable = [Decimal(share) for share in shares if isinstance(share, int | Decimal) and 0 <= share <= 1]
    if not usable or len(usable) != len(shares):
        return None
    mean = (sum(usable, Decimal(0)) / len(usable)).quantize(Decimal("0.000001"))
    return Band(low=mean, high=mean, hours=24)


def observations(region: str, name: str, told: object, since: datetime) -> Iterator[Observation]:
    """The price in force at ``since`` and every change after it, oldest first; an entry that is no price is left out."""
    found: dict[datetime, Money] = {}
    for entry in told if isinstance(told, list) else []:
        try:
            start = instant(entry["interval"]["startTime"])
            price = entry["listPrice"]
            nanos = int(price.get("units", 0)) * 1_000_000_000 + int(price.get("nanos", 0))
            currency = price["currencyCode"]
        except (KeyError, TypeError, ValueError, AttributeError, UsageError):
            continue
        if nanos > 0 and currency == "USD":
            found[start] = Money(nanos)
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
