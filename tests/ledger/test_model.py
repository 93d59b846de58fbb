"""The ledger against a plain model: any order of acts, repeats, crashes and clock moves ends in the same figures.

The model keeps dictionaries of whole numbers. It derives the jars from the holds, where the ledger derives them from its
entries; after every act all accounts and holds are compared, and the invariants of the money are checked.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tallygate.errors import BudgetExceeded, Conflict, HoldClosed, UsageError
from tallygate.ledger.book import Book
from tallygate.ledger.holds import Budget, BudgetPeriod, Hold
from tallygate.ledger.windows import window
from tallygate.money import Money
from tallygate.store.database import open_database
from tallygate.store.journal import JournalStore
from tests.conftest import ManualClock, SeededEntropy, temporary_database

NAMES = ("org", "org/team", "org/team/project", "solo")
ZONE = "Europe/Berlin"
START = datetime(2026, 3, 27, 20, tzinfo=UTC)
"""Two days before clocks change in Berlin, so that a window of 23 hours comes up."""

amounts = st.integers(min_value=1, max_value=60)
limits = st.integers(min_value=0, max_value=150)
keys = st.sampled_from(("a", "b"))


@dataclass
class Claim:
    """What the model knows of one job's hold on one account. ``beyond`` is what was spent outside the hold."""

    authorized: int
    amount: int
    expires_at: datetime
    captured: int = 0
    released: int = 0
    beyond: int = 0
    is_open: bool = True

    @property
    def kept(self) -> int:
        return self.amount - self.captured - self.released

    @property
    def spent(self) -> int:
        return self.captured + self.beyond

    def settle(self, target: int, *, final: bool) -> None:
        rise = target - self.spent
        if rise > 0:
            taken = min(rise, self.kept)
            self.captured += taken
            self.beyond += rise - taken
        elif self.is_open and not final:
            back = min(-rise, max(0, self.beyond))
            returned = min(-rise - back, self.captured)
            self.captured -= returned
            self.beyond -= -rise - returned
        else:
            self.beyond += rise
        if final:
            self.close()

    def close(self) -> None:
        self.released += self.kept
        self.is_open = False


@dataclass
class Jars:
    """What the model knows of one account."""

    limit: int
    hard: bool = True
    claims: dict[str, Claim] = field(default_factory=dict)

    @property
    def held(self) -> int:
        return sum(claim.kept for claim in self.claims.values() if claim.is_open)

    @property
    def spent(self) -> int:
        return sum(claim.spent for claim in self.claims.values())

    def fits(self, amount: int) -> bool:
        return not self.hard or self.held + self.spent + amount <= self.limit


class TickingClock(ManualClock):
    """A clock that never shows the same moment twice, as real ones do not."""

    def now(self) -> datetime:
        self.advance(0.000001)
        return super().now()


class Crash(Exception):
    """The process that dies midway."""


