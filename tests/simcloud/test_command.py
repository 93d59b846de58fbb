"""``tallygate simulate`` as a command: clean answers, honest exit codes, and nothing left behind."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tallygate.cli import simulate as command
from tallygate.errors import CheckFailed
from tallygate.simcloud import bugs
from tallygate.simcloud.known_seeds import KNOWN

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "tallygate", "simulate"]


def run(*arguments: str, here: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--seed", "-1"), "--seed"),
        (("--seed", "1.5"), "--seed"),
        (("--seeds", "0"), "--seeds"),
        (("--seeds", "many"), "--seeds"),
        (("--jobs", "0"), "--jobs"),
        (("--hours", "100000"), "--hours"),
        (("--minutes", "0"), "--minutes"),
        (("--processes", "0"), "--processes"),
        (("--timers", "perhaps"), "--timers"),
        (("--store", "tape"), "--store"),
        (("--watchers", "0"), "--watchers"),
        (("--longest", "1"), "--longest"),
        (("--rate", "crash"), "--rate"),
        (("--rate", "rain=5"), "--rate"),
        (("--rate", "crash=1000001"), "--rate"),
        (("--bug", "no_such_bug", "--seed", "1"), "no_such_bug"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage_and_says_which_option(arguments: tuple[str, ...], named: str) -> None:
    answer = run(*arguments)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert named in answer.stderr
    assert "Traceback" not in answer.stderr


def test_many_seeds_as_json_are_nothing_but_json() -> None:
    answer = run("--seeds", "4", "--jobs", "3", "--json")
    told = json.loads(answer.stdout)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert (told["seeds"], told["broken"], told["interrupted"]) == (4, [], False)
    assert told["counts"]["attempts"] > 0


def test_a_broken_promise_is_exit_code_1_with_a_line_to_replay_and_one_for_the_file(tmp_path: Path) -> None:
    seed, invariant = KNOWN["ends_the_healthy"]
    file = tmp_path / "regressions.txt"
    words = ("--bug", "ends_the_healthy", "--regressions", str(file))
    one = run("--seed", str(seed), *words)
    many = run("--seeds", "1", "--from", str(seed), *words)
    for answer in (one, many):
        assert answer.returncode == 1
        assert f"{invariant} at " in answer.stdout
        assert f"tallygate simulate --seed {seed}" in answer.stdout
    assert file.read_text() == f"{seed}  # {invariant}\n", "one line, however often it breaks"
    assert "1 run appended" in one.stderr
    assert "0 runs appended" in many.stderr


def test_nothing_is_written_unless_asked(tmp_path: Path) -> None:
    seed, _ = KNOWN["ends_the_healthy"]
    assert run("--bug", "ends_the_healthy", "--seed", str(seed), "--store", "file", here=tmp_path).returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told_on_a_terminal_only() -> None:
    seed, invariant = KNOWN["ends_the_healthy"]
    words = ["--seeds", "1", "--from", str(seed), "--bug", "ends_the_healthy"]
    assert run(*words).stderr == ""
    outer, inner = pty.openpty()
    with subprocess.Popen([*PROGRAM, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=inner, text=True) as process:
        os.close(inner)
        process.communicate(timeout=300)
    said = os.read(outer, 65536).decode()
    os.close(outer)
    assert f"{invariant} at " in said


@contextmanager
def running(*arguments: str, place: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_control_c_says_how_far_it_came_and_how_to_go_on(tmp_path: Path) -> None:
    with running("--seeds", "100000", "--jobs", "3", "--hours", "6", place=tmp_path) as process:
        time.sleep(4)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 130
    assert "Traceback" not in err
    assert "Interrupted after " in err
    assert "of 100,000 seeds; go on with --from " in err
    assert "SEEDS" in out
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_surviving_mistake_makes_the_command_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here one that changes nothing: no invariant can catch it."""
    from contextlib import nullcontext

    harmless = bugs.Bug(name="harmless", says="nothing", caught_by=("M1",), plant=nullcontext)
    bugs.all_bugs()
    monkeypatch.setattr(bugs, "BUGS", {"harmless": harmless})
    with pytest.raises(CheckFailed, match="1 of 1 planted mistakes survived: harmless"):
        command._bugs(range(2), 1, as_json=False)
    assert CheckFailed("").exit_code == 1


def test_a_caught_mistake_lets_it_pass(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bugs, "BUGS", {"ends_the_healthy": bugs.all_bugs()["ends_the_healthy"]})
    assert command._bugs(range(5), 1, as_json=False) == 0
    assert "ends_the_healthy" in capsys.readouterr().out
