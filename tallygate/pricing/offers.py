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
from .interruptions import Band


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
    gpu_model: str | None = None
    architecture: str | None = None
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
    ``architecture`` is ``x86_64`` or ``arm64``, when known. ``gpu_model`` is the short name, such as ``A100``;
    ``gpu_memory_gib`` is that of one GPU, and a slice of a GPU counts as one with less memory. ``price_source`` says
    where the price was read. ``interruptions`` says how often such machines are taken back, when known.
    ``is_reference`` marks a dated figure that serves to compare and to plan, and never to launch.
    """

    provider: str
    region: str
    zone: str | None
    instance_type: str
    purchase_option: PurchaseOption
    vcpus: int
    memory_gib: Decimal
    architecture: str | None = None
    gpus: int = 0
    gpu_model: str | None = None
    gpu_memory_gib: Decimal | None = None
    hourly_price: Money
    on_demand_price: Money | None = None
    priced_at: datetime
    price_source: str
    interruptions: Band | None = None
    is_reference: bool = False

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
        and (request.gpu_model is None or request.gpu_model.casefold() == (offer.gpu_model or "").casefold())
        and request.architecture in (None, offer.architecture)
        and offer.purchase_option in request.purchase_options
        and request.provider in (None, offer.provider)
        and request.region in (None, offer.region)
        and request.instance_type in (None, offer.instance_type)
        and (request.hourly_price_max is None or offer.hourly_price <= request.hourly_price_max)
    )


def rank(offers: Iterable[Offer], request: ResourceRequest) -> list[Offer]:
    """The offers that match, cheapest hour first; ties go by provider, region, zone, type and on-demand before spot."""
    return sorted(
        (offer for offer in offers if matches(offer, request)),
        key=lambda o: (o.hourly_price.nanos, o.provider, o.region, o.zone or "", o.instance_type, o.purchase_option),
    )
