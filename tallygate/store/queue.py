"""A fair queue in front of SQLite's write lock.

SQLite lets waiting writers poll with growing sleeps, so under contention one of them can starve for seconds while the
others pass. A lock on a file beside the database makes the kernel the queue: a waiter is woken when its turn comes. The
kernel drops the lock when a process dies, so a killed writer never blocks the next.
"""

from __future__ import annotations

import fcntl
import os
import threading

from ..errors import StoreBusy, StoreReadOnly


class WriteQueue:
    """The right to write to one database file, one process at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
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
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreReadOnly(f"The lock file {self._path} cannot be opened: {error.strerror}") from error

    def _wait(self, seconds: float) -> None:
        # A blocking flock has no time limit, so a thread waits for it and this one waits for the thread. If the limit
        # passes first, the file is left to the thread, which lets go as soon as its turn comes.
        file = self._file
        assert file is not None
        turn = _Turn(file)
        threading.Thread(target=turn.take, daemon=True).start()
        if not turn.came.wait(seconds) and turn.abandon():
            self._file = None
            raise StoreBusy(f"Another process has held the database's write queue for {seconds:g} s ({self._path})")


class _Turn:
    """One wait for the lock that can be given up."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._decision = threading.Lock()
        self._abandoned = False
        self.came = threading.Event()

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
