"""Several processes collect at once, and people launch meanwhile: nobody's bill is lost and nothing is counted twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tallygate.billing.charge import Charge
from tallygate.billing.collect import Delivery
from tallygate.billing.versions import VersionState
from tallygate.ids import SystemEntropy
from tallygate.money import Money
from tallygate.store.database import open_database
from tallygate.times import Period
from tests.billing.conftest import Office

if TYPE_CHECKING:
    from tests.billing.conftest import MovableClock

DAY = timedelta(days=1)


def together(acts: list[Callable[[], object]]) -> list[BaseException | None]:
    """Carry out all ``acts`` at the same moment; what went wrong with each."""
    gate = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        gate.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.exception() for future in [pool.submit(run, act) for act in acts]]


def test_different_bills_delivered_at_once_all_count_as_if_one_came_after_the_other(
    database_url: str, clock: MovableClock, tmp_path: Path, line: Callable[..., Charge], march: Period
) -> None:
    home = Office(open_database(database_url), clock, SystemEntropy(), tmp_path)
    home.book.add_budget(name="lab", limit=Money.of("1000"))
    jobs = [home.job(f"i-{n}", start=march.start, hold="20", budgets=("lab",)) for n in range(4)]

    def deliver(number: int) -> Callable[[], object]:
        def act() -> object:
            office = Office(open_database(database_url), clock, SystemEntropy(), tmp_path)
            try:
                return office.collector.deliver(
                    Delivery(
                        source="aws",
                        period=march,
                        charges=[line(f"{10 + number}", resource=f"i-{n}") for n in range(4)],
                        issued_at=march.end + number * DAY,
                        complete_through=march.end,
                    )
                )
            finally:
                office.database.close()

        return act

    assert together([deliver(number) for number in range(4)]) == [None] * 4
    versions = home.charges.versions("aws", march)
    assert [each.number for each in versions] == [1, 2, 3, 4]
    assert [each.state for each in versions].count(VersionState.CURRENT) == 1
    assert {home.jobs.get(job.id).final_cost for job in jobs} == {Money.of("13")}
    assert {home.spent(job) for job in jobs} == {Money.of("13")}
    assert home.book.account(home.book.budget("lab"), clock.now()).spent == Money.of("52")
    for version in versions:
        assert len(list(home.snapshots.read(version))) == 4
    assert home.charges.out_of_balance() == []
    assert home.book.verify().is_clean
    home.database.close()


def test_collecting_and_settling_by_hand_do_not_lock_each_other_out(
    database_url: str, clock: MovableClock, tmp_path: Path, line: Callable[..., Charge], march: Period
) -> None:
    """A watcher settles jobs one way round while a bill settles them the other way; both get through."""
    home = Office(open_database(database_url), clock, SystemEntropy(), tmp_path)
    home.book.add_budget(name="lab", limit=Money.of("1000"))
    jobs = [home.job(f"i-{n}", start=march.start, hold="20", budgets=("lab",)) for n in range(6)]

    def watcher() -> None:
        office = Office(open_database(database_url), clock, SystemEntropy(), tmp_path)
        for turn in range(3):
            for job in reversed(jobs):
                office.book.settle(job_id=job.id, target=Money.of(f"1.{turn}"), final=True)
        office.database.close()

    def collector() -> None:
        office = Office(open_database(database_url), clock, SystemEntropy(), tmp_path)
        for turn in range(3):
            office.collector.deliver(
                Delivery(
                    source="aws",
                    period=march,
                    charges=[line(f"2.{turn}", resource=f"i-{n}") for n in range(6)],
                    issued_at=march.end + turn * DAY,
                    complete_through=march.end,
                )
            )
        office.database.close()

    assert together([watcher, collector]) == [None, None]
    assert {home.jobs.get(job.id).final_cost for job in jobs} == {Money.of("2.2")}
    assert home.book.verify().is_clean
    home.database.close()
