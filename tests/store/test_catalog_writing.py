"""A catalogue is replaced as a whole or not at all, and a file that is not one is refused with a cure."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallygate.errors import (
    SchemaOutOfDate,
    SchemaTooNew,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreMissing,
    TallygateError,
    UsageError,
)
from tallygate.money import Money
from tallygate.pricing.offers import Offer, ResourceRequest
from tallygate.pricing.source import Sheet
from tallygate.store.catalog import APPLICATION, FILE_NAME, FORMAT, SqliteCatalog, open_catalog
from tallygate.store.catalog_writer import BUSY_SECONDS, keep_all, verify, write
from tests.store.offers import NOW, OFFER, offers, other, sheets_of

ANY = ResourceRequest()
LATER = NOW + timedelta(hours=1)


def all_of(folder: Path) -> list[Offer]:
    catalog = open_catalog(folder)
    try:
        assert not catalog.is_shipped
        return list(catalog.offers())
    finally:
        catalog.close()


# --- versions


def test_equal_contents_are_the_same_version_in_whatever_order(tmp_path: Path) -> None:
    found = [OFFER, other(zone=None), other(zone="us-east-1b"), other(price_source="elsewhere")]
    one = write(tmp_path / "one", sheets_of(found), made_at=NOW)
    two = write(tmp_path / "two", sheets_of(found[::-1]), made_at=LATER)
    assert (one.id, one.offers) == (two.id, 4)
    assert len(one.id) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"hourly_price": Money(800_000_001)},
        {"on_demand_price": Money.of(1)},
        {"priced_at": NOW + timedelta(microseconds=1)},
        {"price_source": "another"},
        {"is_reference": True},
        {"architecture": "x86_64"},
        {"zone": None},
    ],
)
def test_any_difference_is_another_version(tmp_path: Path, change: dict[str, object]) -> None:
    one = write(tmp_path, sheets_of([OFFER]), made_at=NOW)
    two = write(tmp_path, sheets_of([replace(OFFER, **change)]), made_at=NOW)
    assert one.id != two.id


def test_equal_sheets_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, sheets_of([OFFER, other(zone=None)]), made_at=NOW)
    assert (tmp_path / "one" / FILE_NAME).read_bytes() == (tmp_path / "two" / FILE_NAME).read_bytes()


def test_a_sheet_replaces_its_region_and_the_rest_is_kept(tmp_path: Path) -> None:
    west, east = other(region="us-west-2", zone="us-west-2a"), OFFER
    write(tmp_path, sheets_of([west, east]), made_at=NOW)
    dearer = other(hourly_price=Money.of(2))
    write(
        tmp_path,
        [Sheet(provider="aws", region="us-east-1", read_at=LATER, source="s", offers=(dearer,))],
        made_at=LATER,
    )
    assert all_of(tmp_path) == [west, dearer]
    catalog = open_catalog(tmp_path)
    assert [(part.region, part.read_at, part.offers) for part in catalog.parts()] == [
        ("us-east-1", LATER, 1),
        ("us-west-2", NOW, 1),
    ]
    assert catalog.version.made_at == LATER
    catalog.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(offers(), max_size=15), st.lists(offers(), max_size=15))
def test_keeping_and_replacing_lose_and_invent_nothing(
    tmp_path_factory: pytest.TempPathFactory, before: list[Offer], after: list[Offer]
) -> None:
    folder = tmp_path_factory.mktemp("versions")
    write(folder, sheets_of(before), made_at=NOW)
    write(folder, sheets_of(after), made_at=LATER)
    replaced = {(offer.provider, offer.region) for offer in after}
    wanted = [*after, *(offer for offer in before if (offer.provider, offer.region) not in replaced)]
    assert sorted(map(repr, all_of(folder))) == sorted(map(repr, wanted))


def test_what_a_part_left_out_is_kept_with_its_reasons(tmp_path: Path) -> None:
    sheet = Sheet(
        provider="aws",
        region="eu",
        read_at=NOW,
        source="DescribeSpotPriceHistory",
        offers=(),
        refused={"price is zero": 3, "unknown unit": 1},
        notes=("no interruption rates",),
    )
    write(tmp_path, [sheet], made_at=NOW)
    write(tmp_path, sheets_of([OFFER]), made_at=LATER)
    catalog = open_catalog(tmp_path)
    part = catalog.parts()[0]
    assert (part.refused, part.reasons, part.notes) == (
        4,
        {"price is zero": 3, "unknown unit": 1},
        ("no interruption rates",),
    )
    catalog.close()


def test_parts_may_be_dropped(tmp_path: Path) -> None:
    write(tmp_path, sheets_of([OFFER, other(region="eu")]), made_at=NOW)
    write(tmp_path, [], keep=lambda part: part.region == "eu", made_at=LATER)
    assert [offer.region for offer in all_of(tmp_path)] == ["eu"]


# --- what cannot be kept


@pytest.mark.parametrize(
    "change",
    [
        {"hourly_price": Money(0)},
        {"hourly_price": Money(-1)},
        {"vcpus": 0},
        {"memory_gib": Decimal(0)},
        {"memory_gib": Decimal("0.0000000001")},
        {"memory_gib": Decimal("NaN")},
        {"memory_gib": Decimal("Infinity")},
        {"gpu_memory_gib": Decimal("1e-12")},
        {"zone": ""},
        {"region": ""},
        {"on_demand_price": Money.of(1, "EUR")},
    ],
)
def test_an_offer_that_cannot_be_kept_changes_nothing(tmp_path: Path, change: dict[str, object]) -> None:
    write(tmp_path, sheets_of([OFFER]), made_at=NOW)
    with pytest.raises(UsageError):
        write(tmp_path, sheets_of([replace(OFFER, **change)]), made_at=LATER)
    assert all_of(tmp_path) == [OFFER]


def test_two_sheets_of_one_region_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Two sheets"):
        write(tmp_path, [*sheets_of([OFFER]), *sheets_of([OFFER])], made_at=NOW)


def test_an_offer_on_the_sheet_of_another_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="on the sheet"):
        write(tmp_path, [replace(sheets_of([OFFER])[0], region="eu")], made_at=NOW)


def test_two_currencies_are_refused(tmp_path: Path) -> None:
    write(tmp_path, sheets_of([OFFER]), made_at=NOW)
    with pytest.raises(UsageError, match="EUR, USD"):
        write(tmp_path, sheets_of([other(region="eu", hourly_price=Money.of(1, "EUR"))]), made_at=NOW)


# --- crashes and crowds

STEPS = ("locked", "built", "flushed", "replaced")

CRASHER = """
import os, signal, sys
from datetime import UTC, datetime
from dataclasses import replace
from tests.store.offers import NOW, OFFER, sheets_of
from tallygate.store.catalog_writer import write
folder, last = sys.argv[1:]
def passing(step):
    if step == last:
        os.kill(os.getpid(), signal.SIGKILL)
