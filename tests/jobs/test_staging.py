"""Staging: what goes along, what stays behind, what is refused; and that looking changes nothing."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tallygate.errors import StagingRefused, UsageError
from tallygate.jobs import staging
from tallygate.jobs.exclusions import holds_private_key
from tallygate.jobs.staging import Limits, Why, extract, inspect, stage
from tallygate.objectstore.folder import FolderStore

KEY_HEADERS = [
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----",
    "-----BEGIN EC PRIVATE KEY-----",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----",
    "PuTTY-User-Key-File-3: ssh-ed25519",
]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job directory with one file."""
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "run.sh").write_text("echo hi\n")
    (folder / "run.sh").chmod(0o755)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "objects")


def write(folder: Path, path: str, content: str = "x") -> Path:
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    return place


def taken(folder: Path, *exclude: str) -> set[str]:
    return {entry.path for entry in inspect(folder, exclude).entries if entry.kind != "folder"}


def archive_of(store: FolderStore, key: str) -> Iterator[tarfile.TarInfo]:
    with tarfile.open(fileobj=gzip.open(store.url().removeprefix("file://") + "/" + key)) as tar:
        yield from tar


# --- what goes along


def test_equal_trees_make_equal_archives_whatever_their_age_owner_and_order(
    job: Path, store: FolderStore, tmp_path: Path
) -> None:
    for name in ("b", "a/z", "a/ä", "c/d/e"):
        write(job, name, name)
    first = stage(job, (), store)
    twin = tmp_path / "elsewhere"
    twin.mkdir(mode=0o700)
    for name in ("c/d/e", "a/ä", "a/z", "b", "run.sh"):
        shutil.copyfile(job / name, write(twin, name))
    (twin / "run.sh").chmod(0o700)
    (twin / "b").chmod(0o600)
    for path in twin.rglob("*"):
        os.utime(path, (1_000_000, 1_000_000), follow_symlinks=False)
    second = stage(twin, (), store)
    assert second.digest == first.digest
    assert (first.uploaded, second.uploaded) == (True, False)
    assert [found.key for found in store.list()] == [f"inputs/{first.digest}.tar.gz"] == [first.key]
    assert first.url == store.url(first.key)


@pytest.mark.parametrize("change", ["content", "name", "executable", "more", "link", "folder"])
def test_any_difference_that_matters_makes_another_archive(job: Path, store: FolderStore, change: str) -> None:
    write(job, "a")
    before = stage(job, (), store).digest
    if change == "content":
        write(job, "a", "y")
    elif change == "name":
        (job / "a").rename(job / "b")
    elif change == "executable":
        (job / "a").chmod(0o755)
    elif change == "more":
        write(job, "b")
    elif change == "folder":
        (job / "empty").mkdir()
    else:
        (job / "l").symlink_to("a")
    assert stage(job, (), store).digest != before


def test_nothing_of_the_owner_is_in_the_archive(job: Path, store: FolderStore) -> None:
    write(job, "folder/plain")
    members = list(archive_of(store, stage(job, (), store).key))
    assert {(each.uid, each.gid, each.uname, each.gname, each.mtime) for each in members} == {
        (0, 0, "", "", staging.PACKED_AT)
    }
    assert {each.name: each.mode for each in members} == {"folder": 0o755, "folder/plain": 0o644, "run.sh": 0o755}


def test_a_damaged_earlier_upload_is_replaced(job: Path, store: FolderStore) -> None:
    staged = stage(job, (), store)
    store.put_bytes(staged.key, b"cut short")
    assert stage(job, (), store).uploaded
    assert store.size(staged.key) == staged.archive_bytes


def test_links_that_stay_inside_are_kept_as_links(job: Path, store: FolderStore, tmp_path: Path) -> None:
    write(job, "data/one")
    (job / "data/two").symlink_to("one")
    (job / "up").symlink_to("data/../run.sh")
    (job / "folder").symlink_to("data")
    (job / "dangling").symlink_to("later")
    staged = stage(job, (), store)
    archive = tmp_path / "a.tar.gz"
    store.get_file(staged.key, archive)
    extract(archive, tmp_path / "out")
    assert os.readlink(tmp_path / "out/data/two") == "one"
    assert os.readlink(tmp_path / "out/folder") == "data"
    assert os.readlink(tmp_path / "out/dangling") == "later"
    assert (tmp_path / "out/up").read_text() == "echo hi\n"


