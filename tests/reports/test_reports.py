"""What the four reports promise, on both engines."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tallygate.errors import UnknownJob, UsageError
from tallygate.jobs.job import JobState
from tallygate.money import Money
from tallygate.reports import render
from tallygate.reports.budgets import budget_analysis, over_budget
from tallygate.reports.compare import provider_comparison
from tallygate.reports.jobs import job_summary
from tallygate.reports.trends import cost_trends

if TYPE_CHECKING:
    from tests.reports.conftest import Records

DAY = timedelta(days=1)


# --- an empty store


def test_every_report_on_an_empty_store_answers_with_zeros(records: Records) -> None:
    now = records.clock.now()
    trends = cost_trends(records.database, now=now).as_dict()
    assert trends["totals"]["job_count"] == 0
    assert trends["totals"]["total_cost"] == trends["totals"]["average_job_cost"] == Decimal(0)
    assert (trends["daily_costs"], trends["provider_breakdown"]) == ([], {})
    budget = budget_analysis(records.database, records.book, now=now).as_dict()
    assert budget["summary"]["budget_success_rate"] == budget["summary"]["total_spent"] == Decimal(0)
    assert budget["summary"]["budget_utilization_percent"] == Decimal(0)
    comparison = provider_comparison(records.database, now=now).as_dict()
    assert comparison["provider_stats"] == []
    assert set(comparison["recommendations"].values()) == {None}
    for report in (
        cost_trends(records.database, now=now),
        budget_analysis(records.database, records.book, now=now),
        provider_comparison(records.database, now=now),
    ):
        json.loads(render.json_text(report))
        assert report.as_text()
        assert render.csv_text(report.csv()[1], report.csv()[0]).count("\n") == 1


# --- one job


def test_a_job_report_has_the_documented_keys(records: Records) -> None:
    job = records.job(billed="0.90", budget="2", estimated="1")
    report = job_summary(records.database, records.book, job.id, now=records.clock.now()).as_dict()
    documented = [
        "job_id", "provider", "instance_type", "status", "estimated_cost", "actual_cost", "current_runtime_cost",
        "budget_limit", "cost_retrieved_at", "cost_breakdown", "within_budget", "budget_usage_percent",
        "over_budget_amount", "cost_accuracy",
    ]  # fmt: skip
    assert list(report)[: len(documented)] == documented
    assert report["cost_accuracy"] == {
        "estimated": Decimal("1.00"),
        "actual": Decimal("0.90"),
        "difference": Decimal("-0.10"),
        "accuracy_percent": Decimal("90.0"),
    }
    assert (report["provider"], report["within_budget"], report["budget_usage_percent"]) == (
        "AWS",
        True,
        Decimal("45.0"),
    )
    assert report["over_budget_amount"] == Decimal(0)
    assert report["attempts"][0]["seconds"] == 3600
    assert report["holds"][0]["amount"] == Decimal(20)


@pytest.mark.parametrize(("actual", "percent"), [("1", "100.0"), ("1.5", "50.0"), ("0.5", "50.0"), ("5", "0.0")])
def test_accuracy_runs_from_nothing_to_a_hundred(records: Records, actual: str, percent: str) -> None:
    job = records.job(billed=actual, estimated="1")
    report = job_summary(records.database, records.book, job.id, now=records.clock.now())
    assert report.accuracy_percent == Decimal(percent)


def test_a_job_that_is_not_billed_has_no_actual_cost(records: Records) -> None:
    """Neither zero nor the estimate stands in for a bill that is not there."""
    job = records.job(budget="2")
    summary = job_summary(records.database, records.book, job.id, now=records.clock.now())
    report = summary.as_dict()
    for key in (
        "actual_cost",
        "billed_cost",
        "final_cost",
        "within_budget",
        "budget_usage_percent",
        "over_budget_amount",
    ):
        assert report[key] is None
    assert report["metered_cost"] == Decimal(1)
    assert report["cost_accuracy"]["accuracy_percent"] is None
    assert "Billed               unknown" in summary.as_text()


def test_a_billed_zero_is_a_cost_and_a_zero_budget_can_be_broken(records: Records) -> None:
    free = records.job(billed="0", budget="0", estimated="0")
    dear = records.job(billed="0.01", budget="0")
    now = records.clock.now()
    assert job_summary(records.database, records.book, free.id, now=now).as_dict()["actual_cost"] == 0
    report = job_summary(records.database, records.book, dear.id, now=now).as_dict()
    assert (report["within_budget"], report["over_budget_amount"]) == (False, Decimal("0.01"))
    assert [job.job_id for job in over_budget(records.database)] == [dear.id]


def test_a_finished_jobs_runtime_cost_stands_still_and_a_running_ones_grows(records: Records) -> None:
    ended, runs = records.job(), records.job(state=JobState.RUNNING)
    at = records.clock.now()

    def cost(job_id: str, hours: int) -> object:
        now = at + timedelta(hours=hours)
        return job_summary(records.database, records.book, job_id, now=now).as_dict()["current_runtime_cost"]

    assert (cost(ended.id, 0), cost(ended.id, 5)) == (Decimal(1), Decimal(1))
    assert (cost(runs.id, 0), cost(runs.id, 5)) == (Decimal(1), Decimal(6))


def test_a_job_report_on_nobody_is_refused(records: Records) -> None:
    with pytest.raises(UnknownJob):
        job_summary(records.database, records.book, "nobody", now=records.clock.now())


# --- trends


def test_trends_keep_what_is_confirmed_apart_from_what_is_thought(records: Records) -> None:
    """Every job's cost is in exactly one of final, billed, metered, estimated; only bills make up the total."""
    now = records.clock.now()
    records.job(billed="2", ended=now)
    records.job(billed="3", final=False, ended=now)
    records.job(ended=now, price="5")
    records.job(state=JobState.RUNNING, estimated="7")
    totals = cost_trends(records.database, now=now).as_dict()["totals"]
    assert totals["job_count"] == 4
    assert (totals["final_cost"], totals["billed_cost"]) == (Decimal(2), Decimal(3))
    assert (totals["total_cost"], totals["confirmed_cost"]) == (Decimal(5), Decimal(5))
    assert (totals["metered_cost"], totals["estimated_cost"]) == (Decimal(5), Decimal(7))
    assert totals["average_job_cost"] == Decimal("2.5")


