"""Staging: a job directory becomes one archive, and a machine's archive becomes files again.

    directory --> inspect --> Manifest                     reads only
    directory --> stage   --> inputs/<sha256>.tar.gz       the same files: the same archive, uploaded once

The way back, from a machine's archive to files, is ``extract``.
Version control, caches, virtual environments and whatever looks like a secret stay behind, whatever else is excluded.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import StagingRefused
from ..objectstore.base import ObjectStore
from ..objectstore.beneath import FILE_FLAGS, FOLDER_FLAGS, open_beneath
from .exclusions import (
    ALWAYS,
    ENVIRONMENT_SIGNS,
    ENVIRONMENTS,
    SECRETS,
    SNIFF_BYTES,
    Patterns,
    holds_private_key,
)
from .file_names import check_name, check_target, shown, within
from .unpack import Extracted as Extracted
from .unpack import extract as extract

PACKED_AT = 315_532_800
"""The time that every packed file carries: 1980-01-01, the first that all archive formats can hold."""


class Why(StrEnum):
    """Why something is not staged."""

    EXCLUDED = "excluded"
    ALWAYS = "always left out"
    ENVIRONMENT = "a virtual environment"
    CONFIDENTIAL = "looks like a secret"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that stays behind, by the pattern or sign that said so."""

    path: str
    why: Why
    sign: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may be staged. ``exclude`` are patterns left out of every job. ``looked_at``: entries, staged or not."""

    files: int = 20_000
    size_bytes: int = 2_000_000_000
    looked_at: int = 1_000_000
    depth: int = 64
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that would be staged: ``kind`` is ``file``, ``folder`` or ``link``."""

    path: str
    kind: str
    size_bytes: int
    executable: bool
    target: str
    identity: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What staging a directory would take along."""

    directory: Path
    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]
    size_bytes: int

    @property
    def files(self) -> int:
        return sum(1 for entry in self.entries if entry.kind != "folder")

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(skipped.path for skipped in self.skipped if skipped.why is Why.CONFIDENTIAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A job directory in an object store. ``digest`` is the archive's SHA-256; ``size_bytes`` what it unpacks to."""

    url: str
    key: str
    digest: str
    files: int
    size_bytes: int
    archive_bytes: int
    skipped: tuple[Skipped, ...]
    uploaded: bool


def inspect(directory: Path, exclude: Iterable[str] = (), *, limits: Limits = Limits()) -> Manifest:
    """What staging would take along. Reads only.

    Raises ``StagingRefused`` with the path and a cure for anything that cannot or must not be staged.
    """
    return _Walk(directory, exclude, limits).manifest()


def fingerprint(directory: Path, exclude: Iterable[str] = (), *, limits: Limits = Limits()) -> tuple[str, Manifest]:
    """The digest that ``stage`` would give the directory, and what it would take along. Nothing is put anywhere."""
    manifest = inspect(directory, exclude, limits=limits)
    with TemporaryDirectory(prefix="tallygate-") as scratch:
        return _pack(manifest, Path(scratch, "inputs.tar.gz")), manifest


def stage(directory: Path, exclude: Iterable[str], store: ObjectStore, *, limits: Limits = Limits()) -> Staged:
    """Put the directory into the store as one archive, named by its digest; nothing is sent when it is there already.

    Raises ``StagingRefused`` as ``inspect`` does, and when a file changes while it is read.
    """
    manifest = inspect(directory, exclude, limits=limits)
    with TemporaryDirectory(prefix="tallygate-") as scratch:
        archive = Path(scratch, "inputs.tar.gz")
        digest = _pack(manifest, archive)
        archive_bytes = archive.stat().st_size
        key = f"inputs/{digest}.tar.gz"
        absent = store.size(key) != archive_bytes
        if absent:
            store.put_file(key, archive)
    return Staged(
        url=store.url(key),
        key=key,
        digest=digest,
        files=manifest.files,
        size_bytes=manifest.size_bytes,
        archive_bytes=archive_bytes,
        skipped=manifest.skipped,
        uploaded=absent,
    )


# --- looking


