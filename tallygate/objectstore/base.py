"""What an object store does, wherever it lies.

    file, bytes --> put    --> key           all of it or nothing; the same key again replaces
    key         --> get    --> file, bytes   ObjectMissing when there is none
    prefix      --> list   --> StoredObject, StoredObject, ...
    key         --> sign   --> a URL that a machine without credentials of ours can use for a while

A store is opened by URL (``open_store``) and holds everything below it. Keys are relative: parts of letters, digits and
``. _ - = + @`` with ``/`` between them, none of them empty or starting with a dot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from ..errors import UsageError

KEY_LENGTH_MAX = 512
READ_BYTES_MAX = 16 * 1024 * 1024
"""What ``get_bytes`` reads unless told otherwise: enough for any document of ours, small enough for memory."""

_PART = re.compile(r"[A-Za-z0-9_=+@-][A-Za-z0-9._=+@-]{0,199}")


class Access(StrEnum):
    """What a signed URL allows."""

    GET = "GET"
    PUT = "PUT"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object as a listing shows it."""

    key: str
    size_bytes: int
    modified_at: datetime


class ObjectStore(Protocol):
    """A place for inputs, results and logs. A failed call leaves an object as it was or as it was to be, never half."""

    def url(self, key: str = "") -> str:
        """The URL of an object or of all below ``key``, as it is kept with a job; without a key, of the store itself.

        ``open_store`` opens it again. Using it may need credentials of ours; see ``sign``.
        """
        ...

    def key_of(self, url: str) -> str:
        """The key that ``url`` wrote as this URL. Raises ``UsageError`` for a URL outside the store."""
        ...

    def put_file(self, key: str, path: Path) -> None: ...
    def put_bytes(self, key: str, content: bytes) -> None: ...

    def get_file(self, key: str, path: Path) -> None:
        """Write the object to ``path``, all of it or nothing. Raises ``ObjectMissing``."""
        ...

    def get_bytes(self, key: str, *, start: int = 0, bytes_max: int = READ_BYTES_MAX) -> bytes:
        """The object's bytes from ``start`` on, at most ``bytes_max``; empty past its end. Raises ``ObjectMissing``."""
        ...

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Every object whose key starts with ``prefix``, in the order of the keys. None for a store not made yet."""
        ...

    def size(self, key: str) -> int | None:
        """How many bytes the object has; None when there is none."""
        ...

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None:
        """Remove one object. Of something already gone: nothing happens."""
        ...

    def sign(self, key: str, access: Access, *, seconds: int) -> str:
        """A URL that allows ``access`` to this one object for ``seconds``, without further credentials.

        For ``PUT`` the store makes the place ready, so that whoever holds the URL only has to write.
        """
        ...


def check_key(key: str) -> tuple[str, ...]:
    """The parts of a key. Raises ``UsageError`` for anything that could mean another place than it says."""
    parts = tuple(key.split("/"))
    if len(key) > KEY_LENGTH_MAX or not all(_PART.fullmatch(part) for part in parts):
        raise UsageError(
            f"{key[:80]!r} cannot be the key of an object",
            cure="Use letters, digits and . _ - = + @, with single slashes between parts that do not start with a dot",
        )
    return parts
