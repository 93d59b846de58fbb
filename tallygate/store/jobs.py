"""Jobs and attempts: rows to nouns and back, by named query."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from ..errors import StoreDamaged, UnknownJob
from ..jobs.job import Attempt, AttemptState, CostState, Job, JobSpec, JobState, check_job_move, check_move
from ..money import Money
from ..pricing.offers import Offer, PurchaseOption
from ..times import Period, instant, maybe_instant
from .database import Database, Row

if TYPE_CHECKING:
    from ..pricing.runtimes import History, Run

_DOCUMENTED = ("s3_bucket", "s3_input_path", "gdrive_path", "basis_set")
"""Metadata that has a documented column of its own."""


class JobRepository:
    """The jobs of one store. Implements ``jobs.job.JobStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- jobs

    def add(self, job: Job, *, request_key: str | None = None, request_digest: str | None = None) -> None:
        self._database.run(
            "jobs.add",
            job_id=job.id,
            name=job.name,
            status=job.state,
            cost_state=job.cost_state,
            **_placed(job.offer),
            gpus=job.offer.gpus,
            gpu_model=job.offer.gpu_model,
            vcpus=job.offer.vcpus,
            memory_gib=str(job.offer.memory_gib),
            **{name: job.metadata.get(name) for name in _DOCUMENTED},
            spec=_spec_text(job.spec),
            billing_tags=_json(job.tags),
            metadata=_json(job.metadata),
            charged_to=job.charged_to,
            currency=job.estimated_cost.currency,
            estimated_runtime_seconds=job.estimated_runtime_seconds,
            run_seconds_max=job.run_seconds_max,
            price_per_hour_nanos=job.offer.hourly_price.nanos,
            on_demand_price_nanos=_nanos(job.offer.on_demand_price),
            priced_at=job.offer.priced_at,
            price_source=job.offer.price_source,
            budget_limit_nanos=_nanos(job.budget_limit),
            estimated_cost_nanos=job.estimated_cost.nanos,
            hold_nanos=job.hold.nanos,
            request_key=request_key,
            request_digest=request_digest,
            at=job.submitted_at,
        )

    def get(self, job_id: str) -> Job:
        row = self._database.one("jobs.get", job_id=job_id)
        if row is None:
            raise UnknownJob(f"There is no job {job_id!r}")
        return _job(row)

    def find(self, reference: str) -> Job:
        """The job with this id, with the only id that starts so (six characters or more), or the newest of this name."""
        row = self._database.one("jobs.get", job_id=reference)
        if row is None and len(reference) >= 6 and reference.isascii() and reference.isalnum():
            rows = self._database.all("jobs.by_prefix", prefix=reference, prefix_end=reference + "~")
            if len(rows) > 1:
                raise UnknownJob(f"Several job ids start with {reference!r}", cure="Give more of the id")
            row = rows[0] if rows else None
        if row is None:
            row = self._database.one("jobs.newest_named", name=reference)
        if row is None:
            raise UnknownJob(f"There is no job {reference!r}")
        return _job(row)

    def by_request(self, request_key: str) -> tuple[Job, str] | None:
        row = self._database.one("jobs.by_request", request_key=request_key)
        return None if row is None else (_job(row), str(row["request_digest"]))

    def history(self, name: str) -> History:
        """What is known of how long the jobs of this name take: their finished runs, newest first.

        A run is a completed job whose every machine was seen to begin and to end; failed and terminated jobs are only counted.
        """
        from ..pricing.runtimes import RUNS_MAX, History

        machines: dict[str, list[Row]] = {}
        for row in self._database.all("jobs.runs", name=name, most=RUNS_MAX):
            machines.setdefault(str(row["job_id"]), []).append(row)
        others = self._database.one("jobs.other_ends", name=name)
        runs = tuple(run for rows in machines.values() if (run := _run(rows)) is not None)
        return History(name=name, runs=runs, left_out=0 if others is None else _int(others["jobs"]))

    def rows(self, *, status: str | None = None, provider: str | None = None, most: int = 20) -> Sequence[Row]:
        """The newest jobs as rows, without building nouns: for lists, where start-up time counts."""
        if status is None:
            return self._database.all("jobs.rows", provider=provider, most=most)
        return self._database.all("jobs.rows_in", status=status, provider=provider, most=most)

    def documented_rows(self, *, status: str | None = None, most: int = 50) -> Sequence[Row]:
        """The newest jobs with every column, for the documented library calls."""
        return self._database.all("jobs.documented", status=status, most=most)

    def documented_row(self, job_id: str) -> Row | None:
        return self._database.one("jobs.get", job_id=job_id)

    def totals(self) -> Sequence[Row]:
        return self._database.all("jobs.totals")

    def save_job(self, job: Job, *, was: Job) -> bool:
        check_job_move(was, job.state)
        last = self._database.one("jobs.last_machine", job_id=job.id)
        changed = self._database.run(
            "jobs.save",
            job_id=job.id,
            was=was.state,
            status=job.state,
            cost_state=job.cost_state,
            provider=job.offer.provider,
            instance_type=job.offer.instance_type,
            region=job.offer.region,
            zone=job.offer.zone,
            instance_id=None if last is None else last["machine_id"],
            public_ip=None if last is None else last["public_address"],
            metered_cost_nanos=_nanos(job.metered_cost),
            hold_nanos=job.hold.nanos,
            run_seconds_max=job.run_seconds_max,
            started_at=job.started_at,
            completed_at=job.ended_at,
            exit_status=job.exit_status,
            reason=job.reason,
            at=job.updated_at or job.submitted_at,
        )
        return changed == 1

    def request_stop(self, job_id: str, *, reason: str, at: datetime) -> bool:
        return self._database.run("jobs.request_stop", job_id=job_id, reason=reason, at=at) == 1

    def old(self, *, before: datetime, most: int) -> list[Job]:
        return [_job(row) for row in self._database.all("jobs.old", before=before, most=most)]

    def archive(self, job_id: str, *, at: datetime) -> bool:
        return self._database.run("jobs.archive", job_id=job_id, at=at) == 1

    # --- attempts

    def add_attempt(self, attempt: Attempt) -> None:
        self._database.run(
            "jobs.add_attempt",
            attempt_id=attempt.id,
            job_id=attempt.job_id,
            number=attempt.number,
            token=attempt.token,
            state=attempt.state,
            **_placed(attempt.offer),
            vcpus=attempt.offer.vcpus,
            memory_gib=str(attempt.offer.memory_gib),
            gpus=attempt.offer.gpus,
            gpu_model=attempt.offer.gpu_model,
            currency=attempt.offer.hourly_price.currency,
            hourly_price_nanos=attempt.offer.hourly_price.nanos,
            on_demand_price_nanos=_nanos(attempt.offer.on_demand_price),
            priced_at=attempt.offer.priced_at,
            price_source=attempt.offer.price_source,
            price_max_nanos=attempt.price_max.nanos,
            run_seconds_max=attempt.run_seconds_max,
            kill_seconds=attempt.kill_seconds,
            not_after=attempt.not_after,
            created_at=attempt.created_at,
            fence=attempt.fence,
            lease_owner=attempt.lease_owner,
            lease_until=attempt.lease_until,
        )

    def attempts(self, job_id: str) -> list[Attempt]:
        return [_attempt(row) for row in self._database.all("jobs.attempts", job_id=job_id)]

    def open_attempts(self, provider: str) -> list[Attempt]:
        return [_attempt(row) for row in self._database.all("jobs.open_attempts", provider=provider)]

    def count_open_attempts(self) -> int:
        (row,) = self._database.all("jobs.count_open_attempts")
        return _int(row["attempts"])

    def attempt_with(self, token: str) -> Attempt | None:
        row = self._database.one("jobs.attempt_with", token=token)
        return None if row is None else _attempt(row)

    def used_providers(self) -> list[str]:
        return [str(row["provider"]) for row in self._database.all("jobs.used_providers")]

    def lease(self, attempt: Attempt, *, owner: str, until: datetime, now: datetime) -> Attempt | None:
        taken = self._database.run(
            "jobs.lease", attempt_id=attempt.id, fence=attempt.fence, was=attempt.state, owner=owner, until=until
        )
        leased = self.attempt_with(attempt.token) if taken else None
        # Whoever is held up between the two may find that his lease has run out and been taken.
        return leased if leased is not None and leased.fence == attempt.fence + 1 else None

    def save_attempt(self, attempt: Attempt, *, was: Attempt) -> bool:
        check_move(was, attempt.state)
        changed = self._database.run(
            "jobs.save_attempt",
            attempt_id=attempt.id,
            fence=attempt.fence,
            was=was.state,
            state=attempt.state,
            run_seconds_max=attempt.run_seconds_max,
            not_after=attempt.not_after,
            machine_id=attempt.machine_id,
            resource_ids=json.dumps(attempt.resource_ids),
            public_address=attempt.public_address,
            launched_at=attempt.launched_at,
            started_at=attempt.started_at,
            ended_at=attempt.ended_at,
            end_source=attempt.end_source,
            end_reason=attempt.end_reason,
            exit_status=attempt.exit_status,
            metered_seconds=attempt.metered_seconds,
            metered_nanos=attempt.metered_cost.nanos,
            missing_since=attempt.missing_since,
            warned_percent=attempt.warned_percent,
            lease_owner=attempt.lease_owner,
            lease_until=attempt.lease_until,
        )
        return changed == 1

    # --- the story, and orphans

    def event(self, job_id: str, event: str, detail: str, *, at: datetime) -> None:
        self._database.run("jobs.add_event", job_id=job_id, event=event, detail=detail, at=at)

    def events(self, job_id: str) -> Sequence[Row]:
        return self._database.all("jobs.events", job_id=job_id)

    def sight_orphan(self, provider: str, machine_id: str, token: str, *, at: datetime) -> datetime:
        self._database.run("jobs.mark_orphan", provider=provider, machine_id=machine_id, token=token, at=at)
        row = self._database.one("jobs.orphan", provider=provider, machine_id=machine_id)
        if row is None:
            raise StoreDamaged(f"The orphan {machine_id} was marked and is not there")
        return instant(row["first_seen_at"])  # type: ignore[arg-type]

    def swept(self, provider: str, machine_id: str, *, at: datetime) -> None:
        self._database.run("jobs.sweep_orphan", provider=provider, machine_id=machine_id, at=at)


