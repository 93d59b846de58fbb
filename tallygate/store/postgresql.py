"""PostgreSQL as the operational store, through psycopg 3, for when several people or machines share one.

Isolation is READ COMMITTED: the ledger rests on one row and one conditional update, which PostgreSQL re-checks on the
newest version of the row, and not on SERIALIZABLE.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg.types.string import TextLoader

from ..errors import (
    CommitUnknown,
    ConfigError,
    Conflict,
    StoreBusy,
    StoreDamaged,
    StoreDeadlock,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnreachable,
    TallygateError,
)
from .database import Row
from .queries import named, plain

_VALUE = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")

_LINE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""How soon a line that is dead counts as dead (seconds; the last in milliseconds), unless the URL says otherwise."""


class _NumericLoader(Loader):
    """A NUMERIC without a point, such as the sum of a BIGINT column, is a whole number."""

    def load(self, data: Any) -> int | Decimal:
        digits = bytes(data).decode()
        return int(digits) if digits.lstrip("-").isdigit() else Decimal(digits)


class PostgresqlDatabase:
    """One connection to a PostgreSQL server. Not shared between threads or across a fork.

    A writable one is refused by a server that only reads, such as a replica.
    """

    engine = "postgresql"

    def __init__(self, url: str, *, writable: bool = True, busy_seconds: float = 30.0) -> None:
        self._process = os.getpid()
        self._writable = writable
        self._inside = False
        address = _address(url, writable=writable)
        try:
            self._connection = psycopg.connect(address, autocommit=True, row_factory=dict_row, prepare_threshold=1)
            self._connection.adapters.register_loader("jsonb", TextLoader)
            self._connection.adapters.register_loader("date", TextLoader)
            self._connection.adapters.register_loader("numeric", _NumericLoader)
            self._cursor = self._connection.cursor()
        except psycopg.Error as error:
            raise _translated(error) from error
        self._prepare(int(busy_seconds * 1000))

    def _prepare(self, busy_milliseconds: int) -> None:
        settings = {
            "timezone": "'UTC'",
            "datestyle": "'ISO, YMD'",
            "synchronous_commit": "on",
            "default_transaction_isolation": "'read committed'",
            "lock_timeout": busy_milliseconds,
            # A client that vanished without closing its line must not keep a budget's row locked.
            "idle_in_transaction_session_timeout": max(60_000, 2 * busy_milliseconds),
            "default_transaction_read_only": "off" if self._writable else "on",
        }
        # In two messages on purpose: a pooler that forbids transactions shows itself here and not at the first launch.
        self._plain("BEGIN; " + "; ".join(f"SET {name} = {value}" for name, value in settings.items()))
        self._plain("COMMIT")

    # --- the five verbs

    @property
    def in_transaction(self) -> bool:
        return self._inside

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._same_process()
        if self._inside:
            raise StoreError("A transaction is already open on this connection")
        if not self._writable:
            raise StoreReadOnly("The database was opened for reading only", cure="")
        self._plain("BEGIN")
        self._inside = True
        try:
            try:
                yield
            except BaseException:
                self._roll_back()
                raise
            self._commit()
        finally:
            self._inside = False

    def run(self, query: str, /, **values: object) -> int:
        return self._execute(query, values).rowcount

    def run_each(self, query: str, rows: Sequence[Mapping[str, object]], /) -> None:
        statement = _statement(query)
        if not rows:
            return
        if not self._inside:
            with self.transaction():
                self.run_each(query, rows)
            return
        self._same_process()
        bound = [plain(values) for values in rows]
        try:
            self._cursor.executemany(statement, bound)
        except (psycopg.Error, UnicodeError) as error:
            raise _translated(error) from error

    def one(self, query: str, /, **values: object) -> Row | None:
        return self._execute(query, values).fetchone()

    def all(self, query: str, /, **values: object) -> Sequence[Row]:
        return self._execute(query, values).fetchall()

    def problems(self) -> list[str]:
        """Nothing: page checksums are the server's own business, and it refuses what they do not match."""
        return []

    def close(self) -> None:
        # In a forked child the line belongs to the parent; closing it here would say goodbye for both.
        if os.getpid() == self._process:
            self._connection.close()

    # --- for migrations

    def lock_schema(self) -> None:
        self.one("schema.lock")

    def statements(self, script: str) -> Iterator[str]:
        return _split(script)

    def define(self, statement: str) -> None:
        self._plain(statement)

    # --- inside

    def _execute(self, query: str, values: dict[str, object]) -> psycopg.Cursor[dict[str, object]]:
        self._same_process()
        bound, statement = plain(values), _statement(query)
        # Outside a transaction a statement that writes is its own commit, and the answer to it can be lost.
        commits = not (self._inside or self._connection.closed or statement.startswith(b"SELECT"))
        try:
            return self._cursor.execute(statement, bound)
        except (psycopg.Error, UnicodeError) as error:
            if commits and self._connection.broken:
                raise CommitUnknown(f"The connection was lost while committing ({_sentence(error)})") from error
            raise _translated(error) from error

    def _plain(self, statement: str) -> None:
        try:
            self._cursor.execute(statement.encode(), prepare=False)
        except psycopg.Error as error:
            raise _translated(error) from error

    def _commit(self) -> None:
        if self._connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
            # The server would answer COMMIT with a silent rollback.
            self._roll_back()
            raise StoreError("A statement in this transaction has failed; nothing of it is stored")
        lost_before = self._connection.closed
        try:
            self._cursor.execute(b"COMMIT", prepare=False)
        except psycopg.Error as error:
            if self._connection.broken and not lost_before:
                raise CommitUnknown(f"The connection was lost while committing ({_sentence(error)})") from error
            raise _translated(error) from error

    def _roll_back(self) -> None:
        try:
            if not self._connection.closed:
                self._cursor.execute(b"ROLLBACK", prepare=False)
        except psycopg.Error:
            # A line that breaks here loses nothing: the server rolls back what it does not see committed.
            self._connection.close()

    def _same_process(self) -> None:
        if os.getpid() != self._process:
            raise StoreError(
                "A database connection cannot be used after a fork; open the store again in the new process"
            )


