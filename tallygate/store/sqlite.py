"""SQLite as the operational store: one file, durable commits, writers queued fairly.

Journal mode: a rollback journal below SQLite 3.51.3, write-ahead logging from there on, because older versions can lose
a committed transaction when several processes reset the log at the same time (fixed in 3.51.3).
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from ..errors import (
    Conflict,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreReadOnly,
    TallygateError,
)
from ..times import text
from .database import Row
from .queries import named
from .queue import WriteQueue

WAL_IS_SAFE_FROM = (3, 51, 3)

_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs"}
)


class SqliteDatabase:
    """One connection to a SQLite file. Not shared between threads or across a fork."""

    engine = "sqlite"

    def __init__(self, path: str, *, busy_seconds: float = 30.0, allow_network_files: bool = False) -> None:
        self.path = path
        self._busy_seconds = busy_seconds
        self._process = os.getpid()
        if not allow_network_files:
            _refuse_network_file_system(path)
        self._queue = WriteQueue(f"{os.path.realpath(path)}.lock")
        new = not os.path.exists(path)
        try:
            if new:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, cached_statements=256)
            self._connection.row_factory = sqlite3.Row
            self._prepare()
        except OSError as error:
            raise StoreReadOnly(f"The database {path} cannot be created: {error.strerror}") from error
        except sqlite3.Error as error:
            raise _translated(error, path) from error

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA foreign_keys = ON")
        run("PRAGMA trusted_schema = OFF")
        if sqlite3.sqlite_version_info >= WAL_IS_SAFE_FROM:
            run("PRAGMA journal_mode = WAL")
            run("PRAGMA synchronous = FULL")
        else:
            run("PRAGMA journal_mode = TRUNCATE")
            run("PRAGMA synchronous = EXTRA")
        self._connection.create_function("sha256_hex", 1, _sha256_hex, deterministic=True)

    # --- the five verbs

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._same_process()
        if self._connection.in_transaction:
            raise StoreError("A transaction is already open on this connection")
        started = time.monotonic()
        self._queue.enter(self._busy_seconds)
        try:
            left = max(0.0, self._busy_seconds - (time.monotonic() - started))
            self._begin(left)
            try:
                yield
            except BaseException:
                # SQLite has already rolled back by itself when the disk was full or the file failed.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._commit()
        finally:
            self._queue.leave()

    def run(self, query: str, /, **values: object) -> int:
        statements = named(self.engine, query)
        if self._connection.in_transaction:
            return self._execute(statements, values)
        with self.transaction():
            return self._execute(statements, values)

    def one(self, query: str, /, **values: object) -> Row | None:
        rows = self.all(query, **values)
        return rows[0] if rows else None

    def all(self, query: str, /, **values: object) -> Sequence[Row]:
        self._same_process()
        (statement,) = named(self.engine, query)
        try:
            cursor = self._connection.execute(statement, _bound(values))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]
        except sqlite3.Error as error:
            raise _translated(error, self.path) from error

    def close(self) -> None:
        self._connection.close()
        self._queue.close()

    # --- for migrations

    def lock_schema(self) -> None:
        """Nothing to do: a transaction holds the write lock from its start."""

    def statements(self, script: str) -> Iterator[str]:
        return _split(script)

    def define(self, statement: str) -> None:
        try:
            self._connection.execute(statement)
        except sqlite3.Error as error:
            raise _translated(error, self.path) from error

    # --- inside

    def _execute(self, statements: Sequence[str], values: dict[str, object]) -> int:
        bound = _bound(values)
        changed = 0
        try:
            for statement in statements:
                changed = self._connection.execute(statement, bound).rowcount
        except sqlite3.Error as error:
            raise _translated(error, self.path) from error
        return changed

    def _begin(self, seconds: float) -> None:
        # A program that does not know our queue (the sqlite3 shell, a backup) may hold the lock all the same.
        try:
            self._connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise _translated(error, self.path) from error

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise _translated(error, self.path) from error

    def _same_process(self) -> None:
        if os.getpid() != self._process:
            raise StoreError("A SQLite connection cannot be used after a fork; open the store again in the new process")


def _bound(values: dict[str, object]) -> dict[str, object]:
    return {name: text(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _sha256_hex(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _split(statements: str) -> Iterator[str]:
    """Whole statements, by SQLite's own idea of completeness, so that triggers stay in one piece."""
    pending = ""
    for line in statements.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        yield pending


_BY_CODE: dict[int, type[StoreError]] = {
    sqlite3.SQLITE_BUSY: StoreBusy,
    sqlite3.SQLITE_LOCKED: StoreBusy,
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_READONLY: StoreReadOnly,
    sqlite3.SQLITE_CANTOPEN: StoreReadOnly,
    sqlite3.SQLITE_PERM: StoreReadOnly,
    sqlite3.SQLITE_CORRUPT: StoreDamaged,
    sqlite3.SQLITE_NOTADB: StoreDamaged,
}


def _translated(error: sqlite3.Error, path: str) -> TallygateError:
    code = getattr(error, "sqlite_errorcode", 0)
    if code in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY):
        return Conflict(f"A row with this key already exists ({error})")
    kind = _BY_CODE.get(code & 0xFF, StoreError)
    return kind(f"{_SAYS.get(kind, 'The database refused')}: {path} ({error})")


_SAYS: dict[type[StoreError], str] = {
    StoreBusy: "Another process holds the database",
    StoreFull: "The disk is full",
    StoreReadOnly: "The database cannot be written or opened",
    StoreDamaged: "The file is damaged or not a database",
}


def _refuse_network_file_system(path: str) -> None:
    """SQLite's locks are unreliable on network file systems; a lost lock here would be lost money."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    place = os.path.realpath(path)
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        point = fields[1].replace("\\040", " ")
        if len(point) >= len(best) and (place == point or place.startswith(point.rstrip("/") + "/")):
            best, kind = point, fields[2]
    if kind in _NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{path} lies on a network file system ({kind} at {best}), where SQLite's locks cannot be trusted",
            cure="Put the database on a local disk, use PostgreSQL, or set store.allow_network_files to true",
        )
