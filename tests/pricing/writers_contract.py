"""What a refresh relies on in those who write: the history of prices, and the catalogue."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tallygate.money import Money
from tallygate.pricing.catalog import Part
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.pricing.refresh import CatalogWriter, HistoryWriter, Moves
from tallygate.pricing.source import Observation, Sheet

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def sheet(at: datetime, *prices: str, region: str = "us-east-1", provider: str = "aws") -> Sheet:
    """A market with one machine a price, each in a zone of its own."""
    offers = tuple(
        Offer(
            provider=provider,
            region=region,
            zone=f"{region}{letter}",
            instance_type="r5.4xlarge",
            purchase_option=PurchaseOption.SPOT,
            vcpus=16,
            memory_gib=Decimal(128),
            hourly_price=Money.of(price),
            priced_at=at,
            price_source="a test",
        )
        for letter, price in zip("abcdef", prices, strict=False)
    )
    return Sheet(provider=provider, region=region, read_at=at, source="a test", offers=offers)


def past(at: datetime, price: str) -> Observation:
    (offer,) = sheet(at, price).offers
    return Observation(
        provider=offer.provider,
        region=offer.region,
        zone=offer.zone,
        instance_type=offer.instance_type,
        purchase_option=offer.purchase_option,
        at=at,
        hourly_price=offer.hourly_price,
    )


class HistoryWriterContract:
    """Inherit and give ``writer``, an empty history."""

    @pytest.fixture
    def writer(self) -> HistoryWriter:
        raise AssertionError("the test class gives the writer")

    def test_an_empty_history_has_read_nothing(self, writer: HistoryWriter) -> None:
        assert dict(writer.last_readings()) == {}

    def test_what_changed_is_told(self, writer: HistoryWriter) -> None:
        assert writer.keep(sheet(START, "0.31", "0.32")) == Moves(appeared=2)
        assert writer.keep(sheet(START + HOUR, "0.33", "0.30")) == Moves(up=1, down=1)
        assert writer.keep(sheet(START + 2 * HOUR, "0.33", "0.30")) == Moves()
        assert writer.keep(sheet(START + 3 * HOUR, "0.33")) == Moves(gone=1)
        assert writer.keep(sheet(START + 4 * HOUR, "0.33")) == Moves()
        assert writer.keep(sheet(START + 5 * HOUR, "0.33", "0.30")) == Moves(appeared=1)

    def test_the_last_reading_of_every_market_is_known(self, writer: HistoryWriter) -> None:
        writer.keep(sheet(START, "0.31"))
        writer.keep(sheet(START + HOUR, "0.31"))
        writer.keep(sheet(START, "0.31", region="eu-west-1"))
        assert dict(writer.last_readings()) == {("aws", "us-east-1"): START + HOUR, ("aws", "eu-west-1"): START}

    def test_a_reading_that_is_not_newer_is_dropped(self, writer: HistoryWriter) -> None:
        writer.keep(sheet(START + HOUR, "0.31"))
        assert writer.keep(sheet(START, "0.99")) is None
        assert writer.keep(sheet(START + HOUR, "0.99")) is None
        assert writer.keep(sheet(START + 2 * HOUR, "0.31")) == Moves()

    def test_reference_prices_are_no_observations(self, writer: HistoryWriter) -> None:
        found = sheet(START, "0.31")
        dated = replace(found, offers=tuple(replace(offer, is_reference=True) for offer in found.offers))
        assert writer.keep(dated) is None
        assert dict(writer.last_readings()) == {}

    def test_past_prices_are_recorded_once_with_their_sheet(self, writer: HistoryWriter) -> None:
        writer.stage("aws", "us-east-1", [past(START + DAY, "0.30"), past(START + 2 * DAY, "0.30")])
        writer.stage("aws", "us-east-1", [past(START, "0.29")])
        assert writer.keep(sheet(START + 3 * DAY, "0.31"), since=START) == Moves(up=1, past=2)
        assert writer.keep(sheet(START + 4 * DAY, "0.31"), since=START + 3 * DAY) == Moves()

    def test_what_was_staged_is_forgotten_when_its_sheet_does_not_come(self, writer: HistoryWriter) -> None:
        writer.stage("aws", "us-east-1", [past(START, "0.99")])
        writer.discard("aws", "us-east-1")
        assert writer.keep(sheet(START + DAY, "0.31"), since=START) == Moves(appeared=1)

    def test_markets_do_not_mix(self, writer: HistoryWriter) -> None:
        writer.stage("aws", "us-east-1", [past(START, "0.99")])
        assert writer.keep(sheet(START + DAY, "0.31", region="eu-west-1"), since=START) == Moves(appeared=1)
        assert writer.keep(sheet(START + DAY, "0.31", provider="gcp")) == Moves(appeared=1)
        assert writer.keep(sheet(START + DAY, "0.31"), since=START) == Moves(down=1, past=1)


class CatalogWriterContract:
    """Inherit and give ``writer``, a catalogue with nothing of the markets ``aws us-east-1`` and ``gcp us-east1``."""

    @pytest.fixture
    def writer(self) -> CatalogWriter:
        raise AssertionError("the test class gives the writer")

    def test_a_part_says_what_its_sheet_said(self, writer: CatalogWriter) -> None:
        writer.publish([replace(sheet(START, "0.31", "0.32"), refused={"price is zero": 3})])
        (part,) = self.ours(writer)
        assert (part.provider, part.region, part.read_at, part.source) == ("aws", "us-east-1", START, "a test")
        assert (part.offers, part.refused) == (2, 3)

    def test_a_sheet_replaces_its_own_market_and_no_other(self, writer: CatalogWriter) -> None:
        first = writer.publish([sheet(START, "0.31", "0.32"), sheet(START, "0.4", provider="gcp", region="us-east1")])
        second = writer.publish([sheet(START + DAY, "0.33")])
        assert [(part.provider, part.read_at, part.offers) for part in self.ours(writer)] == [
            ("aws", START + DAY, 1),
            ("gcp", START, 1),
        ]
        assert second.offers == first.offers - 1
        assert second.id != first.id

    def test_equal_contents_are_the_same_version(self, writer: CatalogWriter) -> None:
        one = writer.publish([sheet(START, "0.31")])
        writer.publish([sheet(START, "0.32")])
        assert writer.publish([sheet(START, "0.31")]).id == one.id

    @staticmethod
    def ours(writer: CatalogWriter) -> list[Part]:
        """The parts of the two markets, in order."""
        markets = {("aws", "us-east-1"), ("gcp", "us-east1")}
        found = [part for part in writer.parts() if (part.provider, part.region) in markets]
        return sorted(found, key=lambda part: part.provider)
