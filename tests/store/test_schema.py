"""The two schemas say the same, every amount is exact and never unknown by accident, and the documents tell the truth."""

from __future__ import annotations

import importlib.util
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tallygate.store.database import Database, open_database
from tallygate.store.migrate import load, migrate, open_store, require_current
from tallygate.times import Clock
from tests.conftest import ManualClock, temporary_database
from tests.store.catalogue import (
    SCHEMA,
    definitions,
    in_order_of_birth,
    insert,
    rows,
    sample,
    tables,
    views,
)

ENGINES = ("sqlite", "postgresql")

REFUSED = (
    sqlite3.IntegrityError,
    psycopg.errors.IntegrityError,
    psycopg.errors.DataError,
    psycopg.errors.RaiseException,
)

ALIKE = {
    "INTEGER": {"bigint", "integer"},
    "TEXT": {"text", "timestamp with time zone", "date", "jsonb"},
    "REAL": {"numeric"},
}

UNKNOWN_UNTIL_LATER = {
    "jobs.on_demand_price_nanos",
    "jobs.budget_limit_nanos",
    "jobs.metered_cost_nanos",
    "jobs.billed_cost_nanos",
    "jobs.final_cost_nanos",
    "attempts.on_demand_price_nanos",
    "cloud_costs.cost_usd_nanos",
}
"""The only amounts that may be unknown. Everywhere else an unknown amount is a mistake and is refused."""


