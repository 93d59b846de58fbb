"""``tallygate demo``: what it prints where, what it leaves behind, and that every command it offers works on that."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tallygate.cli.demo import program_name
from tallygate.store.jobs import JobRepository
from tallygate.store.migrate import open_store
from tallygate.times import SystemClock

ROOT = Path(__file__).resolve().parents[2]


def environment(**more: str) -> dict[str, str]:
    """This environment without any setting of ours or of colours."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TALLYGATE_", "DB_", "AWS_", "GCP_", "AZURE_", "COLUMNS"))
        and name not in ("NO_COLOR", "CLOUD_SCHEDULER_DB", "DATABASE_URL")
    }
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tallygate", "demo", *arguments]


@dataclass(frozen=True)
class Left:
    """What a demonstration printed into a pipe, and the folder that it filled."""

    out: str
    folder: Path

    @property
    def commands(self) -> list[str]:
        return re.findall(r"^  python -m tallygate (.+)$", self.out, re.MULTILINE)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """One month, told into a pipe by a process of its own."""
    here = tmp_path_factory.mktemp("left")
    done = subprocess.run(
        command("--folder", "try it"), cwd=here, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    return Left(done.stdout, here / "try it")


@pytest.fixture
def copied(left: Left, here: Path) -> Path:
    """A copy of that folder, to do something to."""
    shutil.copytree(left.folder, here / "demo")
    return here / "demo"


# --- what is printed


def test_a_pipe_gets_the_story_plain_and_within_eighty_columns(left: Left) -> None:
    lines = left.out.splitlines()
    assert len(lines) > 150
    assert "\x1b" not in left.out
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line != line.rstrip()]


def test_the_story_says_who_did_what_and_what_it_cost(left: Left) -> None:
    first = (datetime.now(UTC) - timedelta(days=29)).date()
    assert left.out.startswith(f"{first:%A}, {first.day} {first:%B}\n  08:30 esra   sets up budget lab: $40.00\n")
    assert re.search(r"^  09:05 anna   segment-1   held \$\d+\.\d+ until 12:05$", left.out, re.MULTILINE)
    assert re.search(r"watch  segment-1   completed: metered \$\d+\.\d+ for 1 h 3\d min", left.out)
    assert "bills  final: " in left.out
    assert left.out.count("The jars after week ") == 4


def test_it_ends_with_the_truth_and_the_ledger_side_by_side(left: Left) -> None:
    truth = re.search(r"^ +([\d,]+) nanos metered by the world$", left.out, re.MULTILINE)
    spent = re.search(r"^  = +([\d,]+) nanos spent in the ledger$", left.out, re.MULTILINE)
    nobodys = re.search(r"^  \+ +([\d,]+) nanos on lines that name no job", left.out, re.MULTILINE)
    assert truth is not None
    assert spent is not None
    whole, part, rest = (int(each[1].replace(",", "")) if each else 0 for each in (truth, spent, nobodys))
    assert whole == part + rest > 0


def test_nothing_but_the_database_and_its_state_is_left_behind(left: Left) -> None:
    assert sorted(path.name for path in left.folder.iterdir()) == [".tallygate", "cloud_jobs.db"]
    assert sorted(path.name for path in left.folder.parent.iterdir()) == [left.folder.name]


