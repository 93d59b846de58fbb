"""The promises, each a named check of the store against the truth.

What the store says by itself is judged in ``records``; a provider's strictness in ``provider``. Checks that need both
sides are here. True spend is compared with what covers it after every event and at every commit, before and after it;
``spending`` knows when a comparison can be left out because it cannot fail yet.

    M   money      R   machines      T   time      A, B, D, J   the catalogue of failures and of one job's own sums
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..jobs.watch import NEWBORN
from ..ledger.book import Book
from ..money import Money
from ..providers.base import (
    Launch,
    LaunchOrder,
    Listing,
    MachineState,
    Provider,
    SupportsCheckpointRequest,
    SupportsExtension,
)
from ..store.database import Database, Row
from ..store.journal import JournalStore
from ..times import instant
from .machines import Machine
from .processes import Process, Write
from .records import OPEN, Records, covered
from .spending import Spending
from .timeline import HOUR, SECOND, microseconds
from .timeline import instant as moment
from .world import World

_PASSES_MAX = 3

INVARIANTS: Mapping[str, str] = {
    "M1": "held and spent of a budget never pass its limit by an admission",
    "M2": "the jars of every account are what its holds and entries add up to, recomputed from scratch",
    "M4": "nothing of the journal is ever changed or lost",
    "M5": "a hold gives exactly what it had, closes once, and is the same on every account of its job",
    "M6": "a charge is counted once",
    "M7": "what jobs bear and what nobody bears is the whole bill, to the nano",
    "M13": "true spend never passes a limit, at any instant (working timers)",
    "M14": "after the last bill the books say what was truly spent, job by job",
    "M15": "no hold is given back while a machine of its job may bill",
    "M17": "what a job holds and has booked covers what it has truly cost, at any instant (working timers)",
    "M18": "a cost is called final only when its bill is complete past the end of every machine",
    "R1": "at most one machine of a job exists at any instant",
    "R2": "every machine that bills is covered by an open hold of its job (working timers)",
    "R3": "a machine carries our tags from the moment it exists",
    "R4": "no machine bills after its deadline and kill allowance (working timers)",
    "R5": "within five rounds after the last fault nothing is open, nothing of ours bills, nothing is stuck",
    "R6": "no healthy, foreign or protected machine is ever told to end by us",
    "R7": "nothing is declared void or ended while its machine has not ended, or may still come",
    "R8": "an end on record was observed, and at the time on record; one that nobody saw is never dated too early",
    "R9": "a create call holds the token of a committed intent, under the caller's own lease",
    "R10": "no transaction is open during a call",
    "R11": "a token has one set of parameters",
    "R12": "whoever writes holds the lease; a lease is only taken when it is free",
    "R14": "a pass never ends more orphans than its cap",
    "R15": "jobs and attempts move along allowed edges only",
    "T3": "a clock that is set wrong frees no hold and changes no total",
    "A02": "a job and its holds are stored together or not at all",
    "A26": "one request key makes one job",
    "D04": "a job holds money on its own account and on every budget above it",
    "D07": "money is held in the window of the launch",
    "J1": "a job's row says what its holds hold",
    "J2": "a job is metered what its attempts are metered, and an attempt the price of the launch for its billed time",
    "J3": "a machine's own end and price ceiling are never beyond what is held for",
    "J4": "a job asked to end, or past its deadline, is told so within three passes and is not launched again",
    "J5": "an attempt's price ceiling times its longest time fits what its job still holds",
    "X1": "no process ends with an error that nobody foresaw",
}
"""Every invariant by name, with what it promises."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: which, when, and how it showed."""

    invariant: str
    at: datetime
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at:%Y-%m-%d %H:%M:%S}: {self.detail}"


@dataclass(slots=True)
class Pass:
    """One reconcile pass of a process over one provider, as its calls show it."""

    seen_alive: int = 0
    orphans_ended: set[str] = field(default_factory=set)
    overdue: dict[str, int] = field(default_factory=dict)


