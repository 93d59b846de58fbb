#!/usr/bin/env python3
"""Cost reports: job, trends, budget, compare, retrieve-costs. See: python cloud_cost_report.py --help

As a library: ``CostReporter`` with its documented calls. Importing this builds no cloud client and opens no database.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from cost_tracker import CloudCostTracker
from job_manager import JobManager
from tallygate.errors import UnknownJob

if TYPE_CHECKING:
    from tallygate.app import App
    from tallygate.reports.budgets import BudgetReport
    from tallygate.reports.compare import Comparison
    from tallygate.reports.jobs import JobSummary
    from tallygate.reports.trends import Trends


class CostReporter:
    """The documented way to reports: dictionaries with the documented keys, amounts as exact ``Decimal``.

    ``job_manager`` and ``cost_tracker`` work on the same installation. An amount that is not known is None, never zero.
    """

    def __init__(self) -> None:
        self.job_manager = JobManager()
        self.cost_tracker = CloudCostTracker()

    # --- for programs

    def generate_job_summary(self, job_id: str) -> dict[str, Any]:
        """What one job cost and how good its estimate was; ``{"error": ...}`` when there is no such job."""
        try:
            return self._job(job_id).as_dict()
        except UnknownJob as error:
            return {"error": error.message}

    def generate_cost_trends(self, days: int = 30, provider: str | None = None) -> dict[str, Any]:
        """Costs by the day of use: period, totals, provider_breakdown, daily_costs."""
        return self._trends(days, provider).as_dict()

    def generate_budget_analysis(self) -> dict[str, Any]:
        """How budgets fare: summary, over_budget_jobs, recent_budget_jobs."""
        return self._budgets().as_dict()

    def generate_provider_comparison(self, days: int = 30) -> dict[str, Any]:
        """Providers side by side: period, provider_stats, recommendations."""
        return self._comparison(days).as_dict()

    # --- for people

    def print_job_summary(self, job_id: str) -> None:
        try:
            _print(self._job(job_id).as_text())
        except UnknownJob as error:
            _print(error.message)

    def print_cost_trends(self, days: int = 30, provider: str | None = None) -> None:
        _print(self._trends(days, provider).as_text())

    def print_budget_analysis(self) -> None:
        _print(self._budgets().as_text())

    def print_provider_comparison(self, days: int = 30) -> None:
        _print(self._comparison(days).as_text())

    # --- inside

    def _open(self) -> App:
        from tallygate.app import App

        return App.open(self.job_manager.config, readonly=True)

    def _job(self, job_id: str) -> JobSummary:
        from tallygate.reports.jobs import job_summary

        with self._open() as app:
            return job_summary(app.database, app.book, job_id, now=app.clock.now())

    def _trends(self, days: int, provider: str | None) -> Trends:
        from tallygate.reports.trends import cost_trends

        with self._open() as app:
            return cost_trends(
                app.database, now=app.clock.now(), days=days, provider=provider, currency=app.config.currency
            )

    def _budgets(self) -> BudgetReport:
        from tallygate.reports.budgets import budget_analysis

        with self._open() as app:
            return budget_analysis(app.database, app.book, now=app.clock.now(), currency=app.config.currency)

    def _comparison(self, days: int) -> Comparison:
        from tallygate.reports.compare import provider_comparison

        with self._open() as app:
            return provider_comparison(app.database, now=app.clock.now(), days=days, currency=app.config.currency)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    from tallygate.cli.main import door

    sys.exit(door("tallygate.cli.reports:MENU", "cloud_cost_report.py"))