# --- rows to nouns


def _job(row: Row) -> Job:
    currency = str(row["currency"])

    def money(column: str) -> Money | None:
        nanos = row[column]
        return None if nanos is None else Money(_int(nanos), currency)

    return Job(
        id=str(row["job_id"]),
        name=str(row["name"]),
        state=JobState(str(row["status"])),
        cost_state=CostState(str(row["cost_state"])),
        spec=_spec(str(row["spec"])),
        offer=_offer(row, "price_per_hour_nanos"),
        estimated_runtime_seconds=_int(row["estimated_runtime_seconds"]),
        run_seconds_max=_int(row["run_seconds_max"]),
        budget_limit=money("budget_limit_nanos"),
        estimated_cost=Money(_int(row["estimated_cost_nanos"]), currency),
        hold=Money(_int(row["hold_nanos"]), currency),
        metered_cost=money("metered_cost_nanos"),
        billed_cost=money("billed_cost_nanos"),
        final_cost=money("final_cost_nanos"),
        charged_to=_text(row["charged_to"]),
        tags=json.loads(str(row["billing_tags"])),
        metadata=json.loads(str(row["metadata"])),
        submitted_at=instant(row["created_at"]),  # type: ignore[arg-type]
        updated_at=maybe_instant(row["updated_at"]),
        started_at=maybe_instant(row["started_at"]),
        ended_at=maybe_instant(row["completed_at"]),
        exit_status=None if row["exit_status"] is None else _int(row["exit_status"]),
        reason=_text(row["reason"]),
        stop_requested_at=maybe_instant(row["stop_requested_at"]),
        stop_reason=_text(row["stop_reason"]),
        cost_retrieved_at=maybe_instant(row["cost_retrieved_at"]),
    )