class Invariants:
    """All checks of one run. What they find is in ``violations``; the first one ends the run.

    ``strict``: nothing in this run can make a machine outlive its deadline or bill beyond its hold, so true spend is
    compared with holds and limits at every instant.
    """

    def __init__(self, world: World, database: Database, *, install_id: str, account: str, strict: bool) -> None:
        self.world = world
        self.violations: list[Violation] = []
        self.strict = strict
        self._database = database
        self._install_id = install_id
        self._account = account
        self.records = Records(database, self.found)
        self.records.closing = self._closing
        self.records.changing = self._changing
        self.records.released = self._released
        self.records.finalised = self._finalised
        self._machines_seen = 0
        self._late: set[str] = set()
        self._spending = Spending(world, leave_out=lambda meter: meter.machine_id in self._late, compare=self._compare)
        self._bounds: dict[str, object] = {}
        """Each account's limit when it was last compared with what was truly spent."""
        self._of_job: dict[str, list[Machine]] = {}
        self._passes: dict[str, Pass] = {}

    def found(self, invariant: str, detail: str) -> None:
        """Note a broken promise."""
        assert invariant in INVARIANTS, invariant
        self.world.record("broken", invariant=invariant, detail=detail)
        self.violations.append(Violation(invariant, self.world.instant(), detail))

    # --- while it runs

    def committed(self, process: Process, writes: Sequence[Write]) -> None:
        """After every commit: what was written, and whether it still covers what was spent."""
        self.records.committed(process, writes)
        if not self.strict:
            return
        for job_id in sorted({str(values["job_id"]) for _, values in writes if "job_id" in values}):
            if job_id in self.records.holds:
                self._see_cover(job_id)
        for account_id in sorted({str(values["account_id"]) for _, values in writes if "account_id" in values}):
            # Time alone is seen by ``spending``; what a commit can move is the bound.
            account = self.records.accounts.get(account_id)
            bound = None if account is None else (account["limit_nanos"], account_id in self.records.lowered)
            if self._bounds.get(account_id) != bound:
                self._bounds[account_id] = bound
                self._spending.look_at_account(account_id)

    def _see_cover(self, job_id: str) -> None:
        moved = self._spending.draws_on(job_id, tuple(self.records.holds[job_id]))
        job, hold = self.records.jobs.get(job_id), self.records.own_hold(job_id)
        if job is not None and job["cost_state"] == "final" and hold is not None:
            # The rest of the truth, if any, is nobody's by the bill's own words.
            moved = self._spending.book(job_id, _whole(hold["spent_nanos"])) or moved
        self._spending.look(job_id, accounts=moved)

    def after_event(self) -> None:
        """After every event of the world: the machines that it brought, and what has been spent by now."""
        made = self.world.fleet.made
        while self._machines_seen < len(made):
            self._machines_seen += 1
            self._born(made[self._machines_seen - 1])
        if self.strict:
            self._spending.after_event()

    @property
    def late_births(self) -> int:
        """Machines that a request made which was on its way for longer than any hold can wait: they end themselves at boot."""
        return len(self._late)

    def _born(self, machine: Machine) -> None:
        if machine.build.tags.get("tallygate-install") != self._install_id:
            return
        job_id = machine.job_id or ""
        others = self._of_job.setdefault(job_id, [])
        row = self.records.by_token.get(machine.token)
        if row is not None and machine.created_at > self._coverable_until(row):
            self._late.add(machine.id)
        elif row is not None and row["state"] not in OPEN:
            self.found("R7", f"{machine.id} of job {job_id} was made, and its attempt had been declared {row['state']}")
        elif any(other.state is not MachineState.ENDED and other.id not in self._late for other in others):
            self.found("R1", f"{machine.id} is the second machine of job {job_id}")
        others.append(machine)
        hold = self.records.own_hold(job_id)
        if self.strict and machine.id not in self._late and (hold is None or hold["closed_at"] is not None):
            self.found("R2", f"{machine.id} of job {job_id} was made without an open hold")

    def _coverable_until(self, row: Row) -> int:
        """Until when a request may be on its way and its machine must still be covered."""
        seconds = _whole(row["kill_seconds"]) * SECOND
        return microseconds(self.records.not_after[str(row["token"])] + NEWBORN) + seconds

    def _closing(self, job_id: str, attempt: Row) -> None:
        for machine in self._of_job.get(job_id, ()):
            if (
                machine.token == attempt["token"]
                and machine.state is not MachineState.ENDED
                and machine.id not in self._late
            ):
                self.found("R7", f"{machine.id} is {machine.state} and its attempt was declared {attempt['state']}")
        if attempt["state"] == "ended":
            self._check_end(job_id, attempt)

    def _check_end(self, job_id: str, attempt: Row) -> None:
        """The end on record against the true one. An end that nobody saw is dated by when the machine was first missed."""
        machine = self.world.machines.get(str(attempt["machine_id"]))
        if machine is None or machine.ended_at is None:
            return
        off = instant(attempt["ended_at"]) - moment(machine.ended_at)  # type: ignore[arg-type]
        if attempt["end_source"] == "last_seen":
            if off < timedelta():
                self.found(
                    "R8", f"the end of {machine.id} of job {job_id}, which nobody saw, is dated {-off} too early"
                )
            return
        if abs(off) > timedelta(seconds=1):
            self.found("R8", f"the end of {machine.id} of job {job_id} is on record {off} off the truth")
        lived = -((machine.created_at - machine.ended_at) // SECOND)
        seconds = machine.dialect.terms.billed_seconds(lived)
        metered = Money(_whole(attempt["hourly_price_nanos"])).for_seconds(seconds).nanos
        if abs(_whole(attempt["metered_nanos"]) - metered) > 1:
            self.found(
                "J2", f"{machine.id} of job {job_id} is metered {attempt['metered_nanos']}, it should be {metered}"
            )

    def _changing(self, job_id: str) -> None:
        """A job's holds are about to be seen anew: whether the old ones still covered it up to now."""
        self._compare(job_id, True)

    def _released(self, job_id: str) -> None:
        if not self.strict:
            return
        for machine in self._of_job.get(job_id, ()):
            if machine.bills and machine.id not in self._late:
                self.found("M15", f"the hold of {job_id} was closed while {machine.id} bills")

    def _finalised(self, job_id: str) -> None:
        for machine in self._of_job.get(job_id, ()):
            known = (
                machine.ended_at is not None and machine.ended_at <= self.world.now - machine.dialect.final_hours * HOUR
            )
            if not known and machine.id not in self._late:
                self.found("M18", f"the cost of job {job_id} is called final, the bill of {machine.id} is not")

    def _compare(self, key: str, is_job: bool) -> int | None:
        """A job's true cost with what its hold covers, or an account's with its limit: how much is left."""
        return self._cover_left(key) if is_job else self._limit_left(key)

    def _cover_left(self, job_id: str) -> int | None:
        hold = self.records.own_hold(job_id)
        if not self.strict or hold is None:
            return None
        spent = self._spending.of_job(job_id)
        if spent > covered(hold):
            self.found("M17", f"job {job_id} has truly cost {spent}, its hold covers {covered(hold)}")
        return covered(hold) - spent

    def _limit_left(self, account_id: str) -> int | None:
        account = self.records.accounts.get(account_id)
        if account is None or account_id in self.records.lowered or not account["hard"]:
            return None
        budget = self.records.budgets.get(str(account["budget_id"]))
        limit = _whole(account["limit_nanos"]) if budget is None or budget.limit is None else budget.limit
        spent = self._spending.of_account(account_id)
        if spent > limit:
            self.found("M13", f"{spent} were truly spent on account {account_id}, its limit is {limit}")
        return limit - spent

    # --- what processes ask of providers

    def watched(self, process: Process, provider: Provider) -> Provider:
        """The provider, with every call judged before it is passed on."""
        if isinstance(provider, SupportsExtension):
            return _WatchedExtending(self, process, provider)
        return _Watched(self, process, provider)

    def launching(self, process: Process, order: LaunchOrder) -> None:
        """A create call: only under the caller's own lease, with the end that is on record."""
        row = self.records.by_token.get(order.token)
        if row is None:
            self.found("R9", f"{process.role} asks for a machine with {order.token}, which is no attempt of ours")
            return
        owner, state = row["lease_owner"], row["state"]
        if owner != process.name or state != "intent":
            self.found("R9", f"{process.role} asks for a machine with {order.token}, {state} and leased by {owner}")
        until = row["lease_until"]
        if until is not None and process.now() >= instant(until):  # type: ignore[arg-type]
            self.found("R9", f"{process.role} asks for a machine with {order.token} after its lease has run out")
        if order.not_after > instant(row["not_after"]) or order.run_seconds_max > _whole(row["run_seconds_max"]):  # type: ignore[arg-type]
            self.found("J3", f"{order.token} is launched with a later end than is held for")
        if order.price_max.nanos > _whole(row["price_max_nanos"]):
            self.found("J3", f"{order.token} is launched with a higher price ceiling than is held for")

    def extending(self, process: Process, machine_id: str, not_after: datetime) -> None:
        """A later end: only one that is on record and held for."""
        row = self._row_of(machine_id)
        if row is not None and not_after > instant(row["not_after"]):  # type: ignore[arg-type]
            self.found("J3", f"{process.role} gives {machine_id} a later end than is on record")

    def listed(self, process: Process, listing: Listing) -> None:
        """A new pass begins. What was overdue at the three before, and is still not told to end, never will be."""
        key = f"{process.name} {listing.provider}"
        before = self._passes.get(key, Pass())
        alive = [each for each in listing.launches if each.state is not MachineState.ENDED]
        now = self._passes[key] = self._passes[process.name] = Pass(seen_alive=len(alive))
        for launch in alive:
            row = self.records.by_token.get(launch.token)
            if (
                row is None
                or row["state"] != "live"
                or row["machine_id"] != launch.id
                or not self._is_overdue(process, row)
            ):
                continue
            now.overdue[launch.token] = before.overdue.get(launch.token, 0) + 1
            if now.overdue[launch.token] > _PASSES_MAX and listing.complete:
                self.found("J4", f"{launch.id} was asked to end or is past its deadline and was not told so")

    def _is_overdue(self, process: Process, row: Row) -> bool:
        job = self.records.jobs.get(str(row["job_id"]))
        asked = job is not None and job["stop_requested_at"] is not None
        return asked or process.now() > instant(row["not_after"])  # type: ignore[arg-type]

    def terminating(self, process: Process, machine_id: str) -> None:
        """The end of a machine: only of ours, and only for a reason that is on record."""
        machine = self.world.machines.get(machine_id)
        if machine is None:
            return  # what was left behind without a machine may always be cleared
        if machine.build.tags.get("tallygate-install") != self._install_id:
            self.found("R6", f"{process.role} ends {machine_id}, which is not ours")
            return
        row = self.records.by_token.get(machine.token)
        if row is not None and row["state"] in OPEN:
            self._check_reason(process, machine, row)
            return
        if not machine.is_alive:
            return
        current = self._passes.setdefault(process.name, Pass())
        current.orphans_ended.add(machine_id)
        if len(current.orphans_ended) > max(3, current.seen_alive // 5):
            self.found("R14", f"{process.role} ends {len(current.orphans_ended)} orphans of {current.seen_alive} seen")

    def _check_reason(self, process: Process, machine: Machine, row: Row) -> None:
        if row["machine_id"] not in (None, machine.id) or row["state"] == "terminating":
            return  # a second machine of the same attempt; or its end was decided before
        self.found("R6", f"{process.role} ends {machine.id}, which is {row['state']} and healthy")

    def _row_of(self, machine_id: str) -> Row | None:
        machine = self.world.machines.get(machine_id)
        return None if machine is None else self.records.by_token.get(machine.token)

    def checked_process(self, process: Process) -> None:
        """How a process ended: only with errors that its user would be told about."""
        error = process.error
        if error is None or (type(error).__module__ == "tallygate.errors" and type(error).__name__ != "StoreDamaged"):
            return
        if type(error).__name__ == "SimulationViolation":
            self.found(_strictness(str(error)), str(error))
        else:
            self.found("X1", f"{process.role}: {type(error).__name__}: {error}")

    # --- the dear ones

    def verify(self) -> None:
        """The journal recomputed from its entries by the product's own verifier."""
        book = Book(JournalStore(self._database), clock=self.world.clock, entropy=self.world.entropy("verify"))
        checked = book.verify()
        if checked.problem is not None:
            self.found("M2", checked.problem)
        self.records.recount()
        if not self.strict:
            return
        for account_id in self.records.accounts:
            self._spending.look_at_account(account_id)
        for job_id in self.records.holds:
            self._see_cover(job_id)
            job = self.records.jobs.get(job_id)
            if job is not None and job["cost_state"] != "final":
                late = sum(
                    self.world.truth.machine(each.id) for each in self._of_job.get(job_id, ()) if each.id in self._late
                )
                assert self._spending.of_job(job_id) == self.world.truth.job(job_id) - late, (
                    "the simulation has miscounted"
                )

    # --- at the end

    def check_ends(self) -> None:
        """No machine billed past its deadline and the allowance for its end."""
        for machine in self._ours():
            if not machine.sound or not self.strict:
                continue
            row = self.records.by_token.get(machine.token)
            if row is None:
                continue
            allowed = microseconds(self.records.not_after[machine.token]) + _whole(row["kill_seconds"]) * SECOND
            if _is_past_its_end(machine):
                allowed = max(allowed, machine.created_at) + 180 * SECOND
            end = machine.ended_at if machine.ended_at is not None else self.world.now
            if end > allowed:
                late = (end - allowed) / SECOND
                self.found("R4", f"{machine.id} was there {late:.0f} s after its deadline and kill allowance")

    def check_converged(self) -> None:
        """Nothing is open, nothing of ours bills, nobody waits for anything but bills."""
        for row in self.records.open_attempts():
            self.found("R5", f"attempt {row['token']} is still {row['state']}")
        for machine in self._ours():
            if machine.bills or machine.is_alive:
                self.found("R5", f"{machine.id} of job {machine.job_id} is {machine.state} and bills")
        for remains in self.world.remains:
            if remains.build.tags.get("tallygate-install") == self._install_id:
                self.found("R5", f"{remains.id} of job {remains.build.tags.get('tallygate-job')} still bills")
        for job_id, job in self.records.jobs.items():
            if job["status"] not in ("completed", "failed", "terminated"):
                wanted = "J4" if job["stop_requested_at"] is not None else "R5"
                self.found(wanted, f"job {job_id} is still {job['status']}")

    def check_books(self) -> None:
        """After the last bill: nothing is held, and every job's account says what the job has truly cost."""
        unattributed = 0
        for row in self._database.all("charges.out_of_balance"):
            self.found(
                "M7",
                f"{row['source']} {row['period_start']}: {row['control_nanos']} nanos billed, "
                f"{row['jobs_nanos']} borne by jobs, {row['unattributed_nanos']} by nobody",
            )
        booked = 0
        for job_id, holds in self.records.holds.items():
            own = holds[f"job.{job_id}"]
            booked += _whole(own["spent_nanos"])
            if own["closed_at"] is None:
                self.found("M14", f"job {job_id} still holds money after its last bill")
            truth = self.world.truth.job(job_id)
            if _whole(own["spent_nanos"]) > truth:
                self.found("M14", f"job {job_id} is booked with {own['spent_nanos']}, it truly cost {truth}")
        truth = sum(meter.nanos(self.world.now) for meter in self.world.truth.of(account=self._account))
        unattributed = self._unattributed()
        if booked + unattributed != truth:
            self.found("M14", f"{booked} are booked and {unattributed} are nobody's, {truth} were truly spent")

    def _unattributed(self) -> int:
        return sum(_whole(row["nanos"]) for row in self._database.all("checks.nobodys"))

    def _ours(self) -> Iterator[Machine]:
        for machine in self.world.machines.values():
            if machine.build.tags.get("tallygate-install") == self._install_id:
                yield machine


def _is_past_its_end(machine: Machine) -> bool:
    """Whether a delayed request made it after its own deadline: it ends itself at boot."""
    return machine.created_at >= machine.build.not_after


def _strictness(said: str) -> str:
    """Which invariant a provider's strictness stands for."""
    for words, invariant in (
        ("transaction", "R10"),
        ("without the tags", "R3"),
        ("without a committed intent", "R9"),
        ("parameters", "R11"),
    ):
        if words in said:
            return invariant
    return "X1"


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value


class _Watched:
    """A provider whose every call is judged first."""

    def __init__(self, invariants: Invariants, process: Process, provider: Provider) -> None:
        self._invariants = invariants
        self._process = process
        self._provider = provider
        self.name = provider.name
        self.terms = provider.terms
        self.offers = provider.offers

    def launch(self, order: LaunchOrder) -> Launch:
        self._invariants.launching(self._process, order)
        return self._provider.launch(order)

    def describe(self, ids: Sequence[str] | None = None) -> Listing:
        listing = self._provider.describe(ids)
        if ids is None:
            self._invariants.listed(self._process, listing)
        return listing

    def terminate(self, machine_id: str) -> None:
        self._invariants.terminating(self._process, machine_id)
        self._provider.terminate(machine_id)

    def request_checkpoint(self, machine_id: str) -> None:
        if isinstance(self._provider, SupportsCheckpointRequest):
            self._provider.request_checkpoint(machine_id)


class _WatchedExtending(_Watched):
    """One that can also give a machine a later end."""

    def extend(self, machine_id: str, *, not_after: datetime, run_seconds_max: int) -> None:
        self._invariants.extending(self._process, machine_id, not_after)
        assert isinstance(self._provider, SupportsExtension)
        self._provider.extend(machine_id, not_after=not_after, run_seconds_max=run_seconds_max)
