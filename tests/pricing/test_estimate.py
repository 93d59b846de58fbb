"""The gate's arithmetic: nothing passes that could cost more than its budget, and nothing is refused that need not be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.errors import BudgetExceeded, EstimateExceedsBudget, PriceRefused, UsageError
from tallygate.money import Money
from tallygate.pricing.estimate import RUN_SECONDS_MAX, Estimate, Policy, estimate, runtime_seconds, within
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.pricing.terms import PUBLISHED, Terms

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = Policy()

BARE = Terms(
    kill_seconds=120,
    has_price_ceiling=True,
    seconds_min=60,
    seconds_step=1,
    token_lasts=True,
    disk_gib_month=None,
    disk_gib_default=0,
    public_address_hour=None,
    egress_gib=None,
    source="a provider that bills machines only",
)


def offer(price: str = "0.80", **changes: Any) -> Offer:
    return Offer(
        **{
            "provider": "aws",
            "region": "us-east-1",
            "zone": None,
            "instance_type": "r5.4xlarge",
            "purchase_option": PurchaseOption.SPOT,
            "vcpus": 16,
            "memory_gib": Decimal(128),
            "hourly_price": Money.of(price),
            "priced_at": NOW,
            "price_source": "a test",
            **changes,
        }
    )


def priced(
    budget: str | None, *, hours: str = "10.0", terms: Terms = PUBLISHED["aws"], price: str = "0.80", **more: Any
) -> Estimate:
    changes = {key: more.pop(key) for key in ("on_demand_price", "purchase_option", "priced_at") if key in more}
    return estimate(
        offer(price, **changes),
        terms,
        hours=Decimal(hours),
        budget=None if budget is None else Money.of(budget),
        policy=POLICY,
        now=NOW,
        **more,
    )


def test_too_dear_an_estimate_is_refused_with_the_documented_three_lines() -> None:
    with pytest.raises(EstimateExceedsBudget) as refusal:
        priced("5.00")
    assert refusal.value.exit_code == 1
    assert refusal.value.message.splitlines() == [
        "Estimated cost $8.0000 exceeds budget $5.00",
        "Instance: r5.4xlarge @ $0.8000/hour for 10.0 hours",
        "Use --estimated-runtime to adjust runtime estimate or increase --budget",
    ]


def test_an_estimate_equal_to_the_budget_passes_and_says_how_much_it_covers() -> None:
    found = priced("8.00")
    assert found.expected == Money.of("8")
    assert found.worst_case <= Money.of("8")
    assert found.coverage == "the budget covers 9 h 49 min of the estimated 10 h"


def test_one_nano_below_the_estimate_is_refused() -> None:
    with pytest.raises(EstimateExceedsBudget):
        priced("7.999999999")


def test_a_budget_that_covers_too_little_is_refused_and_names_the_one_that_would_do() -> None:
    with pytest.raises(BudgetExceeded) as refusal:
        priced("0.055", hours="0.05", price="1.00")
    assert "less than 90%" in refusal.value.message
    needed = refusal.value.cure.split("--budget ")[1].split(" ")[0]
    assert priced(needed, hours="0.05", price="1.00").covers_estimate
    almost = str(Decimal(needed) - Decimal("0.02"))
    assert not isinstance(_try(almost), Estimate) or not _try(almost).covers_estimate  # type: ignore[union-attr]


def _try(budget: str) -> Estimate | BudgetExceeded:
    try:
        return priced(budget, hours="0.05", price="1.00")
    except BudgetExceeded as refusal:
        return refusal


def test_the_ceiling_is_the_on_demand_price_when_the_budget_allows() -> None:
    found = priced("20", on_demand_price=Money.of("1.008"))
    assert found.price_max == Money.of("1.008")
    assert found.run_seconds_max == 15 * 3600  # the margin times the estimate


def test_the_ceiling_is_lowered_when_that_buys_a_longer_deadline() -> None:
    found = priced("13", on_demand_price=Money.of("1.008"))
    assert Money.of("0.80") < found.price_max < Money.of("1.008")
    assert found.run_seconds_max == 15 * 3600


def test_without_a_budget_the_margin_times_the_estimate_is_held_at_the_ceiling() -> None:
    found = priced(None, terms=BARE, on_demand_price=Money.of("1.00"))
    assert found.worst_case == Money.of("1.00").for_seconds(15 * 3600 + 120, round_up=True)


def test_a_longest_runtime_caps_the_deadline() -> None:
    assert priced("20", run_seconds_max=10 * 3600).run_seconds_max == 10 * 3600


def test_a_short_life_is_held_at_the_shortest_billed_time() -> None:
    hourly = Terms(**{**_fields(BARE), "seconds_min": 3600, "kill_seconds": 0})
    assert priced("1", hours="0.1", terms=hourly).worst_case == Money.of("0.80")


def _fields(terms: Terms) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in Terms.__slots__}


def test_a_spot_price_without_ceiling_or_on_demand_price_has_no_bound() -> None:
    with pytest.raises(PriceRefused, match="no bound"):
        priced("20", terms=PUBLISHED["gcp"])


def test_a_spot_price_without_ceiling_is_bounded_by_the_on_demand_price() -> None:
    found = priced("20", terms=PUBLISHED["gcp"], on_demand_price=Money.of("1.20"))
    assert found.price_max == Money.of("1.20")


def test_every_side_charge_is_a_part_and_the_parts_add_up() -> None:
    found = priced("20", disk_gib=100, egress_gib=5)
    assert [part.name for part in found.parts] == ["machine", "disk, 100 GiB", "public address", "egress"]
    assert sum(part.cost.nanos for part in found.parts) == found.worst_case.nanos


@pytest.mark.parametrize("price", ["-1", "0", "2000.01"])
def test_a_price_that_cannot_be_is_refused(price: str) -> None:
    with pytest.raises(PriceRefused):
        priced("20", price=price)


@pytest.mark.parametrize("age", [timedelta(hours=24, seconds=1), timedelta(minutes=-6)])
def test_an_old_or_future_price_is_refused_unless_somebody_answers_for_it(age: timedelta) -> None:
    with pytest.raises(PriceRefused):
        priced("20", priced_at=NOW - age)
    assert priced("20", priced_at=NOW - age, price_accepted=True).expected == Money.of("8")


@pytest.mark.parametrize("hours", ["0", "-1", "NaN", "Infinity", "721"])
def test_a_runtime_that_cannot_be_is_refused(hours: str) -> None:
    with pytest.raises(UsageError):
        priced("20", hours=hours)


def test_a_budget_in_another_currency_is_refused() -> None:
    with pytest.raises(UsageError, match="EUR"):
        estimate(offer(), BARE, hours=Decimal(1), budget=Money.of("20", "EUR"), policy=POLICY, now=NOW)


prices = st.integers(min_value=1, max_value=50 * 10**9)


@given(
    price=prices,
    ceiling_share=st.none() | st.integers(min_value=100, max_value=1000),
    budget=st.integers(min_value=0, max_value=10**13),
    hours=st.decimals(min_value="0.001", max_value="700", places=4),
    provider=st.sampled_from(["aws", "azure", "gcp"]),
    disk=st.integers(min_value=0, max_value=5000),
    longest=st.none() | st.integers(min_value=1, max_value=RUN_SECONDS_MAX),
)
def test_nothing_passes_that_could_cost_more_than_its_budget(
    price: int,
    ceiling_share: int | None,
    budget: int,
    hours: Decimal,
    provider: str,
    disk: int,
    longest: int | None,
) -> None:
    """P * (D + K) + F <= B, P is never below today's price nor above the ceiling, and D cannot be one second longer."""
    terms = PUBLISHED[provider]
    today, limit = Money(price), Money(budget)
    on_demand = None if ceiling_share is None else Money(price * ceiling_share // 100)
    asked = offer(hourly_price=today, on_demand_price=on_demand)
    exceeds = Decimal(price) * hours > budget
    try:
        found = estimate(
            asked, terms, hours=hours, budget=limit, policy=POLICY, now=NOW, disk_gib=disk, run_seconds_max=longest
        )
    except EstimateExceedsBudget:
        assert exceeds
        return
    except BudgetExceeded:
        assert not exceeds
        return
    except PriceRefused:
        assert provider == "gcp"
        assert on_demand is None
        return
    assert not exceeds
    assert found.worst_case <= limit
    assert today <= found.price_max <= (today if on_demand is None else max(on_demand, today))
    life = max(found.run_seconds_max + terms.kill_seconds, terms.seconds_min)
    assert sum(part.cost.nanos for part in found.parts) == found.worst_case.nanos
    assert found.parts[0].cost == found.price_max.for_seconds(life, round_up=True)
    wanted = min(runtime_seconds(hours * POLICY.runtime_margin), RUN_SECONDS_MAX) if longest is None else longest
    assert found.run_seconds_max <= wanted
    if found.run_seconds_max < wanted:
        longer = estimate(
            asked, terms, hours=hours, budget=None, policy=POLICY, now=NOW, disk_gib=disk,
            run_seconds_max=found.run_seconds_max + 1,
        )  # fmt: skip
        at_today = found.price_max if not terms.has_price_ceiling else today
        slack = longer.parts[0].cost - at_today.for_seconds(life + 1, round_up=True)
        assert (longer.worst_case - slack) > limit


@given(
    price=prices, held=st.integers(min_value=0, max_value=10**12), longest=st.integers(min_value=10, max_value=10**6)
)
def test_a_further_attempt_lives_on_what_the_hold_still_keeps(price: int, held: int, longest: int) -> None:
    try:
        found = within(offer(hourly_price=Money(price)), BARE, budget=Money(held), run_seconds_max=longest)
    except BudgetExceeded:
        return
    assert found.worst_case <= Money(held)
    assert 10 <= found.run_seconds_max <= longest
