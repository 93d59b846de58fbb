"""The cost of one job: what was estimated, metered, billed and is final, never one in the place of another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from ..errors import UnknownJob
from ..ledger.holds import Hold
from ..money import Money, total
from ..store.database import Database, Row
from ..times import instant, maybe_instant, shown, text
from . import render
from .render import exact

_SECOND = timedelta(seconds=1)


class Holds(Protocol):
    """The part of the ledger's book that a job's report reads."""

    def holds(self, job_id: str) -> list[Hold]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """What a job bears of one bill for one kind of cost."""

    provider: str
    cost_type: str
    billed: Money
    effective: Money
    listed: Money
    period_start: datetime
    period_end: datetime
    retrieved_at: datetime
    detail: Mapping[str, object]

    def as_dict(self) -> dict[str, object]:
        return {
            "provider": render.provider_name(self.provider),
            "cost_type": self.cost_type,
            "amount": exact(self.billed),
            "effective_cost": exact(self.effective),
            "list_cost": exact(self.listed),
            "currency": self.billed.currency,
            "billing_period_start": text(self.period_start),
            "billing_period_end": text(self.period_end),
            "retrieved_at": text(self.retrieved_at),
            "raw_data": dict(self.detail),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLine:
    """One machine of a job. ``cost`` is metered, or what its price comes to up to now while it runs; None before that."""

    number: int
    state: str
    machine_id: str | None
    instance_type: str
    place: str
    hourly_price: Money
    launched_at: datetime | None
    ended_at: datetime | None
    seconds: int | None
    cost: Money | None
    end_reason: str | None

    def as_dict(self) -> dict[str, object]:
        return {
            "attempt": self.number,
            "state": self.state,
            "machine_id": self.machine_id,
            "instance_type": self.instance_type,
            "place": self.place,
            "price_per_hour": exact(self.hourly_price),
            "launched_at": _moment(self.launched_at),
            "ended_at": _moment(self.ended_at),
            "seconds": self.seconds,
            "metered_cost": exact(self.cost),
            "end_reason": self.end_reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """Everything known about what one job costs. An amount that is not known is None."""

    job_id: str
    name: str
    provider: str
    instance_type: str
    status: str
    cost_state: str
    currency: str
    estimated: Money
    metered: Money | None
    running: Money | None
    billed: Money | None
    final: Money | None
    budget: Money | None
    worst_case: Money
    charged_to: str | None
    retrieved_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    reason: str | None
    breakdown: tuple[CostLine, ...]
    days: tuple[tuple[str, Money], ...]
    attempts: tuple[AttemptLine, ...]
    holds: tuple[Hold, ...]

    @property
    def within_budget(self) -> bool | None:
        """None without a budget, and while the bill does not say."""
        return None if self.budget is None or self.billed is None else self.billed <= self.budget

    @property
    def over_budget(self) -> Money | None:
        if self.budget is None or self.billed is None:
            return None
        return max(self.billed - self.budget, Money.zero(self.currency))

    @property
    def difference(self) -> Money | None:
        return None if self.billed is None else self.billed - self.estimated

    @property
    def accuracy_percent(self) -> Decimal | None:
        """100 for an estimate that came true, 0 for one that was off by all of itself or more."""
        if self.billed is None:
            return None
        off = abs((self.billed - self.estimated).nanos)
        share = Money(off, self.currency).percent_of(self.estimated)
        return None if share is None else max(Decimal("0.0"), 100 - share)

    def as_dict(self) -> dict[str, object]:
        """The documented keys, then ours."""
        return {
            "job_id": self.job_id,
            "provider": render.provider_name(self.provider),
            "instance_type": self.instance_type,
            "status": self.status,
            "estimated_cost": exact(self.estimated),
            "actual_cost": exact(self.billed),
            "current_runtime_cost": exact(self.running),
            "budget_limit": exact(self.budget),
            "cost_retrieved_at": _moment(self.retrieved_at),
            "cost_breakdown": [line.as_dict() for line in self.breakdown],
            "within_budget": self.within_budget,
            "budget_usage_percent": _percent(self.billed, self.budget),
            "over_budget_amount": exact(self.over_budget),
            "cost_accuracy": {
                "estimated": exact(self.estimated),
                "actual": exact(self.billed),
                "difference": exact(self.difference),
                "accuracy_percent": self.accuracy_percent,
            },
            "name": self.name,
            "cost_state": self.cost_state,
            "currency": self.currency,
            "metered_cost": exact(self.metered),
            "billed_cost": exact(self.billed),
            "final_cost": exact(self.final),
            "hold": exact(self.worst_case),
            "charged_to": self.charged_to,
            "created_at": text(self.created_at),
            "started_at": _moment(self.started_at),
            "completed_at": _moment(self.completed_at),
            "reason": self.reason,
            "daily_costs": [{"date": day, "cost": exact(cost)} for day, cost in self.days],
            "attempts": [attempt.as_dict() for attempt in self.attempts],
            "holds": [_hold(hold) for hold in self.holds],
        }

    def as_text(self) -> str:
        facts: list[tuple[str, object]] = [
            ("Job", f"{self.job_id}  {self.name}"),
            ("Status", self.status if self.reason is None else f"{self.status} ({self.reason})"),
            ("Machine", f"{render.provider_name(self.provider)} {self.instance_type}"),
            ("Ran", f"{shown(self.started_at)} to {shown(self.completed_at)}"),
            ("Estimated", self.estimated),
            ("Metered", render.amount(self.metered)),
            ("Billed", render.amount(self.billed)),
            ("Final", render.amount(self.final)),
            ("Held at launch", render.amount(self.worst_case, in_full=True)),
            ("Budget", render.amount(self.budget, missing="none")),
        ]
        if self.budget is not None:
            facts.append(("Within budget", self._verdict()))
        accuracy = self.accuracy_percent
        facts.append(("Estimate's accuracy", "unknown" if accuracy is None else f"{accuracy} percent"))
        if self.charged_to is not None:
            facts.append(("Charged to", self.charged_to))
        facts.append(("Bill retrieved", shown(self.retrieved_at)))
        width = max(len(name) for name, _ in facts)
        parts = ["\n".join(f"{name.ljust(width)}  {render.cell(value)}" for name, value in facts)]
        if self.attempts:
            rows = [
                (a.number, a.state, a.machine_id, a.place, a.hourly_price, a.seconds, render.amount(a.cost))
                for a in self.attempts
            ]
            parts.append(render.table(rows, ["attempt", "state", "machine", "place", "per hour", "seconds", "metered"]))
        if self.breakdown:
            lines = [
                (line.cost_type, f"{line.period_start:%Y-%m}", line.billed, line.effective, line.listed)
                for line in self.breakdown
            ]
            parts.append(render.table(lines, ["cost", "bill", "billed", "effective", "list"]))
        return "\n\n".join(parts)

    def _verdict(self) -> str:
        if self.within_budget is None:
            return "unknown until the bill is there"
        percent = _percent(self.billed, self.budget)
        used = "" if percent is None else f", {percent} percent used"
        return f"yes{used}" if self.within_budget else f"no, over by {render.amount(self.over_budget)}{used}"


def job_summary(database: Database, book: Holds, job_id: str, *, now: datetime) -> JobSummary:
    """The report on one job. Raises ``UnknownJob``."""
    row = database.one("reports.job", job_id=job_id)
    if row is None:
        raise UnknownJob(f"There is no job {job_id[:80]!r}")
    currency = str(row["currency"])

    def money(column: str) -> Money | None:
        return None if row[column] is None else Money(int(str(row[column])), currency)

    attempts = tuple(_attempt(each, now) for each in database.all("reports.job_attempts", job_id=job_id))
    running = [attempt.cost for attempt in attempts if attempt.cost is not None]
    return JobSummary(
        job_id=job_id,
        name=str(row["name"]),
        provider=str(row["provider"]),
        instance_type=str(row["instance_type"]),
        status=str(row["status"]),
        cost_state=str(row["cost_state"]),
        currency=currency,
        estimated=Money(int(str(row["estimated_cost_nanos"])), currency),
        metered=money("metered_cost_nanos"),
        running=total(running, currency) if running else None,
        billed=money("billed_cost_nanos"),
        final=money("final_cost_nanos"),
        budget=money("budget_limit_nanos"),
        worst_case=Money(int(str(row["hold_nanos"])), currency),
        charged_to=None if row["charged_to"] is None else str(row["charged_to"]),
        retrieved_at=maybe_instant(row["cost_retrieved_at"]),
        created_at=instant(row["created_at"]),  # type: ignore[arg-type]
        started_at=maybe_instant(row["started_at"]),
        completed_at=maybe_instant(row["completed_at"]),
        reason=None if row["reason"] is None else str(row["reason"]),
        breakdown=tuple(_line(each) for each in database.all("charges.job_costs", job_id=job_id)),
        days=tuple(
            (str(each["usage_date"]), Money(int(str(each["billed_nanos"])), str(each["currency"])))
            for each in database.all("reports.job_days", job_id=job_id)
        ),
        attempts=attempts,
        holds=tuple(book.holds(job_id)),
    )


def _attempt(row: Row, now: datetime) -> AttemptLine:
    currency = str(row["currency"])
    price = Money(int(str(row["hourly_price_nanos"])), currency)
    launched_at, ended_at = maybe_instant(row["launched_at"]), maybe_instant(row["ended_at"])
    seconds: int | None = None
    cost: Money | None = None
    if ended_at is not None:
        seconds, cost = int(str(row["metered_seconds"])), Money(int(str(row["metered_nanos"])), currency)
    elif launched_at is not None:
        seconds = max(0, (now - launched_at) // _SECOND)
        cost = price.for_seconds(seconds)
    return AttemptLine(
        number=int(str(row["number"])),
        state=str(row["state"]),
        machine_id=None if row["machine_id"] is None else str(row["machine_id"]),
        instance_type=str(row["instance_type"]),
        place=str(row["zone"] or row["region"]),
        hourly_price=price,
        launched_at=launched_at,
        ended_at=ended_at,
        seconds=seconds,
        cost=cost,
        end_reason=None if row["end_reason"] is None else str(row["end_reason"]),
    )


def _line(row: Row) -> CostLine:
    currency = str(row["currency"])
    return CostLine(
        provider=str(row["provider"]),
        cost_type=str(row["cost_type"]),
        billed=Money(int(str(row["amount_nanos"])), currency),
        effective=Money(int(str(row["effective_nanos"])), currency),
        listed=Money(int(str(row["list_nanos"])), currency),
        period_start=instant(row["billing_period_start"]),  # type: ignore[arg-type]
        period_end=instant(row["billing_period_end"]),  # type: ignore[arg-type]
        retrieved_at=instant(row["retrieved_at"]),  # type: ignore[arg-type]
        detail=json.loads(str(row["raw_data"])),
    )


def _hold(hold: Hold) -> dict[str, object]:
    return {
        "account": hold.account_id,
        "amount": exact(hold.amount),
        "captured": exact(hold.captured),
        "released": exact(hold.released),
        "held": exact(hold.remaining),
        "spent": exact(hold.spent),
        "opened_at": text(hold.opened_at),
        "closed_at": _moment(hold.closed_at),
    }


def _percent(part: Money | None, whole: Money | None) -> Decimal | None:
    return None if part is None or whole is None else part.percent_of(whole)


def _moment(at: datetime | None) -> str | None:
    return None if at is None else text(at)
