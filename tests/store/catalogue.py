"""What a database says about its own tables, alike for both engines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

SCHEMA = Path(__file__).resolve().parents[2] / "schema"

COLUMNS_OF_POSTGRESQL = b"""
SELECT c.table_name, c.column_name, c.data_type, c.is_nullable = 'NO' AS required,
       c.is_generated = 'ALWAYS' AS derived, c.column_default IS NOT NULL OR c.is_identity = 'YES' AS given
FROM information_schema.columns AS c JOIN information_schema.tables AS t USING (table_schema, table_name)
WHERE c.table_schema = 'public' AND t.table_type = %s
ORDER BY c.table_name, c.ordinal_position
"""


class Column(NamedTuple):
    """``required`` is NOT NULL; ``derived`` is generated from others; ``given`` has a default or counts by itself."""

    name: str
    type: str
    required: bool
    derived: bool
    given: bool


def rows(database: Any, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """The answer to any statement, past the named queries."""
    if database.engine == "sqlite":
        return [tuple(row) for row in database._connection.execute(statement, values)]
    cursor = database._connection.execute(statement.encode(), values or None)
    return [tuple(row.values()) for row in cursor] if cursor.description else []


def tables(database: Any) -> dict[str, list[Column]]:
    return _columns(database, "table", "BASE TABLE")


def views(database: Any) -> dict[str, list[Column]]:
    return _columns(database, "view", "VIEW")


def _columns(database: Any, kind: str, kind_of_postgresql: str) -> dict[str, list[Column]]:
    found: dict[str, list[Column]] = {}
    if database.engine == "postgresql":
        for table, *values in rows(database, COLUMNS_OF_POSTGRESQL.decode(), kind_of_postgresql):
            found.setdefault(table, []).append(Column(*values))
        return found
    for (table,) in rows(database, "SELECT name FROM sqlite_master WHERE type = ? ORDER BY name", kind):
        if not table.startswith("sqlite_"):
            for _, name, type_, required, default, key, hidden in rows(database, f"PRAGMA table_xinfo({table})"):
                given = default is not None or (type_ == "INTEGER" and key == 1 and not required)
                column = Column(name, type_, bool(required or key), hidden > 1, given)
                found.setdefault(table, []).append(column)
    return found


def everything(database: Any) -> list[str]:
    """The definition of every object, for comparing two states of a schema."""
    if database.engine == "sqlite":
        return sorted(str(sql) for (sql,) in rows(database, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"))
    ours = "'public'::regnamespace"
    found = rows(database, f"SELECT relname, relkind::text FROM pg_class WHERE relnamespace = {ours}")
    found += rows(database, "SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal")
    found += rows(database, f"SELECT proname, prosrc FROM pg_proc WHERE pronamespace = {ours}")
    found += rows(
        database,
        f"SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = {ours}",
    )
    return sorted(" ".join(map(str, line)) for line in found)


def in_order_of_birth() -> list[str]:
    """The tables in the order in which the migrations make them: parents before children."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((SCHEMA / "sqlite").glob("*.sql")))
    return re.findall(r"^CREATE TABLE (\w+)", text, re.MULTILINE)


# --- a row for every table, made from the definitions themselves

EXCEPTIONS: dict[str, dict[str, object]] = {
    "accounts": {"budget_id": "x"},  # exactly one owner
    "entries": {"target": "available"},  # another jar than the source
}


def definitions() -> dict[str, str]:
    """Every line of a table in the SQLite files that defines a column, as ``table.column``."""
    found: dict[str, str] = {}
    for path in sorted((SCHEMA / "sqlite").glob("*.sql")):
        table = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if made := re.match(r"CREATE TABLE (\w+)", line):
                table = made[1]
            elif line.startswith(")"):
                table = ""
            elif table and (column := re.match(r"    (\w+)\s+(INTEGER|TEXT|REAL)\b", line)):
                found[f"{table}.{column[1]}"] = line
            elif table and found and not re.match(r"    (CONSTRAINT|UNIQUE|PRIMARY|FOREIGN|CHECK|--)", line):
                found[list(found)[-1]] += " " + line.strip()
    return found


def sample(table: str, columns: list[Column], defined: dict[str, str]) -> dict[str, object]:
    """A row of ``table`` that its constraints allow; every text that may be anything is ``x``, so that keys meet."""
    values = {
        column.name: sample_value(column, defined[f"{table}.{column.name}"])
        for column in columns
        if column.required and not column.derived and not column.given
    }
    return values | EXCEPTIONS.get(table, {})


def sample_value(column: Column, definition: str) -> object:
    if "INTEGER" in definition.split("CHECK")[0]:
        return 1 if re.search(r"> 0|BETWEEN 1 ", definition) else 0
    if listed := re.search(r"IN \('(\w+)'", definition):
        return listed[1]
    if length := re.search(r"length\(\w+\) = (\d+)", definition):
        return {3: "USD", 10: "2026-03-01"}.get(int(length[1]), "0" * int(length[1]))
    if "GLOB '[[]*]'" in definition:
        return "[]"
    if "GLOB" in definition:
        return "{}"
    if column.type == "timestamp with time zone" or re.search(
        r"(_at|_start|_end|_through|^at|not_after)$", column.name
    ):
        return "2026-03-01T12:00:00.000000Z"
    return "x"


def insert(database: Any, table: str, values: dict[str, object]) -> None:
    mark = "?" if database.engine == "sqlite" else "%s"
    names, marks = ", ".join(values), ", ".join(mark for _ in values)
    rows(database, f"INSERT INTO {table} ({names}) VALUES ({marks})", *values.values())
