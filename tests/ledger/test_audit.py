"""The verifier: a clean journal is clean, and one flipped byte anywhere is found and named."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tallygate.ledger import chain
from tallygate.ledger.book import Book
from tallygate.ledger.holds import BudgetPeriod
from tallygate.money import Money
from tallygate.store.database import Database
from tallygate.store.journal import JournalStore
from tests.conftest import ManualClock
from tests.ledger.conftest import Authorize

TABLES = ("accounts", "holds", "entries")


@pytest.fixture
def busy_book(book: Book, clock: ManualClock, authorize: Authorize) -> Book:
    """A journal with every kind of entry, several windows, and holds that are open, closed, trimmed and expired."""
    book.add_budget(name="org", limit=Money.of("1000.00"))
    book.add_budget(name="org/team", limit=Money.of("100.00"), period=BudgetPeriod.DAY, zone="Europe/Berlin")
    book.add_budget(name="idle", limit=Money.zero())
    book.add_budget(name="soft", limit=Money.of("1.00", "EUR"), hard=False)
    for day in range(3):
        for number in range(4):
            job = f"job-{day}-{number}"
            authorize(job, f"{10 + number}.50", *book.applying("org/team"), job_limit="40.00")
            book.settle(job_id=job, target=Money.of("6.25"), final=False, reason="metered")
            book.settle(job_id=job, target=Money.of("5.25"), final=False)
            if number == 0:
                book.settle(job_id=job, target=Money.of("13.00"), final=True)
                book.settle(job_id=job, target=Money.of("12.00"), final=True, reason="the bill was lowered")
            elif number == 1:
                book.extend(job_id=job, amount=Money.of("30.00"), key="more", raise_job_limit=True)
            elif number == 2:
                book.trim(job_id=job, keep=Money.of("0.50"))
                clock.advance(7_200)
                book.expire(job_id=job)
        book.top_up("org", Money.of("3.00"), reason="a deadline")
        book.set_limit("org/team", Money.of(f"{90 - day}.00"), reason="less")
        clock.advance(86_400)
    authorize("in-euros", Money.of("2.00", "EUR"), book.budget("soft"), own_account=False)
    return book


class Tampering:
    """Changes stored values behind the triggers and checks, and puts them back."""

    def __init__(self, database: Database, url: str) -> None:
        self.sqlite = database.engine == "sqlite"
        self.connection: Any
        if self.sqlite:
            self.connection = sqlite3.connect(url, isolation_level=None)
            self.run("PRAGMA ignore_check_constraints = ON")
            self.run("PRAGMA synchronous = OFF")
            for (trigger,) in self.run("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                self.run(f"DROP TRIGGER {trigger}")
        else:
            self.connection = psycopg.connect(url, autocommit=True)
            self.run("SET session_replication_role = replica")
            self.run("SET TIME ZONE 'UTC'")
            constraints = self.run(
                "SELECT CASE contypid WHEN 0 THEN 'TABLE ' || conrelid::regclass ELSE 'DOMAIN ' || contypid::regtype END, "
                "conname FROM pg_constraint WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace"
            ).fetchall()
            for owner, name in constraints:
                self.run(f"ALTER {owner} DROP CONSTRAINT IF EXISTS {name}")

    def run(self, statement: str, *values: object) -> Any:
        return self.connection.execute(statement if self.sqlite else statement.replace("?", "%s"), values)

    def columns(self, table: str) -> list[tuple[str, str]]:
        if self.sqlite:
            return [(name, kind) for _, name, kind, *_ in self.run(f"PRAGMA table_info({table})")]
        return self.run(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = ? ORDER BY ordinal_position",
            table,
        ).fetchall()

    def key(self, table: str) -> tuple[str, ...]:
        return {
            "accounts": ("account_id",),
            "holds": ("job_id", "account_id"),
            "entries": ("account_id", "sequence"),
        }[table]

    def rows(self, table: str) -> list[dict[str, object]]:
        names = [name for name, _ in self.columns(table)]
        order = ", ".join(self.key(table))
        return [dict(zip(names, row, strict=True)) for row in self.run(f"SELECT * FROM {table} ORDER BY {order}")]

    def put(self, table: str, row: dict[str, object], column: str, value: object) -> None:
        """Write ``value`` into one column of ``row``, which is found by its key."""
        where = " AND ".join(f"{name} = ?" for name in self.key(table))
        changed = self.run(
            f"UPDATE {table} SET {column} = ? WHERE {where}", value, *(row[name] for name in self.key(table))
        )
        assert changed.rowcount == 1


@pytest.fixture
def tampering(busy_book: Book, database: Database, database_url: str) -> Iterator[Tampering]:
    found = Tampering(database, database_url)
    yield found
    found.connection.close()


def flips(kind: str, value: object, dice: random.Random) -> list[object]:
    """Values that differ from ``value`` in as little as the column's type allows."""
    if value is None:
        return ["2026-03-01T12:00:00.000000Z"] if kind.startswith("timestamp") else ["x", ""]
    if isinstance(value, int):
        return [value ^ (1 << dice.randrange(20)), value + 1, value - 1]
    if not isinstance(value, str):  # an instant of PostgreSQL
        return [value.replace(microsecond=value.microsecond ^ 1)]
    spot = dice.randrange(len(value)) if value else 0
    changed = value[:spot] + chr(ord(value[spot]) ^ 1) + value[spot + 1 :] if value else "x"
    others = [changed, value + "0", value.swapcase(), value[1:]]
    return [other for other in others if other != value]


