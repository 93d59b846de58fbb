"""PostgreSQL keeps the store's contract, and what is PostgreSQL's own: the line, the server, its rights and its types."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tallygate.errors import CommitUnknown, ConfigError, StoreBusy, StoreError, StoreReadOnly, StoreUnreachable
from tallygate.store.database import open_database
from tallygate.store.migrate import migrate, open_store, require_current
from tallygate.store.postgresql import PostgresqlDatabase
from tallygate.times import Clock
from tests.store.contract import DatabaseContract

Filter = Callable[[bytes], bytes]
"""What a line does with some bytes: hand them on, or raise ``HangUp`` to cut."""


class HangUp(Exception):
    """Cut the line after these last bytes."""


class TestContract(DatabaseContract):
    @pytest.fixture
    def engine(self) -> str:
        return "postgresql"


@pytest.fixture
def engine() -> str:
    return "postgresql"


class Line:
    """A TCP line to the server that a test can listen to and cut."""

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        self._socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql://postgres@127.0.0.1:{self._door.getsockname()[1]}{parts.path}"
        self.to_server: Filter = lambda data: data
        self.to_client: Filter = lambda data: data
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._socket)
            for source, target, way in ((client, server, "to_server"), (server, client, "to_client")):
                threading.Thread(target=self._carry, args=(source, target, way), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, way: str) -> None:
        while True:
            try:
                if data := source.recv(65536):
                    target.sendall(getattr(self, way)(data))
                    continue
            except HangUp as last:
                target.sendall(b"".join(last.args))
            except OSError:
                pass
            for end in (source, target):
                hang_up(end)
            return

    def close(self) -> None:
        self._door.close()


def hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@pytest.fixture
def line(database_url: str) -> Iterator[Line]:
    line = Line(database_url)
    yield line
    line.close()


@contextmanager
def administrator(url: str) -> Iterator[Callable[[str], None]]:
    with psycopg.connect(url, autocommit=True) as connection:

        def run(statement: str) -> None:
            connection.execute(statement.encode())

        yield run


def install(database: Any, name: str = "x") -> int:
    return database.run("schema.install", install_id=name, created_at=datetime(2026, 3, 1, tzinfo=UTC))  # type: ignore[no-any-return]


# --- the line is lost


def lose_the_question(line: Line, word: bytes) -> None:
    def question(data: bytes) -> bytes:
        if word in data:
            raise HangUp
        return data

    line.to_server = question


def lose_the_answer(line: Line, word: bytes) -> None:
    asked = threading.Event()

    def question(data: bytes) -> bytes:
        if word in data:
            asked.set()
        return data

    def answer(data: bytes) -> bytes:
        if asked.is_set():
            raise HangUp
        return data

    line.to_server, line.to_client = question, answer


@pytest.mark.parametrize(("lose", "stored"), [(lose_the_question, False), (lose_the_answer, True)])
def test_a_line_lost_at_commit_is_an_unknown_outcome(
    line: Line, database: Any, lose: Callable[[Line, bytes], None], stored: bool
) -> None:
    """The same error whether the server committed or not: only looking tells."""
    client = open_database(line.url)
    lose(line, b"COMMIT")
    with pytest.raises(CommitUnknown) as unknown, client.transaction():
        install(client)
    assert "Look before repeating" in unknown.value.cure
    assert (database.one("schema.install_id") is not None) == stored
    client.close()


@pytest.mark.parametrize(("lose", "stored"), [(lose_the_question, False), (lose_the_answer, True)])
def test_a_line_lost_during_a_single_statement_is_an_unknown_outcome(
    line: Line, database: Any, lose: Callable[[Line, bytes], None], stored: bool
) -> None:
    client = open_database(line.url)
    lose(line, b"INSERT INTO install")
    with pytest.raises(CommitUnknown):
        install(client)
    assert (database.one("schema.install_id") is not None) == stored


def test_a_line_lost_while_reading_is_no_riddle(line: Line) -> None:
    client = open_database(line.url)
    lose_the_answer(line, b"SELECT install_id")
    with pytest.raises(StoreUnreachable):
        client.one("schema.install_id")


def test_a_line_lost_before_the_commit_stores_nothing_for_certain(line: Line, database: Any) -> None:
    client = open_database(line.url)
    lose_the_answer(line, b"SELECT install_id")
    with pytest.raises(StoreUnreachable), client.transaction():
        install(client)
        client.one("schema.install_id")
    assert database.one("schema.install_id") is None
    with pytest.raises(StoreUnreachable):
        client.one("schema.install_id")
    with pytest.raises(StoreUnreachable), client.transaction():
        pass
    assert not client.in_transaction


def test_a_session_that_the_server_ends_stores_nothing(database: Any, database_url: str) -> None:
    client: Any = open_database(database_url)
    with pytest.raises(StoreUnreachable), client.transaction():
        install(client)
        with administrator(database_url) as run:
            run(f"SELECT pg_terminate_backend({client._connection.info.backend_pid}, 5000)")
        client.one("schema.install_id")
    assert database.one("schema.install_id") is None


# --- the server cannot be used


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    with pytest.raises(StoreUnreachable) as refusal:
        open_database(f"postgresql://me:secret@127.0.0.1:{port}/db")
    assert "server runs" in refusal.value.cure
    assert "secret" not in str(refusal.value)


def test_a_wrong_password_is_said_and_not_shown(database_url: str, postgresql_server: str) -> None:
    with administrator(postgresql_server) as run, psycopg.connect(postgresql_server) as connection:
        run("DROP ROLE IF EXISTS stranger")
        run("CREATE ROLE stranger LOGIN PASSWORD 'right'")
        shown = connection.execute("SHOW hba_file").fetchone()
        assert shown is not None
        rules = Path(shown[0])
        before = rules.read_text()
        try:
            rules.write_text(f"local all stranger scram-sha-256\n{before}")
            run("SELECT pg_reload_conf()")
            with pytest.raises(StoreUnreachable, match="password authentication failed") as refusal:
                open_database(database_url.replace("postgres:@", "stranger:wrong@"))
            assert "wrong" not in str(refusal.value)
            assert "password" in refusal.value.cure
            open_database(database_url.replace("postgres:@", "stranger:right@")).close()
        finally:
            rules.write_text(before)
            run("SELECT pg_reload_conf()")
            run("DROP ROLE stranger")


def test_a_database_that_is_not_there_is_said(postgresql_server: str) -> None:
    with pytest.raises(StoreUnreachable, match='"nowhere" does not exist'):
        open_database(postgresql_server.replace("/postgres?", "/nowhere?"))


@pytest.mark.parametrize("url", ["postgresql://me:se%zzcret@host/db", "postgresql://me:secret@host:port/db?x=y"])
def test_a_url_that_cannot_be_read_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        open_database(url)
    assert "cret" not in str(refusal.value) + refusal.value.cure
    assert refusal.value.__cause__ is None


def test_a_server_that_only_reads_is_refused_for_writing_and_serves_reports(database_url: str, clock: Clock) -> None:
    """As a replica would be: the gate never decides on one."""
    name = urlsplit(database_url).path[1:]
    with administrator(database_url) as run:
        run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(StoreReadOnly, match="replica or read-only") as refusal:
        open_store(database_url, clock=clock)
    assert "primary" in refusal.value.cure
    reader = open_store(database_url, clock=clock, create=False)
    require_current(reader)
    reader.close()


def test_a_user_without_rights_is_told_so(database_url: str, postgresql_server: str) -> None:
    with administrator(postgresql_server) as run:
        run("DROP ROLE IF EXISTS guest")
        run("CREATE ROLE guest LOGIN")
    try:
        guest = open_database(database_url.replace("postgres:@", "guest@"))
        with pytest.raises(StoreReadOnly, match="does not allow"):
            install(guest)
        guest.close()
    finally:
        with administrator(postgresql_server) as run:
            run("DROP ROLE guest")


def test_a_full_house_is_busy(database_url: str, postgresql_server: str) -> None:
    name = urlsplit(database_url).path[1:]
    with administrator(postgresql_server) as run:
        run("DROP ROLE IF EXISTS latecomer")
        run("CREATE ROLE latecomer LOGIN")
        run(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
        try:
            with pytest.raises(StoreBusy):
                open_database(database_url.replace("postgres:@", "latecomer@"))
        finally:
            run("DROP ROLE latecomer")


def test_a_pooler_that_forbids_transactions_is_refused_at_the_start(line: Line) -> None:
    """A pooler in statement mode gives every statement to another session, and says so only inside a transaction."""

    def pooler(data: bytes) -> bytes:
        if data.endswith(b"Z\0\0\0\5T"):  # the server says: inside a transaction
            fields = b"SFATAL\0C08P01\0Mtransaction blocks not allowed in statement pooling mode\0\0"
            raise HangUp(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
        return data

    line.to_client = pooler
    with pytest.raises(StoreError, match="pooler does not allow transactions") as refusal:
        open_database(line.url)
    assert "session mode" in refusal.value.cure


# --- writers against each other


def test_of_two_writers_in_each_others_way_one_is_told_to_try_again(database: Any, database_url: str) -> None:
    """A deadlock ends in one StoreBusy and one commit; nothing hangs."""
    database.define("CREATE TABLE pair (name TEXT PRIMARY KEY, n INTEGER)")
    database.define("INSERT INTO pair VALUES ('a', 0), ('b', 0)")
    barrier, outcomes = threading.Barrier(2), []

    def cross(first: str, second: str) -> None:
        client: Any = open_database(database_url)
        try:
            with client.transaction():
                client.define(f"UPDATE pair SET n = n + 1 WHERE name = '{first}'")
                barrier.wait(10)
                client.define(f"UPDATE pair SET n = n + 1 WHERE name = '{second}'")
            outcomes.append("stored")
        except StoreBusy:
            outcomes.append("busy")
        client.close()

    threads = [threading.Thread(target=cross, args=names) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["busy", "stored"]
    found = database._connection.execute("SELECT sum(n) AS n FROM pair").fetchone()
    assert found == {"n": 2}


# --- sessions and types


def test_every_session_has_the_safe_settings(database_url: str) -> None:
    """Whatever the server, the database or the user have as their defaults."""
    name = urlsplit(database_url).path[1:]
    with administrator(database_url) as run:
        for setting in (
            "timezone = 'Asia/Tokyo'",
            "datestyle = 'German, DMY'",
            "synchronous_commit = off",
            "default_transaction_isolation = 'serializable'",
        ):
            run(f"ALTER DATABASE {name} SET {setting}")
    database: Any = PostgresqlDatabase(database_url, busy_seconds=7)
    wanted = {
        "TimeZone": "UTC",
        "DateStyle": "ISO, YMD",
        "synchronous_commit": "on",
        "default_transaction_isolation": "read committed",
        "lock_timeout": "7s",
        "idle_in_transaction_session_timeout": "1min",
        "client_encoding": "UTF8",
    }
    found = {}
    for setting in wanted:
        (found[setting],) = database._connection.execute(f"SHOW {setting}".encode()).fetchone().values()
    assert found == wanted
    database.close()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("9223372036854775807::bigint", 2**63 - 1),
        ("sum(x) FROM (VALUES (9223372036854775807::bigint), (1)) AS t (x)", 2**63),
        ("(-5)::numeric", -5),
        ("5 * 0.000000001", Decimal("0.000000005")),
        ("8.00::numeric", Decimal("8.00")),
        ("'NaN'::numeric", Decimal("NaN")),
        ("DATE '2026-03-29'", "2026-03-29"),
        ("""'{"b": 1, "a": [1.10]}'::jsonb""", '{"a": [1.10], "b": 1}'),
        ("TIMESTAMPTZ '2026-03-29 02:30+02'", datetime(2026, 3, 29, 0, 30, tzinfo=UTC)),
    ],
)
def test_answers_come_as_the_contract_says(database: Any, expression: str, value: object) -> None:
    (found,) = database._connection.execute(f"SELECT {expression}".encode()).fetchone().values()
    assert type(found) is type(value)
    assert str(found) == str(value)
    if isinstance(found, datetime):
        assert found.utcoffset() == timedelta(0)


def test_an_empty_database_reads_as_an_empty_store(
    postgresql_server: str, clock: Clock, empty_database_url: str
) -> None:
    """A report on a database that nobody has set up shows nothing, and sets nothing up."""
    store = open_store(empty_database_url, clock=clock, create=False)
    assert store.one("schema.install_id") is None
    with pytest.raises(StoreReadOnly):
        install(store)
    store.close()
    check = open_database(empty_database_url)
    assert check.all("schema.tables") == []
    check.close()


def test_the_journal_cannot_be_emptied(database: Any) -> None:
    """TRUNCATE asks no row trigger, so it needs its own."""
    for table in ("entries", "holds", "accounts"):
        with pytest.raises(StoreError, match="never deleted"):
            database.define(f"TRUNCATE {table} CASCADE")


def test_migrating_without_the_right_to_create_changes_nothing(
    empty_database_url: str, postgresql_server: str, clock: Clock
) -> None:
    with administrator(postgresql_server) as run:
        run("DROP ROLE IF EXISTS visitor")
        run("CREATE ROLE visitor LOGIN")
    try:
        visitor = open_database(empty_database_url.replace("postgres:@", "visitor@"))
        with pytest.raises(StoreReadOnly):
            migrate(visitor, clock=clock)
        visitor.close()
    finally:
        with administrator(postgresql_server) as run:
            run("DROP ROLE visitor")
