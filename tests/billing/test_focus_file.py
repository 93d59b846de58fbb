"""A FOCUS file is read whole and exactly, or refused with the row and the reason."""

from __future__ import annotations

import contextlib
import gzip
import io
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallygate.billing import focus_file
from tallygate.billing.charge import CATEGORIES, Charge
from tallygate.errors import Quarantined
from tallygate.money import Money
from tallygate.times import Period

HEADER = (
    "BilledCost,EffectiveCost,ListCost,ContractedCost,BillingCurrency,BillingAccountId,BillingPeriodStart,BillingPeriodEnd,"
    "ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ChargeDescription,ProviderName,ServiceName,ServiceCategory,ResourceId,"
    "Tags,x_Mine"
)
ROW = (
    "1.25,1,2,1.5,USD,123,2026-03-01T00:00:00Z,2026-04-01T00:00:00Z,2026-03-02T00:00:00Z,2026-03-02T01:00:00Z,Usage,an hour,"
    'AWS,EC2,Compute,i-1,"{""tallygate-job"": ""j1""}",anything'
)


def read(*rows: str, header: str = HEADER) -> list[Charge]:
    return list(focus_file.parse("\n".join([header, *rows]) + "\n", name="bill.csv"))


def with_cell(column: str, value: str) -> str:
    import csv

    cells = next(csv.reader([ROW]))
    cells[HEADER.split(",").index(column)] = value
    target = io.StringIO()
    csv.writer(target, lineterminator="").writerow(cells)
    return target.getvalue()


def test_a_row_is_read_by_column_name_and_unknown_columns_are_left_out() -> None:
    (charge,) = read(ROW)
    assert (charge.billed_cost, charge.effective_cost, charge.list_cost) == (
        Money.of("1.25"),
        Money.of("1"),
        Money.of("2"),
    )
    assert charge.charge_period == Period(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 2, 1, tzinfo=UTC))
    assert (charge.resource_id, charge.tags, charge.sku_id) == ("i-1", {"tallygate-job": "j1"}, None)


def test_the_order_of_columns_does_not_matter() -> None:
    import csv

    header, row = HEADER.split(","), next(csv.reader([ROW]))
    target = io.StringIO()
    csv.writer(target, lineterminator="\n").writerow(reversed(row))
    assert read(target.getvalue(), header=",".join(reversed(header))) == read(ROW)


def test_later_focus_versions_call_the_provider_otherwise() -> None:
    assert read(ROW, header=HEADER.replace("ProviderName", "ServiceProviderName")) == read(ROW)


@pytest.mark.parametrize(
    "bad",
    ["NaN", "nan", "inf", "-Infinity", "", " ", "N/A", "1,234.56", "1.2E-7", "１２", "0x1F", "1_000", "--1", "1."],
)
@pytest.mark.parametrize("column", ["BilledCost", "EffectiveCost", "ListCost", "ContractedCost"])
def test_what_is_no_plain_number_refuses_the_file(column: str, bad: str) -> None:
    with pytest.raises(Quarantined, match=rf"bill.csv, row 3: {column}"):
        read(ROW, with_cell(column, bad))


@pytest.mark.parametrize("bad", ["", "usd", "US", "XBT", "DOLLARS"])
def test_an_unknown_currency_refuses_the_file(bad: str) -> None:
    with pytest.raises(Quarantined, match=r"row 2: BillingCurrency"):
        read(with_cell("BillingCurrency", bad))


@pytest.mark.parametrize("bad", ["2026-03-02T00:00:00", "2026-03-02", "02/03/2026", "", "0001-01-01T00:00:00Z"])
def test_a_moment_without_a_zone_refuses_the_file(bad: str) -> None:
    with pytest.raises(Quarantined, match="row 2"):
        read(with_cell("ChargePeriodStart", bad))


def test_a_period_that_ends_before_it_starts_refuses_the_file() -> None:
    with pytest.raises(Quarantined, match="cannot end"):
        read(with_cell("ChargePeriodEnd", "2026-03-01T23:00:00Z"))


@pytest.mark.parametrize("column", focus_file.REQUIRED)
def test_a_missing_column_refuses_the_file(column: str) -> None:
    with pytest.raises(Quarantined, match=f"row 1: the column {column} missing"):
        read(header=HEADER.replace(column, "Other", 1))


def test_a_column_that_is_there_twice_refuses_the_file() -> None:
    with pytest.raises(Quarantined, match="more than once"):
        read(header=HEADER + ",BilledCost")


@pytest.mark.parametrize("row", [ROW + ",more", ROW.rpartition(",")[0], '1.25,"unclosed'])
def test_a_row_of_another_length_refuses_the_file(row: str) -> None:
    with pytest.raises(Quarantined):
        read(row)


@pytest.mark.parametrize(
    "tags", ["{", "[]", '"x"', '{"a": 1.5}', '{"a": {}}', '{"a": "\\ud800"}', '{"a": "\\u0000"}', "[" * 100_000]
)
def test_tags_that_are_no_object_of_text_refuse_the_file(tags: str) -> None:
    with pytest.raises(Quarantined, match=r"row 2: Tags|proper CSV"):
        read(with_cell("Tags", tags))


def test_a_tag_without_a_value_is_kept() -> None:
    (charge,) = read(with_cell("Tags", '{"a": true, "b": null, "c": ""}'))
    assert charge.tags == {"a": "true", "b": "", "c": ""}


