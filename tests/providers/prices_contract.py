"""What every source of prices promises, whichever cloud's it is.

A test module inherits ``PriceSourceContract`` and gives two fixtures: ``market``, a small known market behind a wire-level
fake of the cloud, and ``source``, the real adapter with its real SDK talking to that fake. A source that tells past prices
inherits ``HistorySourceContract`` as well.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, Protocol

import pytest

from tallygate.errors import ProviderError, Unavailable, UsageError
from tallygate.money import Money
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.pricing.source import HistorySource, Observation, PriceSource, Sheet

READ_SECONDS_MAX = 60
"""No read may take longer, whatever happens on the other side."""

REQUESTS_MAX = 2_000
"""No read of the small market may ask more often, however long the chain of pages is."""

Key = tuple[str, str | None, PurchaseOption]
"""Instance type, zone, purchase option: what has one price in a region."""


class Shape(NamedTuple):
    """What the market says a machine is."""

    vcpus: int
    memory_gib: Decimal
    architecture: str | None = None
    gpus: int = 0
    gpu_model: str | None = None


class Market(Protocol):
    """A known market of at least two types and, where the cloud has zones, two zones with different prices.

    Its longest chain of answers has at least three pages. The knobs below act until ``heal``.
    """

    provider: str
    region: str
    requests: int
    """How many requests have reached it."""
    secrets: Sequence[str]
    """Texts of the credentials in use; empty for a service that asks for none."""

    def prices(self) -> Mapping[Key, Money]:
        """Every price that a whole sheet of ``region`` must carry, and no other."""
        ...

    def shapes(self) -> Mapping[str, Shape]:
        """Every type that ``prices`` names."""
        ...

    def break_page(self, number: int) -> None:
        """Page ``number`` of the longest chain, counted from 1, answers a server error however often it is asked for."""
        ...

    def throttle(self, times: int) -> None:
        """The next ``times`` answers are the service's own way to say: too many requests."""
        ...

    def answer_html(self) -> None:
        """Every answer is status 200 with a page of HTML, as from a proxy or a portal."""
        ...

    def endless(self) -> None:
        """Every page of the longest chain points to a further one."""
        ...

    def empty(self) -> None:
        """Every answer is well formed and has no rows."""
        ...

    def poison(self, price: str) -> set[Key]:
        """Write ``price`` on the wire where the price of one row was; the keys that no longer have a usable price."""
        ...

    def heal(self) -> None:
        """Undo every knob, a poisoned price included."""
        ...


def key_of(offer: Offer) -> Key:
    return (offer.instance_type, offer.zone, offer.purchase_option)


def prices_of(sheet: Sheet) -> dict[Key, Money]:
    return {key_of(offer): offer.hourly_price for offer in sheet.offers}


@contextmanager
def refuses_whole(market: Market, *kinds: type[ProviderError]) -> Iterator[None]:
    """What happens inside raises, soon, naming the region, and tells no secret."""
    asked, started = market.requests, time.monotonic()
    with pytest.raises(kinds or Unavailable) as caught:
        yield
    assert time.monotonic() - started < READ_SECONDS_MAX
    assert market.requests - asked < REQUESTS_MAX
    told = f"{caught.value} {caught.value.message} {caught.value.cure} {caught.value!r}"
    assert market.region in told
    assert [secret for secret in market.secrets if secret in told] == []


def sheet_or_none(source: PriceSource, market: Market) -> Sheet | None:
    """The region's sheet; None when it was refused by name."""
    try:
        return source.read(market.region)
    except Unavailable as error:
        if market.region not in str(error):
            raise
        return None


