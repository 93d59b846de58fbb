"""Every command and program of the cost tracking guide, run unchanged beside the doors.

Only ``<job-id>`` and ``'your-job-id'`` stand for something and are filled in. What needs a cloud's own command line or
account is listed with the reason, and so is what the guide shows in part only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOORS = ("find_cheapest_instance.py", "cloud_run.py", "job_manager.py", "cost_tracker.py", "cloud_cost_report.py")
BESIDE = (*DOORS, "tallygate", "schema")

REFUSED = (
    "ERROR: Estimated cost $8.0000 exceeds budget $5.00\n"
    "ERROR: Instance: r5.4xlarge @ $0.8000/hour for 10.0 hours\n"
    "ERROR: Use --estimated-runtime to adjust runtime estimate or increase --budget\n"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory as the guide assumes it: the doors, job directories, and jobs that have run and were billed."""
    folder = tmp_path_factory.mktemp("guide")
    for name in BESIDE:
        (folder / name).symlink_to(ROOT / name)
    for name in ("my_job_dir", "my_job"):
        (folder / name).mkdir()
        script = folder / name / "run.sh"
        script.write_text("#!/bin/sh\necho it ran\n")
        script.chmod(0o755)
    programs = folder / ".programs"
    programs.mkdir()
    for name in ("python", "python3"):  # a link would lose the virtual environment
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (programs / name).chmod(0o755)
    if shutil.which("sqlite3") is None:
        (programs / "sqlite3").write_text(f"#!{sys.executable}\n{SQLITE_SHELL}")
        (programs / "sqlite3").chmod(0o755)
    answer = run(
        folder, "python cloud_run.py my_job --name first --budget 1.00 --estimated-runtime 0.001 --wait --json"
    )
    assert answer.returncode == 0, answer.stderr
    (folder / ".job-id").write_text(json.loads(answer.stdout)["job_id"])
    answer = run(folder, "python cost_tracker.py --batch")
    assert answer.returncode == 0, answer.stderr
    return folder


SQLITE_SHELL = textwrap.dedent(
    """
    import sqlite3, sys
    database, command = sys.argv[1:]
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    if command.startswith(".schema "):
        rows = connection.execute("SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL", (command[8:],))
    else:
        rows = connection.execute(command)
    for row in rows:
        print("|".join("" if value is None else str(value) for value in row))
    """
)


