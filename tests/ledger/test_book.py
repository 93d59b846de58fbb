"""The book on real databases: budgets, admissions on several accounts, settlements, and what a repeat answers."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tallygate.errors import (
    BudgetExceeded,
    Conflict,
    HoldClosed,
    StoreError,
    UnknownBudget,
    UnknownJob,
    UsageError,
)
from tallygate.ids import Entropy
from tallygate.ledger.book import Book
from tallygate.ledger.holds import Account, BudgetPeriod, EntryKind, Hold
from tallygate.money import NANOS_MAX, Money
from tallygate.store.database import Database, open_database
from tallygate.store.journal import JournalStore
from tests.conftest import ManualClock
from tests.ledger.conftest import Authorize, Scenario
from tests.ledger.test_holds import tell


class BookVault:
    """One budget of a book, with the verbs of the scenarios."""

    def __init__(self, book: Book, clock: ManualClock) -> None:
        self.book = book
        self.clock = clock

    def limit(self, amount: Money) -> None:
        self.budget = self.book.add_budget(name="team", limit=amount)

    @property
    def account(self) -> Account:
        return self.book.account(self.budget, self.clock.now())

    @property
    def holds(self) -> dict[str, Hold]:
        return {job: self.book.holds(job)[0] for job in ("one", "two", "three") if self.book.holds(job)}

    def authorize(self, job: str, amount: Money) -> str:
        until = self.clock.now() + timedelta(hours=1)
        return self.written(
            lambda: self.book.authorize(
                job_id=job, budgets=[self.budget], job_limit=None, amount=amount, expires_at=until, own_account=False
            )
        )

    def extend(self, job: str, amount: Money) -> str:
        key = f"after-{self.account.entries}"
        return self.written(lambda: self.book.extend(job_id=job, amount=amount, key=key))

    def trim(self, job: str, keep: Money) -> str:
        return self.written(lambda: self.book.trim(job_id=job, keep=keep))

    def settle(self, job: str, target: Money, final: str = "") -> str:
        return self.written(lambda: self.book.settle(job_id=job, target=target, final=final == "final"))

    def expire(self, job: str) -> str:
        return self.written(lambda: self.book.expire(job_id=job))

    def written(self, act: object) -> str:
        before = self.account
        try:
            act()
        except BudgetExceeded as error:
            assert self.account == before
            return f"refused:{error.account['lacking']}"
        newest = self.book.history("team", limit=self.account.entries - before.entries)
        return "+".join(entry.kind for entry in reversed(newest)) or "nothing"


def test_scenario(scenario: Scenario, book: Book, clock: ManualClock) -> None:
    """The book on a real database does what the table says, and its journal verifies."""
    tell(BookVault(book, clock), scenario, clock)
    assert book.verify().is_clean


# --- budgets


def test_a_budget_is_what_it_was_set_up_as(book: Book, clock: ManualClock) -> None:
    made = book.add_budget(
        name="team-a",
        scope="org/team-a",
        limit=Money.of("12.50", "EUR"),
        period=BudgetPeriod.MONTH,
        zone="Europe/Berlin",
        hard=False,
        alert_percents=(10, 99),
    )
    assert made == book.budget("team-a") == book.budgets()[0]
    assert made.created_at == clock.now()


def test_the_same_budget_again_is_the_same_budget(book: Book) -> None:
    made = book.add_budget(name="org", limit=Money.of("1.00"))
    assert made == book.add_budget(name="org", limit=Money.of("1.00"))
    with pytest.raises(Conflict, match=r"exists and is another one: 1\.00 USD"):
        book.add_budget(name="org", limit=Money.of("2.00"))


def test_a_name_that_is_another_budgets_scope_is_refused(book: Book) -> None:
    """A job charged to "org" must draw on one set of budgets, whichever way the word is read."""
    book.add_budget(name="monthly", scope="org", limit=Money.of("1.00"))
    with pytest.raises(UsageError, match="told apart"):
        book.add_budget(name="org", scope="company", limit=Money.of("1.00"))
    with pytest.raises(UsageError, match="told apart"):
        book.add_budget(name="yearly", scope="monthly", limit=Money.of("1.00"))
    book.add_budget(name="org", limit=Money.of("1.00"))


@pytest.mark.parametrize("limit", [Money(-1), Money(NANOS_MAX + 1)])
def test_a_limit_out_of_bounds_is_refused(book: Book, limit: Money) -> None:
    with pytest.raises(UsageError, match="cannot be a limit"):
        book.add_budget(name="org", limit=limit)
    book.add_budget(name="org", limit=Money(NANOS_MAX))
    with pytest.raises(UsageError, match="cannot be a limit"):
        book.set_limit("org", limit, reason="")
    with pytest.raises(UsageError, match="cannot be a limit"):
        book.top_up("org", Money(1), reason="")


@pytest.mark.parametrize("percents", [(50, 50), (80, 50), (0, 50), (50, 1001), tuple(range(1, 22))])
def test_alert_percents_rise_within_bounds(book: Book, percents: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="alert percents"):
        book.add_budget(name="org", limit=Money.of("1.00"), alert_percents=percents)


def test_a_job_draws_on_every_budget_at_its_scope_and_above(book: Book) -> None:
    for name, scope in [
        ("org", None),
        ("org/team", None),
        ("daily", "org/team"),
        ("org/team/p", None),
        ("other", None),
    ]:
        book.add_budget(name=name, scope=scope, limit=Money.of("1.00"))
    assert [budget.name for budget in book.applying("org/team/p")] == ["org", "daily", "org/team", "org/team/p"]
    assert [budget.name for budget in book.applying("daily")] == ["org", "daily", "org/team"]
    assert [budget.name for budget in book.applying("org")] == ["org"]


@pytest.mark.parametrize("charge_to", ["org/taem", "org/team/unbudgeted", "", "ORG"])
def test_a_slip_of_the_pen_does_not_lead_past_a_budget(book: Book, charge_to: str) -> None:
    book.add_budget(name="org", limit=Money.of("1.00"))
    book.add_budget(name="org/team", limit=Money.of("1.00"))
    with pytest.raises(UnknownBudget):
        book.applying(charge_to)
    with pytest.raises(UnknownBudget):
        book.budget(charge_to)


def test_an_unknown_budget_suggests_the_closest(book: Book) -> None:
    book.add_budget(name="org/team", limit=Money.of("1.00"))
    with pytest.raises(UnknownBudget, match=r"did you mean org/team\?"):
        book.applying("org/taem")


# --- limits that change


def test_a_lowered_limit_leaves_what_is_committed_and_refuses_the_rest(
    book: Book, clock: ManualClock, authorize: Authorize
) -> None:
    """Lowered below what is held, the account shows the excess and admits nothing until enough has returned (D06)."""
    org = book.add_budget(name="org", limit=Money.of("10.00"))
    authorize("one", "8.00", org)
    book.set_limit("org", Money.of("5.00"), reason="less this month")
    account = book.account(org, clock.now())
    assert (account.limit, account.held, account.excess) == (Money.of("5.00"), Money.of("8.00"), Money.of("3.00"))
    with pytest.raises(BudgetExceeded, match=r"over-committed by 3\.00; 0\.01 was asked for, 3\.01 too much"):
        authorize("two", "0.01", org)
    book.settle(job_id="one", target=Money.of("1.00"), final=True)
    assert book.account(org, clock.now()).excess == Money.zero()
    authorize("two", "4.00", org)
    assert [entry.kind for entry in book.history("org", limit=9)][-2:] == [EntryKind.AUTHORIZE, EntryKind.FUND]
    (lowered,) = [entry for entry in book.history("org", limit=9) if entry.kind is EntryKind.DEFUND]
    assert (lowered.amount, lowered.reason, lowered.author) == (Money.of("5.00"), "less this month", "tests")


def test_the_same_limit_again_writes_nothing(book: Book, clock: ManualClock) -> None:
    org = book.add_budget(name="org", limit=Money.of("10.00"))
    book.set_limit("org", Money.of("20.00"), reason="more")
    entries = book.account(org, clock.now()).entries
    assert book.set_limit("org", Money.of("20.00"), reason="more").limit == Money.of("20.00")
    assert entries == book.account(org, clock.now()).entries


def test_a_top_up_lasts_for_good_only_where_nothing_renews(book: Book, clock: ManualClock) -> None:
    for name, period in (("once", BudgetPeriod.NONE), ("monthly", BudgetPeriod.MONTH)):
        book.add_budget(name=name, limit=Money.of("10.00"), period=period)
        book.top_up(name, Money.of("5.00"), reason="a deadline")
        assert book.account(book.budget(name), clock.now()).limit == Money.of("15.00")
    clock.advance(40 * 86_400)
    assert book.account(book.budget("once"), clock.now()).limit == Money.of("15.00")
    assert book.account(book.budget("monthly"), clock.now()).limit == Money.of("10.00")


def test_a_top_up_repeated_in_the_next_month_is_still_a_repeat(book: Book, clock: ManualClock) -> None:
    monthly = book.add_budget(name="monthly", limit=Money.of("10.00"), period=BudgetPeriod.MONTH)
    book.top_up("monthly", Money.of("5.00"), reason="a deadline", key="ticket-7")
    clock.advance(40 * 86_400)
    book.top_up("monthly", Money.of("5.00"), reason="a deadline", key="ticket-7")
    assert book.account(monthly, clock.now()).limit == Money.of("10.00")
    with pytest.raises(Conflict, match=r"stands for 5\.00 USD"):
        book.top_up("monthly", Money.of("6.00"), reason="a deadline", key="ticket-7")


def test_a_new_limit_counts_in_the_window_that_opens_next(book: Book, clock: ManualClock, authorize: Authorize) -> None:
    """Whoever opens a window reads the limit then, not when the budget was looked up."""
    looked_up = book.add_budget(name="daily", limit=Money.of("10.00"), period=BudgetPeriod.DAY)
    book.set_limit("daily", Money.of("4.00"), reason="less")
    clock.advance(86_400)
    with pytest.raises(BudgetExceeded, match=r"allows 4\.00"):
        authorize("one", "5.00", looked_up)
    authorize("one", "4.00", looked_up)


# --- windows


def test_a_hold_belongs_to_the_window_of_its_launch(book: Book, clock: ManualClock, authorize: Authorize) -> None:
    """What the job spends later counts in the month in which it was launched (D07)."""
    monthly = book.add_budget(name="monthly", limit=Money.of("10.00"), period=BudgetPeriod.MONTH, zone="Europe/Berlin")
    march = clock.now()
    authorize("one", "10.00", monthly)
    clock.advance(31 * 86_400)
    assert book.account(monthly, clock.now()).available == Money.of("10.00")
    authorize("two", "10.00", monthly)
    book.settle(job_id="one", target=Money.of("7.00"), final=True)
    assert book.account(monthly, march).spent == Money.of("7.00")
    assert book.account(monthly, clock.now()).spent == Money.zero()
    assert book.account(monthly, clock.now()).held == Money.of("10.00")


def test_an_unused_window_looks_as_it_will_when_it_opens(book: Book, clock: ManualClock, authorize: Authorize) -> None:
    daily = book.add_budget(name="daily", limit=Money.of("10.00"), period=BudgetPeriod.DAY)
    tomorrow = clock.now() + timedelta(days=1)
    foreseen = book.account(daily, tomorrow)
    assert (foreseen.limit, foreseen.entries) == (Money.of("10.00"), 0)
    clock.advance(86_400)
    authorize("one", "1.00", daily)
    opened = book.account(daily, tomorrow)
    assert (foreseen.id, foreseen.window) == (opened.id, opened.window)
    assert opened.held == Money.of("1.00")


def test_the_same_call_in_the_next_window_is_still_the_same_call(
    book: Book, clock: ManualClock, authorize: Authorize
) -> None:
    daily = book.add_budget(name="daily", limit=Money.of("10.00"), period=BudgetPeriod.DAY)
    for own_account in (True, False):
        job = f"job-{own_account}"
        held = authorize(job, "1.00", daily, own_account=own_account)
        clock.advance(86_400)
        assert held == authorize(job, "1.00", daily, own_account=own_account)
        assert book.account(daily, clock.now()).held == Money.zero()


# --- several accounts at once


def test_all_accounts_are_held_on_or_none(book: Book, clock: ManualClock, authorize: Authorize) -> None:
    """The parent is enforced too: what fits the team and not the organisation is refused on both (D04, D05)."""
    org = book.add_budget(name="org", limit=Money.of("10.00"))
    team = book.add_budget(name="org/team", limit=Money.of("100.00"))
    authorize("one", "6.00", *book.applying("org/team"))
    with pytest.raises(
        BudgetExceeded, match=r"^Budget org allows 10\.00 USD: 6\.00 held, 0\.00 spent, 4\.00 available"
    ):
        authorize("two", "5.00", *book.applying("org/team"))
    for budget in (org, team):
        account = book.account(budget, clock.now())
        assert (account.held, account.entries) == (Money.of("6.00"), 2)
    assert book.holds("two") == []
    assert book.job_account("two") is None
    assert book.verify().is_clean


def test_a_jobs_own_limit_binds_it(book: Book, authorize: Authorize) -> None:
    org = book.add_budget(name="org", limit=Money.of("100.00"))
    with pytest.raises(BudgetExceeded, match=r"^Job one's own budget allows 5\.00 USD") as refused:
        authorize("one", "6.00", org, job_limit="5.00")
    assert refused.value.account == {
        "owner": "job one's own budget",
        "currency": "USD",
        "limit": "5.00",
        "held": "0.00",
        "spent": "0.00",
        "available": "5.00",
        "asked": "6.00",
        "lacking": "1.00",
    }
    with pytest.raises(BudgetExceeded):
        authorize("one", "0.01", org, job_limit="0.00")
    authorize("one", "5.00", org, job_limit="5.00")


def test_a_job_without_any_budget_has_its_own_account(book: Book, authorize: Authorize) -> None:
    (hold,) = authorize("one", "5.00")
    account = book.job_account("one")
    assert account is not None
    assert (account.limit, account.held) == (Money.of("5.00"), Money.of("5.00"))
    assert hold.account_id == account.id


def test_a_refusal_names_window_numbers_and_cure(book: Book, authorize: Authorize) -> None:
    monthly = book.add_budget(name="org", limit=Money.of("10.00"), period=BudgetPeriod.MONTH)
    authorize("one", "4.00", monthly)
    book.settle(job_id="one", target=Money.of("3.00"), final=False)
    with pytest.raises(BudgetExceeded) as refused:
        authorize("two", "6.000000001", monthly)
    assert refused.value.message == (
        "Budget org (2026-03) allows 10.00 USD: 1.00 held, 3.00 spent, 6.00 available; "
        "6.000000001 was asked for, 0.000000001 too much"
    )
    assert "top-up" in refused.value.cure


def test_a_soft_budget_admits_and_shows_the_excess(book: Book, clock: ManualClock, authorize: Authorize) -> None:
    soft = book.add_budget(name="soft", limit=Money.of("10.00"), hard=False)
    authorize("one", "8.00", soft)
    authorize("two", "8.00", soft)
    assert book.account(soft, clock.now()).excess == Money.of("6.00")
    book.extend(job_id="two", amount=Money.of("1.00"), key="k", raise_job_limit=True)
    assert book.account(soft, clock.now()).excess == Money.of("7.00")
    book.settle(job_id="one", target=Money.zero(), final=True)
    assert book.account(soft, clock.now()).excess == Money.zero()
    assert book.verify().is_clean


def test_a_budget_given_twice_is_held_on_once(book: Book, clock: ManualClock, authorize: Authorize) -> None:
    org = book.add_budget(name="org", limit=Money.of("10.00"))
    authorize("one", "6.00", org, org)
    assert book.account(org, clock.now()).held == Money.of("6.00")


def test_a_hold_on_nothing_is_refused(authorize: Authorize) -> None:
    with pytest.raises(UsageError):
        authorize("one", "6.00", own_account=False)


# --- repeats


def test_a_repeat_with_other_content_is_a_conflict(book: Book, clock: ManualClock, authorize: Authorize) -> None:
    org = book.add_budget(name="org", limit=Money.of("100.00"))
    team = book.add_budget(name="org/team", limit=Money.of("100.00"))
    held = authorize("one", "6.00", org, job_limit="10.00")
    assert held == authorize("one", "6.00", org, job_limit="10.00")
    for wrong in (
        {"amount": "7.00", "budgets": [org], "job_limit": "10.00"},
        {"amount": "6.00", "budgets": [org], "job_limit": "11.00"},
        {"amount": "6.00", "budgets": [org], "job_limit": None},
        {"amount": "6.00", "budgets": [team], "job_limit": "10.00"},
        {"amount": "6.00", "budgets": [org, team], "job_limit": "10.00"},
    ):
        with pytest.raises(Conflict):
            authorize("one", wrong["amount"], *wrong["budgets"], job_limit=wrong["job_limit"])
    assert held == book.holds("one")
    assert book.account(org, clock.now()).entries == 2
    assert book.account(team, clock.now()).entries == 1
    assert book.verify().is_clean


def test_a_repeat_after_the_end_answers_what_became_of_it(book: Book, authorize: Authorize) -> None:
    org = book.add_budget(name="org", limit=Money.of("100.00"))
    authorize("one", "6.00", org)
    settled = book.settle(job_id="one", target=Money.of("2.00"), final=True)
    assert settled == authorize("one", "6.00", org)
    assert not any(hold.is_open for hold in settled)


def test_an_extension_is_idempotent_by_its_key_and_job(book: Book, clock: ManualClock, authorize: Authorize) -> None:
    org = book.add_budget(name="org", limit=Money.of("100.00"))
    for job in ("one", "two"):
        authorize(job, "6.00", org, job_limit="20.00")
        extended = book.extend(job_id=job, amount=Money.of("2.00"), key="hour-2")
        assert extended == book.extend(job_id=job, amount=Money.of("2.00"), key="hour-2")
        with pytest.raises(Conflict):
            book.extend(job_id=job, amount=Money.of("3.00"), key="hour-2")
    assert book.account(org, clock.now()).held == Money.of("16.00")


def test_an_extension_reaches_every_account_or_none(book: Book, clock: ManualClock, authorize: Authorize) -> None:
    org = book.add_budget(name="org", limit=Money.of("10.00"))
    held = authorize("one", "6.00", org, job_limit="8.00")
    with pytest.raises(BudgetExceeded, match="own budget"):
        book.extend(job_id="one", amount=Money.of("3.00"), key="k")
    with pytest.raises(BudgetExceeded, match="Budget org"):
        book.extend(job_id="one", amount=Money.of("5.00"), key="k", raise_job_limit=True)
    assert held == book.holds("one")
    later = clock.now() + timedelta(hours=9)
    extended = book.extend(job_id="one", amount=Money.of("4.00"), key="k", raise_job_limit=True, expires_at=later)
    assert {hold.expires_at for hold in extended} == {later}
    assert {hold.amount for hold in extended} == {Money.of("10.00")}
    account = book.job_account("one")
    assert account is not None
    assert (account.limit, account.available) == (Money.of("10.00"), Money.zero())
    assert extended == book.holds("one")
    assert book.verify().is_clean


def test_a_job_that_holds_nothing_is_unknown(book: Book) -> None:
    assert book.holds("ghost") == []
    assert book.job_account("ghost") is None
    for act in (
        lambda: book.settle(job_id="ghost", target=Money.zero(), final=True),
        lambda: book.trim(job_id="ghost", keep=Money.zero()),
        lambda: book.expire(job_id="ghost"),
        lambda: book.extend(job_id="ghost", amount=Money(1), key="k"),
    ):
        with pytest.raises(UnknownJob):
            act()


def test_a_closed_hold_takes_no_more_than_its_bill(book: Book, clock: ManualClock, authorize: Authorize) -> None:
    authorize("one", "6.00")
    book.settle(job_id="one", target=Money.of("2.00"), final=True)
    clock.advance(3601)
    for act in (
        lambda: book.trim(job_id="one", keep=Money.zero()),
        lambda: book.expire(job_id="one"),
        lambda: book.extend(job_id="one", amount=Money(1), key="k"),
    ):
        with pytest.raises(HoldClosed, match=r"closed with 2\.00 spent"):
            act()


# --- money at the edge


def test_currencies_are_kept_apart(book: Book, authorize: Authorize) -> None:
    """One currency per budget; mixing is refused before anything is written (D23, M10)."""
    dollars = book.add_budget(name="usd", limit=Money.of("10.00"))
    euros = book.add_budget(name="eur", limit=Money.of("10.00", "EUR"))
    for budgets, amount in (((dollars,), Money.of("1.00", "EUR")), ((dollars, euros), Money.of("1.00"))):
        with pytest.raises(UsageError, match="kept in"):
            authorize("one", amount, *budgets)
    with pytest.raises(UsageError, match="kept in"):
        authorize("one", Money.of("1.00", "EUR"), euros, job_limit="2.00")
    with pytest.raises(UsageError, match="kept in"):
        book.set_limit("usd", Money.of("1.00", "EUR"), reason="")
    with pytest.raises(UsageError, match="kept in"):
        book.top_up("usd", Money.of("1.00", "EUR"), reason="")
    assert book.holds("one") == []
    authorize("one", Money.of("1.00", "EUR"), euros)
    with pytest.raises(UsageError, match="cannot be mixed"):
        book.settle(job_id="one", target=Money.of("1.00"), final=True)


@pytest.mark.parametrize("amount", [Money(0), Money(-1), Money(NANOS_MAX + 1)])
def test_an_amount_out_of_bounds_is_refused(book: Book, authorize: Authorize, amount: Money) -> None:
    org = book.add_budget(name="org", limit=Money(NANOS_MAX))
    with pytest.raises(UsageError):
        authorize("one", amount, org)
    authorize("one", "1.00", org, job_limit="9.00")
    with pytest.raises(UsageError):
        book.extend(job_id="one", amount=amount, key="k")
    with pytest.raises(UsageError):
        book.top_up("org", amount, reason="")


def test_the_largest_amounts_fit_and_never_wrap(book: Book, clock: ManualClock, authorize: Authorize) -> None:
    """92 of the largest amounts still fit 64 bits; a soft budget that is offered more says so and stays right (D11)."""
    soft = book.add_budget(name="soft", limit=Money(NANOS_MAX), hard=False)
    for number in range(40):
        authorize(f"job-{number}", Money(NANOS_MAX), soft, own_account=False)
    assert book.account(soft, clock.now()).held == Money(40 * NANOS_MAX)
    with pytest.raises(StoreError, match="held_nanos"):
        authorize("job-40", Money(NANOS_MAX), soft, own_account=False)
    assert book.account(soft, clock.now()).held == Money(40 * NANOS_MAX)
    assert book.verify().is_clean


# --- the caller's transaction


class LaunchFailed(Exception):
    """What a caller raises to abandon its transaction."""


def test_a_hold_is_stored_with_the_callers_rows_or_not_at_all(
    book: Book, database: Database, clock: ManualClock, authorize: Authorize
) -> None:
    org = book.add_budget(name="org", limit=Money.of("10.00"))
    with pytest.raises(LaunchFailed), database.transaction():
        authorize("one", "6.00", org)
        assert book.account(org, clock.now()).held == Money.of("6.00")
        raise LaunchFailed
    assert book.account(org, clock.now()).held == Money.zero()
    assert book.holds("one") == []
    with database.transaction():
        authorize("one", "6.00", org)
    assert book.account(org, clock.now()).held == Money.of("6.00")
    assert book.verify().is_clean


def test_a_caller_that_survives_a_refusal_keeps_its_own_work_only(
    book: Book, database: Database, clock: ManualClock, authorize: Authorize
) -> None:
    """A refusal inside the caller's transaction takes back every account it touched, and nothing else."""
    org = book.add_budget(name="org", limit=Money.of("10.00"))
    team = book.add_budget(name="org/team", limit=Money.of("1.00"))
    with database.transaction():
        authorize("one", "1.00", org)
        with pytest.raises(BudgetExceeded):
            authorize("two", "5.00", org, team)
        with pytest.raises(Conflict):
            authorize("one", "5.00", org)
        authorize("three", "2.00", org)
    assert book.account(org, clock.now()).held == Money.of("3.00")
    assert book.account(team, clock.now()).held == Money.zero()
    assert [bool(book.holds(job)) for job in ("one", "two", "three")] == [True, False, True]
    assert book.verify().is_clean