@given(
    tree=st.dictionaries(
        st.lists(
            st.text("abcß0123456789àéîõü中文 +'$", min_size=1, max_size=9),
            min_size=1,
            max_size=3,
        ).map(lambda parts: "/".join(f"{depth}{part}" for depth, part in enumerate(parts, 1)) + ".txt"),
        st.binary(max_size=2000),
        min_size=1,
        max_size=12,
    )
)
@hypothesis_settings(max_examples=40, deadline=None)
def test_a_tree_comes_out_as_it_went_in(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("tree")
    job = folder / "job"
    for path, content in tree.items():
        place = job / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    store = FolderStore(folder / "objects")
    staged = stage(job, (), store)
    store.get_file(staged.key, folder / "a.tar.gz")
    extracted = extract(folder / "a.tar.gz", folder / "out")
    assert {path.relative_to(folder / "out").as_posix() for path in extracted.files} == {
        path.relative_to(job).as_posix() for path in job.rglob("*") if path.is_file()
    }
    for path in extracted.files:
        assert path.read_bytes() == (job / path.relative_to(folder / "out")).read_bytes()


def test_looking_writes_nothing(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(job, ".env")
    before = {path: path.stat().st_mtime_ns for path in job.parent.rglob("*")}
    manifest = inspect(job)
    assert {path: path.stat().st_mtime_ns for path in job.parent.rglob("*")} == before
    assert (manifest.files, manifest.size_bytes, manifest.secrets) == (1, 8, (".env",))


# --- what stays behind


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (".git/config", Why.ALWAYS),
        ("sub/.git/config", Why.ALWAYS),
        (".hg/store", Why.ALWAYS),
        (".svn/entries", Why.ALWAYS),
        ("sub/__pycache__/a.pyc", Why.ALWAYS),
        (".pytest_cache/v", Why.ALWAYS),
        (".mypy_cache/v", Why.ALWAYS),
        (".ruff_cache/v", Why.ALWAYS),
        ("web/node_modules/a/b.js", Why.ALWAYS),
        (".ipynb_checkpoints/a.ipynb", Why.ALWAYS),
        (".tallygate/objects/a", Why.ALWAYS),
        ("cloud_jobs.db", Why.ALWAYS),
        ("cloud_jobs.db-wal", Why.ALWAYS),
        (".venv/bin/python", Why.ENVIRONMENT),
        ("venv/bin/python", Why.ENVIRONMENT),
        ("my-own-name/pyvenv.cfg", Why.ENVIRONMENT),
        ("conda/conda-meta/history", Why.ENVIRONMENT),
        (".env", Why.CONFIDENTIAL),
        ("sub/.env.production", Why.CONFIDENTIAL),
        (".ENV", Why.CONFIDENTIAL),
        ("server.pem", Why.CONFIDENTIAL),
        ("SERVER.PEM", Why.CONFIDENTIAL),
        ("tls/server.key", Why.CONFIDENTIAL),
        ("id_rsa", Why.CONFIDENTIAL),
        ("id_rsa.pub", Why.CONFIDENTIAL),
        ("id_ed25519_work", Why.CONFIDENTIAL),
        (".aws/credentials", Why.CONFIDENTIAL),
        (".ssh/known_hosts", Why.CONFIDENTIAL),
        (".netrc", Why.CONFIDENTIAL),
        (".pgpass", Why.CONFIDENTIAL),
        ("credentials.json", Why.CONFIDENTIAL),
        ("passwords.kdbx", Why.CONFIDENTIAL),
        (".git-credentials", Why.CONFIDENTIAL),
        (".docker/config.json", Why.CONFIDENTIAL),
        (".config/gcloud/x.db", Why.CONFIDENTIAL),
        ("terraform.tfstate", Why.CONFIDENTIAL),
    ],
)
def test_what_never_goes_along(job: Path, path: str, why: Why) -> None:
    """Whatever is excluded or not by the person who submits."""
    write(job, path)
    for exclude in ((), ("*.log",)):
        manifest = inspect(job, exclude)
        assert taken(job, *exclude) == {"run.sh"}
        (skipped,) = manifest.skipped
        assert path.startswith(skipped.path)
        assert skipped.why is why
        assert manifest.secrets == ((skipped.path,) if why is Why.CONFIDENTIAL else ())


@pytest.mark.parametrize("header", KEY_HEADERS)
def test_a_private_key_is_known_by_its_content_too(job: Path, header: str) -> None:
    write(job, "notes.txt", f"some words\n{header}\nabc\n")
    manifest = inspect(job)
    assert manifest.secrets == ("notes.txt",)
    assert {entry.path for entry in manifest.entries} == {"run.sh"}


