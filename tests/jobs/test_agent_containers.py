"""The agent: jobs in containers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from .machines import JOB_ID, Machine, shim

SHELLS = ["dash", "bash"]


@pytest.fixture(params=SHELLS)
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Machine:
    """A machine under each shell."""
    return Machine(tmp_path / "here", shell=request.param)


@pytest.fixture
def one(tmp_path: Path) -> Machine:
    """A machine under the strictest shell, for what does not depend on it."""
    return Machine(tmp_path / "here")


# --- containers


DIGEST = "ghcr.io/you/work@sha256:" + "ab" * 32


def fake_docker(machine: Machine, body: str) -> Path:
    """No daemon can be had in a test: a command of that name that writes down how it was called, then does ``body``."""
    calls = machine.folder / "calls"
    calls.mkdir()
    shim(
        machine,
        "docker",
        f'number=$(ls {calls} | wc -l)\nprintf "%s\\0" "$@" > {calls}/$number\nenv -0 > {machine.folder}/environment\n{body}',
    )
    return calls


def called(calls: Path) -> list[list[str]]:
    return [path.read_text().split("\0")[:-1] for path in sorted(calls.iterdir(), key=lambda path: int(path.name))]


def test_a_container_gets_its_limits_mounts_and_environment_as_data(machine: Machine) -> None:
    machine.image = DIGEST
    machine.environment = {"GREETING": "two\nlines '\"$(id)", "OTHER": "-v /:/host"}
    calls = fake_docker(machine, f"case $1 in image) echo {DIGEST} ;; *) echo inside ;; esac")
    report = machine.run("make the-thing")
    assert report is not None
    assert (report.reason, report.exit_status, report.image) == ("finished", 0, DIGEST)
    assert machine.log() == "inside\n"
    run = called(calls)[0]
    assert run[:2] == ["run", "--rm"]
    assert run[-3:] == [DIGEST, "/bin/sh", "/told-command"]
    pairs = list(pairwise(run))
    assert ("--name", f"tg-test-{JOB_ID}-1") in pairs
    assert ("--memory", "2048m") in pairs
    assert ("--cpus", "1") in pairs
    assert ("-v", f"{machine.work}/outputs:/outputs") in pairs
    assert ("-e", "GREETING") in pairs
    assert not any("lines" in word or "/host" in word for word in run)
    environment = dict(line.split("=", 1) for line in (machine.folder / "environment").read_text().split("\0") if line)
    del environment  # the last call's; the first call's is checked below
    assert (machine.work / "command").read_text() == "make the-thing"


def test_a_containers_environment_is_passed_by_name(one: Machine) -> None:
    one.image = "alpine"
    one.environment = {"GREETING": "two\nlines"}
    fake_docker(one, f'[ "$1" = run ] && printf "%s|" "$GREETING" "$TALLYGATE_OUTPUT_DIR" > {one.folder}/seen')
    one.run("")
    assert (one.folder / "seen").read_text() == "two\nlines|/outputs|"


def test_a_container_without_a_command_runs_what_its_image_says(one: Machine) -> None:
    one.image = DIGEST
    calls = fake_docker(one, "exit 0")
    one.run("")
    assert called(calls)[0][-1] == DIGEST


def test_a_container_that_cannot_be_started_is_said_to_be_so(one: Machine) -> None:
    one.image = DIGEST
    fake_docker(one, "exit 125")
    report = one.run("x")
    assert report is not None
    assert (report.reason, report.detail) == ("setup", "the container could not be started")


def test_a_container_is_removed_at_the_deadline(one: Machine) -> None:
    """The container is no child of the machine's processes; it is removed by name."""
    one.image = DIGEST
    one.seconds = 3
    calls = fake_docker(one, 'case $1 in run) trap "" TERM; while :; do sleep 1; done ;; esac')
    report = one.run("x")
    assert report is not None
    assert report.reason == "deadline"
    assert ["rm", "-f", f"tg-test-{JOB_ID}-1"] in called(calls)


def test_graphics_cards_are_asked_for_by_number(one: Machine) -> None:
    one.image = DIGEST
    one.offer = replace(one.offer, gpus=2)
    calls = fake_docker(one, "exit 0")
    one.run("x")
    run = called(calls)[0]
    assert run[run.index("--gpus") + 1] == "2"
