"""SQLite keeps the store's contract, and what is SQLite's own: the file, its rights, its locks and its faults."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tallygate.errors import (
    ConfigError,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreReadOnly,
)
from tallygate.store import sqlite
from tallygate.store.database import open_database
from tallygate.store.migrate import open_store, require_current
from tallygate.store.sqlite import SqliteDatabase, file_system_of
from tallygate.times import Clock
from tests.store.contract import FORK, DatabaseContract, in_processes, row

ROWS = 400


class TestContract(DatabaseContract):
    @pytest.fixture
    def engine(self) -> str:
        return "sqlite"


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
def path(database_url: str) -> Path:
    return Path(database_url)


@pytest.fixture
def _contract(monkeypatch: pytest.MonkeyPatch) -> None:
    DatabaseContract._contract_queries.__wrapped__(None, monkeypatch)  # type: ignore[attr-defined]


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder, entered as a user whom file modes bind. Yields with that user's rights in force."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        root = os.geteuid() == 0
        if root:
            os.chown(name, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)
            os.chmod(name, 0o755)


def setting(database: SqliteDatabase, name: str) -> object:
    return database._connection.execute(f"PRAGMA {name}").fetchone()[0]


# --- switches


def test_every_connection_has_the_safe_switches(path: Path) -> None:
    for writable in (True, False):
        database = SqliteDatabase(str(path), writable=writable)
        switches = {"foreign_keys": 1, "trusted_schema": 0, "recursive_triggers": 1, "cell_size_check": 1}
        assert {name: setting(database, name) for name in switches} == switches
        database.close()


@pytest.mark.parametrize(("safe_from", "journal", "synchronous"), [((99, 0, 0), "truncate", 3), ((3, 0, 0), "wal", 2)])
def test_the_journal_is_the_one_that_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, safe_from: tuple[int, ...], journal: str, synchronous: int
) -> None:
    """Versions that can lose a commit while resetting the write-ahead log get a rollback journal."""
    monkeypatch.setattr(sqlite, "WAL_IS_SAFE_FROM", safe_from)
    database = SqliteDatabase(str(path))
    assert (setting(database, "journal_mode"), setting(database, "synchronous")) == (journal, synchronous)
    database.close()


def test_the_bound_is_the_version_with_the_fix() -> None:
    assert sqlite.WAL_IS_SAFE_FROM == (3, 51, 3)


@pytest.mark.usefixtures("_contract")
def test_the_write_ahead_log_works_where_it_is_chosen(
    path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(sqlite, "WAL_IS_SAFE_FROM", (3, 0, 0))
    writer, reader = SqliteDatabase(str(path)), SqliteDatabase(str(path), writable=False)
    with writer.transaction():
        writer.define("CREATE TABLE scratch (name TEXT, amount_nanos INTEGER, at, day, flag, note)")
        writer.run("contract.add", **row())
        require_current(reader)
    assert reader.all("contract.names") == [{"name": "a"}]
    for database in (reader, writer):
        database.close()
    assert sorted(os.listdir(path.parent)) == [path.name, f"{path.name}.lock"]


def test_replace_cannot_delete_what_triggers_protect(database: Any) -> None:
    """Without recursive triggers, REPLACE removes a row and no trigger hears of it."""
    database._connection.executescript(
        "CREATE TABLE kept (a INTEGER PRIMARY KEY, b TEXT);"
        "CREATE TRIGGER kept_rows BEFORE DELETE ON kept BEGIN SELECT RAISE(ABORT, 'no'); END;"
        "INSERT INTO kept VALUES (1, 'first')"
    )
    with pytest.raises(sqlite3.IntegrityError):
        database._connection.execute("REPLACE INTO kept VALUES (1, 'second')")


# --- the file and its rights


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_files_are_for_their_user_alone(tmp_path: Path, clock: Clock) -> None:
    before = os.umask(0)
    try:
        database = open_store(str(tmp_path / "new.db"), clock=clock)
        database.close()
    finally:
        os.umask(before)
    files = {path.name: mode(path) for path in tmp_path.iterdir()}
    assert files.keys() >= {"new.db", "new.db.lock"}
    assert set(files.values()) == {0o600}


def test_the_lock_of_a_shared_database_is_shared_as_well(path: Path) -> None:
    """Whoever may write the database must be able to queue for it."""
    path.chmod(0o660)
    database = SqliteDatabase(str(path))
    with database.transaction():
        pass
    database.close()
    assert mode(Path(f"{path}.lock")) == 0o660


def test_two_names_of_one_file_share_one_queue(path: Path) -> None:
    link = path.parent / "other.db"
    link.symlink_to(path)
    one, other = SqliteDatabase(str(path)), SqliteDatabase(str(link), busy_seconds=0.1)
    with one.transaction(), pytest.raises(StoreBusy, match="queue"), other.transaction():
        pass
    for database in (one, other):
        database.close()
    assert not (path.parent / "other.db.lock").exists()


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "what?.db", "#1.db", "%41.db", "\u65e5.db"])
def test_any_file_name_works(tmp_path: Path, name: str, clock: Clock) -> None:
    open_store(str(tmp_path / name), clock=clock).close()
    assert {name, f"{name}.lock"} <= set(os.listdir(tmp_path))
    assert not any(file.startswith("A") for file in os.listdir(tmp_path))


@pytest.mark.parametrize("url", ["sqlite:///{}", "sqlite:////{}", "{}"])
def test_a_path_may_be_written_as_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"{tmp_path}/x.db".lstrip("/") if url == "sqlite:////{}" else "x.db"
    open_database(url.format(name)).close()
    assert (tmp_path / "x.db").exists()


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///", "mysql://host/name"])
def test_what_names_no_database_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_database(url)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreReadOnly, match="No such file or directory"):
        open_database(str(tmp_path / "nowhere" / "x.db"))


def test_a_read_only_file_is_refused_at_the_start_and_can_be_read(unprivileged: Path, clock: Clock) -> None:
    path = unprivileged / "x.db"
    open_store(str(path), clock=clock).close()
    path.chmod(0o400)
    with pytest.raises(StoreReadOnly, match="read-only for this user"):
        open_store(str(path), clock=clock)
    reader = open_store(str(path), clock=clock, create=False)
    assert len(reader.all("schema.applied")) > 0
    reader.close()


def test_a_read_only_folder_is_refused_at_the_start_and_can_be_read(unprivileged: Path, clock: Clock) -> None:
    path = unprivileged / "x.db"
    open_store(str(path), clock=clock).close()
    unprivileged.chmod(0o555)
    for name in ("x.db", "new.db"):
        with pytest.raises(StoreReadOnly):
            open_store(str(unprivileged / name), clock=clock)
    reader = open_store(str(path), clock=clock, create=False)
    assert len(reader.all("schema.applied")) > 0
    reader.close()


def test_a_database_that_was_moved_away_is_not_written(database: SqliteDatabase, path: Path) -> None:
    """A restored backup in the file's place must not make two ledgers."""
    with database.transaction():
        pass
    path.rename(path.with_name("moved.db"))
    with pytest.raises(StoreDamaged, match="moved or deleted"):
        database.run("schema.install", install_id="x", created_at="now")


