"""A database as Tallygate sees it: five verbs over named queries.

All meaning is above (repositories, which turn rows into nouns) or below (SQL in ``sql/``). The two engines pass one
conformance suite, ``tests/store/contract.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from ..errors import ConfigError

Row = Mapping[str, object]
"""One answer row by column name. Instants come as text or ``datetime`` (read them with ``times.instant``), JSON as text."""


class Database(Protocol):
    """One connection to an operational store.

    A verb outside ``transaction`` is a transaction of its own and durable when it returns. Values are named and are
    ``None``, ``str``, ``int``, ``bool`` or a ``datetime`` with a zone; never a float.
    """

    @property
    def engine(self) -> str:
        """``sqlite`` or ``postgresql``."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Everything inside happens or nothing does. The write lock is taken at the start; nesting is refused.

        Raises ``StoreBusy`` when the lock does not come in time, ``CommitUnknown`` when the connection dies at the commit.
        """
        ...

    @property
    def in_transaction(self) -> bool: ...

    def run(self, query: str, /, **values: object) -> int:
        """Carry out a named query that changes rows; how many its last statement changed. ``Conflict`` on a known key."""
        ...

    def one(self, query: str, /, **values: object) -> Row | None: ...

    def all(self, query: str, /, **values: object) -> Sequence[Row]: ...

    def close(self) -> None: ...


def open_database(url: str, *, busy_seconds: float = 30.0, allow_network_files: bool = False) -> Database:
    """Open the store named by ``url``: a path or ``sqlite:///path`` for SQLite, ``postgresql://...`` for PostgreSQL.

    The driver is imported here and not before. The schema is not looked at; see ``migrate``.
    """
    scheme, separator, rest = url.partition("://")
    if scheme in ("postgresql", "postgres"):
        from .postgresql import PostgresqlDatabase

        return PostgresqlDatabase(url, busy_seconds=busy_seconds)
    if separator and scheme != "sqlite":
        raise ConfigError(
            f"{scheme}:// is not a database Tallygate can use", cure="Use a file path, sqlite:/// or postgresql://"
        )
    from .sqlite import SqliteDatabase

    path = rest.removeprefix("/") if separator else url
    return SqliteDatabase(path, busy_seconds=busy_seconds, allow_network_files=allow_network_files)
