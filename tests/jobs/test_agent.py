"""The agent: what a machine does with its document, under real shells, when all goes well."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tallygate.errors import UsageError
from tallygate.jobs import agent

from .machines import FAST, JOB_ID, Machine, outputs, wait_for

SHELLS = ["dash", "bash"]


@pytest.fixture(params=SHELLS)
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Machine:
    """A machine under each shell."""
    return Machine(tmp_path / "here", shell=request.param)


@pytest.fixture
def one(tmp_path: Path) -> Machine:
    """A machine under the strictest shell, for what does not depend on it."""
    return Machine(tmp_path / "here")


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
    one.signed = {"output": url}
    with pytest.raises(UsageError, match="place"):
        one.document("x")


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
