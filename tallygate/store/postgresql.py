"""PostgreSQL as the operational store, through psycopg 3, for when several people or machines share one.

Isolation is READ COMMITTED: the ledger rests on one row and one conditional update, which PostgreSQL re-checks on the
newest version of the row, and not on SERIALIZABLE.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import psycopg
from psycopg import errors as pg
from psycopg.rows import dict_row
from psycopg.types.string import TextLoader

from ..errors import (
    CommitUnknown,
    Conflict,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnreachable,
    TallygateError,
)
from .database import Row
from .queries import named

_VALUE = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")


class PostgresqlDatabase:
    """One connection to a PostgreSQL server. Not shared between threads or across a fork."""

    engine = "postgresql"

    def __init__(self, url: str, *, busy_seconds: float = 30.0) -> None:
        self._process = os.getpid()
        try:
            self._connection = psycopg.connect(url, autocommit=True, row_factory=dict_row, prepare_threshold=1)
            self._connection.adapters.register_loader("jsonb", TextLoader)
            self._connection.execute("SET TIME ZONE 'UTC'")
            self._connection.execute("SET synchronous_commit = on")
            self._connection.execute(f"SET lock_timeout = {int(busy_seconds * 1000)}")
            self._connection.execute("SET default_transaction_isolation = 'read committed'")
            self._cursor = self._connection.cursor()
        except psycopg.Error as error:
            raise _translated(error) from error

    # --- the five verbs

    @property
    def in_transaction(self) -> bool:
        return self._connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._same_process()
        if self.in_transaction:
            raise StoreError("A transaction is already open on this connection")
        self._plain("BEGIN")
        try:
            yield
        except BaseException:
            if not self._connection.broken:
                self._plain("ROLLBACK")
            raise
        try:
            self._cursor.execute("COMMIT")
        except psycopg.OperationalError as error:
            if self._connection.broken:
                raise CommitUnknown(f"The connection was lost while committing ({_sentence(error)})") from error
            raise _translated(error) from error
        except psycopg.Error as error:
            raise _translated(error) from error

    def run(self, query: str, /, **values: object) -> int:
        return self._execute(query, values).rowcount

    def one(self, query: str, /, **values: object) -> Row | None:
        return self._execute(query, values).fetchone()

    def all(self, query: str, /, **values: object) -> Sequence[Row]:
        return self._execute(query, values).fetchall()

    def close(self) -> None:
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
        try:
            return self._cursor.execute(_statement(query), values)
        except psycopg.Error as error:
            raise _translated(error) from error

    def _plain(self, statement: str) -> None:
        try:
            self._cursor.execute(statement.encode())
        except psycopg.Error as error:
            raise _translated(error) from error

    def _same_process(self) -> None:
        if os.getpid() != self._process:
            raise StoreError(
                "A database connection cannot be used after a fork; open the store again in the new process"
            )


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


_BY_CLASS: tuple[tuple[type[psycopg.Error], type[StoreError], str], ...] = (
    (pg.UniqueViolation, Conflict, "A row with this key already exists"),
    (pg.LockNotAvailable, StoreBusy, "Another session holds the rows"),
    (pg.DeadlockDetected, StoreBusy, "Another session holds the rows"),
    (pg.SerializationFailure, StoreBusy, "Another session changed the rows"),
    (pg.TooManyConnections, StoreBusy, "The server has no free connection"),
    (pg.ReadOnlySqlTransaction, StoreReadOnly, "The server is read-only"),
    (pg.InsufficientPrivilege, StoreReadOnly, "The server does not allow this user to do that"),
    (pg.DiskFull, StoreFull, "The server's disk is full"),
    (pg.DataCorrupted, StoreDamaged, "The server reports damaged data"),
    (psycopg.OperationalError, StoreUnreachable, "The database server cannot be reached"),
)


def _translated(error: psycopg.Error) -> TallygateError:
    for theirs, ours, says in _BY_CLASS:
        if isinstance(error, theirs):
            return ours(f"{says} ({_sentence(error)})")
    return StoreError(f"The database refused ({_sentence(error)})")


def _sentence(error: psycopg.Error) -> str:
    return " ".join(str(error).split())[:300]
