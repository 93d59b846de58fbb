"""Bringing a database to the schema this program needs, and refusing one that it must not touch.

Migrations are the files ``schema/<engine>/NNNN_name.sql``, carried out in order. Each is one short transaction together
with its row in ``schema_migrations``, under the write lock, so that a kill at any moment leaves the schema before or after
it, and several processes may migrate at once. An applied file is never edited again: the next change is the next number.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple, Protocol

from ..errors import SchemaOutOfDate, SchemaTooNew, StoreDamaged, StoreError
from ..ids import Entropy, new_install_id
from ..times import Clock
from .database import Database

_ROOM = os.path.dirname(os.path.abspath(__file__))
_PLACES = (os.path.join(_ROOM, "..", "schema"), os.path.join(_ROOM, "..", "..", "schema"))


class Migration(NamedTuple):
    """One file of ``schema/<engine>``. ``digest`` is the SHA-256 of its text."""

    number: int
    name: str
    text: str
    digest: str


class MigratableDatabase(Database, Protocol):
    """What an engine offers to migrations beyond the five verbs."""

    def lock_schema(self) -> None:
        """Inside a transaction: wait until no other process changes the schema."""
        ...

    def statements(self, script: str) -> Iterable[str]:
        """The whole statements of a script, triggers and function bodies in one piece."""
        ...

    def define(self, statement: str) -> None:
        """Carry out one statement of a migration inside the open transaction."""
        ...


def migrate(database: Database, *, clock: Clock) -> int:
    """Apply what is missing; how many migrations that were. Changes nothing when the schema is current.

    Raises ``SchemaTooNew``, or ``StoreDamaged`` for a database that is not Tallygate's or whose migrations were altered.
    """
    target: MigratableDatabase = database  # type: ignore[assignment]  # both engines are
    migrations = load(database.engine)
    missing = migrations[_checked(migrations, _applied(database)) :]
    done = 0
    for migration in missing:
        with target.transaction():
            target.lock_schema()
            # Another process may have been faster. Asked through the catalogue: a failed query would end the transaction.
            applied = target.all("schema.applied") if "schema_migrations" in _tables(database) else []
            if migration.number < _checked(migrations, applied):
                continue
            for statement in target.statements(migration.text):
                target.define(statement)
            target.run(
                "schema.record",
                number=migration.number,
                name=migration.name,
                digest=migration.digest,
                applied_at=clock.now(),
            )
            done += 1
    return done


def require_current(database: Database) -> None:
    """Refuse a database whose schema is not exactly this program's. One query; changes nothing.

    Raises ``SchemaOutOfDate``, ``SchemaTooNew`` or ``StoreDamaged``.
    """
    migrations = load(database.engine)
    applied = _checked(migrations, _applied(database))
    if applied == 0:
        raise SchemaOutOfDate("The database is empty", cure="Any command that writes sets it up: tallygate migrate")
    if applied < len(migrations):
        raise SchemaOutOfDate(
            f"The database has {applied} of the {len(migrations)} migrations this version needs",
            cure="Bring it up to date with: tallygate migrate",
        )


def install_id(database: Database, clock: Clock, entropy: Entropy) -> str:
    """The id that tells this installation's machines from another's; made on first use and never changed."""
    row = database.one("schema.install_id")
    if row is None:
        database.run("schema.install", install_id=new_install_id(entropy), created_at=clock.now())
        row = database.one("schema.install_id")
    assert row is not None
    return str(row["install_id"])


@cache
def load(engine: str) -> tuple[Migration, ...]:
    """The migrations of ``engine`` in order, from the checkout or the installed package."""
    import hashlib

    folder = os.path.join(schema_folder(), engine)
    found = []
    for file in sorted(os.listdir(folder)):
        stem, dot_sql = os.path.splitext(file)
        if dot_sql == ".sql":
            number, _, name = stem.partition("_")
            with open(os.path.join(folder, file), encoding="utf-8") as handle:
                text = handle.read()
            found.append(Migration(int(number), name, text, hashlib.sha256(text.encode()).hexdigest()))
    if [migration.number for migration in found] != list(range(len(found))):
        raise StoreError(f"The migrations in {folder} are not numbered 0000, 0001, ... without a gap")
    return tuple(found)


def schema_folder() -> str:
    """Where the schema files are: inside the installed package, else beside it in the checkout."""
    for place in _PLACES:
        if os.path.isdir(place):
            return os.path.normpath(place)
    raise StoreError("The schema files are missing", cure="Install Tallygate again")


def _checked(migrations: tuple[Migration, ...], applied: Iterable[object]) -> int:
    """How many migrations are applied, provided that they are a beginning of ours, unaltered."""
    count = 0
    for row in applied:
        number, digest = row["number"], row["digest"]  # type: ignore[index]
        if count >= len(migrations):
            raise SchemaTooNew(f"The database has migration {number:04d}, newer than this version knows")
        if number != count or digest != migrations[count].digest:
            raise StoreDamaged(
                f"Migration {number:04d} of the database is not the one this version has",
                cure="Use the Tallygate version that made the database; nothing was changed",
            )
        count += 1
    return count


def _applied(database: Database) -> Iterable[object]:
    try:
        return database.all("schema.applied")
    except StoreError as error:
        if type(error) is not StoreError:
            raise
        tables = _tables(database)
        if tables:
            raise StoreDamaged(
                f"The database belongs to another program: it has tables such as {', '.join(tables[:3])}",
                cure="Name another database file or server; nothing was changed",
            ) from error
        return ()


def _tables(database: Database) -> list[str]:
    return [str(row["name"]) for row in database.all("schema.tables")]
