"""Extending a running job: money first, record second, machine last.

Dying between two of these steps leaves more money held than the machine can use, never less; repeating the command with
the same key goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from ..errors import TransitionRefused, UsageError
from ..ids import ProcessIdentity
from ..ledger.book import Book
from ..pricing.estimate import RUN_SECONDS_MAX, added_cost, runtime_seconds
from ..pricing.terms import Terms
from ..providers.base import Provider, SupportsExtension
from ..times import Clock, duration
from .job import Attempt, Job, JobStore, may_be_taken
from .launch import LEASE_SECONDS


def extend(
    job: Job,
    attempt: Attempt,
    *,
    hours: Decimal,
    key: str,
    terms: Terms,
    provider: Provider,
    store: JobStore,
    book: Book,
    transaction: Callable[[], AbstractContextManager[None]],
    clock: Clock,
    process: ProcessIdentity,
) -> Job:
    """Move the end of a live attempt by ``hours``, if every account leaves room for what that can cost."""
    if not hours.is_finite() or hours <= 0:
        raise UsageError(f"An extension of {hours} hours makes no sense", cure="Use a number above zero")
    more = runtime_seconds(hours)
    if attempt.run_seconds_max + more > RUN_SECONDS_MAX:
        raise UsageError(f"A job may not run longer than {RUN_SECONDS_MAX // 86400} days in one go")
    if not isinstance(provider, SupportsExtension):
        raise TransitionRefused(f"Machines of {provider.name} cannot be given a later end")
    machine_id = attempt.machine_id
    if machine_id is None:
        raise TransitionRefused(f"Job {job.id} has no machine yet")
    with transaction():
        if book.extension(job_id=job.id, key=key) is None:
            attempt = _extended(store.get(job.id), attempt, more, key, terms, store, book, clock, process)
    provider.extend(machine_id, not_after=attempt.not_after, run_seconds_max=attempt.run_seconds_max)
    return store.get(job.id)


def _extended(
    job: Job,
    attempt: Attempt,
    more: int,
    key: str,
    terms: Terms,
    store: JobStore,
    book: Book,
    clock: Clock,
    process: ProcessIdentity,
) -> Attempt:
    """Hold the money and write the later end, under the attempt's lease: whoever read the attempt before cannot write it back."""
    now = clock.now()
    until = now + timedelta(seconds=LEASE_SECONDS)
    may = may_be_taken(attempt, process, now)
    leased = store.lease(attempt, owner=process.name, until=until, now=now) if may else None
    if leased is None:
        raise TransitionRefused(
            f"Another process is just looking after job {job.id}; nothing was changed", cure="Say it again in a moment"
        )
    later = replace(
        leased,
        run_seconds_max=leased.run_seconds_max + more,
        not_after=leased.not_after + timedelta(seconds=more),
        warned_percent=0,
        lease_owner=None,
        lease_until=None,
    )
    amount = added_cost(
        leased.offer,
        terms,
        leased.price_max,
        seconds=leased.run_seconds_max,
        more=more,
        disk_gib=job.spec.disk_gib,
    )
    book.extend(
        job_id=job.id,
        amount=amount,
        key=key,
        expires_at=later.worst_case_end,
        raise_job_limit=job.budget_limit is None,
    )
    extended = replace(job, hold=job.hold + amount, run_seconds_max=later.run_seconds_max, updated_at=now)
    if not (store.save_attempt(later, was=leased) and store.save_job(extended, was=job)):
        raise TransitionRefused(f"Job {job.id} changed while it was being extended; nothing was changed")
    store.event(job.id, "extended", f"{duration(more)} more, ${amount.shown(4)} more held", at=now)
    return later
