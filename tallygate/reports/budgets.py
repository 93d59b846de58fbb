"""How budgets fare: those of single jobs against their bills, and the named ones with their three jars.

A job is judged only when it is over and a bill says what it cost. One that runs or whose cost is unknown is counted apart: it is
neither within its budget nor over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from ..ledger.holds import Account, Budget
from ..money import Money
from ..store.database import Database, Row
from ..times import ALWAYS, instant, text
from . import render
from .render import exact

RECENT = 10
OVER_MAX = 50
"""How many jobs over their budget one report lists, the furthest over first; the summary counts all of them."""


class Budgets(Protocol):
    """The part of the ledger's book that this report reads."""

    def budgets(self) -> list[Budget]: ...

    def account(self, budget: Budget, at: datetime) -> Account: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetedJob:
    """A job with a budget of its own. ``billed`` is None while no bill says what it cost."""

    job_id: str
    name: str
    provider: str
    instance_type: str
    status: str
    cost_state: str
    budget: Money
    estimated: Money
    billed: Money | None
    created_at: datetime

    @property
    def over(self) -> Money | None:
        """How far the bill is beyond the budget; zero when it is not."""
        return None if self.billed is None else max(self.billed - self.budget, Money.zero(self.budget.currency))

    def as_dict(self) -> dict[str, object]:
        return {
            "job_id": self.job_id,
            "name": self.name,
            "provider": render.provider_name(self.provider),
            "instance_type": self.instance_type,
            "status": self.status,
            "cost_state": self.cost_state,
            "budget_limit": exact(self.budget),
            "estimated_cost": exact(self.estimated),
            "actual_cost": exact(self.billed),
            "within_budget": None if self.billed is None else self.billed <= self.budget,
            "over_budget_amount": exact(self.over),
            "budget_usage_percent": None if self.billed is None else self.billed.percent_of(self.budget),
            "currency": self.budget.currency,
            "created_at": text(self.created_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSummary:
    """All jobs with a budget of their own. Amounts are over the judged ones: ``within`` and ``over`` together."""

    jobs: int
    within: int
    over: int
    running: int
    unknown: int
    unfinal: int
    allocated: Money
    undecided: Money
    spent: Money
    savings: Money
    overrun: Money

    @property
    def is_judged(self) -> bool:
        """Whether any sum over judged jobs means something: there is such a job, or there is no job at all."""
        return bool(self.within + self.over) or not self.jobs

    @property
    def success_percent(self) -> Decimal | None:
        """The share of judged jobs that stayed within; None when there are jobs and none could be judged."""
        judged = self.within + self.over
        if not judged:
            return None if self.jobs else Decimal(0)
        return (Decimal(self.within) * 100 / judged).quantize(Decimal("0.1"))

    @property
    def utilisation_percent(self) -> Decimal | None:
        if self.allocated.is_zero:
            return None if self.jobs else Decimal(0)
        return self.spent.percent_of(self.allocated)

    def as_dict(self) -> dict[str, object]:
        """The documented keys, then ours."""
        return {
            "total_jobs_with_budget": self.jobs,
            "jobs_within_budget": self.within,
            "jobs_over_budget": self.over,
            "budget_success_rate": self.success_percent,
            "total_budget_allocated": exact(self.allocated),
            "total_spent": exact(self.spent) if self.is_judged else None,
            "total_savings": exact(self.savings) if self.is_judged else None,
            "total_overrun": exact(self.overrun) if self.is_judged else None,
            "budget_utilization_percent": self.utilisation_percent,
            "jobs_running": self.running,
            "jobs_with_unknown_cost": self.unknown,
            "jobs_not_final": self.unfinal,
            "total_budget_undecided": exact(self.undecided),
            "currency": self.allocated.currency,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetReport:
    """Budgets of jobs and named budgets, in one currency. ``other_currencies`` have jobs with budgets too."""

    summary: BudgetSummary
    over_budget: tuple[BudgetedJob, ...]
    recent: tuple[BudgetedJob, ...]
    named: tuple[tuple[Budget, Account], ...]
    other_currencies: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        return {
            "summary": self.summary.as_dict(),
            "over_budget_jobs": [job.as_dict() for job in self.over_budget],
            "recent_budget_jobs": [job.as_dict() for job in self.recent],
            "budgets": [budget_as_dict(budget, account) for budget, account in self.named],
            "other_currencies": list(self.other_currencies),
        }

    def csv(self) -> tuple[list[str], list[list[object]]]:
        """The recent jobs as a header and rows."""
        keys = ["job_id", "name", "provider", "status", "cost_state", "budget_limit", "actual_cost", "currency"]
        return keys, [[job.as_dict()[key] for key in keys] for job in self.recent]

    def as_text(self) -> str:
        s = self.summary
        judged = s.within + s.over
        lines = [
            f"Jobs with a budget  {s.jobs}: {s.within} within, {s.over} over, {s.running} running, "
            f"{s.unknown} with a cost that is not known yet",
            f"Not judged yet      budgets of {render.amount(s.undecided)}",
        ]
        if judged:
            used = "-" if s.utilisation_percent is None else f"{s.utilisation_percent} percent"
            lines += [
                f"Success rate        {s.success_percent} percent of {judged} judged, {s.unfinal} of them not final",
                f"Allocated           {render.amount(s.allocated)}",
                f"Spent               {render.amount(s.spent)}, {used} of that",
                f"Savings             {render.amount(s.savings)}",
                f"Overrun             {render.amount(s.overrun)}",
            ]
        elif s.jobs:
            lines.append("Success rate        unknown until a bill says what one of them cost")
        parts = ["\n".join(lines)]
        if self.named:
            parts.append("Named budgets\n\n" + budgets_table(self.named))
        if self.over_budget:
            parts.append("Jobs over their budget\n\n" + _table(self.over_budget))
        if self.recent:
            parts.append("Newest jobs with a budget\n\n" + _table(self.recent))
        return "\n\n".join(parts)


def budget_analysis(
    database: Database, book: Budgets, *, now: datetime, currency: str = "USD", over_max: int = OVER_MAX
) -> BudgetReport:
    """The report on budgets as they stand now."""
    rows = {str(row["currency"]): row for row in database.all("reports.budget_totals")}
    return BudgetReport(
        summary=_summary(rows.get(currency), currency),
        over_budget=tuple(over_budget(database, most=over_max)),
        recent=tuple(_job(row) for row in database.all("reports.recent_budgeted", most=RECENT)),
        named=tuple((budget, book.account(budget, now)) for budget in book.budgets()),
        other_currencies=tuple(sorted(rows.keys() - {currency})),
    )


def over_budget(database: Database, *, most: int = OVER_MAX) -> list[BudgetedJob]:
    """The jobs whose bill is beyond their own budget, the furthest over first, running ones included."""
    return [_job(row) for row in database.all("reports.over_budget", most=most)]


def budget_as_dict(budget: Budget, account: Account) -> dict[str, object]:
    """A named budget with the jars of its current window."""
    endless = account.window == ALWAYS
    return {
        "name": budget.name,
        "scope": budget.scope,
        "period": budget.period,
        "zone": budget.zone,
        "hard": budget.hard,
        "limit": exact(account.limit),
        "available": exact(account.available),
        "held": exact(account.held),
        "spent": exact(account.spent),
        "excess": exact(account.excess),
        "currency": account.limit.currency,
        "used_percent": (account.held + account.spent).percent_of(account.limit),
        "window_start": None if endless else text(account.window.start),
        "window_end": None if endless else text(account.window.end),
    }


def budgets_table(named: Sequence[tuple[Budget, Account]]) -> str:
    """Named budgets with their jars, for people."""
    rows = [
        (
            budget.name,
            budget.period,
            "hard" if budget.hard else "soft",
            account.limit,
            account.available,
            account.held,
            account.spent,
            account.excess,
        )
        for budget, account in named
    ]
    return render.table(rows, ["budget", "period", "kind", "limit", "available", "held", "spent", "excess"])


def _table(jobs: Sequence[BudgetedJob]) -> str:
    rows = [
        (
            job.job_id,
            job.name,
            render.provider_name(job.provider),
            job.status,
            job.budget,
            render.amount(job.billed),
            render.amount(job.over),
            job.cost_state,
        )
        for job in jobs
    ]
    return render.table(rows, ["job", "name", "provider", "status", "budget", "cost", "over by", "cost is"])


def _summary(row: Row | None, currency: str) -> BudgetSummary:
    def count(column: str) -> int:
        return 0 if row is None else int(str(row[column]))

    def money(column: str) -> Money:
        return Money(count(column), currency)

    return BudgetSummary(
        jobs=count("jobs"),
        within=count("within"),
        over=count("over"),
        running=count("running"),
        unknown=count("unknown"),
        unfinal=count("unfinal"),
        allocated=money("allocated_nanos"),
        undecided=money("undecided_nanos"),
        spent=money("spent_nanos"),
        savings=money("savings_nanos"),
        overrun=money("overrun_nanos"),
    )


def _job(row: Row) -> BudgetedJob:
    currency = str(row["currency"])
    billed = row["billed_cost_nanos"]
    return BudgetedJob(
        job_id=str(row["job_id"]),
        name=str(row["name"]),
        provider=str(row["provider"]),
        instance_type=str(row["instance_type"]),
        status=str(row["status"]),
        cost_state=str(row["cost_state"]),
        budget=Money(int(str(row["budget_limit_nanos"])), currency),
        estimated=Money(int(str(row["estimated_cost_nanos"])), currency),
        billed=None if billed is None else Money(int(str(billed)), currency),
        created_at=instant(row["created_at"]),  # type: ignore[arg-type]
    )
