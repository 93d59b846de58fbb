"""The pretend market as a source of prices: its sheets and its history say what the market says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tallygate.errors import Unavailable
from tallygate.pricing import guard
from tallygate.pricing.offers import PurchaseOption
from tallygate.pricing.source import HistorySource, PriceSource
from tallygate.simcloud.dialects import DIALECTS
from tallygate.simcloud.market import Climate, Market
from tallygate.simcloud.prices import SimPrices
from tallygate.simcloud.timeline import DAY, Timeline, microseconds


def source_of(dialect: str) -> tuple[Timeline, Market, SimPrices]:
    timeline = Timeline(5)
    market = Market(timeline, Climate(jump=200_000))
    return timeline, market, SimPrices(market, timeline, dialect)


def test_sheets_together_are_what_the_market_offers(dialect: str) -> None:
    _, market, source = source_of(dialect)
    priced: PriceSource = source
    sheets = [priced.read(region) for region in priced.regions()]
    assert [sheet.region for sheet in sheets] == [region for region, _, _ in DIALECTS[dialect].regions]
    assert [offer for sheet in sheets for offer in sheet.offers] == list(market.offers(dialect, name=f"sim-{dialect}"))


def test_every_offer_of_the_pretend_market_is_fit_whatever_the_weather(dialect: str) -> None:
    timeline, _, source = source_of(dialect)
    for _ in range(30):
        timeline.advance(DAY // 1_000_000)
        for region in source.regions():
            sheet = source.read(region)
            assert guard.inspect(sheet, now=timeline.clock.now()) == sheet


def test_history_has_every_step_of_every_pool_since_then(dialect: str) -> None:
    timeline, market, source = source_of(dialect)
    timeline.advance(20 * 24 * 3600)
    since = timeline.clock.now() - timedelta(days=10)
    teller: HistorySource = source
    region = source.regions()[0]
    told: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for each in teller.history(region, since=since):
        assert (each.provider, each.region, each.purchase_option) == (source.provider, region, PurchaseOption.SPOT)
        told.setdefault((each.zone or "", each.instance_type), []).append(
            (microseconds(each.at), each.hourly_price.nanos)
        )
    pools = [pool for pool in market.pools(dialect) if pool.region == region]
    assert len(told) == len(pools)
    for pool in pools:
        path = [(start, nanos) for start, _, nanos in pool.steps(microseconds(since), timeline.now)]
        assert told[pool.zone, pool.hardware.instance_type] == path


def test_it_can_be_read_from_several_threads(dialect: str) -> None:
    _, _, source = source_of(dialect)
    _, _, alone = source_of(dialect)
    regions = [*source.regions()] * 8
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(source.read, regions)) == [alone.read(region) for region in regions]


def test_a_region_that_is_not_there_is_refused_by_name() -> None:
    _, _, source = source_of("aws")
    with pytest.raises(Unavailable, match="mars-1"):
        source.read("mars-1")
