"""Every line of a bill goes to the right job or to nobody, whole or in parts that make up the whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.billing.attribute import Life, Registry, by_day, cost_type, tagged_job, tally
from tallygate.billing.charge import Charge
from tallygate.money import Money, total
from tallygate.times import Period

Line = Callable[..., Charge]

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def life(job: str, start: datetime, hours: int = 1, *resources: str, currency: str = "USD") -> Life:
    return Life(job, currency, resources or ("i-1",), Period(start, start + hours * HOUR))


def registry(*lives: Life, known: tuple[str, ...] = ()) -> Registry:
    return Registry(lives, lambda job_id: "USD" if job_id in known else None)


def bearers(found: object) -> dict[str, Money]:
    assert isinstance(found, list), found
    return {part.job_id: part.billed for part in found}


def test_a_line_goes_to_whoever_had_the_resource_then(line: Line) -> None:
    """The same id used by two jobs one after the other is two machines' worth of lines."""
    known = registry(life("a", NOON), life("b", NOON + 5 * HOUR))
    assert bearers(known.attribute(line("1", start=NOON))) == {"a": Money.of("1")}
    assert bearers(known.attribute(line("2", start=NOON + 5 * HOUR))) == {"b": Money.of("2")}


def test_the_resource_decides_before_the_tag(line: Line) -> None:
    known = registry(life("a", NOON), known=("b",))
    assert bearers(known.attribute(line("1", start=NOON, tags={"tallygate-job": "b"}))) == {"a": Money.of("1")}


@pytest.mark.parametrize("key", ["tallygate-job", "Tallygate-Job", "user:tallygate-job", "user_tallygate_job"])
def test_a_tag_decides_where_the_resource_does_not(line: Line, key: str) -> None:
    charge = line("1", resource="disk-9", start=NOON, tags={"team": "x", key: "b"})
    assert tagged_job(charge) == "b"
    assert bearers(registry(life("a", NOON), known=("b",)).attribute(charge)) == {"b": Money.of("1")}


@pytest.mark.parametrize(
    ("resource", "hours_later", "tags", "reason"),
    [
        (None, 0, {}, "it names neither a resource nor a job"),
        ("i-9", 0, {}, "its resource is none of ours and has no job tag"),
        ("i-1", 9, {}, "its resource ran no job at that time"),
        ("i-9", 0, {"tallygate-job": "ghost"}, "its tag names job ghost, which is not known here"),
    ],
)
def test_a_line_of_nobody_says_why(
    line: Line, resource: str | None, hours_later: int, tags: dict[str, str], reason: str
) -> None:
    known = registry(life("a", NOON))
    assert known.attribute(line("1", resource=resource, start=NOON + hours_later * HOUR, tags=tags)) == reason


@pytest.mark.parametrize(
    "name",
    ["arn:aws:ec2:us-east-1:123:instance/i-1", "I-1", "//compute.googleapis.com/projects/p/zones/z/instances/i-1"],
)
def test_a_bill_may_name_a_resource_by_its_whole_path(line: Line, name: str) -> None:
    assert bearers(registry(life("a", NOON)).attribute(line("1", resource=name, start=NOON))) == {"a": Money.of("1")}


def test_disks_and_addresses_of_a_machine_count_too(line: Line) -> None:
    known = registry(life("a", NOON, 1, "i-1", "vol-7"))
    assert bearers(known.attribute(line("1", resource="vol-7", start=NOON))) == {"a": Money.of("1")}


def test_a_line_in_another_currency_is_nobodys(line: Line) -> None:
    known = registry(life("a", NOON), known=("b",))
    reason = "it is billed in EUR and the job is kept in USD"
    assert known.attribute(line("1", start=NOON, currency="EUR")) == reason
    assert known.attribute(line("1", resource=None, start=NOON, currency="EUR", tags={"tallygate-job": "b"})) == reason


