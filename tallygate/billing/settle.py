"""What a job's bill means for the job: its cost, how sure it is, and what its holds are settled to.

Everything is computed afresh from the cost rows that are current, so that late, repeated, re-ordered and restated bills
end in the same answer. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..jobs.job import AttemptState, CostState, JobState
from ..money import Money, total
from ..times import Period, shown
from .attribute import RESOURCES_KEPT_MAX, names_of

CompleteThrough = Callable[[str, datetime], datetime | None]
"""How far the current bill of a source for the month that starts then is complete; None when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """What of an attempt matters to its bill. ``resource_ids`` begin with the machine's; none when no machine is known.

    A void attempt with an end is one of which nothing was ever seen: there may have been a machine until then.
    """

    provider: str
    state: AttemptState
    resource_ids: tuple[str, ...]
    created_at: datetime
    ended_at: datetime | None
    metered_seconds: int
    metered_cost: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """What a job bears of one bill for one kind of cost. ``resources`` are as the bill names them, perhaps not all."""

    source: str
    period_start: datetime
    billed: Money
    resources: tuple[str, ...]
    tagged_lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """A job as its bill sees it, with its costs as they are written down now."""

    job_id: str
    currency: str
    state: JobState
    cost_state: CostState
    metered_cost: Money | None
    billed_cost: Money | None
    final_cost: Money | None
    attempts: tuple[AttemptFacts, ...]
    rows: tuple[CostRow, ...]

    @property
    def is_over(self) -> bool:
        """Nothing of the job can bill any more."""
        return self.state.is_over and not any(attempt.state.is_open for attempt in self.attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobBill:
    """The answer. ``target`` is what the holds are settled to, ``waiting`` why the cost is not final, if it is not.

    ``is_missing``: the bill is complete and does not name the job's machine, so waiting longer will not help.
    """

    cost_state: CostState
    billed: Money | None
    final: Money | None
    target: Money
    is_over: bool
    waiting: str = ""
    is_missing: bool = False

    @property
    def closes(self) -> bool:
        """Whether nothing more can come: what the holds still keep for the bill goes back."""
        return self.cost_state is CostState.FINAL or self.is_missing


def bill_of(job: JobFacts, complete_through: CompleteThrough) -> JobBill:
    """Where the job's cost stands.

    A cost is final when the job is over, every bill it could be on is complete past its end, and each of its machines is
    on one. Until then its holds are settled to what was billed so far or what was metered, whichever is more: a bill
    that is not all there must not make money look free.
    """
    billed = total((row.billed for row in job.rows), job.currency)
    metered = total((each.metered_cost for each in job.attempts if each.state is AttemptState.ENDED), job.currency)
    machines = [each for each in job.attempts if each.resource_ids and each.state is AttemptState.ENDED]
    never_seen = [each for each in job.attempts if each.state is AttemptState.VOID and each.ended_at is not None]
    waiting, is_missing = "", False
    if not job.is_over:
        waiting = f"the job is {job.state}"
    elif not job.attempts:  # put on record by another program: what it ran on is not known here
        waiting = "no machine of it is on record"
    else:
        for attempt in (*machines, *never_seen):
            waiting = waiting or _awaited(attempt, complete_through)
        if not waiting:
            waiting = _unseen(machines, job.rows)
            is_missing = bool(waiting)
    if not waiting:
        return JobBill(cost_state=CostState.FINAL, billed=billed, final=billed, target=billed, is_over=True)
    if job.rows:
        state, known = CostState.BILLED, billed
    else:
        state = CostState.ESTIMATED if job.metered_cost is None else CostState.METERED
        known = None
    return JobBill(
        cost_state=state,
        billed=known,
        final=None,
        target=max(billed, metered),
        is_over=job.is_over,
        waiting=waiting,
        is_missing=is_missing,
    )


def _awaited(attempt: AttemptFacts, complete_through: CompleteThrough) -> str:
    """Which bill this attempt still waits for; empty when none."""
    assert attempt.ended_at is not None  # the store requires it of an attempt that is over
    for month in Period(attempt.created_at, max(attempt.created_at, attempt.ended_at)).months():
        through = complete_through(attempt.provider, month.start)
        if through is None:
            return f"no {attempt.provider} bill for {month.start:%Y-%m} has been collected"
        if through < min(month.end, attempt.ended_at):
            return f"the {attempt.provider} bill is complete through {shown(through)}, the machine ended at " + shown(
                attempt.ended_at
            )
    return ""


def _unseen(machines: Sequence[AttemptFacts], rows: Sequence[CostRow]) -> str:
    """Which machine that ran is on no bill; empty when none."""
    for attempt in machines:
        if attempt.metered_seconds == 0 and rows:
            continue
        theirs = [row for row in rows if row.source == attempt.provider]
        certain = [row for row in theirs if row.tagged_lines == 0 and len(row.resources) < RESOURCES_KEPT_MAX]
        seen = names_of(resource for row in theirs for resource in row.resources)
        if len(certain) == len(theirs) and not seen & names_of(attempt.resource_ids):
            return f"the {attempt.provider} bill is complete and has no charge for {attempt.resource_ids[0]}"
    return ""