# --- network file systems

MOUNTS = """\
/dev/root / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/local xfs rw 0 0
//nas/share /mnt/my\\040share cifs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/x.db", "ext4"),
        ("/home/me/x.db", "nfs4"),
        ("/home/local/x.db", "xfs"),
        ("/homely/x.db", "ext4"),
        ("/mnt/my share/x.db", "cifs"),
        ("/mnt/ssh/x.db", "fuse.sshfs"),
    ],
)
def test_the_file_system_of_a_path_is_the_nearest_mount(path: str, kind: str) -> None:
    assert file_system_of(path, MOUNTS)[0] == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs", "9p", "lustre"])
def test_a_network_file_system_is_refused_unless_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/root / ext4 rw 0 0\nserver: {tmp_path} {kind} rw 0 0\n")
    monkeypatch.setattr(sqlite, "MOUNTS", str(mounts))
    path = tmp_path / "x.db"
    with pytest.raises(StoreError, match="network file system") as refusal:
        open_database(str(path))
    assert "allow_network_files" in refusal.value.cure
    assert not path.exists()
    open_database(str(path), allow_network_files=True).close()
    assert path.exists()


# --- reading creates nothing


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def test_a_missing_database_is_not_created_by_reading(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        open_database(str(tmp_path / "x.db"), create=False)
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("left_behind", [False, True])
def test_a_store_that_is_not_there_reads_as_an_empty_one(tmp_path: Path, clock: Clock, left_behind: bool) -> None:
    """Also when a first command died between making the file and its first table."""
    path = tmp_path / "x.db"
    if left_behind:
        path.touch()
    before = snapshot(tmp_path)
    store = open_store(str(path), clock=clock, create=False)
    require_current(store)
    assert store.one("schema.install_id") is None
    with pytest.raises(StoreReadOnly):
        store.run("schema.install", install_id="x", created_at=clock.now())
    store.close()
    assert snapshot(tmp_path) == before


def test_reading_changes_no_file(path: Path, clock: Clock) -> None:
    before = snapshot(path.parent)
    store = open_store(str(path), clock=clock, create=False)
    store.all("schema.applied")
    with pytest.raises(StoreReadOnly):
        store.run("schema.install", install_id="x", created_at=clock.now())
    store.close()
    assert snapshot(path.parent) == before


def test_a_database_in_memory_is_private_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.chdir(tmp_path)
    one = open_store(":memory:", clock=clock)
    one.run("schema.install", install_id="x", created_at=clock.now())
    other = open_store(":memory:", clock=clock)
    assert other.one("schema.install_id") is None
    assert one.one("schema.install_id") == {"install_id": "x"}
    assert list(tmp_path.iterdir()) == []


def killed_while_writing(path: Path) -> None:
    """Leave a journal that must be played back: a writer that spilled pages into the file and was killed."""

    def work() -> None:
        database = SqliteDatabase(str(path))
        database._connection.execute("PRAGMA cache_size = 1")
        with database.transaction():
            database._connection.execute("DELETE FROM schema_migrations")
            for number in range(1000, 1000 + ROWS):
                database._connection.execute(
                    "INSERT INTO schema_migrations VALUES (?, ?, ?, '')", (number, "x" * 200, "0" * 64)
                )
            os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=work)
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert Path(f"{path}-journal").stat().st_size > 0


def test_a_reader_after_a_kill_sees_the_state_before(path: Path, clock: Clock) -> None:
    killed_while_writing(path)
    store = open_store(str(path), clock=clock, create=False)
    require_current(store)
    assert store.problems() == []
    store.close()


# --- other programs at the file


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_writer_that_finds_the_file_locked_by_another_program_gives_up_in_time(path: Path, lock: str) -> None:
    database = SqliteDatabase(str(path), busy_seconds=0.2)
    shell = sqlite3.connect(path, isolation_level=None)
    shell.execute(f"BEGIN {lock}")
    with pytest.raises(StoreBusy):
        database.run("schema.install", install_id="x", created_at="now")
    shell.execute("ROLLBACK")
    assert database.run("schema.install", install_id="x", created_at="now") == 1
    shell.close()
    database.close()


def test_the_write_lock_is_taken_at_the_start(database: SqliteDatabase, path: Path) -> None:
    """A transaction that first reads and then writes must not find that another program has written in between."""
    shell = sqlite3.connect(path, isolation_level=None, timeout=0)
    with database.transaction(), pytest.raises(sqlite3.OperationalError, match="locked"):
        shell.execute("BEGIN IMMEDIATE")
    shell.execute("BEGIN IMMEDIATE")
    shell.close()


def test_a_commit_that_a_reading_program_holds_up_is_taken_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a rollback journal a reader in the middle of its answer keeps a writer from committing."""
    monkeypatch.setattr(sqlite, "WAL_IS_SAFE_FROM", (99, 0, 0))
    database = SqliteDatabase(str(path), busy_seconds=0.2)
    shell = sqlite3.connect(path, isolation_level=None)
    answer = shell.execute("SELECT number FROM schema_migrations")
    answer.fetchone()
    with pytest.raises(StoreBusy):
        database.run("schema.install", install_id="x", created_at="now")
    assert not database.in_transaction
    answer.close()
    assert database.one("schema.install_id") is None
    assert database.run("schema.install", install_id="x", created_at="now") == 1
    shell.close()
    database.close()


