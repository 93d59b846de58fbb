"""Random catalogues: few distinct prices, places and shapes, so that ties and near misses are common."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tallygate.money import Money
from tallygate.pricing.interruptions import Band
from tallygate.pricing.offers import Offer, PurchaseOption, ResourceRequest
from tallygate.pricing.source import Sheet

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

OFFER = Offer(
    provider="aws",
    region="us-east-1",
    zone="us-east-1a",
    instance_type="r5.4xlarge",
    purchase_option=PurchaseOption.SPOT,
    vcpus=16,
    memory_gib=Decimal(128),
    hourly_price=Money.of("0.80"),
    priced_at=NOW,
    price_source="test",
)

PRICES = [Money(nanos) for nanos in (1, 99_999_999, 100_000_000, 100_000_001, 800_000_000, 1_999_999_999_999)]
MEMORY = [Decimal(text) for text in ("0.5", "0.613", "1", "3.75", "64", "128", "24576")]
GPUS = [
    (0, None, None),
    (1, "A100", Decimal(40)),
    (8, "A100", Decimal(80)),
    (1, "a100", None),
    (1, "L4", Decimal("2.5")),
]
BANDS = [
    None,
    Band(low=Decimal("0.05"), high=Decimal("0.10"), hours=730),
    Band(low=Decimal("0.20"), high=None, hours=730),
]
REGIONS = ["us-east-1", "us-east-1b", "Östlich", "local", "eu"]
TYPES = ["r5.4xlarge", "m5.large", "n2-standard-8", "Z", "z"]


@st.composite
def offers(draw: st.DrawFn) -> Offer:
    gpus, model, gpu_memory = draw(st.sampled_from(GPUS))
    return Offer(
        provider=draw(st.sampled_from(["aws", "azure", "gcp"])),
        region=draw(st.sampled_from(REGIONS)),
        zone=draw(st.sampled_from([None, "a", "b", "B"])),
        instance_type=draw(st.sampled_from(TYPES)),
        purchase_option=draw(st.sampled_from(list(PurchaseOption))),
        vcpus=draw(st.sampled_from([1, 2, 3, 16, 448])),
        memory_gib=draw(st.sampled_from(MEMORY)),
        architecture=draw(st.sampled_from([None, "x86_64", "arm64"])),
        gpus=gpus,
        gpu_model=model,
        gpu_memory_gib=gpu_memory,
        hourly_price=draw(st.sampled_from(PRICES)),
        on_demand_price=draw(st.sampled_from([None, *PRICES[:2]])),
        priced_at=NOW - timedelta(microseconds=draw(st.integers(0, 10**15))),
        price_source=draw(st.sampled_from(["DescribeSpotPriceHistory", "a table of 2020"])),
        interruptions=draw(st.sampled_from(BANDS)),
        is_reference=draw(st.booleans()),
    )


BOUNDS: dict[str, st.SearchStrategy[Any]] = {
    "vcpus_min": st.sampled_from([1, 2, 16, 449]),
    "vcpus_max": st.sampled_from([None, 1, 16, 448]),
    "memory_gib_min": st.sampled_from([Decimal("0.61300000001"), Decimal("3.75"), Decimal(10) ** 30]),
    "memory_gib_max": st.sampled_from([None, Decimal("63.9999999999"), Decimal(64), Decimal(10) ** 30]),
    "gpus_min": st.sampled_from([1, 2]),
    "gpu_model": st.sampled_from(["A100", "l4", "", "none such"]),
    "architecture": st.sampled_from(["x86_64", "arm64", ""]),
    "purchase_options": st.sampled_from([*(frozenset({option}) for option in PurchaseOption), frozenset()]),
    "provider": st.sampled_from(["aws", "gcp", "nimbus"]),
    "region": st.sampled_from([*REGIONS, "", "nowhere"]),
    "instance_type": st.sampled_from([*TYPES, "", "none"]),
    "hourly_price_max": st.sampled_from([*PRICES, Money(0)]),
}


@st.composite
def requests(draw: st.DrawFn) -> ResourceRequest:
    """A request with none to four of its bounds set, so that many match something and not everything."""
    names = draw(st.lists(st.sampled_from(sorted(BOUNDS)), max_size=4, unique=True))
    return ResourceRequest(**{name: draw(BOUNDS[name]) for name in names})


def sheets_of(found: list[Offer], read_at: datetime = NOW) -> list[Sheet]:
    """The sheets that would bring these offers, in their order within each."""
    places: dict[tuple[str, str], list[Offer]] = {}
    for offer in found:
        places.setdefault((offer.provider, offer.region), []).append(offer)
    return [
        Sheet(provider=provider, region=region, read_at=read_at, source="test", offers=tuple(those))
        for (provider, region), those in places.items()
    ]


def other(offer: Offer = OFFER, **changes: Any) -> Offer:
    return replace(offer, **changes)
