"""Bills: late, in pieces, restated, and in the end exactly what was used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from tallygate.billing.attribute import Life, Registry, tagged_job
from tallygate.billing.charge import Charge
from tallygate.billing.focus_file import parse
from tallygate.billing.source import BillingSource
from tallygate.errors import CredentialsMissing, Unavailable
from tallygate.money import Money
from tallygate.simcloud.bills import SimBill
from tallygate.simcloud.deliveries import PUNCTUAL, Habits, cut
from tallygate.simcloud.dialects import DIALECTS
from tallygate.simcloud.faults import ALWAYS
from tallygate.simcloud.market import Climate
from tallygate.simcloud.timeline import DAY, HOUR, SECOND, instant
from tallygate.simcloud.work import Work
from tallygate.times import ALWAYS as EVER
from tallygate.times import Period

from ..billing.contract import BillingSourceContract

CERTAIN = 1_000_000


def busy(scene: Any, dialect: str, *, machines: int = 8) -> None:
    """A few days of machines, some of them across midnight, some taken back, some leaving things behind."""
    scene.world.faults.set({"leftover": 200_000})
    for number in range(machines):
        hours = scene.world.stream("busy").between(1, 30)
        order = scene.order(dialect, seconds=hours * 3600, work=Work(seconds=hours * 3000), job=f"job{number}")
        scene.world.cloud(dialect).create(scene.provider(dialect)._build(order))
        scene.world.advance(scene.world.stream("busy").between(600, 20_000))
    scene.world.faults.heal()
    scene.world.advance(40 * 3600)
    for remains in scene.world.remains:
        scene.world.fleet.clear(remains)


def total(charges: Iterable[Charge]) -> int:
    return sum(charge.billed_cost.nanos for charge in charges)


@pytest.fixture
def lived(make_scene: Callable[..., Any], dialect: str) -> Any:
    scene = make_scene(5, climate=Climate(jump=200_000))
    busy(scene, dialect)
    return scene


class TestBillsOfSimulatedClouds(BillingSourceContract):
    """All three keep the promises of every billing source, however they deliver."""

    @pytest.fixture
    def source(self, make_scene: Callable[..., Any], dialect: str) -> BillingSource:
        scene = make_scene(5)
        for day in (9, 12, 20):
            scene.world.run_until(datetime(2026, 3, day, 22, tzinfo=UTC))
            scene.launch(dialect, seconds=6 * 3600, work=Work(seconds=5 * 3600))
        scene.world.advance(5 * 86400)
        # A line with neither resource nor tags is found by nobody's rules; here every line shall have one of the two.
        return SimBill(scene.world, dialect, habits=Habits(unnamed=0, untagged=0))


# --- in the end, the truth


def test_the_last_delivery_is_the_truth_to_the_nano(make_scene: Callable[..., Any], dialect: str) -> None:
    for seed in range(25):
        scene = make_scene(seed, climate=Climate(jump=200_000))
        busy(scene, dialect)
        bill = SimBill(scene.world, dialect)
        scene.world.run_until(bill.final_at())
        assert total(bill.charges(EVER)) == scene.world.truth.total() > 0, f"seed {seed}"


def test_every_day_and_every_resource_of_the_last_delivery_is_the_truth(lived: Any, dialect: str) -> None:
    bill = SimBill(lived.world, dialect, habits=Habits(unnamed=0))
    lived.world.run_until(bill.final_at())
    billed: dict[str, int] = {}
    for charge in bill.charges(EVER):
        assert charge.resource_id is not None
        billed[charge.resource_id] = billed.get(charge.resource_id, 0) + charge.billed_cost.nanos
    for meter in lived.world.truth.of():
        assert billed.get(meter.resource_id, 0) == meter.nanos(lived.world.now)
    day = Period.day(instant(lived.world.start).date())
    hours = [Period(day.start + timedelta(hours=hour), day.start + timedelta(hours=hour + 1)) for hour in range(24)]
    assert sum(total(bill.charges(hour)) for hour in hours) == total(bill.charges(day))


def test_lines_of_any_length_add_up_to_what_the_meter_reads(lived: Any) -> None:
    for meter in lived.world.truth.of():
        upto = meter.billed_to(lived.world.now)
        for step in (17 * SECOND * 60, HOUR, DAY):
            lines = list(cut(meter, upto, step))
            assert sum(line.nanos for line in lines) == meter.nanos_to(upto)
            assert lines[0].start == meter.start
            assert lines[-1].end == upto
            assert all(before.end == after.start for before, after in pairwise(lines))


def test_another_currency_is_the_truth_at_each_days_rate(lived: Any, dialect: str) -> None:
    bill = SimBill(lived.world, dialect, currency="EUR")
    lived.world.run_until(bill.final_at())
    step = DIALECTS[dialect].bill_hours * HOUR
    expected = 0
    for meter in lived.world.truth.of():
        if not meter.waived:
            for line in cut(meter, meter.billed_to(lived.world.now), step):
                rate = bill.rate(instant(line.start).astimezone(UTC).date())
                expected += Money(line.nanos).times(rate).nanos
    charges = list(bill.charges(EVER))
    assert {charge.billed_cost.currency for charge in charges} == {"EUR"}
    assert {charge.list_cost.currency for charge in charges} == {"EUR"}
    assert total(charges) == expected
    days = [datetime(2026, 3, day, tzinfo=UTC).date() for day in range(2, 9)]
    assert len({bill.rate(day) for day in days}) > 3, "the rate is dated"
    assert expected != lived.world.truth.total()


def test_time_that_was_waived_is_not_billed(scene: Any) -> None:
    machine = scene.launch("aws", work=Work(seconds=10**6))
    scene.world.advance(60)
    scene.world.take_back(machine, at=scene.world.now + 300 * SECOND)
    bill = SimBill(scene.world, "aws")
    scene.world.advance(10 * 86400)
    charges = list(bill.charges(EVER))
    assert machine.meter is not None
    assert machine.meter.waived
    assert machine.id not in {charge.resource_id for charge in charges}
    assert total(charges) == scene.world.truth.total() > 0


# --- on the way there


def test_nothing_is_on_the_bill_at_first_and_that_is_not_zero(scene: Any, dialect: str) -> None:
    scene.launch(dialect, work=Work(seconds=1200))
    scene.world.advance(3600)
    bill: BillingSource = SimBill(scene.world, dialect)
    assert list(bill.charges(EVER)) == []
    assert bill.complete_through() < instant(scene.world.start)
    assert scene.world.truth.total() > 0


def test_what_is_complete_no_longer_moves(make_scene: Callable[..., Any], dialect: str) -> None:
    habits = Habits(late=300_000, wrong=500_000, doubled=200_000, split=300_000, untagged=300_000)
    for seed in range(3):
        scene = make_scene(seed, climate=Climate())
        busy(scene, dialect)
        bill = SimBill(scene.world, dialect, habits=habits)
        then, figures = None, {}
        for _ in range(30):
            scene.world.advance(5 * 3600)
            rows = list(bill.charges(EVER))
            if then is not None:
                assert _by_line(rows, before=then) == figures
            then = bill.complete_through()
            figures = _by_line(rows, before=then)
        assert figures


def _by_line(charges: Iterable[Charge], *, before: datetime) -> dict[tuple[object, ...], int]:
    found: dict[tuple[object, ...], int] = {}
    for charge in charges:
        if charge.charge_period.start < before:
            key = (charge.resource_id, charge.sku_id, charge.charge_period.start, tuple(sorted(charge.tags)))
            found[key] = found.get(key, 0) + charge.billed_cost.nanos
    return found


def test_the_same_moment_gives_the_same_rows_and_a_later_one_another_order(lived: Any, dialect: str) -> None:
    bill = SimBill(lived.world, dialect)
    lived.world.run_until(bill.final_at())
    once, twice = list(bill.charges(EVER)), list(SimBill(lived.world, dialect).charges(EVER))
    assert once == twice
    lived.world.advance(3600)
    later = list(bill.charges(EVER))
    assert later != once
    assert sorted(map(repr, later)) == sorted(map(repr, once))


def test_lines_come_late_one_after_the_other(lived: Any, dialect: str) -> None:
    bill = SimBill(lived.world, dialect, habits=Habits(wrong=0, doubled=0, split=0))
    seen = []
    while lived.world.instant() < bill.final_at():
        seen.append(len(list(bill.charges(EVER))))
        lived.world.advance(6 * 3600)
    assert seen == sorted(seen)
    assert len(set(seen)) > 3


@pytest.mark.parametrize("habit", ["wrong", "doubled", "split", "untagged", "unnamed", "late"])
def test_each_bad_habit_shows(make_scene: Callable[..., Any], dialect: str, habit: str) -> None:
    scene = make_scene(2)
    busy(scene, dialect, machines=3)
    good = SimBill(scene.world, dialect, habits=PUNCTUAL)
    bad = SimBill(scene.world, dialect, habits=Habits(**{**_none(), habit: CERTAIN}))
    differs = False
    while scene.world.instant() < good.final_at():
        scene.world.advance(3 * 3600)
        differs = differs or sorted(map(repr, bad.charges(EVER))) != sorted(map(repr, good.charges(EVER)))
    assert differs
    assert total(bad.charges(EVER)) == total(good.charges(EVER)) == scene.world.truth.total()


def _none() -> dict[str, int]:
    return {"late": 0, "wrong": 0, "doubled": 0, "split": 0, "untagged": 0, "unnamed": 0}


def test_a_wrong_line_is_restated_in_place_or_set_right_by_another(lived: Any, dialect: str) -> None:
    for corrected in (0, CERTAIN):
        habits = Habits(**{**_none(), "wrong": CERTAIN}, corrected=corrected)
        bill = SimBill(lived.world, dialect, habits=habits)
        lived.world.run_until(bill.final_at())
        rows = list(bill.charges(EVER))
        assert any(charge.billed_cost.nanos < 0 for charge in rows) == bool(corrected)
        assert total(rows) == lived.world.truth.total()


def test_a_correction_after_the_invoice_says_so(lived: Any, dialect: str) -> None:
    bill = SimBill(lived.world, dialect, habits=Habits(**{**_none(), "wrong": CERTAIN}, corrected=CERTAIN))
    lived.world.run_until(bill.final_at())
    open_month = list(bill.charges(EVER))
    assert {charge.charge_class for charge in open_month} == {None}
    assert {charge.invoice_id for charge in open_month} == {None}
    lived.world.run_until(datetime(2026, 4, 7, tzinfo=UTC))
    invoiced = list(bill.charges(EVER))
    assert {charge.charge_class for charge in invoiced} == {None, "Correction"}
    assert None not in {charge.invoice_id for charge in invoiced}
    assert total(invoiced) == total(open_month)


def test_some_lines_have_no_tags_and_some_no_resource(lived: Any, dialect: str) -> None:
    bill = SimBill(lived.world, dialect, habits=Habits(untagged=400_000, unnamed=300_000))
    lived.world.run_until(bill.final_at())
    kinds = {(bool(charge.tags), charge.resource_id is not None) for charge in bill.charges(EVER)}
    assert kinds == {(True, True), (True, False), (False, True), (False, False)}


def test_most_of_the_money_finds_its_job_and_nothing_is_lost(lived: Any, dialect: str) -> None:
    bill = SimBill(lived.world, dialect)
    lived.world.run_until(bill.final_at())
    lives = [
        Life(
            machine.job_id or "",
            "USD",
            machine.resource_ids(),
            Period(instant(machine.created_at), instant(machine.ended_at or lived.world.now)),
        )
        for machine in lived.world.machines.values()
    ]
    registry = Registry(lives, lambda job_id: "USD" if job_id in lived.world.truth.jobs() else None)
    borne: dict[str, int] = {}
    nobodys = 0
    for charge in bill.charges(EVER):
        parts = registry.attribute(charge)
        if isinstance(parts, str):
            nobodys += charge.billed_cost.nanos
            continue
        for part in parts:
            borne[part.job_id] = borne.get(part.job_id, 0) + part.billed.nanos
    assert sum(borne.values()) + nobodys == lived.world.truth.total()
    assert nobodys < lived.world.truth.total() // 20
    for job_id, nanos in borne.items():
        assert nanos <= lived.world.truth.job(job_id)


# --- as a source


def test_asking_is_counted_and_has_a_price(lived: Any, dialect: str) -> None:
    bill = SimBill(lived.world, dialect, habits=Habits(**{**_none(), "split": CERTAIN}))
    assert bill.calls == 0
    lived.world.run_until(bill.final_at())
    rows = list(bill.charges(EVER))
    assert bill.calls == 1 + (len(rows) - 1) // 1000
    assert bill.call_price == DIALECTS[dialect].bill_call_price
    assert bill.name == f"sim-{dialect}"


def test_accounts_have_bills_of_their_own(lived: Any, dialect: str) -> None:
    lived.world.advance(20 * 86400)
    assert list(SimBill(lived.world, dialect, account="elsewhere").charges(EVER)) == []


def test_a_bill_that_cannot_be_had_is_no_empty_bill(lived: Any, dialect: str) -> None:
    bill = SimBill(lived.world, dialect)
    lived.world.faults.set({"bill_outage": ALWAYS})
    with pytest.raises(Unavailable):
        bill.charges(EVER)
    lived.world.faults.heal()
    lived.world.faults.set({"expired_credentials": ALWAYS})
    with pytest.raises(CredentialsMissing):
        bill.charges(EVER)
    lived.world.faults.heal()
    assert bill.calls == 2
    list(bill.charges(EVER))


def test_every_row_keeps_the_rules_of_focus(lived: Any, dialect: str) -> None:
    bill = SimBill(lived.world, dialect)
    lived.world.run_until(bill.final_at())
    categories: dict[str, set[str]] = {}
    for charge in bill.charges(EVER):
        assert charge.charge_period.start < charge.charge_period.end
        assert charge.charge_period.start in charge.billing_period
        assert charge.provider_name == DIALECTS[dialect].title
        assert charge.pricing_category in ("Dynamic", "Standard")
        assert charge.resource_id is not None or charge.resource_name is charge.resource_type is None
        categories.setdefault(charge.service_name, set()).add(charge.service_category)
        if charge.pricing_quantity is None:
            assert charge.list_cost.is_zero
            continue
        assert charge.list_unit_price is not None
        difference = charge.list_unit_price * charge.pricing_quantity - charge.list_cost.decimal
        assert abs(difference) < Decimal("0.00000001")
    assert all(len(found) == 1 for found in categories.values())
    assert set().union(*categories.values()) == {"Compute", "Storage", "Networking"}


def test_rows_survive_being_written_and_read_as_a_file(lived: Any, dialect: str, tmp_path: Any) -> None:
    from tallygate.billing import focus_file

    bill = SimBill(lived.world, dialect)
    lived.world.run_until(bill.final_at())
    rows = list(bill.charges(EVER))
    with open(tmp_path / "bill.csv", "wb") as target:
        focus_file.write(target, iter(rows), compressed=False)
    text = (tmp_path / "bill.csv").read_text(encoding="utf-8")
    read = list(parse(text))
    assert total(read) == total(rows)
    assert [charge.tags for charge in read] == [dict(charge.tags) for charge in rows]


# --- in the clouds' own columns


def test_native_rows_are_the_same_bill_in_other_words(lived: Any, dialect: str) -> None:
    bill = SimBill(lived.world, dialect)
    while lived.world.instant() < bill.final_at():
        lived.world.advance(5 * 3600)
        charges, native = list(bill.charges(EVER)), bill.native(EVER)
        assert len(native) == len(charges)
        for row, charge in zip(native, charges, strict=True):
            assert _cost(row, dialect) == charge.billed_cost.decimal
            assert _job(row, dialect) == tagged_job(charge)


def _cost(row: dict[str, Any], dialect: str) -> Decimal:
    if dialect == "aws":
        return Decimal(row["line_item_unblended_cost"])
    if dialect == "gcp":
        return Decimal(row["cost"]) + sum((Decimal(credit["amount"]) for credit in row["credits"]), Decimal(0))
    return Decimal(row["CostInBillingCurrency"])


def _job(row: dict[str, Any], dialect: str) -> str | None:
    if dialect == "aws":
        found: dict[str, str] = row["resource_tags"]
        return found.get("user_tallygate_job")
    if dialect == "gcp":
        return next((label["value"] for label in row["labels"] if label["key"] == "tallygate-job"), None)
    of_azure: dict[str, str] = json.loads("{" + row["Tags"] + "}")
    return of_azure.get("tallygate-job")


def test_native_columns_have_the_quirks_that_their_clouds_document(make_scene: Callable[..., Any]) -> None:
    rows = {}
    for dialect in ("aws", "gcp", "azure"):
        scene = make_scene(5)
        busy(scene, dialect, machines=3)
        bill = SimBill(scene.world, dialect, habits=PUNCTUAL)
        scene.world.run_until(bill.final_at())
        rows[dialect] = bill.native(EVER)
    assert len({row["identity_line_item_id"] for row in rows["aws"]}) == len(rows["aws"])
    assert any("SpotUsage" in str(row["line_item_usage_type"]) for row in rows["aws"])
    assert any(str(row["resource"]).count("//compute.googleapis.com/projects/") for row in rows["gcp"])
    for row in rows["azure"]:
        assert str(row["ResourceId"]) == str(row["ResourceId"]).lower()
        assert not str(row["Tags"]).startswith("{")
        assert row["BillingPeriodEndDate"] == "03/31/2026"


def test_googles_invoice_month_is_californias(make_scene: Callable[..., Any]) -> None:
    scene = make_scene(1)
    scene.world.run_until(datetime(2026, 3, 31, 22, tzinfo=UTC))
    scene.launch("gcp", seconds=12 * 3600, work=Work(seconds=11 * 3600))
    bill = SimBill(scene.world, "gcp", habits=PUNCTUAL)
    scene.world.advance(20 * 86400)
    months = {row["usage_start_time"]: row["invoice"] for row in bill.native(EVER)}
    assert months["2026-04-01T06:00:00Z"] == {"month": "202603"}
    assert months["2026-04-01T07:00:00Z"] == {"month": "202604"}