def on_a_terminal(folder: Path, *arguments: str, columns: int = 80, **more: str) -> tuple[str, float]:
    """What a person would see, and how long it took."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    began = time.monotonic()
    running = subprocess.Popen(
        command(*arguments), cwd=folder, env=environment(TERM="xterm", **more), stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        seen += piece
    os.close(master)
    assert running.wait(timeout=60) == 0
    return seen.decode().replace("\r\n", "\n"), time.monotonic() - began


def test_a_terminal_gets_colour_and_a_pace_that_can_be_followed(here: Path) -> None:
    seen, seconds = on_a_terminal(here, "--pace", "0.02")
    assert "\x1b[1m" in seen
    assert "\x1b[32mcompleted: " in seen
    lines = [re.sub(r"\x1b\[\d+m", "", line) for line in seen.splitlines()]
    assert max(map(len, lines)) <= 80
    assert seconds > 0.02 * sum(line.startswith("  ") for line in lines) / 4


def test_a_terminal_gets_no_colour_where_none_is_wanted_and_no_pause_when_in_a_hurry(here: Path) -> None:
    seen, seconds = on_a_terminal(here, "--fast", "--pace", "9", columns=60, NO_COLOR="1")
    assert "\x1b" not in seen
    assert seconds < 60
    assert "completed: metered" in seen


def test_for_programs_there_is_one_object_and_nothing_else(here: Path) -> None:
    done = subprocess.run(
        command("--json", "--seed", "3", "--until", "2026-03-01"),
        cwd=here, env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["used_nanos"] == found["spent_nanos"] + found["nobodys_nanos"] > 0
    assert (found["seed"], found["first_day"], found["last_day"]) == (3, "2026-02-01", "2026-03-01")
    assert found["final_jobs"] == sum(found["jobs"].values())
    assert found["database"] == "demo/cloud_jobs.db"
    days = (datetime.now(UTC).date() - date(2026, 2, 1)).days + 1
    assert f"tallygate report trends --days {days}" in found["commands"]


# --- every command that is offered

OFFERED = {
    "jobs list": ("train-2", "segment-1", "final", "AZURE"),
    "jobs show": ("Charged to:", "Attempt 1:", "interrupted", "requeued", "completed"),
    "report job": ("Held at launch", "Final", "spot_compute", "storage", "network"),
    "report trends --days 30": ("28 of them on a bill", "of which $0.00 may still move", "AWS", "GCP", "AZURE"),
    "report budget": ("Success rate        100.0 percent", "lab/genomics", "Newest jobs with a budget"),
    "report compare": ("Cheapest", "Most used", "AWS", "GCP", "AZURE"),
    "budget list": ("lab/imaging", "lab/nightly", "day"),
    "budget show": ("Budget:    lab", "hard: refuses beyond the limit", "Held:      $0.00"),
    "budget history": ("authorize", "capture", "release", "bill: final"),
    "budget verify": ("agree", "head "),
    "costs": ("28 asked for: 28 on the bill, 0 not yet, 0 failed", "align-6"),
    "report trends --days 30 --json": ('"confirmed_job_count": 28', '"AZURE"'),
}


def test_every_command_that_is_offered_is_tried_here(left: Left) -> None:
    tried = {name for name in OFFERED for command in left.commands if command.startswith(name)}
    assert tried == set(OFFERED)
    assert len(left.commands) == len(OFFERED)
    assert "  export CLOUD_SCHEDULER_DB='try it/cloud_jobs.db'\n" in left.out


@pytest.mark.parametrize("name", OFFERED)
def test_every_command_that_is_offered_works_on_what_is_left_behind(
    name: str, left: Left, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_SCHEDULER_DB", str(left.folder / "cloud_jobs.db"))
    typed = min((each for each in left.commands if each.startswith(name)), key=len)
    answer = cli("tallygate", *typed.split())
    assert answer.code == 0
    for words in OFFERED[name]:
        assert words in answer.out
    assert "WARNING" not in answer.err
    if "--json" in typed:
        assert answer.err == ""


@pytest.mark.parametrize(
    "typed",
    ["jobs list", "jobs show train-2", "report job train-2", "report trends", "report budget", "report compare",
     "budget list", "budget show lab", "budget history lab", "budget verify", "costs --batch"],
)  # fmt: skip
def test_every_one_of_them_answers_programs_too(
    typed: str, left: Left, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_SCHEDULER_DB", str(left.folder / "cloud_jobs.db"))
    answer = cli("tallygate", *typed.split(), "--json")
    assert (answer.code, answer.err) == (0, "")
    assert json.loads(answer.out)


@pytest.mark.parametrize(
    ("door", "typed", "words"),
    [
        ("job_manager.py", "list --limit 50", "segment-1"),
        ("job_manager.py", "list --provider AWS", "train-2"),
        ("job_manager.py", "show render-1", "its price passed the ceiling"),
        ("cloud_cost_report.py", "trends --days 30", "28 of them on a bill"),
        ("cloud_cost_report.py", "job align-1", "Final"),
        ("cost_tracker.py", "--batch", "0 not yet, 0 failed"),
        ("cost_tracker.py", "--job-id align-1", "1 on the bill"),
    ],
)
def test_the_documented_programs_work_on_it_as_well(
    door: str, typed: str, words: str, left: Left, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_SCHEDULER_DB", str(left.folder / "cloud_jobs.db"))
    answer = cli(door, *typed.split())
    assert answer.code == 0
    assert words in answer.out
    assert "WARNING" not in answer.err


# --- what is in the way


def test_a_database_of_somebody_else_is_never_touched(here: Path, cli: Any) -> None:
    database = here / "demo" / "cloud_jobs.db"
    database.parent.mkdir()
    open_store(str(database), clock=SystemClock()).close()
    before = database.read_bytes()
    for flags in ((), ("--again",)):
        answer = cli("tallygate", "demo", *flags)
        assert (answer.code, answer.out) == (2, "")
        assert "--folder" in answer.err
        assert database.read_bytes() == before


def test_a_former_demonstration_is_replaced_only_when_asked(copied: Path, cli: Any) -> None:
    before = (copied / "cloud_jobs.db").read_bytes()
    (copied / "notes.txt").write_text("mine")
    answer = cli("tallygate", "demo")
    assert (answer.code, answer.out) == (2, "")
    assert "--again" in answer.err
    assert (copied / "cloud_jobs.db").read_bytes() == before
    answer = cli("tallygate", "demo", "--again", "--json", "--seed", "3")
    assert (answer.code, answer.err) == (0, "")
    assert (copied / "cloud_jobs.db").read_bytes() != before
    assert sorted(path.name for path in copied.iterdir()) == [".tallygate", "cloud_jobs.db", "notes.txt"]


def test_one_that_somebody_has_worked_with_since_is_kept(copied: Path, cli: Any) -> None:
    database = open_store(str(copied / "cloud_jobs.db"), clock=SystemClock())
    jobs = JobRepository(database)
    from dataclasses import replace

    jobs.add(
        replace(jobs.find("align-1"), id="01zzzzzzzzzzzzzzzzzzzzzzzz", name="mine", state=jobs.find("align-1").state)
    )
    database.close()
    answer = cli("tallygate", "demo", "--again")
    assert (answer.code, answer.out) == (2, "")
    assert "nothing was changed" in answer.err


def test_a_former_one_without_its_database_is_in_nobodys_way(copied: Path, cli: Any) -> None:
    (copied / "cloud_jobs.db").unlink()
    answer = cli("tallygate", "demo", "--again", "--json")
    assert (answer.code, answer.err) == (0, "")
    assert (copied / "cloud_jobs.db").exists()


def test_broken_off_it_leaves_nothing_in_the_way(here: Path) -> None:
    master, slave = pty.openpty()
    running = subprocess.Popen(
        command("--pace", "0.5"),
        cwd=here,
        env=environment(TERM="xterm"),
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
    )
    os.close(slave)
    seen = b""
    while b"esra" not in seen:
        seen += os.read(master, 4096)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    os.close(master)
    assert running.returncode == 130
    assert b"No database was left behind" in said
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "flags",
    [
        ("--until", "tomorrow"),
        ("--until", "2999-01-01"),
        ("--until", "1999-01-01"),
        ("--seed", "-1"),
        ("--pace", "fast"),
        ("--pace", "11"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_cure(flags: tuple[str, str], here: Path, cli: Any) -> None:
    answer = cli("tallygate", "demo", *flags)
    assert (answer.code, answer.out) == (2, "")
    assert flags[0] in answer.err
    assert len(answer.err.splitlines()) >= 2
    assert list(here.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_refused(here: Path, cli: Any) -> None:
    (here / "demo").write_text("mine")
    answer = cli("tallygate", "demo")
    assert (answer.code, answer.out) == (2, "")
    assert (here / "demo").read_text() == "mine"


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("/usr/lib/somewhere/tallygate/__main__.py", "python -m tallygate"),
        ("tallygate", "tallygate"),
        ("my venv/bin/tallygate", "'my venv/bin/tallygate'"),
        (".venv/bin/tallygate", ".venv/bin/tallygate"),
    ],
)
def test_the_commands_are_written_as_the_program_was_called(typed: str, shown: str, here: Path) -> None:
    assert program_name(typed) == shown