@pytest.mark.parametrize(
    "content",
    [b"", b"-----BEGIN PUBLIC KEY-----", b"PRIVATE KEY", b"\0" * 100, b"-----BEGIN CERTIFICATE-----", b"-----BEGIN"],
)
def test_other_content_is_no_secret(content: bytes) -> None:
    assert not holds_private_key(content)


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("*.log", {"run.sh", "data/raw/a.csv", "data/b.csv"}),
        ("data", {"run.sh", "a.log"}),
        ("data/", {"run.sh", "a.log"}),
        ("./data/raw", {"run.sh", "a.log", "data/b.csv"}),
        ("data/*.csv", {"run.sh", "a.log"}),
        ("**/a.csv", {"run.sh", "a.log", "data/b.csv"}),
        ("raw", {"run.sh", "a.log", "data/b.csv"}),
        ("RAW", {"run.sh", "a.log", "data/b.csv", "data/raw/a.csv"}),
        ("[ab].*", {"run.sh"}),
    ],
)
def test_patterns_match_names_and_paths_of_files_and_folders(job: Path, pattern: str, left: set[str]) -> None:
    for path in ("a.log", "data/raw/a.csv", "data/b.csv"):
        write(job, path)
    assert taken(job, pattern) == left


def test_configured_patterns_and_given_ones_add_up(job: Path) -> None:
    for path in ("a.log", "b.csv", "c.txt", ".git/x"):
        write(job, path)
    found = inspect(job, ("*.csv",), limits=Limits(exclude=("*.log",)))
    assert {entry.path for entry in found.entries} == {"c.txt", "run.sh"}


@pytest.mark.parametrize("pattern", ["", "/", "./", " ", "a\0b"])
def test_a_pattern_that_says_nothing_is_refused(job: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="pattern"):
        inspect(job, (pattern,))


def test_a_link_or_pipe_that_is_excluded_is_no_obstacle(job: Path) -> None:
    (job / "out").symlink_to("/etc")
    os.mkfifo(job / "pipe")
    assert taken(job, "out", "pipe") == {"run.sh"}


# --- what is refused


def fifo(job: Path) -> str:
    os.mkfifo(job / "pipe")
    return "pipe is a pipe"


def unix_socket(job: Path) -> str:
    here = os.getcwd()
    os.chdir(job)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket")
    finally:
        os.chdir(here)
    return "socket is a socket"


def absolute_link(job: Path) -> str:
    (job / "passwords").symlink_to("/etc/passwd")
    return "passwords links to /etc/passwd"


def link_up(job: Path) -> str:
    (job / "deep").mkdir()
    (job / "deep/up").symlink_to("../../other")
    return "deep/up links to ../../other, outside"


def link_through_a_link(job: Path) -> str:
    """By its words it stays inside; by way of the other link it does not."""
    (job / "deep").mkdir()
    (job / "deep/top").symlink_to("..")
    (job / "deep/sly").symlink_to("top/../outside")
    return "deep/sly links to top/../outside, outside"


def absolute_link_inside(job: Path) -> str:
    (job / "same").symlink_to(job / "run.sh")
    return "same links to"


def newline(job: Path) -> str:
    write(job, "a\nb")
    return "has a control character"


def escape_sequence(job: Path) -> str:
    write(job, "a\x1b[31mb")
    return "has a control character"


def bidi(job: Path) -> str:
    write(job, "photo_\u202egpj.exe")
    return "direction of writing"


def not_utf8(job: Path) -> str:
    with open(os.path.join(os.fsencode(job), b"caf\xe9"), "w"):
        pass
    return "not named in UTF-8"


def case_twins(job: Path) -> str:
    write(job, "Makefile")
    write(job, "makefile")
    return "Makefile and makefile differ only in case"


def unicode_twins(job: Path) -> str:
    write(job, "caf\u00e9")
    write(job, "cafe\u0301")
    return "differ only in case or in how their letters are composed"


def nothing(job: Path) -> str:
    (job / "run.sh").unlink()
    return "holds nothing to stage"


def only_secrets(job: Path) -> str:
    (job / "run.sh").rename(job / ".env")
    return "holds nothing to stage; 1 entries stay behind"


REFUSED: list[Callable[[Path], str]] = [
    fifo, unix_socket, absolute_link, link_up, link_through_a_link, absolute_link_inside, newline, escape_sequence, bidi,
    not_utf8, case_twins, unicode_twins, nothing, only_secrets,
]  # fmt: skip


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_cannot_be_staged_is_refused_in_one_sentence_with_a_cure(
    job: Path, store: FolderStore, make: Callable[[Path], str]
) -> None:
    words = make(job)
    for attempt in (lambda: inspect(job), lambda: stage(job, (), store)):
        with pytest.raises(StagingRefused) as caught:
            attempt()
        assert words in caught.value.message
        assert caught.value.cure
        assert caught.value.message.isprintable()
    assert list(store.list()) == []