def test_a_reader_waits_while_a_writer_commits(path: Path) -> None:
    database = SqliteDatabase(str(path))
    shell = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    shell.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.3, lambda: shell.execute("ROLLBACK"))
    release.start()
    assert len(database.all("schema.applied")) > 0
    release.join()
    shell.close()
    database.close()


@pytest.mark.usefixtures("_contract")
def test_no_writer_starves(path: Path) -> None:
    """In the same time, the slowest of four writers gets at least a quarter of what the fastest gets."""
    with sqlite3.connect(path) as shell:
        shell.execute("CREATE TABLE scratch (name TEXT, amount_nanos INTEGER)")
        shell.execute("INSERT INTO scratch VALUES ('a', 0)")
    shell.close()
    start = FORK.Barrier(4)

    def write(_: int) -> int:
        database = SqliteDatabase(str(path))
        start.wait()
        end, count = time.monotonic() + 1.0, 0
        while time.monotonic() < end:
            count += database.run("contract.give", name="a", amount=1)
        return count

    counts = in_processes(4, write)
    assert min(counts) * 4 >= max(counts)
    check = SqliteDatabase(str(path), writable=False)
    assert check.all("contract.total") == [{"total": sum(counts)}]
    check.close()


def test_waiting_in_the_queue_can_be_interrupted_without_keeping_the_turn(path: Path) -> None:
    """Ctrl-C while waiting must not leave the turn with somebody who will never use it."""
    first, second, third = (SqliteDatabase(str(path), busy_seconds=5) for _ in range(3))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with first.transaction():
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt), second.transaction():
                pass
    finally:
        signal.signal(signal.SIGALRM, before)
    for _ in range(20):  # so that whoever still waits for second gets the turn, and would keep it
        with third.transaction():
            pass
        time.sleep(0.01)
    for database in (first, second, third):
        database.close()


