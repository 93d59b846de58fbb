"""Every named query means something to both engines, given today's schema; the files are read as their rules say."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tallygate.store import postgresql, queries
from tallygate.store.database import Database
from tallygate.store.migrate import open_store
from tallygate.store.queries import named, parse
from tests.conftest import ManualClock, temporary_database
from tests.store.catalogue import SCHEMA

FILES_OF_THEIR_OWN = ("catalog", "price_history")
"""Nouns that are not in the store but in a SQLite file of their own each, whose tests carry out every query."""

FILES = sorted(path for path in Path(queries.SQL).rglob("*.sql") if path.stem not in FILES_OF_THEIR_OWN)

VALUE = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")


def names() -> list[str]:
    found = set()
    for path in FILES:
        found |= {f"{path.stem}.{name}" for name in parse(path.read_text(encoding="utf-8"))}
    return sorted(found)


def exists(engine: str, query: str) -> bool:
    try:
        named(engine, query)
    except KeyError:
        return False
    return True


@pytest.mark.parametrize("query", names())
def test_sqlite_understands(query: str, look_at_sqlite: Any) -> None:
    if not exists("sqlite", query):
        return
    for statement in named("sqlite", query):
        look_at_sqlite._connection.execute(f"EXPLAIN {statement}", defaultdict(lambda: None)).fetchall()


@pytest.mark.parametrize(
    "query",
    [
        *(
            "jobs.newest_named",
            "jobs.runs",
            "jobs.other_ends",
            "jobs.by_request",
            "jobs.attempt_with",
            "jobs.last_machine",
        ),
        *("charges.lives", "charges.unsettled", "journal.holds"),
    ],
)
def test_what_every_launch_and_collection_asks_reads_no_table_from_end_to_end(query: str, look_at_sqlite: Any) -> None:
    (statement,) = named("sqlite", query)
    plan = look_at_sqlite._connection.execute(f"EXPLAIN QUERY PLAN {statement}", defaultdict(lambda: None)).fetchall()
    steps = [str(row[-1]) for row in plan]
    assert [step for step in steps if step.startswith("SCAN") and step != "SCAN j"] == []  # j: the few jobs just found


@pytest.mark.parametrize("query", names())
def test_postgresql_understands(query: str, look_at_postgresql: Any) -> None:
    """As one statement whose values have types that the server can tell by itself, whatever is passed."""
    if not exists("postgresql", query):
        return
    order: dict[str, int] = {}

    def numbered(value: re.Match[str]) -> str:
        return f"${order.setdefault(value[1], len(order) + 1)}"

    statement = re.sub(r"%\((\w+)\)s", numbered, postgresql._statement(query).decode()).replace("%%", "%")
    prepared = look_at_postgresql._connection.pgconn.prepare(b"", statement.encode())
    assert not prepared.error_message, prepared.error_message.decode()


@pytest.fixture(scope="module")
def look_at_sqlite() -> Any:
    return open_store(":memory:", clock=ManualClock())


@pytest.fixture(scope="module")
def look_at_postgresql(postgresql_server: str) -> Iterator[Any]:
    with contextmanager(temporary_database)(postgresql_server, "") as url:
        database = open_store(url, clock=ManualClock())
        yield database
        database.close()


@pytest.mark.parametrize("query", [name for name in names() if exists("sqlite", name) and exists("postgresql", name)])
def test_both_engines_ask_for_the_same_values(query: str) -> None:
    asked = {engine: set(VALUE.findall(" ".join(named(engine, query)))) for engine in ("sqlite", "postgresql")}
    assert asked["sqlite"] == asked["postgresql"]


def test_what_one_engine_says_differently_the_other_says_as_well() -> None:
    """Only what an engine needs for itself may exist for one alone."""
    alone = [query for query in names() if not (exists("sqlite", query) and exists("postgresql", query))]
    assert alone == ["schema.lock"]


def test_every_file_has_a_query_and_every_query_a_statement() -> None:
    assert len(FILES) > 5
    for path in FILES:
        found = parse(path.read_text(encoding="utf-8"))
        assert found, path
        assert [name for name, statements in found.items() if not statements] == [], path


def test_money_is_never_divided_or_made_a_float() -> None:
    """A query that divides amounts or casts them to REAL would lose nanos where nobody looks."""
    for path in FILES:
        text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
        assert not re.search(r"_nanos\w*\)?\s*/|AS (REAL|FLOAT|DOUBLE)|\b1e9\b|\d\.\d", text, re.IGNORECASE), path


# --- reading the files

TEXT = """\
-- A file about something: with a colon, but not one word before it.
-- Something: one word, but not in lower case.

-- first: what it is for
SELECT 1;

-- second: two parts
-- a remark inside
INSERT INTO t VALUES (:a, 'x;y');
UPDATE t SET b = :b  -- a remark at the end
WHERE c = 'a -- b';
"""


def test_a_file_is_split_at_its_headings_and_semicolons() -> None:
    found = parse(TEXT)
    assert found["first"] == ("SELECT 1",)
    assert found["second"][0] == "INSERT INTO t VALUES (:a, 'x;y')"
    assert found["second"][1].startswith("UPDATE t")
    assert len(found["second"]) == 2
    assert found.keys() == {"first", "second"}


def test_two_queries_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two queries are called first"):
        parse("-- first: one\nSELECT 1;\n-- first: two\nSELECT 2;\n")


def test_the_engines_own_version_comes_before_the_common_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sqlite").mkdir()
    (tmp_path / "noun.sql").write_text("-- both: common\nSELECT 1;\n-- other: common\nSELECT 2;\n")
    (tmp_path / "sqlite" / "noun.sql").write_text("-- both: special\nSELECT 3;\n")
    monkeypatch.setattr(queries, "SQL", str(tmp_path))
    load = queries._load.__wrapped__
    assert load("sqlite", "noun") == {"both": ("SELECT 3",), "other": ("SELECT 2",)}
    assert load("postgresql", "noun") == {"both": ("SELECT 1",), "other": ("SELECT 2",)}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT :a::text, x::date", "SELECT %(a)s::text, x::date"),
        ("SELECT 100 % 7, :b_1", "SELECT 100 %% 7, %(b_1)s"),
        ("SELECT '12:30', 'a:b'", "SELECT '12:30', 'a:b'"),
    ],
)
def test_values_are_found_and_nothing_else(monkeypatch: pytest.MonkeyPatch, statement: str, expected: str) -> None:
    monkeypatch.setattr(postgresql, "named", lambda engine, query: (statement,))
    assert postgresql._statement.__wrapped__("any.thing").decode() == expected


def test_the_schema_is_where_the_tests_think(database: Database) -> None:
    assert (SCHEMA / database.engine).is_dir()
