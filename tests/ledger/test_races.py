"""Two at the same money: who changes nothing waits for nobody, and who meets others half-way ends in order."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Barrier

import pytest

from tallygate.errors import StoreDeadlock
from tallygate.ids import SystemEntropy
from tallygate.ledger.book import Book
from tallygate.money import Money
from tallygate.store.database import Database, open_database
from tallygate.store.journal import JournalStore
from tallygate.times import SystemClock
from tests.conftest import START, ManualClock, SeededEntropy

JOBS = 40


@contextmanager
def opened(url: str, *, busy_seconds: float = 30) -> Iterator[tuple[Database, Book]]:
    database = open_database(url, busy_seconds=busy_seconds)
    try:
        yield database, Book(JournalStore(database), clock=SystemClock(), entropy=SystemEntropy(), author="race")
    finally:
        database.close()


def test_a_bill_that_changes_nothing_does_not_wait_for_a_writer(database_url: str) -> None:
    with opened(database_url) as (_, book), opened(database_url, busy_seconds=0.2) as (_, impatient):
        budget = book.add_budget(name="lab", limit=Money.of(100))
        until = SystemClock().now() + timedelta(hours=1)
        book.authorize(job_id="job-1", budgets=[budget], job_limit=None, amount=Money.of(5), expires_at=until)
        settled = book.settle(job_id="job-1", target=Money.of(2), final=False)
        with opened(database_url) as (writer, holding), writer.transaction():
            holding.settle(job_id="job-1", target=Money.of(3), final=False)  # not committed, and in everybody's way
            assert impatient.settle(job_id="job-1", target=Money.of(2), final=False) == settled


def test_jobs_that_share_budgets_in_every_order_end_without_a_deadlock(database_url: str) -> None:
    """Admissions, extensions and bills of jobs on overlapping budgets, from four connections at once: nobody is turned away."""
    names = ("lab", "lab/a", "lab/b")
    with opened(database_url) as (_, book):
        budgets = {name: book.add_budget(name=name, limit=Money.of(1_000_000)) for name in names}
    until = SystemClock().now() + timedelta(hours=1)
    start = Barrier(4)

    def work(number: int) -> None:
        with opened(database_url) as (_, mine):
            start.wait()
            for turn in range(JOBS):
                job = f"job-{number}-{turn:03}"
                chosen = [budgets[name] for name in (names if (number + turn) % 2 else reversed(names))]
                mine.authorize(job_id=job, budgets=chosen, job_limit=None, amount=Money.of(10), expires_at=until)
                mine.extend(job_id=job, amount=Money.of(1), key="more", raise_job_limit=True)
                mine.settle(job_id=job, target=Money.of(7), final=turn % 3 == 0)
                if turn:  # a job of somebody else, which its owner may be changing right now
                    mine.settle(job_id=f"job-{number}-{turn - 1:03}", target=Money.of(8), final=True)

    with ThreadPoolExecutor(4) as pool:
        for outcome in [pool.submit(work, number) for number in range(4)]:
            outcome.result()
    with opened(database_url) as (_, book):
        assert book.verify().problem is None
        for name in names:
            account = book.account(budgets[name], SystemClock().now())
            still_open = 4 * sum(turn == JOBS - 1 and turn % 3 != 0 for turn in range(JOBS))
            assert account.held == Money.of((11 - 7) * still_open)
            assert account.spent == Money.of(4 * (8 * (JOBS - 1) + 7))


def test_a_deadlock_is_tried_again_and_told_when_it_does_not_go_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database names a victim now and then. It is not the caller's business, unless it goes on."""
    journal = JournalStore(database)
    book = Book(journal, clock=ManualClock(), entropy=SeededEntropy(), author="race")
    budget = book.add_budget(name="lab", limit=Money.of(100))
    book.authorize(
        job_id="job-1", budgets=[budget], job_limit=None, amount=Money.of(5), expires_at=START + timedelta(hours=1)
    )
    victims = iter([True, True, False, False])  # two tries fail, the third writes both holds
    revise = journal.revise

    def unlucky(hold: object) -> None:
        if next(victims, True):
            raise StoreDeadlock("chosen to give way")
        revise(hold)  # type: ignore[arg-type]

    monkeypatch.setattr(journal, "revise", unlucky)
    (own, lab) = sorted(book.settle(job_id="job-1", target=Money.of(2), final=False), key=lambda hold: hold.account_id)
    assert (own.spent, lab.spent) == (Money.of(2), Money.of(2))
    assert book.verify().problem is None
    with pytest.raises(StoreDeadlock):
        book.settle(job_id="job-1", target=Money.of(3), final=False)
    assert {hold.spent for hold in book.holds("job-1")} == {Money.of(2)}  # nothing half done
