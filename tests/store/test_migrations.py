"""Migrating is all or nothing, by however many processes and wherever they are killed; what is not ours is left alone."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tallygate.errors import SchemaOutOfDate, SchemaTooNew, StoreDamaged, StoreError
from tallygate.ids import Entropy
from tallygate.store import migrate as migrations
from tallygate.store.database import Database, open_database
from tallygate.store.migrate import install_id, load, migrate, open_store, require_current
from tallygate.times import Clock
from tests.conftest import ManualClock
from tests.store.catalogue import SCHEMA, everything, rows
from tests.store.contract import FORK, in_processes

ROOT = SCHEMA.parent


def open_migrated_to(url: str, count: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A database as an older version, with the first ``count`` migrations only, left it."""
    whole = migrations.load
    with monkeypatch.context() as older:
        older.setattr(migrations, "load", lambda engine: whole(engine)[:count])
        database = open_database(url)
        migrate(database, clock=ManualClock())
    return database


# --- from nothing, once, and again


def test_a_new_database_gets_every_migration_once(empty_database_url: str, engine: str, clock: Clock) -> None:
    database = open_database(empty_database_url)
    assert migrate(database, clock=clock) == len(load(engine))
    require_current(database)
    before = everything(database)
    assert migrate(database, clock=clock) == 0
    assert everything(database) == before
    recorded = database.all("schema.applied")
    assert [(row["number"], row["name"], row["digest"]) for row in recorded] == [
        (one.number, one.name, one.digest) for one in load(engine)
    ]
    database.close()


