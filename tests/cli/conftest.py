"""A command line run in this process, and a directory in which to see that nothing was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tallygate.cli import shell


@dataclass(frozen=True)
class Answer:
    """What a command line left behind."""

    code: int
    out: str
    err: str


Cli = Callable[..., Answer]

HOMES = {
    "cloud_run.py": "tallygate.cli.run:run",
    "job_manager.py": "tallygate.cli.jobs:DOOR",
    "cost_tracker.py": "tallygate.cli.costs:costs",
    "cloud_cost_report.py": "tallygate.cli.reports:MENU",
    "tallygate": "tallygate.cli.umbrella:MENU",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an environment without any setting of ours."""
    import os

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
