"""The boundary: every way a command can end has its few lines and its exit code, and never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from tallygate import errors
from tallygate.cli import shell

ROOT = Path(__file__).resolve().parents[2]


def ending(error: BaseException) -> int:
    def program(name: str, arguments: list[str]) -> int:
        raise error

    return shell.run(lambda: program, "program", [])


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (errors.BudgetExceeded("No room", cure="Raise it"), 1, ["ERROR: No room", "  Raise it"]),
        (errors.ConfigError("Bad key"), 2, ["ERROR: Bad key"]),
        (errors.Unavailable("Cloud is away"), 3, ["ERROR: Cloud is away"]),
        (errors.StoreBusy("Locked", cure="Wait"), 4, ["ERROR: Locked", "  Wait"]),
        (errors.EstimateExceedsBudget("one\ntwo\nthree"), 1, ["ERROR: one", "ERROR: two", "ERROR: three"]),
        (shell.Interrupted("Job x may run.", "Look"), 130, ["ERROR: Interrupted. Job x may run.", "  Look"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_is_its_lines_its_cure_and_its_code(
    error: Exception, code: int, lines: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert ending(error) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == lines


def test_a_bug_says_that_it_is_one_and_keeps_its_secrets(capfd: pytest.CaptureFixture[str]) -> None:
    assert ending(ValueError("postgresql://ann:canary@host")) == 70
    err = capfd.readouterr().err
    assert err.startswith("ERROR: This is a bug in Tallygate (ValueError)")
    assert "TALLYGATE_DEBUG=1" in err
    assert "canary" not in err
    assert "Traceback" not in err


def test_debugging_shows_where_it_happened(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYGATE_DEBUG", "1")
    ending(ValueError("x"))
    assert "Traceback" in capfd.readouterr().err


def test_a_missing_package_is_named_with_how_to_install_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert ending(ModuleNotFoundError("No module named 'simplejson'", name="simplejson")) == 2
    assert "simplejson is not installed" in capfd.readouterr().err


def test_a_missing_module_of_ours_is_a_bug(capfd: pytest.CaptureFixture[str]) -> None:
    assert ending(ModuleNotFoundError("No module named 'tallygate.x'", name="tallygate.x")) == 70


def test_control_c_says_how_to_look(capfd: pytest.CaptureFixture[str]) -> None:
    assert ending(KeyboardInterrupt()) == 130
    assert "job_manager.py list" in capfd.readouterr().err


def in_a_process(body: str, **more: Any) -> subprocess.Popen[bytes]:
    program = "import sys\nfrom tallygate.cli import shell\n" + textwrap.dedent(body)
    program += "\nsys.exit(shell.run(lambda: program, 'program', []))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, **more)


def test_a_reader_that_goes_away_ends_the_command_without_a_word() -> None:
    """``list | head -1``: no traceback and no complaint of the interpreter."""
    process = in_a_process(
        """
        def program(name, arguments):
            for number in range(100_000):
                print("a line that somebody might have read", number)
            return 0
        """,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 141


def test_a_full_disk_is_no_bug() -> None:
    with open("/dev/full", "wb") as full:
        process = in_a_process("def program(name, arguments):\n    print('an answer')\n    return 0", stdout=full)
        _, err = process.communicate()
    assert process.returncode == 1
    assert err.startswith(b"ERROR: ")
    assert err.endswith(b"No space left on device\n")
    assert len(err.splitlines()) == 1


def test_a_file_that_cannot_be_written_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert ending(PermissionError(13, "Permission denied", "/results/out.txt")) == 1
    assert capfd.readouterr().err == "ERROR: /results/out.txt: Permission denied\n"


def test_control_c_from_the_keyboard_ends_with_130() -> None:
    process = in_a_process(
        """
        def program(name, arguments):
            print("ready", flush=True)
            sys.stdin.read()
        """,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err.startswith(b"ERROR: Interrupted.")


def test_colour_is_for_terminals_and_only_where_it_is_wanted() -> None:
    """On a terminal the mark is red; with NO_COLOR or into a file it is plain."""

    def shown(**environment: str) -> bytes:
        ours, theirs = os.openpty()
        program = (
            "from tallygate.cli import shell\nfrom tallygate.errors import ConfigError\n"
            "def program(name, arguments):\n    raise ConfigError('x')\n"
            "shell.run(lambda: program, 'program', [])"
        )
        command = [sys.executable, "-c", program]
        everything = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment}
        subprocess.run(command, env=everything, stderr=theirs, check=True)
        os.close(theirs)
        text = os.read(ours, 1000)
        os.close(ours)
        return text

    assert b"\x1b[31mERROR:\x1b[0m x" in shown()
    assert b"\x1b" not in shown(NO_COLOR="1")
    assert b"\x1b" not in shown(TERM="dumb")
