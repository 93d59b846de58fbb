"""``CloudCostTracker`` and ``CostReporter``: the documented calls and keys, over jobs that really ran on this machine."""

from __future__ import annotations

import json
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallygate.errors import ConfigError

CONFIG = {
    "provider": "AWS",
    "instance_type": "r5.4xlarge",
    "region": "us-east-1",
    "price_per_hour": "0.8",
    "budget_limit": 5,
}


@pytest.fixture
def job_id(in_an_empty_directory: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """A job that ran on this machine and is over; its bill was not asked for."""
    from tallygate.cli import shell
    from tallygate.cli.program import program

    folder = in_an_empty_directory / "my_job"
    folder.mkdir()
    (folder / "run.sh").write_text("#!/bin/sh\nsleep 1\n")
    (folder / "run.sh").chmod(0o755)
    arguments = ["my_job", "--budget", "1.00", "--estimated-runtime", "0.001", "--wait", "--json"]
    assert shell.run(lambda: program("tallygate.cli.run:run"), "cloud_run.py", arguments) == 0
    job: dict[str, str] = json.loads(capfd.readouterr().out)
    return job["job_id"]


@pytest.fixture
def tracker(cost_tracker: Any) -> Any:
    return cost_tracker.CloudCostTracker()


@pytest.fixture
def reporter(cloud_cost_report: Any) -> Any:
    return cloud_cost_report.CostReporter()


# --- the tracker


def test_a_cost_is_retrieved_from_the_bill(tracker: Any, reporter: Any, job_id: str) -> None:
    assert reporter.job_manager.get_job(job_id)["actual_cost"] is None
    assert tracker.retrieve_job_cost(job_id) is True
    first = reporter.job_manager.get_job(job_id)["actual_cost"]
    assert first > 0
    assert tracker.retrieve_job_cost(job_id, force_refresh=True) is True
    assert reporter.job_manager.get_job(job_id)["actual_cost"] == first


def test_an_unknown_job_has_no_cost_and_that_is_logged(tracker: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert tracker.retrieve_job_cost("no-such-job") is False
    assert "no-such-job" in caplog.text


def test_a_batch_counts_what_came(tracker: Any, job_id: str) -> None:
    results = tracker.batch_retrieve_costs(max_jobs=5, days_back=7)
    assert (results["processed"], results["successful"], results["failed"]) == (1, 1, 0)
    assert [(job["job_id"], job["status"]) for job in results["jobs"]] == [(job_id, "success")]
    assert results["successful"] / results["processed"] == 1.0


def test_a_share_of_nothing_is_not_a_number(tracker: Any) -> None:
    results = tracker.batch_retrieve_costs()
    assert results["processed"] == 0
    share = results["successful"] / results["processed"]
    assert share != share


def test_a_job_of_another_program_stays_unknown_until_its_bill_says_something(tracker: Any, job_manager: Any) -> None:
    """No bill that is read here names it: its cost must not become zero by waiting."""
    manager = job_manager.get_job_manager()
    manager.create_job("elsewhere", CONFIG, {"instance_id": "i-1"})
    manager.update_job_status("elsewhere", "completed")
    assert tracker.retrieve_job_cost("elsewhere") is False
    assert tracker.batch_retrieve_costs()["successful"] == 0
    assert manager.get_job("elsewhere")["actual_cost"] is None


def test_a_cloud_that_is_not_set_up_is_said_so_instead_of_guessed(
    tracker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert tracker.get_aws_spot_cost("j", "i-1", "us-east-1", None, None) is None
        assert tracker.get_gcp_spot_cost("j", "vm", "project", "zone", None, None) is None
        assert tracker.get_azure_spot_cost("j", "vm", "group", None, None) is None
    assert all(cloud in caplog.text for cloud in ("AWS", "GCP", "Azure"))


def test_the_default_configuration_may_be_missing_and_another_one_may_not(cost_tracker: Any) -> None:
    cost_tracker.CloudCostTracker()
    with pytest.raises(ConfigError):
        cost_tracker.CloudCostTracker("elsewhere.json")


# --- the reporter


def test_a_job_summary_has_the_documented_keys(reporter: Any, tracker: Any, job_id: str) -> None:
    tracker.retrieve_job_cost(job_id)
    summary = reporter.generate_job_summary(job_id)
    assert set(summary) >= {
        "job_id", "provider", "instance_type", "status", "estimated_cost", "actual_cost", "current_runtime_cost",
        "budget_limit", "cost_retrieved_at", "cost_breakdown", "within_budget", "budget_usage_percent",
        "over_budget_amount", "cost_accuracy",
    }  # fmt: skip
    assert set(summary["cost_accuracy"]) >= {"estimated", "actual", "difference", "accuracy_percent"}
    assert type(summary["actual_cost"]) is Decimal
    assert summary["within_budget"] is True
    assert set(reporter.generate_job_summary("no-such-job")) == {"error"}


def test_trends_have_the_documented_keys_and_keep_sure_and_unsure_apart(
    reporter: Any, tracker: Any, job_id: str
) -> None:
    tracker.retrieve_job_cost(job_id)
    reporter.job_manager.create_job("elsewhere", CONFIG, {})
    trends = reporter.generate_cost_trends(days=30)
    assert set(trends["period"]) >= {"start_date", "end_date", "days"}
    totals = trends["totals"]
    assert set(totals) >= {"job_count", "total_cost", "confirmed_cost", "estimated_cost", "average_job_cost"}
    assert totals["confirmed_cost"] == reporter.job_manager.get_job(job_id)["actual_cost"]
    assert totals["estimated_cost"] == Decimal("1.60")
    assert set(trends["provider_breakdown"]) == {"AWS", "local"}
    (day, *_) = trends["daily_costs"]
    assert set(day) >= {"date", "provider", "job_count", "total_cost", "avg_cost", "confirmed_cost", "estimated_cost"}
    only = reporter.generate_cost_trends(days=1, provider="Aws")
    assert set(only["provider_breakdown"]) == {"AWS"}


def test_the_budget_analysis_has_the_documented_keys(reporter: Any, job_id: str) -> None:
    analysis = reporter.generate_budget_analysis()
    assert set(analysis) >= {"summary", "over_budget_jobs", "recent_budget_jobs"}
    assert set(analysis["summary"]) >= {
        "total_jobs_with_budget", "jobs_within_budget", "jobs_over_budget", "budget_success_rate",
        "total_budget_allocated", "total_spent", "total_savings", "total_overrun", "budget_utilization_percent",
    }  # fmt: skip
    assert analysis["summary"]["jobs_within_budget"] == 0, "a cost that is not known is within nothing"
    assert [job["job_id"] for job in analysis["recent_budget_jobs"]] == [job_id]


def test_the_comparison_has_the_documented_keys(reporter: Any, job_id: str) -> None:
    comparison = reporter.generate_provider_comparison(days=30)
    assert set(comparison) >= {"period", "provider_stats", "recommendations"}
    assert set(comparison["recommendations"]) == {"cheapest_provider", "most_reliable_provider", "most_used_provider"}
    (stats,) = comparison["provider_stats"]
    assert set(stats) >= {
        "provider", "job_count", "avg_cost", "min_cost", "max_cost", "total_cost", "avg_price_per_hour",
        "completed_jobs", "failed_jobs", "success_rate",
    }  # fmt: skip


def test_reports_print_themselves(reporter: Any, job_id: str, capfd: pytest.CaptureFixture[str]) -> None:
    reporter.print_job_summary(job_id)
    reporter.print_job_summary("no-such-job")
    reporter.print_cost_trends(days=7)
    reporter.print_budget_analysis()
    reporter.print_provider_comparison(days=7)
    out = capfd.readouterr().out
    assert job_id in out
    assert all(word in out for word in ("no-such-job", "Confirmed", "Success rate", "Cheapest"))


def test_reporting_on_nothing_creates_nothing(reporter: Any, in_an_empty_directory: Path) -> None:
    assert reporter.generate_cost_trends()["totals"]["job_count"] == 0
    assert reporter.generate_budget_analysis()["summary"]["total_jobs_with_budget"] == 0
    assert reporter.generate_provider_comparison()["provider_stats"] == []
    assert list(in_an_empty_directory.iterdir()) == []
