"""The price history file: it only grows, it is whole whatever dies, and it tells what was known when."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from tallygate.errors import SchemaTooNew, StoreDamaged, StoreMissing, StoreReadOnly
from tallygate.money import Money
from tallygate.pricing.history import Pool
from tallygate.pricing.interruptions import Band
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.pricing.refresh import HistoryWriter, Moves
from tallygate.pricing.source import Observation, Sheet
from tallygate.store.price_history import PriceHistory
from tallygate.times import Period

from ..pricing.writers_contract import HistoryWriterContract

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

POOL = Pool(
    provider="aws",
    region="us-east-1",
    zone="us-east-1a",
    instance_type="r5.4xlarge",
    purchase_option=PurchaseOption.SPOT,
)


def offer(price: str, *, at: datetime = START, **changes: object) -> Offer:
    said: dict[str, object] = {
        "provider": "aws",
        "region": "us-east-1",
        "zone": "us-east-1a",
        "instance_type": "r5.4xlarge",
        "purchase_option": PurchaseOption.SPOT,
        "vcpus": 16,
        "memory_gib": Decimal("128"),
        "architecture": "x86_64",
        "hourly_price": Money.of(price),
        "on_demand_price": Money.of("1.008"),
        "priced_at": at,
        "price_source": "a test",
        "interruptions": Band(low=Decimal("0.05"), high=Decimal("0.1"), hours=730),
        **changes,
    }
    return Offer(**said)  # type: ignore[arg-type]


def sheet(at: datetime, *offers: Offer | str) -> Sheet:
    rows = tuple(replace(each, priced_at=at) if isinstance(each, Offer) else offer(each, at=at) for each in offers)
    return Sheet(provider="aws", region="us-east-1", read_at=at, source="a test", offers=rows)


def seen(at: datetime, price: str, zone: str = "us-east-1a") -> Observation:
    return Observation(
        provider="aws",
        region="us-east-1",
        zone=zone,
        instance_type="r5.4xlarge",
        purchase_option=PurchaseOption.SPOT,
        at=at,
        hourly_price=Money.of(price),
    )


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "prices" / "history.db")


@pytest.fixture
def history(file: str) -> Iterator[PriceHistory]:
    opened = PriceHistory.open(file)
    yield opened
    opened.close()


def price(history: PriceHistory, at: datetime, pool: Pool = POOL) -> str | None:
    found = history.price_as_of(pool, at)
    return None if found is None else found.shown()


class TestPriceHistoryKeepsTheContract(HistoryWriterContract):
    """What a refresh relies on."""

    @pytest.fixture
    def writer(self, history: PriceHistory) -> HistoryWriter:
        return history


# --- what is written


def test_an_observation_is_written_only_when_a_price_changed(history: PriceHistory) -> None:
    for hour, said in enumerate(("0.31", "0.31", "0.34", "0.34", "0.30")):
        history.keep(sheet(START + hour * HOUR, said))
    assert history.counts()[:2] == (1, 3)
    assert [price(history, START + hour * HOUR) for hour in range(5)] == ["0.31", "0.31", "0.34", "0.34", "0.30"]
    assert price(history, START - HOUR) is None


def test_what_is_no_longer_sold_has_no_price_until_it_is_sold_again(history: PriceHistory) -> None:
    other = offer("0.50", instance_type="c7g.large", vcpus=2, memory_gib=Decimal(4))
    history.keep(sheet(START, "0.31", other))
    history.keep(sheet(START + HOUR, other))
    history.keep(sheet(START + 2 * HOUR, "0.31", other))
    assert [price(history, START + hour * HOUR) for hour in range(3)] == ["0.31", None, "0.31"]


def test_a_price_that_nobody_looked_at_for_days_is_unknown(history: PriceHistory) -> None:
    history.keep(sheet(START, "0.31"))
    history.keep(sheet(START + 5 * DAY, "0.31"))
    assert price(history, START + 23 * HOUR) == "0.31"
    assert price(history, START + 25 * HOUR) is None
    assert price(history, START + 5 * DAY) == "0.31"
    (path,) = history.paths("r5.4xlarge", Period(START, START + 6 * DAY))
    assert [None if span.price is None else span.price.shown() for span in path.spans] == ["0.31", None, "0.31"]
    assert path.confirmed_at == START + 5 * DAY


def test_past_prices_come_before_the_sheet_and_vouch_for_all_the_time_since(history: PriceHistory) -> None:
    now = START + 90 * DAY
    # Newest first, as clouds tell them, and some from before the span, the last of which is in force when it begins.
    past = [
        seen(START + day * DAY, said)
        for day, said in ((60, "0.35"), (30, "0.35"), (20, "0.33"), (-9, "0.30"), (-20, "0.28"))
    ]
    history.stage("aws", "us-east-1", past[:2])
    history.stage("aws", "us-east-1", past[2:])
    assert history.keep(sheet(now, "0.36"), since=START) == Moves(up=1, past=3)
    assert [price(history, START + day * DAY) for day in (0, 19, 20, 45, 89, 90)] == [
        "0.30",
        "0.30",
        "0.33",
        "0.35",
        "0.35",
        "0.36",
    ]
    assert price(history, START - timedelta(microseconds=1)) is None
    (path,) = history.paths("r5.4xlarge", Period(START, now))
    assert len(path.spans) == 3


def test_a_gap_is_filled_from_the_last_reading_on_and_nothing_is_told_twice(history: PriceHistory) -> None:
    history.keep(sheet(START, "0.31"))
    history.stage("aws", "us-east-1", [seen(START - DAY, "0.29"), seen(START, "0.31"), seen(START + 2 * DAY, "0.40")])
    assert history.keep(sheet(START + 5 * DAY, "0.40"), since=START) == Moves(past=1)
    assert [price(history, START + day * DAY) for day in range(6)] == ["0.31", "0.31", "0.40", "0.40", "0.40", "0.40"]


def test_past_prices_vouch_for_spot_and_not_for_on_demand(history: PriceHistory) -> None:
    on_demand = offer("1.008", purchase_option=PurchaseOption.ON_DEMAND, zone=None, on_demand_price=None)
    history.keep(sheet(START, "0.31", on_demand))
    history.keep(sheet(START + 5 * DAY, "0.31", on_demand), since=START)
    assert price(history, START + 3 * DAY) == "0.31"
    assert price(history, START + 3 * DAY, replace(POOL, zone="", purchase_option=PurchaseOption.ON_DEMAND)) is None


# --- what was known when


def test_an_old_list_comes_out_byte_for_byte(history: PriceHistory) -> None:
    first = [
        offer("0.31"),
        offer("0.29", zone="us-east-1b", interruptions=None, architecture=None),
        offer("1.008", zone=None, purchase_option=PurchaseOption.ON_DEMAND, on_demand_price=None, interruptions=None),
        offer(
            "0.5123456789"[:11],
            instance_type="g5.xlarge",
            vcpus=4,
            memory_gib=Decimal("16.00"),
            gpus=1,
            gpu_model="A10G",
            gpu_memory_gib=Decimal("22.5"),
            interruptions=Band(low=Decimal("0.20"), high=None, hours=730),
        ),
    ]
    history.keep(sheet(START, *first))
    history.keep(
        sheet(START + DAY, *[replace(each, hourly_price=Money.of("0.77"), vcpus=32) for each in first]), since=START
    )
    history.keep(sheet(START + 2 * DAY, first[0]))

    def in_order(offers: list[Offer]) -> list[Offer]:
        return sorted(offers, key=lambda each: (each.instance_type, each.zone or ""))

    then = history.as_of(START + HOUR)
    assert repr(in_order(then)) == repr(in_order(first))
    assert history.as_of(START - HOUR) == []
    assert len(history.as_of(START + 2 * DAY)) == 1
    assert history.as_of(START + 4 * DAY) == []
    assert history.as_of(START, instance_type="g5.xlarge") == first[3:]


def test_types_are_told_near_and_far(history: PriceHistory) -> None:
    history.keep(sheet(START, "0.31", offer("0.02", instance_type="c7g.large", vcpus=2, memory_gib=Decimal(4))))
    assert history.types() == ["c7g.large", "r5.4xlarge"]
    assert history.types(provider="gcp") == []
    assert history.last_readings() == {("aws", "us-east-1"): START}


# --- the file


@pytest.mark.parametrize("table", ["pools", "observations", "machines", "descriptions", "readings"])
@pytest.mark.parametrize("statement", ["UPDATE {table} SET {column} = {column}", "DELETE FROM {table}"])
def test_nothing_is_ever_changed_or_deleted(history: PriceHistory, file: str, table: str, statement: str) -> None:
    history.keep(sheet(START, "0.31"))
    column = "description" if table == "machines" else "pool" if table != "readings" else "at"
    with sqlite3.connect(file) as connection:
        before = connection.execute(f"SELECT * FROM {table}").fetchall()
        assert before
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            connection.execute(statement.format(table=table, column=column))
        assert connection.execute(f"SELECT * FROM {table}").fetchall() == before


def test_an_observation_cannot_be_slipped_in_before_the_last(history: PriceHistory, file: str) -> None:
    history.keep(sheet(START, "0.31"))
    with sqlite3.connect(file) as connection, pytest.raises(sqlite3.IntegrityError, match="later than those before"):
        connection.execute("INSERT INTO observations VALUES (1, 0, 1)")


def test_without_a_file_there_is_nothing_to_read_and_none_is_made(file: str) -> None:
    with pytest.raises(StoreMissing):
        PriceHistory.open(file, create=False)
    assert not os.path.exists(file)


def test_a_reader_changes_nothing(history: PriceHistory, file: str) -> None:
    history.keep(sheet(START, "0.31"))
    reader = PriceHistory.open(file, create=False)
    assert price(reader, START) == "0.31"
    with pytest.raises(StoreReadOnly):
        reader.keep(sheet(START + HOUR, "0.32"))
    reader.close()


def test_another_programs_database_a_newer_version_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    other, newer, damaged = (str(tmp_path / name) for name in ("other.db", "newer.db", "damaged.db"))
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    PriceHistory.open(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 2")
    Path(damaged).write_bytes(b"SQLite format 3\0" + b"\1" * 5000)
    for name, error in ((other, StoreDamaged), (newer, SchemaTooNew), (damaged, StoreDamaged)):
        before = Path(name).read_bytes()
        for create in (True, False):
            with pytest.raises(error):
                PriceHistory.open(name, create=create)
        assert Path(name).read_bytes() == before


# --- several at once


def writer(file: str, number: int, count: int) -> None:
    opened = PriceHistory.open(file)
    for turn in range(count):
        at = START + (turn * 10 + number) * timedelta(minutes=1)
        opened.keep(sheet(at, offer(f"0.{10 + turn}"), offer(f"0.{50 + number}", zone="us-east-1b")))
    opened.close()


def test_two_refreshers_at_once_leave_one_whole_history(file: str) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=writer, args=(file, number, 20)) for number in (1, 2)]
    for each in writers:
        each.start()
    for each in writers:
        each.join(60)
    assert [each.exitcode for each in writers] == [0, 0]
    opened = PriceHistory.open(file, create=False)
    assert opened.problems() == []
    assert opened.last_readings() == {("aws", "us-east-1"): START + (19 * 10 + 2) * timedelta(minutes=1)}
    with sqlite3.connect(file) as connection:
        for (pool,) in connection.execute("SELECT pool FROM pools").fetchall():
            values = [
                row[0]
                for row in connection.execute("SELECT nanos FROM observations WHERE pool = ? ORDER BY at", (pool,))
            ]
            assert values
            assert all(one != other for one, other in pairwise(values))
    opened.close()


def endless_writer(file: str) -> None:
    opened = PriceHistory.open(file)
    for turn in range(1_000_000):
        prices = [offer(f"0.{1000 + (turn * 7 + number) % 9000}", zone=f"zone-{number:03}") for number in range(200)]
        opened.keep(sheet(START + turn * timedelta(minutes=1), *prices))


def test_a_killed_refresher_leaves_whole_markets(file: str) -> None:
    context = multiprocessing.get_context("spawn")
    reader = PriceHistory.open(file)
    for wait in (0.01, 0.1, 0.2):
        before = reader.counts()[1]
        process = context.Process(target=endless_writer, args=(file,))
        process.start()
        while reader.counts()[1] == before:
            process.join(0.02)
        process.join(wait)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)
    reader.close()
    opened = PriceHistory.open(file)
    assert opened.problems() == []
    (last,) = opened.last_readings().values()
    assert len(opened.as_of(last)) == 200  # never a part of a market
    assert opened.keep(sheet(last + HOUR, "0.31")) == Moves(appeared=1, gone=200)
    opened.close()
    with sqlite3.connect(file) as connection:
        readings = connection.execute("SELECT DISTINCT at FROM readings ORDER BY at").fetchall()
        assert {row[0] for row in connection.execute("SELECT DISTINCT at FROM observations")} <= {
            row[0] for row in readings
        }


def test_a_large_market_is_kept_in_a_few_statements(history: PriceHistory) -> None:
    zones = [f"zone-{number:05}" for number in range(4_000)]
    history.keep(sheet(START, *[offer("0.31", zone=zone) for zone in zones]))
    assert history.keep(sheet(START + HOUR, *[offer("0.32", zone=zone) for zone in zones])) == Moves(up=4_000)
    assert {each.zone for each in history.as_of(START)} == set(zones)
