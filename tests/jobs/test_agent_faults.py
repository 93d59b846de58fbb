"""The agent when the machine under it is broken: every command failing in turn, hanging uploads, lost inputs, power."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tallygate.jobs import agent

from .machines import JOB_ID, Machine, shim, wait_for

COMMANDS = (
    "base64", "cat", "chmod", "cksum", "cp", "date", "gzip", "id", "ls", "mkdir", "mv", "rm", "setsid", "sha256sum", "sleep",
    "tar", "timeout", "wc",
)  # fmt: skip
"""Every program that the agent starts for a plain job with places in folders."""

MAY_HANG = sorted(set(COMMANDS) - {"date", "sleep", "setsid"})
"""Programs that may wait for a disk or a network. The clock and the nap themselves are not among them."""

ENDLESS = "echo ran; echo x > $TALLYGATE_OUTPUT_DIR/x; echo y > $TALLYGATE_CHECKPOINT_DIR/y; exec /bin/sleep 60"


def broken(tmp_path: Path, command: str, body: str, *, way: str = "exit") -> Machine:
    machine = Machine(tmp_path / f"without-{command}", seconds=4, way=way)
    shim(machine, command, body)
    return machine


@pytest.mark.parametrize("body", ["exit 1", "exec /bin/sleep 1000", "kill -9 $$"], ids=["fails", "hangs", "dies"])
def test_whatever_command_is_broken_the_machine_ends_in_time_and_says_so(tmp_path: Path, body: str) -> None:
    """One machine per command, with that command broken, and a job that would run for ever."""
    commands = MAY_HANG if "sleep 1000" in body else COMMANDS

    def run(command: str) -> str | None:
        machine = broken(tmp_path, command, body)
        began = time.monotonic()
        report = machine.run(ENDLESS, within=4 + 5)
        took = time.monotonic() - began
        if took > 4 + 5:
            return f"{command}: it took {took:.1f} s"
        # Where no folder can be made the report cannot leave the machine; it still lies where the machine finds it.
        try:
            written = json.loads((machine.work / "result.json").read_bytes())
        except (OSError, ValueError) as error:
            return f"{command}: no report, {error}"
        if report is None and command != "mkdir":
            return f"{command}: the report did not leave the machine"
        known = {"deadline", "inputs", "setup"}
        return None if written["reason"] in known else f"{command}: {written['reason']}"

    with ThreadPoolExecutor(5) as pool:
        assert [problem for problem in pool.map(run, commands) if problem] == []


def test_these_are_all_the_commands_it_uses(tmp_path: Path) -> None:
    """With only these to be found the job runs as ever; a new one would fail this test before it fails on a machine."""
    import shutil

    machine = Machine(tmp_path / "here", seconds=30)
    folder = tmp_path / "only"
    folder.mkdir()
    for command in COMMANDS:
        found = shutil.which(command)
        assert found
        (folder / command).symlink_to(found)
    machine.path = str(folder)
    report = machine.run(
        "cat input.txt; echo x > $TALLYGATE_OUTPUT_DIR/x; echo y > $TALLYGATE_CHECKPOINT_DIR/y; sleep 2.5"
    )
    assert report is not None
    assert (report.reason, report.exit_status, report.outputs, report.checkpoint) == ("finished", 0, "saved", "saved")
    words = set(
        re.findall(r"\b(awk|sed|grep|find|python3?|perl|jq|xargs|stat|seq|expr|pkill|killall)\b ", agent.script())
    )
    assert words == set()


def test_with_no_command_at_all_it_still_ends_and_reports(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "here", seconds=3, path="/nonexistent")
    machine.store.put_bytes(agent.key(JOB_ID, 1, "made"), b"")
    report = machine.run(ENDLESS)
    assert report is not None
    assert report.reason in ("setup", "inputs")


def test_a_document_nobody_can_read_ends_the_machine(tmp_path: Path) -> None:
    for document in ("", "{", "nonsense\n" * 1000, '{\n  "run_seconds_max": "9$(id)",\n  "not_after_epoch": -1\n}\n'):
        machine = Machine(tmp_path / "here")
        began = time.monotonic()
        machine.run("", document=document or "\n", within=5)
        assert time.monotonic() - began < 5
        written = json.loads((machine.work / "result.json").read_bytes())
        assert written["reason"] == "expired"


# --- inputs


@pytest.fixture
def one(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "here")


def test_inputs_that_are_not_what_was_staged_are_not_run(one: Machine) -> None:
    canary = one.folder / "canary"
    document = one.document(f"touch {canary}")
    (staged,) = one.store.list("inputs/")
    one.store.put_bytes(staged.key, one.store.get_bytes(staged.key) + b"x")
    report = one.run("", document=document)
    assert report is not None
    assert (report.reason, report.detail) == ("inputs", "the inputs are not what was staged")
    assert report.exit_status is None
    assert not canary.exists()
    assert "not what was staged" in one.log()


def test_inputs_that_are_gone_are_said_to_be(one: Machine) -> None:
    document = one.document("echo ran")
    (staged,) = one.store.list("inputs/")
    one.store.delete(staged.key)
    report = one.run("", document=document)
    assert report is not None
    assert (report.reason, report.detail) == ("inputs", "the inputs cannot be fetched")


def test_results_that_cannot_be_delivered_are_lost_not_waited_for(one: Machine) -> None:
    """The place of the outputs is taken by a folder: they cannot be put there, and the rest is."""
    one.store.put_bytes(agent.key(JOB_ID, 1, f"{agent.OUTPUT}/in-the-way"), b"")
    report = one.run("echo x > $TALLYGATE_OUTPUT_DIR/x; echo y > $TALLYGATE_CHECKPOINT_DIR/y")
    assert report is not None
    assert (report.reason, report.checkpoint) == ("finished", "saved")


def test_a_torn_checkpoint_is_not_taken_for_a_whole_one(one: Machine) -> None:
    """A checkpoint that changes while it is packed is left for the next round; the last whole one stays."""
    shim(one, "tar", 'case $* in *state.tar.gz.ticker*) /bin/tar "$@"; exit 1 ;; *) exec /bin/tar "$@" ;; esac')
    process = one.start("echo 1 > $TALLYGATE_CHECKPOINT_DIR/state; echo ready; sleep 4")
    try:
        wait_for("the job", lambda: "ready" in one.log())
        time.sleep(2.5)
        assert one.object(agent.CHECKPOINT) is None
        process.wait(timeout=10)
    finally:
        one.clear(process)
    report = one.report()
    assert report is not None
    assert report.checkpoint == "saved"


def test_a_log_too_long_to_read_keeps_its_beginning_and_its_end(one: Machine) -> None:
    script = agent.script().replace("tg_log_bytes_max=104857600", "tg_log_bytes_max=2000")
    assert "=2000" in script
    (one.inputs / "talk.sh").write_text(
        "echo begin; i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; echo end\n"
    )
    process = one.start("sh talk.sh")
    one.clear(process)
    (one.folder / "agent.sh").write_text(script)
    import subprocess

    subprocess.run(
        ["dash", str(one.folder / "agent.sh"), str(one.folder / "document.json"), str(one.work)], check=True, timeout=20
    )
    log = one.log()
    assert log.startswith("begin\nline 0\n")
    assert log.endswith("end\n")
    assert "bytes left out" in log
    assert len(log) < 2100


# --- places behind http


@dataclass
class Bucket:
    """An object store that speaks HTTP as the clouds' signed URLs do, and can be told to misbehave."""

    objects: dict[str, bytes] = field(default_factory=dict)
    hang_on: str = "nothing"
    fail_first: int = 0
    calls: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    bucket = Bucket()
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def answer(self, code: int, content: bytes = b"") -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def spoiled(self) -> bool:
            bucket.calls.append(f"{self.command} {self.path}")
            if bucket.hang_on in self.path:
                released.wait(60)
                return True
            if bucket.fail_first > 0:
                bucket.fail_first -= 1
                self.answer(503)
                return True
            return False

        def do_GET(self) -> None:
            if self.spoiled():
                return
            content = bucket.objects.get(self.path)
            if content is None:
                self.answer(404)
            else:
                self.answer(200, content)

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if not self.spoiled():
                bucket.objects[self.path] = content
                self.answer(200)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    bucket.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield bucket
    released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def behind_http(machine: Machine, bucket: Bucket) -> None:
    """All of the machine's places are signed URLs of the bucket."""
    job = machine.job("x")
    bucket.objects["/inputs"] = machine.store.get_bytes(machine.store.key_of(job.spec.inputs))
    names = ("inputs", "log", "output", "checkpoint", "heartbeat", "result")
    machine.signed = {name: f"{bucket.url}/{name}" for name in names}


