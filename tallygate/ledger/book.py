"""The book: budgets, and money held, spent and given back, each act inside one transaction.

An admission decides nothing here. The store carries out one conditional write per account, and the answer is whether it
changed a row; a constraint of the table stands behind it. What cannot be refused (a bill, a release) is written as the
rules in ``holds`` say.

Called while the caller's transaction is open, every act becomes part of it, so that a job and its hold are stored
together or not at all; otherwise it is a transaction of its own. Accounts are always taken in the order of their ids,
jobs before budgets, so that two launches never wait for each other and the contended rows are taken last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from ..errors import (
    Conflict,
    HoldClosed,
    StoreBusy,
    StoreDeadlock,
    UnknownBudget,
    UnknownJob,
    UsageError,
)
from ..ids import Entropy, new_id
from ..money import NANOS_MAX, Money
from ..times import Clock, instant, shown
from . import scopes, windows
from .holds import (
    Account,
    Budget,
    BudgetPeriod,
    Entry,
    EntryKind,
    Hold,
    Move,
    Posting,
    checked_amount,
    expire,
    extend,
    missing,
    settle,
    trim,
)
from .journal import Journal
from .places import Place, job_place, siblings, window_place

if TYPE_CHECKING:
    from .audit import Verification

Rule = Callable[[Hold], tuple[Hold, tuple[Move, ...]]]

_Answer = TypeVar("_Answer")

_TRIES_MAX = 4
"""How often an act is begun again when another process was in the way. Its keys stay the same."""

_ALERTS_MAX = 20
_ALERT_PERCENT_MAX = 1000


class Book:
    """Budgets and the money held on them. ``author`` is written into every entry."""

    def __init__(self, journal: Journal, *, clock: Clock, entropy: Entropy, author: str = "tallygate") -> None:
        self._journal = journal
        self._clock = clock
        self._entropy = entropy
        self._author = scopes.one_line(author)

    # --- budgets

    def add_budget(
        self,
        *,
        name: str,
        limit: Money,
        scope: str | None = None,
        period: BudgetPeriod = BudgetPeriod.NONE,
        zone: str = "UTC",
        hard: bool = True,
        alert_percents: Sequence[int] = (50, 80, 100),
    ) -> Budget:
        """Set up a budget and open its current window. ``scope`` is the name unless it is given.

        The same budget again answers the one that exists; another one of the same name raises ``Conflict``.
        """
        budget = Budget(
            id=new_id(self._clock, self._entropy),
            name=scopes.checked_path(name, what="a budget's name"),
            scope=scopes.checked_path(name if scope is None else scope, what="a budget's scope"),
            limit=_checked_limit(limit),
            period=BudgetPeriod(period),
            zone=zone,
            hard=hard,
            alert_percents=_checked_alerts(alert_percents),
            created_at=self._clock.now(),
        )
        windows.zone_named(zone)
        return self._act(partial(self._add_budget, budget))

    def budgets(self) -> list[Budget]:
        """Every budget, by name."""
        return self._journal.budgets()

    def budget(self, name: str) -> Budget:
        """The budget called ``name``. Raises ``UnknownBudget``, naming the closest one."""
        budgets = self.budgets()
        for budget in budgets:
            if budget.name == name:
                return budget
        raise _unknown_budget(name, (budget.name for budget in budgets))

    def applying(self, charge_to: str) -> list[Budget]:
        """The budgets that a job charged to ``charge_to``, a budget's name or scope, draws on, outermost first.

        Raises ``UnknownBudget`` when nothing is called that: a slip of the pen must not lead past a budget.
        """
        budgets = self.budgets()
        scope = next((budget.scope for budget in budgets if budget.name == charge_to), charge_to)
        if not any(budget.scope == scope for budget in budgets):
            raise _unknown_budget(charge_to, {word for budget in budgets for word in (budget.name, budget.scope)})
        found = [budget for budget in budgets if scopes.is_at_or_above(budget.scope, scope)]
        return sorted(found, key=lambda budget: (budget.scope.count("/"), budget.scope, budget.name))

    def set_limit(self, name: str, limit: Money, *, reason: str) -> Budget:
        """The limit of the current window and of all later ones.

        It may be lower than what is already held and spent: that stands, is shown as excess, and nothing more is
        admitted until enough has returned.
        """
        _checked_limit(limit)
        return self._act(partial(self._set_limit, self.budget(name), limit, scopes.one_line(reason)))

    def top_up(self, name: str, amount: Money, *, reason: str, key: str | None = None) -> Budget:
        """Add ``amount`` to the current window's limit; for a budget that never renews that is its limit for good.

        The same ``key`` again adds nothing; with another amount it raises ``Conflict``.
        """
        checked_amount(amount)
        key = new_id(self._clock, self._entropy) if key is None else scopes.checked_key(key)
        return self._act(partial(self._top_up, self.budget(name), amount, f"top-up:{key}", scopes.one_line(reason)))

    def account(self, budget: Budget, at: datetime) -> Account:
        """The jars of the budget's window at ``at``; of a window that nobody has used, as they would be at first."""
        place = window_place(budget, at)
        return self._journal.account(place.account_id) or place.unused(budget.limit)

    def job_account(self, job_id: str) -> Account | None:
        """The jars of the job's own account, or None when nothing was ever held for it."""
        return self._journal.account(job_place(job_id).account_id)

    def history(self, name: str, *, limit: int) -> list[Entry]:
        """The newest entries of a budget's windows, newest first."""
        return self._journal.history(self.budget(name).id, most=limit)

    # --- holds

    def authorize(
        self,
        *,
        job_id: str,
        budgets: Sequence[Budget],
        job_limit: Money | None,
        amount: Money,
        expires_at: datetime,
        own_account: bool = True,
    ) -> list[Hold]:
        """Hold ``amount`` on the job's own account and on the current window of every budget, or on none of them.

        The job's own account may carry ``job_limit``, or just ``amount``; without ``own_account`` only the budgets are
        drawn on. Raises ``BudgetExceeded`` naming the account that has no room. The same call again, now or in a
        later window, answers the same holds; for other money or other budgets it raises ``Conflict``.
        """
        scopes.checked_job_id(job_id)
        checked_amount(amount)
        now = self._clock.now()
        limit = amount if job_limit is None else _checked_limit(job_limit)
        places = [window_place(budget, now) for budget in {budget.id: budget for budget in budgets}.values()]
        if own_account:
            places.append(job_place(job_id))
        if not places:
            raise UsageError("A hold needs a budget or an account of the job's own")
        places.sort(key=lambda place: place.account_id)
        for place in places:
            place.same_currency(limit if place.budget is None else place.budget.limit, amount)
        nothing, until = Money.zero(amount.currency), instant(expires_at)
        holds = [
            Hold(
                account_id=place.account_id,
                job_id=job_id,
                amount=amount,
                captured=nothing,
                released=nothing,
                spent=nothing,
                expires_at=until,
                opened_at=now,
            )
            for place in places
        ]
        if len(places) == 1 and not own_account and not self._journal.in_transaction:
            if self._admitted_alone(places[0], holds[0]):
                return holds
        return self._act(partial(self._authorize, places, holds, limit))

    def extend(
        self,
        *,
        job_id: str,
        amount: Money,
        key: str,
        expires_at: datetime | None = None,
        raise_job_limit: bool = False,
    ) -> list[Hold]:
        """Hold ``amount`` more on every account of the job, or on none, and until ``expires_at`` if that is later.

        ``raise_job_limit`` first adds to the job's own account what it lacks. Raises ``BudgetExceeded``, or
        ``HoldClosed`` when the job is settled. The same ``key`` again changes nothing; with another amount it raises
        ``Conflict``.
        """
        checked_amount(amount)
        scopes.checked_key(key)
        until = None if expires_at is None else instant(expires_at)
        return self._act(partial(self._extend, job_id, amount, key, until, raise_job_limit))

    def extension(self, *, job_id: str, key: str) -> Money | None:
        """What was held more for the job under ``key``; None when ``extend`` was never called with it."""
        holds = self.holds(job_id)
        entry = self._journal.entry(holds[0].account_id, f"{job_id}:{EntryKind.EXTEND}:{key}") if holds else None
        return None if entry is None else entry.amount

    def trim(self, *, job_id: str, keep: Money, reason: str = "") -> list[Hold]:
        """Give back what each hold of the job keeps above ``keep``. Keeping at least what remains changes nothing."""
        return self._change(job_id, lambda hold: trim(hold, keep), reason)

    def settle(self, *, job_id: str, target: Money, final: bool, reason: str = "") -> list[Hold]:
        """Bring what the job has spent to ``target`` on every account; ``final`` gives back the rest and closes.

        Never refused for want of room. Changes nothing when nothing has changed.
        """
        now = self._clock.now()
        return self._change(job_id, lambda hold: settle(hold, target, final=final, now=now), reason)

    def expire(self, *, job_id: str, reason: str = "") -> list[Hold]:
        """Give back what nobody came for, once the holds' time has passed.

        The caller must know that no machine of the job can still bill. Raises ``UsageError`` before the time, and
        ``HoldClosed`` when the job is settled.
        """
        now = self._clock.now()
        return self._change(job_id, lambda hold: expire(hold, now=now), reason)

    def holds(self, job_id: str) -> list[Hold]:
        """The job's holds, its own account first; none when nothing was ever held for it."""
        return self._journal.holds(job_id, lock=False)

    # --- verifying

    def verify(self) -> Verification:
        """Recompute everything from the entries and name the first row that is wrong. Others may go on writing."""
        from .audit import verify  # here, because few commands verify

        return verify(self._journal)

    # --- inside: budgets

    def _add_budget(self, budget: Budget) -> Budget:
        for other in self._journal.budgets():
            if other.name == budget.name:
                return _the_same(other, budget)
            if other.scope != budget.scope and (other.scope == budget.name or other.name == budget.scope):
                raise UsageError(
                    f"Budgets {other.name} (scope {other.scope}) and {budget.name} (scope {budget.scope}) could not be "
                    "told apart by who is charged to them",
                    cure="Choose a name that is not another budget's scope, and a scope that is not its name",
                )
        if not self._journal.add_budget(budget):
            raise Conflict(f"Budget {budget.name} has just been set up by another process")
        self._open_window(window_place(budget, budget.created_at), budget)
        return budget

    def _set_limit(self, known: Budget, limit: Money, reason: str) -> Budget:
        budget = self._journal.lock_budget(known.id)
        account = self._current(budget, limit)
        rise = limit - account.limit
        if not rise.is_zero:
            kind = EntryKind.FUND if rise.nanos > 0 else EntryKind.DEFUND
            amount = rise if rise.nanos > 0 else -rise
            self._post(account.id, kind, amount, f"limit:{new_id(self._clock, self._entropy)}", reason=reason)
        if limit != budget.limit:
            self._journal.set_limit(budget.id, limit)
        return replace(budget, limit=limit)

    def _top_up(self, known: Budget, amount: Money, key: str, reason: str) -> Budget:
        budget = self._journal.lock_budget(known.id)
        answered = self._journal.entry_of_budget(budget.id, key)
        if answered is not None:
            _same_amount(answered, amount)
            return budget
        account = self._current(budget, amount)
        _checked_limit(account.limit + amount)
        self._post(account.id, EntryKind.FUND, amount, key, reason=reason)
        if budget.period is not BudgetPeriod.NONE:
            return budget
        self._journal.set_limit(budget.id, account.limit + amount)
        return replace(budget, limit=account.limit + amount)

    def _current(self, budget: Budget, amount: Money) -> Account:
        """The current window's account for money like ``amount``, opened if nobody has used it."""
        place = window_place(budget, self._clock.now())
        place.same_currency(budget.limit, amount)
        account = self._journal.account(place.account_id)
        if account is None:
            self._open_window(place, budget)
            account = self._journal.account(place.account_id)
        assert account is not None
        return account

    def _open_window(self, place: Place, budget: Budget) -> None:
        self._open(place.unused(budget.limit))

    def _open(self, account: Account) -> bool:
        fund = None
        if account.limit.nanos > 0:
            fund = self._posting(account.id, EntryKind.FUND, account.limit, "fund:open")
        return self._journal.open_account(account, fund)

    # --- inside: holds

    def _admitted_alone(self, place: Place, hold: Hold) -> bool:
        """One account and no transaction: the admission is a single statement. False sends the caller the long way."""
        try:
            return self._admit(hold, siblings=place.siblings)
        except Conflict:
            return False  # the same call, by another process at the same moment

    def _authorize(self, places: Sequence[Place], holds: Sequence[Hold], limit: Money) -> list[Hold]:
        for place, hold in zip(places, holds, strict=True):
            if place.budget is None and not self._open(place.unused(limit)):
                return self._answered(places, holds, limit)
            if not self._held(place, hold):
                return self._answered(places, holds, limit)
        return list(holds)

    def _held(self, place: Place, hold: Hold) -> bool:
        """Hold on one account, opening the window on first use. False when the job holds something there already."""
        for _ in range(_TRIES_MAX):
            if self._admit(hold, siblings=place.siblings):
                return True
            known = self._journal.holds(hold.job_id, lock=False)
            if any(other.account_id.startswith(place.siblings) for other in known):
                return False
            account = self._journal.account(place.account_id)
            if account is None:
                assert place.budget is not None
                self._open_window(place, self._journal.lock_budget(place.budget.id))
            elif missing(account, hold.amount).nanos > 0:
                raise place.exceeded(account, hold.amount)
            # Otherwise somebody has given money back since the write was refused.
        raise StoreBusy(f"The money of {place.owner} keeps moving while others hold it")

    def _admit(self, hold: Hold, *, siblings: str) -> bool:
        authorize = self._posting(
            hold.account_id,
            EntryKind.AUTHORIZE,
            hold.amount,
            f"{hold.job_id}:{EntryKind.AUTHORIZE}",
            hold=hold,
            at=hold.opened_at,  # a hold is opened at the moment of its first entry, which the store writes once
        )
        return self._journal.admit(hold, authorize, siblings=siblings)

    def _answered(self, places: Sequence[Place], holds: Sequence[Hold], limit: Money) -> list[Hold]:
        """The holds that the same call has made before; ``Conflict`` if it was not the same."""
        job_id, amount = holds[0].job_id, holds[0].amount
        known = self._journal.holds(job_id, lock=False)
        if sorted(place.siblings for place in places) != sorted(siblings(hold.account_id) for hold in known):
            raise Conflict(f"Job {job_id} was authorized before, on other budgets")
        for hold in known:
            entry = self._journal.entry(hold.account_id, f"{job_id}:{EntryKind.AUTHORIZE}")
            assert entry is not None
            _same_amount(entry, amount)
            if hold.account_id == job_place(job_id).account_id:
                fund = self._journal.entry(hold.account_id, "fund:open")
                assert fund is not None
                _same_amount(fund, limit)
        return known

    def _extend(
        self, job_id: str, amount: Money, key: str, expires_at: datetime | None, raise_job_limit: bool
    ) -> list[Hold]:
        holds = self._locked(job_id)
        entry_key = f"{job_id}:{EntryKind.EXTEND}:{key}"
        answered = self._journal.entry(holds[0].account_id, entry_key)
        if answered is not None:
            _same_amount(answered, amount)
            return holds
        if not any(hold.is_open for hold in holds):
            raise HoldClosed(f"The hold of job {job_id} is closed with {holds[0].spent.shown()} spent")
        return [self._extended(hold, amount, entry_key, expires_at, raise_job_limit) for hold in holds]

    def _extended(
        self, hold: Hold, amount: Money, key: str, expires_at: datetime | None, raise_job_limit: bool
    ) -> Hold:
        revised, _ = extend(hold, amount, expires_at=expires_at)
        posting = self._posting(hold.account_id, EntryKind.EXTEND, amount, key, hold=hold)
        for _ in range(_TRIES_MAX):
            if self._journal.admit_more(revised, posting):
                return revised
            account = self._journal.account(hold.account_id)
            assert account is not None
            lack = missing(account, amount)
            if account.job_id is not None and raise_job_limit and lack.nanos > 0:
                _checked_limit(account.limit + lack)
                self._post(account.id, EntryKind.FUND, lack, f"raise:{key}")
            elif lack.nanos > 0:
                raise self._place_of(account).exceeded(account, amount)
        raise StoreBusy(f"The money of job {hold.job_id}'s accounts keeps moving while others hold it")

    def _place_of(self, account: Account) -> Place:
        budget = next((budget for budget in self._journal.budgets() if budget.id == account.budget_id), None)
        return Place(account.id, budget, account.window)

    def _change(self, job_id: str, rule: Rule, reason: str) -> list[Hold]:
        """Carry out a rule that cannot be refused on every hold of the job."""
        line = scopes.one_line(reason)
        if not self._journal.in_transaction:
            # Most bills change nothing, and then nobody needs to queue for the right to write.
            holds = self._known(job_id, lock=False)
            if all(rule(hold) == (hold, ()) for hold in holds):
                return holds
        return self._act(lambda: [self._carried_out(hold, rule, line) for hold in self._locked(job_id)])

    def _carried_out(self, hold: Hold, rule: Rule, reason: str) -> Hold:
        revised, moves = rule(hold)
        for move in moves:
            key = f"{hold.job_id}:{move.kind}:{revised.revision}"
            self._post(hold.account_id, move.kind, move.amount, key, reason=reason, hold=hold)
        if revised != hold:
            self._journal.revise(revised)
        return revised

    def _locked(self, job_id: str) -> list[Hold]:
        return self._known(job_id, lock=True)

    def _known(self, job_id: str, *, lock: bool) -> list[Hold]:
        holds = self._journal.holds(job_id, lock=lock)
        if not holds:
            raise UnknownJob(f"No money was ever held for job {job_id[:80]}")
        return holds

    # --- inside: acts and entries

    def _act(self, act: Callable[[], _Answer]) -> _Answer:
        """Carry out ``act`` in one transaction, again if another process was in the way and the transaction is ours."""
        for left in range(_TRIES_MAX if not self._journal.in_transaction else 1, 0, -1):
            try:
                with self._journal.transaction():
                    return act()
            except (StoreDeadlock, Conflict):
                if left == 1:
                    raise
        raise AssertionError("the last try answers or raises")

    def _post(
        self, account_id: str, kind: EntryKind, amount: Money, key: str, *, reason: str = "", hold: Hold | None = None
    ) -> None:
        self._journal.append(self._posting(account_id, kind, amount, key, reason=reason, hold=hold))

    def _posting(
        self,
        account_id: str,
        kind: EntryKind,
        amount: Money,
        key: str,
        *,
        reason: str = "",
        hold: Hold | None = None,
        at: datetime | None = None,
    ) -> Posting:
        return Posting(
            account_id=account_id,
            job_id=None if hold is None else hold.job_id,
            kind=kind,
            amount=amount,
            key=key,
            at=at or self._clock.now(),
            author=self._author,
            reason=reason,
        )


