"""``JobManager``: the documented calls, honest where the original was not."""

from __future__ import annotations

import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallygate.errors import UnknownJob

CONFIG = {
    "provider": "AWS",
    "instance_type": "r5.4xlarge",
    "region": "us-east-1",
    "price_per_hour": 0.8,
    "budget_limit": "5.00",
    "s3_bucket": "my-bucket",
    "basis_set": "aug-cc-pVDZ",
    "billing_tags": {"team": "search"},
    "colour": "blue",
}
LAUNCH = {"instance_id": "i-123", "spot_request_id": "sir-1", "public_ip": "203.0.113.7", "status": "launched"}

DOCUMENTED = {
    "job_id", "status", "provider", "instance_type", "instance_id", "region", "public_ip", "private_ip", "s3_bucket",
    "s3_input_path", "gdrive_path", "basis_set", "created_at", "updated_at", "started_at", "completed_at",
    "price_per_hour", "estimated_cost", "actual_cost", "budget_limit", "cost_retrieved_at", "spot_request_id",
    "billing_tags", "metadata",
}  # fmt: skip


@pytest.fixture
def manager(job_manager: Any, database_url: str) -> Any:
    return job_manager.JobManager(database_url)


@pytest.fixture
def job_id(manager: Any) -> str:
    assert manager.create_job("job-1", CONFIG, LAUNCH) is True
    return "job-1"


def test_a_job_has_every_documented_column_and_exact_amounts(manager: Any, job_id: str) -> None:
    job = manager.get_job(job_id)
    assert set(job) >= DOCUMENTED
    assert (job["provider"], job["status"], job["instance_id"]) == ("AWS", "launching", "i-123")
    assert (job["price_per_hour"], job["estimated_cost"]) == (Decimal("0.8"), Decimal("1.60"))
    assert (job["budget_limit"], job["actual_cost"]) == (Decimal("5.00"), None)
    assert all(type(job[name]) is Decimal for name in ("price_per_hour", "estimated_cost", "budget_limit"))
    assert job["billing_tags"] == {"team": "search"}
    assert (job["spot_request_id"], job["public_ip"]) == ("sir-1", "203.0.113.7")


def test_nothing_that_was_given_is_dropped(manager: Any, job_id: str) -> None:
    assert manager.get_job(job_id)["metadata"]["colour"] == "blue"
    manager.update_job_status(job_id, "running", {"checkpoint": 7})
    metadata = manager.get_job(job_id)["metadata"]
    assert (metadata["colour"], metadata["checkpoint"]) == ("blue", 7)
    assert manager.get_job(job_id)["instance_id"] == "i-123"