def _attempt(row: Row) -> Attempt:
    currency = str(row["currency"])
    return Attempt(
        id=str(row["attempt_id"]),
        job_id=str(row["job_id"]),
        number=_int(row["number"]),
        token=str(row["token"]),
        state=AttemptState(str(row["state"])),
        offer=_offer(row, "hourly_price_nanos"),
        price_max=Money(_int(row["price_max_nanos"]), currency),
        run_seconds_max=_int(row["run_seconds_max"]),
        kill_seconds=_int(row["kill_seconds"]),
        not_after=instant(row["not_after"]),  # type: ignore[arg-type]
        machine_id=_text(row["machine_id"]),
        resource_ids=tuple(json.loads(str(row["resource_ids"]))),
        public_address=_text(row["public_address"]),
        created_at=instant(row["created_at"]),  # type: ignore[arg-type]
        launched_at=maybe_instant(row["launched_at"]),
        started_at=maybe_instant(row["started_at"]),
        ended_at=maybe_instant(row["ended_at"]),
        end_source=_text(row["end_source"]),
        end_reason=_text(row["end_reason"]),
        exit_status=None if row["exit_status"] is None else _int(row["exit_status"]),
        metered_seconds=_int(row["metered_seconds"]),
        metered_cost=Money(_int(row["metered_nanos"]), currency),
        missing_since=maybe_instant(row["missing_since"]),
        warned_percent=_int(row["warned_percent"]),
        fence=_int(row["fence"]),
        lease_owner=_text(row["lease_owner"]),
        lease_until=maybe_instant(row["lease_until"]),
    )