class _Walk:
    """One look at a job directory. Folders are opened beneath each other and never through a link."""

    def __init__(self, directory: Path, exclude: Iterable[str], limits: Limits) -> None:
        self._directory = directory
        self._limits = limits
        self._rules = (
            (Patterns((*limits.exclude, *exclude)), Why.EXCLUDED),
            (Patterns(SECRETS, any_case=True), Why.CONFIDENTIAL),
            (Patterns(ALWAYS), Why.ALWAYS),
            (Patterns(ENVIRONMENTS), Why.ENVIRONMENT),
        )
        self._entries: list[Entry] = []
        self._skipped: list[Skipped] = []
        self._files = self._bytes = self._looked_at = 0

    def manifest(self) -> Manifest:
        try:
            self._root = os.path.realpath(self._directory, strict=True)
            top = os.open(self._root, FOLDER_FLAGS)
        except FileNotFoundError:
            raise StagingRefused(
                f"There is no directory {self._directory}", cure="Name an existing job directory"
            ) from None
        except NotADirectoryError:
            raise StagingRefused(
                f"{self._directory} is a file, not a directory", cure="Put it into a directory and name that"
            ) from None
        except OSError as error:
            raise _unreadable(str(self._directory), error) from None
        try:
            self._folder(top, "", 0)
        finally:
            os.close(top)
        if not self._files:
            behind = f"; {len(self._skipped)} entries stay behind" if self._skipped else ""
            raise StagingRefused(f"{self._directory} holds nothing to stage{behind}", cure="Put a run.sh into it")
        return Manifest(
            directory=self._directory,
            entries=tuple(self._entries),
            skipped=tuple(self._skipped),
            size_bytes=self._bytes,
        )

    def _folder(self, folder: int, above: str, depth: int) -> None:
        twins: dict[str, str] = {}
        for name in self._names(folder, above):
            path = above + name
            self._looked_at += 1
            if self._looked_at > self._limits.looked_at:
                raise self._too_much(f"more than {self._limits.looked_at:,} entries")
            check_name(name, path)
            if self._leave(path):
                continue
            found = _look(name, folder, path)
            twin = twins.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
            if twin != name:
                raise StagingRefused(
                    f"{shown(above + twin)} and {shown(path)} differ only in case or in how their letters are composed,"
                    " and would overwrite each other on some machines",
                    cure="Rename or exclude one of them",
                )
            if stat.S_ISDIR(found.st_mode):
                self._enter(folder, name, path, depth)
            elif stat.S_ISLNK(found.st_mode):
                self._link(folder, name, path)
            elif stat.S_ISREG(found.st_mode):
                self._file(folder, name, path, found)
            else:
                raise StagingRefused(
                    f"{shown(path)} is {_kind(found.st_mode)}, not a file",
                    cure=f"Remove it, or --exclude {shown(path)}",
                )

    def _names(self, folder: int, above: str) -> list[str]:
        """Names in a fixed order. A huge folder is given up before all of it is read."""
        names: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if self._looked_at + len(names) > self._limits.looked_at:
                        raise self._too_much(f"more than {self._limits.looked_at:,} entries")
        except OSError as error:
            raise _unreadable(above or ".", error) from None
        return sorted(names, key=os.fsencode)

    def _leave(self, path: str) -> bool:
        for patterns, why in self._rules:
            sign = patterns.match(path)
            if sign is not None:
                self._skipped.append(Skipped(path, why, sign))
                return True
        return False

    def _enter(self, folder: int, name: str, path: str, depth: int) -> None:
        if depth >= self._limits.depth:
            raise self._too_much(f"folders more than {self._limits.depth} deep, at {shown(path)}")
        try:
            below = os.open(name, FOLDER_FLAGS, dir_fd=folder)
        except OSError as error:
            raise _unreadable(path, error) from None
        try:
            for sign in ENVIRONMENT_SIGNS:
                if _there(sign, below):
                    self._skipped.append(Skipped(path, Why.ENVIRONMENT, sign))
                    return
            self._entries.append(Entry(path, "folder", 0, True, "", ()))
            self._folder(below, path + "/", depth + 1)
        finally:
            os.close(below)

    def _link(self, folder: int, name: str, path: str) -> None:
        try:
            target = os.readlink(name, dir_fd=folder)
        except OSError as error:
            raise _unreadable(path, error) from None
        cure = f"Copy what it points to, make the link relative, or --exclude {shown(path)}"
        if os.path.isabs(target):
            raise StagingRefused(f"{shown(path)} links to {shown(target)}, which is not on the machine", cure=cure)
        check_target(target, path)
        really = os.path.realpath(os.path.join(self._root, path))
        if not within(path, target) or os.path.commonpath([self._root, really]) != self._root:
            raise StagingRefused(f"{shown(path)} links to {shown(target)}, outside the directory", cure=cure)
        self._count(0)
        self._entries.append(Entry(path, "link", 0, False, target, ()))

    def _file(self, folder: int, name: str, path: str, found: os.stat_result) -> None:
        try:
            descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
        except OSError as error:
            raise _unreadable(path, error) from None
        with open(descriptor, "rb") as file:
            if identity(os.fstat(descriptor)) != identity(found):
                raise _changed(path)
            if found.st_size <= SNIFF_BYTES and holds_private_key(file.read(SNIFF_BYTES)):
                self._skipped.append(Skipped(path, Why.CONFIDENTIAL, "a private key inside"))
                return
        self._count(found.st_size)
        executable = bool(found.st_mode & stat.S_IXUSR)
        self._entries.append(Entry(path, "file", found.st_size, executable, "", identity(found)))

    def _count(self, size_bytes: int) -> None:
        self._files += 1
        self._bytes += size_bytes
        if self._files > self._limits.files:
            raise self._too_much(f"more than {self._limits.files:,} files")
        if self._bytes > self._limits.size_bytes:
            raise self._too_much(f"more than {self._limits.size_bytes:,} bytes")

    def _too_much(self, what: str) -> StagingRefused:
        return StagingRefused(
            f"{self._directory} has {what}",
            cure="Exclude what the job does not need, keep large data in an object store, or raise the limit in staging",
        )


