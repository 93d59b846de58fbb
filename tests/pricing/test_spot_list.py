"""The documented price list: read as documented, and nothing in it is ever taken for free."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tallygate.errors import NoMatchingOffer, PriceRefused, UsageError
from tallygate.money import Money
from tallygate.pricing import spot_list

ROW = {"provider": "AWS", "instance": "r5.4xlarge", "region": "us-east-1", "price_hr": 0.80, "vcpu": 16, "ram_gb": 128}


def written(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "spot_prices.json"
    path.write_text(json.dumps(list(rows)))
    return path


def test_a_documented_row_becomes_an_offer_with_its_exact_price(tmp_path: Path) -> None:
    path = written(tmp_path, ROW | {"price_hr": 0.1, "availability_zone": "us-east-1b"})
    (found,) = spot_list.read(path)
    assert (found.provider, found.instance_type, found.zone) == ("aws", "r5.4xlarge", "us-east-1b")
    assert found.hourly_price == Money.of("0.1")
    assert found.memory_gib == Decimal(128)


def test_a_list_without_times_is_as_old_as_its_file(tmp_path: Path) -> None:
    path = written(tmp_path, ROW)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert spot_list.read(path)[0].priced_at == datetime.fromtimestamp(1_000_000_000, UTC)


def test_a_row_that_says_when_it_was_priced_is_believed(tmp_path: Path) -> None:
    path = written(tmp_path, ROW | {"priced_at": "2026-03-01T12:00:00Z", "source": "DescribeSpotPriceHistory"})
    assert spot_list.read(path)[0].priced_at == datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("price", [None, 0, -0.5, "", "free", "1,000", "１", True, [], {}, 1e300])
def test_a_row_without_a_price_is_refused_and_never_free(tmp_path: Path, price: object) -> None:
    with pytest.raises(PriceRefused):
        spot_list.read(written(tmp_path, ROW | {"price_hr": price}))


@pytest.mark.parametrize("text", ["[NaN]", '[{"price_hr": NaN}]', '[{"price_hr": Infinity}]'])
def test_numbers_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "spot_prices.json"
    path.write_text(text)
    with pytest.raises((PriceRefused, UsageError)):
        spot_list.read(path)


@pytest.mark.parametrize(
    "text", ["", "<html>not found</html>", '[{"provider": "AWS"', "{}", "[1]", "null", "[" * 100_000, '"x"', "\x00"]
)
def test_something_else_than_a_list_of_offers_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "spot_prices.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        spot_list.read(path)


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "Nimbus"},
        {"provider": ""},
        {"instance": None},
        {"instance": "a\x1b[31m"},
        {"region": 7},
        {"vcpu": 0},
        {"vcpu": "sixteen"},
        {"ram_gb": -1},
        {"currency": "dollars"},
        {"priced_at": "yesterday"},
    ],
)
def test_a_row_that_makes_no_sense_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises((UsageError, PriceRefused)):
        spot_list.read(written(tmp_path, ROW | change))


def test_a_missing_list_says_how_to_do_without(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        spot_list.read(tmp_path / "spot_prices.json")
    assert "--from-spot-prices" in error.value.cure


@pytest.mark.parametrize("index", [-1, 2])
def test_an_index_outside_the_list_is_refused(tmp_path: Path, index: int) -> None:
    path = written(tmp_path, ROW, ROW)
    with pytest.raises(UsageError, match="--index"):
        spot_list.pick(spot_list.read(path), index, path)


def test_an_empty_list_offers_nothing(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(NoMatchingOffer):
        spot_list.pick(spot_list.read(path), 0, path)