@pytest.mark.parametrize("count", range(len(load("sqlite"))))
def test_an_older_database_is_refused_for_reading_and_brought_up_to_date_for_writing(
    empty_database_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    older = open_migrated_to(empty_database_url, count, monkeypatch)
    with pytest.raises(SchemaOutOfDate) as refusal:
        require_current(older)
    assert "tallygate migrate" in refusal.value.cure
    if count:
        with pytest.raises(SchemaOutOfDate):
            open_store(empty_database_url, clock=clock, create=False)
    older.close()
    store = open_store(empty_database_url, clock=clock)
    require_current(store)
    store.close()


def test_what_is_stored_survives_a_migration(
    empty_database_url: str, clock: Clock, entropy: Entropy, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = open_migrated_to(empty_database_url, 2, monkeypatch)
    name = install_id(older, clock, entropy)
    older.close()
    store = open_store(empty_database_url, clock=clock)
    assert install_id(store, clock, entropy) == name
    store.close()


# --- killed


def kill_at(url: str, engine: str, number: int, place: int) -> None:
    """Migrate in a process that is killed in migration ``number``: after its statement ``place``, counted from 0.

    The place after the last statement is between the record and the commit, the one after that just after the commit.
    """

    def work() -> None:
        database: Any = open_database(url)
        statements = len(list(database.statements(load(engine)[number].text)))
        define, run, lock = database.define, database.run, database.lock_schema
        done = {"transactions": 0, "statements": 0}
        start = len(database.all("schema.applied")) if number else 0

        def lock_schema() -> None:
            if place == statements + 1 and start + done["transactions"] == number + 1:
                os.kill(os.getpid(), signal.SIGKILL)
            lock()
            done["transactions"] += 1
            done["statements"] = 0

        def counting(act: Callable[..., Any]) -> Callable[..., Any]:
            def acting(*arguments: Any, **values: Any) -> Any:
                answer = act(*arguments, **values)
                if start + done["transactions"] == number + 1 and done["statements"] == place:
                    os.kill(os.getpid(), signal.SIGKILL)
                done["statements"] += 1
                return answer

            return acting

        database.define, database.run, database.lock_schema = counting(define), counting(run), lock_schema
        migrate(database, clock=ManualClock())
        database.close()

    process = FORK.Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def test_a_kill_at_any_statement_leaves_the_old_schema_or_the_new(
    empty_database_url: str, engine: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL after every statement of every migration, before its commit and after it, on one database, one by one."""
    if engine == "sqlite":
        Path(empty_database_url).touch()
    kills = 0
    for number, migration in enumerate(load(engine)):
        before = look(empty_database_url)
        with_splitter: Any = open_database(empty_database_url)
        statements = len(list(with_splitter.statements(migration.text)))
        with_splitter.close()
        for place in range(statements + 1):
            kill_at(empty_database_url, engine, number, place)
            assert look(empty_database_url) == before
            kills += 1
        if number < len(load(engine)) - 1:
            kill_at(empty_database_url, engine, number, statements + 1)
            applied, objects = look(empty_database_url)
            assert applied == number + 1
            assert {_name(each) for each in objects} >= {_name(each) for each in before[1]}
            assert objects != before[1]
            kills += 1
    assert kills > 50
    store = open_store(empty_database_url, clock=clock)
    require_current(store)
    assert store.problems() == []
    store.close()


def _name(definition: str) -> tuple[str, ...]:
    """What a definition defines, whatever has been added to it since."""
    return tuple(definition.split()[:3])


def look(url: str) -> tuple[int, list[str]]:
    """How many migrations a database says it has, and what there is."""
    database: Any = open_database(url)
    present = everything(database)
    count = len(database.all("schema.applied")) if database.all("schema.tables") else 0
    database.close()
    return count, present


# --- several at once


def test_eight_processes_may_migrate_at_once(empty_database_url: str, engine: str, clock: Clock) -> None:
    """Every migration is applied by exactly one of them, and all find the schema current."""

    def work(_: int) -> int:
        database = open_database(empty_database_url)
        done = migrate(database, clock=ManualClock())
        require_current(database)
        database.close()
        return done

    assert sum(in_processes(8, work)) == len(load(engine))


def test_a_database_that_another_process_makes_meanwhile_is_not_taken_for_a_strangers(
    empty_database_url: str, clock: Clock
) -> None:
    """The other process is done after we found no record of migrations and before we looked for other tables."""
    database: Any = open_database(empty_database_url)
    ask = database.all

    def slowly(query: str, **values: object) -> Any:
        if query == "schema.tables":
            database.all = ask
            open_store(empty_database_url, clock=clock).close()
        return ask(query, **values)

    database.all = slowly
    assert migrate(database, clock=clock) == 0
    require_current(database)
    database.close()


def test_an_installation_gets_one_id_however_many_ask_first(database_url: str) -> None:
    from tallygate.ids import SystemEntropy

    def work(_: int) -> str:
        database = open_database(database_url)
        found = install_id(database, ManualClock(), SystemEntropy())
        database.close()
        return found

    (name,) = set(in_processes(6, work))
    assert re.fullmatch(r"[0-9a-z]{8}", name)


def test_an_installation_has_one_id_at_most(database: Any, clock: Clock) -> None:
    database.run("schema.install", install_id="first", created_at=clock.now())
    database.run("schema.install", install_id="second", created_at=clock.now())
    assert database.all("schema.install_id") == [{"install_id": "first"}]


# --- not ours, or not for us


def refusals(url: str, clock: Clock, kind: type[StoreError]) -> list[StoreError]:
    """Every way in refuses with ``kind``, and nothing changes."""
    database = open_database(url)
    before = everything(database)
    found = []
    for use in (
        lambda: migrate(database, clock=clock),
        lambda: open_store(url, clock=clock),
        lambda: open_store(url, clock=clock, create=False),
        lambda: require_current(database),
    ):
        with pytest.raises(kind) as refusal:
            use()
        assert type(refusal.value) is kind
        found.append(refusal.value)
    assert everything(database) == before
    database.close()
    return found


def record(database: Any, number: int, name: str) -> None:
    database.run("schema.record", number=number, name=name, digest="0" * 64, applied_at=ManualClock().now())


def test_a_database_of_a_newer_version_is_refused(
    database: Database, database_url: str, engine: str, clock: Clock
) -> None:
    record(database, len(load(engine)), "what_comes_next")
    for refusal in refusals(database_url, clock, SchemaTooNew):
        assert "what_comes_next" in refusal.message
        assert "nothing was changed" in refusal.cure


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE TABLE letters (id INTEGER)", "letters"),
        ("CREATE TABLE schema_migrations (version TEXT)", "schema_migrations"),
        ("CREATE TABLE jobs (job_id TEXT)", "jobs"),
    ],
)
def test_a_database_of_another_program_is_refused(
    empty_database_url: str, clock: Clock, statement: str, name: str
) -> None:
    database = open_database(empty_database_url)
    rows(database, statement)
    database.close()
    for refusal in refusals(empty_database_url, clock, StoreDamaged):
        assert "another program" in refusal.message
        assert name in refusal.message
        assert "nothing was changed" in refusal.cure


def test_a_migration_that_was_altered_after_it_was_applied_is_reported(
    database: Database, database_url: str, clock: Clock
) -> None:
    rows(database, "UPDATE schema_migrations SET digest = '" + "f" * 64 + "' WHERE number = 1")
    for use in (lambda: migrate(database, clock=clock), lambda: open_store(database_url, clock=clock)):
        with pytest.raises(StoreDamaged, match=r"Migration 0001 \(ledger\)"):
            use()


def test_a_database_of_another_line_of_development_is_refused_for_reading(
    database: Database, database_url: str, clock: Clock
) -> None:
    rows(database, "UPDATE schema_migrations SET name = 'otherwise' WHERE number = 1")
    with pytest.raises(StoreDamaged, match="otherwise"):
        open_store(database_url, clock=clock, create=False)


# --- the files


def test_a_gap_in_the_numbers_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(SCHEMA, tmp_path / "schema")
    (tmp_path / "schema" / "sqlite" / "0001_ledger.sql").unlink()
    monkeypatch.setattr(migrations, "_PLACES", (str(tmp_path / "schema"),))
    with pytest.raises(StoreError, match="without a gap"):
        migrations._files("sqlite")


def test_an_installed_package_finds_its_schema_inside(tmp_path: Path) -> None:
    """As the wheel lays it out: ``tallygate/schema``."""
    shutil.copytree(ROOT / "tallygate", tmp_path / "tallygate", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(SCHEMA, tmp_path / "tallygate" / "schema")
    answer = subprocess.run(
        [sys.executable, "-c", "from tallygate.store import migrate; print(migrate.schema_folder())"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert answer.stdout.strip() == str(tmp_path / "tallygate" / "schema")


def test_reading_imports_no_driver_of_the_other_engine_and_no_digest(database_url: str, engine: str) -> None:
    """Opening for reading is on the path of commands that answer in a blink."""
    if engine == "postgresql":
        return
    code = (
        "import sys; from tallygate.store.migrate import open_store; from tallygate.times import SystemClock;"
        f"open_store({database_url!r}, clock=SystemClock(), create=False).all('schema.applied');"
        "print([name for name in ('psycopg', 'hashlib', 'pathlib', 'threading') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.strip() == "[]"