def test_twenty_digits_are_rounded_once_and_the_exact_text_is_kept() -> None:
    (charge,) = read(with_cell("BilledCost", "0.00000000050000000001"))
    assert charge.billed_cost == Money(1)
    assert charge.x_billed_cost_text == "0.00000000050000000001"
    (half,) = read(with_cell("BilledCost", "0.0000000005"))
    assert half.billed_cost == Money(0)
    (exact,) = read(with_cell("BilledCost", "0.00000000100000000000"))
    assert (exact.billed_cost, exact.x_billed_cost_text) == (Money(1), None)


def test_negative_rows_are_kept() -> None:
    assert read(with_cell("BilledCost", "-3.5"))[0].billed_cost == Money.of("-3.5")


def test_a_compressed_file_is_known_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "bill.csv.gz"
    path.write_bytes(gzip.compress(f"\ufeff{HEADER}\r\n{ROW}\r\n".encode()))
    assert list(focus_file.read(path)) == read(ROW)


@pytest.mark.parametrize("damage", ["cut", "not gzip", "bits", "not utf-8", "zero byte", "missing"])
def test_a_damaged_file_is_refused_and_never_half_read_as_whole(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "bill.csv.gz"
    whole = gzip.compress("\n".join([HEADER, *[ROW] * 500]).encode())
    content = {
        "cut": whole[:-20],
        "not gzip": HEADER.encode(),
        "bits": whole[:60] + bytes(255 - byte for byte in whole[60:70]) + whole[70:],
        "not utf-8": gzip.compress(HEADER.encode() + b"\n\xff\xfe"),
        "zero byte": gzip.compress(f"{HEADER}\n{ROW}\0".encode()),
        "missing": b"",
    }[damage]
    if damage != "missing":
        path.write_bytes(content)
    with pytest.raises(Quarantined):
        list(focus_file.read(path))


def test_one_endless_line_does_not_fill_the_memory(tmp_path: Path) -> None:
    """A few kilobytes that unpack to a hundred megabytes on one line are refused early."""
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(HEADER.encode() + b"\n" + b"0" * 100_000_000))
    tracemalloc.start()
    with pytest.raises(Quarantined, match="longer than"):
        list(focus_file.read(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@given(st.text(max_size=300))
@settings(max_examples=200)
def test_any_text_is_a_bill_or_a_refusal(text: str) -> None:
    for whole in (text, f"{HEADER}\n{text}"):
        with contextlib.suppress(Quarantined):
            list(focus_file.parse(whole))


instants = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
amounts = st.integers(-(10**17), 10**17).map(Money)
numbers = st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**9), max_value=10**9)


@st.composite
def charges(draw: st.DrawFn) -> Charge:
    start = draw(instants)
    maybe = st.none() | texts
    return Charge(
        billing_account_id=draw(texts),
        sub_account_id=draw(maybe),
        billing_period=Period.month(start),
        charge_period=Period(start, start + draw(st.timedeltas(timedelta(0), timedelta(days=40)))),
        charge_category=draw(st.sampled_from(sorted(CATEGORIES))),
        charge_class=draw(maybe),
        charge_description=draw(texts),
        provider_name=draw(texts),
        service_name=draw(texts),
        service_category=draw(texts),
        region_id=draw(maybe),
        resource_id=draw(maybe),
        pricing_quantity=draw(numbers),
        consumed_quantity=draw(numbers),
        list_cost=draw(amounts),
        contracted_cost=draw(amounts),
        effective_cost=draw(amounts),
        billed_cost=draw(amounts),
        tags=draw(st.dictionaries(texts, texts, max_size=3)),
    )


@given(st.lists(charges(), max_size=5), st.booleans())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_reads_back_the_same(bill: list[Charge], compressed: bool) -> None:
    target = io.BytesIO()
    written = focus_file.write(target, bill, compressed=compressed)
    body = target.getvalue()
    text = (gzip.decompress(body) if compressed else body).decode()
    assert list(focus_file.parse(text)) == bill
    assert written.row_count == len(bill)


@given(st.lists(charges(), max_size=6).flatmap(lambda bill: st.tuples(st.just(bill), st.permutations(bill))))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_fingerprint_forgets_the_order_and_nothing_else(bills: tuple[list[Charge], list[Charge]]) -> None:
    bill, shuffled = bills
    assert _digest(bill) == _digest(shuffled)
    if bill:
        assert _digest(bill) != _digest(bill[1:])
        assert _digest(bill) != _digest([*bill, bill[0]])


def test_the_same_rows_give_the_same_bytes(line: Callable[..., Charge]) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    for target in (first, second):
        focus_file.write(target, [line("1"), line("2")], compressed=True)
    assert first.getvalue() == second.getvalue()


def test_memory_does_not_grow_with_the_file(tmp_path: Path, line: Callable[..., Charge]) -> None:
    one = line("0.1", tags={"team": "physics"})
    path = tmp_path / "bill.csv.gz"
    with open(path, "wb") as target:
        focus_file.write(target, (one for _ in range(5000)), compressed=True)
    tracemalloc.start()
    assert sum(1 for _ in focus_file.read(path)) == 5000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def _digest(bill: list[Charge]) -> str:
    return focus_file.write(io.BytesIO(), bill, compressed=False).digest


def test_exact_text_survives_a_round_trip() -> None:
    (charge,) = read(with_cell("BilledCost", "0.12345678901234567890"))
    target = io.BytesIO()
    focus_file.write(target, [charge], compressed=False)
    assert list(focus_file.parse(target.getvalue().decode())) == [charge]
    assert charge.billed_cost == Money.of(Decimal("0.123456789"))
