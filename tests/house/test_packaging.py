"""What is installed: extras, requirements and lock agree, and a wheel carries what is not Python."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def package_of(requirement: str) -> str:
    """``psycopg[binary]>=3.2`` is ``psycopg``, in the registry's own spelling."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def declared() -> set[str]:
    everything = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    return {package_of(line) for line in everything} - {"tallygate"}


def test_the_lock_covers_every_declared_dependency() -> None:
    locked = {package_of(line) for line in LOCK.splitlines() if re.match(r"[a-z0-9]", line)}
    assert declared() <= locked


def test_every_locked_version_is_exact_and_has_hashes() -> None:
    entries = re.split(r"\n(?=[a-z0-9])", LOCK.strip())
    assert len(entries) >= len(declared())
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==[^ ]+ ", entry), entry.splitlines()[0]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry.splitlines()[0]


def test_the_lock_names_no_place_to_download_from() -> None:
    assert not re.search(r"https?:|file:|//|--(extra-)?index|--find-links|^-[ife]\b", LOCK, re.MULTILINE)


def test_requirements_hold_the_whole_product() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert "-e ." in lines
    named = {re.sub(r"\s", "", line) for line in lines if line != "-e ."}
    wanted = {line for extra, lines in EXTRAS.items() if extra not in ("all", "dev") for line in lines}
    assert named >= {*PROJECT["dependencies"], *wanted}


def test_the_extra_all_holds_every_room() -> None:
    (everything,) = EXTRAS["all"]
    rooms = re.fullmatch(r"tallygate\[([a-z,]+)\]", everything)
    assert rooms
    assert set(rooms[1].split(",")) == set(EXTRAS) - {"all", "dev"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    # Built where we are, by the backend that is already installed: nothing is fetched.
    build = (
        "import sys; from hatchling.builders.wheel import WheelBuilder as Wheel;"
        "list(Wheel(sys.argv[1]).build(directory=sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", build, str(ROOT), str(folder)], check=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_carries_migrations_queries_and_scripts(wheel: zipfile.ZipFile) -> None:
    inside = set(wheel.namelist())
    schema = {f"tallygate/{path.relative_to(ROOT)}" for path in (ROOT / "schema").glob("*/*.sql")}
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tallygate").rglob("*.*")
        if "__pycache__" not in str(path)
    }
    assert len(schema) >= 6
    assert schema | package <= inside


def test_the_wheel_carries_nothing_else(wheel: zipfile.ZipFile) -> None:
    assert {name.split("/")[0] for name in wheel.namelist()} <= {"tallygate", f"tallygate-{version()}.dist-info"}


def version() -> str:
    found = re.search(r'__version__ = "([^"]+)"', (ROOT / "tallygate" / "__init__.py").read_text(encoding="utf-8"))
    assert found
    return found[1]
