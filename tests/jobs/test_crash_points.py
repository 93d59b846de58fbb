"""kill -9 at every milestone, with real processes, real databases and real machines of the provider local.

Whatever the dead process leaves, one reconcile by another brings the job on its way; no process of it outlives its
deadline, and in the end the money adds up.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallygate import config
from tallygate.app import App
from tallygate.jobs.job import JobState
from tallygate.jobs.milestones import Milestone
from tallygate.money import Money

CRASHER = Path(__file__).with_name("crasher.py")
CHECKOUT = Path(__file__).parents[2]

LAUNCH = (
    Milestone.STAGED,
    Milestone.INTENT_WRITTEN,
    Milestone.INTENT_COMMITTED,
    Milestone.CREATE_CALLED,
    Milestone.CREATE_ANSWERED,
    Milestone.LIVE_WRITTEN,
    Milestone.LIVE_COMMITTED,
)
STOP = (Milestone.STOP_COMMITTED, Milestone.TERMINATE_CALLED, Milestone.TERMINATE_ANSWERED)
END = (Milestone.END_OBSERVED, Milestone.END_WRITTEN, Milestone.SETTLEMENT_WRITTEN, Milestone.END_COMMITTED)
NOTHING_WRITTEN = (Milestone.STAGED, Milestone.INTENT_WRITTEN)


class Installation:
    """One installation in a folder of its own, and the processes that work on it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "TALLYGATE_DATABASE": database_url,
            "TALLYGATE_STATE_DIR": str(folder / "state"),
            "PYTHONPATH": str(CHECKOUT),
        }
        self.job_directory = folder / "job"
        self.job_directory.mkdir()
        script = self.job_directory / "run.sh"
        script.write_text('echo started\nsleep "${1:-1}"\necho done > "$TALLYGATE_OUTPUT_DIR/done"\n')
        script.chmod(0o755)

    def app(self) -> App:
        return App.open(config.load(environ=self.environment))

    def crash(self, milestone: Milestone | str, *act: str) -> int:
        """Run the crasher; how its process ended."""
        return subprocess.run(
            [sys.executable, str(CRASHER), milestone, *act],
            env=self.environment,
            cwd=self.folder,
            timeout=60,
            check=False,
        ).returncode

    def submit(self, milestone: Milestone | str = "never") -> int:
        return self.crash(milestone, "submit", str(self.job_directory))

    def finish(self, app: App) -> None:
        """Reconcile until nothing is open any more."""
        for _ in range(300):
            if app.reconcile().open_attempts == 0:
                return
            time.sleep(0.2)
        pytest.fail("a job is stuck")

    def processes(self) -> list[int]:
        """Every living process that mentions this installation's machines."""
        mark = str(self.folder / "state" / "machines").encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    if mark in (entry / "cmdline").read_bytes() or mark in (entry / "environ").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    found = Installation(tmp_path, database_url)
    with found.app() as app:
        app.book.add_budget(name="team", limit=Money.of("10"))
    yield found
    for process in found.processes():
        os.kill(process, signal.SIGKILL)


def check_money(app: App) -> None:
    """Nothing is held any more, and what was spent is what was metered, everywhere."""
    assert app.book.verify().problem is None
    team = app.book.account(app.book.budget("team"), app.clock.now())
    metered = Money.zero()
    for row in app.jobs.rows(most=100):
        job = app.jobs.get(str(row["job_id"]))
        assert job.state.is_over
        assert job.metered_cost is not None
        metered += job.metered_cost
        account = app.book.job_account(job.id)
        assert account is not None
        assert (account.held, account.spent) == (Money.zero(), job.metered_cost)
    assert (team.held, team.spent) == (Money.zero(), metered)


def check_no_process_outlives_its_deadline(installation: Installation, app: App) -> None:
    """A machine that has just metered its end needs a moment to leave; none is there after its deadline."""
    ends = [
        attempt.worst_case_end.timestamp()
        for row in app.jobs.rows(most=100)
        for attempt in app.jobs.attempts(str(row["job_id"]))
    ]
    while installation.processes():
        assert time.time() < max(ends)
        time.sleep(0.1)


@pytest.mark.parametrize("milestone", LAUNCH)
def test_killed_while_launching(installation: Installation, milestone: Milestone) -> None:
    assert installation.submit(milestone) == -signal.SIGKILL
    with installation.app() as app:
        report = app.reconcile()
        assert report.problems == []
        rows = app.jobs.rows()
        if milestone in NOTHING_WRITTEN:
            assert rows == []
        else:
            (row,) = rows
            assert row["status"] in (JobState.RUNNING, JobState.LAUNCHED, JobState.COMPLETED)
            installation.finish(app)
            (row,) = app.jobs.rows()
            assert row["status"] == JobState.COMPLETED
            assert len(app.jobs.attempts(str(row["job_id"]))) == 1
        check_money(app)
        check_no_process_outlives_its_deadline(installation, app)


@pytest.mark.parametrize("milestone", END)
def test_killed_while_finishing(installation: Installation, milestone: Milestone) -> None:
    assert installation.submit() == 0
    for _ in range(100):
        if installation.crash(milestone, "reconcile") == -signal.SIGKILL:
            break
        time.sleep(0.2)
    else:
        pytest.fail("no end was ever observed")
    with installation.app() as app:
        assert app.reconcile().open_attempts == 0
        (row,) = app.jobs.rows()
        assert row["status"] == JobState.COMPLETED
        check_money(app)
        check_no_process_outlives_its_deadline(installation, app)


@pytest.mark.parametrize("milestone", STOP)
def test_killed_while_stopping(installation: Installation, milestone: Milestone) -> None:
    script = installation.job_directory / "run.sh"
    script.write_text("sleep 600\n")
    assert installation.submit() == 0
    with installation.app() as app:
        (row,) = app.jobs.rows()
    assert installation.crash(milestone, "terminate", str(row["job_id"])) == -signal.SIGKILL
    with installation.app() as app:
        installation.finish(app)
        (row,) = app.jobs.rows()
        assert (row["status"], row["reason"]) == (JobState.TERMINATED, "a test")
        check_money(app)
        check_no_process_outlives_its_deadline(installation, app)


def test_the_machine_ends_itself_with_nobody_left(installation: Installation) -> None:
    """With no process of ours alive, a job that would run for ever is gone by its deadline and what is held covers
    it."""
    (installation.job_directory / "run.sh").write_text("trap '' TERM\nwhile :; do sleep 1; done\n")
    assert installation.submit(Milestone.LIVE_COMMITTED) == -signal.SIGKILL
    with installation.app() as app:
        (row,) = app.jobs.rows()
        (attempt,) = app.jobs.attempts(str(row["job_id"]))
    while installation.processes():
        assert time.time() < attempt.worst_case_end.timestamp() + 5
        time.sleep(0.5)
    with installation.app() as app:
        installation.finish(app)
        job = app.jobs.get(str(row["job_id"]))
        assert job.state is JobState.TERMINATED
        assert job.metered_cost is not None
        assert job.metered_cost <= job.hold
        check_money(app)
