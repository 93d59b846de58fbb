"""What the store says, followed change by change: every commit is read again where it wrote, and every change is judged.

The rules here need no knowledge of the truth: balances that add up, states that move along allowed edges, leases and
fences that mean something, one job per request. Those that compare the store with the truth are in ``invariants``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import UnknownJob
from ..money import Money
from ..store.database import Database, Row
from ..times import instant, maybe_instant
from .processes import Process, Write
from .workload import ASK_TAG

Found = Callable[[str, str], None]
"""Told of a broken invariant by its name, and how it shows."""

OPEN = frozenset({"intent", "unknown", "live", "terminating"})

_ATTEMPT_EDGES = {
    "intent": {"unknown", "live", "terminating", "ended", "void"},
    "unknown": {"live", "terminating", "ended", "void"},
    "live": {"terminating", "ended"},
    "terminating": {"ended"},
    "ended": set[str](),
    "void": set[str](),
}
_JOB_EDGES = {
    "launching": {"launched", "running", "interrupted", "completed", "failed", "terminated"},
    "launched": {"running", "interrupted", "completed", "failed", "terminated", "launching"},
    "running": {"interrupted", "completed", "failed", "terminated", "launching"},
    "interrupted": {"launching", "failed", "terminated"},
    "completed": set[str](),
    "failed": set[str](),
    "terminated": set[str](),
}
"""What may be seen between two commits; one commit may make several of the code's own moves."""

_OVER = frozenset({"completed", "failed", "terminated"})


@dataclass(slots=True)
class Expected:
    """What a budget was set up as, kept apart from the store."""

    name: str
    scope: str
    hard: bool
    limit: int | None = None
    """Nanos of one of its windows; None when somebody means to change it on the way."""


