"""Jobs and attempts: their states and the moves that are allowed.

A job is one piece of work; an attempt is one try at it on one machine. The job's state is what a person asks about,
the attempt's state is what the launch protocol moves.

    job      launching -> launched -> running -> completed | failed | terminated
                 |           |          '-> interrupted -> launching (the next attempt)
                 '-----------'-> failed | terminated

    attempt  intent -> live -> terminating -> ended        a machine was made
                '--> unknown -> live | void                the reply was lost
                '--> void                                  definitely no machine
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from ..errors import TransitionRefused
from ..ids import ProcessIdentity
from ..money import Money
from ..pricing.offers import Offer


class JobState(StrEnum):
    """The machine's clock: where the work stands. These are the documented words of ``jobs.status``."""

    LAUNCHING = "launching"
    LAUNCHED = "launched"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"
    FAILED = "failed"
    TERMINATED = "terminated"

    @property
    def is_over(self) -> bool:
        return self in (JobState.COMPLETED, JobState.FAILED, JobState.TERMINATED)


class CostState(StrEnum):
    """The bill's clock: how sure the cost is. Days behind the machine's."""

    ESTIMATED = "estimated"
    METERED = "metered"
    BILLED = "billed"
    FINAL = "final"


class AttemptState(StrEnum):
    """Where the launch protocol stands with one machine."""

    INTENT = "intent"
    UNKNOWN = "unknown"
    LIVE = "live"
    TERMINATING = "terminating"
    ENDED = "ended"
    VOID = "void"

    @property
    def is_open(self) -> bool:
        """Whether a machine may exist that bills."""
        return self not in (AttemptState.ENDED, AttemptState.VOID)


JOB_MOVES: Mapping[JobState, frozenset[JobState]] = {
    JobState.LAUNCHING: frozenset({JobState.LAUNCHED, JobState.RUNNING, JobState.COMPLETED, JobState.FAILED,
                                   JobState.TERMINATED, JobState.INTERRUPTED}),
    JobState.LAUNCHED: frozenset({JobState.RUNNING, JobState.INTERRUPTED, JobState.COMPLETED, JobState.FAILED,
                                  JobState.TERMINATED}),
    JobState.RUNNING: frozenset({JobState.INTERRUPTED, JobState.COMPLETED, JobState.FAILED, JobState.TERMINATED}),
    JobState.INTERRUPTED: frozenset({JobState.LAUNCHING, JobState.FAILED, JobState.TERMINATED}),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.TERMINATED: frozenset(),
}  # fmt: skip

