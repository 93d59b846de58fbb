#!/usr/bin/env python3
"""List, show, watch, end and fetch jobs, and manage budgets. See: python job_manager.py --help

As a library: ``JobManager`` and ``get_job_manager`` with their documented calls. A call answers False or None for what
is not so, logs why, and raises a ``TallygateError`` when the store cannot be used. Amounts are exact ``Decimal``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallygate import config as configuration
from tallygate.errors import Conflict, Refusal, UnknownJob, UsageError
from tallygate.money import Money, parse_decimal

if TYPE_CHECKING:
    from tallygate.app import App
    from tallygate.jobs.job import Job

DEFAULT_DB_PATH = "cloud_jobs.db"

_PROVIDERS = {"aws": "aws", "gcp": "gcp", "google": "gcp", "azure": "azure", "local": "local"}
_MACHINE_NAMES = ("instance_id", "instance_name", "vm_name")
_REASONS = ("reason", "error_message", "error", "termination_reason")


def get_job_manager() -> JobManager:
    """The jobs of the installation that is configured here."""
    return JobManager()


class JobManager:
    """The documented way to a database of jobs.

    ``db_path`` is a SQLite file or a PostgreSQL address. At its default the configuration decides
    (``CLOUD_SCHEDULER_DB``, ``config.json``). Nothing is opened before the first call.
    """

    def __init__(self, db_path: str = DEFAULT_DB_PATH) -> None:
        chosen = {} if db_path == DEFAULT_DB_PATH else {"database": db_path}
        self.config = configuration.load(flags=chosen)
        self.db_path = self.config.database

    # --- looking

    def get_job(self, job_id: str) -> dict[str, Any] | None:
        """A job's row with the documented columns; None when there is no such job."""
        from tallygate.cli.documented import of_row

        with self._open(readonly=True) as app:
            row = app.jobs.documented_row(job_id)
        return None if row is None else of_row(row)

    def list_jobs(self, status: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """The newest jobs, at most ``limit``."""
        from tallygate.cli.documented import of_row

        with self._open(readonly=True) as app:
            return [of_row(row) for row in app.jobs.documented_rows(status=status, most=limit)]

    def calculate_job_cost(self, job_id: str) -> Decimal | None:
        """The surest cost known of a job: final, billed, metered, else its price times the time it has run.

        None when there is no such job or it has not started.
        """
        with self._open(readonly=True) as app:
            try:
                job = app.jobs.get(job_id)
            except UnknownJob:
                return None
            now = app.clock.now()
        for known in (job.final_cost, job.billed_cost, job.metered_cost):
            if known is not None:
                return known.decimal
        if job.started_at is None:
            return None
        seconds = int(((job.ended_at or now) - job.started_at).total_seconds())
        return job.offer.hourly_price.for_seconds(max(seconds, 0)).decimal

    def check_budget_limit(self, job_id: str, estimated: Decimal | int | str | float) -> dict[str, Any]:
        """Whether ``estimated`` fits the job's budget. The answer has the same keys with and without a budget.

        Raises ``UnknownJob``: a job that is not there is within no budget.
        """
        with self._open(readonly=True) as app:
            job = app.jobs.get(job_id)
        asked = _money(estimated, job.estimated_cost.currency)
        limit = job.budget_limit
        over = None if limit is None or asked <= limit else asked - limit
        return {
            "within_budget": over is None,
            "budget_limit": None if limit is None else limit.decimal,
            "estimated_cost": asked.decimal,
            "budget_usage_percent": None if limit is None else asked.percent_of(limit),
            "over_budget_amount": Decimal(0) if over is None else over.decimal,
        }

    def get_cost_summary(self, job_id: str) -> dict[str, Any] | None:
        """What is known of a job's cost: estimated, running, actual, and how it stands against its budget.

        None when there is no such job. ``within_budget`` is None while the bill does not say.
        """
        from tallygate.reports.jobs import job_summary

        with self._open(readonly=True) as app:
            try:
                found = job_summary(app.database, app.book, job_id, now=app.clock.now()).as_dict()
            except UnknownJob:
                return None
        if found["current_runtime_cost"] is None:
            found["current_runtime_cost"] = self.calculate_job_cost(job_id)
        return found

    def get_jobs_over_budget(self, limit: int = 1_000) -> list[dict[str, Any]]:
        """The jobs whose bill is beyond their budget, the furthest over first."""
        from tallygate.reports.budgets import over_budget

        with self._open(readonly=True) as app:
            return [job.as_dict() for job in over_budget(app.database, most=limit)]

    # --- writing

    def create_job(
        self, job_id: str, job_config: Mapping[str, Any], launch_result: Mapping[str, Any] | None = None
    ) -> bool:
        """Put a job on record that another program launches. No money is held for it and nobody watches its machine.

        ``job_config`` needs provider, instance_type, region and price_per_hour. False when the id is taken or a price is
        missing: a cost that cannot be known must not look like zero.
        """
        result = dict(launch_result or {})
        try:
            with self._open() as app:
                job = _job(job_id, {**result, **job_config}, now=app.clock.now())
                with app.database.transaction():
                    app.jobs.add(job)
                    self._note(app, job, {**job_config, **result})
        except (Conflict, UsageError) as error:
            _log(f"Job {job_id!r} was not created: {error.message}")
            return False
        return True

    def update_job_status(self, job_id: str, status: str, additional_data: Mapping[str, Any] | None = None) -> bool:
        """Move a job on, if its life knows such a move, and keep everything in ``additional_data``.

        False, with the reason in the log, for an unknown job, an unknown status, or a move that is not allowed.
        """
        from dataclasses import replace

        from tallygate.jobs.job import JobState

        data = dict(additional_data or {})
        try:
            with self._open() as app, app.database.transaction():
                was = app.jobs.get(job_id)
                now = app.clock.now()
                state = JobState(status.lower())
                job = replace(was, state=state, updated_at=now)
                if state is JobState.RUNNING and was.started_at is None:
                    job = replace(job, started_at=_instant(data.get("started_at")) or now)
                if state.is_over and was.ended_at is None:
                    job = replace(job, ended_at=_instant(data.get("completed_at")) or now)
                reason = next((str(data[name]) for name in _REASONS if data.get(name)), None)
                exit_status = data.get("exit_status", data.get("exit_code"))
                job = replace(
                    job,
                    reason=reason or was.reason,
                    exit_status=was.exit_status if exit_status is None else int(exit_status),
                )
                row = app.jobs.documented_row(job_id) or {}
                app.jobs.save_job(job, was=was)
                self._note(app, was, {**{name: row.get(name) for name in ("instance_id", "public_ip")}, **data})
        except (UnknownJob, Refusal, UsageError, ValueError) as error:
            _log(f"Job {job_id!r} stays as it is: {error}")
            return False
        return True

    def update_actual_cost(
        self, job_id: str, cost: Decimal | int | str | float, breakdown: Iterable[Mapping[str, Any]] | None = None
    ) -> bool:
        """Put on record what a job has cost, where nobody reads its provider's bill. Once more replaces it.

        ``breakdown``: the parts, each with an ``amount`` and a ``usage_type``; what they lack of ``cost`` is one more part.
        False, with the reason in the log, for an unknown job, an amount that is none, or a bill that is read here.
        """
        try:
            with self._open() as app:
                currency = app.jobs.get(job_id).estimated_cost.currency
                total = _money(cost, currency)
                lines = [_line(part, currency) for part in breakdown or ()]
                rest = total - sum((amount for _, amount in lines), Money.zero(currency))
                if rest.nanos or not lines:
                    lines.append(("other" if lines else "stated cost", rest))
                found = app.state_cost(job_id, lines)
        except (UnknownJob, UsageError) as error:
            _log(f"The cost of job {job_id!r} stays as it is: {error.message}")
            return False
        if found.billed_cost != total:
            _log(f"The stated cost of job {job_id!r} does not count: look with cloud_cost_report.py job {job_id}")
        return found.billed_cost == total

    def cleanup_completed_jobs(self, days_old: int = 30) -> int:
        """Take finished jobs that ended more than ``days_old`` days ago out of the lists; how many. Costs stay."""
        with self._open() as app:
            return len(app.cleanup(days=days_old))

    def delete_job(self, job_id: str) -> bool:
        """Take a finished job out of the lists. Its row, its costs and its journal stay: nothing is ever unrecorded.

        False when there is no such job, or it is not over.
        """
        with self._open() as app:
            done = app.jobs.archive(job_id, at=app.clock.now())
        if not done:
            _log(f"Job {job_id!r} is not there, or not over: terminate it first")
        return done

    # --- inside

    def _open(self, *, readonly: bool = False) -> App:
        from tallygate.app import App

        return App.open(self.config, readonly=readonly)

    def _note(self, app: App, job: Job, data: Mapping[str, Any]) -> None:
        """Keep what is known of the machine, and everything without a column of its own as metadata."""
        from tallygate.store.library import MACHINE_COLUMNS, LibraryRecords

        machine = {name: _text(data.get(name)) for name in MACHINE_COLUMNS}
        machine["instance_id"] = next((_text(data[name]) for name in _MACHINE_NAMES if data.get(name)), None)
        rest = {name: value for name, value in data.items() if name not in _KNOWN and value is not None}
        LibraryRecords(app.database).note_machine(job.id, machine, {**job.metadata, **_plain(rest)}, at=app.clock.now())


_KNOWN = frozenset({
    "provider", "instance_type", "instance", "region", "zone", "availability_zone", "status", "price_per_hour", "price_hr",
    "vcpu", "ram_gb", "budget_limit", "estimated_cost", "estimated_runtime", "billing_tags", "metadata", "name", "command",
    "started_at", "completed_at", "exit_status", "exit_code", "public_ip", "private_ip", "spot_request_id",
    *_MACHINE_NAMES, *_REASONS,
})  # fmt: skip
"""Names with a column of their own. Everything else is kept as metadata, so that nothing given is dropped."""


def _job(job_id: str, given: Mapping[str, Any], *, now: Any) -> Job:
    """A job as another program describes it. Raises ``UsageError`` naming what is missing."""
    import json

    from tallygate.cli.flags import named_after
    from tallygate.jobs.job import CostState, Job, JobSpec, JobState
    from tallygate.ledger.scopes import checked_job_id
    from tallygate.pricing.estimate import runtime_seconds
    from tallygate.pricing.offers import Offer, PurchaseOption

    def needed(*names: str) -> Any:
        found = next((given[name] for name in names if given.get(name) not in (None, "")), None)
        if found is None:
            raise UsageError(f"{names[0]} is missing")
        return found

    provider = _PROVIDERS.get(str(needed("provider")).lower())
    if provider is None:
        raise UsageError(f"{given['provider']!r} is not a provider")
    price = _money(needed("price_per_hour", "price_hr"))
    if price.nanos <= 0:
        raise UsageError(f"price_per_hour {price.shown()} is no price")
    hours = _decimal(given.get("estimated_runtime") or 2)
    if not 0 < hours <= 720:
        raise UsageError(f"estimated_runtime {hours} is not a number of hours up to 720")
    tags = given.get("billing_tags") or {}
    metadata = given.get("metadata") or {}
    offer = Offer(
        provider=provider,
        region=str(needed("region")),
        zone=_text(given.get("availability_zone") or given.get("zone")),
        instance_type=str(needed("instance_type", "instance")),
        purchase_option=PurchaseOption.ON_DEMAND if provider == "local" else PurchaseOption.SPOT,
        vcpus=int(_decimal(given.get("vcpu") or 1)),
        memory_gib=_decimal(given.get("ram_gb") or 0),
        hourly_price=price,
        priced_at=now,
        price_source="stated by the program that launched it",
    )
    estimated = (
        price.times(hours, round_up=True) if given.get("estimated_cost") is None else _money(given["estimated_cost"])
    )
    return Job(
        id=checked_job_id(job_id),
        name=named_after(str(given.get("name") or job_id)),
        state=JobState.LAUNCHING,
        cost_state=CostState.ESTIMATED,
        spec=JobSpec(
            command=str(given.get("command") or "launched by another program"), inputs="", inputs_digest="", outputs=""
        ),
        offer=offer,
        estimated_runtime_seconds=runtime_seconds(hours),
        run_seconds_max=runtime_seconds(hours),
        budget_limit=None if given.get("budget_limit") is None else _money(given["budget_limit"]),
        estimated_cost=estimated,
        hold=Money.zero(),
        tags={str(k): str(v) for k, v in (json.loads(tags) if isinstance(tags, str) else tags).items()},
        metadata=_plain(json.loads(metadata) if isinstance(metadata, str) else metadata),
        submitted_at=now,
    )


def _line(part: Mapping[str, Any], currency: str) -> tuple[str, Money]:
    """One part of a breakdown: what it is for, and how much."""
    amount = part.get("amount", part.get("cost"))
    what = str(part.get("usage_type") or part.get("cost_type") or part.get("service") or "stated cost")
    return what[:200], _money(amount, currency)


def _decimal(value: object) -> Decimal:
    """A number as a person would write it. A float becomes the digits it is shown with, never its binary ones."""
    if isinstance(value, float):
        value = repr(value)
    if isinstance(value, str):
        return parse_decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise UsageError(f"{value!r} is not a number")
    return Decimal(value)


def _money(value: object, currency: str = "USD") -> Money:
    return value if isinstance(value, Money) else Money.of(_decimal(value), currency)


def _instant(value: object) -> Any:
    from tallygate.times import maybe_instant

    return maybe_instant(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that JSON can keep: text, numbers and lists as they are, everything else as its text."""
    return {
        str(name): value if isinstance(value, str | int | bool | list | dict) else str(value)
        for name, value in values.items()
    }


def _log(message: str) -> None:
    import logging

    logging.getLogger(__name__).warning(message)


if __name__ == "__main__":
    from tallygate.cli.main import door

    sys.exit(door("tallygate.cli.jobs:DOOR", "job_manager.py"))