def _run(machines: Sequence[Row]) -> Run | None:
    """A job's machines as one run; None when the time of one of them is not known."""
    from ..pricing.runtimes import Run

    seconds = []
    for row in machines:
        began, ended = maybe_instant(row["started_at"] or row["launched_at"]), maybe_instant(row["ended_at"])
        if began is None or ended is None or ended < began:
            return None
        seconds.append(Period(began, ended).seconds)
    last = machines[-1]
    return Run(
        seconds=sum(seconds),
        last_seconds=seconds[-1],
        attempts=len(seconds),
        provider=str(last["provider"]),
        instance_type=str(last["instance_type"]),
        vcpus=_int(last["vcpus"]),
    )


def _offer(row: Row, price_column: str) -> Offer:
    currency = str(row["currency"])
    on_demand = row["on_demand_price_nanos"]
    return Offer(
        provider=str(row["provider"]),
        region=str(row["region"]),
        zone=_text(row["zone"]),
        instance_type=str(row["instance_type"]),
        purchase_option=PurchaseOption(str(row["purchase_option"])),
        vcpus=_int(row["vcpus"]),
        memory_gib=Decimal(str(row["memory_gib"])),
        gpus=_int(row["gpus"]),
        gpu_model=_text(row["gpu_model"]),
        hourly_price=Money(_int(row[price_column]), currency),
        on_demand_price=None if on_demand is None else Money(_int(on_demand), currency),
        priced_at=instant(row["priced_at"]),  # type: ignore[arg-type]
        price_source=str(row["price_source"]),
    )


def _placed(offer: Offer) -> dict[str, object]:
    return {
        "provider": offer.provider,
        "instance_type": offer.instance_type,
        "region": offer.region,
        "zone": offer.zone,
        "purchase_option": offer.purchase_option,
    }


def _spec(text: str) -> JobSpec:
    return JobSpec(**json.loads(text))


def _spec_text(spec: JobSpec) -> str:
    return _json(
        {
            "command": spec.command,
            "image": spec.image,
            "environment": dict(spec.environment),
            "inputs": spec.inputs,
            "inputs_digest": spec.inputs_digest,
            "outputs": spec.outputs,
            "disk_gib": spec.disk_gib,
            "egress_gib": spec.egress_gib,
        }
    )


def _json(value: object) -> str:
    return json.dumps(dict(value) if hasattr(value, "items") else value, sort_keys=True)  # type: ignore[call-overload]


def _nanos(amount: Money | None) -> int | None:
    return None if amount is None else amount.nanos


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise StoreDamaged(f"A whole number was expected in the database, not {value!r}")
    return value


def _text(value: object) -> str | None:
    return None if value is None else str(value)