ATTEMPT_MOVES: Mapping[AttemptState, frozenset[AttemptState]] = {
    AttemptState.INTENT: frozenset({AttemptState.LIVE, AttemptState.UNKNOWN, AttemptState.VOID, AttemptState.ENDED}),
    AttemptState.UNKNOWN: frozenset({AttemptState.LIVE, AttemptState.VOID, AttemptState.ENDED}),
    AttemptState.LIVE: frozenset({AttemptState.TERMINATING, AttemptState.ENDED}),
    AttemptState.TERMINATING: frozenset({AttemptState.ENDED}),
    AttemptState.ENDED: frozenset(),
    AttemptState.VOID: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What to run and what it needs; kept with the job as it was submitted.

    ``command`` is given to a shell on the machine, never on this one. ``image`` is a container image, or None for a
    plain run. ``environment`` reaches the command as data. ``inputs`` and ``outputs`` are URLs in an object store;
    ``inputs_digest`` is the SHA-256 of the staged archive. ``egress_gib`` is what the job declared to send out of the cloud.
    """

    command: str
    image: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    inputs: str
    inputs_digest: str
    outputs: str
    disk_gib: int = 0
    egress_gib: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of work and the money decided for it.

    Costs are None until known: ``estimated_cost`` is the price times the estimated runtime, ``metered_cost`` the
    price times observed machine seconds over all attempts, ``billed_cost`` the charges seen so far, ``final_cost``
    the charges past the source's completeness. ``hold`` is the worst case that was held. ``name`` obeys
    ``[a-z0-9][a-z0-9-]{0,62}``. ``offer`` is the one decided on; an attempt may run on another. ``metadata`` keeps
    what was given for the record only (``s3_bucket``, ``gdrive_path``, ``basis_set`` and such).
    """

    id: str
    name: str
    state: JobState
    cost_state: CostState
    spec: JobSpec
    offer: Offer
    estimated_runtime_seconds: int
    run_seconds_max: int
    budget_limit: Money | None
    estimated_cost: Money
    hold: Money
    metered_cost: Money | None = None
    billed_cost: Money | None = None
    final_cost: Money | None = None
    charged_to: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    submitted_at: datetime
    updated_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_status: int | None = None
    reason: str | None = None
    stop_requested_at: datetime | None = None
    stop_reason: str | None = None
    cost_retrieved_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at a job on one machine.

    ``token`` was stored before the provider was asked; the same token never starts two machines. ``price_max`` is the
    hourly ceiling that the hold covers. After ``not_after`` the machine must not run; ``kill_seconds`` more are held
    for its end to take effect. ``fence`` rises with every lease; a write with an old fence changes nothing.
    ``warned_percent`` is the highest threshold already acted on.
    """

    id: str
    job_id: str
    number: int
    token: str
    state: AttemptState
    offer: Offer
    price_max: Money
    run_seconds_max: int
    kill_seconds: int
    not_after: datetime
    machine_id: str | None = None
    resource_ids: tuple[str, ...] = ()
    public_address: str | None = None
    created_at: datetime
    launched_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    end_source: str | None = None
    end_reason: str | None = None
    exit_status: int | None = None
    metered_seconds: int = 0
    metered_cost: Money
    missing_since: datetime | None = None
    warned_percent: int = 0
    fence: int = 0
    lease_owner: str | None = None
    lease_until: datetime | None = None

    @property
    def worst_case_end(self) -> datetime:
        """After this moment the machine can no longer bill."""
        return self.not_after + timedelta(seconds=self.kill_seconds)


class JobStore(Protocol):
    """Where jobs and attempts are kept. A write inside a transaction of the store is part of it."""

    def add(self, job: Job, *, request_key: str | None = None, request_digest: str | None = None) -> None:
        """Keep a new job. ``Conflict`` when its id or request key is taken."""
        ...

    def add_attempt(self, attempt: Attempt) -> None:
        """Keep a new attempt. ``Conflict`` when the job already has an open one."""
        ...

    def get(self, job_id: str) -> Job: ...

    def by_request(self, request_key: str) -> tuple[Job, str] | None:
        """The job made under ``request_key`` and the digest of what was asked."""
        ...

    def attempts(self, job_id: str) -> list[Attempt]: ...

    def open_attempts(self, provider: str) -> list[Attempt]:
        """The attempts at one provider whose machine may exist, oldest first."""
        ...

    def count_open_attempts(self) -> int:
        """How many there are at all providers."""
        ...

    def attempt_with(self, token: str) -> Attempt | None: ...

    def lease(self, attempt: Attempt, *, owner: str, until: datetime, now: datetime) -> Attempt | None:
        """Take the attempt for ``owner``: its fence rises. The attempt as it is now, which may say more than when it was
        read; None when somebody else took it since, or its state has moved on."""
        ...

    def save_attempt(self, attempt: Attempt, *, was: Attempt) -> bool:
        """Write ``attempt`` back over ``was``. False, and nothing changes, when its fence or state has moved on."""
        ...

    def save_job(self, job: Job, *, was: Job) -> bool:
        """Write the machine's side of ``job`` back over ``was``. False when its state has moved on."""
        ...

    def request_stop(self, job_id: str, *, reason: str, at: datetime) -> bool:
        """Put on record that the job is to end. False when that was already there or the job is over."""
        ...

    def event(self, job_id: str, event: str, detail: str, *, at: datetime) -> None: ...

    def sight_orphan(self, provider: str, machine_id: str, token: str, *, at: datetime) -> datetime:
        """Mark an orphan as seen; when it was seen first."""
        ...

    def swept(self, provider: str, machine_id: str, *, at: datetime) -> None: ...


def may_be_taken(attempt: Attempt, process: ProcessIdentity, now: datetime) -> bool:
    """Whether ``process`` may act on the attempt: its lease is free, its own, run out, or its holder is certainly gone."""
    owner = attempt.lease_owner
    return (
        owner is None
        or owner == process.name
        or (attempt.lease_until is not None and attempt.lease_until <= now)
        or process.is_gone(owner)
    )


def check_move(attempt: Attempt, to: AttemptState) -> None:
    """Refuse a move that the launch protocol does not know."""
    if to is not attempt.state and to not in ATTEMPT_MOVES[attempt.state]:
        raise TransitionRefused(
            f"Attempt {attempt.number} of job {attempt.job_id} cannot go from {attempt.state} to {to}"
        )


def check_job_move(job: Job, to: JobState) -> None:
    """Refuse a move that a job's life does not know."""
    if to is not job.state and to not in JOB_MOVES[job.state]:
        raise TransitionRefused(f"Job {job.id} is {job.state} and cannot become {to}")
