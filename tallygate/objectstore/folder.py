"""An object store in a folder of this machine: ``file:///srv/objects``.

An object is a file whose path is its key. It appears by renaming a finished, flushed copy, so that a reader sees all of
it or none, also after a crash. Folders are 0700 and files 0600. Names that start with a dot are copies under way.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, BinaryIO, Self
from urllib.parse import quote, unquote, urlsplit

from ..errors import ObjectMissing, Unavailable, UsageError
from .base import READ_BYTES_MAX, Access, StoredObject, check_key
from .beneath import FOLDER_FLAGS, folder_beneath, open_beneath

COPY_BYTES = 1024 * 1024


class FolderStore:
    """Objects in a folder. The folder is made by the first write; opening and reading make nothing."""

    def __init__(self, root: Path) -> None:
        if not root.is_absolute():
            raise UsageError(f"An object store needs an absolute folder, not {root}")
        self._root = root

    @classmethod
    def from_url(cls, url: str) -> Self:
        """The store at ``file:///absolute/folder``. Raises ``UsageError`` for another host or a relative path."""
        parts = urlsplit(url)
        path = unquote(parts.path, errors="strict") if parts.scheme == "file" else ""
        odd = parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not path.startswith("/")
        if odd or any(part in ("..", ".") for part in path.split("/")) or any(ord(sign) < 32 for sign in path):
            raise UsageError(
                f"{url[:120]!r} does not name a folder of this machine", cure="Write it like file:///srv/objects"
            )
        return cls(Path(path))

    def __repr__(self) -> str:
        return f"FolderStore({str(self._root)!r})"

    def url(self, key: str = "") -> str:
        place = self._root.joinpath(*check_key(key)) if key else self._root
        return "file://" + quote(str(place), safe="/")

    def key_of(self, url: str) -> str:
        below = url.removeprefix(self.url().rstrip("/") + "/")
        if below == url:
            raise UsageError(f"{url[:120]!r} is not in the store {self.url()}")
        key = unquote(below, errors="strict")
        check_key(key)
        return key

    # --- writing

    def put_file(self, key: str, path: Path) -> None:
        with path.open("rb") as source, self._incoming(key) as target:
            shutil.copyfileobj(source, target, COPY_BYTES)

    def put_bytes(self, key: str, content: bytes) -> None:
        with self._incoming(key) as target:
            target.write(content)

    def delete(self, key: str) -> None:
        *folders, name = check_key(key)
        try:
            with self._top() as top, folder_beneath(top, folders) as folder:
                os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed(f"remove {key}", error) from error

    def sign(self, key: str, access: Access, *, seconds: int) -> str:
        """The plain ``file://`` URL: on this machine the file's mode says who may use it, for ever."""
        *folders, _ = check_key(key)
        if access is Access.PUT:
            try:
                with self._top(make=True) as top, folder_beneath(top, folders, make=True):
                    pass
            except OSError as error:
                raise self._failed(f"make room for {key}", error) from error
        return self.url(key)

    # --- reading

    def get_file(self, key: str, path: Path) -> None:
        with self._outgoing(key) as source:
            beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
            try:
                with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as target:
                    shutil.copyfileobj(source, target, COPY_BYTES)
                    target.flush()
                    os.fsync(target.fileno())
                beside.replace(path)
            except OSError as error:
                raise self._failed(f"write {path}", error) from error
            finally:
                beside.unlink(missing_ok=True)

    def get_bytes(self, key: str, *, start: int = 0, bytes_max: int = READ_BYTES_MAX) -> bytes:
        with self._outgoing(key) as source:
            source.seek(start)
            return source.read(bytes_max)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        found = sorted(self._walk(prefix))
        for key, size_bytes, modified in found:
            yield StoredObject(key=key, size_bytes=size_bytes, modified_at=datetime.fromtimestamp(modified, UTC))

    def size(self, key: str) -> int | None:
        try:
            with self._outgoing(key) as source:
                return os.fstat(source.fileno()).st_size
        except ObjectMissing:
            return None

    def exists(self, key: str) -> bool:
        return self.size(key) is not None

    # --- inside

    @contextmanager
    def _top(self, *, make: bool = False) -> Iterator[int]:
        """The open root folder. Links *to* it are the owner's business; from here on none is followed."""
        if make:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        top = os.open(self._root, FOLDER_FLAGS & ~os.O_NOFOLLOW)
        try:
            yield top
        finally:
            os.close(top)

    @contextmanager
    def _incoming(self, key: str) -> Iterator[IO[bytes]]:
        """A file to write the new object into; it takes the key's place when the block ends well."""
        *folders, name = check_key(key)
        beside = f".incoming-{secrets.token_hex(8)}"
        try:
            with self._top(make=True) as top, folder_beneath(top, folders, make=True) as folder:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(beside, flags, 0o600, dir_fd=folder)
                try:
                    with open(descriptor, "wb") as target:
                        yield target
                        target.flush()
                        os.fsync(target.fileno())
                    os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
                except BaseException:
                    os.unlink(beside, dir_fd=folder)
                    raise
                os.fsync(folder)
        except OSError as error:
            raise self._failed(f"write {key}", error) from error

    @contextmanager
    def _outgoing(self, key: str) -> Iterator[BinaryIO]:
        parts = check_key(key)
        try:
            with self._top() as top:
                descriptor = open_beneath(top, parts)
        except FileNotFoundError:
            raise ObjectMissing(f"There is no object {key} in {self.url()}") from None
        except OSError as error:
            raise self._failed(f"read {key}", error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ObjectMissing(f"There is no object {key} in {self.url()}, but something else of that name")
        with open(descriptor, "rb") as source:
            yield source

    def _walk(self, prefix: str) -> Iterator[tuple[str, int, float]]:
        """Key, size and time of each object below ``prefix``, in any order; links and copies under way left out."""
        try:
            with self._top() as top:
                yield from _files(top, "", prefix)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed("list the objects", error) from error

    def _failed(self, doing: str, error: OSError) -> Unavailable:
        cure = "Free space on its disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Look at the folder's modes"
        return Unavailable(f"Cannot {doing} in {self.url()}: {error.strerror or error}", cure=cure)


def _files(folder: int, above: str, prefix: str) -> Iterator[tuple[str, int, float]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            key = above + entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                # Only folders that can hold such keys are entered.
                if not (key + "/").startswith(prefix) and not prefix.startswith(key + "/"):
                    continue
                try:
                    below = os.open(entry.name, FOLDER_FLAGS, dir_fd=folder)
                except FileNotFoundError:
                    continue
                try:
                    yield from _files(below, key + "/", prefix)
                finally:
                    os.close(below)
            elif entry.is_file(follow_symlinks=False) and key.startswith(prefix):
                try:
                    found = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield key, found.st_size, found.st_mtime