# --- checks and refusals


def _checked_limit(limit: Money) -> Money:
    if not 0 <= limit.nanos <= NANOS_MAX:
        raise UsageError(
            f"{limit.shown()} {limit.currency} cannot be a limit",
            cure="Use zero, which allows nothing, or an amount up to 100 million",
        )
    return limit


def _checked_alerts(percents: Sequence[int]) -> tuple[int, ...]:
    rising = all(low < high for low, high in pairwise(percents))
    if not rising or len(percents) > _ALERTS_MAX or any(not 0 < each <= _ALERT_PERCENT_MAX for each in percents):
        raise UsageError(
            f"{', '.join(map(str, percents))} cannot be alert percents",
            cure=f"Use at most {_ALERTS_MAX} whole numbers from 1 to {_ALERT_PERCENT_MAX}, rising",
        )
    return tuple(percents)


def _same_amount(known: Entry, amount: Money) -> None:
    if known.amount != amount:
        raise Conflict(
            f"The key {known.key} stands for {known.amount.shown()} {known.amount.currency} since {shown(known.at)}, "
            f"not for {amount.shown()} {amount.currency}"
        )


def _the_same(known: Budget, asked: Budget) -> Budget:
    if replace(asked, id=known.id, created_at=known.created_at) != known:
        raise Conflict(
            f"Budget {known.name} exists and is another one: {known.limit.shown()} {known.limit.currency}, "
            f"period {known.period}, zone {known.zone}, scope {known.scope}, {'hard' if known.hard else 'soft'}"
        )
    return known


def _unknown_budget(name: str, known: Iterable[str]) -> UnknownBudget:
    from difflib import get_close_matches  # here, because only a refusal needs it

    close = get_close_matches(name, sorted(known), n=1)
    return UnknownBudget(f"There is no budget called {name[:80]!r}" + (f"; did you mean {close[0]}?" if close else ""))
