"""The agent: a machine ends in time, whoever is dead, whatever the clock says; and words from outside reach it."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tallygate.jobs import agent

from .machines import Machine, shim, wait_for

SHELLS = ["dash", "bash"]


@pytest.fixture(params=SHELLS)
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Machine:
    """A machine under each shell."""
    return Machine(tmp_path / "here", shell=request.param)


@pytest.fixture
def one(tmp_path: Path) -> Machine:
    """A machine under the strictest shell, for what does not depend on it."""
    return Machine(tmp_path / "here")


# --- the end


def test_a_job_past_its_deadline_is_asked_then_killed(machine: Machine) -> None:
    """A job that ignores the request to stop is gone at its deadline, with everything it started."""
    machine.seconds = 4
    began = time.monotonic()
    report = machine.run(
        "trap '' TERM; echo going; (trap '' TERM; while :; do sleep 1; done) & while :; do sleep 1; done"
    )
    assert time.monotonic() - began < 4 + 3
    assert report is not None
    assert report.reason == "deadline"
    assert "stopping the job (deadline)" in machine.log()


def test_a_job_that_is_asked_to_stop_has_time_to_save(machine: Machine) -> None:
    machine.seconds = 8
    machine.settings = agent.Settings(grace_seconds=2, upload_seconds=2, log_seconds=1)
    report = machine.run(
        "trap 'sleep 0.5; echo saved > $TALLYGATE_CHECKPOINT_DIR/state; exit 9' TERM; while :; do sleep 0.1; done"
    )
    assert report is not None
    assert (report.reason, report.exit_status, report.checkpoint) == ("deadline", 9, "saved")
    second = machine.next()
    second.run("cat $TALLYGATE_CHECKPOINT_DIR/state")
    assert second.log().splitlines()[-1] == "saved"


def test_the_grace_is_also_for_what_a_dead_shell_has_started(machine: Machine) -> None:
    """The shell that runs the command ends at the request to stop; the program it started is still saving its work."""
    machine.settings = agent.Settings(grace_seconds=3, upload_seconds=2, log_seconds=1)
    program = (
        "import os, signal, sys, time\n"
        "def save(*_):\n"
        "    time.sleep(1)\n"
        "    open(os.environ['TALLYGATE_CHECKPOINT_DIR'] + '/state', 'w').write('saved')\n"
        "    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "open(sys.argv[1], 'w')\n"
        "time.sleep(60)\n"
    )
    (machine.inputs / "work.py").write_text(program)
    process = machine.start(f"python3 work.py {machine.folder}/ready")
    try:
        wait_for("the program", (machine.folder / "ready").exists)
        process.terminate()
        process.wait(timeout=10)
    finally:
        machine.clear(process)
    report = machine.report()
    assert report is not None
    assert (report.reason, report.checkpoint) == ("stopped", "saved")


@pytest.mark.parametrize(("how", "reason"), [(signal.SIGTERM, "stopped"), (signal.SIGHUP, "interrupted")])
def test_who_asks_the_machine_to_stop_is_in_the_report(machine: Machine, how: int, reason: str) -> None:
    process = machine.start("echo x > $TALLYGATE_OUTPUT_DIR/x; echo ready; sleep 60")
    try:
        wait_for("the job", lambda: "ready" in machine.log())
        process.send_signal(how)
        assert process.wait(timeout=10) == 0
    finally:
        machine.clear(process)
    report = machine.report()
    assert report is not None
    assert (report.reason, report.exit_status, report.outputs) == (reason, 143, "saved")


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.03, 0.06, 0.1])
def test_a_stop_at_any_moment_of_the_start_ends_the_machine(one: Machine, moment: float) -> None:
    process = one.start("sleep 60")
    try:
        time.sleep(moment)
        process.terminate()
        process.wait(timeout=10)
    finally:
        one.clear(process)
    report = one.report()
    # Before its first line the shell cannot know what to do with a signal; the machine around it still can.
    assert report is None if process.returncode < 0 else (report is not None and report.reason == "stopped")


def test_a_machine_that_comes_too_late_runs_nothing(machine: Machine) -> None:
    """A launch that was delayed beyond its end is harmless."""
    canary = machine.folder / "canary"
    document = machine.document(f"touch {canary}")
    machine.not_after = datetime.now(UTC) - timedelta(seconds=1)
    late = machine.document(f"touch {canary}")
    assert document != late
    report = machine.run("", document=late)
    assert report is not None
    assert (report.reason, report.exit_status) == ("expired", None)
    assert not canary.exists()
    assert not (machine.work / "job").exists()


def test_the_absolute_end_counts_too(machine: Machine) -> None:
    machine.seconds = 60
    machine.not_after = datetime.now(UTC) + timedelta(seconds=4)
    began = time.monotonic()
    report = machine.run("sleep 60", within=12)
    assert time.monotonic() - began < 9
    assert report is not None
    assert report.reason == "deadline"


@pytest.mark.parametrize("epoch", ["0", "1000000000", "", "nonsense", "-5"])
def test_a_clock_that_was_never_set_does_not_count(one: Machine, epoch: str) -> None:
    """With a clock of 1970 the time since boot ends the machine, and nothing is thought to have expired."""
    shim(one, "date", f"echo {epoch}")
    one.seconds = 3
    report = one.run("echo ran; sleep 60")
    assert report is not None
    assert report.reason == "deadline"
    assert report.started_at is None
    assert "ran" in one.log()


def test_a_clock_years_ahead_ends_the_machine_at_once(one: Machine) -> None:
    shim(one, "date", "echo 4000000000")
    report = one.run("sleep 60", within=5)
    assert report is not None
    assert report.reason == "expired"


@pytest.mark.parametrize("uptime", [None, "", "nonsense\n", "1.2.3 4\n", "-1.00 0\n"])
def test_without_an_uptime_the_clock_counts(one: Machine, uptime: str | None) -> None:
    one.seconds = 3
    place = one.folder / "uptime"
    if uptime is not None:
        place.write_text(uptime)
    one.variables = {"TALLYGATE_UPTIME_FILE": str(place)}
    report = one.run("echo ran; sleep 60")
    assert report is not None
    assert report.reason == "deadline"
    assert "ran" in one.log()


def test_without_any_clock_the_naps_count(one: Machine) -> None:
    one.seconds = 3
    one.variables = {"TALLYGATE_UPTIME_FILE": "/nonexistent"}
    shim(one, "date", "exit 1")
    report = one.run("echo ran; sleep 60")
    assert report is not None
    assert report.reason == "deadline"
    assert "ran" in one.log()


def test_time_asleep_counts(one: Machine) -> None:
    """The clock since boot jumps while the machine is suspended; the deadline does not wait for it to be made up."""
    one.seconds = 100
    one.not_after = datetime.now(UTC) + timedelta(seconds=1000)
    uptime = one.folder / "uptime"
    uptime.write_text("50.00 1.00\n")
    one.variables = {"TALLYGATE_UPTIME_FILE": str(uptime)}
    process = one.start("echo ran; sleep 60")
    try:
        wait_for("the job", lambda: "ran" in one.log())
        uptime.write_text("5000.00 1.00\n")
        process.wait(timeout=10)
    finally:
        one.clear(process)
    report = one.report()
    assert report is not None
    assert report.reason == "deadline"


def test_when_the_agent_is_killed_the_watchdog_ends_the_job(machine: Machine) -> None:
    process = machine.start("echo ready; sleep 60")
    try:
        wait_for("the job", lambda: "ready" in machine.log())
        process.kill()
        process.wait()
        wait_for("the report", lambda: machine.object(agent.RESULT))
        wait_for("all processes are gone", lambda: machine.processes() == [], seconds=5)
    finally:
        machine.clear(process)
    report = machine.report()
    assert report is not None
    assert (report.reason, report.detail) == ("interrupted", "the agent vanished")


def test_when_the_agent_is_stuck_the_watchdog_keeps_the_deadline(machine: Machine) -> None:
    machine.seconds = 4
    process = machine.start("trap '' TERM; echo ready; while :; do sleep 1; done")
    try:
        wait_for("the job", lambda: "ready" in machine.log())
        process.send_signal(signal.SIGSTOP)
        process.wait(timeout=4 + 4)
        wait_for("the report", lambda: machine.object(agent.RESULT), seconds=5)
        wait_for("all processes are gone", lambda: machine.processes() == [], seconds=5)
    finally:
        machine.clear(process)
    report = machine.report()
    assert report is not None
    assert report.reason == "deadline"


def test_when_the_watchdog_is_killed_there_is_another(one: Machine) -> None:
    one.seconds = 6
    process = one.start("echo ready; sleep 60")
    try:
        wait_for("the job", lambda: "ready" in one.log())
        watchdogs = [pid for pid in one.processes() if b"\0watch\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(watchdogs) == 1
        os.kill(watchdogs[0], signal.SIGKILL)
        process.wait(timeout=6 + 5)
        wait_for("the report", lambda: one.object(agent.RESULT), seconds=5)
    finally:
        one.clear(process)
    report = one.report()
    assert report is not None
    assert report.reason == "deadline"


# --- words from outside


def test_a_later_end_is_heeded(one: Machine) -> None:
    one.seconds = 4
    process = one.start("echo ready; sleep 7; echo finished")
    try:
        wait_for("the job", lambda: "ready" in one.log())
        later = int(time.time()) + 60
        (one.work / "control").write_text(f'{{\n  "run_seconds_max": 30,\n  "not_after_epoch": {later}\n}}\n')
        process.wait(timeout=15)
    finally:
        one.clear(process)
    report = one.report()
    assert report is not None
    assert report.reason == "finished"
    assert "finished" in one.log()
    assert one.budget_file()["run_seconds_max"] == 30


def test_an_earlier_end_or_nonsense_is_not(one: Machine) -> None:
    process = one.start("echo ready; sleep 3; echo finished")
    try:
        wait_for("the job", lambda: "ready" in one.log())
        (one.work / "control").write_text('{\n  "run_seconds_max": 1,\n  "not_after_epoch": x$(id)\n}\n')
        process.wait(timeout=10)
    finally:
        one.clear(process)
    assert "finished" in one.log()


def test_a_checkpoint_is_asked_for_by_file_and_by_a_signal_that_hurts_nobody(one: Machine) -> None:
    """Programs that do not listen go on: here the shell around the one that does."""
    (one.inputs / "work.sh").write_text(
        "trap 'echo asked; tallygate-budget notice; exit 0' CONT; echo ready; while :; do sleep 0.1; done\n"
    )
    process = one.start("sh work.sh; echo and on")
    try:
        wait_for("the job", lambda: "ready" in one.log())
        (one.work / "control").write_text('{\n  "checkpoint": 1\n}\n')
        process.wait(timeout=10)
    finally:
        one.clear(process)
    assert one.log() == "ready\nasked\ncheckpoint 1\nand on\n"