def test_trends_go_by_the_day_of_use(records: Records) -> None:
    """A job over midnight is in both days, and one submitted before the window counts with what it used inside it."""
    now = records.clock.now()
    records.job(billed="3", ended=now, days={"2026-02-27": "1", "2026-02-28": "1.5", "2026-03-01": "0.5"})
    days = cost_trends(records.database, now=now, days=2).as_dict()
    assert [(day["date"], day["confirmed_cost"]) for day in days["daily_costs"]] == [
        ("2026-02-28", Decimal("1.5")),
        ("2026-03-01", Decimal("0.5")),
    ]
    assert days["totals"]["confirmed_cost"] == Decimal(2)
    assert days["totals"]["job_count"] == 1
    assert days["period"] == {"start_date": "2026-02-28", "end_date": "2026-03-01", "days": 2}


@pytest.mark.parametrize("spelling", ["azure", "Azure", "AZURE"])
def test_a_provider_may_be_written_in_any_case(records: Records, spelling: str) -> None:
    now = records.clock.now()
    records.job(provider="azure", billed="2", ended=now)
    records.job(provider="aws", billed="3", ended=now)
    report = cost_trends(records.database, now=now, provider=spelling).as_dict()
    assert list(report["provider_breakdown"]) == ["AZURE"]
    assert report["totals"]["confirmed_cost"] == Decimal(2)


