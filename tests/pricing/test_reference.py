"""The shipped reference prices: what the tables say, dated, marked, small, and free of what is unknown."""

from __future__ import annotations

import csv
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tallygate.money import Money
from tallygate.pricing.offers import Offer, PurchaseOption, ResourceRequest
from tallygate.store.catalog import SHIPPED, SqliteCatalog
from tallygate.store.catalog_writer import verify

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def offers() -> list[Offer]:
    catalog = SqliteCatalog(SHIPPED)
    try:
        return list(catalog.offers())
    finally:
        catalog.close()


def test_building_it_again_from_the_tables_gives_the_same(tmp_path: Path, offers: list[Offer]) -> None:
    subprocess.run(
        [sys.executable, str(ROOT / "reference" / "build.py"), str(tmp_path)], check=True, capture_output=True
    )
    built, shipped = SqliteCatalog(tmp_path / "reference.db"), SqliteCatalog(SHIPPED)
    assert built.version == shipped.version
    assert built.parts() == shipped.parts()
    assert verify(shipped)
    assert list(built.offers()) == offers
    built.close()
    shipped.close()


def test_every_offer_is_a_dated_reference(offers: list[Offer]) -> None:
    assert len(offers) > 5_000
    assert {offer.is_reference for offer in offers} == {True}
    assert {(offer.provider, f"{offer.priced_at:%Y-%m-%d}") for offer in offers} == {
        ("aws", "2025-03-02"),
        ("azure", "2020-08-30"),
        ("gcp", "2020-08-30"),
    }
    assert all(f"{offer.priced_at:%Y-%m-%d}" in offer.price_source for offer in offers)


def test_only_google_s_spot_prices_are_known(offers: list[Offer]) -> None:
    assert {offer.provider for offer in offers if offer.purchase_option is PurchaseOption.SPOT} == {"gcp"}


def test_no_price_is_absurd(offers: list[Offer]) -> None:
    """Between a quarter of a cent and sixty cents a processor without GPUs; spot below on demand."""
    for offer in offers:
        if not offer.gpus:
            assert Money.of("0.0025") < offer.hourly_price_per_vcpu < Money.of("0.60"), offer
        if offer.on_demand_price is not None:
            assert offer.hourly_price < offer.on_demand_price, offer


@pytest.mark.parametrize(
    ("kind", "region", "price"),
    [
        ("c5.large", "us-east-1", "0.085"),
        ("g5.xlarge", "us-east-1", "1.006"),
        ("Standard_D4s_v3", "eastus", "0.192"),
        ("n1-standard-4", "us-central1", "0.189999"),
    ],
)
def test_well_known_prices_are_right(offers: list[Offer], kind: str, region: str, price: str) -> None:
    (found,) = [
        offer
        for offer in offers
        if (offer.instance_type, offer.region, offer.purchase_option) == (kind, region, PurchaseOption.ON_DEMAND)
    ]
    assert found.hourly_price == Money.of(price)


def test_nothing_is_offered_where_the_tables_are_blank(offers: list[Offer]) -> None:
    known = {(offer.instance_type, offer.region) for offer in offers}
    with open(ROOT / "reference" / "aws.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    blank = [(row["type"], region) for row in rows for region, price in row.items() if "-" in region and not price]
    assert blank
    assert not known & set(blank)
    assert all(Decimal(price) > 0 for row in rows for region, price in row.items() if "-" in region and price)


def test_it_is_small_and_searched_like_any_other() -> None:
    assert Path(SHIPPED).stat().st_size < 500_000
    catalog = SqliteCatalog(SHIPPED)
    (best,) = catalog.cheapest(ResourceRequest(gpus_min=8, gpu_model="a100"), limit=1)
    assert (best.provider, best.gpu_memory_gib) == ("aws", Decimal(40))
    catalog.close()
