"""Unpacking what a machine sent: all of it or nothing, and nothing outside."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tallygate.errors import StagingRefused
from tallygate.jobs.unpack import UnpackLimits, extract


def member(name: str, content: bytes = b"x", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, b"", type=kind, linkname=target)


def pack(place: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(place, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return place


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    return lambda *members: pack(tmp_path / "output.tar.gz", *members)


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_what_tar_packs_comes_out(tmp_path: Path) -> None:
    """As the agent packs it: names that begin with a dot, long names, executable files, links of both kinds."""
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / ("n" * 200)).write_text("long")
    (source / "tool").write_text("#!")
    (source / "tool").chmod(0o4755)
    os.link(source / "tool", source / "twin")
    (source / "alias").symlink_to("deep")
    (source / "ünï 中").write_text("x")
    subprocess.run(["tar", "-czf", str(tmp_path / "output.tar.gz"), "-C", str(source), "."], check=True)
    extracted = extract(tmp_path / "output.tar.gz", tmp_path / "out")
    assert everything(tmp_path / "out") == everything(source)
    assert {path.name for path in extracted.files} >= {"tool", "twin", "alias", "ünï 中"}
    assert stat.S_IMODE((tmp_path / "out/tool").stat().st_mode) & ~0o777 == 0
    assert os.access(tmp_path / "out/tool", os.X_OK)
    assert extracted.left_out == ()


@pytest.mark.parametrize(
    "name", ["/etc/evil", "../evil", "a/../../evil", "..", "//evil", "a/\x1b[2J", "a\nb", "\u202egpj.exe"]
)
def test_a_name_that_leads_elsewhere_refuses_the_whole_archive(
    archive: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    with pytest.raises(StagingRefused):
        extract(archive(member("good"), member(name)), tmp_path / "out")
    assert everything(tmp_path) == {"output.tar.gz"}


@pytest.mark.parametrize("target", ["/etc", "..", "../..", "a/../../..", ""])
def test_a_link_that_leads_outside_is_left_out(archive: Callable[..., Path], tmp_path: Path, target: str) -> None:
    extracted = extract(archive(member("good"), link("sly", target)), tmp_path / "out")
    assert everything(tmp_path / "out") == {"good"}
    assert extracted.left_out == ("sly",)


def test_a_link_that_leads_outside_by_way_of_another_is_left_out(archive: Callable[..., Path], tmp_path: Path) -> None:
    extracted = extract(archive(member("d/x"), link("d/top", ".."), link("d/sly", "top/../outside")), tmp_path / "out")
    assert extracted.left_out == ("d/sly",)
    assert everything(tmp_path / "out") == {"d", "d/x", "d/top"}


@pytest.mark.parametrize("target", ["/tmp", "inside", "."])
def test_nothing_is_written_through_a_link(archive: Callable[..., Path], tmp_path: Path, target: str) -> None:
    """An archive that plants a link and then a file below it."""
    packed = archive(member("inside/x"), link("door", target), member("door/evil"))
    if target.startswith("/"):
        extract(packed, tmp_path / "out")
        assert (tmp_path / "out/door/evil").exists(), "the link was left out, so the folder is a folder"
        assert not (tmp_path / "out/door").is_symlink()
    else:
        with pytest.raises(StagingRefused, match="door/evil cannot be unpacked"):
            extract(packed, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_hard_link_can_only_name_what_came_before(archive: Callable[..., Path], tmp_path: Path) -> None:
    packed = archive(member("a"), link("b", "a", tarfile.LNKTYPE), link("c", "later", tarfile.LNKTYPE))
    extracted = extract(packed, tmp_path / "out")
    assert extracted.left_out == ("c",)
    assert (tmp_path / "out/b").read_bytes() == b"x"
    with pytest.raises(StagingRefused, match="place outside"):
        extract(archive(link("d", "/etc/passwd", tarfile.LNKTYPE)), tmp_path / "other")


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_what_is_no_file_is_left_out(archive: Callable[..., Path], tmp_path: Path, kind: bytes) -> None:
    extracted = extract(archive(member("odd", b"", type=kind), member("good")), tmp_path / "out")
    assert (extracted.left_out, everything(tmp_path / "out")) == (("odd",), {"good"})


def test_a_name_twice_is_refused(archive: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(StagingRefused, match="twice"):
        extract(archive(member("a"), member("./a")), tmp_path / "out")


# --- bombs


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (UnpackLimits(files=10), "more than 10 entries"),
        (UnpackLimits(size_bytes=1000), "more than 1,000 bytes"),
        (UnpackLimits(depth=3), "more than 3 folders deep"),
    ],
)
def test_an_archive_too_large_is_refused(
    archive: Callable[..., Path], tmp_path: Path, limits: UnpackLimits, words: str
) -> None:
    packed = archive(*(member(f"a/b/c/{number}", b"x" * 100) for number in range(20)))
    with pytest.raises(StagingRefused, match=words):
        extract(packed, tmp_path / "out", limits=limits)
    assert not (tmp_path / "out").exists()


def test_a_bomb_of_zeros_costs_neither_time_nor_disk(archive: Callable[..., Path], tmp_path: Path) -> None:
    packed = archive(member("zeros", b"\0" * 50_000_000))
    assert packed.stat().st_size < 100_000
    with pytest.raises(StagingRefused, match="more than 1,000,000 bytes"):
        extract(packed, tmp_path / "out", limits=UnpackLimits(size_bytes=1_000_000))
    assert everything(tmp_path) == {"output.tar.gz"}


def test_a_header_that_wants_all_memory_is_refused(tmp_path: Path) -> None:
    """A long-name header that announces gigabytes would be read into memory at once."""
    info = tarfile.TarInfo("@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 3_000_000_000
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(200):
            file.write(b"\0" * 1_000_000)
    program = (
        "import resource, sys; from pathlib import Path; from tallygate.jobs.unpack import extract\n"
        "from tallygate.errors import StagingRefused\n"
        "resource.setrlimit(resource.RLIMIT_AS, (600_000_000, 600_000_000))\n"
        "try: extract(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except StagingRefused as refusal: print(refusal.message)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "bomb.tar.gz"), str(tmp_path / "out")]
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "larger than any file name needs" in answer.stdout


# --- damage


def test_an_archive_cut_anywhere_is_refused_whole(archive: Callable[..., Path], tmp_path: Path) -> None:
    content = archive(*(member(f"{number}", os.urandom(3000)) for number in range(5))).read_bytes()
    for cut in (0, 1, 9, 100, len(content) // 2, len(content) - 9, len(content) - 1):
        (tmp_path / "cut.tar.gz").write_bytes(content[:cut])
        with pytest.raises(StagingRefused):
            extract(tmp_path / "cut.tar.gz", tmp_path / "out")
        assert not (tmp_path / "out").exists()
        assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@given(data=st.data())
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_archive_is_refused_or_stays_inside(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any bytes of the tar itself changed: a refusal, or files, and never a foreign error or a file elsewhere."""
    folder = tmp_path_factory.mktemp("damaged")
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for info, content in (member("a/b", b"hello" * 100), link("l", "a"), member("c", b"")):
            tar.addfile(info, io.BytesIO(content))
    content = bytearray(plain.getvalue()[:4096])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "x.tar.gz").write_bytes(gzip.compress(bytes(content)))
    with contextlib.suppress(StagingRefused):
        extract(folder / "x.tar.gz", folder / "out")
    assert {path.name for path in folder.iterdir()} <= {"x.tar.gz", "out"}


