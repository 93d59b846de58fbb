"""The catalogue and this machine searched as one, and what to relax when nothing fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from tallygate.money import Money
from tallygate.pricing.catalog import Cost, Part, Per, Version
from tallygate.pricing.market import Market, budget_ceiling
from tallygate.pricing.offers import Offer, PurchaseOption, ResourceRequest, matches, rank
from tests.store.offers import NOW, OFFER, offers, other, requests


class ListedCatalog:
    """The protocol over a list in memory."""

    def __init__(self, found: list[Offer]) -> None:
        self.found = found

    @property
    def version(self) -> Version:
        return Version(id="0" * 16, made_at=NOW, offers=len(self.found))

    def parts(self) -> Sequence[Part]:
        return ()

    def cheapest(self, request: ResourceRequest, *, limit: int, per: Per = Per.HOUR) -> list[Offer]:
        return sorted(rank(self.found, request), key=lambda offer: share(offer, per))[:limit]

    def cheapest_to_finish(self, request: ResourceRequest, cost: Cost, *, hours: Decimal, limit: int) -> list[Offer]:
        return sorted(rank(self.found, request), key=lambda offer: cost(offer).nanos)[:limit]

    def close(self) -> None:
        pass


def share(offer: Offer, per: Per) -> Fraction:
    return Fraction(offer.hourly_price.nanos) / Fraction(
        {Per.HOUR: 1, Per.VCPU: offer.vcpus, Per.GIB: offer.memory_gib}[per]
    )


def market(found: list[Offer], own: list[Offer] | None = None) -> Market:
    return Market(ListedCatalog(found), lambda request: own or [])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(offers(), max_size=12),
    st.lists(offers(), max_size=4),
    requests(),
    st.integers(0, 16),
    st.sampled_from(list(Per)),
)
def test_both_are_ranked_as_one(
    found: list[Offer], own: list[Offer], request: ResourceRequest, limit: int, per: Per
) -> None:
    everything = rank([*own, *found], request)
    answer = market(found, own).cheapest(request, limit=limit, per=per)
    assert [share(offer, per) for offer in answer] == [
        share(offer, per) for offer in sorted(everything, key=lambda offer: share(offer, per))[:limit]
    ]
    totals = market(found, own).cheapest_to_finish(request, lambda o: o.hourly_price, hours=Decimal(1), limit=limit)
    assert [offer.hourly_price for offer in totals] == [offer.hourly_price for offer in everything[:limit]]


@settings(max_examples=300, deadline=None)
@given(st.lists(offers(), max_size=12), requests())
def test_relaxing_a_bound_to_the_value_told_lets_the_offer_in_and_nothing_nearer_would(
    found: list[Offer], request: ResourceRequest
) -> None:
    if rank(found, request):
        return
    fields = {"gpu_model", "architecture", "provider", "region", "instance_type", "hourly_price_max"}
    for told in market(found).relaxations(request):
        value = frozenset({told.value}) if told.bound == "purchase_options" else told.value
        assert matches(told.offer, replace(request, **{told.bound: value}))
        # Everything that this bound alone keeps out is at least as far away.
        loosest = {
            "vcpus_min": 1,
            "memory_gib_min": Decimal(0),
            "gpus_min": 0,
            "purchase_options": frozenset(PurchaseOption),
        }
        without = rank(found, replace(request, **{told.bound: loosest.get(told.bound)}))
        if told.bound in fields or told.bound == "purchase_options":
            assert told.offer == without[0]
            continue
        name = {"vcpus": "vcpus", "memory": "memory_gib", "gpus": "gpus"}[told.bound.split("_")[0]]
        values = [getattr(offer, name) for offer in without]
        nearest = max(values) if told.bound.endswith("_min") else min(values)
        assert told.value == nearest
        assert told.offer == next(offer for offer in without if getattr(offer, name) == nearest)


def test_more_memory_is_the_most_within_a_fifth_of_the_best_price_per_core() -> None:
    best = other(vcpus=10, memory_gib=Decimal(20), hourly_price=Money.of(1))
    little = replace(best, memory_gib=Decimal(30), hourly_price=Money.of("1.1"))
    exactly = replace(best, memory_gib=Decimal(40), hourly_price=Money.of("1.2"))
    beyond = replace(best, memory_gib=Decimal(80), hourly_price=Money(1_200_000_001))
    assert market([best, little, exactly, beyond]).more_memory(ResourceRequest(), best) == exactly
    assert market([best, beyond]).more_memory(ResourceRequest(), best) is None
    bounded = ResourceRequest(memory_gib_max=Decimal(30))
    assert market([best, little, exactly]).more_memory(bounded, best) == little


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**13), st.decimals("0.0003", 720, places=4), st.integers(1, 10**12))
def test_a_budget_pays_for_exactly_the_prices_up_to_its_ceiling(budget: int, hours: Decimal, price: int) -> None:
    ceiling = budget_ceiling(Money(budget), hours)
    assert (Money(price) <= ceiling) == (price * hours <= budget)


def test_this_machine_in_another_currency_is_not_compared() -> None:
    own = replace(OFFER, provider="local", hourly_price=Money.of(1, "EUR"))
    request = ResourceRequest(hourly_price_max=Money.of(1))
    assert market([OFFER], [own]).cheapest(request, limit=5) == [OFFER]