@pytest.mark.parametrize("table", TABLES)
def test_one_flipped_byte_anywhere_is_found(busy_book: Book, tampering: Tampering, table: str) -> None:
    """Every column of random rows, changed by raw SQL: the verifier says so each time and is clean again afterwards."""
    dice = random.Random(20260301)
    assert busy_book.verify().problem is None
    rows = tampering.rows(table)
    missed, tried = [], 0
    for row in dice.sample(rows, 5):
        for column, kind in tampering.columns(table):
            for value in flips(kind, row[column], dice):
                try:
                    tampering.put(table, row, column, value)
                except (sqlite3.IntegrityError, psycopg.errors.UniqueViolation):
                    continue  # two rows with one key: the index itself refuses
                tried += 1
                moved = {**row, column: value}
                if busy_book.verify().is_clean:
                    missed.append((column, row[column], value))
                tampering.put(table, moved, column, row[column])
    assert missed == []
    assert tried > 60
    assert busy_book.verify().problem is None


def test_a_row_that_is_gone_is_missed(busy_book: Book, tampering: Tampering) -> None:
    for table, sample in (("entries", 6), ("holds", 4), ("accounts", 4)):
        rows = [row for row in tampering.rows(table) if row.get("entries") != 0]
        for row in random.Random(7).sample(rows, sample):
            where = " AND ".join(f"{name} = ?" for name in tampering.key(table))
            tampering.run(f"DELETE FROM {table} WHERE {where}", *(row[name] for name in tampering.key(table)))
            assert busy_book.verify().problem is not None, (table, row)
            marks = ", ".join("?" for _ in row)
            tampering.run(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())
    assert busy_book.verify().problem is None


def test_an_added_row_is_noticed(busy_book: Book, tampering: Tampering) -> None:
    newest = tampering.rows("entries")[-1]
    forged = {**newest, "sequence": int(str(newest["sequence"])) + 1, "key": "forged"}
    stray = {**newest, "account_id": "nowhere", "sequence": 1}
    early = {**newest, "account_id": "!", "sequence": 1}
    for row in (forged, stray, early):
        marks = ", ".join("?" for _ in row)
        tampering.run(f"INSERT INTO entries ({', '.join(row)}) VALUES ({marks})", *row.values())
        assert busy_book.verify().problem is not None
        tampering.run("DELETE FROM entries WHERE account_id = ? AND sequence = ?", row["account_id"], row["sequence"])
    assert busy_book.verify().problem is None


def test_a_past_that_was_rewritten_with_its_chain_shows_in_the_head(busy_book: Book, tampering: Tampering) -> None:
    """Whoever rewrites an entry and every hash after it fools the chain, but not a head that was kept elsewhere."""
    kept = busy_book.verify()
    store = busy_book._journal
    account = busy_book.job_account("job-0-0")
    assert account is not None
    head = chain.opening(account)
    for line in store.entries_after(account.id, 0, until=account.id, most=account.entries):
        body = line.body.replace("2026-03-01T12", "2026-03-01T11")
        head = chain.link(head, line.sequence, body)
        tampering.run(
            "UPDATE entries SET hash = ? WHERE account_id = ? AND sequence = ?", head, account.id, line.sequence
        )
    at = "replace(at, '2026-03-01T12', '2026-03-01T11')" if tampering.sqlite else "at - interval '1 hour'"
    tampering.run(f"UPDATE entries SET at = {at} WHERE account_id = ?", account.id)
    tampering.run("UPDATE accounts SET head = ? WHERE account_id = ?", head, account.id)
    found = busy_book.verify()
    assert found.problem is None
    assert kept.head != found.head


# --- what it says


