"""The agent: what a machine does with its document, under real shells, when all goes well and when nothing does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tarfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import pytest

from tallygate.jobs import agent
from tallygate.money import Money

from .machines import FAST, JOB_ID, Machine, wait_for

SHELLS = ["dash", "bash"]


@pytest.fixture(params=SHELLS)
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Machine:
    """A machine under each shell."""
    return Machine(tmp_path / "here", shell=request.param)


@pytest.fixture
def one(tmp_path: Path) -> Machine:
    """A machine under the strictest shell, for what does not depend on it."""
    return Machine(tmp_path / "here")


def shim(machine: Machine, name: str, body: str) -> None:
    """Put a command of that name before all others."""
    folder = machine.folder / "shims"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)
    if not machine.path.startswith(str(folder)):
        machine.path = f"{folder}:{machine.path}"


def outputs(machine: Machine) -> dict[str, bytes]:
    content = machine.object(agent.OUTPUT)
    assert content is not None
    with tarfile.open(fileobj=BytesIO(content)) as tar:
        files = {member.name.removeprefix("./"): tar.extractfile(member) for member in tar if member.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


# --- the ordinary course


@pytest.mark.parametrize("shell", [["dash", "-n"], ["bash", "-n"], ["bash", "--posix", "-n"]])
def test_the_script_is_a_shell_script(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "agent.sh").write_text(agent.script())
    answer = subprocess.run([*shell, str(tmp_path / "agent.sh")], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_job_runs_among_its_inputs_and_all_it_leaves_comes_back(machine: Machine) -> None:
    report = machine.run(
        "cat input.txt; echo to-stderr >&2; echo 42 > $TALLYGATE_OUTPUT_DIR/answer; mkdir $TALLYGATE_OUTPUT_DIR/.deep\n"
        "echo x > $TALLYGATE_OUTPUT_DIR/.deep/x; exit 3"
    )
    assert report is not None
    assert (report.job_id, report.attempt, report.reason, report.exit_status) == (JOB_ID, 1, "finished", 3)
    assert (report.outputs, report.checkpoint, report.image) == ("saved", "none", None)
    assert report.started_at is not None
    assert report.ended_at is not None
    assert report.started_at <= report.ended_at
    assert 1 <= report.seconds < 10
    assert machine.log() == "from the job directory\nto-stderr\n"
    assert outputs(machine) == {"answer": b"42\n", ".deep/x": b"x\n"}


def test_nothing_of_a_job_outlives_it(machine: Machine) -> None:
    report = machine.run(f"sleep 1000 & (sleep 1000 & sleep 1000) & cp input.txt {machine.folder}/done; exit 0")
    assert report is not None
    assert report.reason == "finished"
    assert (machine.folder / "done").exists()
    wait_for("all processes are gone", lambda: machine.processes() == [], seconds=3)


def test_the_next_attempt_goes_on_from_the_checkpoint(machine: Machine) -> None:
    first = machine.run("echo $TALLYGATE_RESUMED; echo 7 > $TALLYGATE_CHECKPOINT_DIR/state")
    assert first is not None
    assert first.checkpoint == "saved"
    second = machine.next()
    second.run("echo $TALLYGATE_RESUMED $TALLYGATE_ATTEMPT; cat $TALLYGATE_CHECKPOINT_DIR/state")
    assert machine.log() == "0\n"
    assert second.log().splitlines()[-2:] == ["1 2", "7"]
    third = second.next()
    third.run("cat $TALLYGATE_CHECKPOINT_DIR/state")
    assert third.log().splitlines()[-1] == "7"


def test_an_attempt_that_left_no_checkpoint_is_skipped(one: Machine) -> None:
    one.run("echo 7 > $TALLYGATE_CHECKPOINT_DIR/state")
    second = one.next()
    second.run("rm $TALLYGATE_CHECKPOINT_DIR/state")
    third = second.next()
    third.run("cat $TALLYGATE_CHECKPOINT_DIR/state")
    assert third.log().splitlines()[-1] == "7"


def test_log_heartbeat_and_checkpoint_arrive_while_the_job_runs(one: Machine) -> None:
    process = one.start("echo early; echo 1 > $TALLYGATE_CHECKPOINT_DIR/state; sleep 15")
    try:
        wait_for("the log", lambda: "early" in one.log())
        wait_for("the heartbeat", lambda: b'"running"' in (one.object(agent.HEARTBEAT) or b""))
        wait_for("the checkpoint", lambda: one.object(agent.CHECKPOINT))
        assert one.object(agent.RESULT) is None
    finally:
        process.terminate()
        process.wait(timeout=10)
        one.clear(process)


# --- what people write


HOSTILE = [
    "$(touch CANARY)",
    "`touch CANARY`",
    "'; touch CANARY; '",
    '"; touch CANARY; "',
    "\n touch CANARY \n",
    "two\nlines\n\n",
    "-n",
    "--help",
    "-e x\\n",
    "${IFS}touch${IFS}CANARY",
    "\\",
    "*",
    " leading and trailing ",
    "%s%n\\0",
    "ünïcödé 中 🚀",
    "",
    "\t\r",
    "a,b\"],\n  \"command\": \"x\"",
    "$((1+1)) $HOME ~ !! #",
]  # fmt: skip


def test_environment_values_arrive_exactly_and_never_run(machine: Machine) -> None:
    canary = machine.folder / "canary"
    values = [text.replace("CANARY", str(canary)) for text in HOSTILE]
    machine.environment = {f"V{number}": value for number, value in enumerate(values)}
    report = machine.run(
        "\n".join(f'printf %s "$V{number}" > "$TALLYGATE_OUTPUT_DIR/{number}"' for number in range(len(values)))
    )
    assert report is not None
    assert report.exit_status == 0, machine.log()
    found = outputs(machine)
    assert [found[str(number)].decode() for number in range(len(values))] == values
    assert not canary.exists()


def test_a_jobs_name_and_command_are_data_until_the_command_runs(machine: Machine) -> None:
    """The job's name holds a command substitution; the command holds every kind of quote."""
    command = 'printf \'%s|\' "$TALLYGATE_JOB_NAME" \'a"b\' "c\'d" -- -n; echo "\\$HOME" `echo sub` $(echo sub)'
    machine.run(command)
    assert machine.log() == "pi; rm -rf $(echo /nowhere)|a\"b|c'd|--|-n|$HOME sub sub\n"


