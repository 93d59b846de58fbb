"""A machine for the tests of the agent: the real script under a real shell, with real folders."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path

from tallygate.jobs import agent
from tallygate.jobs.job import Attempt, AttemptState, CostState, Job, JobSpec, JobState
from tallygate.jobs.staging import stage
from tallygate.money import Money
from tallygate.objectstore.folder import FolderStore
from tallygate.pricing.offers import Offer, PurchaseOption

JOB_ID = "01hzy0c7kq8v2m3n4p5r6s7t8w"

OFFER = Offer(
    provider="local",
    region="local",
    zone=None,
    instance_type="local-1",
    purchase_option=PurchaseOption.ON_DEMAND,
    vcpus=1,
    memory_gib=Decimal(2),
    hourly_price=Money.of("0.36"),
    priced_at=datetime(2026, 3, 1, tzinfo=UTC),
    price_source="config",
)

BUDGET = Money.of("0.50")

FAST = agent.Settings(grace_seconds=1, upload_seconds=3, log_seconds=1, checkpoint_seconds=1)


@dataclass
class Machine:
    """One folder that stands for a machine, and the store that its job's results go to."""

    folder: Path
    shell: str = "dash"
    seconds: int = 20
    not_after: datetime | None = None
    settings: agent.Settings = FAST
    environment: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    budget: Money | None = BUDGET
    offer: Offer = OFFER
    attempt: int = 1
    path: str = os.environ["PATH"]
    signed: Mapping[str, str] = field(default_factory=dict)
    way: str = "exit"
    variables: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.store = FolderStore(self.folder / "objects")
        self.inputs = self.folder / "inputs"
        self.inputs.mkdir(exist_ok=True)
        (self.inputs / "input.txt").write_text("from the job directory\n")

    @property
    def work(self) -> Path:
        return self.folder / f"machine-{self.attempt}"

    def job(self, command: str) -> Job:
        staged = stage(self.inputs, (), self.store)
        now = datetime.now(UTC)
        return Job(
            id=JOB_ID,
            name="pi; rm -rf $(echo /nowhere)",
            state=JobState.LAUNCHED,
            cost_state=CostState.ESTIMATED,
            spec=JobSpec(
                command=command,
                image=self.image,
                environment=self.environment,
                inputs=staged.url,
                inputs_digest=staged.digest,
                outputs=self.store.url(f"jobs/{JOB_ID}"),
            ),
            offer=self.offer,
            estimated_runtime_seconds=self.seconds,
            run_seconds_max=self.seconds,
            budget_limit=self.budget,
            estimated_cost=Money.of("0.10"),
            hold=Money.of("0.20"),
            metered_cost=Money.of("0.01"),
            submitted_at=now,
        )

    def document(self, command: str) -> str:
        job = self.job(command)
        now = datetime.now(UTC)
        attempt = Attempt(
            id="01hzy0c7kq8v2m3n4p5r6s7t90",
            job_id=job.id,
            number=self.attempt,
            token=f"tg-test-{job.id}-{self.attempt}",
            state=AttemptState.LIVE,
            offer=job.offer,
            price_max=job.offer.hourly_price,
            run_seconds_max=self.seconds,
            kill_seconds=5,
            not_after=self.not_after or now + timedelta(seconds=self.seconds + 30),
            created_at=now,
            metered_cost=Money.zero(),
        )
        return agent.document(job, attempt, self.settings, signed=self.signed)

    def start(self, command: str, *, document: str | None = None) -> subprocess.Popen[bytes]:
        """Run the agent in the background, in a session of its own as on a machine."""
        self.work.mkdir(exist_ok=True)
        (self.folder / "agent.sh").write_text(agent.script())
        (self.folder / "document.json").write_text(document or self.document(command))
        shell = shutil.which(self.shell)
        assert shell
        return subprocess.Popen(
            [shell, str(self.folder / "agent.sh"), str(self.folder / "document.json"), str(self.work), self.way],
            cwd=self.folder,
            env={"PATH": self.path, "HOME": "/nonexistent", **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "said").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, command: str, *, document: str | None = None, within: float | None = None) -> agent.Report | None:
        """Run the agent to its end, which must come before the deadline and the kill allowance."""
        process = self.start(command, document=document)
        end = time.monotonic() + (self.seconds + 5 if within is None else within)
        try:
            process.wait(timeout=end - time.monotonic())
            # Where the agent did not get to it in time, the watchdog reports in its place.
            while self.object(agent.RESULT) is None and self.processes() and time.monotonic() < end:
                time.sleep(0.02)
            # What a job started may take a moment to be gone, and nothing of it may stay.
            while (left := self.processes()) and time.monotonic() < end + 20:
                time.sleep(0.02)
            assert left == [], f"processes outlived their machine: {left}"
        finally:
            self.clear(process)
        return self.report()

    def clear(self, process: subprocess.Popen[bytes]) -> None:
        """End whatever a failed test left of this machine: every process that has our folder in its words."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.kill()
        process.wait()

    def processes(self) -> list[int]:
        """Processes that were started with a path of this machine, or work in its folders."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    words = (entry / "cmdline").read_bytes().decode(errors="replace")
                    where = os.readlink(entry / "cwd")
                except OSError:
                    continue
                if str(self.work) in words or str(self.work) in where or str(self.folder / "agent.sh") in words:
                    found.append(int(entry.name))
        return found

    # --- what it left

    def report(self) -> agent.Report | None:
        content = self.object(agent.RESULT)
        return None if content is None else agent.read_report(content)

    def object(self, name: str) -> bytes | None:
        key = agent.key(JOB_ID, self.attempt, name)
        return self.store.get_bytes(key) if self.store.exists(key) else None

    def log(self) -> str:
        return (self.object(agent.LOG) or b"").decode()

    def budget_file(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.work / "told" / "budget.json").read_text(), parse_float=Decimal)
        return found

    def next(self) -> Machine:
        """The machine of the job's next attempt."""
        return replace(self, attempt=self.attempt + 1)


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


def wait_for(what: str, condition: object, *, seconds: float = 15) -> None:
    """Wait until a callable answers true; the test fails when it never does."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)
