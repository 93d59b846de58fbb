"""The ledger's journal in the operational store: rows to nouns and back, and nothing decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import Conflict, StoreDamaged, StoreError
from ..ledger import chain
from ..ledger.holds import JARS, Account, Budget, BudgetPeriod, Entry, EntryKind, Hold, Posting, change
from ..ledger.journal import AccountLine, EntryLine, HoldLine
from ..money import Money
from ..times import Period, instant, maybe_instant
from .database import Database


class JournalStore:
    """Implements ``ledger.journal.Journal`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- transactions

    @property
    def in_transaction(self) -> bool:
        return self._database.in_transaction

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction of its own, or a part of the caller's that can be taken back without it."""
        if not self._database.in_transaction:
            with self._database.transaction():
                yield
            return
        self._database.run("journal.set_mark")
        try:
            yield
        except BaseException:
            with suppress(StoreError):  # when the database itself has failed, the whole transaction has
                self._database.run("journal.back_to_mark")
            raise
        self._database.run("journal.drop_mark")

    # --- budgets

    def add_budget(self, budget: Budget) -> bool:
        return (
            self._database.run(
                "journal.add_budget",
                budget_id=budget.id,
                name=budget.name,
                scope=budget.scope,
                currency=budget.limit.currency,
                limit_nanos=budget.limit.nanos,
                period=budget.period,
                zone=budget.zone,
                hard=budget.hard,
                alert_percents=",".join(map(str, budget.alert_percents)),
                created_at=budget.created_at,
            )
            == 1
        )

    def budgets(self) -> list[Budget]:
        return [_budget(row) for row in self._database.all("journal.budgets")]

    def lock_budget(self, budget_id: str) -> Budget:
        row = self._database.one("journal.lock_budget", budget_id=budget_id)
        if row is None:
            raise StoreDamaged(f"There is no budget with the id {budget_id}")
        return _budget(row)

    def set_limit(self, budget_id: str, limit: Money) -> None:
        self._database.run("journal.set_limit", budget_id=budget_id, limit_nanos=limit.nanos)

    # --- accounts

    def account(self, account_id: str) -> Account | None:
        row = self._database.one("journal.account", account_id=account_id)
        return None if row is None else _account(row)

    def open_account(self, account: Account, fund: Posting | None) -> bool:
        values: dict[str, Any] = {
            "account_id": account.id,
            "budget_id": account.budget_id,
            "job_id": account.job_id,
            "starts_at": account.window.start,
            "ends_at": account.window.end,
            "currency": account.limit.currency,
            "hard": account.hard,
        }
        if fund is None:
            return self._database.run("journal.open_unfunded", head=account.head, **values) == 1
        values |= _posted(fund, job_id=account.job_id)
        return (
            self._database.run("journal.open_account", head=chain.link(account.head, 1, values["body"]), **values) == 1
        )

    # --- holds

    def holds(self, job_id: str, *, lock: bool) -> list[Hold]:
        query = "journal.holds_locked" if lock else "journal.holds"
        return [_hold(row) for row in self._database.all(query, job_id=job_id)]

    def admit(self, hold: Hold, authorize: Posting, *, siblings: str) -> bool:
        changed = self._database.run(
            "journal.admit",
            currency=hold.amount.currency,
            siblings=siblings,
            siblings_end=siblings[:-1] + chr(ord(siblings[-1]) + 1),
            expires_at=hold.expires_at,
            seal=chain.seal(hold),
            **_posted(authorize, job_id=hold.job_id),
        )
        return changed == 1

    def admit_more(self, hold: Hold, extension: Posting) -> bool:
        changed = self._database.run(
            "journal.admit_more",
            total_nanos=hold.amount.nanos,
            expires_at=hold.expires_at,
            revision=hold.revision,
            seal=chain.seal(hold),
            **_posted(extension, job_id=hold.job_id),
        )
        return changed == 1

    def append(self, posting: Posting) -> None:
        source, target = JARS[posting.kind]
        limit, held, spent = change(posting.kind, posting.amount)
        appended = self._database.run(
            "journal.append",
            kind=posting.kind,
            source=source,
            target=target,
            limit_change=limit,
            held_change=held,
            spent_change=spent,
            **_posted(posting, job_id=posting.job_id),
        )
        if appended != 1:
            raise StoreDamaged(f"Account {posting.account_id} is missing from the database")

    def revise(self, hold: Hold) -> None:
        revised = self._database.run(
            "journal.revise",
            job_id=hold.job_id,
            account_id=hold.account_id,
            captured_nanos=hold.captured.nanos,
            released_nanos=hold.released.nanos,
            spent_nanos=hold.spent.nanos,
            closed_at=hold.closed_at,
            revision=hold.revision,
            seal=chain.seal(hold),
        )
        if revised != 1:
            raise Conflict(f"The hold of job {hold.job_id} was changed by another process")

    # --- reading

    def entry(self, account_id: str, key: str) -> Entry | None:
        row = self._database.one("journal.entry", account_id=account_id, key=key)
        return None if row is None else _entry(row)

    def entry_of_budget(self, budget_id: str, key: str) -> Entry | None:
        row = self._database.one("journal.entry_of_budget", budget_id=budget_id, key=key)
        return None if row is None else _entry(row)

    def history(self, budget_id: str, *, most: int) -> list[Entry]:
        return [_entry(row) for row in self._database.all("journal.history", budget_id=budget_id, most=most)]

    # --- verifying

    # Columns of these queries come in the order of the lines' fields.

    def accounts_after(self, account_id: str, *, most: int) -> Sequence[AccountLine]:
        rows = self._database.all("journal.accounts_after", account_id=account_id, most=most)
        return [AccountLine._make(row.values()) for row in rows]

    def entries_after(self, account_id: str, sequence: int, *, until: str, most: int) -> Sequence[EntryLine]:
        rows = self._database.all(
            "journal.entries_after", account_id=account_id, sequence=sequence, until=until, most=most
        )
        return [EntryLine._make(row.values()) for row in rows]

    def holds_after(self, job_id: str, account_id: str, *, most: int) -> Sequence[HoldLine]:
        rows = self._database.all("journal.holds_after", job_id=job_id, account_id=account_id, most=most)
        return [HoldLine._make(row.values()) for row in rows]

    def entries_counted(self, account_id: str) -> int | None:
        row: Any = self._database.one("journal.entries_counted", account_id=account_id)
        return None if row is None else row["entries"]

    def misfunded_budget(self) -> tuple[str, int, int] | None:
        row: Any = self._database.one("journal.misfunded_budget")
        return None if row is None else (row["name"], row["limit_nanos"], row["funded_nanos"])


# --- rows and nouns


def _posted(posting: Posting, *, job_id: str | None) -> dict[str, Any]:
    """What every query that writes an entry needs; the kind and its jars are in the query where it writes one kind."""
    return {
        "account_id": posting.account_id,
        "job_id": job_id,
        "amount_nanos": posting.amount.nanos,
        "key": posting.key,
        "at": posting.at,
        "author": posting.author,
        "reason": posting.reason,
        "body": chain.body(posting),
    }


def _budget(row: Any) -> Budget:
    return Budget(
        id=row["budget_id"],
        name=row["name"],
        scope=row["scope"],
        limit=Money(row["limit_nanos"], row["currency"]),
        period=BudgetPeriod(row["period"]),
        zone=row["zone"],
        hard=bool(row["hard"]),
        alert_percents=tuple(int(each) for each in row["alert_percents"].split(",") if each),
        created_at=instant(row["created_at"]),
    )


def _account(row: Any) -> Account:
    currency = row["currency"]
    return Account(
        id=row["account_id"],
        budget_id=row["budget_id"],
        job_id=row["job_id"],
        window=Period(instant(row["starts_at"]), instant(row["ends_at"])),
        hard=bool(row["hard"]),
        limit=Money(row["limit_nanos"], currency),
        held=Money(row["held_nanos"], currency),
        spent=Money(row["spent_nanos"], currency),
        excess=Money(row["excess_nanos"], currency),
        entries=row["entries"],
        head=row["head"],
    )


def _hold(row: Any) -> Hold:
    currency = row["currency"]
    return Hold(
        account_id=row["account_id"],
        job_id=row["job_id"],
        amount=Money(row["amount_nanos"], currency),
        captured=Money(row["captured_nanos"], currency),
        released=Money(row["released_nanos"], currency),
        spent=Money(row["spent_nanos"], currency),
        expires_at=instant(row["expires_at"]),
        opened_at=instant(row["opened_at"]),
        closed_at=maybe_instant(row["closed_at"]),
        revision=row["revision"],
    )


def _entry(row: Any) -> Entry:
    return Entry(
        account_id=row["account_id"],
        sequence=row["sequence"],
        job_id=row["job_id"],
        kind=EntryKind(row["kind"]),
        amount=Money(row["amount_nanos"], row["currency"]),
        key=row["key"],
        at=instant(row["at"]),
        author=row["author"],
        reason=row["reason"],
        hash=row["hash"],
    )