def _address(url: str, *, writable: bool) -> str:
    try:
        wanted = conninfo_to_dict(url)
        settings: dict[str, Any] = {name: value for name, value in _LINE.items() if name not in wanted}
        settings["client_encoding"] = "UTF8"
        settings.setdefault("application_name", wanted.get("application_name", "tallygate"))
        if writable:
            settings["target_session_attrs"] = "read-write"
        return make_conninfo(url, **settings)
    except psycopg.ProgrammingError:
        # Without the driver's own sentence, which may quote the password.
        raise ConfigError(
            "The PostgreSQL URL cannot be read",
            cure="Write postgresql://user:password@host:5432/name, with %25 for a %, %2F for a / and %40 for an @",
        ) from None


def _split(script: str) -> Iterator[str]:
    """Whole statements: each ends at a semicolon at the end of a line, outside a ``$$`` body."""
    pending = ""
    for line in script.splitlines(keepends=True):
        if line.lstrip().startswith("--") and not pending:
            continue
        pending += line
        if line.rstrip().endswith(";") and pending.count("$$") % 2 == 0:
            yield pending
            pending = ""
    if pending.strip():
        yield pending


@cache
def _statement(query: str) -> bytes:
    (statement,) = named("postgresql", query)
    return _VALUE.sub(r"%(\1)s", statement.replace("%", "%%")).encode()


# --- errors

_BY_CLASS: tuple[tuple[type[psycopg.Error], type[StoreError], str], ...] = (
    (pg.UniqueViolation, Conflict, "A row with this key already exists"),
    (pg.LockNotAvailable, StoreBusy, "Another session holds the rows"),
    (pg.DeadlockDetected, StoreDeadlock, "Two sessions waited for each other"),
    (pg.SerializationFailure, StoreBusy, "Another session changed the rows"),
    (pg.ReadOnlySqlTransaction, StoreReadOnly, "The server is read-only"),
    (pg.InsufficientPrivilege, StoreReadOnly, "The server does not allow this user to do that"),
    (pg.DiskFull, StoreFull, "The server's disk is full"),
    (pg.DataCorrupted, StoreDamaged, "The server reports damaged data"),
    (pg.IndexCorrupted, StoreDamaged, "The server reports damaged data"),
    (psycopg.OperationalError, StoreUnreachable, "The database server cannot be reached"),
)

_FULL_HOUSE = ("too many connections", "too many clients", "connection slots are reserved")
"""The server's words while connecting, when the driver does not pass on its error code."""


def _translated(error: psycopg.Error | UnicodeError) -> TallygateError:
    says = _sentence(error)
    if "statement pooling mode" in says:
        return StoreError(
            f"The connection pooler does not allow transactions ({says})",
            cure="Set the pooler to session mode for this database, or name the server itself in the URL",
        )
    if "session is read-only" in says or "server is in hot standby mode" in says:
        return StoreReadOnly(
            f"The server is a replica or read-only ({says})", cure="Name the primary server in the URL"
        )
    if any(full in says for full in _FULL_HOUSE):
        return StoreBusy(f"The server has no free connection ({says})")
    for theirs, ours, what in _BY_CLASS:
        if isinstance(error, theirs):
            return ours(f"{what} ({says})")
    return StoreError(f"The database refused ({says})")


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
