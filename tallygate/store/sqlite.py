"""SQLite as the operational store: one file, durable commits, writers queued fairly.

Journal mode: a rollback journal below SQLite 3.51.3, write-ahead logging from there on, because older versions can lose
a committed transaction when several processes reset the log at the same time (fixed in 3.51.3).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from ..errors import (
    CommitUnknown,
    Conflict,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreReadOnly,
    TallygateError,
)
from ..times import text
from .database import Row
from .queries import named, plain
from .queue import WriteQueue

WAL_IS_SAFE_FROM = (3, 51, 3)

IN_MEMORY = ":memory:"
"""The path of a database that lives and dies with its connection."""

MOUNTS = "/proc/self/mounts"
"""Where Linux says which file system lies where."""

_NETWORK_FILE_SYSTEMS = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ncpfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "beegfs",
        "gpfs",
        "fuse",
    }
)


class SqliteDatabase:
    """One connection to a SQLite file. Not shared between threads or across a fork.

    With ``writable`` false no file is created or changed, ours or SQLite's own. A writer waits at most
    ``busy_seconds`` in the queue, and at most as long again when a program outside the queue (the ``sqlite3`` shell,
    a backup) holds the file.
    """

    engine = "sqlite"

    def __init__(
        self, path: str, *, writable: bool = True, busy_seconds: float = 30.0, allow_network_files: bool = False
    ) -> None:
        self.path = path
        self._busy_seconds = busy_seconds
        self._process = os.getpid()
        self._writable = writable
        self._inside = self._spoiled = False
        self._queue: WriteQueue | None = None
        if path != IN_MEMORY:
            if not allow_network_files:
                _refuse_network_file_system(path)
            if writable:
                self._queue = WriteQueue(f"{os.path.realpath(path)}.lock", like=path)
            _find(path, create=writable)
        try:
            self._connection = sqlite3.connect(
                _address(path), uri=True, timeout=busy_seconds, isolation_level=None, cached_statements=256
            )
            self._prepare()
        except sqlite3.Error as error:
            raise _translated(error, path) from error

    def _prepare(self) -> None:
        switch = self._connection.execute
        switch("PRAGMA foreign_keys = ON")
        switch("PRAGMA trusted_schema = OFF")
        switch("PRAGMA recursive_triggers = ON")  # or REPLACE would delete without asking the triggers
        switch("PRAGMA cell_size_check = ON")
        if not self._writable:
            switch("PRAGMA query_only = ON")
        elif sqlite3.sqlite_version_info >= WAL_IS_SAFE_FROM:
            switch("PRAGMA journal_mode = WAL")
            switch("PRAGMA synchronous = FULL")
        else:
            switch("PRAGMA journal_mode = TRUNCATE")
            switch("PRAGMA synchronous = EXTRA")
        self._connection.create_function("sha256_hex", 1, _sha256_hex, deterministic=True)

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
            raise StoreReadOnly(f"{self.path} was opened for reading only", cure="")
        if self._queue is not None:
            self._queue.enter(self._busy_seconds)
        try:
            self._plain("BEGIN IMMEDIATE")
            self._inside, self._spoiled = True, False
            try:
                yield
            except BaseException:
                self._roll_back()
                raise
            self._commit()
        finally:
            self._inside = False
            if self._queue is not None:
                self._queue.leave()

    def run(self, query: str, /, **values: object) -> int:
        statements = named(self.engine, query)
        if self._inside:
            return self._execute(statements, values)
        with self.transaction():
            return self._execute(statements, values)

    def run_each(self, query: str, rows: Sequence[Mapping[str, object]], /) -> None:
        (statement,) = named(self.engine, query)
        if not rows:
            return
        if not self._inside:
            with self.transaction():
                self.run_each(query, rows)
            return
        bound = [_bound(values) for values in rows]
        self._unspoiled()
        try:
            self._connection.executemany(statement, bound)
        except (sqlite3.Error, UnicodeError) as error:
            raise self._failed(error) from error

    def one(self, query: str, /, **values: object) -> Row | None:
        rows = self.all(query, **values)
        return rows[0] if rows else None

    def all(self, query: str, /, **values: object) -> Sequence[Row]:
        self._same_process()
        (statement,) = named(self.engine, query)
        bound = _bound(values)
        self._unspoiled()
        try:
            # Read to the end at once: an unfinished read would keep writers from committing.
            cursor = self._connection.execute(statement, bound)
            rows = cursor.fetchall()
            if not rows:
                return rows
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=False)) for row in rows]
        except (sqlite3.Error, UnicodeError) as error:
            raise self._failed(error) from error

    def problems(self) -> list[str]:
        try:
            found = [str(row[0]) for row in self._connection.execute("PRAGMA integrity_check")]
            orphans = self._connection.execute("PRAGMA foreign_key_check").fetchall()
        except sqlite3.Error as error:
            return [str(error)]
        return [line for line in found if line != "ok"] + [
            f"a row of {table} refers to a row of {parent} that is not there" for table, _, parent, _ in orphans
        ]

    def close(self) -> None:
        # In a forked child the file belongs to the parent: SQLite forbids even closing it there.
        if os.getpid() == self._process:
            self._connection.close()
            if self._queue is not None:
                self._queue.close()

    def refuse_writes(self) -> None:
        """From here on for reading only."""
        self._plain("PRAGMA query_only = ON")
        self._writable = False

    # --- for migrations

    def lock_schema(self) -> None:
        """Nothing to do: a transaction holds the write lock from its start."""

    def statements(self, script: str) -> Iterator[str]:
        return _split(script)

    def define(self, statement: str) -> None:
        self._plain(statement)

    # --- inside

    def _execute(self, statements: Sequence[str], values: dict[str, object]) -> int:
        bound = _bound(values)
        self._unspoiled()
        changed = 0
        try:
            for statement in statements:
                changed = self._connection.execute(statement, bound).rowcount
        except (sqlite3.Error, UnicodeError) as error:
            raise self._failed(error) from error
        return changed

    def _plain(self, statement: str) -> None:
        try:
            self._connection.execute(statement)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error | UnicodeError) -> TallygateError:
        self._spoiled = self._inside
        return _translated(error, self.path)

    def _unspoiled(self) -> None:
        # PostgreSQL ends a transaction at the first error; here the same, or code that works on one fails on the other.
        if self._spoiled and self._inside:
            raise StoreError("A statement in this transaction has failed; nothing of it is stored")

    def _commit(self) -> None:
        try:
            self._unspoiled()
            self._connection.execute("COMMIT")
        except StoreError:
            self._roll_back()
            raise
        except sqlite3.Error as error:
            self._roll_back()
            if _code(error) & 0xFF == sqlite3.SQLITE_IOERR:
                raise CommitUnknown(f"The disk failed while committing to {self.path} ({error})") from error
            raise _translated(error, self.path) from error

    def _roll_back(self) -> None:
        # SQLite has already rolled back by itself when the disk was full or the file failed.
        if self._connection.in_transaction:
            self._plain("ROLLBACK")

    def _same_process(self) -> None:
        if os.getpid() != self._process:
            raise StoreError("A SQLite connection cannot be used after a fork; open the store again in the new process")


def _bound(values: Mapping[str, object]) -> dict[str, object]:
    bound = plain(values)
    for name, value in bound.items():
        if isinstance(value, datetime):
            bound[name] = text(value)
    return bound


def _sha256_hex(value: str) -> str:
    import hashlib  # here, because most commands only read and need not wait for it

    return hashlib.sha256(value.encode()).hexdigest()


def _split(script: str) -> Iterator[str]:
    """Whole statements, by SQLite's own idea of completeness, so that triggers stay in one piece."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        yield pending


