"""Accounts and their ids: where money is held, whose it is, and why it may not fit.

Ids are made from what they stand for, so that everybody who needs an account that nobody has opened yet comes to the
same one. ``job.`` sorts before ``window.``: a job's own account is taken before the budgets that many jobs contend for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from ..errors import BudgetExceeded, UsageError
from ..money import Money
from ..times import ALWAYS, Period, text
from . import chain, windows
from .holds import Account, Budget

_JOB, _WINDOW = "job.", "window."


@dataclass(frozen=True, slots=True)
class Place:
    """An account to hold money on: a budget's window, or the job's own when there is no budget."""

    account_id: str
    budget: Budget | None
    window: Period

    @property
    def siblings(self) -> str:
        return siblings(self.account_id)

    @property
    def owner(self) -> str:
        """Whose account it is, for people."""
        if self.budget is None:
            return f"job {self.account_id.removeprefix(_JOB)}'s own budget"
        window = windows.label(self.budget.period, self.budget.zone, self.window.start)
        return f"budget {self.budget.name}" + (f" ({window})" if window else "")

    def unused(self, limit: Money) -> Account:
        """The account as it is when it is opened: nothing held, nothing spent."""
        nothing = Money.zero(limit.currency)
        fresh = Account(
            id=self.account_id,
            budget_id=None if self.budget is None else self.budget.id,
            job_id=self.account_id.removeprefix(_JOB) if self.budget is None else None,
            window=self.window,
            hard=self.budget is None or self.budget.hard,
            limit=limit,
            held=nothing,
            spent=nothing,
            excess=nothing,
            entries=0,
            head="",
        )
        return replace(fresh, head=chain.opening(fresh))

    def same_currency(self, theirs: Money, ours: Money) -> None:
        """Refuse ``ours`` unless it is in the currency of ``theirs``."""
        if theirs.currency != ours.currency:
            raise UsageError(
                f"{_capital(self.owner)} is kept in {theirs.currency}, not in {ours.currency}",
                cure="Convert the amount with a dated rate first",
            )

    def exceeded(self, account: Account, amount: Money) -> BudgetExceeded:
        """Why ``amount`` does not fit, with every number that the decision rests on."""
        available = account.available
        over = f"over-committed by {(-available).shown()}" if available.nanos < 0 else f"{available.shown()} available"
        lacking = amount - available
        return BudgetExceeded(
            f"{_capital(self.owner)} allows {account.limit.shown()} {account.limit.currency}: "
            f"{account.held.shown()} held, {account.spent.shown()} spent, {over}; "
            f"{amount.shown()} was asked for, {lacking.shown()} too much",
            account={
                "owner": self.owner,
                "currency": account.limit.currency,
                "limit": account.limit.shown(),
                "held": account.held.shown(),
                "spent": account.spent.shown(),
                "available": available.shown(),
                "asked": amount.shown(),
                "lacking": lacking.shown(),
            },
            cure="" if self.budget is not None else "Lower the request, or raise the job's own limit",
        )


def job_place(job_id: str) -> Place:
    """The job's own account."""
    return Place(f"{_JOB}{job_id}", None, ALWAYS)


def window_place(budget: Budget, at: datetime) -> Place:
    """The account of the budget's window at ``at``."""
    window = windows.window(budget.period, budget.zone, at)
    return Place(_window_id(budget.id, window.start), budget, window)


def siblings(account_id: str) -> str:
    """What the ids of all windows of the same budget begin with; of a job's account, its whole id."""
    return account_id[: account_id.rindex(".") + 1] if account_id.startswith(_WINDOW) else account_id


@lru_cache(maxsize=256)
def _window_id(budget_id: str, start: datetime) -> str:
    return f"{_WINDOW}{budget_id}.{text(start)[:19].replace('-', '').replace(':', '')}Z"


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
