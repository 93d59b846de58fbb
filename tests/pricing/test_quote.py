"""Quotes: parts that add up, figures in order, nothing above the worst case, and what each rests on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest

from tallygate.money import NANOS_MAX, Money, total
from tallygate.pricing.estimate import Estimate, Policy, estimate
from tallygate.pricing.finish import ASSUMED, expected_total, usual
from tallygate.pricing.interruptions import Band
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.pricing.paths import ObservedPrices, StandingPrice, coming, days, passes_per_hour
from tallygate.pricing.quote import Circumstances, quote
from tallygate.pricing.rework import expected_seconds
from tallygate.pricing.runtimes import Runtimes
from tallygate.pricing.terms import PUBLISHED

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AWS = PUBLISHED["aws"]
HOURLY = Band(low=Decimal("0.10"), high=Decimal("0.15"), hours=1)
NEVER = Band(low=Decimal(0), high=Decimal(0), hours=730)
MONTHLY = Band(low=Decimal(0), high=Decimal("0.05"), hours=730)


def offer(
    price: str = "0.40",
    *,
    option: PurchaseOption = PurchaseOption.SPOT,
    band: Band | None = NEVER,
    on_demand: str | None = "1.00",
) -> Offer:
    return Offer(
        provider="aws",
        region="us-east-1",
        zone="us-east-1a",
        instance_type="r5.4xlarge",
        purchase_option=option,
        vcpus=16,
        memory_gib=Decimal(128),
        hourly_price=Money.of(price),
        on_demand_price=None if on_demand is None else Money.of(on_demand),
        priced_at=NOW,
        price_source="a test",
        interruptions=band,
    )


def bounded(found: Offer, *, hours: str = "3", budget: str | None = None, egress_gib: int = 0) -> Estimate:
    return estimate(
        found,
        AWS,
        hours=Decimal(hours),
        budget=None if budget is None else Money.of(budget),
        policy=Policy(),
        now=NOW,
        egress_gib=egress_gib,
    )


def stated(seconds: int = 10_800) -> Runtimes:
    return Runtimes.stated(seconds, "3 h, as stated")


def seen(*seconds: int) -> Runtimes:
    return Runtimes(tuple(sorted(seconds)), f"{len(seconds)} finished runs", True)


def path(*prices: str, hours: int = 6) -> ObservedPrices:
    """A past in which the price moved every so many hours, up to now."""
    start = NOW - timedelta(hours=hours * len(prices))
    steps = [(start + timedelta(hours=hours * i), Money.of(price)) for i, price in enumerate(prices)]
    return ObservedPrices(steps, until=NOW)


# --- a quote


def test_a_single_number_at_a_standing_price_is_a_single_cost_item_by_item() -> None:
    found = quote(bounded(offer(), egress_gib=10), AWS, Circumstances(runtimes=stated(), egress_gib=10))
    life = 10_800 + usual("aws").seconds
    assert [(part.name, part.cost) for part in found.parts] == [
        ("machine at work", Money.of("1.20")),
        ("boot and teardown", Money.of("0.40").for_seconds(50, round_up=True)),
        ("disk, 30 GiB", Money.of("0.088").times(Decimal(30) / 730, round_up=True).for_seconds(life, round_up=True)),
        ("public address", Money.of("0.005").for_seconds(life, round_up=True)),
        ("egress", Money.of("0.90")),
    ]
    assert found.expected == total(part.cost for part in found.parts)
    assert found.low == found.p50 == found.p90 == found.high
    assert abs(found.p50.nanos - found.expected.nanos) < 10
    assert (found.runs, found.in_time) == (0, 1)
    assert found.basis == (
        "run time: 3 h, as stated; from one number nothing is known of how far it may be off",
        "price: today's alone; without a history nothing is known of how it moves",
        "interruptions: 0% a month of such machines are taken back, reckoned at the upper end;"
        " nothing saved, so an interrupted job begins again",
        "boot 30 s and teardown 20 s: assumed: about what such machines take; nothing was measured",
    )


@pytest.mark.parametrize(
    ("runtimes", "prices", "band", "checkpoint", "budget"),
    [
        *product(
            (stated(), seen(9_000, 10_800, 14_000), seen(*range(6_000, 12_000, 200))),
            (None, path("0.40", "0.20", "0.45", "0.90", "0.40")),
            (None, MONTHLY, HOURLY),
            (None, 600),
            (None, "1.60"),
        )
    ],
)
def test_figures_stand_in_order_and_never_above_the_worst_case(
    runtimes: Runtimes, prices: ObservedPrices | None, band: Band | None, checkpoint: int | None, budget: str | None
) -> None:
    known = Circumstances(runtimes=runtimes, prices=prices, checkpoint_seconds=checkpoint)
    limited = bounded(offer(band=band), budget=budget)
    found = quote(limited, AWS, known)
    assert found.low <= found.p50 <= found.p90 <= found.high <= found.worst_case == limited.worst_case
    assert found.low.nanos > 0
    assert found.expected <= found.worst_case
    assert found.expected <= total(part.cost for part in found.parts)
    assert 0 <= found.in_time <= 1
    assert found == quote(limited, AWS, known)


def test_expected_rework_is_the_formulas() -> None:
    found = quote(bounded(offer(band=HOURLY)), AWS, Circumstances(runtimes=stated(), checkpoint_seconds=1_800))
    (rework,) = [part for part in found.parts if part.name == "rework after interruptions"]
    again = expected_seconds(10_800, HOURLY.per_hour, 1_800, usual("aws").seconds) - 10_800
    assert rework.cost == Money.of("0.40").times(again / 3600, round_up=True)
    assert "10-15% an hour of such machines are taken back, reckoned at the upper end; work saved every 30 min" in str(
        found.basis
    )


def test_an_unknown_rate_of_interruptions_is_not_none() -> None:
    found = quote(bounded(offer(band=None)), AWS, Circumstances(runtimes=stated()))
    assert found.interruptions_per_hour == ASSUMED.per_hour > 0
    assert found.expected > quote(bounded(offer(band=NEVER)), AWS, Circumstances(runtimes=stated())).expected
    assert found.basis[2] == (
        "interruptions: not published for such machines; 5-15% a day are assumed to be taken back;"
        " nothing saved, so an interrupted job begins again"
    )


def test_a_hopeless_job_costs_the_largest_amount_there_is() -> None:
    nervous = offer(band=Band(low=Decimal("0.9"), high=Decimal("0.99"), hours=1))
    assert expected_total(nervous, AWS, hours=Decimal(700), disk_gib=0, egress_gib=0) == Money(NANOS_MAX)


def test_what_is_ranked_by_is_what_a_standing_quote_expects() -> None:
    for band, checkpoint in product((None, NEVER, MONTHLY, HOURLY), (None, 900)):
        ranked = expected_total(
            offer(band=band), AWS, hours=Decimal(3), disk_gib=50, egress_gib=2, checkpoint_seconds=checkpoint
        )
        known = Circumstances(runtimes=stated(), checkpoint_seconds=checkpoint, disk_gib=50, egress_gib=2)
        quoted = quote(bounded(offer(band=band)), AWS, known)
        assert float(ranked.decimal) == pytest.approx(float(quoted.expected.decimal), rel=1e-3)
        assert ranked >= Money.of("1.20")


def test_a_machine_on_demand_is_not_taken_back_and_its_price_stands() -> None:
    found = quote(
        bounded(offer("1.00", option=PurchaseOption.ON_DEMAND, band=HOURLY)), AWS, Circumstances(runtimes=stated())
    )
    assert found.interruptions_per_hour == 0
    assert found.low == found.high
    assert found.on_demand is None
    assert "not taken back" in found.basis[1]


def test_the_same_machine_on_demand_is_told_when_its_price_is_known() -> None:
    found = quote(bounded(offer()), AWS, Circumstances(runtimes=stated())).on_demand
    assert found is not None
    assert Money.of("3.00") < found < Money.of("3.10")
    assert quote(bounded(offer(on_demand=None)), AWS, Circumstances(runtimes=stated())).on_demand is None


def test_a_run_that_may_outlast_its_machine_says_in_how_many_cases() -> None:
    runs = seen(*range(3_600, 18_000, 144))
    found = quote(bounded(offer(), hours="2"), AWS, Circumstances(runtimes=runs))
    assert Decimal("0.45") < found.in_time < Decimal("0.55")


def test_a_day_without_saving_on_machines_that_go_every_few_hours_is_bounded_by_the_hold() -> None:
    limited = bounded(offer(band=Band(low=Decimal("0.5"), high=Decimal("0.6"), hours=1)), hours="24")
    found = quote(limited, AWS, Circumstances(runtimes=stated(86_400)))
    assert found.p90 == found.worst_case
    assert found.in_time < Decimal("0.1")


# --- prices


def test_the_average_of_a_path_is_that_of_its_steps_capped_at_the_ceiling() -> None:
    steps = path("0.10", "0.30", "0.20", hours=1)
    start = NOW - timedelta(hours=3)
    most = Money.of(9)
    assert steps.average(start, 7200, at_most=most) == Money.of("0.20")
    assert steps.average(start + timedelta(minutes=30), 3600, at_most=most) == Money.of("0.20")
    assert steps.average(start, 7200, at_most=Money.of("0.20")) == Money.of("0.15")
    assert steps.average(NOW - timedelta(minutes=30), 10**6, at_most=most) == Money.of("0.20")
    assert (steps.price_at(start + timedelta(hours=1)), steps.passes(Money.of("0.20"))) == (Money.of("0.30"), 1)
    assert passes_per_hour(steps, Money.of("0.20")) == Decimal(1) / 3
    assert days(steps) == Decimal("0.1")


def test_a_price_without_a_past_is_taken_to_stand() -> None:
    today = Money.of("0.40")
    for known in (StandingPrice(today, NOW), ObservedPrices([(NOW, today)], until=NOW)):
        assert coming(known, today, 7200, at_most=Money.of(1)).values == (today.nanos,)
        assert coming(known, today, 7200, at_most=Money.of("0.30")).values == (Money.of("0.30").nanos,)


def test_what_followed_a_price_like_todays_counts_most() -> None:
    """The price doubled whenever it stood at 0.20, and halved whenever it stood at 0.40."""
    past = path(*["0.20", "0.40"] * 20, hours=4)
    low = coming(past, Money.of("0.20"), 8 * 3600, at_most=Money.of(9)).mean
    high = coming(past, Money.of("0.40"), 8 * 3600, at_most=Money.of(9)).mean
    assert Money.of("0.27").nanos < low < Money.of("0.34").nanos
    assert Money.of("0.27").nanos < high < Money.of("0.34").nanos


def test_a_path_needs_a_step_and_an_end_after_it() -> None:
    with pytest.raises(ValueError, match="needs a step"):
        ObservedPrices([], until=NOW)
    with pytest.raises(ValueError, match="needs a step"):
        ObservedPrices([(NOW, Money.of(1))], until=NOW - timedelta(seconds=1))


def test_prices_that_passed_the_ceiling_count_as_interruptions() -> None:
    past = path("0.40", "1.20", "0.40", "0.40", hours=6)
    found = quote(bounded(offer()), AWS, Circumstances(runtimes=stated(), prices=past))
    assert found.interruptions_per_hour == Decimal(1) / 24
    assert "as often as the price passed the ceiling" in str(found.basis)
