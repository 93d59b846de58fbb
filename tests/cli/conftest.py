"""A command line run in this process, and a directory in which to see that nothing was written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallygate.cli import shell
from tallygate.jobs.job import CostState, Job, JobSpec, JobState
from tallygate.money import Money
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.store.jobs import JobRepository
from tallygate.store.migrate import open_store
from tallygate.times import SystemClock


@dataclass(frozen=True)
class Answer:
    """What a command line left behind."""

    code: int
    out: str
    err: str


Cli = Callable[..., Answer]

HOMES = {
    "find_cheapest_instance.py": "tallygate.cli.find:find",
    "cloud_run.py": "tallygate.cli.run:run",
    "job_manager.py": "tallygate.cli.jobs:DOOR",
    "cost_tracker.py": "tallygate.cli.costs:costs",
    "cloud_cost_report.py": "tallygate.cli.reports:MENU",
    "tallygate": "tallygate.cli.umbrella:MENU",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an environment without any setting of ours."""
    for name in list(os.environ):
        if name.startswith(("TALLYGATE_", "DB_", "AWS_", "GCP_", "AZURE_")) or name == "NO_COLOR":
            monkeypatch.delenv(name)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def cli(here: Path, capfd: pytest.CaptureFixture[str]) -> Cli:
    """``cli("job_manager.py", "list")``: exactly what the door does, without a new process."""

    def run(program: str, *arguments: str) -> Answer:
        from tallygate.cli.program import program as built

        capfd.readouterr()
        code = shell.run(lambda: built(HOMES[program]), program, arguments)
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return run


@pytest.fixture
def job_dir(here: Path) -> Path:
    """A job directory that prints one line."""
    folder = here / "my_job"
    folder.mkdir()
    (folder / "run.sh").write_text("#!/bin/sh\necho it ran\n")
    (folder / "run.sh").chmod(0o755)
    return folder


@pytest.fixture
def add_job(here: Path) -> Callable[..., Job]:
    """``add_job("my-job", state="completed")``: a job on record in the working directory's database."""
    count = iter(range(1, 1_000))

    def add(name: str, *, state: str = "launching", provider: str = "aws", **more: Any) -> Job:
        number = next(count)
        at = datetime(2026, 3, 1, 12, number % 60, tzinfo=UTC)
        offer = Offer(
            provider=provider,
            region="us-east-1",
            zone="us-east-1a",
            instance_type="r5.4xlarge",
            purchase_option=PurchaseOption.SPOT,
            vcpus=16,
            memory_gib=Decimal(128),
            hourly_price=Money.of("0.80"),
            priced_at=at,
            price_source="test",
        )
        job = Job(
            id=f"01kgw2{number:020d}",
            name=name,
            state=JobState.LAUNCHING,
            cost_state=CostState.ESTIMATED,
            spec=JobSpec(command="./run.sh", inputs="file:///i", inputs_digest="0" * 64, outputs="file:///o"),
            offer=offer,
            estimated_runtime_seconds=7200,
            run_seconds_max=9000,
            budget_limit=Money.of("20"),
            estimated_cost=Money.of("1.6"),
            hold=Money.of("2.1"),
            submitted_at=at,
        )
        database = open_store(str(here / "cloud_jobs.db"), clock=SystemClock())
        jobs = JobRepository(database)
        jobs.add(job)
        ended = replace(job, state=JobState(state), **more)
        if state != "launching":
            jobs.save_job(ended, was=job)
        database.close()
        return ended

    return add