def test_a_line_over_two_jobs_is_split_by_time(line: Line) -> None:
    """An hour's line of a machine that worked 15 minutes for one job and 30 for the other is split one to two."""
    first = Life("a", "USD", ("i-1",), Period(NOON, NOON + timedelta(minutes=15)))
    second = Life("b", "USD", ("i-1",), Period(NOON + timedelta(minutes=30), NOON + HOUR))
    found = registry(first, second).attribute(line("0.10", start=NOON))
    assert bearers(found) == {"a": Money(33_333_333), "b": Money(66_666_667)}


def test_a_line_just_after_the_observed_end_is_still_the_jobs(line: Line) -> None:
    known = registry(life("a", NOON))
    assert bearers(known.attribute(line("1", start=NOON + HOUR + timedelta(minutes=30)))) == {"a": Money.of("1")}


def test_half_open_periods_do_not_touch(line: Line) -> None:
    known = registry(life("a", NOON))
    assert known.attribute(line("1", start=NOON - HOUR)) == "its resource ran no job at that time"


spans = st.tuples(st.integers(0, 200), st.integers(0, 60)).map(
    lambda pair: Period(NOON + pair[0] * timedelta(minutes=7), NOON + (pair[0] + pair[1]) * timedelta(minutes=7))
)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), spans), max_size=6),
    spans,
    st.integers(-(10**12), 10**12),
)
def test_parts_make_up_the_line_exactly(lives: list[tuple[str, Period]], when: Period, nanos: int) -> None:
    """Nothing is lost and nothing is made, whatever overlaps, and nobody outside the candidates bears anything."""
    amount = Money(nanos)
    charge = Charge(
        billing_account_id="1",
        billing_period=Period.month(NOON),
        charge_period=when,
        charge_category="Usage",
        charge_description="",
        provider_name="aws",
        service_name="EC2",
        service_category="Compute",
        resource_id="i-1",
        list_cost=amount,
        contracted_cost=amount,
        effective_cost=amount,
        billed_cost=amount,
    )
    known = Registry([Life(job, "USD", ("i-1",), span) for job, span in lives], lambda _: None)
    found = known.attribute(charge)
    counted = tally([charge], known)
    assert counted.totals() == {"USD": nanos}
    assert sum(counted.accounts.values()) == nanos
    if isinstance(found, str):
        assert counted.days == {}
        return
    assert total(part.billed for part in found) == amount
    assert {part.job_id for part in found} <= {job for job, _ in lives}
    assert sum(counted.days.values()) == nanos


@given(spans, st.integers(0, 400), st.integers(-(10**15), 10**15))
def test_days_make_up_an_amount_exactly(span: Period, hours: int, nanos: int) -> None:
    longer = Period(span.start, span.end + hours * HOUR)
    days = list(by_day(longer, Money(nanos)))
    assert total(amount for _, amount in days) == Money(nanos)
    assert [day for day, _ in days] == sorted({day for day, _ in days})
    assert days[0][0] == longer.start.date()
    last = longer.end - timedelta(microseconds=1) if longer.end > longer.start else longer.end
    assert days[-1][0] == last.date()


@pytest.mark.parametrize(
    ("category", "kind", "expected"),
    [
        ("Compute", "Usage", "spot_compute"),
        ("Storage", "Usage", "storage"),
        ("Networking", "Usage", "network"),
        ("AI and Machine Learning", "Usage", "ai_and_machine_learning"),
        ("Compute", "Credit", "credit"),
        ("Compute", "Tax", "tax"),
    ],
)
def test_kinds_of_cost_have_the_documented_words(line: Line, category: str, kind: str, expected: str) -> None:
    assert cost_type(line("1", category=category, kind=kind)) == expected


def test_lines_of_nobody_that_are_alike_are_kept_as_one_with_their_number(line: Line) -> None:
    counted = tally([line("1", resource=None), line("2"), line("3", resource=None)], registry())
    assert sorted((each.line, each.lines, each.nanos) for each in counted.nobodys.values()) == [
        (1, 2, 4_000_000_000),
        (2, 1, 2_000_000_000),
    ]
