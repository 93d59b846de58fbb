"""Collect: pull bills, keep them as versions, and bring jobs and their holds in line.

    pull -> snapshot on disk -> judge all versions -> add the current one up by job
         -> one transaction: version, costs, jobs, settlements

One question covers all jobs of a source and month. Nothing is asked while a transaction is open, and whatever a crash
leaves undone, asking again completes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Protocol

from ..errors import BillingError, Conflict, ProviderError, Quarantined, StoreDeadlock
from ..ids import Entropy, new_id
from ..ledger.holds import Hold
from ..money import Money, total
from ..times import Clock, Period
from .attribute import Registry, Tally, tally
from .charge import Charge
from .charge_store import ChargeStore, JobBilling
from .settle import CompleteThrough, JobBill, JobFacts, bill_of
from .snapshots import Snapshots, Staged
from .source import BillingSource
from .versions import Band, Version, VersionState, current, issue_order, judge

_TRIES_MAX = 4
"""How often a switch is begun again when another process has just recorded a version or holds the rows."""


class Settler(Protocol):
    """The part of the ledger's book that bills need."""

    def holds(self, job_id: str) -> list[Hold]: ...

    def settle(self, *, job_id: str, target: Money, final: bool, reason: str = "") -> list[Hold]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A bill as it was handed over: its charges for one period, in any order.

    ``issued_at``: when its issuer stood behind it. Of two deliveries the one issued later counts, whichever came first.
    ``expected_rows``: how many rows the issuer announced, when it did.
    """

    source: str
    period: Period
    charges: Iterable[Charge]
    issued_at: datetime
    complete_through: datetime
    expected_rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one period of one source.

    ``version`` is the one this delivery is kept as, None when nothing was delivered. ``changed``: whether any cost, job or
    hold moved. ``problem``: why it was not applied, empty when all is well. ``jobs`` bear costs of the period.
    """

    source: str
    period: Period
    version: Version | None
    changed: bool
    problem: str = ""
    jobs: int = 0
    error: BillingError | ProviderError | None = None

    def as_dict(self) -> dict[str, object]:
        return {
            "source": self.source,
            "period": f"{self.period.start:%Y-%m}",
            "version": None if self.version is None else self.version.number,
            "state": None if self.version is None else self.version.state,
            "complete_through": None if self.version is None else self.version.complete_through,
            "totals": {} if self.version is None else self.version.totals(),
            "jobs": self.jobs,
            "changed": self.changed,
            "problem": self.problem or None,
        }


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What asking the bill did for one job. ``status``: ``success``, ``pending`` (not on the bill yet) or ``failed``."""

    job_id: str
    name: str
    status: str
    bill: JobBill | None
    reason: str = ""

    def as_dict(self) -> dict[str, object]:
        return {
            "job_id": self.job_id,
            "name": self.name,
            "status": self.status,
            "cost_state": None if self.bill is None else self.bill.cost_state,
            "actual_cost": None if self.bill is None else self.bill.billed,
            "reason": self.reason or None,
        }


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What a collection did, and what asking cost."""

    jobs: tuple[JobOutcome, ...]
    bills: tuple[Outcome, ...]
    calls: int
    asking_cost: Money

    def _count(self, status: str) -> int:
        return sum(job.status == status for job in self.jobs)

    @property
    def processed(self) -> int:
        return len(self.jobs)

    @property
    def successful(self) -> int:
        return self._count("success")

    @property
    def failed(self) -> int:
        return self._count("failed")

    @property
    def problems(self) -> list[str]:
        """What a person has to look at."""
        return [f"{bill.source} {bill.period.start:%Y-%m}: {bill.problem}" for bill in self.bills if bill.problem]

    def check(self) -> None:
        """Raise the first thing that went wrong, if anything did: a bill that could not be asked for or applied."""
        for bill in self.bills:
            if bill.error is not None:
                raise bill.error

    def as_dict(self) -> dict[str, object]:
        """The documented keys (processed, successful, failed, jobs) and ours."""
        return {
            "processed": self.processed,
            "successful": self.successful,
            "failed": self.failed,
            "pending": self._count("pending"),
            "jobs": [job.as_dict() for job in self.jobs],
            "bills": [bill.as_dict() for bill in self.bills],
            "billing_calls": self.calls,
            "billing_calls_cost": self.asking_cost,
        }