def test_acts_of_one_transaction_build_on_each_other(
    book: Book, database: Database, clock: ManualClock, authorize: Authorize
) -> None:
    daily = book.add_budget(name="daily", limit=Money.of("10.00"), period=BudgetPeriod.DAY)
    clock.advance(86_400)
    with database.transaction():
        authorize("one", "6.00", daily, job_limit="9.00")
        book.extend(job_id="one", amount=Money.of("1.00"), key="k")
        book.settle(job_id="one", target=Money.of("2.00"), final=True)
        book.top_up("daily", Money.of("5.00"), reason="more")
        authorize("two", "13.00", daily)
    assert book.account(daily, clock.now()).available == Money.zero()
    assert book.verify().is_clean


def test_a_settlement_that_changes_nothing_takes_no_lock(
    book: Book, database: Database, database_url: str, clock: ManualClock, authorize: Authorize, entropy: Entropy
) -> None:
    """A thousand unchanged bills must not queue for the right to write."""
    authorize("one", "6.00")
    book.settle(job_id="one", target=Money.of("2.00"), final=True)
    other = open_database(database_url, busy_seconds=0.2)
    with database.transaction():
        database.run("journal.set_limit", budget_id="nobody", limit_nanos=0)
        reader = Book(JournalStore(other), clock=clock, entropy=entropy)
        assert reader.settle(job_id="one", target=Money.of("2.00"), final=True) == reader.holds("one")
    other.close()