def run(folder: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``command`` as a shell in that directory would run it."""
    everything = {
        "PATH": f"{folder / '.programs'}:{os.path.dirname(sys.executable)}:/usr/bin:/bin",
        "HOME": str(folder),
        **environment,
    }
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=everything,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def filled(text: str, folder: Path) -> str:
    job_id = (folder / ".job-id").read_text()
    return text.replace("<job-id>", job_id).replace("your-job-id", job_id)


# --- shell


COMMANDS = {
    "python cloud_run.py my_job_dir --s3-bucket my-bucket --budget 10.00 --estimated-runtime 3.0": r"Job \w{26} \(my-job-dir\)",
    "python cloud_cost_report.py job <job-id>": r"Billed +\$",
    "python cloud_cost_report.py job <job-id> --json": r'"actual_cost": ',
    "python cloud_cost_report.py trends --days 30": r"Confirmed +\$",
    "python cloud_cost_report.py trends --days 30 --provider AWS": r"on AWS",
    "python cloud_cost_report.py trends --days 30 --provider Azure": r"on AZURE",
    "python cloud_cost_report.py trends --json": r'"daily_costs": \[',
    "python cloud_cost_report.py budget": r"Success rate",
    "python cloud_cost_report.py budget --json": r'"budget_success_rate": ',
    "python cloud_cost_report.py compare --days 30": r"Cheapest",
    "python cloud_cost_report.py compare --days 30 --json": r'"recommendations": ',
    "python cloud_cost_report.py retrieve-costs": r"asked for",
    "python cost_tracker.py --job-id <job-id>": r"1 on the bill",
    "python cost_tracker.py --batch --max-jobs 20": r"asked for",
    "python cost_tracker.py --batch --max-jobs 10 --days-back 7 --force-refresh": r"asked for",
    'sqlite3 cloud_jobs.db ".schema jobs"': r"budget_limit\s+REAL(.|\n)*actual_cost\s+REAL",
    'sqlite3 cloud_jobs.db ".schema cost_tracking"': r"billing_period_start\s+TEXT",
    'sqlite3 cloud_jobs.db "SELECT job_id, actual_cost, budget_limit FROM jobs WHERE actual_cost IS NOT NULL;"': (
        r"\w{26}\|\S+\|1"
    ),
}

NOT_RUN = {
    "aws sts get-caller-identity": "the command line of AWS and an account",
    "gcloud auth list": "the command line of Google Cloud and an account",
    "az account show": "the command line of Azure and an account",
}
"""What the guide shows and this test does not run, and what it would need."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command_works_unchanged(command: str, place: Path) -> None:
    answer = run(place, filled(command, place))
    assert answer.returncode == 0, answer.stderr
    assert re.search(COMMANDS[command], answer.stdout)
    assert "Traceback" not in answer.stderr
    if "--json" in command:
        json.loads(answer.stdout)


def test_the_documented_price_search_works_unchanged(tmp_path: Path, place: Path) -> None:
    """In a directory of its own, because ``cloud_run.py`` would choose from the list it saves."""
    for name in (*BESIDE, ".programs"):
        (tmp_path / name).symlink_to(place / name)
    answer = run(tmp_path, "python find_cheapest_instance.py --no-interactive")
    assert answer.returncode == 0, answer.stderr
    assert len(answer.stdout.splitlines()) == 22
    rows = json.loads((tmp_path / "spot_prices.json").read_text())
    assert {"provider", "instance", "region", "price_hr", "vcpu", "ram_gb"} <= rows[0].keys()


def test_the_documented_refusal_is_printed_word_for_word(place: Path, tmp_path: Path) -> None:
    for name in (*BESIDE, "my_job", ".programs"):
        (tmp_path / name).symlink_to(place / name)
    listed = {
        "provider": "AWS",
        "instance": "r5.4xlarge",
        "region": "us-east-1",
        "price_hr": 0.8,
        "vcpu": 16,
        "ram_gb": 128,
    }
    (tmp_path / "spot_prices.json").write_text(json.dumps([listed]))
    answer = run(tmp_path, "python cloud_run.py my_job --s3-bucket test --budget 5.00 --estimated-runtime 10.0")
    assert (answer.returncode, answer.stdout, answer.stderr) == (1, "", REFUSED)


def test_a_command_shown_in_part_says_what_is_missing(place: Path) -> None:
    """``cloud_run.py --budget 20.00 --estimated-runtime 1.5`` stands in the guide without its job directory."""
    answer = run(place, "python cloud_run.py --budget 20.00 --estimated-runtime 1.5")
    assert answer.returncode == 2
    assert answer.stderr.splitlines() == ["ERROR: Missing argument 'JOB_DIR'.", "  See: cloud_run.py --help"]


@pytest.mark.parametrize("door", DOORS)
def test_the_help_shows_every_documented_option(door: str, place: Path) -> None:
    documented = {
        "find_cheapest_instance.py": ("--budget", "--max-price-per-hour", "--estimated-runtime", "--no-interactive"),
        "cloud_run.py": ("JOB_DIR", "--s3-bucket", "--budget", "--estimated-runtime"),
        "cost_tracker.py": ("--job-id", "--batch", "--max-jobs", "--days-back", "--force-refresh"),
        "cloud_cost_report.py": ("job", "trends", "budget", "compare", "retrieve-costs"),
        "job_manager.py": ("list",),
    }
    answer = run(place, f"python {door} --help")
    assert answer.returncode == 0
    assert [word for word in documented[door] if word not in answer.stdout] == []


# --- programs


DEBUG_LOGGING = """
export PYTHONPATH=/path/to/cloud-scheduler
python -c "
import logging
logging.basicConfig(level=logging.DEBUG)
from cost_tracker import CloudCostTracker
tracker = CloudCostTracker()
tracker.retrieve_job_cost('your-job-id')
"
"""

CUSTOM_ANALYSIS = """
from cloud_cost_report import CostReporter
from datetime import datetime, timedelta

reporter = CostReporter()

# Custom cost analysis
def analyze_weekend_costs():
    trends = reporter.generate_cost_trends(days=30)
    # Analyze trends data for weekend vs. weekday patterns
    return analysis

# Cost prediction accuracy
def cost_prediction_accuracy():
    jobs = reporter.job_manager.list_jobs(limit=100)
    accurate_jobs = []
    for job in jobs:
        if job.get('actual_cost') and job.get('estimated_cost'):
            accuracy = abs(job['actual_cost'] - job['estimated_cost']) / job['estimated_cost']
            if accuracy < 0.1:  # Within 10%
                accurate_jobs.append(job)
    return len(accurate_jobs) / len(jobs) * 100
"""

MONITORING = """
import logging
from cloud_cost_report import CostReporter

# Set up monitoring
logger = logging.getLogger('cost_monitoring')
reporter = CostReporter()

# Check for over-budget jobs
over_budget = reporter.job_manager.get_jobs_over_budget()
if over_budget:
    logger.warning(f"Found {len(over_budget)} jobs over budget")

# Check cost retrieval success rate
results = reporter.cost_tracker.batch_retrieve_costs(max_jobs=50)
success_rate = results['successful'] / results['processed'] * 100
logger.info(f"Cost retrieval success rate: {success_rate:.1f}%")
"""


def python(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(program)
    return run(folder, "python program.py")


def test_debug_logging_works_as_documented(place: Path) -> None:
    answer = run(place, filled(DEBUG_LOGGING, place))
    assert answer.returncode == 0, answer.stderr


def test_debug_logging_of_an_unknown_job_says_so_and_does_not_fail(place: Path) -> None:
    answer = run(place, DEBUG_LOGGING)
    assert answer.returncode == 0, answer.stderr
    assert "your-job-id" in answer.stderr


def test_custom_analysis_works_as_documented(place: Path) -> None:
    program = f"{CUSTOM_ANALYSIS}\nprint(cost_prediction_accuracy())\nreporter.generate_cost_trends(days=30)\n"
    answer = python(place, program)
    assert answer.returncode == 0, answer.stderr
    assert 0 <= float(answer.stdout) <= 100


@pytest.mark.parametrize("billed", [True, False], ids=["with jobs", "with nothing to process"])
def test_monitoring_works_as_documented(billed: bool, place: Path, tmp_path: Path) -> None:
    """Also where there is nothing to process: a share of nothing is not a number, and no error."""
    folder = place
    if not billed:
        folder = tmp_path
        for name in (*BESIDE, ".programs"):
            (folder / name).symlink_to(place / name)
    answer = python(folder, f"{MONITORING}\nprint(f'{{success_rate:.1f}}%')\n")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == ("100.0%\n" if billed else "nan%\n")


def test_importing_the_reporter_builds_nothing(place: Path) -> None:
    """No cloud client, no database, no command line: importing costs next to nothing."""
    heavy = (
        "boto3",
        "botocore",
        "google",
        "azure",
        "sqlite3",
        "psycopg",
        "typer",
        "pydantic",
        "rich",
        "tabulate",
        "logging",
    )
    program = f"import sys\nimport cloud_cost_report\nprint([name for name in {heavy} if name in sys.modules])\n"
    assert python(place, program).stdout == "[]\n"