class PriceSourceContract:
    """Promises of a source of prices. Inherit and give ``source`` and ``market``."""

    @pytest.fixture
    def market(self) -> Market:
        raise AssertionError("the test class gives the market")

    @pytest.fixture
    def source(self, market: Market) -> PriceSource:
        raise AssertionError("the test class gives the source")

    # --- what a sheet says

    def test_making_a_source_asks_nobody(self, source: PriceSource, market: Market) -> None:
        assert market.requests == 0
        assert source.provider == market.provider

    def test_regions_come_in_order_and_once(self, source: PriceSource, market: Market) -> None:
        regions = list(source.regions())
        assert market.region in regions
        assert regions == sorted(set(regions))

    def test_prices_equal_the_market_to_the_nano(self, source: PriceSource, market: Market) -> None:
        assert prices_of(source.read(market.region)) == dict(market.prices())

    def test_nothing_is_sold_twice(self, source: PriceSource, market: Market) -> None:
        keys = [key_of(offer) for offer in source.read(market.region).offers]
        assert len(keys) == len(set(keys)) > 0

    def test_both_purchase_options_are_told(self, source: PriceSource, market: Market) -> None:
        assert {offer.purchase_option for offer in source.read(market.region).offers} == set(PurchaseOption)

    def test_zones_are_kept(self, source: PriceSource, market: Market) -> None:
        """The cheapest zone is only worth knowing when the launch can name it."""
        found = {offer.zone for offer in source.read(market.region).offers}
        assert found == {zone for _, zone, _ in market.prices()}

    def test_machines_are_described_as_the_market_describes_them(self, source: PriceSource, market: Market) -> None:
        shapes = market.shapes()
        for offer in source.read(market.region).offers:
            found = Shape(offer.vcpus, offer.memory_gib, offer.architecture, offer.gpus, offer.gpu_model)
            assert found == shapes[offer.instance_type], offer

    def test_a_spot_offer_carries_the_price_without_spot(self, source: PriceSource, market: Market) -> None:
        known = market.prices()
        compared = 0
        for offer in source.read(market.region).offers:
            if offer.purchase_option is PurchaseOption.SPOT:
                name = offer.instance_type
                everywhere = known.get((name, None, PurchaseOption.ON_DEMAND))
                wanted = known.get((name, offer.zone, PurchaseOption.ON_DEMAND), everywhere)
                assert offer.on_demand_price == wanted
                compared += wanted is not None
        assert compared

    def test_every_offer_says_where_and_when_it_was_read(self, source: PriceSource, market: Market) -> None:
        sheet = source.read(market.region)
        assert (sheet.provider, sheet.region) == (market.provider, market.region)
        assert sheet.source
        assert sheet.read_at.utcoffset() == timedelta(0)
        for offer in sheet.offers:
            assert (offer.provider, offer.region) == (market.provider, market.region)
            assert offer.price_source
            assert offer.priced_at.utcoffset() == timedelta(0)
            assert offer.priced_at <= sheet.read_at
            assert not offer.is_reference

    def test_reading_twice_tells_the_same(self, source: PriceSource, market: Market) -> None:
        first, second = source.read(market.region), source.read(market.region)
        assert sorted(first.offers, key=repr) == sorted(second.offers, key=repr)
        assert first.refused == second.refused

    def test_threads_read_side_by_side(self, source: PriceSource, market: Market) -> None:
        with ThreadPoolExecutor(4) as pool:
            sheets = list(pool.map(source.read, [market.region] * 4))
        assert all(prices_of(sheet) == dict(market.prices()) for sheet in sheets)

    def test_a_region_that_is_not_there_has_no_sheet(self, source: PriceSource, market: Market) -> None:
        with pytest.raises((Unavailable, UsageError)) as caught:
            source.read("nowhere-north-9")
        assert "nowhere-north-9" in str(caught.value)

    # --- whole or nothing

    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_a_page_that_cannot_be_read_leaves_no_sheet(self, source: PriceSource, market: Market, number: int) -> None:
        market.break_page(number)
        with refuses_whole(market):
            source.read(market.region)
        market.heal()
        assert prices_of(source.read(market.region)) == dict(market.prices())

    def test_being_asked_to_slow_down_only_delays(self, source: PriceSource, market: Market) -> None:
        market.throttle(2)
        assert prices_of(source.read(market.region)) == dict(market.prices())

    def test_being_turned_away_for_good_leaves_no_sheet(self, source: PriceSource, market: Market) -> None:
        market.throttle(1_000_000)
        with refuses_whole(market):
            source.read(market.region)

    def test_html_is_no_answer(self, source: PriceSource, market: Market) -> None:
        market.answer_html()
        with refuses_whole(market):
            source.read(market.region)

    def test_an_endless_chain_of_pages_is_given_up(self, source: PriceSource, market: Market) -> None:
        market.endless()
        with refuses_whole(market):
            source.read(market.region)

    def test_a_market_without_rows_is_no_market(self, source: PriceSource, market: Market) -> None:
        market.empty()
        with refuses_whole(market):
            source.read(market.region)

    # --- unknown is not zero

    @pytest.mark.parametrize("price", ["0", "0.000000", "-0.01", "NaN", "Infinity", "", "abc", "0,05"])
    def test_a_row_without_a_usable_price_is_counted_and_not_sold(
        self, source: PriceSource, market: Market, price: str
    ) -> None:
        """Either the whole sheet is refused, or the row is; never is it free, and never does it spoil another row."""
        lost = market.poison(price)
        assert lost
        sheet = sheet_or_none(source, market)
        if sheet is not None:
            assert prices_of(sheet) == {key: paid for key, paid in market.prices().items() if key not in lost}
            assert sum(sheet.refused.values()) >= 1
            assert all(reason and count > 0 for reason, count in sheet.refused.items())
            assert all(offer.on_demand_price is None or offer.on_demand_price.nanos > 0 for offer in sheet.offers)

    def test_an_untouched_market_has_nothing_refused(self, source: PriceSource, market: Market) -> None:
        assert sum(source.read(market.region).refused.values()) == 0

    # --- secrets

    def test_no_sheet_tells_a_secret(self, source: PriceSource, market: Market) -> None:
        told = repr(source.read(market.region)) + repr(source)
        assert [secret for secret in market.secrets if secret in told] == []


class PastMarket(Market, Protocol):
    """A market that also remembers."""

    def changes(self, since: datetime) -> Sequence[Observation]:
        """Every change since then and, for each pool, the one in force at that moment."""
        ...


class HistorySourceContract:
    """Promises of a source that also tells past prices. Inherit and give ``source`` and ``market``."""

    SINCE = datetime(2026, 1, 1, tzinfo=UTC)
    """From when on the market's changes are asked for; a test class may name another moment."""

    def test_every_change_is_told_once(self, source: HistorySource, market: PastMarket) -> None:
        found = list(source.history(market.region, since=self.SINCE))
        assert sorted(found, key=repr) == sorted(market.changes(self.SINCE), key=repr)
        assert len(found) > 1

    def test_a_history_with_a_page_missing_is_no_history(self, source: HistorySource, market: PastMarket) -> None:
        market.break_page(2)
        with refuses_whole(market):
            list(source.history(market.region, since=self.SINCE))

    def test_an_endless_history_is_given_up(self, source: HistorySource, market: PastMarket) -> None:
        market.endless()
        with refuses_whole(market):
            list(source.history(market.region, since=self.SINCE))

    def test_a_past_price_that_is_none_is_not_told(self, source: HistorySource, market: PastMarket) -> None:
        market.poison("0")
        assert all(seen.hourly_price.nanos > 0 for seen in source.history(market.region, since=self.SINCE))