offers = [replace(OFFER, zone=f"z{n}", priced_at=NOW) for n in range(3000)]
print("ready", flush=True)
write(folder, sheets_of(offers), made_at=NOW, passing=passing)
"""


def crasher(folder: Path, step: str) -> subprocess.Popen[str]:
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", CRASHER, str(folder), step],
        env={**os.environ, "PYTHONPATH": root},
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_after_any_step_leaves_a_whole_version(tmp_path: Path, step: str) -> None:
    write(tmp_path, sheets_of([OFFER]), made_at=NOW)
    with crasher(tmp_path, step) as process:
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert len(all_of(tmp_path)) == (3000 if step == "replaced" else 1)
    # The next writer is neither blocked nor confused by what the dead one left.
    write(tmp_path, sheets_of([other(hourly_price=Money.of(3))]), made_at=LATER, busy_seconds=5)
    assert all_of(tmp_path) == [other(hourly_price=Money.of(3))]
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE_NAME, f"{FILE_NAME}.lock"]


def test_a_kill_at_any_moment_leaves_a_whole_version(tmp_path: Path) -> None:
    write(tmp_path, sheets_of([OFFER]), made_at=NOW)
    moments = random.Random(7)
    for _ in range(5):
        with crasher(tmp_path, "never") as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(moments.uniform(0, 0.15))
            except subprocess.TimeoutExpired:
                process.kill()
        catalog = open_catalog(tmp_path)
        assert catalog.version.offers in (1, 3000)
        assert verify(catalog)
        catalog.close()


def test_who_is_searching_goes_on_in_the_version_that_was_there(tmp_path: Path) -> None:
    write(tmp_path, sheets_of([OFFER, other(zone="z")]), made_at=NOW)
    catalog = open_catalog(tmp_path)
    write(tmp_path, sheets_of([other(hourly_price=Money.of(9))]), made_at=LATER)
    assert len(catalog.cheapest(ANY, limit=9)) == 2
    assert verify(catalog)
    catalog.close()
    assert len(all_of(tmp_path)) == 1


def test_a_second_writer_waits_for_the_first_or_says_so(tmp_path: Path) -> None:
    write(tmp_path, [], made_at=NOW)
    inside, leave = threading.Event(), threading.Event()

    def dawdle(step: str) -> None:
        if step == "built":
            inside.set()
            leave.wait(30)

    first = threading.Thread(
        target=write, args=(tmp_path, sheets_of([OFFER])), kwargs={"made_at": NOW, "passing": dawdle}
    )
    first.start()
    assert inside.wait(30)
    with pytest.raises(StoreBusy):
        write(tmp_path, sheets_of([other(region="eu")]), made_at=NOW, busy_seconds=0.05)
    second = threading.Thread(target=write, args=(tmp_path, sheets_of([other(region="eu")])), kwargs={"made_at": LATER})
    second.start()
    leave.set()
    first.join(30)
    second.join(BUSY_SECONDS)
    assert sorted(offer.region for offer in all_of(tmp_path)) == ["eu", "us-east-1"]


def test_a_full_disk_leaves_the_former_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, sheets_of([OFFER]), made_at=NOW)

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        write(tmp_path, sheets_of([other(zone="z")]), made_at=LATER)
    monkeypatch.undo()
    assert all_of(tmp_path) == [OFFER]
    assert not (tmp_path / f"{FILE_NAME}.next").exists()


# --- files that are no catalogue


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = [other(zone=f"z{n}", instance_type=f"t{n % 7}") for n in range(2000)]
    write(tmp_path, sheets_of(found), made_at=NOW)
    return tmp_path / FILE_NAME


def refused(folder: Path) -> StoreError:
    with pytest.raises(StoreError) as error:
        open_catalog(folder)
    assert error.value.exit_code == 4
    assert FILE_NAME in error.value.message
    assert error.value.cure
    return error.value


@pytest.mark.parametrize("content", [b"", b"x", b"<html>not found</html>" * 50, b"\0" * 8192, b"SQLite format 3\0"])
def test_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    assert isinstance(refused(tmp_path), StoreDamaged)


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    assert "not a price catalogue" in refused(tmp_path).message


def test_a_newer_format_says_so(file: Path) -> None:
    marked(file, 60, FORMAT + 1)
    error = refused(file.parent)
    assert isinstance(error, SchemaTooNew)
    assert "newer Tallygate" in error.message


def test_an_older_format_says_so(file: Path) -> None:
    marked(file, 60, 0)
    assert isinstance(refused(file.parent), SchemaOutOfDate)


def marked(file: Path, place: int, number: int) -> None:
    content = bytearray(file.read_bytes())
    assert int.from_bytes(content[68:72], "big") == APPLICATION
    content[place : place + 4] = number.to_bytes(4, "big")
    file.write_bytes(content)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_refused(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    assert isinstance(refused(file.parent), StoreDamaged)


def test_a_file_with_something_appended_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")
    assert isinstance(refused(file.parent), StoreDamaged)


def test_a_link_to_nothing_and_a_directory_are_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "gone")
    assert isinstance(refused(tmp_path), StoreMissing)
    (tmp_path / FILE_NAME).unlink()
    (tmp_path / FILE_NAME).mkdir()
    refused(tmp_path)


def test_damage_anywhere_is_an_error_of_ours_or_found_by_verifying(file: Path) -> None:
    """Whatever bytes are overwritten: no other exception, and never an offer more or less that ``verify`` lets pass."""
    whole = file.read_bytes()
    before = SqliteCatalog(file)
    right = list(before.offers())
    before.close()
    chance = random.Random(11)
    caught = 0
    for _ in range(150):
        content = bytearray(whole)
        place = chance.randrange(100, len(content) - 64)
        content[place : place + chance.randint(1, 64)] = chance.randbytes(chance.randint(1, 64))
        file.write_bytes(content[: len(whole)].ljust(len(whole), b"\0"))
        try:
            catalog = SqliteCatalog(file)
            found = list(catalog.offers())
            passed = verify(catalog)
            catalog.close()
        except TallygateError as error:
            assert error.exit_code in (2, 4)  # noqa: PT017
            caught += 1
            continue
        assert found == right or not passed
    assert caught > 20


def test_a_damaged_former_version_stops_a_refresh_unless_nothing_of_it_is_kept(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(StoreDamaged):
        write(file.parent, sheets_of([OFFER]), keep=keep_all, made_at=LATER)
    write(file.parent, sheets_of([OFFER]), keep=None, made_at=LATER)
    assert all_of(file.parent) == [OFFER]