def test_a_day_with_jobs_and_no_bill_has_no_confirmed_cost(records: Records) -> None:
    now = records.clock.now()
    records.job(ended=now)
    (day,) = cost_trends(records.database, now=now).as_dict()["daily_costs"]
    assert (day["total_cost"], day["confirmed_cost"], day["avg_cost"]) == (None, None, None)
    assert (day["metered_cost"], day["estimated_cost"]) == (Decimal(1), Decimal(0))


def test_currencies_are_never_added_up(records: Records) -> None:
    now = records.clock.now()
    records.job(billed="2", ended=now)
    records.job(billed="9", ended=now, currency="EUR")
    report = cost_trends(records.database, now=now).as_dict()
    assert (report["totals"]["confirmed_cost"], report["other_currencies"]) == (Decimal(2), ["EUR"])
    assert cost_trends(records.database, now=now, currency="EUR").as_dict()["totals"]["confirmed_cost"] == Decimal(9)


def test_days_make_up_the_totals(records: Records) -> None:
    now = records.clock.now()
    for number in range(12):
        records.job(
            provider=["aws", "gcp"][number % 2], ended=now - number * DAY, billed=["0.1", None, "0.7"][number % 3]
        )
    report = cost_trends(records.database, now=now)
    for name in ("billed", "final", "metered", "estimated"):
        of_providers = sum(getattr(sums, name).nanos for sums in report.providers.values())
        assert getattr(report.totals, name).nanos == of_providers
    of_days = sum(day.sums.confirmed.nanos for day in report.daily if day.sums.confirmed is not None)
    assert report.totals.confirmed == Money(of_days)


@pytest.mark.parametrize("days", [0, -1, 100_000])
def test_a_stretch_of_days_has_bounds(records: Records, days: int) -> None:
    with pytest.raises(UsageError):
        cost_trends(records.database, now=records.clock.now(), days=days)
    with pytest.raises(UsageError):
        provider_comparison(records.database, now=records.clock.now(), days=days)


# --- budgets


def test_only_jobs_with_a_known_cost_are_judged(records: Records) -> None:
    """A running job and one without a bill are neither within their budget nor over it, and save nothing."""
    records.job(budget="10", billed="4")
    records.job(budget="2", billed="3", final=False)
    records.job(budget="100")
    records.job(budget="50", state=JobState.RUNNING)
    records.job(billed="9")
    summary = budget_analysis(records.database, records.book, now=records.clock.now()).as_dict()["summary"]
    assert list(summary)[:9] == [
        "total_jobs_with_budget",
        "jobs_within_budget",
        "jobs_over_budget",
        "budget_success_rate",
        "total_budget_allocated",
        "total_spent",
        "total_savings",
        "total_overrun",
        "budget_utilization_percent",
    ]
    assert [summary[key] for key in list(summary)[:9]] == [
        4,
        1,
        1,
        Decimal("50.0"),
        Decimal(12),
        Decimal(7),
        Decimal(6),
        Decimal(1),
        Decimal("58.3"),
    ]
    assert (summary["jobs_running"], summary["jobs_with_unknown_cost"], summary["jobs_not_final"]) == (1, 1, 1)
    assert summary["total_budget_undecided"] == Decimal(150)


def test_without_any_known_cost_there_is_no_success_rate(records: Records) -> None:
    records.job(budget="100")
    summary = budget_analysis(records.database, records.book, now=records.clock.now()).as_dict()["summary"]
    unknown = ("budget_success_rate", "budget_utilization_percent", "total_spent", "total_savings", "total_overrun")
    assert {key: summary[key] for key in unknown} == dict.fromkeys(unknown)


def test_a_job_within_its_budget_is_over_by_nothing(records: Records) -> None:
    records.job(budget="10", billed="4")
    report = budget_analysis(records.database, records.book, now=records.clock.now()).as_dict()
    (job,) = report["recent_budget_jobs"]
    assert (job["within_budget"], job["over_budget_amount"], job["budget_usage_percent"]) == (True, 0, Decimal("40.0"))
    assert report["over_budget_jobs"] == []


