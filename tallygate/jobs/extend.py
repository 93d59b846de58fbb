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
from ..ledger.book import Book
from ..pricing.estimate import RUN_SECONDS_MAX, added_cost, runtime_seconds
from ..pricing.terms import Terms
from ..providers.base import Provider, SupportsExtension
from ..times import Clock, duration
from .job import Attempt, Job, JobStore


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
) -> Job:
    """Move the end of a live attempt by ``hours``, if every account leaves room for what that can cost."""
    if not hours.is_finite() or hours <= 0:
        raise UsageError(f"An extension of {hours} hours makes no sense", cure="Use a number above zero")
    more = runtime_seconds(hours)
    if attempt.run_seconds_max + more > RUN_SECONDS_MAX:
        raise UsageError(f"A job may not run longer than {RUN_SECONDS_MAX // 86400} days in one go")
    if not isinstance(provider, SupportsExtension):
        raise TransitionRefused(f"Machines of {provider.name} cannot be given a later end")
    if attempt.machine_id is None:
        raise TransitionRefused(f"Job {job.id} has no machine yet")
    amount = added_cost(
        attempt.offer,
        terms,
        attempt.price_max,
        seconds=attempt.run_seconds_max,
        more=more,
        disk_gib=job.spec.disk_gib,
    )
    later = replace(
        attempt,
        run_seconds_max=attempt.run_seconds_max + more,
        not_after=attempt.not_after + timedelta(seconds=more),
        warned_percent=0,
    )
    now = clock.now()
    with transaction():
        before = book.holds(job.id)
        until = later.worst_case_end
        held = book.extend(
            job_id=job.id, amount=amount, key=key, expires_at=until, raise_job_limit=job.budget_limit is None
        )
        if held == before:  # this key has held its money already, and the record was written with it
            later = attempt
        elif store.save_attempt(later, was=attempt):
            extended = replace(job, hold=job.hold + amount, run_seconds_max=later.run_seconds_max, updated_at=now)
            store.save_job(extended, was=job)
            store.event(job.id, "extended", f"{duration(more)} more, ${amount.shown(4)} more held", at=now)
        else:
            raise TransitionRefused(f"Job {job.id} changed while it was being extended; nothing was changed")
    provider.extend(attempt.machine_id, not_after=later.not_after, run_seconds_max=later.run_seconds_max)
    return store.get(job.id)
