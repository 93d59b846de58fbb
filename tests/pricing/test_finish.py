"""What finishing is expected to cost: the machine with rework and restarts, and everything beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallygate.errors import PriceRefused
from tallygate.money import NANOS_MAX, Money
from tallygate.pricing.finish import ASSUMED, USUAL, expected_total
from tallygate.pricing.interruptions import Band
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.pricing.rework import expected_seconds
from tallygate.pricing.terms import PUBLISHED, Terms

BARE = Terms(
    kill_seconds=0,
    has_price_ceiling=True,
    seconds_min=1,
    seconds_step=1,
    token_lasts=True,
    disk_gib_month=None,
    disk_gib_default=0,
    public_address_hour=None,
    egress_gib=None,
    source="test",
)
HALF_A_DAY = Band(low=Decimal("0.5"), high=Decimal("0.5"), hours=24)
OFFER = Offer(
    provider="aws",
    region="us-east-1",
    zone="us-east-1a",
    instance_type="r5.4xlarge",
    purchase_option=PurchaseOption.ON_DEMAND,
    vcpus=16,
    memory_gib=Decimal(128),
    hourly_price=Money.of("0.80"),
    priced_at=datetime(2026, 3, 1, tzinfo=UTC),
    price_source="test",
)
SPOT = replace(OFFER, purchase_option=PurchaseOption.SPOT, interruptions=HALF_A_DAY)
OVERHEAD = Decimal(USUAL["aws"].seconds) / 3600


def total(offer: Offer, terms: Terms = BARE, hours: str = "10", **more: int) -> Money:
    return expected_total(offer, terms, hours=Decimal(hours), **{"disk_gib": 0, "egress_gib": 0, **more})


def test_without_interruptions_it_is_the_machine_with_boot_and_teardown() -> None:
    assert total(OFFER) == OFFER.hourly_price.times(Decimal(10) + OVERHEAD, round_up=True)


def test_this_machine_neither_boots_nor_is_taken_back() -> None:
    assert total(replace(OFFER, provider="local")) == Money.of(8)


def test_everything_beside_the_machine_is_counted_once_over_its_life() -> None:
    terms = USUAL["aws"].terms(PUBLISHED["aws"])
    life = Decimal(10) + OVERHEAD
    assert terms.disk_gib_month is not None
    assert terms.public_address_hour is not None
    assert terms.egress_gib is not None
    nanos = (
        OFFER.hourly_price.nanos * life
        + terms.disk_gib_month.nanos * 100 * life / 730
        + terms.public_address_hour.nanos * life
        + terms.egress_gib.nanos * 7
    )
    found = total(OFFER, terms, disk_gib=100, egress_gib=7)
    assert 0 <= found.nanos - nanos < 1


def test_the_usual_disk_is_taken_when_none_is_asked_for() -> None:
    terms = PUBLISHED["aws"]
    assert total(OFFER, terms) == total(OFFER, terms, disk_gib=terms.disk_gib_default)


def test_the_shortest_billed_time_is_the_least() -> None:
    assert total(replace(OFFER, provider="local"), replace(BARE, seconds_min=3600), "0.01") == Money.of("0.80")


def test_a_checkpoint_makes_interruptions_cheaper_and_more_of_them_dearer() -> None:
    calm = replace(SPOT, interruptions=Band(low=Decimal("0.05"), high=Decimal("0.05"), hours=730))
    assert total(calm) < total(SPOT, checkpoint_seconds=600) < total(SPOT, checkpoint_seconds=7200) < total(SPOT)


def test_an_interrupted_job_takes_what_the_formula_of_rework_says() -> None:
    seconds = expected_seconds(36_000, HALF_A_DAY.per_hour, None, USUAL["aws"].seconds)
    assert abs(total(SPOT).nanos - SPOT.hourly_price.nanos * (seconds / 3600 + OVERHEAD)) < 1


def test_unknown_interruptions_are_not_none() -> None:
    unknown = replace(SPOT, interruptions=None)
    assert total(unknown) == total(replace(SPOT, interruptions=ASSUMED))
    assert total(unknown) > total(OFFER)


def test_a_job_that_practically_never_finishes_costs_the_largest_amount() -> None:
    hopeless = replace(SPOT, interruptions=Band(low=Decimal("0.99"), high=None, hours=1))
    assert total(hopeless, hours="720") == Money(NANOS_MAX)


def test_another_currency_beside_the_machine_is_refused() -> None:
    with pytest.raises(PriceRefused):
        total(replace(OFFER, hourly_price=Money.of(1, "EUR")), PUBLISHED["aws"])


bands = st.none() | st.builds(
    lambda low, more, hours: Band(low=low, high=None if more is None else min(low + more, Decimal(1)), hours=hours),
    st.decimals(0, 1, places=3),
    st.none() | st.decimals(0, 1, places=3),
    st.sampled_from([1, 24, 730]),
)


@settings(max_examples=500, deadline=None)
@given(
    bands,
    st.sampled_from(list(PurchaseOption)),
    st.integers(1, 10**13),
    st.decimals("0.0003", 720, places=4),
    st.none() | st.integers(1, 86_400),
    st.sampled_from(["local", *PUBLISHED]),
)
def test_it_is_never_less_than_the_price_for_the_hours(
    band: Band | None, option: PurchaseOption, nanos: int, hours: Decimal, checkpoint: int | None, provider: str
) -> None:
    """What the catalogue's search relies on to leave offers unlooked at."""
    offer = replace(OFFER, provider=provider, interruptions=band, purchase_option=option, hourly_price=Money(nanos))
    terms = PUBLISHED.get(provider, BARE)
    found = expected_total(offer, terms, hours=hours, disk_gib=0, egress_gib=0, checkpoint_seconds=checkpoint)
    assert found.nanos >= nanos * hours
