"""How long a command takes from nothing, beside a bare Typer program and beside Python doing nothing.

Whole processes, interleaved: every variant once a round, medians over the rounds. ``ours`` is what a door adds to the bare Typer
program: the median of the differences within a round, so that a busy moment hits both sides.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BARE = ROOT / "bench" / "programs" / "bare_typer.py"
JOBS = 100_000

TERMINAL = ", terminal"

HELP_MAX = 1.2
COMMAND_MAX = 1.5
OURS_MAX = 2.5


def many_jobs(folder: Path) -> None:
    """A database of ``JOBS`` jobs, one of them added as any job is and the others copied from it."""
    sys.path.insert(0, str(ROOT))
    from tallygate.jobs.job import CostState, Job, JobSpec, JobState
    from tallygate.money import Money
    from tallygate.pricing.offers import Offer, PurchaseOption
    from tallygate.store.jobs import JobRepository
    from tallygate.store.migrate import open_store
    from tallygate.times import SystemClock

    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    offer = Offer(
        provider="aws",
        region="us-east-1",
        zone="us-east-1a",
        instance_type="r5.4xlarge",
        purchase_option=PurchaseOption.SPOT,
        vcpus=16,
        memory_gib=Decimal(128),
        hourly_price=Money.of("0.80"),
        priced_at=now,
        price_source="bench",
    )
    job = Job(
        id="0" * 26,
        name="nightly-render",
        state=JobState.LAUNCHING,
        cost_state=CostState.ESTIMATED,
        spec=JobSpec(command="./run.sh", inputs="file:///inputs", inputs_digest="0" * 64, outputs="file:///outputs"),
        offer=offer,
        estimated_runtime_seconds=7200,
        run_seconds_max=9000,
        budget_limit=Money.of("20"),
        estimated_cost=Money.of("1.6"),
        hold=Money.of("2.1"),
        submitted_at=now,
    )
    path = folder / "cloud_jobs.db"
    database = open_store(str(path), clock=SystemClock())
    jobs = JobRepository(database)
    jobs.add(job)
    jobs.save_job(replace(job, state=JobState.COMPLETED, started_at=now, ended_at=now), was=job)
    database.close()
    connection = sqlite3.connect(path)
    columns = [row[1] for row in connection.execute("PRAGMA table_xinfo(jobs)") if row[6] == 0 and row[1] != "job_id"]
    times = {"created_at": "strftime('%Y-%m-%dT%H:%M:%S.000000Z', 1772366400 - n * 60, 'unixepoch')"}
    chosen = ", ".join(times.get(column, column) for column in columns)
    connection.execute(
        f"WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {JOBS - 1})"
        f" INSERT INTO jobs (job_id, {', '.join(columns)})"
        f" SELECT printf('%026d', n), {chosen} FROM numbers, (SELECT * FROM jobs LIMIT 1)"
    )
    connection.commit()
    connection.execute("ANALYZE")
    connection.commit()
    connection.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21, help="how often every variant runs")
    rounds = parser.parse_args().rounds
    import typer

    print(f"Python {sys.version.split()[0]}, Typer {typer.__version__}, SQLite {sqlite3.sqlite_version}, {JOBS:,} jobs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many_jobs(folder)
        job = folder / "my_job"
        job.mkdir()
        (job / "run.sh").write_text("echo done\n")
        python = sys.executable
        variants = {
            "python -c pass": [python, "-c", "pass"],
            "bare --help": [python, str(BARE), "--help"],
            f"bare --help{TERMINAL}": [python, str(BARE), "--help"],
            "bare command": [python, str(BARE), "hello", "world"],
            "cloud_run.py --help": [python, str(ROOT / "cloud_run.py"), "--help"],
            f"cloud_run.py --help{TERMINAL}": [python, str(ROOT / "cloud_run.py"), "--help"],
            "job_manager.py --help": [python, str(ROOT / "job_manager.py"), "--help"],
            "cloud_cost_report.py --help": [python, str(ROOT / "cloud_cost_report.py"), "--help"],
            "job_manager.py list": [python, str(ROOT / "job_manager.py"), "list"],
            "cloud_run.py --dry-run": [python, str(ROOT / "cloud_run.py"), "my_job", "--dry-run"],
        }
        taken = measured(variants, folder, rounds)
    return report(taken)


def measured(variants: dict[str, list[str]], folder: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of every variant, round by round; the first round only warms up."""
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder)}
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, command in variants.items():
            start = time.perf_counter()
            run = on_a_terminal if name.endswith(TERMINAL) else into_a_pipe
            code, output = run(command, folder, environment)
            seconds = time.perf_counter() - start
            if code != 0:
                sys.exit(f"{name} failed: {output.decode()}")
            if turn:
                taken[name].append(seconds)
    return taken


def into_a_pipe(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, bytes]:
    answer = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return answer.returncode, answer.stderr


def on_a_terminal(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, bytes]:
    """What a person sees: there bare Typer draws its help in panels."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    output = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while piece := os.read(ours, 65_536):
            output += piece
    os.close(ours)
    return process.wait(), output


def report(taken: dict[str, list[float]]) -> int:
    """Print every variant and every goal; 1 when a goal is missed."""
    middle = {name: statistics.median(seconds) for name, seconds in taken.items()}
    nothing = middle["python -c pass"]
    print(f"\n{'':32}{'median':>9}{'spread':>10}{'x python':>10}")
    for name, seconds in taken.items():
        quarters = statistics.quantiles(seconds, n=4)
        spread = f"±{(quarters[2] - quarters[0]) / 2 * 1000:.1f}"
        print(f"{name:32}{middle[name] * 1000:7.1f}ms{spread:>10}{middle[name] / nothing:10.2f}")

    passed = True
    print(f"\n{'goal':60}{'is':>7}{'at most':>9}")
    for name in middle:
        if name.startswith(("bare", "python")):
            continue
        bare, most = ("bare command", COMMAND_MAX)
        if "--help" in name:
            bare, most = f"bare --help{name.partition('--help')[2]}", HELP_MAX
        ours = statistics.median(door - base for door, base in zip(taken[name], taken[bare], strict=True))
        for goal, found, limit in (
            (f"{name} / {bare}", middle[name] / middle[bare], most),
            (f"{name}: ours / python -c pass", ours / nothing, OURS_MAX),
        ):
            verdict = "PASS" if found <= limit else "FAIL"
            passed = passed and found <= limit
            print(f"{goal:60}{found:7.2f}{limit:9.2f}  {verdict}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
