"""A fair queue in front of SQLite's write lock.

SQLite lets waiting writers poll with growing sleeps, so under contention one of them can starve for seconds while the
others pass. A lock on a file beside the database makes the kernel the queue: a waiter is woken when its turn comes. The
kernel drops the lock when a process dies, so a killed writer never blocks the next.
"""

from __future__ import annotations

import fcntl
import os

from ..errors import StoreBusy, StoreReadOnly


class WriteQueue:
    """The right to write to one database file, one process at a time.

    ``path`` is the lock file, made on first use with the mode and owner of the file ``like``, so that whoever may
    write the database may also queue for it.
    """

    def __init__(self, path: str, *, like: str) -> None:
        self._path = path
        self._like = like
        self._file: int | None = None

    def enter(self, seconds: float) -> None:
        """Wait for the turn, at most ``seconds``. Raises ``StoreBusy``."""
        if self._file is None:
            self._file = self._open()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait(seconds)

    def leave(self) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        try:
            try:
                return os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return self._create()
        except OSError as error:
            raise StoreReadOnly(f"The lock file {self._path} cannot be opened: {error.strerror}") from error

    def _create(self) -> int:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        model = os.stat(self._like)
        if os.geteuid() == 0:
            os.fchown(file, model.st_uid, model.st_gid)
        os.fchmod(file, model.st_mode & 0o666)
        return file

    def _wait(self, seconds: float) -> None:
        # A blocking flock has no time limit, so a thread waits for it and this one waits for the thread. If the limit
        # passes first, the file is left to the thread, which lets go as soon as its turn comes.
        from threading import Thread

        file = self._file
        assert file is not None
        turn = _Turn(file)
        Thread(target=turn.take, daemon=True).start()
        try:
            came = turn.came.wait(seconds)
        except BaseException:  # such as Ctrl-C: nobody will use the turn
            if not self._gave_up(turn):
                self.leave()
            raise
        if not came and self._gave_up(turn):
            raise StoreBusy(f"Another process has held the database's write queue for {seconds:g} s ({self._path})")

    def _gave_up(self, turn: _Turn) -> bool:
        if not turn.abandon():
            return False
        self._file = None
        return True


class _Turn:
    """One wait for the lock that can be given up."""

    def __init__(self, file: int) -> None:
        from threading import Event, Lock

        self._file = file
        self._decision = Lock()
        self._abandoned = False
        self.came = Event()

    def take(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        with self._decision:
            if not self._abandoned:
                self.came.set()
                return
        os.close(self._file)

    def abandon(self) -> bool:
        """Give up, unless the turn has just come."""
        with self._decision:
            self._abandoned = not self.came.is_set()
            return self._abandoned
