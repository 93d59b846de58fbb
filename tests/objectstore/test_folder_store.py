"""The object store in a folder: the contract, and what a folder could get wrong."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tallygate.errors import ObjectMissing, Unavailable, UsageError
from tallygate.objectstore import open_store
from tallygate.objectstore.base import Access
from tallygate.objectstore.folder import FolderStore

from .contract import ObjectStoreContract


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects of ours"


@pytest.fixture
def store(root: Path) -> FolderStore:
    return FolderStore(root)


class TestFolderStore(ObjectStoreContract):
    """The folder keeps every promise of an object store."""


def test_opening_and_reading_make_nothing(root: Path, store: FolderStore) -> None:
    open_store(store.url())
    assert not store.exists("a")
    assert list(store.list()) == []
    store.sign("a/b", Access.GET, seconds=60)
    store.delete("a")
    assert not root.exists()


def test_only_the_owner_may_read(root: Path, store: FolderStore) -> None:
    before = os.umask(0)
    try:
        store.put_bytes("jobs/1/secret", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "jobs/1").stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "jobs/1/secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("planted", ["jobs", "jobs/1", "jobs/1/log"])
def test_a_planted_link_leads_nowhere(root: Path, store: FolderStore, planted: str, tmp_path: Path) -> None:
    """Neither reading, writing, listing nor removing follows a link inside the store."""
    outside = tmp_path / "outside"
    (outside / "1").mkdir(parents=True)
    for place in (outside / "log", outside / "1" / "log"):
        place.write_text("private")
    (root / planted).parent.mkdir(parents=True)
    (root / planted).symlink_to({"jobs": outside, "jobs/1": outside, "jobs/1/log": outside / "log"}[planted])

    with pytest.raises((ObjectMissing, Unavailable)):
        store.get_bytes("jobs/1/log")
    assert list(store.list()) == []
    if planted == "jobs/1/log":
        store.put_bytes("jobs/1/log", b"ours")
        store.delete("jobs/1/log")
    else:
        with pytest.raises(Unavailable):
            store.put_bytes("jobs/1/log", b"ours")
        with pytest.raises(Unavailable):
            store.delete("jobs/1/log")
        with pytest.raises(Unavailable):
            store.sign("jobs/1/log", Access.PUT, seconds=60)
    assert {place.read_text() for place in (outside / "log", outside / "1" / "log")} == {"private"}


def test_a_pipe_in_an_objects_place_is_refused_without_waiting(root: Path, store: FolderStore) -> None:
    root.mkdir()
    os.mkfifo(root / "log")
    with pytest.raises(ObjectMissing, match="something else"):
        store.get_bytes("log")


def test_a_signed_url_names_a_place_that_is_ready(root: Path, store: FolderStore) -> None:
    url = store.sign("jobs/1/result.json", Access.PUT, seconds=60)
    assert url.isascii()
    assert " " not in url
    Path(unquote(urlsplit(url).path)).write_text("by the machine")
    assert store.get_bytes("jobs/1/result.json") == b"by the machine"


def test_a_writer_killed_half_way_leaves_no_object(root: Path, store: FolderStore) -> None:
    program = (
        "import os, sys; from pathlib import Path; from tallygate.objectstore.folder import FolderStore\n"
        "store = FolderStore(Path(sys.argv[1]))\n"
        "with store._incoming('inputs/a') as target:\n"
        "    target.write(b'half'); target.flush(); os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(root)], check=False)
    assert killed.returncode == -9
    assert not store.exists("inputs/a")
    assert list(store.list()) == []
    store.put_bytes("inputs/a", b"whole")
    assert store.get_bytes("inputs/a") == b"whole"


@pytest.mark.parametrize(
    "url", ["file://host/srv", "file:relative", "file:///srv/../etc", "file:///srv?x=1", "file:///a%00b", "file:///%0a"]
)
def test_a_url_that_is_not_a_folder_here_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_store(url)
    assert "file:///" in caught.value.cure


@pytest.mark.parametrize(("url", "extra"), [("s3://b/p", "aws"), ("gs://b", "gcp"), ("az://c/p", "azure")])
def test_a_clouds_url_says_which_extra_it_comes_with(url: str, extra: str) -> None:
    with pytest.raises(UsageError, match=extra) as caught:
        open_store(url)
    assert f"tallygate[{extra}]" in caught.value.cure
    assert "file://" in caught.value.cure


@pytest.mark.parametrize("url", ["", "objects", "/srv/objects", "ftp://host/x", "C:\\objects", "://"])
def test_other_text_is_told_what_a_store_looks_like(url: str) -> None:
    with pytest.raises(UsageError, match="not the URL") as caught:
        open_store(url)
    assert "file:///" in caught.value.cure


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """A device without room answers as a disk would, and the object is not half there."""
    program = (
        "import resource, signal, sys; from pathlib import Path; from tallygate.objectstore.folder import FolderStore\n"
        "from tallygate.errors import Unavailable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "store = FolderStore(Path(sys.argv[1]))\n"
        "try: store.put_bytes('a', b'x' * 5000)\n"
        "except Unavailable as error: print(error.message)\n"
        "print(store.exists('a'), list(store.list()))\n"
    )
    answer = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    first, second = answer.stdout.splitlines()
    assert "Cannot write a" in first
    assert second == "False []"


def test_opening_a_folder_loads_no_cloud_library() -> None:
    program = (
        "import sys; from tallygate.objectstore import open_store; open_store('file:///nowhere')\n"
        "print([name for name in sys.modules if name.startswith(('boto', 'google', 'azure', 'tempfile'))])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