def test_a_job_may_have_a_path_and_names_of_its_own(machine: Machine) -> None:
    machine.environment = {"PATH": "/nowhere", "i": "1", "line": "2", "value": "3", "TERM": "4", "a": "5", "Z": "6"}
    machine.run('echo "$i$line$value$TERM$a$Z"; echo "$PATH"')
    assert machine.log() == f"123456\n{machine.work}/bin:/nowhere\n"


def test_a_folder_with_an_odd_name_is_found(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "a b%20c'd\"e$(x)ünï,;&+=@中")
    report = machine.run("cat input.txt; echo 1 > $TALLYGATE_OUTPUT_DIR/one")
    assert report is not None
    assert report.outputs == "saved"
    assert machine.log() == "from the job directory\n"


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"1A": "x"}, "1A"),
        ({"A-B": "x"}, "A-B"),
        ({"A=B": "x"}, "A=B"),
        ({"": "x"}, "''"),
        ({"Ä": "x"}, "Ä"),
        ({"TALLYGATE_BUDGET": "1000000"}, "TALLYGATE_BUDGET"),
        ({"tg_end": "x"}, "tg_end"),
        ({"IFS": "x"}, "IFS"),
        ({"A": "x\0y"}, "zero byte"),
        ({"A": "\udc80"}, "UTF-8"),
        ({"A": "x" * 70_000}, "70,000"),
        ({f"A{number}": "x" * 60_000 for number in range(5)}, "300,0"),
    ],
)
def test_an_environment_no_machine_can_be_given_is_refused(environment: dict[str, str], word: str) -> None:
    from tallygate.errors import UsageError

    with pytest.raises(UsageError, match=word):
        agent.check(command="x", image=None, environment=environment)