class Collector:
    """Everything that turns bills into costs, for one installation."""

    def __init__(
        self,
        *,
        store: ChargeStore,
        sources: Mapping[str, BillingSource],
        snapshots: Snapshots,
        book: Settler,
        clock: Clock,
        entropy: Entropy,
        band: Band | None = None,
    ) -> None:
        """``sources`` by the name of the provider whose bill they are."""
        self._store = store
        self._sources = sources
        self._snapshots = snapshots
        self._book = book
        self._clock = clock
        self._entropy = entropy
        self._band = band or Band()

    # --- for doors

    def retrieve(
        self,
        *,
        job_ids: Sequence[str] | None = None,
        jobs_max: int = 10,
        days_back: int = 7,
        again: bool = False,
        accept: bool = False,
    ) -> CollectReport:
        """Ask for the actual costs of ``job_ids``, or of the jobs that ended within ``days_back`` days.

        Jobs whose cost is final are answered without asking, unless ``again``. ``accept`` applies a bill even if its checks
        say that it is odd. Every bill that an unbilled job or an orphan of the window could be on is asked for once, so
        ``jobs_max`` bounds the answer and starves nobody. Raises ``UnknownJob``.
        """
        now = self._clock.now()
        window = Period(now - timedelta(days=days_back), now + timedelta(microseconds=1))
        chosen = self._chosen(job_ids, window, jobs_max)
        asked = [job.job_id for job in chosen if again or not job.is_final]
        bills: list[Outcome] = []
        before = {name: source.calls for name, source in self._sources.items()}
        everybody = job_ids is None and not again
        if asked or everybody:
            for name, start in self._store.months(None if everybody else asked, window):
                if name in self._sources:
                    bills.append(self.collect(self._sources[name], Period.month(start), accept=accept))
            for job_id in asked:
                self._without_machine(job_id)
        through = cache(self._store.complete_through)  # the same few bills are behind all these jobs
        jobs = tuple(self._job_outcome(job, bills, through) for job in chosen)
        calls = {name: source.calls - before[name] for name, source in self._sources.items()}
        cost = total(source.call_price.times(calls[name]) for name, source in self._sources.items())
        return CollectReport(jobs, tuple(bills), sum(calls.values()), cost)

    def collect(self, source: BillingSource, period: Period, *, accept: bool = False) -> Outcome:
        """Pull one period of one source and apply it. What goes wrong with it is in the answer, not raised."""
        issued_at = self._clock.now()
        try:
            complete_through = source.complete_through()  # asked first: what comes after is at least as complete
            staged = self._snapshots.stage(source.name, period, source.charges(period))
            return self._keep(staged, issued_at, complete_through, flaw="", accept=accept, pulled=True)
        except (BillingError, ProviderError) as error:
            return Outcome(
                source=source.name, period=period, version=None, changed=False, problem=error.message, error=error
            )

    def deliver(self, delivery: Delivery, *, accept: bool = False) -> Outcome:
        """Keep a bill that was handed over, and apply what is current after it. Deliveries may come in any order.

        Raises ``Quarantined`` when a line cannot belong to it; a delivery that fails its checks is kept, not applied,
        and its outcome says so.
        """
        staged = self._snapshots.stage(delivery.source, delivery.period, delivery.charges)
        flaw = ""
        if delivery.expected_rows not in (None, staged.written.row_count):
            flaw = f"{staged.written.row_count} rows came of the {delivery.expected_rows} that were announced"
        return self._keep(staged, delivery.issued_at, delivery.complete_through, flaw=flaw, accept=accept, pulled=False)

    # --- versions

    def _keep(
        self, staged: Staged, issued_at: datetime, complete_through: datetime, *, flaw: str, accept: bool, pulled: bool
    ) -> Outcome:
        try:
            for left in range(_TRIES_MAX, 0, -1):
                try:
                    return self._kept(staged, issued_at, complete_through, flaw, accept, pulled)
                except (Conflict, StoreDeadlock):
                    if left == 1:
                        raise
            raise AssertionError("the last try answers or raises")
        finally:
            self._snapshots.discard(staged)

    def _kept(
        self, staged: Staged, issued_at: datetime, complete_through: datetime, flaw: str, accept: bool, pulled: bool
    ) -> Outcome:
        known = self._store.versions(staged.source, staged.period)
        mine = _newest(known, staged) if pulled else _same(known, staged, issued_at, complete_through, flaw)
        new = mine is None
        if mine is None:
            number = 1 + max((each.number for each in known), default=0)
            mine = Version(
                id=new_id(self._clock, self._entropy),
                source=staged.source,
                period=staged.period,
                number=number,
                state=VersionState.QUARANTINED,
                row_count=staged.written.row_count,
                digest=staged.written.digest,
                path=self._snapshots.path_of(staged, number),
                file_sha256=staged.written.file_sha256,
                issued_at=issued_at,
                complete_through=complete_through,
                retrieved_at=self._clock.now(),
                flaw=flaw,
                days=staged.days,
            )
        others = [each for each in known if each.id != mine.id]
        judged = judge([*others, mine], self._band)
        if accept and any(each.id == mine.id and each.state is VersionState.QUARANTINED for each in judged):
            judged = judge([*others, replace(mine, accepted=True)], self._band)
        mine = next(each for each in judged if each.id == mine.id)
        applying = current(judged)
        counted = (
            None if applying is None else self._tally(applying, staged if new and applying.id == mine.id else None)
        )
        with self._store.transaction():
            if [each.id for each in self._store.versions(staged.source, staged.period)] != [each.id for each in known]:
                raise Conflict(f"Another process has just collected {staged.source} {staged.period.start:%Y-%m}")
            changed = self._record(known, judged, mine, new=new)
            if new:
                self._snapshots.place(staged, mine.number)
            jobs = 0
            if applying is not None and counted is not None:
                raised = complete_through if pulled and applying.id == mine.id else applying.complete_through
                before = current(known)
                shrunk = before is not None and before.complete_through > applying.complete_through
                jobs, moved = self._apply(applying, counted, complete_through=raised, everybody=shrunk)
                changed = changed or moved
        problem = mine.note if mine.state is VersionState.QUARANTINED else ""
        error = None
        if problem:
            error = Quarantined(
                f"The {mine.source} bill for {mine.period.start:%Y-%m} was kept as version {mine.number} and not applied: "
                f"{problem}",
                cure="Look at it first; to let it count: python cost_tracker.py --batch --accept-odd",
            )
        return Outcome(
            source=mine.source,
            period=mine.period,
            version=mine,
            changed=changed,
            problem=problem,
            jobs=jobs,
            error=error,
        )

    def _record(self, known: Sequence[Version], judged: Sequence[Version], mine: Version, *, new: bool) -> bool:
        """Write down how the versions stand now. The one that counts last, because only one may at any instant."""
        before = {each.id: each for each in known}
        changed = [each for each in judged if each.id in before and before[each.id] != each]
        for version in sorted(changed, key=lambda each: each.state is VersionState.CURRENT):
            if version.state is not VersionState.CURRENT:
                self._store.save_version(version)
        if new:
            self._store.add_version(mine)
        for version in changed:
            if version.state is VersionState.CURRENT:
                self._store.save_version(version)
        return new or bool(changed)

    def _tally(self, version: Version, staged: Staged | None) -> Tally:
        """Add a version up by job, from the file just staged if it is that one, and prove that nothing is lost."""
        charges = self._snapshots.read(version) if staged is None else self._snapshots.read_staged(staged)
        registry = Registry(self._store.lives(version.source, version.period), self._store.job_currency)
        counted = tally(charges, registry)
        expected = {currency: amount.nanos for currency, amount in version.totals().items()}
        if counted.totals() != expected:
            raise BillingError(
                f"The {version.source} bill for {version.period.start:%Y-%m} does not add up: "
                f"its control total is {expected} nanos, its lines come to {counted.totals()}"
            )
        return counted

    # --- jobs

    def _apply(
        self, version: Version, counted: Tally, *, complete_through: datetime, everybody: bool
    ) -> tuple[int, bool]:
        """Make the costs those of ``version``; how many jobs bear some, and whether anything moved.

        ``everybody``: look at final costs too, because the bill is less complete than the one before.
        """
        now = self._clock.now()
        replaced = self._store.replace_costs(version, counted, at=now)
        raised = replace(version, complete_through=max(version.complete_through, complete_through))

        @cache
        def through(source: str, start: datetime) -> datetime | None:
            if (source, start) == (raised.source, raised.period.start):
                return raised.complete_through
            return self._store.complete_through(source, start)

        moved, matured = replaced is not None, False
        candidates = (replaced or set()) | self._store.unsettled(version.source, version.period)
        if everybody:
            candidates |= {life.job_id for life in self._store.lives(version.source, version.period)}
        for job_id in sorted(candidates):
            facts = self._store.facts(job_id)
            bill = bill_of(facts, through)
            matured = _differs(facts, bill) or matured
            moved = self._bring_in_line(facts, bill, at=now) or moved
        if matured and raised != version:
            # Written down only when a cost depends on it, so that asking again for the same bill changes nothing.
            self._store.save_version(raised)
        return len({job_id for job_id, _ in counted.jobs}), moved

    def _bring_in_line(self, facts: JobFacts, bill: JobBill, *, at: datetime) -> bool:
        """Write a job's bill down and settle its holds to it. False when everything stood so already."""
        changed = _differs(facts, bill)
        if changed:
            self._store.save_bill(facts.job_id, bill, at=at)
        holds = self._book.holds(facts.job_id)
        if any(hold.spent != bill.target or (bill.closes and hold.is_open) for hold in holds):
            settled = self._book.settle(
                job_id=facts.job_id, target=bill.target, final=bill.closes, reason=f"bill: {bill.cost_state}"
            )
            changed = changed or _revisions(holds) != _revisions(settled)
        return changed

    def _without_machine(self, job_id: str) -> None:
        """Close the bill of a finished job that never had a machine: no bill will ever name it."""
        facts = self._store.facts(job_id)
        if any(attempt.resource_ids for attempt in facts.attempts):
            return
        bill = bill_of(facts, self._store.complete_through)
        with self._store.transaction():
            self._bring_in_line(facts, bill, at=self._clock.now())

    def _chosen(self, job_ids: Sequence[str] | None, window: Period, most: int) -> list[JobBilling]:
        if job_ids is not None:
            return [self._store.named(job_id) for job_id in dict.fromkeys(job_ids)]
        unbilled = list(self._store.finished(window, final=False, most=most))
        left = most - len(unbilled)
        return unbilled + (list(self._store.finished(window, final=True, most=left)) if left > 0 else [])

    def _job_outcome(self, job: JobBilling, bills: Iterable[Outcome], through: CompleteThrough) -> JobOutcome:
        facts = self._store.facts(job.job_id)
        bill = bill_of(facts, through)
        if bill.billed is not None:
            return JobOutcome(job.job_id, job.name, "success", bill, bill.waiting)
        providers = {attempt.provider for attempt in facts.attempts}
        foreign = sorted(providers - self._sources.keys())
        if foreign:
            return JobOutcome(job.job_id, job.name, "failed", bill, f"no billing source is set up for {foreign[0]}")
        problem = next((each.problem for each in bills if each.problem and each.source in providers), "")
        status = "failed" if problem or bill.is_missing else "pending"
        return JobOutcome(job.job_id, job.name, status, bill, problem or bill.waiting)


def _newest(known: Iterable[Version], staged: Staged) -> Version | None:
    """The newest version if it has the rows just pulled: a pulled bill is newer than all others by nature."""
    newest = max(known, key=issue_order, default=None)
    return newest if newest is not None and newest.digest == staged.written.digest else None


def _same(
    known: Iterable[Version], staged: Staged, issued_at: datetime, complete_through: datetime, flaw: str
) -> Version | None:
    """The version that this very delivery is already kept as."""
    mine = (staged.written.digest, issued_at, complete_through, flaw)
    return next(
        (each for each in known if (each.digest, each.issued_at, each.complete_through, each.flaw) == mine), None
    )


def _revisions(holds: Iterable[Hold]) -> set[tuple[str, int]]:
    return {(hold.account_id, hold.revision) for hold in holds}


def _differs(facts: JobFacts, bill: JobBill) -> bool:
    return (facts.cost_state, facts.billed_cost, facts.final_cost) != (bill.cost_state, bill.billed, bill.final)