class LedgerMachine(RuleBasedStateMachine):
    """Acts on a real book and on the model alike."""

    def __init__(self, fresh_url: Callable[[], str]) -> None:
        super().__init__()
        self.url = fresh_url()
        self.clock = TickingClock(START)
        self.entropy = SeededEntropy()
        self.budgets: dict[str, Budget] = {}
        self.windows: dict[tuple[str, datetime], Jars] = {}
        self.own: dict[str, Jars] = {}
        self.jobs: dict[str, list[Jars]] = {}
        self.asked: dict[str, dict[str, object]] = {}
        self.used_keys: dict[tuple[str, str], int] = {}
        self.topped_up: set[tuple[str, str]] = set()
        self.ever_closed: set[str] = set()
        self.open()

    def open(self) -> None:
        self.database = open_database(self.url)
        self.book = Book(JournalStore(self.database), clock=self.clock, entropy=self.entropy)

    def teardown(self) -> None:
        self.database.close()

    # --- the model's accounts

    def start_of(self, budget: Budget) -> datetime:
        return window(budget.period, budget.zone, self.clock.now()).start

    def current(self, name: str) -> Jars:
        budget = self.budgets[name]
        return self.windows.setdefault((name, self.start_of(budget)), Jars(budget.limit.nanos, budget.hard))

    def applying(self, name: str) -> list[Budget]:
        return [budget for scope, budget in self.budgets.items() if name == scope or name.startswith(scope + "/")]

    # --- budgets

    @initialize()
    def one_budget_to_start_with(self) -> None:
        self.add_budget("org", 100, BudgetPeriod.NONE, True)

    @rule(
        name=st.sampled_from(NAMES),
        limit=limits,
        period=st.sampled_from((BudgetPeriod.NONE, BudgetPeriod.DAY, BudgetPeriod.MONTH)),
        hard=st.booleans(),
    )
    def add_budget(self, name: str, limit: int, period: BudgetPeriod, hard: bool) -> None:
        asked = {"name": name, "limit": Money(limit), "period": period, "zone": ZONE, "hard": hard}
        known = self.budgets.get(name)
        if known is None:
            self.budgets[name] = self.book.add_budget(**asked)
            self.current(name)
        elif (known.limit, known.period, known.hard) == (Money(limit), period, hard):
            assert known == self.book.add_budget(**asked)
        else:
            with pytest.raises(Conflict):
                self.book.add_budget(**asked)

    @rule(name=st.sampled_from(NAMES), limit=limits)
    def change_limit(self, name: str, limit: int) -> None:
        if name in self.budgets:
            self.budgets[name] = self.book.set_limit(name, Money(limit), reason="changed")
            self.current(name).limit = limit

    @rule(name=st.sampled_from(NAMES), amount=amounts, key=keys, again=st.booleans())
    def top_up(self, name: str, amount: int, key: str, again: bool) -> None:
        if name not in self.budgets:
            return
        if again:
            amount = self.used_keys.get((name, key), amount)
        used = self.used_keys.setdefault((name, key), amount)
        if used != amount:
            with pytest.raises(Conflict):
                self.book.top_up(name, Money(amount), reason="more", key=key)
            return
        before = self.book.account(self.budgets[name], self.clock.now())
        self.budgets[name] = self.book.top_up(name, Money(amount), reason="more", key=key)
        if (name, key) not in self.topped_up:
            self.topped_up.add((name, key))
            self.current(name).limit += amount
        else:
            assert before == self.book.account(self.budgets[name], self.clock.now())

    # --- holds

    @rule(name=st.sampled_from(NAMES), amount=amounts, own=st.booleans(), margin=st.integers(-2, 40))
    def authorize(self, name: str, amount: int, own: bool, margin: int) -> None:
        budgets = self.applying(name)
        job = f"job-{len(self.asked)}"
        if not budgets and not own:
            return
        until = self.clock.now() + timedelta(hours=2)
        asked = {
            "job_id": job,
            "budgets": budgets,
            "job_limit": Money(max(0, amount + margin)) if margin <= 20 else None,
            "amount": Money(amount),
            "expires_at": until,
            "own_account": own,
        }
        limit = amount if margin > 20 else max(0, amount + margin)
        places = ([Jars(limit)] if own else []) + [self.current(budget.name) for budget in budgets]
        if all(jars.fits(amount) for jars in places):
            held = self.book.authorize(**asked)
            self.jobs[job] = places
            self.asked[job] = asked
            if own:
                self.own[job] = places[0]
            for budget in budgets:
                self.current(budget.name)
            for jars in places:
                jars.claims[job] = Claim(amount, amount, until)
            assert held == self.book.holds(job)
        else:
            with pytest.raises(BudgetExceeded):
                self.book.authorize(**asked)
            assert self.book.holds(job) == []

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def repeat_authorize(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.asked)))
        assert self.book.holds(job) == self.book.authorize(**self.asked[job])

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), more=amounts)
    def authorize_otherwise(self, data: st.DataObject, more: int) -> None:
        """The same job with other money is another request, and refused whatever room there is."""
        job = data.draw(st.sampled_from(sorted(self.asked)))
        amount = self.asked[job]["amount"]
        assert isinstance(amount, Money)
        with pytest.raises(Conflict):
            self.book.authorize(**{**self.asked[job], "amount": amount + Money(more)})

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), amount=amounts, key=keys, raise_limit=st.booleans(), again=st.booleans())
    def extend(self, data: st.DataObject, amount: int, key: str, raise_limit: bool, again: bool) -> None:
        job = data.draw(st.sampled_from(sorted(self.jobs)))
        if again:
            amount = self.used_keys.get((job, key), amount)

        def act() -> list[Hold]:
            return self.book.extend(job_id=job, amount=Money(amount), key=key, raise_job_limit=raise_limit)

        places = self.jobs[job]
        used = self.used_keys.get((job, key))
        if used is not None:
            if used != amount:
                with pytest.raises(Conflict):
                    act()
            else:
                assert act() == self.book.holds(job)
        elif not places[0].claims[job].is_open:
            with pytest.raises(HoldClosed):
                act()
        elif all(jars.fits(amount) or (raise_limit and jars is self.own.get(job)) for jars in places):
            act()
            self.used_keys[job, key] = amount
            for jars in places:
                if not jars.fits(amount):
                    jars.limit = jars.held + jars.spent + amount
                jars.claims[job].amount += amount
        else:
            with pytest.raises(BudgetExceeded):
                act()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), keep=st.integers(0, 60))
    def trim(self, data: st.DataObject, keep: int) -> None:
        job = data.draw(st.sampled_from(sorted(self.jobs)))
        claims = [jars.claims[job] for jars in self.jobs[job]]
        if not claims[0].is_open:
            with pytest.raises(HoldClosed):
                self.book.trim(job_id=job, keep=Money(keep))
            return
        self.book.trim(job_id=job, keep=Money(keep))
        for claim in claims:
            claim.released += max(0, claim.kept - keep)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), total=st.integers(-5, 90), final=st.booleans(), times=st.integers(1, 2))
    def settle(self, data: st.DataObject, total: int, final: bool, times: int) -> None:
        job = data.draw(st.sampled_from(sorted(self.jobs)))
        for _ in range(times):
            self.book.settle(job_id=job, target=Money(total), final=final)
        for jars in self.jobs[job]:
            jars.claims[job].settle(total, final=final)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        """Money comes back only after the time for which it was held (M15)."""
        job = data.draw(st.sampled_from(sorted(self.jobs)))
        claims = [jars.claims[job] for jars in self.jobs[job]]
        if not claims[0].is_open:
            with pytest.raises(HoldClosed):
                self.book.expire(job_id=job)
        elif self.clock.now() < claims[0].expires_at:
            with pytest.raises(UsageError):
                self.book.expire(job_id=job)
        else:
            self.book.expire(job_id=job)
            for claim in claims:
                claim.close()

    @rule(name=st.sampled_from(NAMES), amount=amounts)
    def mix_currencies(self, name: str, amount: int) -> None:
        if name in self.budgets:
            with pytest.raises(UsageError):
                self.book.authorize(
                    job_id="foreign",
                    budgets=[self.budgets[name]],
                    job_limit=None,
                    amount=Money(amount, "EUR"),
                    expires_at=self.clock.now(),
                )

    # --- time and crashes

    @rule(seconds=st.sampled_from((60, 3_600, 7_200, 86_400, 40 * 86_400)))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(data=st.data(), amount=amounts, name=st.sampled_from(NAMES))
    def crash_midway(self, data: st.DataObject, amount: int, name: str) -> None:
        """The process dies with acts done and nothing committed; the next one finds the books as they were."""
        with suppress(Crash, BudgetExceeded), self.database.transaction():
            for job in sorted(self.jobs)[:2]:
                self.book.settle(job_id=job, target=Money(amount), final=True)
            if name in self.budgets:
                self.book.set_limit(name, Money(amount), reason="never happened")
                self.book.authorize(
                    job_id="never",
                    budgets=[self.budgets[name]],
                    job_limit=None,
                    amount=Money(amount),
                    expires_at=self.clock.now(),
                )
            raise Crash
        self.database.close()
        self.open()

    # --- invariants

    @invariant()
    def every_account_is_as_the_model_has_it(self) -> None:
        for (name, start), jars in self.windows.items():
            budget = self.budgets[name]
            account = self.book.account(budget, start)
            assert (jars.limit, jars.held, jars.spent) == (account.limit.nanos, account.held.nanos, account.spent.nanos)
            assert account.excess.nanos == max(0, jars.held + jars.spent - jars.limit)
            assert account.hard == jars.hard
        for job, jars in self.own.items():
            own = self.book.job_account(job)
            assert own is not None
            assert (jars.limit, jars.held, jars.spent) == (own.limit.nanos, own.held.nanos, own.spent.nanos)

    @invariant()
    def every_hold_is_as_the_model_has_it(self) -> None:
        """Each reaches one end and stays there, and what it was comes out as spent, released or still held (M5)."""
        for job, places in self.jobs.items():
            holds = self.book.holds(job)
            claims = [jars.claims[job] for jars in places]
            assert len(holds) == len(claims)
            for hold in holds:
                assert any(
                    (claim.amount, claim.captured, claim.released, claim.spent, claim.is_open)
                    == (hold.amount.nanos, hold.captured.nanos, hold.released.nanos, hold.spent.nanos, hold.is_open)
                    for claim in claims
                )
                assert hold.amount == hold.captured + hold.released + hold.remaining
                assert hold.is_open or hold.remaining.is_zero
            if not any(hold.is_open for hold in holds):
                self.ever_closed.add(job)
            assert job not in self.ever_closed or not any(hold.is_open for hold in holds)
        assert self.book.holds("never") == self.book.holds("foreign") == []

    @invariant()
    def the_journal_recomputes(self) -> None:
        """Jars, chain, sums and seals follow from the entries alone (M1, M2, M3)."""
        found = self.book.verify()
        assert found.problem is None
        assert found.holds == sum(len(places) for places in self.jobs.values())


def check(machine: Callable[[], LedgerMachine], *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_sqlite_agrees_with_the_model(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    template, made = request.getfixturevalue("_migrated_sqlite_file"), iter(range(10**9))

    def fresh_url() -> str:
        path = tmp_path / f"{next(made)}.db"
        shutil.copy(template, path)
        return str(path)

    check(lambda: LedgerMachine(fresh_url), examples=40, steps=30)


def test_postgresql_agrees_with_the_model(request: pytest.FixtureRequest, postgresql_server: str) -> None:
    template, databases = request.getfixturevalue("_migrated_postgresql"), []

    def fresh_url() -> str:
        databases.append(temporary_database(postgresql_server, f"TEMPLATE {template}"))
        return next(databases[-1])

    try:
        check(lambda: LedgerMachine(fresh_url), examples=8, steps=25)
    finally:
        for database in databases:
            next(database, None)