@pytest.mark.parametrize("missing", ["neither", "curl"])
def test_places_behind_http_work_with_curl_and_without(one: Machine, bucket: Bucket, missing: str) -> None:
    behind_http(one, bucket)
    shim(one, missing, "exit 1")
    assert one.run("cat input.txt; echo x > $TALLYGATE_OUTPUT_DIR/x", within=20) is None
    report = agent.read_report(bucket.objects["/result"])
    assert (report.reason, report.exit_status, report.outputs) == ("finished", 0, "saved")
    assert bucket.objects["/log"] == b"from the job directory\n"
    assert bucket.objects["/output"][:2] == b"\x1f\x8b"
    assert not [call for call in bucket.calls if call.startswith("DELETE")]


def test_a_passing_failure_of_the_network_is_tried_again(one: Machine, bucket: Bucket) -> None:
    behind_http(one, bucket)
    bucket.fail_first = 2
    one.run("echo ran", within=20)
    assert agent.read_report(bucket.objects["/result"]).reason == "finished"


@pytest.mark.parametrize("place", ["/output", "/log", "/heartbeat", "/result", "/inputs"])
def test_a_place_that_never_answers_does_not_keep_the_machine(one: Machine, bucket: Bucket, place: str) -> None:
    one.seconds = 8
    behind_http(one, bucket)
    bucket.hang_on = place
    began = time.monotonic()
    one.run("echo x > $TALLYGATE_OUTPUT_DIR/x; echo ran; sleep 1", within=8 + 6)
    assert time.monotonic() - began < 8 + 6
    written = json.loads((one.work / "result.json").read_bytes())
    assert written["reason"] == ("deadline" if place == "/inputs" else "finished")
    assert written["outputs"] == {"/output": "lost", "/inputs": "none"}.get(place, "saved")
    if place != "/result":
        assert json.loads(bucket.objects["/result"])["reason"] == written["reason"]


