"""The folder that a month is left in: an ordinary database, and a note by which a later demonstration knows its own.

A month is made somewhere else and brought here whole, so that one that is broken off leaves nothing in the way.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import StoreError, UsageError
from ..store.jobs import JobRepository
from ..store.migrate import open_store
from ..times import Clock
from .demo import DATABASE, STATE, Books
from .installation import PROVIDERS

_NOTE = "demo.json"
_BESIDE = ("-wal", "-shm")


class DemoFolder:
    """One folder for one month."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / DATABASE
        self._state = folder / STATE

    def check(self, *, again: bool, clock: Clock) -> None:
        """Refuse a folder that holds somebody's database. ``again`` allows one that a former month has left untouched.

        Raises ``UsageError``.
        """
        taken = next((path for path in (self.database, self._state) if path.exists()), None)
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{self.folder} is not a folder", cure="Name another one with --folder")
        if taken is None:
            return
        if not self._is_former(clock):
            raise UsageError(
                f"{taken} is there already, and is more than what a demonstration left behind",
                cure="Name another folder with --folder; nothing was changed",
            )
        if not again:
            raise UsageError(
                f"{taken} is there already, from a former demonstration",
                cure="Replace it with --again, or name another folder with --folder",
            )

    def fill(self, made: Path, books: Books) -> None:
        """Bring a month made in the folder ``made`` here, in place of a former one."""
        note = {"seed": books.seed, "last_day": books.last_day.isoformat(), "install_id": books.install_id}
        (made / STATE).mkdir(exist_ok=True)
        (made / STATE / _NOTE).write_text(json.dumps({**note, "jobs": books.jobs_in_all}) + "\n", encoding="utf-8")
        self.folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".demo-", dir=self.folder) as aside:
            new, old = Path(aside, "new"), Path(aside, "old")
            shutil.copytree(made, new)
            old.mkdir()
            for path in (self.database, *(Path(f"{self.database}{end}") for end in _BESIDE), self._state):
                if path.exists():
                    os.replace(path, old / path.name)
            os.replace(new / STATE, self._state)
            os.replace(new / DATABASE, self.database)

    def _is_former(self, clock: Clock) -> bool:
        """Whether what is here was left by a demonstration, and nobody has put anything into it since."""
        try:
            note = json.loads((self._state / _NOTE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if not isinstance(note, dict):
            return False
        if not self.database.exists():
            return True  # its database was taken away: what is left is of no use to anybody
        try:
            database = open_store(str(self.database), clock=clock, create=False)
        except StoreError:
            return False
        try:
            installed = database.one("schema.install_id")
            jobs = JobRepository(database)
            known = jobs.documented_rows(most=note.get("jobs", 0) + 1)
            return (
                installed is not None
                and installed["install_id"] == note.get("install_id")
                and len(known) == note.get("jobs")
                and set(jobs.used_providers()) <= set(PROVIDERS)
            )
        finally:
            database.close()
