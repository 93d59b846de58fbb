"""What every object store must do. A test module inherits ``ObjectStoreContract`` and offers the fixture ``store``."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tallygate.errors import ObjectMissing, UsageError
from tallygate.objectstore import open_store
from tallygate.objectstore.base import Access, ObjectStore

ESCAPES = ["", "/", "/etc/passwd", "..", "../up", "a/../b", "a//b", "a/", "./a", ".hidden", "a/.hidden", "a\\b", "a\0b",
           "a\nb", "-" * 201, "a/" * 300 + "a", "ä", "a b", "%2e%2e/up", "~"]  # fmt: skip


class ObjectStoreContract:
    """Promises of an object store. ``store`` is a new one, empty."""

    def test_what_was_put_comes_back(self, store: ObjectStore) -> None:
        store.put_bytes("jobs/1/result.json", b"{}\n")
        assert store.get_bytes("jobs/1/result.json") == b"{}\n"
        assert store.size("jobs/1/result.json") == 3

    def test_a_file_goes_and_comes_back_whole(self, store: ObjectStore, tmp_path: Path) -> None:
        content = bytes(range(256)) * 9000
        (tmp_path / "one").write_bytes(content)
        store.put_file("inputs/one.bin", tmp_path / "one")
        store.get_file("inputs/one.bin", tmp_path / "two")
        assert (tmp_path / "two").read_bytes() == content

    def test_a_second_put_replaces_the_first(self, store: ObjectStore) -> None:
        store.put_bytes("a", b"long content")
        store.put_bytes("a", b"short")
        assert store.get_bytes("a") == b"short"

    def test_an_empty_object_is_an_object(self, store: ObjectStore) -> None:
        store.put_bytes("empty", b"")
        assert store.exists("empty")
        assert store.size("empty") == 0
        assert store.get_bytes("empty") == b""

    def test_a_part_can_be_read(self, store: ObjectStore) -> None:
        """Logs are followed by reading on from where the last look ended."""
        store.put_bytes("log", b"0123456789")
        assert store.get_bytes("log", start=4, bytes_max=3) == b"456"
        assert store.get_bytes("log", start=8) == b"89"
        assert store.get_bytes("log", start=10) == b""
        assert store.get_bytes("log", start=99) == b""

    def test_what_is_not_there_is_missed_by_name(self, store: ObjectStore, tmp_path: Path) -> None:
        with pytest.raises(ObjectMissing, match="nothing/here"):
            store.get_bytes("nothing/here")
        with pytest.raises(ObjectMissing, match="nothing/here"):
            store.get_file("nothing/here", tmp_path / "here")
        assert not store.exists("nothing/here")
        assert store.size("nothing/here") is None
        assert list(tmp_path.glob("*here*")) == []

    def test_a_folder_of_objects_is_not_an_object(self, store: ObjectStore) -> None:
        store.put_bytes("jobs/1/log", b"x")
        assert not store.exists("jobs")
        assert not store.exists("jobs/1")
        with pytest.raises(ObjectMissing):
            store.get_bytes("jobs/1")

    def test_deleting_twice_is_quiet(self, store: ObjectStore) -> None:
        store.put_bytes("a/b", b"x")
        store.delete("a/b")
        store.delete("a/b")
        store.delete("never/was")
        assert not store.exists("a/b")

    def test_listing_shows_every_key_below_a_prefix_in_order(self, store: ObjectStore) -> None:
        for key in ("jobs/2/log", "jobs/10/log", "jobs/1/log", "inputs/z", "jobs/1/result.json"):
            store.put_bytes(key, key.encode())
        assert [found.key for found in store.list("jobs/1")] == ["jobs/1/log", "jobs/1/result.json", "jobs/10/log"]
        assert [found.key for found in store.list("jobs/1/")] == ["jobs/1/log", "jobs/1/result.json"]
        assert [found.key for found in store.list("jobs/1/r")] == ["jobs/1/result.json"]
        everything = list(store.list())
        assert [found.key for found in everything] == sorted(found.key for found in everything)
        assert len(everything) == 5
        assert {found.size_bytes for found in everything if found.key == "inputs/z"} == {8}
        assert all(found.modified_at.tzinfo is not None for found in everything)

    def test_an_untouched_store_lists_nothing(self, store: ObjectStore) -> None:
        assert list(store.list()) == []
        assert list(store.list("jobs/")) == []

    @pytest.mark.parametrize("key", ESCAPES)
    def test_no_key_leads_out_of_the_store(self, store: ObjectStore, key: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError):
            store.put_bytes(key, b"x")
        with pytest.raises(UsageError):
            store.get_bytes(key)
        with pytest.raises(UsageError):
            store.delete(key)
        with pytest.raises(UsageError):
            store.sign(key, Access.PUT, seconds=60)

    def test_a_store_is_opened_again_by_its_url(self, store: ObjectStore) -> None:
        store.put_bytes("jobs/1/log", b"x")
        assert open_store(store.url()).get_bytes("jobs/1/log") == b"x"
        assert store.key_of(store.url("jobs/1/log")) == "jobs/1/log"
        with pytest.raises(UsageError):
            store.key_of(store.url() + "-other/jobs/1/log")

    def test_a_failed_put_leaves_the_old_object(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put_bytes("a", b"old")
        with pytest.raises(OSError, match="gone"):
            store.put_file("a", tmp_path / "gone")
        assert store.get_bytes("a") == b"old"
        assert [found.key for found in store.list()] == ["a"]

    def test_readers_never_see_half_an_object(self, store: ObjectStore) -> None:
        """While one writer replaces an object again and again, every reader sees one of its whole contents."""
        contents = [letter * 300_000 for letter in (b"a", b"b")]
        store.put_bytes("torn", contents[0])
        done = threading.Event()

        def write() -> None:
            for turn in range(40):
                store.put_bytes("torn", contents[turn % 2])
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        seen = 0
        while not done.is_set():
            assert store.get_bytes("torn") in contents
            seen += 1
        writer.join()
        assert seen
