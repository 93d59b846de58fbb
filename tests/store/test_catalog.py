"""Searching the catalogue answers exactly what ranking all of its offers would."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallygate.errors import UsageError
from tallygate.money import Money
from tallygate.pricing.catalog import Per
from tallygate.pricing.offers import Offer, ResourceRequest, matches, rank
from tallygate.store.catalog import FILE_NAME, SHIPPED, SqliteCatalog, open_catalog
from tallygate.store.catalog_writer import build, row_of, verify, write
from tests.store.offers import NOW, OFFER, offers, other, requests, sheets_of

ANY = ResourceRequest()

catalogues = st.lists(offers(), max_size=24)


@contextmanager
def catalogue(found: list[Offer]) -> Iterator[SqliteCatalog]:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, FILE_NAME)
        build(path, [row_of(offer) for offer in found], [], currency="USD", made_at=NOW)
        catalog = SqliteCatalog(path)
        try:
            yield catalog
        finally:
            catalog.close()


def ranked_per(found: list[Offer], request: ResourceRequest, share: Callable[[Offer], Decimal | int]) -> list[Offer]:
    return sorted(rank(found, request), key=lambda o: Fraction(o.hourly_price.nanos) / Fraction(share(o)))


@settings(max_examples=1_000, deadline=None)
@given(catalogues, st.lists(requests(), min_size=1, max_size=5), st.integers(0, 26))
def test_a_search_equals_ranking_everything(found: list[Offer], wanted: list[ResourceRequest], limit: int) -> None:
    """Every field of every offer, ties, zones, GPUs and both purchase options; by the hour, the vCPU and the GiB."""
    with catalogue(found) as catalog:
        for request in wanted:
            assert catalog.cheapest(request, limit=limit) == rank(found, request)[:limit]
            per_vcpu = ranked_per(found, request, lambda offer: offer.vcpus)
            assert catalog.cheapest(request, limit=limit, per=Per.VCPU) == per_vcpu[:limit]
            per_gib = ranked_per(found, request, lambda offer: offer.memory_gib)
            assert catalog.cheapest(request, limit=limit, per=Per.GIB) == per_gib[:limit]
        assert list(catalog.offers()) == rank(found, ResourceRequest())
        assert verify(catalog)


@settings(max_examples=300, deadline=None)
@given(
    catalogues,
    requests(),
    st.integers(0, 26),
    st.sampled_from([Decimal("0.0001"), Decimal(1), Decimal("2.5"), Decimal(720)]),
    st.integers(0, 2**32),
)
def test_the_cheapest_to_finish_equal_pricing_everything(
    found: list[Offer], request: ResourceRequest, limit: int, hours: Decimal, salt: int
) -> None:
    """With a cost that has nothing to do with the price but its lower bound, and many equal costs."""

    def cost(offer: Offer) -> Money:
        more = (offer.vcpus * 2_654_435_761 ^ salt) % 7 * 50_000_000
        return offer.hourly_price.times(hours, round_up=True) + Money(more)

    with catalogue(found) as catalog:
        answer = catalog.cheapest_to_finish(request, cost, hours=hours, limit=limit)
    assert answer == sorted(rank(found, request), key=lambda offer: cost(offer).nanos)[:limit]


def test_an_offer_is_left_unlooked_at_only_when_it_cannot_win() -> None:
    found = [other(hourly_price=Money.of(price), instance_type=f"t{price}") for price in range(1, 101)]
    looked_at: list[Offer] = []

    def cost(offer: Offer) -> Money:
        looked_at.append(offer)
        return offer.hourly_price + Money.of(5)

    with catalogue(found) as catalog:
        (best, second) = catalog.cheapest_to_finish(ANY, cost, hours=Decimal(1), limit=2)
    assert (best.instance_type, second.instance_type) == ("t1", "t2")
    assert [offer.hourly_price for offer in looked_at] == [Money.of(price) for price in range(1, 8)]


def test_every_request_of_the_oracle_matches_something_somewhere() -> None:
    """Guards the comparison above against requests that only ever match nothing."""
    hits = []

    @settings(max_examples=200, deadline=None, database=None)
    @given(catalogues, requests())
    def look(found: list[Offer], request: ResourceRequest) -> None:
        hits.append(any(matches(offer, request) for offer in found))

    look()
    assert sum(hits) > 60


def test_a_highest_price_in_another_currency_is_refused() -> None:
    with catalogue([OFFER]) as catalog, pytest.raises(UsageError, match="EUR"):
        catalog.cheapest(ResourceRequest(hourly_price_max=Money.of(1, "EUR")), limit=1)


def test_the_refreshed_catalogue_comes_before_the_shipped_one(tmp_path: Path) -> None:
    before = open_catalog(tmp_path)
    assert (before.is_shipped, before.path) == (True, SHIPPED)
    before.close()
    write(tmp_path, sheets_of([OFFER]), made_at=NOW)
    after = open_catalog(tmp_path)
    assert (after.is_shipped, after.cheapest(ANY, limit=5)) == (False, [OFFER])
    after.close()


def test_searching_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path, sheets_of([OFFER]), made_at=NOW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    tmp_path.chmod(0o500)
    try:
        catalog = open_catalog(tmp_path)
        assert catalog.cheapest(ANY, limit=1) == [OFFER]
        assert catalog.parts()[0].offers == 1
        catalog.close()
    finally:
        tmp_path.chmod(0o700)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
