"""What jobs and accounts have truly cost, compared with what they may, at every instant.

    meter --> job --> every account it draws on        sums that grow with the meters, never recounted from the start

Between two events nothing changes but time, and meters run no faster than their ceilings. So each sum that was compared has
an instant before which it cannot have passed its bound: it is looked at again then, or when a commit, a new meter or an end
changes what it depends on. That is a comparison after every event, without asking every meter every time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from .timeline import HOUR, SECOND
from .truth import Meter
from .world import World

_STEP = 2 * SECOND
"""Meters bill whole seconds: the most that a sum can be ahead of the time that has passed."""


@dataclass(slots=True)
class _Sum:
    """A job's or an account's cost: of what has ended, and of what runs. ``looks`` numbers the comparisons planned."""

    settled: int = 0
    running: dict[object, None] = field(default_factory=dict)
    looks: int = 0


class Spending:
    """The cost of every job and account of one run, followed meter by meter.

    ``leave_out`` says which meters nobody could have held money for. ``changed`` is told of a job or an account whose cost
    has to be compared with its bound, and answers how much is left (None: nothing bounds it).
    """

    def __init__(
        self, world: World, *, leave_out: Callable[[Meter], bool], compare: Callable[[str, bool], int | None]
    ) -> None:
        self._world = world
        self._leave_out = leave_out
        self._compare = compare
        self._seen = 0
        self._jobs: dict[str, _Sum] = {}
        self._accounts: dict[str, _Sum] = {}
        self._accounts_of: dict[str, tuple[str, ...]] = {}
        self._counted: dict[str, int] = {}
        self._booked: dict[str, int] = {}
        self._due: list[tuple[int, int, str, bool]] = []

    # --- what it comes to

    def of_job(self, job_id: str) -> int:
        """Nanos that a job has cost by now: what is booked once its bill is final, else what its meters say."""
        booked = self._booked.get(job_id)
        return self._metered(job_id) if booked is None else booked

    def of_account(self, account_id: str) -> int:
        """Nanos that all jobs that draw on an account have cost by now."""
        found = self._accounts.get(account_id)
        if found is None:
            return 0
        cost = found.settled
        for job_id in list(found.running):
            assert isinstance(job_id, str)
            cost += self.of_job(job_id)
            self._count(job_id)
        return cost

    # --- what changes it

    def after_event(self) -> None:
        """Take up new meters, and compare whatever could have passed its bound by now."""
        meters = self._world.truth.meters
        if self._seen < len(meters):
            jobs: dict[str, None] = {}  # a machine brings several meters at once
            for meter in meters[self._seen :]:
                if meter.job_id is not None and not self._leave_out(meter):
                    self._jobs.setdefault(meter.job_id, _Sum()).running[meter] = None
                    jobs[meter.job_id] = None
            self._seen = len(meters)
            for job_id in jobs:
                self._count(job_id)
                self.look(job_id)
        now = self._world.now
        while self._due and self._due[0][0] <= now:
            _, number, key, is_job = heappop(self._due)
            found = (self._jobs if is_job else self._accounts).get(key)
            if found is not None and found.looks == number:
                self._look(key, found, is_job=is_job)

    def draws_on(self, job_id: str, accounts: tuple[str, ...]) -> bool:
        """Say which accounts a job holds money on. Whether that is new."""
        if self._accounts_of.get(job_id) == accounts:
            return False
        self._uncount(job_id)
        self._accounts_of[job_id] = accounts
        self._count(job_id)
        return True

    def book(self, job_id: str, nanos: int) -> bool:
        """A job's bill is final: from now on its cost is what is booked. Whether that is new."""
        if self._booked.get(job_id) == nanos:
            return False
        self._uncount(job_id)
        self._booked[job_id] = nanos
        self._count(job_id)
        return True

    def look(self, job_id: str, *, accounts: bool = True) -> None:
        """Compare a job now: what bounds it, or what it costs, has changed. ``accounts``: and so has what it adds to them."""
        self._look(job_id, self._jobs.setdefault(job_id, _Sum()), is_job=True)
        if not accounts:
            return
        for account_id in self._accounts_of.get(job_id, ()):
            self.look_at_account(account_id)

    def look_at_account(self, account_id: str) -> None:
        self._look(account_id, self._accounts.setdefault(account_id, _Sum()), is_job=False)

    # --- inside

    def _look(self, key: str, found: _Sum, *, is_job: bool) -> None:
        found.looks += 1
        left = self._compare(key, is_job)
        rate = self._rate(key) if is_job else sum(self._rate(str(job_id)) for job_id in found.running)
        if left is not None and left >= 0 and rate:
            at = self._world.now + max(SECOND, left * HOUR // rate - _STEP)
            heappush(self._due, (at, found.looks, key, is_job))

    def _rate(self, job_id: str) -> int:
        """Nanos an hour that a job can cost at the most from now on."""
        found = self._jobs.get(job_id)
        if found is None or job_id in self._booked:
            return 0
        return sum(_rate_max(meter) for meter in found.running if isinstance(meter, Meter))

    def _metered(self, job_id: str) -> int:
        found = self._jobs.get(job_id)
        if found is None:
            return 0
        now, cost = self._world.now, found.settled
        for meter in list(found.running):
            assert isinstance(meter, Meter)
            nanos = meter.nanos(now)
            cost += nanos
            if meter.end is not None and meter.end <= now:
                found.settled += nanos
                del found.running[meter]
        return cost

    def _count(self, job_id: str) -> None:
        """Add a job to its accounts: for good when none of its meters runs, else for asking."""
        self._uncount(job_id)
        cost = self.of_job(job_id)
        job = self._jobs.get(job_id)
        runs = job is not None and bool(job.running) and job_id not in self._booked
        for account_id in self._accounts_of.get(job_id, ()):
            account = self._accounts.setdefault(account_id, _Sum())
            if runs:
                account.running[job_id] = None
            else:
                account.settled += cost
        if not runs:
            self._counted[job_id] = cost

    def _uncount(self, job_id: str) -> None:
        counted = self._counted.pop(job_id, 0)
        for account_id in self._accounts_of.get(job_id, ()):
            account = self._accounts.setdefault(account_id, _Sum())
            account.settled -= counted
            account.running.pop(job_id, None)


def _rate_max(meter: Meter) -> int:
    """The most that a meter can come to bill, in nanos an hour."""
    if meter.pool is None:
        return meter.rate
    highest = meter.pool.on_demand * (3 if meter.dialect.price_spikes else 1)
    return highest if meter.ceiling is None else min(highest, meter.ceiling)
