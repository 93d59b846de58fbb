"""The verifier: everything in the books recomputed from the entries.

It reads in pages, each consistent in itself, and never holds a lock: entries are only ever appended, so an account is
right if its row agrees with the entries up to the number that the row carries, whatever is written meanwhile. Memory
stays the same however long the journal is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from ..money import Money
from . import chain
from .holds import EntryKind, change
from .journal import AccountLine, EntryLine, HoldLine, Journal

_ACCOUNTS_A_PAGE = 500
_ENTRIES_A_PAGE = 5000
_HOLDS_A_PAGE = 1000

_SEQUENCE_MAX = 2**62
_AFTER_ALL = "\U0010ffff"
"""Behind every sequence of an account, and behind every account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the verifier found. ``problem`` names the first row that is wrong, or is None.

    ``head`` is a hash over the heads of all accounts: kept somewhere else, it shows later whether the past was
    rewritten. ``heads`` are those of the budgets' windows by account id.
    """

    problem: str | None
    accounts: int
    entries: int
    holds: int
    head: str
    heads: dict[str, str]

    @property
    def is_clean(self) -> bool:
        return self.problem is None


def verify(journal: Journal) -> Verification:
    """Read everything once. Stops at the first row that is wrong."""
    audit = _Audit(journal)
    problem = audit.accounts_and_entries() or audit.holds_and_entries() or audit.budgets_and_accounts()
    return Verification(
        problem=problem,
        accounts=audit.account_count,
        entries=audit.entry_count,
        holds=audit.hold_count,
        head=audit.digest.hexdigest(),
        heads=audit.heads,
    )


class _Audit:
    """One run of the verifier. Every method answers the first problem it meets, or None."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.account_count = self.entry_count = self.hold_count = 0
        self.digest = sha256()
        self.heads: dict[str, str] = {}

    # --- accounts: the chain, the sequence, the jars

    def accounts_and_entries(self) -> str | None:
        last = ""
        while page := self._journal.accounts_after(last, most=_ACCOUNTS_A_PAGE):
            # The entries are read after their accounts, so that none which a row counts can be missing.
            lines = self._lines(last, page[-1].account_id)
            line = next(lines, None)
            for account in page:
                line, problem = self._account(account, line, lines)
                if problem:
                    return problem
                self._count(account)
            last = page[-1].account_id
        # Behind the last account there are entries only of accounts that are new, or of none.
        return next(filter(None, map(self._unaccounted, self._lines(last, _AFTER_ALL))), None)

    def _account(
        self, account: AccountLine, line: EntryLine | None, lines: Iterator[EntryLine]
    ) -> tuple[EntryLine | None, str | None]:
        """Check one account, given the next entry and those after it; the first entry beyond it, and the problem."""
        sequence, head, jars = 0, chain.digest(account.opening), [0, 0, 0]
        while line is not None and line.account_id <= account.account_id:
            if line.account_id < account.account_id or line.sequence > account.entries:
                problem = self._unaccounted(line)
            elif line.sequence != sequence + 1:
                problem = f"{_place(line)}: expected entry {sequence + 1} next; one or more entries are missing"
            else:
                sequence += 1
                head = chain.link(head, sequence, line.body)
                problem = _entry_problem(line, head, jars)
                self.entry_count += 1
            if problem:
                return line, problem
            line = next(lines, None)
        return line, _account_problem(account, sequence, head, jars)

    def _unaccounted(self, line: EntryLine) -> str | None:
        """An entry that its account, as it was read, does not know: new since then, or not of this journal."""
        counted = self._journal.entries_counted(line.account_id)
        if counted is None:
            return f"{_place(line)}: there is no such account"
        if line.sequence > counted:
            return f"{_place(line)}: the account counts only {counted} entries"
        return None

    def _count(self, account: AccountLine) -> None:
        self.account_count += 1
        self.digest.update(f"{account.account_id} {account.head}\n".encode())
        if account.is_window:
            self.heads[account.account_id] = account.head

    # --- holds: their sums and their seals

    def holds_and_entries(self) -> str | None:
        for line in self._holds():
            problem = _hold_problem(line)
            if problem:
                return problem
            self.hold_count += 1
        return None

    def budgets_and_accounts(self) -> str | None:
        found = self._journal.misfunded_budget()
        if found is None:
            return None
        name, limit, funded = found
        return f"Budget {name}: its limit_nanos says {limit}, its account's entries come to {funded}"

    # --- pages

    def _lines(self, after: str, until: str) -> Iterator[EntryLine]:
        """The entries of the accounts behind ``after``, up to and including ``until``."""
        account_id, sequence = after, _SEQUENCE_MAX
        while page := self._journal.entries_after(account_id, sequence, until=until, most=_ENTRIES_A_PAGE):
            yield from page
            account_id, sequence = page[-1].account_id, page[-1].sequence

    def _holds(self) -> Iterator[HoldLine]:
        job_id, account_id = "", ""
        while page := self._journal.holds_after(job_id, account_id, most=_HOLDS_A_PAGE):
            yield from page
            job_id, account_id = page[-1].job_id, page[-1].account_id


_CHANGES = {kind.value: change(kind, Money(1)) for kind in EntryKind}
"""What one nano-unit of each kind of entry adds to the limit, held and spent jars."""


def _entry_problem(line: EntryLine, head: str, jars: list[int]) -> str | None:
    if line.hash != head:
        return (
            f"{_place(line)}: the hash should be {head[:16]}... and is {line.hash[:16]}...; "
            "a field of this entry, or of the account before its first entry, was changed"
        )
    if not line.is_owned:
        return f"{_place(line)}: its job holds nothing on this account"
    for jar, sign in enumerate(_CHANGES[line.kind]):
        jars[jar] += sign * line.amount_nanos
    return None


def _account_problem(account: AccountLine, sequence: int, head: str, jars: list[int]) -> str | None:
    limit, held, spent = jars
    return _difference(
        f"Account {account.account_id}",
        ("entries", sequence, account.entries),
        ("head", head, account.head),
        ("limit_nanos", limit, account.limit_nanos),
        ("held_nanos", held, account.held_nanos),
        ("spent_nanos", spent, account.spent_nanos),
        ("excess_nanos", max(0, held + spent - limit), account.excess_nanos),
    )


def _hold_problem(line: HoldLine) -> str | None:
    where = f"Hold of job {line.job_id} on account {line.account_id}"
    problem = _difference(
        where,
        ("amount_nanos", line.entries_amount, line.amount),
        ("captured_nanos", line.entries_captured, line.captured),
        ("released_nanos", line.entries_released, line.released),
        ("spent_nanos", line.entries_spent, line.spent),
    )
    if problem:
        return problem
    seal = chain.digest(line.sealed)
    if seal != line.seal:
        return f"{where}: the seal should be {seal[:16]}... and is {line.seal[:16]}...; a field was changed"
    if not line.is_open and line.amount != line.captured + line.released:
        return f"{where}: it is closed and still keeps money"
    return None


def _difference(where: str, *facts: tuple[str, object, object]) -> str | None:
    """The first column whose stored value is not what the entries come to."""
    for column, expected, found in facts:
        if expected != found:
            return f"{where}: its entries come to {column} {expected}, the row says {found}"
    return None


def _place(line: EntryLine) -> str:
    return f"Account {line.account_id}, entry {line.sequence}"