def test_the_same_id_is_not_created_twice(manager: Any, job_id: str) -> None:
    assert manager.create_job(job_id, CONFIG, LAUNCH) is False
    assert len(manager.list_jobs()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"price_per_hour": None},
        {"price_per_hour": 0},
        {"price_per_hour": float("nan")},
        {"price_per_hour": -1},
        {"provider": "ibm"},
        {"region": ""},
        {"instance_type": None},
        {"estimated_runtime": -1},
    ],
)
def test_a_job_whose_cost_cannot_be_known_is_not_created(
    manager: Any, wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert manager.create_job("job-2", {**CONFIG, **wrong}, LAUNCH) is False
    assert "job-2" in caplog.text
    assert manager.list_jobs() == []


def test_a_status_moves_only_as_a_job_s_life_does(manager: Any, job_id: str) -> None:
    assert manager.update_job_status(job_id, "running") is True
    assert manager.get_job(job_id)["started_at"] is not None
    assert manager.update_job_status(job_id, "completed", {"exit_code": 0}) is True
    assert manager.get_job(job_id)["completed_at"] is not None
    assert manager.update_job_status(job_id, "running") is False
    assert manager.get_job(job_id)["status"] == "completed"


@pytest.mark.parametrize(("job", "status"), [("no-such-job", "running"), ("job-1", "finished"), ("job-1", "")])
def test_an_unknown_job_or_status_answers_false_and_says_why(
    manager: Any, job_id: str, job: str, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert manager.update_job_status(job, status) is False
    assert job in caplog.text


def test_a_failure_keeps_its_reason(manager: Any, job_id: str) -> None:
    manager.update_job_status(job_id, "failed", {"error_message": "no such file", "exit_code": 3})
    job = manager.get_job(job_id)
    assert (job["status"], job["reason"], job["exit_status"]) == ("failed", "no such file", 3)


def test_jobs_are_listed_newest_first_and_by_status(manager: Any) -> None:
    for number in range(3):
        manager.create_job(f"job-{number}", CONFIG, LAUNCH)
    manager.update_job_status("job-1", "failed")
    assert [job["job_id"] for job in manager.list_jobs(limit=2)] == ["job-2", "job-1"]
    assert [job["job_id"] for job in manager.list_jobs(status="failed")] == ["job-1"]


def test_the_cost_so_far_is_price_times_time_and_ends_with_the_job(manager: Any, job_id: str) -> None:
    assert manager.calculate_job_cost("no-such-job") is None
    assert manager.calculate_job_cost(job_id) is None
    start, end = "2026-03-01T12:00:00Z", "2026-03-01T12:45:00Z"
    manager.update_job_status(job_id, "running", {"started_at": start})
    assert manager.calculate_job_cost(job_id) > 0
    manager.update_job_status(job_id, "completed", {"completed_at": end})
    assert manager.calculate_job_cost(job_id) == Decimal("0.6")


@pytest.mark.parametrize(
    ("estimated", "within", "percent", "over"),
    [
        ("5.00", True, "100.0", "0"),
        (5, True, "100.0", "0"),
        ("5.000000001", False, "100.0", "0.000000001"),
        (8.0, False, "160.0", "3"),
    ],
)
def test_a_budget_is_checked_exactly_and_equal_passes(
    manager: Any, job_id: str, estimated: Any, within: bool, percent: str, over: str
) -> None:
    answer = manager.check_budget_limit(job_id, estimated)
    assert answer["within_budget"] is within
    assert answer["budget_limit"] == 5
    assert answer["budget_usage_percent"] == Decimal(percent)
    assert answer["over_budget_amount"] == Decimal(over)


def test_a_check_without_a_budget_has_the_same_keys(manager: Any, job_id: str) -> None:
    manager.create_job("free", {**CONFIG, "budget_limit": None}, LAUNCH)
    free = manager.check_budget_limit("free", 1)
    assert set(free) == set(manager.check_budget_limit(job_id, 1))
    assert (free["within_budget"], free["budget_limit"], free["budget_usage_percent"]) == (True, None, None)


def test_a_budget_of_zero_is_a_budget(manager: Any) -> None:
    manager.create_job("zero", {**CONFIG, "budget_limit": 0}, LAUNCH)
    assert manager.check_budget_limit("zero", "0.01")["within_budget"] is False


def test_an_unknown_job_is_within_no_budget(manager: Any) -> None:
    with pytest.raises(UnknownJob):
        manager.check_budget_limit("no-such-job", 1)


def test_only_finished_jobs_leave_the_lists_and_their_rows_stay(manager: Any, job_id: str) -> None:
    assert manager.delete_job(job_id) is False
    manager.update_job_status(job_id, "completed", {"completed_at": "2026-03-01T12:00:00Z"})
    assert manager.delete_job(job_id) is True
    assert manager.delete_job("no-such-job") is False
    assert manager.list_jobs() == []
    assert manager.get_job(job_id)["status"] == "completed"


def test_old_finished_jobs_are_cleaned_up(manager: Any, job_id: str) -> None:
    manager.create_job("running", CONFIG, LAUNCH)
    manager.update_job_status(job_id, "completed", {"completed_at": "2020-03-01T12:00:00Z"})
    assert manager.cleanup_completed_jobs(days_old=30) == 1
    assert manager.cleanup_completed_jobs(days_old=30) == 0


def test_looking_creates_no_database(job_manager: Any, in_an_empty_directory: Path) -> None:
    manager = job_manager.get_job_manager()
    assert manager.list_jobs() == []
    assert manager.get_job("x") is None
    assert list(in_an_empty_directory.iterdir()) == []


def test_the_environment_names_the_database(
    job_manager: Any, in_an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_SCHEDULER_DB", "elsewhere.db")
    assert job_manager.JobManager().db_path == "elsewhere.db"
    assert job_manager.JobManager("mine.db").db_path == "mine.db"


# --- costs


@pytest.fixture
def finished(manager: Any, job_id: str) -> str:
    manager.update_job_status(job_id, "running", {"started_at": "2026-03-01T12:00:00Z"})
    manager.update_job_status(job_id, "completed", {"completed_at": "2026-03-01T14:00:00Z"})
    return job_id


def test_a_stated_cost_is_exact_and_stating_it_again_replaces_it(manager: Any, finished: str) -> None:
    assert manager.update_actual_cost(finished, "1.234567891") is True
    assert manager.get_job(finished)["actual_cost"] == Decimal("1.234567891")
    for _ in range(2):
        assert manager.update_actual_cost(
            finished, 7.5, [{"usage_type": "spot", "amount": 7}, {"usage_type": "disk", "amount": 0.5}]
        )
    assert manager.get_job(finished)["actual_cost"] == Decimal("7.5")
    summary = manager.get_cost_summary(finished)
    assert sum(line["amount"] for line in summary["cost_breakdown"]) == Decimal("7.5")
    assert (summary["within_budget"], summary["over_budget_amount"]) == (False, Decimal("2.5"))
    assert summary["budget_usage_percent"] == Decimal("150.0")


def test_stated_costs_of_two_jobs_stand_beside_each_other(manager: Any, finished: str) -> None:
    manager.create_job("job-2", {**CONFIG, "estimated_cost": 1}, LAUNCH)
    manager.update_job_status("job-2", "failed", {"completed_at": "2026-03-01T14:00:00Z"})
    assert manager.update_actual_cost(finished, 1) is True
    assert manager.update_actual_cost("job-2", 2) is True
    assert manager.get_job(finished)["actual_cost"] == 1
    assert manager.get_job("job-2")["actual_cost"] == 2


def test_a_real_cost_of_zero_is_a_cost(manager: Any, finished: str) -> None:
    assert manager.update_actual_cost(finished, 0) is True
    assert manager.get_job(finished)["actual_cost"] == 0


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), "1e9", "", None, True])
def test_what_is_no_amount_changes_nothing(manager: Any, finished: str, cost: Any) -> None:
    assert manager.update_actual_cost(finished, cost) is False
    assert manager.get_job(finished)["actual_cost"] is None


