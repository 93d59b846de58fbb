"""Price paths and capacity."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tallygate.pricing.offers import PurchaseOption
from tallygate.simcloud.dialects import DIALECTS
from tallygate.simcloud.market import CALM, Climate, Market, Pool
from tallygate.simcloud.timeline import DAY, HOUR, SECOND, Timeline

WILD = Climate(jump=500_000, empty=800_000)


def first_pool(dialect: str, seed: int = 1, climate: Climate = WILD) -> tuple[Timeline, Pool]:
    timeline = Timeline(seed)
    return timeline, next(Market(timeline, climate).pools(dialect))


def test_a_path_is_the_same_whatever_is_asked_first(dialect: str) -> None:
    timeline, one = first_pool(dialect)
    _, other = first_pool(dialect)
    hours = [timeline.start + hour * HOUR for hour in range(24 * 30)]
    backwards = [one.price_at(at) for at in reversed(hours)]
    assert list(reversed(backwards)) == [other.price_at(at) for at in hours]


def test_pools_do_not_move_together() -> None:
    timeline = Timeline(1)
    later = timeline.start + 30 * DAY
    prices = [pool.price_at(later) / pool.on_demand for pool in Market(timeline, WILD).pools("aws")]
    assert len(set(prices)) > len(prices) // 2


def test_steps_cover_a_span_without_gap_or_overlap_and_agree_with_the_price(dialect: str) -> None:
    timeline, pool = first_pool(dialect)
    start, end = timeline.start + 12345 * SECOND, timeline.start + 20 * DAY + 7
    steps = list(pool.steps(start, end))
    assert steps[0][0] == start
    assert steps[-1][1] == end
    assert all(before[1] == after[0] for before, after in pairwise(steps))
    for since, upto, nanos in steps:
        assert since < upto
        assert pool.price_at(since) == pool.price_at(upto - 1) == nanos


def test_prices_are_always_above_zero_and_without_a_ceiling_never_above_on_demand(dialect: str) -> None:
    for seed in range(20):
        timeline, pool = first_pool(dialect, seed)
        highest = max(nanos for _, _, nanos in pool.steps(timeline.start, timeline.start + 90 * DAY))
        lowest = min(nanos for _, _, nanos in pool.steps(timeline.start, timeline.start + 90 * DAY))
        assert lowest > 0
        if not DIALECTS[dialect].terms.has_price_ceiling:
            assert highest <= pool.on_demand


def test_prices_jump_tenfold_and_above_on_demand_where_a_ceiling_protects() -> None:
    jumps, above = 0, 0
    for seed in range(20):
        timeline, pool = first_pool("aws", seed)
        path = [nanos for _, _, nanos in pool.steps(timeline.start, timeline.start + 60 * DAY)]
        jumps += sum(after > 3 * before for before, after in pairwise(path))
        above += any(nanos > pool.on_demand for nanos in path)
    assert jumps > 20
    assert above > 5


def test_what_jumped_comes_back() -> None:
    timeline, pool = first_pool("aws", climate=Climate(jump=0))
    usual = pool.price_at(timeline.start)
    pool.set_price(timeline.start + HOUR, usual * 2)
    assert pool.price_at(timeline.start + HOUR) == usual * 2
    assert pool.price_at(timeline.start + 20 * DAY) < usual * 3 // 2


def test_google_prices_move_once_a_day_at_midnight_in_california() -> None:
    timeline, pool = first_pool("gcp")
    for since, _, _ in list(pool.steps(timeline.start, timeline.start + 30 * DAY))[1:]:
        assert since % DAY == 8 * HOUR


def test_the_first_passing_of_a_ceiling_is_found(dialect: str) -> None:
    timeline, pool = first_pool(dialect)
    start, end = timeline.start, timeline.start + 60 * DAY
    path = list(pool.steps(start, end))
    ceiling = max(nanos for _, _, nanos in path) - 1
    expected = next((since for since, _, nanos in path if nanos > ceiling), None)
    assert expected is not None
    assert pool.first_above(ceiling, start, end) == expected
    assert pool.first_above(10**12, start, end) is None


def test_a_price_at_the_ceiling_has_not_passed_it(dialect: str) -> None:
    timeline, pool = first_pool(dialect, climate=CALM)
    price = pool.price_at(timeline.start)
    assert pool.first_above(price, timeline.start, timeline.start + DAY) is None
    assert pool.first_above(price - 1, timeline.start, timeline.start + DAY) == timeline.start


def test_a_calm_market_stands_still(dialect: str) -> None:
    timeline, pool = first_pool(dialect, climate=CALM)
    assert len({nanos for _, _, nanos in pool.steps(timeline.start, timeline.start + 60 * DAY)}) == 1
    assert pool.first_empty(timeline.start, timeline.start + 60 * DAY) is None


def test_pools_run_dry_for_a_while_and_fill_again() -> None:
    timeline, pool = first_pool("aws")
    empty = [pool.empty_at(timeline.start + minute * 60 * SECOND) for minute in range(14 * 24 * 60)]
    turns = sum(before != after for before, after in pairwise(empty))
    assert turns > 10
    assert 0.01 < sum(empty) / len(empty) < 0.5
    dry = pool.first_empty(timeline.start, timeline.start + 14 * DAY)
    assert dry is not None
    assert pool.empty_at(dry)
    assert not pool.empty_at(dry - 1)


def test_everything_for_sale_has_a_price_a_place_and_a_moment(dialect: str) -> None:
    timeline = Timeline(1)
    offers = list(Market(timeline).offers(dialect, name=f"sim-{dialect}"))
    keys = [(offer.zone, offer.instance_type, offer.purchase_option) for offer in offers]
    assert len(set(keys)) == len(keys) > 10
    for offer in offers:
        assert offer.provider == f"sim-{dialect}"
        assert offer.hourly_price.nanos > 0
        assert offer.on_demand_price is not None
        assert offer.priced_at == timeline.instant()
        if offer.purchase_option is PurchaseOption.ON_DEMAND:
            assert offer.hourly_price == offer.on_demand_price


@pytest.mark.parametrize("place", [("aws", "mars-1a", "c7g.large"), ("aws", "us-east-1a", "c7g.mega")])
def test_what_is_not_on_the_price_list_is_not_for_sale(place: tuple[str, str, str]) -> None:
    assert Market(Timeline(1)).pool(*place) is None


def test_a_price_ceiling_is_sent_rounded_down_to_what_the_clouds_field_can_carry() -> None:
    assert DIALECTS["azure"].shown_price(123_456_789) == 123_450_000
    assert DIALECTS["aws"].shown_price(123_456_789) == 123_456_000