@pytest.fixture(scope="module")
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A migrated database of each engine, for looking only."""
    path = tmp_path_factory.mktemp("look") / "cloud_jobs.db"
    with contextmanager(temporary_database)(request.getfixturevalue("postgresql_server"), "") as url:
        opened = {
            "sqlite": open_store(str(path), clock=ManualClock()),
            "postgresql": open_store(url, clock=ManualClock()),
        }
        yield opened
        for database in opened.values():
            database.close()


# --- the engines agree


def test_migrations_have_the_same_numbers_and_names() -> None:
    named = {engine: [path.name for path in sorted((SCHEMA / engine).glob("*.sql"))] for engine in ENGINES}
    assert named["sqlite"] == named["postgresql"]
    assert [name[:4] for name in named["sqlite"]] == [f"{number:04}" for number in range(len(named["sqlite"]))]
    assert len(named["sqlite"]) >= 4


def test_tables_and_columns_are_the_same_in_the_same_order(both: dict[str, Any]) -> None:
    ours = {table: [column.name for column in columns] for table, columns in tables(both["sqlite"]).items()}
    theirs = {table: [column.name for column in columns] for table, columns in tables(both["postgresql"]).items()}
    assert ours == theirs
    assert {"jobs", "cost_tracking", "cloud_costs", "entries", "schema_migrations"} <= ours.keys()


def test_columns_are_alike_in_type_and_in_what_may_be_missing(both: dict[str, Any]) -> None:
    unlike = []
    others = tables(both["postgresql"])
    for table, columns in tables(both["sqlite"]).items():
        for one, other in zip(columns, others[table], strict=True):
            if other.type not in ALIKE[one.type] or one[2:] != other[2:]:
                unlike.append((table, one, other))
    assert unlike == []


def test_views_are_the_same_in_the_same_order(both: dict[str, Any]) -> None:
    ours = {view: [column.name for column in columns] for view, columns in views(both["sqlite"]).items()}
    theirs = {view: [column.name for column in columns] for view, columns in views(both["postgresql"]).items()}
    assert ours == theirs


def checks(engine: str) -> list[str]:
    """Every check of the files, those on the shape of text left out: PostgreSQL has types for dates and JSON."""
    found = []
    for path in sorted((SCHEMA / engine).glob("*.sql")):
        text = without_domains(re.sub(r"--.*", "", path.read_text(encoding="utf-8")))
        for start in re.finditer(r"CHECK \(", text):
            depth, end = 1, start.end()
            while depth:
                depth += {"(": 1, ")": -1}.get(text[end], 0)
                end += 1
            check = " ".join(text[start.end() : end - 1].split())
            if "GLOB" not in check and not check.endswith("= 10"):
                found.append(f"{path.name}: {check}")
    return found


def without_domains(text: str) -> str:
    """The text with the check of a domain written out at every column of that type."""
    domains = re.findall(r"CREATE DOMAIN (\w+) AS (\w+) CHECK \((.*?)\);\n", text, re.DOTALL)
    text = re.sub(r"CREATE DOMAIN .*?;\n", "", text, flags=re.DOTALL)
    for name, kind, check in domains:
        for column in re.findall(rf"^    (\w+) +{name} NOT NULL,$", text, re.MULTILINE):
            written_out = f"    {column} {kind} NOT NULL CHECK ({check.replace('VALUE', column)}),"
            text = re.sub(rf"^    {column} +{name} NOT NULL,$", written_out, text, count=1, flags=re.MULTILINE)
    return text


def test_checks_are_the_same() -> None:
    assert checks("sqlite") == checks("postgresql")
    assert len(checks("sqlite")) > 40


def indexes(engine: str) -> list[str]:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((SCHEMA / engine).glob("*.sql")))
    return [" ".join(found.split()) for found in re.findall(r"CREATE (?:UNIQUE )?INDEX [^;]+;", text)]


def test_indexes_are_the_same() -> None:
    assert indexes("sqlite") == indexes("postgresql")
    assert len(indexes("sqlite")) > 10


def test_every_table_of_sqlite_is_strict() -> None:
    """Without STRICT, SQLite keeps text in an amount."""
    for path in sorted((SCHEMA / "sqlite").glob("*.sql")):
        for table in re.findall(r"CREATE TABLE.*?\n\)[^;]*;", path.read_text(encoding="utf-8"), re.DOTALL):
            assert re.search(r"\) STRICT(, WITHOUT ROWID)?;$", table), table


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_ever_dropped(engine: str) -> None:
    for path in sorted((SCHEMA / engine).glob("*.sql")):
        text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
        assert not re.search(r"\bDROP\b|^\s*(DELETE|TRUNCATE|REPLACE|VACUUM)\b|\bOR REPLACE\b", text, re.I | re.M), path


# --- the snapshots


def snapshot_module() -> Any:
    spec = importlib.util.spec_from_file_location("snapshot", SCHEMA / "snapshot.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("engine", ENGINES)
def test_the_snapshot_is_the_sum_of_the_migrations(both: dict[str, Any], engine: str) -> None:
    """``make schema`` writes it."""
    written = (SCHEMA / f"{engine}.sql").read_text(encoding="utf-8")
    assert written == snapshot_module().text_of(both[engine])


@pytest.mark.parametrize("engine", ENGINES)
def test_the_snapshot_alone_makes_the_same_schema(
    both: dict[str, Any], engine: str, empty_database_url: str, clock: Clock
) -> None:
    """So that a reader who knows the snapshot knows the schema, and a database may be set up by hand."""
    database: Any = open_database(empty_database_url)
    with database.transaction():
        for statement in database.statements((SCHEMA / f"{engine}.sql").read_text(encoding="utf-8")):
            database.define(statement)
    assert tables(database) == tables(both[engine])
    assert snapshot_module().text_of(database) == snapshot_module().text_of(both[engine])
    require_current(database)
    assert migrate(database, clock=clock) == 0
    database.close()


# --- amounts


def filled(database: Any) -> dict[str, dict[str, object]]:
    """One row in every table, and what it holds."""
    defined, columns = definitions(), tables(database)
    made = {}
    for table in in_order_of_birth():
        if table != "schema_migrations":
            made[table] = sample(table, columns[table], defined)
            insert(database, table, made[table])
    return made


def test_every_table_takes_a_row(database: Database) -> None:
    made = filled(database)
    assert made.keys() | {"schema_migrations"} == tables(database).keys()


def test_the_amounts_that_may_be_unknown_are_these_and_no_others(both: dict[str, Any]) -> None:
    for database in both.values():
        unknown = {
            f"{table}.{column.name}"
            for table, columns in tables(database).items()
            for column in columns
            if column.name.endswith("_nanos") and not column.required
        }
        assert unknown == UNKNOWN_UNTIL_LATER


WHOLE = ("INTEGER", "bigint", "integer")


@pytest.mark.parametrize(
    ("value", "kind", "because"),
    [
        (None, "required", "NOT NULL constraint|violates not-null"),
        ("12 dollars", "whole", "cannot store TEXT|datatype mismatch|invalid input syntax"),
        ("NaN", "whole", "cannot store TEXT|datatype mismatch|invalid input syntax"),
    ],
)
def test_no_column_takes_what_it_must_not(database: Any, value: object, kind: str, because: str) -> None:
    """NULL passes every check, so NOT NULL must stop it; text in an amount would sort above every number."""
    sqlite = database.engine == "sqlite"
    # Foreign keys aside: the row must be refused for this value and for nothing else.
    rows(database, "PRAGMA foreign_keys = OFF" if sqlite else "SET session_replication_role = replica")
    defined, wrong, tried = definitions(), {}, 0
    for table, columns in tables(database).items():
        for column in columns:
            if column.derived or not (column.required if kind == "required" else column.type in WHOLE):
                continue
            if sqlite and column.given and value is None and column.name == "id":
                continue  # counts by itself when NULL
            reason = refusal(database, table, {**sample(table, columns, defined), column.name: value})
            tried += 1
            if not re.search(because, reason):
                wrong[f"{table}.{column.name}"] = reason
    assert wrong == {}
    assert tried > 30


def refusal(database: Any, table: str, values: dict[str, object]) -> str:
    """Why a row is refused; empty when it is let in. Nothing stays."""
    rows(database, "BEGIN")
    try:
        insert(database, table, values)
    except REFUSED as error:
        return str(error)
    finally:
        rows(database, "ROLLBACK")
    return ""


def test_a_fraction_of_a_nano_is_refused_by_sqlite(both: dict[str, Any]) -> None:
    """Where an integer is wanted, STRICT refuses what is not one; the verbs refuse every float on both engines."""
    with pytest.raises(sqlite3.IntegrityError, match="cannot store REAL"):
        rows(both["sqlite"], "INSERT INTO schema_migrations VALUES (100.5, 'x', ?, '')", "0" * 64)


def test_the_promise_itself_is_a_constraint(database: Any) -> None:
    """However it comes about, held and spent beyond the limit cannot be stored without being on record as excess."""
    filled(database)
    rows(database, "UPDATE accounts SET limit_nanos = 10, held_nanos = 6, spent_nanos = 4")
    for change in ("held_nanos = 7", "spent_nanos = 5", "limit_nanos = 9", "excess_nanos = -1"):
        with pytest.raises(REFUSED, match=r"never_over_the_limit|excess_nanos"):
            rows(database, f"UPDATE accounts SET {change}")
    rows(database, "UPDATE accounts SET spent_nanos = 5, excess_nanos = 1")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET amount_nanos = 2",
        "UPDATE entries SET reason = 'other'",
        "DELETE FROM entries",
        "DELETE FROM accounts",
        "DELETE FROM holds",
    ],
)
def test_the_journal_cannot_be_rewritten(database: Any, statement: str) -> None:
    filled(database)
    before = [rows(database, f"SELECT * FROM {table}") for table in ("entries", "accounts", "holds")]
    with pytest.raises(REFUSED, match="are never"):
        rows(database, statement)
    assert [rows(database, f"SELECT * FROM {table}") for table in ("entries", "accounts", "holds")] == before


def test_a_job_has_at_most_one_open_attempt(database: Any) -> None:
    filled(database)
    columns, defined = tables(database), definitions()
    second = sample("attempts", columns["attempts"], defined) | {"attempt_id": "y", "number": 2, "token": "y"}
    with pytest.raises(REFUSED):
        insert(database, "attempts", second)
    insert(database, "attempts", second | {"state": "void"})


# --- what is documented


def test_the_readme_explains_every_table_and_column(both: dict[str, Any]) -> None:
    """``schema/README.md`` has a section per table or view and a row per column, in order, and none that is gone."""
    told: dict[str, list[str]] = {}
    table = ""
    for line in (SCHEMA / "README.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"### `(\w+)`", line):
            table = heading[1]
            told[table] = []
        elif line.startswith("#"):
            table = ""
        elif table and (column := re.match(r"\| `(\w+)` \| .{5,} \|$", line)):
            told[table].append(column[1])
    everything = tables(both["sqlite"]) | views(both["sqlite"])
    assert told == {table: [column.name for column in columns] for table, columns in everything.items()}


def test_loaded_migrations_are_those_of_the_checkout() -> None:
    for engine in ENGINES:
        paths: list[Path] = sorted((SCHEMA / engine).glob("*.sql"))
        assert [migration.text for migration in load(engine)] == [path.read_text(encoding="utf-8") for path in paths]
