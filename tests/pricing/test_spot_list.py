"""The documented price list: read as documented, and nothing in it is ever taken for free."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tallygate.errors import NoMatchingOffer, PriceRefused, UsageError
from tallygate.money import Money
from tallygate.pricing import spot_list
from tallygate.pricing.interruptions import Band
from tallygate.pricing.offers import Offer, PurchaseOption

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
        {"purchase_option": "rented"},
        {"purchase_option": 1},
        {"is_reference": "no"},
        {"architecture": "a\x1b[31m"},
        {"gpus": "eight"},
        {"gpu_memory_gb": 0},
        {"interruptions": "often"},
        {"interruptions": {"low": -1, "high": None, "hours": 24}},
        {"interruptions": {"low": 0, "high": 2, "hours": 24}},
        {"interruptions": {"low": 0, "high": 1, "hours": 0}},
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


# --- writing


def listed(**changes: object) -> Offer:
    return replace(
        Offer(
            provider="azure",
            region="eastus",
            zone="eastus-1",
            instance_type="Standard_D4s_v3",
            purchase_option=PurchaseOption.ON_DEMAND,
            vcpus=4,
            memory_gib=Decimal("16"),
            architecture="x86_64",
            gpus=2,
            gpu_model="A100",
            gpu_memory_gib=Decimal("2.5"),
            hourly_price=Money(192_000_001),
            on_demand_price=Money.of("0.2"),
            priced_at=datetime(2026, 3, 1, 12, 0, 0, 123, tzinfo=UTC),
            price_source="a table",
            interruptions=Band(low=Decimal("0.05"), high=None, hours=730),
            is_reference=True,
        ),
        **changes,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"provider": "local", "zone": None, "architecture": None, "gpus": 0, "gpu_model": None, "gpu_memory_gib": None},
        {"purchase_option": PurchaseOption.SPOT, "interruptions": None, "is_reference": False},
        {"interruptions": Band(low=Decimal("0"), high=Decimal("0.05"), hours=24)},
        {"hourly_price": Money(1), "on_demand_price": None},
        {"hourly_price": Money.of("1.5", "EUR"), "on_demand_price": Money.of(2, "EUR")},
        {"memory_gib": Decimal("0.613"), "provider": "gcp"},
    ],
)
def test_what_is_written_is_read_back_without_loss(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "spot_prices.json"
    spot_list.write(path, [listed(**changes), listed()])
    assert spot_list.read(path) == [listed(**changes), listed()]


def test_a_written_row_has_the_documented_keys_and_spelling(tmp_path: Path) -> None:
    path = tmp_path / "spot_prices.json"
    spot_list.write(path, [listed()])
    (row,) = json.loads(path.read_text())
    assert list(row)[:6] == ["provider", "instance", "region", "price_hr", "vcpu", "ram_gb"]
    assert (row["provider"], row["vcpu"], row["ram_gb"]) == ("Azure", 4, 16)
    assert '"price_hr": 0.192000001,' in path.read_text()


def test_an_empty_list_is_a_list(tmp_path: Path) -> None:
    path = tmp_path / "spot_prices.json"
    spot_list.write(path, [])
    assert json.loads(path.read_text()) == []


def test_a_list_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, ROW)
    before = path.read_bytes()

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        spot_list.write(path, [listed()])
    assert error.value.filename == str(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_a_link_to_a_list_stays_a_link(tmp_path: Path) -> None:
    real = written(tmp_path, ROW)
    link = tmp_path / "link.json"
    link.symlink_to(real)
    spot_list.write(link, [listed()])
    assert link.is_symlink()
    assert spot_list.read(real) == [listed()]
