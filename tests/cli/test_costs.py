"""``cost_tracker.py`` and ``cloud_cost_report.py`` as commands: exact JSON, CSV, and exit codes a scheduler can read."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

TRACKER, REPORT = "cost_tracker.py", "cloud_cost_report.py"


@pytest.fixture
def finished(cli: Any, job_dir: Path) -> str:
    """A job that ran on this machine for a second; nobody has asked for its bill."""
    answer = cli("cloud_run.py", "my_job", "--command", "sleep 1", "--budget", "1", "--wait", "--json")
    assert answer.code == 0, answer.err
    return str(json.loads(answer.out)["job_id"])


def exact(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def test_the_cost_of_one_job_is_retrieved_by_id_or_name(cli: Any, finished: str) -> None:
    answer = cli(TRACKER, "--job-id", "my-job", "--json")
    assert answer.code == 0
    report = exact(answer.out)
    assert (report["processed"], report["successful"]) == (1, 1)
    assert report["jobs"][0]["job_id"] == finished
    assert report["jobs"][0]["actual_cost"] > 0
    assert "1 on the bill" in cli(TRACKER, "--job-id", finished).out


def test_a_cost_that_is_not_on_the_bill_yet_is_not_zero_and_ends_with_3(cli: Any, finished: str, here: Path) -> None:
    (here / "config.json").write_text('{"local": {"bill_delay_hours": 24}}')
    answer = cli(TRACKER, "--job-id", finished)
    assert answer.code == 3
    assert "pending" in answer.out
    assert "0 on the bill, 1 not yet" in answer.out
    assert exact(cli(REPORT, "job", finished, "--json").out)["actual_cost"] is None


def test_a_batch_of_nothing_is_fine(cli: Any) -> None:
    answer = cli(TRACKER, "--batch", "--json")
    assert answer.code == 0
    assert exact(answer.out)["processed"] == 0


@pytest.mark.parametrize("arguments", [(), ("--batch", "--job-id", "x")])
def test_it_must_be_said_whose_costs(arguments: tuple[str, ...], cli: Any) -> None:
    answer = cli(TRACKER, *arguments)
    assert answer.code == 2
    assert "--batch" in answer.err


@pytest.mark.parametrize(
    "arguments",
    [
        (TRACKER, "--batch", "--max-jobs", "0"),
        (TRACKER, "--batch", "--days-back", "-1"),
        (TRACKER, "--job-id", "no-such-job"),
        (REPORT, "trends", "--days", "0"),
        (REPORT, "trends", "--days", "1e9"),
        (REPORT, "trends", "--provider", "ibm"),
        (REPORT, "trends", "--json", "--csv"),
        (REPORT, "job", "no-such-job"),
        (REPORT, "job"),
        (REPORT, "compare", "--days", "99999"),
        (REPORT, "retrieve-costs", "--max-jobs", "many"),
        (REPORT, "weekly"),
    ],
)
def test_bad_questions_end_with_2_and_one_sentence(arguments: tuple[str, ...], cli: Any) -> None:
    answer = cli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("ERROR: ")
    assert len(answer.err.splitlines()) <= 2


def test_reports_agree_with_each_other_to_the_nano(cli: Any, finished: str) -> None:
    cli(REPORT, "retrieve-costs")
    cost = exact(cli(REPORT, "job", finished, "--json").out)["actual_cost"]
    trends = exact(cli(REPORT, "trends", "--days", "2", "--json").out)
    assert trends["totals"]["confirmed_cost"] == cost
    budget = exact(cli(REPORT, "budget", "--json").out)
    assert budget["summary"]["total_spent"] == cost
    compare = exact(cli(REPORT, "compare", "--json").out)
    assert compare["provider_stats"][0]["total_cost"] == cost


@pytest.mark.parametrize("report", ["trends", "budget", "compare"])
def test_csv_is_a_table_and_nothing_else(report: str, cli: Any, finished: str) -> None:
    cli(TRACKER, "--batch")
    rows = list(csv.DictReader(io.StringIO(cli(REPORT, report, "--csv").out)))
    assert len(rows) == 1
    assert "currency" in rows[0]


@pytest.mark.parametrize("provider", ["AWS", "aws", "Azure", "GCP", "LOCAL"])
def test_a_provider_is_found_in_any_case(provider: str, cli: Any, finished: str) -> None:
    trends = exact(cli(REPORT, "trends", "--provider", provider, "--json").out)
    assert set(trends["provider_breakdown"]) == ({"local"} if provider == "LOCAL" else set())
