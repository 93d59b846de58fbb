"""What billing asks of the place where versions, costs and jobs are kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ..times import Period
from .attribute import Life, Tally
from .settle import JobBill, JobFacts
from .versions import Version


@dataclass(frozen=True, slots=True)
class JobBilling:
    """A job in a list of jobs to ask the bill for."""

    job_id: str
    name: str
    is_final: bool


class ChargeStore(Protocol):
    """Versions of bills, the costs derived from them, and the cost side of jobs.

    A method called while a transaction is open is part of it.
    """

    def transaction(self) -> AbstractContextManager[None]: ...

    # versions

    def versions(self, source: str, period: Period) -> list[Version]:
        """Every version of a source and period, with its totals by day, in the order of their numbers."""
        ...

    def add_version(self, version: Version) -> None:
        """Raises ``Conflict`` when its number is taken."""
        ...

    def save_version(self, version: Version) -> None:
        """Write back what may change: state, note, acceptance, and how far it is complete."""
        ...

    def complete_through(self, source: str, period_start: datetime) -> datetime | None:
        """How far the current version that starts then is complete; None when there is none."""
        ...

    # costs

    def lives(self, source: str, period: Period) -> list[Life]:
        """Which job had which resource of this provider when, for whatever may bill in ``period``."""
        ...

    def job_currency(self, job_id: str) -> str | None: ...

    def replace_costs(self, version: Version, tally: Tally, *, at: datetime) -> set[str] | None:
        """Make the costs of the version's source and period those of ``tally``, and answer whose changed.

        None, and nothing is written, when they already were so.
        """
        ...

    def unsettled(self, source: str, period: Period) -> set[str]:
        """The jobs that had a machine of this provider in ``period`` and whose cost is not final."""
        ...

    # jobs

    def facts(self, job_id: str) -> JobFacts:
        """Raises ``UnknownJob``."""
        ...

    def save_bill(self, job_id: str, bill: JobBill, *, at: datetime) -> None: ...

    def finished(self, window: Period, *, final: bool, most: int) -> Sequence[JobBilling]:
        """Jobs that ended in the window, the longest ended first; those whose cost is ``final``, or the others."""
        ...

    def named(self, job_id: str) -> JobBilling:
        """Raises ``UnknownJob``."""
        ...

    def months(self, job_ids: Sequence[str] | None, window: Period) -> list[tuple[str, datetime]]:
        """The provider and month of every bill that may name these jobs; of all unbilled ones of the window if None."""
        ...
