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
"""One answer row by column name.

Whole numbers, sums of them included, come as ``int``; instants as text or ``datetime`` (read them with
``times.instant``); dates as text, ``2026-11-21``; JSON as text. The documented decimal columns are for people and
other programs and come as the engine has them.
"""


class Database(Protocol):
    """One connection to an operational store. Not shared between threads, nor across a fork.

    A verb outside ``transaction`` is a transaction of its own and durable when it returns. Values are named and are
    ``None``, ``str``, ``int``, ``bool``, a ``date``, or a ``datetime`` with a zone; never a float (``TypeError``).
    """

    @property
    def engine(self) -> str:
        """``sqlite`` or ``postgresql``."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Everything inside happens or nothing does. The write lock is taken at the start; nesting is refused.

        An error inside ends it: a caller that goes on all the same is refused at the commit. Raises ``StoreBusy`` when
        the lock does not come in time, ``CommitUnknown`` when the connection dies at the commit.
        """
        ...

    @property
    def in_transaction(self) -> bool: ...

    def run(self, query: str, /, **values: object) -> int:
        """Carry out a named query that changes rows; how many its last statement changed. May raise ``Conflict``."""
        ...

    def run_each(self, query: str, rows: Sequence[Mapping[str, object]], /) -> None:
        """Carry out a named query of one statement that changes rows once for each of ``rows``, all or nothing.

        Much faster than ``run`` for each. Does nothing for no rows. May raise ``Conflict``.
        """
        ...

    def one(self, query: str, /, **values: object) -> Row | None:
        """The first row of the answer, or None."""
        ...

    def all(self, query: str, /, **values: object) -> Sequence[Row]: ...

    def problems(self) -> list[str]:
        """What the engine itself finds wrong with the stored data; empty when it is sound. Reads the whole database."""
        ...

    def close(self) -> None: ...


def open_database(
    url: str, *, create: bool = True, busy_seconds: float = 30.0, allow_network_files: bool = False
) -> Database:
    """Open the store named by ``url``: a path or ``sqlite:///path`` for SQLite, ``postgresql://...`` for PostgreSQL.

    With ``create`` false nothing is created or changed: writing is refused (``StoreReadOnly``), and a file that does
    not exist raises ``StoreMissing``. The driver is imported here and not before. The schema is not looked at: see
    ``migrate.open_store``, which most callers want instead.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("postgresql", "postgres"):
        try:
            from .postgresql import PostgresqlDatabase
        except ModuleNotFoundError as error:
            raise ConfigError(
                "PostgreSQL needs its driver, which is not installed", cure="pip install 'tallygate[postgres]'"
            ) from error

        return PostgresqlDatabase(url, writable=create, busy_seconds=busy_seconds)
    if separator and scheme != "sqlite":
        raise ConfigError(
            f"{scheme}:// is not a database Tallygate can use", cure="Use a file path, sqlite:/// or postgresql://"
        )
    from .sqlite import SqliteDatabase

    path = rest.removeprefix("/") if separator else url
    if not path:
        raise ConfigError("The database has no name", cure="Use a file path, sqlite:///path or postgresql://")
    return SqliteDatabase(path, writable=create, busy_seconds=busy_seconds, allow_network_files=allow_network_files)