def test_a_pipe_is_refused_without_waiting_for_a_writer(job: Path) -> None:
    os.mkfifo(job / "pipe")
    began = time.monotonic()
    with pytest.raises(StagingRefused):
        inspect(job)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("path", "words"), [("gone", "There is no directory"), ("job/run.sh", "is a file, not a directory")]
)
def test_a_place_that_is_no_directory_is_said_to_be_none(job: Path, path: str, words: str) -> None:
    with pytest.raises(StagingRefused, match=words):
        inspect(job.parent / path)


def test_a_job_directory_may_be_named_by_a_link(job: Path, store: FolderStore) -> None:
    (job.parent / "link").symlink_to(job)
    assert stage(job.parent / "link", (), store).digest == stage(job, (), store).digest


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(files=3), "more than 3 files"),
        (Limits(size_bytes=100), "more than 100 bytes"),
        (Limits(looked_at=4), "more than 4 entries"),
        (Limits(depth=2), "more than 2 deep"),
    ],
)
def test_limits_hold_while_the_directory_is_walked(job: Path, limits: Limits, words: str) -> None:
    for number in range(5):
        write(job, f"a/b/c/{number}", "x" * 30)
    with pytest.raises(StagingRefused, match=words) as caught:
        inspect(job, limits=limits)
    assert caught.value.cure


def test_a_sparse_terabyte_is_refused_at_once(job: Path) -> None:
    with open(job / "huge", "wb") as file:
        file.truncate(2**40)
    began = time.monotonic()
    with pytest.raises(StagingRefused, match="more than 2,000,000,000 bytes"):
        inspect(job)
    assert time.monotonic() - began < 5


def test_left_out_folders_are_not_entered(job: Path) -> None:
    for number in range(50):
        write(job, f"node_modules/{number}/x")
    inspect(job, limits=Limits(looked_at=5))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_cannot_be_read_is_named(job: Path, kind: str) -> None:
    place = write(job, "secret/data") if kind == "folder" else write(job, "data")
    (place.parent if kind == "folder" else place).chmod(0)
    program = (
        "import os, sys; from pathlib import Path; from tallygate.jobs.staging import inspect\n"
        "from tallygate.errors import StagingRefused\n"
        "os.getuid() or os.seteuid(65534)\n"
        "try: inspect(Path(sys.argv[1]))\n"
        "except StagingRefused as refusal: print(refusal.message); print(refusal.cure)\n"
    )
    for folder in (job, *job.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o755)
    answer = subprocess.run([sys.executable, "-c", program, str(job)], capture_output=True, text=True, check=True)
    (place.parent if kind == "folder" else place).chmod(0o700)
    name = "secret" if kind == "folder" else "data"
    message, cure = answer.stdout.splitlines()
    assert message == f"{name} cannot be read: Permission denied"
    assert f"--exclude {name}" in cure


# --- what changes while it is read


@pytest.mark.parametrize(
    "change", ["grows", "shrinks", "replaced", "removed", "becomes a link", "folder becomes a link"]
)
def test_a_file_that_changes_meanwhile_is_refused(
    job: Path, store: FolderStore, change: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The change happens after the look and before the file is read."""
    place = write(job, "data/file", "x" * 1000)
    look = staging.inspect
    outside = write(tmp_path, "outside/file", "x" * 1000)

    def look_and_change(*arguments: object, **more: object) -> staging.Manifest:
        manifest = look(*arguments, **more)  # type: ignore[arg-type]
        if change == "grows":
            place.write_text("x" * 1001)
        elif change == "shrinks":
            place.write_text("")
        elif change == "replaced":
            place.with_name("new").write_text("y" * 1000)
            place.with_name("new").replace(place)
        elif change == "removed":
            place.unlink()
        elif change == "becomes a link":
            place.unlink()
            place.symlink_to(outside)
        else:
            shutil.rmtree(place.parent)
            place.parent.symlink_to(outside.parent)
        return manifest

    monkeypatch.setattr(staging, "inspect", look_and_change)
    with pytest.raises(StagingRefused, match=r"data/file (changed while it was read|cannot be read)"):
        stage(job, (), store)
    assert list(store.list()) == []


def test_a_file_that_changes_under_the_very_read_is_refused(job: Path, store: FolderStore) -> None:
    """A writer changes the file again and again, its length staying the same."""
    place = write(job, "data", "a" * 3_000_000)
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\nwith open(sys.argv[1], 'r+b') as f:\n while True: f.seek(0); f.write(b'b' * 3000000); f.flush()",
            str(place),
        ]
    )
    try:
        time.sleep(0.3)
        with pytest.raises(StagingRefused, match="data changed while it was read"):
            stage(job, (), store)
    finally:
        writer.kill()
        writer.wait()
    assert list(store.list()) == []
