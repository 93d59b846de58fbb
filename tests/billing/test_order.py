"""The bill is counted once: late, repeated, re-ordered and restated deliveries end in the same totals, to the nano."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallygate.billing.charge import Charge
from tallygate.billing.collect import Delivery
from tallygate.billing.versions import Band, VersionState, current
from tallygate.jobs.job import CostState, Job
from tallygate.money import Money
from tallygate.times import Period

if TYPE_CHECKING:
    from tests.billing.conftest import Office

DAY = timedelta(days=1)

rows = st.lists(
    st.tuples(
        st.sampled_from(["m-0", "m-1", "m-2", "i-other", None]),
        st.integers(0, 5),
        st.sampled_from(["0.5", "2", "-0.25", "1.000000001", "40"]),
    ),
    max_size=6,
)
deliveries = st.lists(
    st.tuples(rows, st.integers(0, 4), st.sampled_from([0, 3, 31]), st.sampled_from([None, None, 3])),
    min_size=1,
    max_size=5,
)
histories = deliveries.flatmap(
    lambda known: st.tuples(st.just(known), st.lists(st.sampled_from(range(len(known))), max_size=4), st.randoms())
)
_numbers = itertools.count()


@given(histories)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_order_with_any_repeats_ends_in_the_same_books(
    office: Office,
    line: Callable[..., Charge],
    march: Period,
    history: tuple[list[tuple[object, ...]], list[int], object],
) -> None:
    """Jobs, days, unattributed lines, account totals, spent money and the standing of every version are the same."""
    known, repeats, random = history
    order = [*range(len(known)), *repeats]
    random.shuffle(order)  # type: ignore[attr-defined]
    straight = _books(office, line, march, known, list(range(len(known))))
    shuffled = _books(office, line, march, known, order)
    assert shuffled == straight
    assert office.charges.out_of_balance() == []


def _books(
    office: Office, line: Callable[..., Charge], march: Period, known: list[tuple[object, ...]], order: list[int]
) -> dict[str, object]:
    """What the books say after the deliveries came in ``order``, in a corner of the store of their own."""
    source = f"cloud{next(_numbers)}"
    jobs: list[Job] = []
    with office.database.transaction():
        for number in range(3):
            start = march.start + number * DAY
            jobs.append(office.job(f"m-{number}", provider=source, start=start, seconds=90_000, price="0.5", hold="30"))
    for number in order:
        lines, issued, complete, announced = known[number]
        office.collector.deliver(
            Delivery(
                source=source,
                period=march,
                charges=[
                    line(cost, resource=resource, start=march.start + day * DAY, hours=24)
                    for resource, day, cost in lines
                ],
                issued_at=march.end + issued * DAY,
                complete_through=march.start + complete * DAY,
                expected_rows=announced,
            )
        )
    view = office.view(jobs, source)
    _adds_up(office, source, march, jobs)
    return view


def _adds_up(office: Office, source: str, march: Period, jobs: list[Job]) -> None:
    """Jobs and unattributed lines together are the control total of the version that counts."""
    counts = current(office.charges.versions(source, march))
    expected = Money.zero() if counts is None else counts.totals().get("USD", Money.zero())
    nobodys = office.database.all("charges.period_unattributed", source=source, period_start=march.start)
    of_jobs = sum(row.billed.nanos for job in jobs for row in office.charges.facts(job.id).rows)
    assert Money(of_jobs + sum(row["amount_nanos"] for row in nobodys)) == expected  # type: ignore[misc]


def test_an_old_bill_that_comes_late_is_kept_and_does_not_count(
    office: Office, line: Callable[..., Charge], march: Period
) -> None:
    job = office.job("i-1", start=march.start)

    def deliver(cost: str, issued: int) -> None:
        office.collector.deliver(
            Delivery(
                source="aws",
                period=march,
                charges=[line(cost)],
                issued_at=march.end + issued * DAY,
                complete_through=march.end,
            )
        )

    deliver("0.9", 2)
    deliver("0.8", 1)
    assert [each.state for each in office.charges.versions("aws", march)] == [
        VersionState.CURRENT,
        VersionState.SUPERSEDED,
    ]
    assert office.spent(job) == Money.of("0.9")


def test_a_missing_delivery_that_comes_late_can_change_which_one_counts(
    office: Office, line: Callable[..., Charge], march: Period
) -> None:
    """A bill that looked odd beside the last one known is judged again when the one between them arrives."""
    job = office.job("i-1", start=march.start, hold="50")
    collector = office.collector_over({"aws": office.bill}, Band())

    def deliver(cost: str, issued: int) -> None:
        collector.deliver(
            Delivery(
                source="aws",
                period=march,
                charges=[line(cost)],
                issued_at=march.end + issued * DAY,
                complete_through=march.end,
            )
        )

    deliver("10", 1)
    deliver("20", 3)
    assert office.spent(job) == Money.of("10")
    deliver("14", 2)
    assert office.spent(job) == Money.of("20")
    assert [each.state for each in office.charges.versions("aws", march)] == [
        VersionState.SUPERSEDED,
        VersionState.CURRENT,
        VersionState.SUPERSEDED,
    ]


def test_a_later_bill_that_is_less_complete_makes_a_final_cost_open_again(
    office: Office, line: Callable[..., Charge], march: Period
) -> None:
    """What is final follows from the bill that counts, not from what was once believed."""
    job = office.job("i-1", start=march.start)
    for issued, through in ((1, march.end), (2, march.start)):
        office.collector.deliver(
            Delivery(
                source="aws",
                period=march,
                charges=[line("0.9")],
                issued_at=march.end + issued * DAY,
                complete_through=through,
            )
        )
        expected = CostState.FINAL if through == march.end else CostState.BILLED
        assert office.jobs.get(job.id).cost_state is expected