def test_the_first_wrong_row_is_named_with_both_numbers(busy_book: Book, tampering: Tampering) -> None:
    (row,) = [row for row in tampering.rows("accounts") if str(row["account_id"]) == "job.job-1-3"]
    tampering.put("accounts", row, "held_nanos", int(str(row["held_nanos"])) + 5)
    assert busy_book.verify().problem == (
        f"Account job.job-1-3: its entries come to held_nanos {row['held_nanos']}, "
        f"the row says {int(str(row['held_nanos'])) + 5}"
    )
    tampering.put("accounts", row, "held_nanos", row["held_nanos"])
    entry = next(
        row for row in tampering.rows("entries") if row["account_id"] == "job.job-1-3" and row["sequence"] == 2
    )
    tampering.put("entries", entry, "amount_nanos", int(str(entry["amount_nanos"])) + 1)
    problem = busy_book.verify().problem
    assert problem is not None
    assert problem.startswith("Account job.job-1-3, entry 2: the hash should be ")


def test_a_limit_that_no_entry_gave_is_found(busy_book: Book, tampering: Tampering) -> None:
    """A budget that never renews says the same limit in its definition and in its journal."""
    tampering.run("UPDATE budgets SET limit_nanos = limit_nanos + 1 WHERE name = 'org'")
    problem = busy_book.verify().problem
    assert problem is not None
    assert problem == "Budget org: its limit_nanos says 1009000000001, its account's entries come to 1009000000000"


def test_the_report_counts_everything(busy_book: Book, database: Database, tampering: Tampering) -> None:
    found = busy_book.verify()
    assert found.accounts == len(tampering.rows("accounts"))
    assert found.entries == len(tampering.rows("entries"))
    assert found.holds == len(tampering.rows("holds"))
    assert found.heads == {
        str(row["account_id"]): row["head"] for row in tampering.rows("accounts") if row["budget_id"] is not None
    }
    assert found == busy_book.verify()


def test_an_empty_journal_is_clean(book: Book) -> None:
    found = book.verify()
    assert (found.problem, found.accounts, found.entries, found.holds, found.heads) == (None, 0, 0, 0, {})


def test_pages_of_any_size_find_the_same(
    busy_book: Book, monkeypatch: pytest.MonkeyPatch, tampering: Tampering
) -> None:
    """Reading three rows at a time neither skips nor repeats one."""
    whole = busy_book.verify()
    for page in ("_ACCOUNTS_A_PAGE", "_ENTRIES_A_PAGE", "_HOLDS_A_PAGE"):
        monkeypatch.setattr(f"tallygate.ledger.audit.{page}", 3)
    assert whole == busy_book.verify()
    last = tampering.rows("holds")[-1]
    tampering.put("holds", last, "spent_nanos", 1)
    assert not busy_book.verify().is_clean


def test_entries_written_while_it_reads_are_no_problem(
    busy_book: Book, authorize: Authorize, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others go on holding, settling and opening accounts between its pages."""
    store = busy_book._journal
    assert isinstance(store, JournalStore)
    reads = 0

    def write_between(read: Any) -> Any:
        def reading(*arguments: Any, **options: Any) -> Any:
            nonlocal reads
            page = read(*arguments, **options)
            reads += 1
            if reads < 60:  # then it may come to an end
                for name in (f"aaa-{reads}", f"zzz-{reads}"):
                    authorize(name, "0.01", *busy_book.applying("org"))
                busy_book.settle(job_id=f"aaa-{reads}", target=Money.of("0.02"), final=reads % 2 == 0)
            return page

        return reading

    monkeypatch.setattr("tallygate.ledger.audit._ENTRIES_A_PAGE", 7)
    monkeypatch.setattr("tallygate.ledger.audit._ACCOUNTS_A_PAGE", 2)
    for name in ("accounts_after", "entries_after"):
        monkeypatch.setattr(store, name, write_between(getattr(store, name)))
    assert busy_book.verify().problem is None
    assert reads > 60


# --- the database and the rules compute the same


def test_the_hash_of_the_store_is_the_hash_of_the_rules(busy_book: Book) -> None:
    """Written by SQL when the money moved, and computed here from the entry as it is read back."""
    for name in ("org", "org/team"):
        by_account: dict[str, list[Any]] = {}
        for entry in reversed(busy_book.history(name, limit=10_000)):
            by_account.setdefault(entry.account_id, []).append(entry)
        for account_id, entries in by_account.items():
            account = busy_book._journal.account(account_id)
            assert account is not None
            head = chain.opening(account)
            for entry in sorted(entries, key=lambda each: each.sequence):
                head = chain.link(head, entry.sequence, chain.body(entry))
                assert head == entry.hash
            assert head == account.head


def test_every_field_of_an_account_that_never_changes_is_in_its_opening(busy_book: Book, clock: ManualClock) -> None:
    account = busy_book.account(busy_book.budget("org"), clock.now())
    openings = {
        chain.opening(changed)
        for changed in (
            account,
            replace(account, id="other"),
            replace(account, budget_id="other"),
            replace(account, budget_id=None, job_id=account.budget_id),
            replace(account, hard=not account.hard),
            replace(account, limit=replace(account.limit, currency="EUR")),
            replace(account, window=replace(account.window, end=account.window.start)),
        )
    }
    assert len(openings) == 7
