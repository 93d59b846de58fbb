"""Unpacking what a machine sent back: nothing outside the directory, nothing through a link, or nothing at all."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import StagingRefused
from ..objectstore.beneath import FOLDER_FLAGS, folder_beneath
from .file_names import check_name, shown, within

READ_BYTES_MAX = 1024 * 1024
"""The most that is read from an archive at once; no header of an honest one comes near it."""

TAR_BYTES_PER_MEMBER = 4096
"""What an archive may need beside the content of each file: header, long name, padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackLimits:
    """How much may come back from a machine. ``files`` counts links and folders too."""

    files: int = 200_000
    size_bytes: int = 50_000_000_000
    depth: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What came out of an archive. ``left_out`` names links that lead outside and things that are no files."""

    directory: Path
    files: tuple[Path, ...]
    size_bytes: int
    left_out: tuple[str, ...]


def extract(archive: Path, into: Path, *, limits: UnpackLimits = UnpackLimits(), replace: bool = False) -> Extracted:
    """Unpack what a machine sent into the new directory ``into``, all of it or nothing.

    ``replace`` exchanges a directory that is there already. Raises ``StagingRefused`` for an archive that is damaged, too
    large, or names a place outside; links that lead outside and things that are no files are left out and listed.
    """
    if os.path.lexists(into) and not replace and not _is_empty_folder(into):
        raise StagingRefused(f"{into} is there already", cure="Move it away, or choose another place")
    into.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{into.name}.", dir=into.parent) as scratch:
        fresh = Path(scratch, "new")
        fresh.mkdir(mode=0o755)
        unpacking = _Unpacking(archive, fresh, limits)
        try:
            unpacking.run()
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
            raise StagingRefused(f"{archive.name} is damaged: {error}", cure="Fetch it again") from None
        if os.path.lexists(into) and not _is_empty_folder(into):
            into.rename(Path(scratch, "old"))
        fresh.rename(into)
    files = tuple(into / name for name in unpacking.files)
    return Extracted(directory=into, files=files, size_bytes=unpacking.size_bytes, left_out=tuple(unpacking.left_out))


class _Bounded(io.RawIOBase):
    """A stream that stops being read where no honest archive goes: too far, or too much at once."""

    def __init__(self, stream: gzip.GzipFile, bytes_max: int) -> None:
        self._stream = stream
        self._bytes_max = bytes_max

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= READ_BYTES_MAX:
            raise StagingRefused("The archive has a header larger than any file name needs")
        if self._stream.tell() + size > self._bytes_max + READ_BYTES_MAX:
            raise StagingRefused(f"The archive unpacks to more than {self._bytes_max:,} bytes")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        # Only forwards, a piece at a time: a skipped member is unpacked like any other.
        while self._stream.tell() < offset:
            if not self.read(min(READ_BYTES_MAX, offset - self._stream.tell())):
                break
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


class _Unpacking:
    """One archive on its way into a fresh directory that nobody else knows yet."""

    def __init__(self, archive: Path, fresh: Path, limits: UnpackLimits) -> None:
        self._archive = archive
        self._fresh = fresh
        self._limits = limits
        self._seen: set[str] = set()
        self._links: list[str] = []
        self.files: list[str] = []
        self.left_out: list[str] = []
        self.size_bytes = 0

    def run(self) -> None:
        overhead = self._limits.files * TAR_BYTES_PER_MEMBER
        with gzip.open(self._archive, "rb") as squeezed:
            stream = _Bounded(squeezed, self._limits.size_bytes + overhead)
            with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
                top = os.open(self._fresh, FOLDER_FLAGS)
                try:
                    count = 0
                    while (member := tar.next()) is not None:
                        if count >= self._limits.files:
                            raise StagingRefused(f"{self._archive.name} has more than {self._limits.files:,} entries")
                        self._unpack(tar, member, top)
                        count += 1
                        # The list that tarfile keeps of all members would grow with the archive.
                        tar.members.clear()  # type: ignore[attr-defined]
                finally:
                    os.close(top)
            # To the very end, where the checksum over everything is compared.
            while stream.read(READ_BYTES_MAX):
                pass
        self._drop_links_outside()

    def _drop_links_outside(self) -> None:
        """A link may stay inside by its words and yet leave by way of another link; only the result can tell."""
        top = os.path.realpath(self._fresh)
        for path in self._links:
            place = os.path.join(top, path)
            if os.path.commonpath([top, os.path.realpath(place)]) != top:
                os.unlink(place)
                self.files.remove(path)
                self.left_out.append(path)

    def _unpack(self, tar: tarfile.TarFile, member: tarfile.TarInfo, top: int) -> None:
        path = self._path(member.name)
        if not path:
            return
        parts = path.split("/")
        if len(parts) > self._limits.depth:
            raise StagingRefused(f"{shown(path)} lies more than {self._limits.depth} folders deep")
        if member.isdir():
            self._make_folder(top, parts)
            return
        if path in self._seen:
            raise StagingRefused(f"{self._archive.name} holds {shown(path)} twice")
        self._seen.add(path)
        try:
            with folder_beneath(top, parts[:-1], make=True, mode=0o755) as folder:
                if member.isreg():
                    self._write(tar, member, folder, parts[-1], path)
                elif member.issym() and self._stays_inside(path, member.linkname):
                    os.symlink(member.linkname, parts[-1], dir_fd=folder)
                    self._links.append(path)
                elif member.islnk():
                    self._link(top, folder, parts[-1], path, member.linkname)
                else:
                    self.left_out.append(path)
                    return
        except OSError as error:
            raise StagingRefused(f"{shown(path)} cannot be unpacked: {error.strerror or error}") from None
        self.files.append(path)

    def _path(self, name: str) -> str:
        """The member's relative path; empty for the top itself."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise StagingRefused(f"{self._archive.name} names a place outside: {shown(name)}", cure="Do not trust it")
        for part in parts:
            check_name(part, name)
        return "/".join(parts)

    def _make_folder(self, top: int, parts: Sequence[str]) -> None:
        try:
            with folder_beneath(top, parts, make=True, mode=0o755):
                pass
        except OSError as error:
            raise StagingRefused(f"{shown('/'.join(parts))} cannot be unpacked: {error.strerror}") from None

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: int, name: str, path: str) -> None:
        self.size_bytes += member.size
        if self.size_bytes > self._limits.size_bytes:
            raise StagingRefused(f"{self._archive.name} unpacks to more than {self._limits.size_bytes:,} bytes")
        source = tar.extractfile(member)
        if source is None:
            raise StagingRefused(f"{shown(path)} has no content in {self._archive.name}")
        mode = 0o755 if member.mode & 0o100 else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with source, open(os.open(name, flags, mode, dir_fd=folder), "wb") as target:
            shutil.copyfileobj(source, target, READ_BYTES_MAX)
            if target.tell() != member.size:
                raise StagingRefused(f"{self._archive.name} ends inside {shown(path)}", cure="Fetch it again")

    def _link(self, top: int, folder: int, name: str, path: str, target: str) -> None:
        """A second name for a file that came before in the same archive."""
        earlier = self._path(target)
        if earlier not in self._seen:
            self.left_out.append(path)
            return
        *folders, last = earlier.split("/")
        with folder_beneath(top, folders) as source:
            os.link(last, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)

    def _stays_inside(self, path: str, target: str) -> bool:
        return bool(target) and not target.startswith("/") and "\0" not in target and within(path, target)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())
