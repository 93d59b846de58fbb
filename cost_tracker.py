#!/usr/bin/env python3
"""Retrieve the actual costs of finished jobs. See: python cost_tracker.py --help

As a library: ``CloudCostTracker`` with its documented calls. Importing this builds no cloud client and opens no database.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from tallygate import config as configuration
from tallygate.errors import UnknownJob

if TYPE_CHECKING:
    from tallygate.app import App
    from tallygate.billing.collect import CollectReport

DEFAULT_CONFIG_FILE = "config.json"


class Count(int):
    """How many of something. A share of none is not a number, rather than an error: ``0 / Count(0)`` is NaN."""

    def __rtruediv__(self, part: int) -> float:
        return part / int(self) if self else float("nan")


class CloudCostTracker:
    """The documented way to actual costs.

    ``config_file`` must exist, except that the default one may be missing. Nothing is opened before the first call. A call
    answers False when the cost is not there, and logs why; it raises a ``TallygateError`` when the store cannot be used.
    """

    def __init__(self, config_file: str = DEFAULT_CONFIG_FILE) -> None:
        left_out = config_file == DEFAULT_CONFIG_FILE and not os.path.exists(config_file)
        self.config = configuration.load(None if left_out else config_file)

    def retrieve_job_cost(self, job_id: str, force_refresh: bool = False) -> bool:
        """Whether the bill says what a job cost. Asks for it unless the cost is final already, or ``force_refresh``."""
        try:
            with self._open() as app:
                report = app.collect(job_ids=[job_id], force=force_refresh)
        except UnknownJob as error:
            _log(error.message)
            return False
        _log_all(report)
        return report.successful == report.processed == 1

    def batch_retrieve_costs(self, max_jobs: int = 10, days_back: int = 7) -> dict[str, Any]:
        """Ask for the costs of jobs that ended within ``days_back`` days: processed, successful, failed, jobs.

        One question covers all jobs of a provider and month. A job that is not on the bill yet has the status ``pending`` and
        counts as neither successful nor failed.
        """
        with self._open() as app:
            report = app.collect(max_jobs=max_jobs, days_back=days_back)
        _log_all(report)
        found = report.as_dict()
        return {**found, "processed": Count(report.processed)}

    def get_aws_spot_cost(
        self, job_id: str, instance_id: str, region: str, start: Any, end: Any
    ) -> dict[str, Any] | None:
        """What AWS billed for an instance. None: this installation reads no AWS bill."""
        _log_no_bill("AWS", job_id)
        return None

    def get_gcp_spot_cost(
        self, job_id: str, instance_name: str, project_id: str, zone: str, start: Any, end: Any
    ) -> dict[str, Any] | None:
        """What Google Cloud billed for an instance. None: this installation reads no GCP bill."""
        _log_no_bill("GCP", job_id)
        return None

    def get_azure_spot_cost(
        self, job_id: str, vm_name: str, resource_group: str, start: Any, end: Any
    ) -> dict[str, Any] | None:
        """What Azure billed for a machine. None: this installation reads no Azure bill."""
        _log_no_bill("Azure", job_id)
        return None

    # --- inside

    def _open(self) -> App:
        from tallygate.app import App

        return App.open(self.config)


def _log_no_bill(provider: str, job_id: str) -> None:
    _log(f"No cost for job {job_id!r}: reading {provider} bills is not set up here, and a guess is not a cost")


def _log_all(report: CollectReport) -> None:
    for problem in report.problems:
        _log(problem)
    for job in report.jobs:
        if job.status != "success":
            _log(f"Job {job.job_id}: {job.status}, {job.reason}")


def _log(message: str) -> None:
    import logging

    logging.getLogger(__name__).warning(message)


if __name__ == "__main__":
    from tallygate.cli.main import door

    sys.exit(door("tallygate.cli.costs:costs", "cost_tracker.py"))
