"""What the ledger asks of the place where it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from ..money import Money
from .holds import Account, Budget, Entry, Hold, Posting


class AccountLine(NamedTuple):
    """A stored account as the verifier reads it. ``opening`` is put together by the database from the stored columns."""

    account_id: str
    opening: str
    is_window: bool
    limit_nanos: int
    held_nanos: int
    spent_nanos: int
    excess_nanos: int
    entries: int
    head: str


class EntryLine(NamedTuple):
    """A stored entry. ``body`` is what its hash covers. ``is_owned``: its job has a hold there, or it needs none."""

    account_id: str
    sequence: int
    kind: str
    amount_nanos: int
    body: str
    hash: str
    is_owned: bool


class HoldLine(NamedTuple):
    """A stored hold, what its seal covers, and in nano-units what the row says and what its entries come to."""

    job_id: str
    account_id: str
    sealed: str
    seal: str
    is_open: bool
    amount: int
    captured: int
    released: int
    spent: int
    entries_amount: int
    entries_captured: int
    entries_released: int
    entries_spent: int


class Journal(Protocol):
    """Where the book is kept. Every method is a transaction of its own unless one is open."""

    @property
    def in_transaction(self) -> bool: ...

    def transaction(self) -> AbstractContextManager[None]:
        """Everything inside happens or nothing does. Inside the caller's transaction only this part is taken back."""
        ...

    # budgets

    def add_budget(self, budget: Budget) -> bool:
        """False when the name is taken; nothing is written then."""
        ...

    def budgets(self) -> list[Budget]:
        """Every budget, by name."""
        ...

    def lock_budget(self, budget_id: str) -> Budget:
        """The budget as it is, unchanged by others until the transaction ends."""
        ...

    def set_limit(self, budget_id: str, limit: Money) -> None: ...

    # accounts

    def account(self, account_id: str) -> Account | None: ...

    def open_account(self, account: Account, fund: Posting | None) -> bool:
        """Open an account whose limit comes from ``fund``, its first entry. False when it was there before."""
        ...

    # holds

    def holds(self, job_id: str, *, lock: bool) -> list[Hold]:
        """The job's holds in the order of their accounts; with ``lock``, nobody else changes them meanwhile."""
        ...

    def admit(self, hold: Hold, authorize: Posting, *, siblings: str) -> bool:
        """Hold the amount if it fits and the job holds nothing on an account whose id starts with ``siblings``.

        The decision is the write itself. May raise ``Conflict`` when the same call runs elsewhere at this moment.
        """
        ...

    def admit_more(self, hold: Hold, extension: Posting) -> bool:
        """Write the hold back, one revision on and larger by the extension, if that fits."""
        ...

    def append(self, posting: Posting) -> None:
        """Move money that cannot be refused."""
        ...

    def revise(self, hold: Hold) -> None:
        """Write a hold back, one revision on."""
        ...

    # reading

    def entry(self, account_id: str, key: str) -> Entry | None: ...

    def entry_of_budget(self, budget_id: str, key: str) -> Entry | None:
        """The entry with this key in any window of the budget."""
        ...

    def history(self, budget_id: str, *, most: int) -> list[Entry]:
        """The newest entries of the budget's windows, newest first."""
        ...

    # verifying: pages in the order of the ids, each consistent in itself

    def accounts_after(self, account_id: str, *, most: int) -> Sequence[AccountLine]: ...

    def entries_after(self, account_id: str, sequence: int, *, until: str, most: int) -> Sequence[EntryLine]:
        """Of accounts up to and including ``until``."""
        ...

    def holds_after(self, job_id: str, account_id: str, *, most: int) -> Sequence[HoldLine]: ...

    def entries_counted(self, account_id: str) -> int | None:
        """How many entries the account says it has; None when there is no such account."""
        ...

    def misfunded_budget(self) -> tuple[str, int, int] | None:
        """Name, limit and the account's limit of a budget that never renews and whose account has another limit."""
        ...