def test_named_budgets_show_their_jars(records: Records) -> None:
    records.book.add_budget(name="lab", limit=Money.of("100"))
    records.job(budgets=("lab",))
    report = budget_analysis(records.database, records.book, now=records.clock.now())
    (lab,) = report.as_dict()["budgets"]
    assert (lab["limit"], lab["held"], lab["available"], lab["used_percent"]) == (100, 20, 80, Decimal("20.0"))
    assert "lab" in report.as_text()


def test_lists_of_jobs_are_bounded_and_ordered(records: Records) -> None:
    for number in range(14):
        records.job(name=f"job-{number}", budget="1", billed=str(2 + number), ended=records.clock.now() + number * DAY)
    report = budget_analysis(records.database, records.book, now=records.clock.now(), over_max=3).as_dict()
    assert [job["over_budget_amount"] for job in report["over_budget_jobs"]] == [14, 13, 12]
    assert [job["name"] for job in report["recent_budget_jobs"]] == [f"job-{number}" for number in range(13, 3, -1)]
    assert report["summary"]["jobs_over_budget"] == 14


# --- comparison


def test_providers_are_compared_by_the_core_hour(records: Records) -> None:
    """A provider whose jobs are small is not cheaper for that, and one without bills is not free."""
    now = records.clock.now()
    for _ in range(5):
        records.job(provider="aws", billed="4", vcpus=16, seconds=3600, ended=now)
        records.job(provider="gcp", billed="1", vcpus=1, seconds=3600, ended=now)
        records.job(provider="azure", ended=now)
    report = provider_comparison(records.database, now=now).as_dict()
    stats = {each["provider"]: each for each in report["provider_stats"]}
    assert list(stats["AWS"])[:10] == [
        "provider",
        "job_count",
        "avg_cost",
        "min_cost",
        "max_cost",
        "total_cost",
        "avg_price_per_hour",
        "completed_jobs",
        "failed_jobs",
        "success_rate",
    ]
    assert (stats["AWS"]["cost_per_core_hour"], stats["GCP"]["cost_per_core_hour"]) == (Decimal("0.25"), Decimal(1))
    assert (stats["AZURE"]["avg_cost"], stats["AZURE"]["total_cost"]) == (None, None)
    assert report["recommendations"]["cheapest_provider"] == "AWS"
    assert report["reasons"]["cheapest_provider"] == "$0.25 per core-hour; the next costs $1.00"


def test_running_and_stopped_jobs_do_not_lower_a_success_rate(records: Records) -> None:
    now = records.clock.now()
    for state in (JobState.COMPLETED, JobState.COMPLETED, JobState.FAILED, JobState.TERMINATED, JobState.RUNNING):
        records.job(state=state, billed=None, ended=now)
    (stats,) = provider_comparison(records.database, now=now).as_dict()["provider_stats"]
    assert (stats["job_count"], stats["success_rate"], stats["terminated_jobs"]) == (4, Decimal("66.7"), 1)


def test_few_jobs_recommend_nobody_and_say_why(records: Records) -> None:
    now = records.clock.now()
    for provider, count in (("aws", 5), ("gcp", 4)):
        for _ in range(count):
            records.job(provider=provider, billed="1", ended=now)
    report = provider_comparison(records.database, now=now).as_dict()
    assert report["recommendations"] == {
        "cheapest_provider": None,
        "most_reliable_provider": None,
        "most_used_provider": "AWS",
    }
    assert report["reasons"]["cheapest_provider"] == "only AWS has enough finished jobs on a bill (at least 5)"


def test_reports_are_exact_in_json_and_csv(records: Records) -> None:
    now = records.clock.now()
    records.job(billed="0.123456789", ended=now)
    trends = cost_trends(records.database, now=now)
    assert '"confirmed_cost": 0.123456789' in render.json_text(trends)
    headers, rows = trends.csv()
    read = list(csv.DictReader(io.StringIO(render.csv_text(rows, headers))))
    assert read[0]["confirmed_cost"] == "0.123456789"