def test_an_unknown_job_has_no_cost(manager: Any) -> None:
    assert manager.update_actual_cost("no-such-job", 1) is False
    assert manager.get_cost_summary("no-such-job") is None


def test_a_summary_says_what_is_not_known(manager: Any, job_id: str) -> None:
    summary = manager.get_cost_summary(job_id)
    documented = {
        "job_id", "provider", "instance_type", "status", "estimated_cost", "actual_cost", "current_runtime_cost",
        "budget_limit", "cost_retrieved_at", "cost_breakdown", "within_budget", "budget_usage_percent",
        "over_budget_amount",
    }  # fmt: skip
    assert set(summary) >= documented
    assert (summary["actual_cost"], summary["within_budget"], summary["cost_breakdown"]) == (None, None, [])


def test_jobs_over_their_budget_are_listed_the_furthest_over_first(manager: Any, finished: str) -> None:
    assert manager.get_jobs_over_budget() == []
    for name, cost in (("job-2", 9), ("job-3", 1)):
        manager.create_job(name, CONFIG, LAUNCH)
        manager.update_job_status(name, "completed", {"completed_at": "2026-03-01T14:00:00Z"})
        manager.update_actual_cost(name, cost)
    manager.update_actual_cost(finished, 6)
    over = manager.get_jobs_over_budget()
    assert [(job["job_id"], job["over_budget_amount"]) for job in over] == [("job-2", 4), (finished, 1)]
    assert over[0]["budget_usage_percent"] == Decimal("180.0")
