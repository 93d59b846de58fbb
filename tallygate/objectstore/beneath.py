"""Opening files strictly beneath a directory.

Each part of a path is opened relative to the one before and never through a link, so that no link, planted before or
while we look, leads out of the directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Without waiting: opening a pipe that nobody writes to would never return."""


@contextmanager
def folder_beneath(top: int, parts: Sequence[str], *, make: bool = False, mode: int = 0o700) -> Iterator[int]:
    """A descriptor of the folder ``parts`` beneath the open folder ``top``; made on the way when ``make``.

    Raises ``OSError``: ``ENOENT`` when it is not there, ``ELOOP`` or ``ENOTDIR`` when a part is a link or a file.
    """
    current = os.dup(top)
    try:
        for part in parts:
            if make:
                made = _make(part, mode, current)
                if made:
                    os.fsync(current)
            below = os.open(part, FOLDER_FLAGS, dir_fd=current)
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


def open_beneath(top: int, parts: Sequence[str]) -> int:
    """A descriptor, for reading, of the file ``parts`` beneath the open folder ``top``. Raises ``OSError``.

    It may be anything but a link; look at it with ``fstat`` before reading.
    """
    with folder_beneath(top, parts[:-1]) as folder:
        return os.open(parts[-1], FILE_FLAGS, dir_fd=folder)


def _make(name: str, mode: int, folder: int) -> bool:
    try:
        os.mkdir(name, mode, dir_fd=folder)
    except FileExistsError:
        return False
    return True