# --- power


POWER = ("shutdown", "systemctl", "poweroff", "halt")


def switches(machine: Machine, *, broken: tuple[str, ...] = ()) -> Path:
    """Stand-ins for every command that could end the machine these tests run on."""
    marks = machine.folder / "marks"
    for name in POWER:
        shim(machine, name, "exit 1" if name in broken else f'echo {name} "$@" >> {marks}')
    return marks


@pytest.mark.parametrize("command", ["exit 0", "exit 7", "kill -9 $$", "/nonexistent"])
def test_the_machine_is_powered_off_however_the_job_ends(one: Machine, command: str) -> None:
    one.way = "poweroff"
    marks = switches(one)
    process = one.start(command)
    try:
        wait_for("power off", marks.exists)
        assert one.object(agent.RESULT) is not None, "the report comes before the power goes"
    finally:
        one.clear(process)
    assert marks.read_text().startswith("shutdown -h now\n")


def test_power_is_switched_off_by_whatever_command_works(one: Machine) -> None:
    one.way = "poweroff"
    marks = switches(one, broken=POWER[:-1])
    process = one.start("exit 0")
    try:
        wait_for("power off", marks.exists)
    finally:
        one.clear(process)
    assert marks.read_text().startswith("halt -f -p\n")


@pytest.mark.parametrize("case", ["late", "no document", "no inputs", "agent killed"])
def test_the_machine_is_powered_off_when_nothing_could_be_run(one: Machine, case: str) -> None:
    from datetime import UTC, datetime

    one.way = "poweroff"
    marks = switches(one)
    if case == "late":
        one.not_after = datetime(2020, 1, 1, tzinfo=UTC)
    document = one.document("echo ready; sleep 60")
    if case == "no inputs":
        for found in list(one.store.list("inputs/")):
            one.store.delete(found.key)
    process = one.start("", document="\n" if case == "no document" else document)
    try:
        if case == "agent killed":
            wait_for("the job", lambda: "ready" in one.log())
            process.kill()
            process.wait()
        wait_for("power off", marks.exists)
    finally:
        one.clear(process)


def test_a_machine_that_is_somebodys_workstation_is_never_powered_off(tmp_path: Path) -> None:
    """Only the word ``poweroff`` on the command line does that; nothing in a document can."""
    for way in ("exit", "", "reboot"):
        machine = Machine(tmp_path / f"here{way}", way=way)
        marks = switches(machine)
        machine.run("exit 0", document=machine.document("exit 0").replace('"version": 1', '"end": "poweroff"'))
        assert not marks.exists()


def test_the_watchdogs_report_arrives_over_http_too(one: Machine, bucket: Bucket) -> None:
    behind_http(one, bucket)
    process = one.start("sleep 60")
    try:
        wait_for("the job", (one.work / "pid").exists)
        process.kill()
        process.wait()
        wait_for("the report", lambda: "/result" in bucket.objects, seconds=5)
        wait_for("all processes are gone", lambda: one.processes() == [], seconds=3)
    finally:
        one.clear(process)
    assert agent.read_report(bucket.objects["/result"]).reason == "interrupted"
