"""Bringing a database to the schema this program needs, and refusing one that it must not touch.

Migrations are the files ``schema/<engine>/NNNN_name.sql``, carried out in order. Each is one short transaction
together with its row in ``schema_migrations``, under the write lock, so that a kill at any moment leaves the schema
before or after it, and several processes may migrate at once. An applied file is never edited again: the next change
is the next number.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple, Protocol

from ..errors import SchemaOutOfDate, SchemaTooNew, StoreDamaged, StoreError, StoreMissing
from ..ids import Entropy, new_install_id
from ..times import Clock
from .database import Database, Row, open_database

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

    Raises ``SchemaTooNew``, or ``StoreDamaged`` for a database that is not Tallygate's or whose migrations were
    altered.
    """
    target: MigratableDatabase = database  # type: ignore[assignment]  # both engines are
    migrations = load(database.engine)
    missing = migrations[_checked(migrations, _applied(database)) :]
    done = 0
    for migration in missing:
        with target.transaction():
            target.lock_schema()
            # Another process may have been faster. The catalogue says so without a query that could fail.
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
    """Refuse a database whose schema is not this program's: one query by number and name, for commands that only read.

    Raises ``SchemaOutOfDate``, ``SchemaTooNew`` or ``StoreDamaged``. The texts of applied migrations are compared by
    ``migrate``, which whoever writes calls.
    """
    needed = [_numbered(file) for file in _files(database.engine)]
    applied = [(row["number"], row["name"]) for row in _applied(database)]
    if applied == needed:
        return
    if not applied:
        raise SchemaOutOfDate("The database is empty", cure="Set it up with: tallygate migrate")
    if applied == needed[: len(applied)]:
        raise SchemaOutOfDate(
            f"The database has {len(applied)} of the {len(needed)} migrations that this version needs",
            cure="Bring it up to date with: tallygate migrate",
        )
    if applied[: len(needed)] == needed:
        raise _too_new(applied[len(needed)])
    raise _altered(next(there for there, here in zip(applied, needed, strict=False) if there != here))


def open_store(
    url: str, *, clock: Clock, create: bool = True, busy_seconds: float = 30.0, allow_network_files: bool = False
) -> Database:
    """Open the store at ``url`` with the schema that this program needs.

    With ``create`` it is made and migrated as necessary. Without, for reports and dry runs, nothing is created or
    changed anywhere and writing is refused; a store that does not exist yet, or has no table yet, reads as an empty
    one, which lives in memory for as long as it is open.
    """
    try:
        database = open_database(url, create=create, busy_seconds=busy_seconds, allow_network_files=allow_network_files)
    except StoreMissing:
        return _empty_view(clock)
    try:
        if create:
            migrate(database, clock=clock)
        elif not _applied(database):
            database.close()
            return _empty_view(clock)
        else:
            require_current(database)
    except BaseException:
        database.close()
        raise
    return database


def _empty_view(clock: Clock) -> Database:
    from .sqlite import IN_MEMORY, SqliteDatabase

    view = SqliteDatabase(IN_MEMORY)
    migrate(view, clock=clock)
    view.refuse_writes()
    return view


def install_id(database: Database, clock: Clock, entropy: Entropy) -> str:
    """The id that tells this installation's machines from another's; made on first use and never changed."""
    row = database.one("schema.install_id")
    if row is None:
        database.run("schema.install", install_id=new_install_id(entropy), created_at=clock.now())
        row = database.one("schema.install_id")
    assert row is not None
    return str(row["install_id"])


def plan_key(database: Database, clock: Clock, entropy: Entropy) -> bytes:
    """The secret that this installation seals its plans with; made on first use and never changed."""
    found = known_plan_key(database)
    if found is None:
        install_id(database, clock, entropy)
        database.run("schema.give_plan_key", plan_key=entropy.bytes(32).hex())
        found = known_plan_key(database)
    assert found is not None
    return found


def known_plan_key(database: Database) -> bytes | None:
    """The same without making it: None when this installation has never made a plan."""
    row = database.one("schema.plan_key")
    return None if row is None or row["plan_key"] is None else bytes.fromhex(str(row["plan_key"]))


@cache
def load(engine: str) -> tuple[Migration, ...]:
    """The migrations of ``engine`` in order, from the checkout or the installed package."""
    import hashlib  # here, because commands that only read need not wait for it

    found = []
    for file in _files(engine):
        with open(os.path.join(schema_folder(), engine, file), encoding="utf-8") as handle:
            text = handle.read()
        found.append(Migration(*_numbered(file), text, hashlib.sha256(text.encode()).hexdigest()))
    return tuple(found)


def schema_folder() -> str:
    """Where the schema files are: inside the installed package, else beside it in the checkout."""
    for place in _PLACES:
        if os.path.isdir(place):
            return os.path.normpath(place)
    raise StoreError("The schema files are missing", cure="Install Tallygate again")


def _files(engine: str) -> list[str]:
    folder = os.path.join(schema_folder(), engine)
    files = sorted(file for file in os.listdir(folder) if file.endswith(".sql"))
    if [_numbered(file)[0] for file in files] != list(range(len(files))):
        raise StoreError(f"The migrations in {folder} are not numbered 0000, 0001, ... without a gap")
    return files


def _numbered(file: str) -> tuple[int, str]:
    number, _, name = file.removesuffix(".sql").partition("_")
    return int(number), name


def _checked(migrations: tuple[Migration, ...], applied: Iterable[Row]) -> int:
    """How many migrations are applied, provided that they are a beginning of ours, unaltered."""
    count = 0
    for row in applied:
        if count >= len(migrations):
            raise _too_new((row["number"], row["name"]))
        if (row["number"], row["digest"]) != (count, migrations[count].digest):
            raise _altered((row["number"], row["name"]))
        count += 1
    return count


def _too_new(migration: tuple[object, object]) -> SchemaTooNew:
    return SchemaTooNew(f"The database has migration {migration[0]:04} ({migration[1]}), newer than this version knows")


def _altered(migration: tuple[object, object]) -> StoreDamaged:
    return StoreDamaged(
        f"Migration {migration[0]:04} ({migration[1]}) of the database is not the one that this version has",
        cure="Use the Tallygate version that made the database; nothing was changed",
    )


def _applied(database: Database) -> Sequence[Row]:
    found = _recorded(database)
    if found is None and _tables(database):
        # The tables may have come from another process in between, so the record is looked for once more.
        found = _recorded(database)
        if found is None:
            raise StoreDamaged(
                f"The database belongs to another program: it has tables such as {', '.join(_tables(database)[:3])}",
                cure="Name another database file or server; nothing was changed",
            )
    return found or ()


def _recorded(database: Database) -> Sequence[Row] | None:
    """The migrations on record, or None when there is no such record."""
    try:
        return database.all("schema.applied")
    except StoreError as error:
        if type(error) is not StoreError:
            raise
        return None


def _tables(database: Database) -> list[str]:
    return [str(row["name"]) for row in database.all("schema.tables")]