# --- faults


def fill(database: SqliteDatabase) -> None:
    for number in range(100, 100 + ROWS):
        database.run("schema.record", number=number, name="x" * 500, digest="0" * 64, applied_at="now")


def test_a_full_disk_takes_the_whole_transaction_back(database: SqliteDatabase) -> None:
    database._connection.execute(f"PRAGMA max_page_count = {setting(database, 'page_count')}")
    before = database.all("schema.applied")
    with pytest.raises(StoreFull), database.transaction():
        fill(database)
    assert database.all("schema.applied") == before
    assert database.run("schema.install", install_id="x", created_at="now") == 1  # there is room for a small one


def test_a_full_disk_that_is_swallowed_stores_nothing(database: SqliteDatabase) -> None:
    """SQLite rolls back by itself then; what follows in the block must not be stored alone."""
    database._connection.execute(f"PRAGMA max_page_count = {setting(database, 'page_count')}")
    with pytest.raises(StoreError, match="has failed"), database.transaction():
        with pytest.raises(StoreFull):
            fill(database)
        with pytest.raises(StoreError, match="has failed"):
            database.run("schema.install", install_id="x", created_at="now")
    assert database.one("schema.install_id") is None


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "x.db"
    path.write_text("this is a letter and not a database\n" * 200)
    before = path.read_bytes()
    for create in (True, False):
        with pytest.raises(StoreDamaged, match="not a database") as refusal:
            open_store(str(path), clock=clock, create=create)
        assert refusal.value.cure
    assert path.read_bytes() == before


def test_damage_is_reported_and_never_repaired_silently(path: Path) -> None:
    """Whichever page is overwritten, using or checking the database says so, and the file stays as it is."""
    sound = path.read_bytes()
    page = int.from_bytes(sound[16:18], "big")
    silent = []
    for start in range(page, len(sound), page):
        damaged = sound[:start] + b"\xff" * 100 + sound[start + 100 :]
        path.write_bytes(damaged)
        if not faults_found(path):
            silent.append(start // page)
        assert path.read_bytes() == damaged
    assert silent == []


def faults_found(path: Path) -> list[str]:
    try:
        database = SqliteDatabase(str(path))
        database.all("schema.applied")
        found = database.problems()
    except StoreDamaged as error:
        return [error.cure]
    database.close()
    return found


def test_a_row_without_its_parent_is_a_problem(path: Path) -> None:
    with sqlite3.connect(path) as shell:  # another program, with foreign keys off as is SQLite's default
        shell.execute("INSERT INTO job_events VALUES ('gone', 1, '', '', '')")
    shell.close()
    database = SqliteDatabase(str(path))
    assert database.problems() == ["a row of job_events refers to a row of jobs that is not there"]
    database.close()
