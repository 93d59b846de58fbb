"""The examples as Tallygate launches them: real machines, real deadlines, real bookkeeping."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def door(script: str, *arguments: str, folder: Path) -> Any:
    """The JSON answer of a command, carried out by itself in a folder of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TALLYGATE", "DB_", "DATABASE"))}
    answer = subprocess.run(
        [sys.executable, ROOT / script, *arguments, "--json"],
        cwd=folder,
        env={**kept, "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout, parse_float=Decimal)


def launch(example: str, *arguments: str, folder: Path) -> Any:
    where = (str(ROOT / "examples" / example), "--provider", "local", "--budget", "0.05", "--wait")
    return door("cloud_run.py", *where, *arguments, folder=folder)


def outputs(job: Any, *, folder: Path) -> Any:
    door("job_manager.py", "fetch", job["job_id"], "--into", "results", folder=folder)
    return json.loads((folder / "results" / "outputs" / "result.json").read_text(encoding="utf-8"))


def test_what_was_computed_on_a_machine_comes_home(tmp_path: Path) -> None:
    job = launch("primes", "--command", "python3 primes.py 100000", "--estimated-runtime", "0.01", folder=tmp_path)
    assert (job["status"], job["exit_status"], job["cost_state"]) == ("completed", 0, "metered")
    assert 0 < job["metered_cost"] <= job["hold"] <= Decimal("0.05")
    assert outputs(job, folder=tmp_path)["primes"] == 9_592


def test_a_job_that_reads_its_budget_ends_by_itself_inside_it(tmp_path: Path) -> None:
    """More work than the money allows, and still the job completes, with a result and inside its hold."""
    job = launch("budget_aware", "--env", "VOLUME_SAMPLES=1000000000", "--estimated-runtime", "0.0015", folder=tmp_path)
    assert (job["status"], job["reason"]) == ("completed", "the command exited with 0")
    assert job["metered_cost"] <= job["hold"]
    assert 0 < outputs(job, folder=tmp_path)["samples"] < 1_000_000_000