NO_ARCHIVES = [b"", b"hello", b"\x1f\x8b", gzip.compress(b"", mtime=0), gzip.compress(b"x" * 2000, mtime=0)]


@pytest.mark.parametrize("content", NO_ARCHIVES)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar.gz").write_bytes(content)
    with pytest.raises(StagingRefused, match="damaged"):
        extract(tmp_path / "x.tar.gz", tmp_path / "out")


# --- into place


def test_files_that_are_there_are_not_touched_unless_asked(archive: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    packed = archive(member("theirs"))
    with pytest.raises(StagingRefused, match="is there already"):
        extract(packed, tmp_path / "out")
    assert everything(tmp_path / "out") == {"mine"}
    extract(packed, tmp_path / "out", replace=True)
    assert everything(tmp_path / "out") == {"theirs"}
    assert everything(tmp_path) == {"output.tar.gz", "out", "out/theirs"}


def test_an_empty_folder_and_a_missing_parent_are_no_obstacle(archive: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    extract(archive(member("a")), tmp_path / "out")
    extract(archive(member("a")), tmp_path / "far/away/out")
    assert (tmp_path / "far/away/out/a").exists()


def test_a_link_in_the_targets_place_is_not_followed(archive: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to("elsewhere")
    with pytest.raises(StagingRefused, match="is there already"):
        extract(archive(member("a")), tmp_path / "out")
    extract(archive(member("a")), tmp_path / "out", replace=True)
    assert everything(tmp_path / "elsewhere") == set()
    assert not (tmp_path / "out").is_symlink()


def test_a_bad_archive_does_not_replace_a_good_folder(archive: Callable[..., Path], tmp_path: Path) -> None:
    extract(archive(member("good")), tmp_path / "out")
    with pytest.raises(StagingRefused):
        extract(archive(member("../evil")), tmp_path / "out", replace=True)
    assert everything(tmp_path / "out") == {"good"}
