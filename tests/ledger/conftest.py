"""What the ledger's tests share: a book on a real database, and the scenarios."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from tallygate.ids import Entropy
from tallygate.ledger.book import Book
from tallygate.ledger.holds import Budget, Hold
from tallygate.money import Money
from tallygate.store.database import Database
from tallygate.store.journal import JournalStore
from tallygate.times import Clock


class Scenario(NamedTuple):
    """A promise and the lines that tell it."""

    promise: str
    lines: tuple[str, ...]


def scenarios() -> list[Scenario]:
    text = Path(__file__).with_name("scenarios.txt").read_text(encoding="utf-8")
    found = []
    for part in text.split("\n== ")[1:]:
        promise, *lines = part.splitlines()
        found.append(Scenario(promise, tuple(line for line in lines if line.strip())))
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "scenario" in metafunc.fixturenames:
        told = scenarios()
        metafunc.parametrize("scenario", told, ids=[each.promise for each in told])


@pytest.fixture
def book(database: Database, clock: Clock, entropy: Entropy) -> Book:
    """A book without budgets on a real database."""
    return Book(JournalStore(database), clock=clock, entropy=entropy, author="tests")


Authorize = Callable[..., list[Hold]]


@pytest.fixture
def hour(clock: Clock) -> datetime:
    """One hour from the start of the test."""
    return clock.now() + timedelta(hours=1)


@pytest.fixture
def authorize(book: Book, hour: datetime) -> Authorize:
    """``authorize("job-1", "5.00", team, org)``: hold on the budgets, and on the job's own account unless told not to."""

    def held(
        job_id: str, amount: str | Money, *budgets: Budget, job_limit: str | None = None, own_account: bool = True
    ) -> list[Hold]:
        return book.authorize(
            job_id=job_id,
            budgets=budgets,
            job_limit=None if job_limit is None else Money.of(job_limit),
            amount=Money.of(amount) if isinstance(amount, str) else amount,
            expires_at=hour,
            own_account=own_account,
        )

    return held
