"""Costs that a person or another program states, as a bill of their own: source ``stated``.

For jobs whose provider's bill nobody reads here. A job's lines are replaced as a whole when they are stated again, so that
stating a cost twice counts it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from ..jobs.job import Job
from ..money import Money
from ..times import Period
from .attribute import JOB_TAG, tagged_job
from .charge import Charge

SOURCE = "stated"

Line = tuple[str, Money]
"""What was used, and what it cost."""


def bill_period(job: Job) -> Period:
    """The month whose bill a job's stated cost stands on: the one it started in."""
    return Period.month(job.started_at or job.submitted_at)


def restated(known: Iterable[Charge], job: Job, lines: Sequence[Line], *, now: datetime) -> Iterator[Charge]:
    """The bill ``known`` with the job's lines replaced by ``lines``."""
    yield from (charge for charge in known if tagged_job(charge) != job.id)
    start = job.started_at or job.submitted_at
    for what, cost in lines:
        yield Charge(
            billing_account_id=SOURCE,
            billing_period=bill_period(job),
            charge_period=Period(start, max(start, job.ended_at or now)),
            charge_category="Usage",
            charge_description=what,
            provider_name=job.offer.provider,
            service_name=what,
            service_category="Compute",
            region_id=job.offer.region,
            pricing_category="Dynamic" if job.offer.purchase_option == "spot" else "Standard",
            list_cost=cost,
            contracted_cost=cost,
            effective_cost=cost,
            billed_cost=cost,
            tags={JOB_TAG: job.id},
        )