@pytest.mark.parametrize(
    "image",
    [
        "-v",
        "--privileged",
        "a b",
        "A/b",
        "x;y",
        "$(x)",
        "",
        "a@sha256:12",
        "a:b:c:d",
        "a" * 600,
        "a\n",
        "../up",
        "a//b",
    ],
)
def test_only_the_name_of_an_image_is_an_image(image: str) -> None:
    from tallygate.errors import UsageError

    with pytest.raises(UsageError, match="image"):
        agent.check(command="x", image=image, environment={})


@pytest.mark.parametrize(
    "image", ["alpine", "python:3.12-slim", "ghcr.io/you/work:1", "localhost:5000/a/b_c", "a/b:t@sha256:" + "0" * 64]
)
def test_names_of_images_are_taken(image: str) -> None:
    agent.check(command="", image=image, environment={})


@pytest.mark.parametrize(
    "url", ["http://host/x", "ftp://host/x", "https://h/a b", "file:///a\nb", "/etc/passwd", 'https://h/"x']
)
def test_a_machine_is_only_sent_to_places_it_can_trust(one: Machine, url: str) -> None:
    from tallygate.errors import UsageError

    one.signed = {"output": url}
    with pytest.raises(UsageError, match="place"):
        one.document("x")


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
    wait_for("all processes are gone", lambda: machine.processes() == [], seconds=3)


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