# --- history


def test_history_is_newest_first_and_says_who_and_why(
    book: Book, clock: ManualClock, authorize: Authorize, hour: datetime
) -> None:
    daily = book.add_budget(name="daily", limit=Money.of("10.00"), period=BudgetPeriod.DAY)
    authorize("one", "6.00", daily)
    clock.advance(86_400)
    book.settle(job_id="one", target=Money.of("1.00"), final=True, reason="bill of\nMarch")
    authorize("two", "3.00", daily)
    told = [(entry.kind, entry.amount, entry.job_id, entry.reason) for entry in book.history("daily", limit=10)]
    assert told == [
        (EntryKind.AUTHORIZE, Money.of("3.00"), "two", ""),
        (EntryKind.FUND, Money.of("10.00"), None, ""),
        (EntryKind.RELEASE, Money.of("5.00"), "one", "bill of March"),
        (EntryKind.CAPTURE, Money.of("1.00"), "one", "bill of March"),
        (EntryKind.AUTHORIZE, Money.of("6.00"), "one", ""),
        (EntryKind.FUND, Money.of("10.00"), None, ""),
    ]
    assert [entry.kind for entry in book.history("daily", limit=1)] == [EntryKind.AUTHORIZE]
    assert {entry.author for entry in book.history("daily", limit=10)} == {"tests"}