# --- packing


def _pack(manifest: Manifest, archive: Path) -> str:
    """Write the archive and answer its SHA-256. Owner, times and modes are left out, so equal trees give equal bytes."""
    top = os.open(os.path.realpath(manifest.directory), FOLDER_FLAGS)
    try:
        with (
            open(archive, "xb") as file,
            gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as squeezed,
            tarfile.open(fileobj=squeezed, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar,
        ):
            for entry in manifest.entries:
                _pack_entry(tar, top, entry)
    finally:
        os.close(top)
    with open(archive, "rb") as packed:
        return hashlib.file_digest(packed, "sha256").hexdigest()


def _pack_entry(tar: tarfile.TarFile, top: int, entry: Entry) -> None:
    member = tarfile.TarInfo(entry.path)
    member.mtime = PACKED_AT
    member.mode = 0o755 if entry.executable else 0o644
    if entry.kind == "folder":
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
    elif entry.kind == "link":
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, entry.target, 0o777
        tar.addfile(member)
    else:
        member.size = entry.size_bytes
        try:
            descriptor = open_beneath(top, entry.path.split("/"))
        except FileNotFoundError:
            raise _changed(entry.path) from None
        except OSError as error:
            raise _unreadable(entry.path, error) from None
        with open(descriptor, "rb") as file:
            if identity(os.fstat(descriptor)) != entry.identity:
                raise _changed(entry.path)
            try:
                tar.addfile(member, file)
            except OSError as error:
                # Shorter than announced, or the disk failed; the first is by far the likelier.
                raise _changed(entry.path) from error
            if identity(os.fstat(descriptor)) != entry.identity:
                raise _changed(entry.path)


# --- inside


def identity(found: os.stat_result) -> tuple[int, ...]:
    """What must not change between looking at a file and having read it."""
    return found.st_mode, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _look(name: str, folder: int, path: str) -> os.stat_result:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        raise _changed(path) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _there(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}
    return kinds.get(stat.S_IFMT(mode), "something special")


def _changed(path: str) -> StagingRefused:
    return StagingRefused(
        f"{shown(path)} changed while it was read", cure="Wait until nothing writes to it, and try again"
    )


def _unreadable(path: str, error: OSError) -> StagingRefused:
    return StagingRefused(
        f"{shown(path)} cannot be read: {error.strerror or error}",
        cure=f"Give yourself read access, or --exclude {shown(path)}",
    )