def test_when_the_watchdog_is_killed_there_is_another(one: Machine) -> None:
    one.seconds = 6
    process = one.start("echo ready; sleep 60")
    try:
        wait_for("the job", lambda: "ready" in one.log())
        watchdogs = [pid for pid in one.processes() if b"\0watch\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(watchdogs) == 1
        os.kill(watchdogs[0], signal.SIGKILL)
        process.wait(timeout=6 + 5)
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


# --- money


def test_a_job_can_ask_what_it_has_left(machine: Machine) -> None:
    report = machine.run(
        "for word in remaining spent held price seconds next-threshold notice; do tallygate-budget $word; done\n"
        "echo $TALLYGATE_BUDGET $TALLYGATE_HELD $TALLYGATE_PRICE_PER_HOUR $TALLYGATE_CURRENCY\n"
        "tallygate-budget nonsense; echo $?; tallygate-budget"
    )
    assert report is not None
    lines = machine.log().splitlines()
    remaining, spent, held, price = (Decimal(line) for line in lines[:4])
    assert remaining + spent == held == Decimal("0.20")
    assert Decimal("0.01") <= spent <= Decimal("0.0105")
    assert price == Decimal("0.36")
    assert 0 < int(lines[4]) <= 20
    percent, amount, seconds = lines[5].split()
    assert (percent, amount) == ("50", "0.10")
    assert abs(int(seconds) - int((Decimal("0.10") - spent) / price * 3600)) <= 1
    assert lines[6] == "run"
    assert lines[7] == "0.50 0.20 0.36 USD"
    assert "usage" in lines[8]
    assert lines[9] == "2"
    assert lines[10].split() == ["held", "0.20", "USD"]


def test_the_budget_file_is_there_before_the_job_and_stays_current(one: Machine) -> None:
    one.budget = None
    one.run("cat $TALLYGATE_BUDGET_FILE > $TALLYGATE_OUTPUT_DIR/first; sleep 2.5")
    import json

    first = json.loads(outputs(one)["first"], parse_float=Decimal)
    last = one.budget_file()
    assert first["budget"] is None
    assert first["held"] == Decimal("0.20")
    assert first["spent"] + first["remaining"] == first["held"]
    assert first["price_per_hour"] == first["price_max_per_hour"] == Decimal("0.36")
    assert first["deadline_epoch"] - first["started_epoch"] in (19, 20, 21)
    assert last["spent"] > first["spent"]  # type: ignore[operator]
    assert last["seconds_left"] < first["seconds_left"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("price", "held", "before", "seconds"),
    [
        (1, 10**17, 0, 1),
        (360_000_000, 200_000_000, 10_000_000, 0),
        (10**12, 10**17, 0, 2_592_000),
        (999_999_999_999, 99_999_999_999_999_999, 1, 999_983),
        (12_345_678_901, 5_000_000_000, 0, 3_601),
        (96, 7, 3, 100_000),
    ],
)
def test_the_machines_arithmetic_is_exact(tmp_path: Path, price: int, held: int, before: int, seconds: int) -> None:
    """Spent, remaining and the next threshold agree with unbounded integers, rounding once, down."""
    helper = tmp_path / "tallygate-budget"
    helper.write_text(agent.script())
    uptime = tmp_path / "uptime"
    uptime.write_text(f"{seconds + 1000}.00 1.00\n")
    (tmp_path / "budget.json").write_text(
        f'{{\n  "currency": "USD",\n  "started_uptime": 100000,\n  "run_seconds_max": 5000000,\n'
        f'  "not_after_epoch": 99999999999,\n  "reserve_seconds": 0,\n  "held_nanos": {held},\n'
        f'  "price_nanos": {price},\n  "spent_before_nanos": {before},\n  "thresholds": "50 80 100"\n}}\n'
    )
    environment = {"TALLYGATE_BUDGET_FILE": str(tmp_path / "budget.json"), "TALLYGATE_UPTIME_FILE": str(uptime)}

    def ask(word: str) -> str:
        answer = subprocess.run(
            ["dash", str(helper), word], env={**environment, "PATH": os.environ["PATH"]}, capture_output=True, text=True
        )
        assert answer.stderr == ""
        return answer.stdout.strip()

    spent = before + price // 3600 * seconds + price % 3600 * seconds // 3600
    assert abs(spent - before - Decimal(price) * seconds / 3600) < 1
    assert Decimal(ask("spent")) == Money(spent).decimal
    assert Decimal(ask("remaining")) == Money(held - spent).decimal
    following = [percent for percent in (50, 80, 100) if held * percent // 100 > spent]
    found = ask("next-threshold").split()
    assert found[:1] == [str(percent) for percent in following[:1]]
    if following:
        assert Decimal(found[1]) == Money(held * following[0] // 100).decimal
        lasts = (held * following[0] // 100 - spent) * 3600 // price
        assert abs(int(found[2]) - lasts) <= 1 or lasts > int(found[2]) >= 3_600_000_000


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
    pairs = list(zip(run, run[1:], strict=False))
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
    from dataclasses import replace

    one.image = DIGEST
    one.offer = replace(one.offer, gpus=2)
    calls = fake_docker(one, "exit 0")
    one.run("x")
    run = called(calls)[0]
    assert run[run.index("--gpus") + 1] == "2"


# --- settings


@pytest.mark.parametrize(("seconds", "reserve"), [(1, 0), (2, 1), (3, 1), (8, 2), (360, 90), (361, 90), (86_400, 90)])
def test_little_of_a_jobs_time_goes_to_its_end(seconds: int, reserve: int) -> None:
    assert agent.reserve_seconds(seconds, agent.Settings()) == reserve


def test_the_script_and_the_document_are_for_any_shell_to_read(one: Machine) -> None:
    """Flat, one key a line, no value with a quote or a backslash in it."""
    one.environment = {"A": HOSTILE[2]}
    lines = one.document("echo '\"\\'").splitlines()
    assert (lines[0], lines[-1]) == ("{", "}")
    for line in lines[1:-1]:
        key, colon, value = line.strip().removesuffix(",").partition(": ")
        assert colon
        assert key.strip('"').replace("_", "").isalnum()
        assert "\\" not in value
        assert value.strip('"').count('"') == 0
    assert FAST.grace_seconds == 1
    assert shutil.which("dash")