# --- the file


def _find(path: str, *, create: bool) -> None:
    """See that the file is there and can be used, making it for this user alone if it may be created."""
    if not os.path.exists(path):
        if not create:
            raise StoreMissing(f"There is no database at {path}")
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreReadOnly(f"The database {path} cannot be created: {error.strerror}") from error
    if create:
        for place in (path, os.path.dirname(os.path.realpath(path))):  # SQLite's journal lies beside the file
            if not os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
                raise StoreReadOnly(f"The database {path} cannot be written: {place} is read-only for this user")


def _address(path: str) -> str:
    """The path as a URI that lets SQLite open what is there but never create a file with rights of its own choice."""
    if path == IN_MEMORY:
        return "file::memory:"
    plain_path = os.path.abspath(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return f"file://{plain_path}?mode=rw"


def _refuse_network_file_system(path: str) -> None:
    """SQLite's locks are unreliable on network file systems; a lost lock here would be lost money."""
    try:
        with open(MOUNTS, encoding="utf-8", errors="replace") as file:
            mounts = file.read()
    except OSError:  # not Linux: nothing to ask
        return
    kind, point = file_system_of(os.path.realpath(path), mounts)
    if kind.partition(".")[0] in _NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{path} lies on a network file system ({kind} at {point}), where SQLite's locks cannot be trusted",
            cure="Put the database on a local disk, use PostgreSQL, or set store.allow_network_files to true",
        )


def file_system_of(path: str, mounts: str) -> tuple[str, str]:
    """The type of the file system that ``path`` lies on and its mount point, from the text of ``MOUNTS``."""
    best, kind = "", ""
    for line in mounts.splitlines():
        _, point, its_kind, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if len(point) >= len(best) and (path == point or path.startswith(point.rstrip("/") + "/")):
            best, kind = point, its_kind
    return kind, best


# --- errors

_BY_CODE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_BUSY: (StoreBusy, "Another process holds the database"),
    sqlite3.SQLITE_LOCKED: (StoreBusy, "Another process holds the database"),
    sqlite3.SQLITE_FULL: (StoreFull, "The disk is full"),
    sqlite3.SQLITE_READONLY: (StoreReadOnly, "The database cannot be written"),
    sqlite3.SQLITE_PERM: (StoreReadOnly, "The database cannot be written"),
    sqlite3.SQLITE_CANTOPEN: (StoreReadOnly, "The database cannot be opened"),
    sqlite3.SQLITE_CORRUPT: (StoreDamaged, "The database is damaged"),
    sqlite3.SQLITE_NOTADB: (StoreDamaged, "The file is not a database"),
    sqlite3.SQLITE_IOERR: (StoreError, "The disk failed"),
}


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))


def _translated(error: sqlite3.Error | UnicodeError, path: str) -> TallygateError:
    code = _code(error)
    if code in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY):
        return Conflict(f"A row with this key already exists ({error})")
    if code == sqlite3.SQLITE_READONLY_DBMOVED:
        return StoreDamaged(
            f"The database was moved or deleted while it was open: {path}", cure="Nothing was changed. Start again"
        )
    kind, says = _BY_CODE.get(code & 0xFF, (StoreError, "The database refused"))
    return kind(f"{says}: {path} ({error})")
