"""Offers: what could be rented, at which price, seen when.

Filtering and ranking happen here, once, for every provider; a provider only says what it sells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from ..money import Money


class PurchaseOption(StrEnum):
    """How a machine is bought. Spot machines are cheaper and may be interrupted."""

    SPOT = "spot"
    ON_DEMAND = "on_demand"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRequest:
    """What a job needs, in no vendor's words. ``None`` means unbounded, or any."""

    vcpus_min: int = 1
    vcpus_max: int | None = None
    memory_gib_min: Decimal = Decimal(0)
    memory_gib_max: Decimal | None = None
    gpus_min: int = 0
    disk_gib: int = 0
    purchase_options: frozenset[PurchaseOption] = frozenset(PurchaseOption)
    provider: str | None = None
    region: str | None = None
    instance_type: str | None = None
    hourly_price_max: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One machine that could be rented: type, place, purchase option, and its price at a stated moment.

    ``provider`` is the short lower-case name (``local``, ``aws``, ``gcp``, ``azure``). ``hourly_price`` is today's
    price and always above zero. ``on_demand_price`` is the hourly price of the same machine without spot, when known.
    ``price_source`` says where the price was read. ``interruption_rate`` is the share of such machines interrupted
    within a month, when known.
    """

    provider: str
    region: str
    zone: str | None
    instance_type: str
    purchase_option: PurchaseOption
    vcpus: int
    memory_gib: Decimal
    gpus: int = 0
    gpu_model: str | None = None
    hourly_price: Money
    on_demand_price: Money | None = None
    priced_at: datetime
    price_source: str
    interruption_rate: Decimal | None = None

    @property
    def hourly_price_per_vcpu(self) -> Money:
        return self.hourly_price.times(Decimal(1) / Decimal(self.vcpus))

    def __str__(self) -> str:
        return f"{self.provider} {self.instance_type} in {self.zone or self.region}"


def matches(offer: Offer, request: ResourceRequest) -> bool:
    """Whether ``offer`` satisfies every bound of ``request``."""
    return (
        request.vcpus_min <= offer.vcpus
        and (request.vcpus_max is None or offer.vcpus <= request.vcpus_max)
        and request.memory_gib_min <= offer.memory_gib
        and (request.memory_gib_max is None or offer.memory_gib <= request.memory_gib_max)
        and request.gpus_min <= offer.gpus
        and offer.purchase_option in request.purchase_options
        and request.provider in (None, offer.provider)
        and request.region in (None, offer.region)
        and request.instance_type in (None, offer.instance_type)
        and (request.hourly_price_max is None or offer.hourly_price <= request.hourly_price_max)
    )


def rank(offers: Iterable[Offer], request: ResourceRequest) -> list[Offer]:
    """The offers that match, cheapest hour first; ties go by provider, region, zone and type, so order is stable."""
    return sorted(
        (offer for offer in offers if matches(offer, request)),
        key=lambda o: (o.hourly_price.nanos, o.provider, o.region, o.zone or "", o.instance_type),
    )