class Records:
    """The rows of jobs, attempts, accounts and holds as the last commit left them.

    ``not_after`` is the latest end that any row ever allowed a token, ``lowered`` the accounts whose limit was ever
    lowered, ``overran`` those on which more was booked than was held.
    """

    def __init__(self, database: Database, found: Found) -> None:
        self._database = database
        self._found = found
        self.jobs: dict[str, Row] = {}
        self.attempts: dict[str, dict[str, Row]] = {}
        self.by_token: dict[str, Row] = {}
        self.holds: dict[str, dict[str, Row]] = {}
        self.accounts: dict[str, Row] = {}
        self.not_after: dict[str, datetime] = {}
        self.lowered: set[str] = set()
        self.overran: set[str] = set()
        self.budgets: dict[str, Expected] = {}
        self.closing: Callable[[str, Row], None] = lambda job_id, attempt: None
        """Told of an attempt that has just become ``ended`` or ``void``."""
        self.changing: Callable[[str], None] = lambda job_id: None
        """Told of a job whose holds are about to be seen anew."""
        self.released: Callable[[str], None] = lambda job_id: None
        """Told of a job one of whose holds has just been closed."""
        self.finalised: Callable[[str], None] = lambda job_id: None
        """Told of a job whose cost has just been called final."""
        self._kept: Counter[str] = Counter()
        self._spent: Counter[str] = Counter()
        """What the holds on each account keep and have spent, together."""
        self._job_of: dict[str, str] = {}
        self._asks: dict[str, str] = {}

    # --- a commit

    def committed(self, process: Process | None, writes: Iterable[Write]) -> None:
        """Read again what was written, and judge how it changed."""
        jobs: dict[str, None] = {}
        attempts: dict[str, None] = {}
        money: dict[str, None] = {}
        accounts: dict[str, None] = {}
        for query, values in writes:
            room, _, act = query.partition(".")
            job_id = values.get("job_id")
            if room == "journal":
                if isinstance(job_id, str) and act not in ("open_account", "open_unfunded"):
                    money[job_id] = None
                if isinstance(values.get("account_id"), str):
                    accounts[str(values["account_id"])] = None
                if act in ("append", "admit", "admit_more"):
                    self._note(act, values)
            elif room in ("jobs", "charges") and isinstance(job_id, str):
                if act != "add_event":
                    jobs[job_id] = None
                if act == "add_attempt":
                    attempts[job_id] = None
            elif room == "jobs" and act in ("lease", "save_attempt"):
                attempts[self._job_of[str(values["attempt_id"])]] = None
        for job_id in attempts:
            self._see_attempts(process, job_id)
        for job_id in money:
            self._see_holds(job_id)
        for account_id in accounts:
            self._see_account(account_id)
        for job_id in jobs:
            self._see_job(job_id)
        for job_id in {**jobs, **attempts, **money}:
            self._judge_job(job_id)

    def _note(self, act: str, values: Mapping[str, object]) -> None:
        if act != "append":
            return
        kind, account_id = values.get("kind"), str(values["account_id"])
        if kind == "defund":
            self.lowered.add(account_id)
        elif kind == "overrun":
            self.overran.add(account_id)

    # --- attempts

    def _see_attempts(self, process: Process | None, job_id: str) -> None:
        before = self.attempts.get(job_id, {})
        now: dict[str, Row] = {}
        for row in self._database.all("jobs.attempts", job_id=job_id):
            key = str(row["attempt_id"])
            now[key] = row
            if before.get(key) == row:
                continue
            self._job_of[key] = job_id
            self.by_token[str(row["token"])] = row
            token, until = str(row["token"]), instant(_moment(row["not_after"]))
            self.not_after[token] = max(self.not_after.get(token, until), until)
        self.attempts[job_id] = now
        for key, row in now.items():
            old = before.get(key)
            if old is None:
                self._judge_new_attempt(job_id, row)
            elif old != row:
                self._judge_attempt(process, old, row)
        for key in before.keys() - now.keys():
            self._found("R15", f"attempt {before[key]['token']} is gone")
        if sum(row["state"] in OPEN for row in now.values()) > 1:
            self._found("R1", f"job {job_id} has two open attempts")

    def _judge_new_attempt(self, job_id: str, row: Row) -> None:
        if row["state"] != "intent":
            self._found("R15", f"attempt {row['token']} begins as {row['state']}")
        job = self.jobs.get(job_id)
        if job is not None and job["stop_requested_at"] is not None:
            self._found("J4", f"job {job_id} was asked to end and is launched again")
        worst = Money(_whole(row["price_max_nanos"])).for_seconds(
            _whole(row["run_seconds_max"]) + _whole(row["kill_seconds"]), round_up=True
        )
        own = self._database.all("journal.holds", job_id=job_id)
        kept = min((remaining(hold) for hold in own), default=0)
        if worst.nanos > kept:
            self._found("J5", f"{row['token']} can cost {worst.nanos} and its job holds {kept}")

    def _judge_attempt(self, process: Process | None, old: Row, row: Row) -> None:
        token = str(row["token"])
        was, state = str(old["state"]), str(row["state"])
        if was != state and state not in _ATTEMPT_EDGES[was]:
            self._found("R15", f"attempt {token} went from {was} to {state}")
        if _whole(row["fence"]) < _whole(old["fence"]):
            self._found("R12", f"the fence of {token} went back")
        elif row["fence"] == old["fence"]:
            self._judge_writer(process, old, token)
        else:
            self._judge_lease(process, old, token)
        if old["machine_id"] is not None and row["machine_id"] != old["machine_id"]:
            self._found("R15", f"attempt {token} changed its machine")
        if instant(_moment(row["not_after"])) < instant(_moment(old["not_after"])):
            self._found("R12", f"the end that {token} was given went back")
        if was in OPEN and state not in OPEN:
            if state == "ended" and (row["ended_at"] is None or row["end_source"] is None):
                self._found("R8", f"attempt {token} ended without an observation")
            self.closing(str(row["job_id"]), row)

    def _judge_writer(self, process: Process | None, old: Row, token: str) -> None:
        """A row may be written only by the process that holds its lease, if anybody holds it."""
        owner = old["lease_owner"]
        if process is None or owner is None or owner == process.name:
            return
        holder = process.family.known.get(str(owner))
        if holder is not None and not holder.state.is_over and not _lapsed(old, process):
            self._found("R12", f"{process.role} wrote {token} while {holder.role} held its lease")

    def _judge_lease(self, process: Process | None, old: Row, token: str) -> None:
        """A lease may be taken when it is free, has run out, or its holder is certainly gone."""
        owner = old["lease_owner"]
        if process is None or owner is None or owner == process.name or _lapsed(old, process):
            return
        holder = process.family.known.get(str(owner))
        if holder is not None and (not holder.state.is_over or holder.host is not process.host):
            self._found("R12", f"{process.role} took the lease of {token} from {holder.role}, which still has it")

    # --- money

    def _see_holds(self, job_id: str) -> None:
        self.changing(job_id)
        before = self.holds.get(job_id, {})
        now = {str(row["account_id"]): row for row in self._database.all("journal.holds", job_id=job_id)}
        self.holds[job_id] = now
        for account_id, row in now.items():
            old = before.get(account_id)
            left = remaining(row)
            self._kept[account_id] += left - (0 if old is None else remaining(old))
            self._spent[account_id] += _whole(row["spent_nanos"]) - (0 if old is None else _whole(old["spent_nanos"]))
            if left < 0 or _whole(row["captured_nanos"]) < 0 or _whole(row["released_nanos"]) < 0:
                self._found("M5", f"the hold of {job_id} on {account_id} gave more than it had")
            if row["closed_at"] is not None and left != 0:
                self._found("M5", f"the hold of {job_id} on {account_id} is closed and keeps {left}")
            if old is not None and old["closed_at"] is not None:
                same = ("amount_nanos", "captured_nanos", "released_nanos", "closed_at")
                if any(old[column] != row[column] for column in same):
                    self._found("M5", f"the closed hold of {job_id} on {account_id} moved")
        if any(account_id not in now for account_id in before):
            self._found("M4", f"a hold of {job_id} is gone")
        if len({(row["amount_nanos"], row["spent_nanos"], row["closed_at"] is None) for row in now.values()}) > 1:
            self._found("M5", f"the holds of {job_id} differ from account to account")
        closed = any(row["closed_at"] is not None for row in now.values())
        if closed and any(row["closed_at"] is None for row in before.values()):
            self.released(job_id)

    def _see_account(self, account_id: str) -> None:
        row = self._database.one("journal.account", account_id=account_id)
        if row is None:
            self._found("M4", f"account {account_id} is gone")
            return
        old = self.accounts.get(account_id)
        self.accounts[account_id] = row
        limit, held, spent = (_whole(row[column]) for column in ("limit_nanos", "held_nanos", "spent_nanos"))
        over = held + spent - limit
        if held < 0 or spent < 0:
            self._found("M1", f"account {account_id} has {held} held and {spent} spent")
        admitted = old is not None and held > _whole(old["held_nanos"]) and spent >= _whole(old["spent_nanos"])
        budget = self.budgets.get(str(row["budget_id"]))
        hard = budget is None or budget.hard
        if hard and over > 0 and (admitted or account_id not in self.lowered | self.overran):
            self._found("M1", f"account {account_id} is {over} over its limit of {limit}")
        if held != self._kept[account_id]:
            self._found("M2", f"account {account_id} has {held} held, its holds keep {self._kept[account_id]}")
        if spent != self._spent[account_id]:
            self._found("M2", f"account {account_id} has {spent} spent, its holds say {self._spent[account_id]}")
        if old is not None and _whole(row["entries"]) < _whole(old["entries"]):
            self._found("M4", f"account {account_id} lost entries")

    # --- jobs

    def _see_job(self, job_id: str) -> None:
        row = self._database.one("jobs.get", job_id=job_id)
        if row is None:
            raise UnknownJob(f"There is no job {job_id!r}")
        old = self.jobs.get(job_id)
        self.jobs[job_id] = row
        if old is None:
            if row["status"] != "launching":
                self._found("R15", f"job {job_id} begins as {row['status']}")
            self._judge_scope(job_id, row)
            self._judge_key(job_id, row)
        elif row["cost_state"] == "final" and old["cost_state"] != "final":
            self.finalised(job_id)
        if old is not None and row["status"] != old["status"] and row["status"] not in _JOB_EDGES[str(old["status"])]:
            self._found("R15", f"job {job_id} went from {old['status']} to {row['status']}")

    def _judge_scope(self, job_id: str, row: Row) -> None:
        """A new job must hold money on its own account and on every budget at its scope and above."""
        charged = row["charged_to"]
        wanted = {"own"}
        if charged is not None:
            scope = next((each.scope for each in self.budgets.values() if each.name == charged), str(charged))
            wanted |= {key for key, each in self.budgets.items() if f"{scope}/".startswith(f"{each.scope}/")}
        held: list[str] = []
        for account_id in self.holds.get(job_id, {}):
            account = self._database.one("journal.account", account_id=account_id)
            assert account is not None
            held.append("own" if account["budget_id"] is None else str(account["budget_id"]))
            created = instant(_moment(row["created_at"]))
            if not instant(_moment(account["starts_at"])) <= created < instant(_moment(account["ends_at"])):
                self._found("D07", f"job {job_id} holds money in a window that it was not launched in")
        if sorted(held) != sorted(wanted):
            self._found("D04", f"job {job_id} holds money on {len(held)} accounts, {len(wanted)} apply")

    def _judge_key(self, job_id: str, row: Row) -> None:
        """One wish, however often it is said, is one job. Our runs tag each wish."""
        wish = json.loads(str(row["billing_tags"])).get(ASK_TAG)
        if wish is not None and self._asks.setdefault(wish, job_id) != job_id:
            self._found("A26", f"wish {wish} made job {self._asks[wish]} and job {job_id}")

    def _judge_job(self, job_id: str) -> None:
        row = self.jobs.get(job_id)
        holds = self.holds.get(job_id, {})
        if row is None:
            if holds:
                self._found("A02", f"money is held for {job_id}, which is no job")
            return
        if not holds:
            self._found("A02", f"job {job_id} was kept without any money held")
            return
        attempts = self.attempts.get(job_id, {}).values()
        own = next(iter(holds.values()))
        if _whole(row["hold_nanos"]) != _whole(own["amount_nanos"]):
            self._found("J1", f"job {job_id} says {row['hold_nanos']} are held, its holds say {own['amount_nanos']}")
        over = row["status"] in _OVER
        is_open = any(attempt["state"] in OPEN for attempt in attempts)
        if over and is_open:
            self._found("R15", f"job {job_id} is {row['status']} and has an open attempt")
        if not over and not is_open:
            self._found("R15", f"job {job_id} is {row['status']} and has no open attempt")
        if is_open and own["closed_at"] is not None:
            self._found("M15", f"the hold of {job_id} is closed and an attempt is open")
        metered = sum(_whole(attempt["metered_nanos"]) for attempt in attempts)
        if row["metered_cost_nanos"] not in (None, metered):
            self._found("J2", f"job {job_id} is metered {row['metered_cost_nanos']}, its attempts {metered}")

    # --- asked by others

    def recount(self) -> None:
        """The sums that were kept up to date on the way, from the holds once more."""
        kept: Counter[str] = Counter()
        spent: Counter[str] = Counter()
        for holds in self.holds.values():
            for account_id, hold in holds.items():
                kept[account_id] += remaining(hold)
                spent[account_id] += _whole(hold["spent_nanos"])
        assert (kept, spent) == (self._kept, self._spent), "the simulation has miscounted"

    def open_attempts(self) -> list[Row]:
        return [row for rows in self.attempts.values() for row in rows.values() if row["state"] in OPEN]

    def own_hold(self, job_id: str) -> Row | None:
        """The job's hold on its own account."""
        return self.holds.get(job_id, {}).get(f"job.{job_id}")


def remaining(hold: Row) -> int:
    """What a hold still keeps, in nanos."""
    return _whole(hold["amount_nanos"]) - _whole(hold["captured_nanos"]) - _whole(hold["released_nanos"])


def covered(hold: Row) -> int:
    """What a job has spent and may still spend by its hold, in nanos."""
    return _whole(hold["spent_nanos"]) + remaining(hold)


def _lapsed(old: Row, process: Process) -> bool:
    until = maybe_instant(old["lease_until"])
    return until is not None and until <= process.now()


def _moment(value: object) -> Any:
    return value


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value


__all__: Sequence[str] = ("OPEN", "Expected", "Found", "Records", "covered", "remaining")
