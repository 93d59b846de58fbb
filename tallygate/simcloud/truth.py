"""The truth meter: what every resource has really cost, in whole nanos, at any instant.

A meter runs from a start to an end; what it bills is that span by the minimum and the increment of its cloud, each moment at
the price of the moment. Sums are kept as nanos an hour times microseconds and divided once, half to even, so that the cost
between two instants is always the difference of two readings and nothing is lost by cutting a life into lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from .dialects import Dialect
from .market import Pool
from .timeline import HOUR, SECOND, Timeline, microseconds


class Meter:
    """One resource's meter. Instants are the world's microseconds.

    With a ``pool`` the price is that pool's spot price, never more than ``ceiling``; without one it is ``rate``, nanos an hour.
    ``waived``: the provider took the machine back so early that none of it is billed.
    """

    __slots__ = (
        *(
            "account",
            "ceiling",
            "dialect",
            "end",
            "job_id",
            "kind",
            "list_rate",
            "machine_id",
            "pool",
            "rate",
            "region",
        ),
        *("resource_id", "sku", "start", "tags", "waived", "zone", "_sum", "_to"),
    )

    def __init__(
        self,
        *,
        resource_id: str,
        kind: str,
        machine_id: str | None,
        dialect: Dialect,
        account: str,
        region: str,
        zone: str,
        sku: str,
        tags: Mapping[str, str],
        start: int,
        rate: int,
        pool: Pool | None = None,
        ceiling: int | None = None,
    ) -> None:
        self.resource_id = resource_id
        self.kind = kind
        self.machine_id = machine_id
        self.dialect = dialect
        self.account = account
        self.region = region
        self.zone = zone
        self.sku = sku
        self.tags = tags
        self.job_id = tags.get("tallygate-job")
        self.start = start
        self.end: int | None = None
        self.rate = rate
        self.list_rate = rate if pool is None else pool.on_demand
        self.pool = pool
        self.ceiling = ceiling
        self.waived = False
        self._to = start
        self._sum = 0

    def billed_to(self, at: int) -> int:
        """The end of what is billed as of ``at``: the life so far in whole increments, and at least the minimum."""
        lived = (at if self.end is None else min(at, self.end)) - self.start
        if lived < 0:
            return self.start
        return self.start + self.dialect.terms.billed_seconds(-(-lived // SECOND)) * SECOND

    def price_at(self, at: int) -> int:
        """Nanos an hour at an instant."""
        if self.pool is None:
            return self.rate
        price = self.pool.price_at(at)
        return price if self.ceiling is None else min(price, self.ceiling)

    def spans(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The price path between two instants: ``(from, to, nanos an hour)``."""
        if self.pool is None:
            if start < end:
                yield start, end, self.rate
            return
        for since, upto, nanos in self.pool.steps(start, end):
            yield since, upto, nanos if self.ceiling is None else min(nanos, self.ceiling)

    def nanos(self, at: int) -> int:
        """What has been billed as of ``at``, exactly as a bill of that instant would come to."""
        if self.waived and self.end is not None and at >= self.end:
            return 0
        return self.nanos_to(self.billed_to(at))

    def nanos_to(self, upto: int) -> int:
        """What the time from the start to ``upto`` costs."""
        if upto < self._to:
            return rounded(sum(nanos * (end - start) for start, end, nanos in self.spans(self.start, upto)))
        self._sum += sum(nanos * (end - start) for start, end, nanos in self.spans(self._to, upto))
        self._to = upto
        return rounded(self._sum)

    def forget(self) -> None:
        """Read the price path anew next time: it was changed."""
        self._to, self._sum = self.start, 0


def rounded(nano_hours: int) -> int:
    """Nanos-an-hour times microseconds as nanos, half to even."""
    quotient, rest = divmod(nano_hours, HOUR)
    return quotient + (rest * 2 > HOUR or (rest * 2 == HOUR and quotient % 2 == 1))


class Truth:
    """All meters, and what they come to. Only the world knows this; a tool has the bills."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.meters: list[Meter] = []
        self._by_job: dict[str, list[Meter]] = {}
        self._by_machine: dict[str, list[Meter]] = {}

    def add(self, meter: Meter) -> Meter:
        self.meters.append(meter)
        if meter.job_id is not None:
            self._by_job.setdefault(meter.job_id, []).append(meter)
        if meter.machine_id is not None:
            self._by_machine.setdefault(meter.machine_id, []).append(meter)
        return meter

    def machine(self, machine_id: str, at: datetime | int | None = None) -> int:
        """Nanos that a machine and what was made with it have cost by ``at`` (now)."""
        return self._sum(self._by_machine.get(machine_id, ()), at)

    def job(self, job_id: str, at: datetime | int | None = None) -> int:
        """Nanos that everything carrying a job's tag has cost by ``at`` (now)."""
        return self._sum(self._by_job.get(job_id, ()), at)

    def total(self, dialect: str | None = None, account: str | None = None, at: datetime | int | None = None) -> int:
        """Nanos that everything has cost by ``at`` (now): in one dialect, one account, or all."""
        return self._sum(self.of(dialect, account), at)

    def of(self, dialect: str | None = None, account: str | None = None) -> Iterator[Meter]:
        """The meters of one dialect, one account, or all, in the order in which they were started."""
        for meter in self.meters:
            if dialect in (None, meter.dialect.name) and account in (None, meter.account):
                yield meter

    def jobs(self) -> list[str]:
        """Every job that anything was ever made for."""
        return list(self._by_job)

    def of_job(self, job_id: str) -> list[Meter]:
        return list(self._by_job.get(job_id, ()))

    def _sum(self, meters: Iterable[Meter], at: datetime | int | None) -> int:
        when = self._timeline.now if at is None else at if isinstance(at, int) else microseconds(at)
        return sum(meter.nanos(when) for meter in meters)
